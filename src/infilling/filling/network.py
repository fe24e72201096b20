"""A network from an ONNX file that `infill export` wrote.

The file takes `image` (N, 3, H, W) and `mask` (N, 1, H, W) and gives `filled` (N, 3, H, W), all float32 as
in `Engine.fill`; its metadata hold a `ModelCard` as JSON under the key `infilling`. A network whose card says
so also takes `noise` (N, 1, H, W) of mean 0 and variance 1, from which it invents. Everything is in the one
file: weights in a second file, and operators that ONNX Runtime does not have, are refused.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infilling.errors import InputError, ModelError
from infilling.filling.contract import check_batch
from infilling.filling.session import Port, Session
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats
from infilling.storage import parse_json

METADATA_KEY = "infilling"
CHANNELS = {"image": 3, "mask": 1, "noise": 1, "filled": 3}


@dataclass(frozen=True)
class ModelCard:
    """What a network file says about itself.

    It is read whenever a network is opened, with a table of its own: loading pydantic for it would cost a
    sixth of the time that `infill fill` takes for a small picture.

    Attributes:
        system: name of what was trained.
        size_rule: sizes and holes that it takes.
        trained_on: the pictures it learned from, in words.
        licence: the terms they are under.
        version: version of this package when the file was written.
        images_seen: number of pictures learned from, one seen twice counted twice; None: not known.
        takes_noise: whether the file has the input `noise`, so that fills depend on a seed.
        taught_by: kinds of the feature networks that its losses or critics read; they cannot judge it.
    """

    system: str
    size_rule: SizeRule
    trained_on: str
    licence: str
    version: str
    images_seen: int | None = None
    takes_noise: bool = False
    taught_by: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the text for the file's metadata."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Read the text back; keys that this version does not know are ignored, save in the size rule.

        Raises:
            ModelError: it is not the JSON of a card; the message says what is wrong.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise ModelError(f"its metadata is not JSON: {error}") from error
        if not isinstance(values, dict):
            values = {}
        missing = [key for key, entry in _KEYS.items() if entry.is_needed and key not in values]
        if missing:
            raise ModelError(f"its metadata lacks {', '.join(missing)}")
        return cls(**{key: entry.read(key, values.get(key)) for key, entry in _KEYS.items()})


@dataclass(frozen=True)
class _Key:
    """How a value of a card is read.

    Attributes:
        make: makes the value of what JSON holds.
        fits: says whether JSON holds such a value.
        lacks: what a message says is not there.
        default: the value where JSON has none; `...` for a key that every card has.
    """

    make: Callable[[Any], Any]
    fits: Callable[[Any], bool]
    lacks: str
    default: Any = ...

    @property
    def is_needed(self) -> bool:
        """Whether every card has it."""
        return self.default is ...

    def read(self, key: str, value: Any) -> Any:
        """Return the value of a key, None where there is none.

        Raises:
            ModelError: it is of another kind; the message names the key.
        """
        if value is None and not self.is_needed:
            return self.default
        if not self.fits(value):
            raise ModelError(f"its metadata has {self.lacks} in {key}")
        return self.make(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not _is_flag(value)


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _make_size_rule(values: Any) -> SizeRule:
    """Make a size rule. A key that this version does not know could not be followed, so it is refused."""
    try:
        return SizeRule(**values)
    except TypeError as error:
        raise ModelError(f"its size rule {values} is not one that this version knows") from error
    except ModelError as error:
        raise ModelError(f"its size rule {values} has a value out of range ({error})") from error


_TEXT = _Key(str, _is_text, "no text")
_KEYS: Mapping[str, _Key] = {
    "system": _TEXT,
    "size_rule": _Key(_make_size_rule, lambda value: True, ""),
    "trained_on": _TEXT,
    "licence": _TEXT,
    "version": _TEXT,
    "images_seen": _Key(int, _is_count, "no whole number", default=None),
    "takes_noise": _Key(bool, _is_flag, "neither true nor false", default=False),
    "taught_by": _Key(tuple, _is_list_of_names, "no list of names", default=()),
}


class FileEngine:
    """An engine that runs a file with ONNX Runtime. Safe to call from several threads."""

    trained = True

    def __init__(self, session: Session, name: str | None) -> None:
        """Take the open file, and what to call the engine; the file's stem if None."""
        self.session = session
        self.path: Path = session.path
        self.name = name or self.path.stem

    @property
    def device(self) -> str:
        """Where the network runs: `cpu` or `cuda`."""
        return self.session.device

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal; see `Session`."""
        return self.session.digest


class NetworkEngine(FileEngine):
    """An engine that runs a network that `infill export` wrote."""

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        threads: int | None = None,
        device: str = "auto",
        spinning: bool = False,
        session: Session | None = None,
    ) -> None:
        """Open the file.

        Args:
            path: the ONNX file.
            name: what to call the engine; the file's stem if None.
            threads: threads for one call; see `Session`.
            device: where the network runs; see `Session`.
            spinning: whether idle threads wait busily; see `Session`.
            session: the file, if it is open already; then the three above are not used.

        Raises:
            ModelError: unreadable, not ONNX, of another making, or needing more than the one file.
            DependencyError: CUDA was ordered and this ONNX Runtime has none.
        """
        session = session or Session(Path(path), threads=threads, device=device, spinning=spinning)
        super().__init__(session, name)
        try:
            if METADATA_KEY not in self.session.metadata:
                raise ModelError(f"it has no {METADATA_KEY!r} metadata: make it with `infill export`")
            if self.session.external:
                raise ModelError("it keeps its weights in a second file; export it as one file")
            self.card = ModelCard.from_json(self.session.metadata[METADATA_KEY])
            self._batch = _find_batch(self.session, self.card)
        except ModelError as error:
            raise ModelError(f"{self.path} is not a model of this program: {error}") from error

    @property
    def size_rule(self) -> SizeRule:
        """The sizes that the network takes, from its card."""
        return self.card.size_rule

    @property
    def takes(self) -> tuple[str, ...]:
        """The further keywords of `fill`: a seed, if the network takes noise."""
        return ("seed",) if self.card.takes_noise else ()

    @property
    def taught_by(self) -> tuple[str, ...]:
        """Kinds of the feature networks that it learned from, from its card."""
        return self.card.taught_by

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
        check_side(self.name, self.size_rule, image)
        blank = np.where(mask > 0, np.float32(0), image)
        inputs = {"image": blank, "mask": mask}
        if self.card.takes_noise:
            noise = make_noise(image.shape[2], image.shape[3], seed)
            inputs["noise"] = np.broadcast_to(noise, mask.shape)
        step = self._batch or len(blank)
        return np.concatenate([self._run(inputs, start, step) for start in range(0, len(blank), step)])

    def _run(self, inputs: dict[str, Floats], start: int, batch: int) -> Floats:
        """Run up to `batch` pictures; a fixed batch is made full with copies of the last picture."""
        count = len(inputs["image"])
        places = np.minimum(np.arange(start, start + batch), count - 1)
        feed = {name: np.ascontiguousarray(value[places]) for name, value in inputs.items()}
        filled = self.session.run(feed, "filled", self.name)
        check_answer(self.name, filled, feed["image"])
        clipped: Floats = np.clip(filled[: count - start], 0, 1)
        return clipped


def make_noise(height: int, width: int, seed: int) -> Floats:
    """Make the noise of a picture: (1, 1, height, width), uniform, of mean 0 and variance 1.

    Uniform numbers are the same on every machine and with every version of NumPy.
    """
    uniform = np.random.default_rng(seed).random((1, 1, height, width))
    noise: Floats = ((uniform - 0.5) * 12**0.5).astype(np.float32)
    return noise


def check_side(name: str, rule: SizeRule, image: Floats) -> None:
    """Refuse a batch of another size than the one that a network takes.

    Raises:
        InputError: the message shows both sizes.
    """
    height, width = image.shape[2:]
    side = rule.fixed_size
    if side is not None and (height, width) != (side, side):
        raise InputError(f"{name} takes {side}×{side} pixels only, not {width}×{height}")


def check_answer(name: str, answer: Any, image: Floats) -> None:
    """Refuse what a network gave if it is no picture of the image's shape.

    Raises:
        ModelError: another shape, or values that are not finite.
    """
    if answer.shape != image.shape:
        raise ModelError(f"{name} gave {answer.shape} for an image {image.shape}")
    if not np.isfinite(answer).all():
        raise ModelError(f"{name} gave values that are no numbers")


def _find_batch(session: Session, card: ModelCard) -> int | None:
    """Return the batch that a graph is fixed to, None if it is free; check names, types and sizes."""
    inputs = {port.name: port for port in session.inputs}
    outputs = {port.name: port for port in session.outputs}
    wanted = ["image", "mask", *(["noise"] if card.takes_noise else [])]
    if set(inputs) != set(wanted) or "filled" not in outputs:
        found, asked = ", ".join(inputs), ", ".join(wanted)
        raise ModelError(f"it takes and gives {found} → {', '.join(outputs)}, not {asked} → filled")
    for port in (*inputs.values(), outputs["filled"]):
        _check_port(port, card.size_rule.fixed_size)
    return inputs["image"].shape[0]


def _check_port(port: Port, fixed: int | None) -> None:
    """Refuse an input or output of another type, number of channels or size than the contract's.

    Raises:
        ModelError: the message shows what it is.
    """
    if port.kind != "float" or len(port.shape) != 4:
        raise ModelError(f"its {port} is not (N, C, H, W) float32")
    channels, *sides = port.shape[1:]
    if channels not in (None, CHANNELS[port.name]):
        raise ModelError(f"its {port.name} has {channels} channels, not {CHANNELS[port.name]}")
    if any(side not in (None, fixed) for side in sides):
        raise ModelError(f"its {port.name} is fixed to {sides}, but its size rule says {fixed}")
