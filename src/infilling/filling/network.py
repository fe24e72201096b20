"""A network from an ONNX file that `infill export` wrote.

The file takes `image` (N, 3, H, W) and `mask` (N, 1, H, W) and gives `filled` (N, 3, H, W), all float32 as
in `Engine.fill`; its metadata hold a `ModelCard` as JSON under the key `infilling`. A network whose card says
so also takes `noise` (N, 1, H, W) of mean 0 and variance 1, from which it invents. Everything is in the one
file: weights in a second file, and operators that ONNX Runtime does not have, are refused.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from infilling.errors import DependencyError, InputError, ModelError
from infilling.filling.contract import check_batch, parse_device
from infilling.machine import count_cores
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats
from infilling.storage import read_file

METADATA_KEY = "infilling"
CHANNELS = {"image": 3, "mask": 1, "noise": 1, "filled": 3}
SILENT = 4
"""ONNX Runtime's log level that leaves standard error to us; failures come as exceptions all the same."""


@dataclass(frozen=True)
class ModelCard:
    """What a network file says about itself.

    Attributes:
        system: the name of what was trained.
        size_rule: the sizes and holes it takes.
        trained_on: the pictures it learned from, in words.
        licence: the terms they are under.
        version: of this package when the file was written.
        images_seen: pictures learned from, one seen twice counted twice; None: not known.
        takes_noise: whether the file has the input `noise`, so that fills depend on a seed.
    """

    system: str
    size_rule: SizeRule
    trained_on: str
    licence: str
    version: str
    images_seen: int | None = None
    takes_noise: bool = False

    def to_json(self) -> str:
        """The text that stands in the file's metadata."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Read the text back; keys that this version does not know are passed over, save in the size rule.

        Raises:
            ModelError: it is not the JSON of a card; the message says what is wrong.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ModelError(f"its metadata is not JSON: {error}") from error
        wanted = [field.name for field in fields(cls) if field.default is MISSING]
        if not isinstance(values, dict) or (missing := [key for key in wanted if key not in values]):
            raise ModelError(
                f"its metadata lacks {', '.join(missing if isinstance(values, dict) else wanted)}"
            )
        rest = {key: values[key] for key in wanted if key != "size_rule"}
        if wrong := [key for key, value in rest.items() if not isinstance(value, str)]:
            raise ModelError(f"its metadata has no text in {', '.join(wrong)}")
        seen = values.get("images_seen")
        if seen is not None and (isinstance(seen, bool) or not isinstance(seen, int)):
            raise ModelError("its metadata has no whole number in images_seen")
        takes_noise = values.get("takes_noise", False)
        if not isinstance(takes_noise, bool):
            raise ModelError("its metadata has neither true nor false in takes_noise")
        rule = _size_rule(values["size_rule"])
        return cls(size_rule=rule, images_seen=seen, takes_noise=takes_noise, **rest)


class NetworkEngine:
    """An engine that runs a network file with ONNX Runtime. Safe to call from several threads."""

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        threads: int | None = None,
        device: str = "auto",
        spinning: bool = False,
    ) -> None:
        """Open the file.

        Args:
            path: the ONNX file.
            name: what to call the engine; the file's stem if None.
            threads: threads for one call; None takes all that this process may run on.
            device: `auto` takes CUDA where ONNX Runtime has it, else the CPU; the others are orders.
            spinning: whether idle threads wait busily. It made a call 5 % faster on two idle cores and no
                faster on busy ones, from which it takes.

        Raises:
            ModelError: unreadable, not ONNX, of another making, or needing more than the one file.
            DependencyError: CUDA was ordered and this ONNX Runtime has none.
        """
        self.path = Path(path)
        self.name = name or self.path.stem
        self._session = _open_session(self.path, threads, device, spinning)
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
            if METADATA_KEY not in metadata:
                raise ModelError(f"it has no {METADATA_KEY!r} metadata: make it with `infill export`")
            self.card = ModelCard.from_json(metadata[METADATA_KEY])
            self._batch = _fixed_batch(self._session, self.card)
        except ModelError as error:
            raise ModelError(f"{self.path} is not a model of this program: {error}") from error

    @property
    def size_rule(self) -> SizeRule:
        """The sizes that the network takes, from its card."""
        return self.card.size_rule

    @property
    def device(self) -> str:
        """Where the network runs: `cpu` or `cuda`."""
        return "cuda" if "CUDAExecutionProvider" in self._session.get_providers() else "cpu"

    def fill(self, image: Floats, mask: Floats, *, seed: int = 0) -> Floats:
        """Fill the holes; see `Engine.fill`. What the hole hides is set to 0 before the network sees it.

        Args:
            image: as in the contract.
            mask: as in the contract.
            seed: of the noise, the same for every picture of the batch; only networks that take noise use it.

        Raises:
            InputError: the arrays are no batch, or not of the one size that this network takes.
            ModelError: the network fails, or gives something that is not a picture.
        """
        check_batch(image, mask)
        height, width = image.shape[2:]
        side = self.size_rule.fixed_size
        if side is not None and (height, width) != (side, side):
            raise InputError(f"{self.name} takes {side}×{side} pixels only, not {width}×{height}")
        blank = np.where(mask > 0, np.float32(0), image)
        inputs = {"image": blank, "mask": mask}
        if self.card.takes_noise:
            inputs["noise"] = np.broadcast_to(make_noise(height, width, seed), mask.shape)
        step = self._batch or len(blank)
        parts = (
            {name: value[start : start + step] for name, value in inputs.items()}
            for start in range(0, len(blank), step)
        )
        return np.concatenate([self._run(part, step) for part in parts])

    def _run(self, inputs: dict[str, Floats], batch: int) -> Floats:
        """Run up to `batch` pictures; a fixed batch is made full with copies of the last picture."""
        image = inputs["image"]
        count = len(image)
        if count < batch:
            index = np.minimum(np.arange(batch), count - 1)
            inputs = {name: value[index] for name, value in inputs.items()}
        feed = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        try:
            filled = np.asarray(self._session.run(["filled"], feed)[0])
        except Exception as error:  # ONNX Runtime's exceptions have no class in common but this
            size = f"{image.shape[3]}×{image.shape[2]}"
            raise ModelError(f"{self.name} failed on {size} pixels: {_first_line(error)}") from error
        if filled.shape != feed["image"].shape:
            raise ModelError(f"{self.name} gave {filled.shape} for an image {feed['image'].shape}")
        if not np.isfinite(filled).all():
            raise ModelError(f"{self.name} gave values that are no numbers")
        clipped: Floats = np.clip(filled[:count], 0, 1)
        return clipped


def make_noise(height: int, width: int, seed: int) -> Floats:
    """Make the noise of a picture: (1, 1, height, width), uniform, of mean 0 and variance 1.

    Uniform numbers are the same on every machine and with every version of NumPy.
    """
    uniform = np.random.default_rng(seed).random((1, 1, height, width))
    noise: Floats = ((uniform - 0.5) * 12**0.5).astype(np.float32)
    return noise


def _open_session(path: Path, threads: int | None, device: str, spinning: bool) -> Any:
    """An `onnxruntime.InferenceSession` for the file's bytes; the folder it lies in plays no part."""
    import onnxruntime

    content = read_file(path, raises=ModelError)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = threads or count_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    # Without this line, weights named in another file would be looked for in the working directory.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        # Its fallback tries the CPU where CUDA failed, and says so on stdout, damaged files on the CPU too.
        again = len(providers) > 1
        session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=again)
    except Exception as error:  # ONNX Runtime's exceptions have no class in common but this
        raise ModelError(f"cannot open the model {path}: {_reason(error)}") from error
    if parse_device(device)[0] == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise DependencyError(f"device {device} is not usable here: ONNX Runtime could not start CUDA")
    return session


def _providers(device: str, present: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """ONNX Runtime's names for a device, best first."""
    kind, index = parse_device(device)
    cpu: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
    if kind == "cpu":
        return [cpu]
    if "CUDAExecutionProvider" in present:
        return [("CUDAExecutionProvider", {"device_id": index}), cpu]
    if kind == "auto":
        return [cpu]
    raise DependencyError(
        f"device {device} needs ONNX Runtime with CUDA: pip install onnxruntime-gpu, or take device 'cpu'"
    )


def _fixed_batch(session: Any, card: ModelCard) -> int | None:
    """Return the batch that the graph is fixed to, None if it is free; check names, types and sizes."""
    inputs = {value.name: value for value in session.get_inputs()}
    outputs = {value.name: value for value in session.get_outputs()}
    wanted = ["image", "mask", *(["noise"] if card.takes_noise else [])]
    if set(inputs) != set(wanted) or "filled" not in outputs:
        names = f"{', '.join(inputs)} → {', '.join(outputs)}"
        raise ModelError(f"it takes and gives {names}, not {', '.join(wanted)} → filled")
    for value in (*(inputs[name] for name in wanted), outputs["filled"]):
        if value.type != "tensor(float)" or len(value.shape) != 4:
            raise ModelError(
                f"its {value.name} is a {value.type} of shape {value.shape}, not (N, C, H, W) float32"
            )
        channels, *sides = value.shape[1:]
        if isinstance(channels, int) and channels != CHANNELS[value.name]:
            raise ModelError(f"its {value.name} has {channels} channels, not {CHANNELS[value.name]}")
        fixed = card.size_rule.fixed_size
        if any(isinstance(side, int) and side != fixed for side in sides):
            raise ModelError(f"its {value.name} is fixed to {sides}, but its size rule says {fixed}")
    batch = inputs["image"].shape[0]
    return batch if isinstance(batch, int) else None


def _size_rule(values: Any) -> SizeRule:
    """A size rule from JSON. A key that this version does not know could not be kept to, so it is refused."""
    known = {field.name for field in fields(SizeRule)}
    if not isinstance(values, dict) or not set(values) <= known:
        raise ModelError(f"its size rule {values} is not one that this version knows")
    holes = values.get("holes", "any")
    sizes = {key: value for key, value in values.items() if key != "holes"}
    if holes not in ("any", "block", "center") or not all(
        _is_size(key, value) for key, value in sizes.items()
    ):
        raise ModelError(f"its size rule {values} has a value out of range")
    return SizeRule(**values)


def _is_size(key: str, value: Any) -> bool:
    if value is None:
        return key != "multiple_of"
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _reason(error: Exception) -> str:
    """ONNX Runtime's complaint in the words of the person who has the file."""
    text = _first_line(error)
    if "External data" in text:
        return "it keeps its weights in a second file; export it as one file"
    if "not a registered function/op" in text or "unrecognized" in text.lower():
        return f"it needs operators that ONNX Runtime does not have ({text.rpartition('error: ')[2]})"
    if "INVALID_PROTOBUF" in text or "No graph" in text or isinstance(error, UnicodeDecodeError):
        return "it is damaged or not an ONNX file"
    return text


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
