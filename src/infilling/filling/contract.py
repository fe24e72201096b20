"""The contract of an engine: what it offers, what it takes, and how requests that do not fit are refused."""

import importlib
import re
from types import ModuleType
from typing import Protocol

import numpy as np

from infilling.errors import (
    DependencyError,
    InputError,
    check_argument,
    check_count,
    install_hint,
    show_value,
)
from infilling.machine import MOST_THREADS
from infilling.pictures.frame import SizeRule
from infilling.pictures.mask import Mask
from infilling.pictures.picture import Floats


class Engine(Protocol):
    """Anything that fills holes: what it is called, the sizes it takes, and `fill`.

    One engine may be called from several threads at once. It may also have `trained`, whether it learned from
    pictures; `device`, where it runs; `digest`, the SHA-256 of the file that it reads; and `takes`, which of
    the keywords `seed` and `source` its `fill` has; see `run_engine`.
    """

    @property
    def name(self) -> str:
        """What messages and tables call the engine."""
        ...

    @property
    def size_rule(self) -> SizeRule:
        """The sizes and holes that the engine takes."""
        ...

    def fill(self, image: Floats, mask: Floats) -> Floats:
        """Fill the holes of a batch.

        Args:
            image: (N, 3, H, W) in [0, 1]; what the hole hides is ignored. Not written to.
            mask: (N, 1, H, W), 1 in the hole and 0 elsewhere.

        Returns:
            (N, 3, H, W) in [0, 1], a new array. Its known pixels may differ from the image's.
        """
        ...


def run_engine(
    engine: Engine, image: Floats, mask: Floats, *, seed: int = 0, source: Floats | None = None
) -> Floats:
    """Fill the holes of a batch, by a seed and from a source if the engine takes them.

    Args:
        engine: what fills.
        image: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W), 1 in the hole.
        seed: of the engine's randomness; 0 leaves it as it was made.
        source: (N, 1, H, W), 1 where texture may be copied from; None: wherever it is known.
    """
    taken = find_taken(engine)
    extras = {"seed": seed or None, "source": source}
    given = {name: value for name, value in extras.items() if value is not None and name in taken}
    return engine.fill(image, mask, **given)


def find_taken(engine: Engine) -> tuple[str, ...]:
    """Return which of the keywords `seed` and `source` an engine's `fill` has."""
    return tuple(getattr(engine, "takes", ()))


def require_engine(engine: object) -> None:
    """Refuse an object that is no engine.

    Raises:
        InputError: it lacks what every engine has.
    """
    parts = {
        "name": isinstance(getattr(engine, "name", None), str),
        "size_rule": isinstance(getattr(engine, "size_rule", None), SizeRule),
        "fill": callable(getattr(engine, "fill", None)),
    }
    if not all(parts.values()):
        lacks = next(name for name, is_there in parts.items() if not is_there)
        raise InputError(
            f"an engine is a name, a path, or an object with {', '.join(parts)}; "
            f"{type(engine).__name__} has no {lacks}"
        )


def is_trained(engine: Engine) -> bool:
    """Return whether an engine learned from pictures; one that does not say so is taken to have."""
    return bool(getattr(engine, "trained", True))


def find_digest(engine: Engine) -> str | None:
    """Return the SHA-256 of the file that an engine reads; None if it reads none, or does not say."""
    digest: str | None = getattr(engine, "digest", None)
    return digest


def find_teachers(engine: Engine) -> tuple[str, ...]:
    """Return the kinds of the feature networks that an engine says it learned from."""
    return tuple(getattr(engine, "taught_by", ()))


def check_batch(image: Floats, mask: Floats) -> None:
    """Refuse arrays that are no batch as `Engine.fill` takes it.

    Raises:
        InputError: shapes or types are not those of the contract; the message shows both shapes.
    """
    count, sides = image.shape[:1], image.shape[2:]
    wanted = ((*count, 3, *sides), (*count, 1, *sides))
    if image.ndim != 4 or (image.shape, mask.shape) != wanted or image.size == 0:
        raise InputError(
            "an engine takes an image (N, 3, H, W) and a mask (N, 1, H, W), "
            f"not {image.shape} and {mask.shape}"
        )
    if image.dtype != np.float32 or mask.dtype != np.float32:
        raise InputError(f"an engine takes float32 arrays, not {image.dtype} and {mask.dtype}")


def check_hole(engine: Engine, hole: Mask) -> None:
    """Refuse a hole that an engine cannot fill: one that is not the centre, where it fills the centre only.

    Args:
        engine: what is to fill.
        hole: (H, W) bool, of the whole picture.

    Raises:
        InputError: the message names the engine.
    """
    if engine.size_rule.holes != "center":
        return
    from infilling.pictures.hole_shapes import center  # not for engines that fill any hole

    if not np.array_equal(hole, center(*hole.shape)):
        raise InputError(
            f"{engine.name} fills only the centre of a picture, half of each side, and this hole is another; "
            "other engines, such as push-pull, fill holes anywhere"
        )


def check_opening(threads: object, adapter: object) -> None:
    """Refuse what no engine can be opened with.

    Raises:
        InputError: the message names the argument.
    """
    check_count("threads", threads, 1, MOST_THREADS, optional=True)
    check_argument("adapter", adapter, str | None, "the name of a family")


def parse_device(device: str) -> tuple[str, int]:
    """Split `auto`, `cpu`, `cuda` or `cuda:i` into a kind and an index.

    Example:
        >>> parse_device("cuda:1")
        ('cuda', 1)
    """
    if not isinstance(device, str):
        raise InputError(f"device must be a text such as auto, cpu or cuda:0, not {show_value(device)}")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,9})?", device):
        raise InputError(f"device must be auto, cpu, cuda or cuda:0, cuda:1, …, not {show_value(device)}")
    kind, _, index = device.partition(":")
    return kind, int(index or 0)


def require(module: str, who: str, extra: str) -> ModuleType:
    """Import an optional package, or say in one line what to install.

    Raises:
        DependencyError: it is missing, or it is there and does not load.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(describe_missing(who, module, extra)) from error


def require_torch(who: str) -> None:
    """Say what to install where the base install is all there is.

    Raises:
        DependencyError: torch or safetensors is missing, which `who` needs.
    """
    for package in ("torch", "safetensors"):
        require(package, who, "train")


def describe_missing(who: str, module: str, extra: str | None) -> str:
    """Return the message for an optional package that is not installed."""
    package = {"cv2": "OpenCV", "skimage": "scikit-image"}.get(module.partition(".")[0], module)
    return f"{who} needs {package}: {install_hint(extra or '')}"
