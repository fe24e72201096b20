"""Released models: which there are, where their files lie, fetching and checking them.

A model's file is either inside the package (`filling/weights/`) or downloaded once into `models/` of the
cache folder: `$INFILLING_HOME`, else `$XDG_CACHE_HOME/infilling`, else `~/.cache/infilling`. With
`INFILLING_OFFLINE=1` nothing is downloaded. A file whose SHA-256 is not the table's is never used.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from infilling.errors import ModelError, StorageError, did_you_mean
from infilling.pictures.frame import SizeRule
from infilling.storage import find_home

WEIGHTS = Path(__file__).parent / "weights"
CHUNK = 1 << 20
TIMEOUT_SECONDS = 30

State = Literal["bundled", "downloaded", "missing"]


@dataclass(frozen=True)
class Model:
    """A row of the table of released models.

    Attributes:
        summary: what it is good at, in a few words.
        file: the file's name, in `WEIGHTS` or in the cache.
        sha256: of the file, in hexadecimal.
        size: of the file, in bytes.
        licence: of the weights, as an SPDX name or a short sentence.
        trained_on: the pictures it learnt from.
        size_rule: the sizes it takes; the same as in the file's own metadata.
        url: where to download the file from; None when it is inside the package.
    """

    summary: str
    file: str
    sha256: str
    size: int
    licence: str
    trained_on: str
    size_rule: SizeRule
    url: str | None = None


@dataclass(frozen=True)
class ModelState:
    """Where a model's file is, or would be."""

    name: str
    model: Model
    state: State
    path: Path


TRAINED_ON = "25,685 photographs of 100 scene classes of Places2 (MiniPlaces training split), 128 px"
LICENCE = "Apache-2.0; its pictures: Places terms, non-commercial research and education"

MODELS: dict[str, Model] = {
    "default": Model(
        summary="a network taught by a critic: sharp, plausible texture",
        file="default.onnx",
        sha256="57cb83bf4ca29dbbde621730e0dced0804541c645a3852addfd3fc2f3172eb5b",
        size=8_823_454,
        licence=LICENCE,
        trained_on=TRAINED_ON,
        size_rule=SizeRule(multiple_of=8, working_size=128),
    ),
    "fidelity": Model(
        summary="the same network taught without critics: softer, nearest to the truth on average",
        file="fidelity.onnx",
        sha256="3e39ce9082ced28cca00a8ff930c0101ed098e44ae4502e77232f83dcdcb286a",
        size=8_823_453,
        licence=LICENCE,
        trained_on=TRAINED_ON,
        size_rule=SizeRule(multiple_of=8, working_size=128),
    ),
}
"""The released models by name. `docs/models.md` is their card."""


def download(name: str, *, force: bool = False) -> Path:
    """Give the path of a model's checked file; fetch it first if it is not here yet.

    Args:
        name: a name in `MODELS`.
        force: fetch it again even if the file here is good.

    Raises:
        ModelError: unknown name, offline, unreachable, or the file is not the one the table names.
        StorageError: the cache folder cannot be written.
    """
    model = _find(name)
    path = _path(model)
    if model.url is None or (path.is_file() and not force):
        return verify(name)
    if offline():
        raise ModelError(f"{name} is not downloaded and INFILLING_OFFLINE is set: put {model.url} at {path}")
    with _beside(path) as part:
        digest = _fetch(name, model, model.url, part)
        if digest != model.sha256:
            raise ModelError(f"{name} from {model.url} is not the released file: SHA-256 {digest[:12]}…")
    return path


def verify(name: str) -> Path:
    """Check the file of a model that is already here, and give its path.

    Raises:
        ModelError: it is not here, or its content is not what the table says.
    """
    model = _find(name)
    path = _path(model)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{name} is not here: no readable file {path} ({error.strerror})") from error
    if digest != model.sha256:
        raise ModelError(
            f"{path} is damaged or not {name} (SHA-256 {digest[:12]}…): delete it, then download it again"
        )
    return path


def list_models() -> list[ModelState]:
    """Every released model and whether its file is here; nothing is fetched, nothing is hashed."""
    return [ModelState(name, model, _state(model), _path(model)) for name, model in sorted(MODELS.items())]


def unavailable(name: str) -> str | None:
    """Say why a model cannot be opened here; None when it can, be it after a download."""
    model = _find(name)
    if _state(model) != "missing":
        return None
    if model.url is None:
        return f"{name}: {_path(model)} is missing"
    return f"{name} is not downloaded and INFILLING_OFFLINE is set" if offline() else None


def cache_folder() -> Path:
    """Return the folder of downloaded models; it may not exist yet."""
    return find_home() / "models"


def offline() -> bool:
    """Whether the environment forbids downloads."""
    return os.environ.get("INFILLING_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def _find(name: str) -> Model:
    if name in MODELS:
        return MODELS[name]
    raise ModelError(f"unknown model {name!r}{did_you_mean(name, MODELS)}")


def _path(model: Model) -> Path:
    return (WEIGHTS if model.url is None else cache_folder()) / model.file


def _state(model: Model) -> State:
    if not _path(model).is_file():
        return "missing"
    return "bundled" if model.url is None else "downloaded"


@contextmanager
def _beside(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file that takes the name `path` if all goes well, and is gone if not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise StorageError(f"cannot write in {path.parent}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        Path(part).unlink(missing_ok=True)


def _fetch(name: str, model: Model, url: str, part: IO[bytes]) -> str:
    """Copy the file at `url` into `part` and give its SHA-256; stop when it is longer than the table says."""
    digest = hashlib.sha256()
    left = model.size
    for chunk in _chunks(name, url):
        left -= len(chunk)
        if left < 0:
            break
        digest.update(chunk)
        part.write(chunk)
    if left > 0:
        raise ModelError(f"{name} from {url} was cut short: {model.size - left} of {model.size} bytes came")
    return digest.hexdigest()


def _chunks(name: str, url: str) -> Iterator[bytes]:
    # Here: most models are in the package, and these take as long to load as a model's file to check.
    import http.client
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            while chunk := answer.read(CHUNK):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"cannot download {name} from {url}: {reason}") from error
