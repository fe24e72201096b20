"""Random holes to train and to judge with: centre, block, free-form strokes, the protocols of other projects.

The same seed gives the same masks on every machine and with every version of NumPy and Pillow: every number
comes from `rng.random()` (53 bits of the bit stream, a definition that does not change between versions),
positions are rounded to whole pixels before they are drawn, and the drawing is our own (see `hole_shapes`).
Masks are drawn one after the other, so the first 100 of 1,000 are the masks that a call for 100 gives.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from infilling.errors import InputError, did_you_mean
from infilling.pictures.hole_shapes import (
    LARGE_BINS,
    TRIES,
    Draw,
    draw_block,
    draw_center,
    draw_deepfill,
    draw_freeform,
    draw_lama,
    pick,
)
from infilling.pictures.mask import Mask, resize_nearest
from infilling.pictures.mask_files import read_mask
from infilling.pictures.picture import EXTENSIONS, Bools

Masks = Bools
# rng, count, height, width -> (count, height, width)
HoleMaker = Callable[[np.random.Generator, int, int, int], Masks]

AREA_BINS = ((1, 10), (10, 20), (20, 30), (30, 40), (40, 50), (50, 60))  # of the NVIDIA irregular mask set


def make_holes(
    spec: str | Path | Mapping[str, float],
    rng: np.random.Generator,
    count: int,
    height: int,
    width: int,
    *,
    min_area: float | None = None,
    max_area: float | None = None,
    folder: Path | None = None,
) -> Masks:
    """Make masks. Each has at least one hole pixel and one known pixel.

    Args:
        spec: a name in `HOLES`; a folder of mask files (or "folder", with `folder`); or a mix of these by
            probability, "0.4 block + 0.6 freeform" or {"block": 0.4, "freeform": 0.6}.
        rng: the only source of randomness.
        count: number of masks.
        height: of a mask, in pixels.
        width: of a mask, in pixels.
        min_area: least share of hole, in [0, 1]; masks with less are drawn again.
        max_area: greatest share of hole; masks with more are drawn again.
        folder: what the name "folder" stands for.

    Returns:
        (count, height, width) bool, True = hole.

    Raises:
        InputError: unknown name, unreadable folder, or limits that the maker does not meet.

    >>> make_holes("center", np.random.default_rng(7), 1, 4, 4)[0].astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    return find_maker(spec, min_area=min_area, max_area=max_area, folder=folder)(rng, count, height, width)


def find_maker(
    spec: str | Path | Mapping[str, float],
    *,
    min_area: float | None = None,
    max_area: float | None = None,
    folder: Path | None = None,
) -> HoleMaker:
    """Find the maker behind `make_holes`, to be called many times: a folder is listed, and a file read, once.

    Raises:
        InputError: as `make_holes`; the maker raises it too.
    """
    low, high = 0.0 if min_area is None else min_area, 1.0 if max_area is None else max_area
    if not 0 <= low <= high <= 1:
        raise InputError(
            f"hole areas from {low:g} to {high:g} are not shares of the picture in order, 0 to 1"
        )
    mix = [(_find_draw(name, folder), weight) for name, weight in parse_mix(spec).items()]
    return partial(_make_masks, spec, mix, low, high)


def _make_masks(
    spec: str | Path | Mapping[str, float],
    mix: list[tuple[Draw, float]],
    low: float,
    high: float,
    rng: np.random.Generator,
    count: int,
    height: int,
    width: int,
) -> Masks:
    """Draw masks of a mix, each again until its share of hole is from `low` to `high`."""
    if count < 0 or height < 1 or width < 1:
        raise InputError(f"cannot make {count} masks of {width}×{height}: give whole numbers of at least 1")
    masks = np.empty((count, height, width), dtype=bool)
    for mask in masks:
        draw = mix[0][0] if len(mix) == 1 else _choose(rng, mix)
        fits = _draw_until_fit(draw, rng, mask, low, high)
        if not fits:
            raise InputError(
                f"none of {TRIES} masks from {spec!r} at {width}×{height} had hole, known pixels and an area "
                f"between {low:g} and {high:g} of the picture: widen the limits or choose other holes"
            )
    return masks


def _draw_until_fit(draw: Draw, rng: np.random.Generator, mask: Mask, low: float, high: float) -> bool:
    """Draw into `mask` until it has hole and known pixels and a fitting area; return whether it has."""
    for _ in range(TRIES):
        mask[...] = draw(rng, *mask.shape)
        area = np.count_nonzero(mask) / mask.size
        if 0 < area < 1 and low <= area <= high:
            return True
    return False


def area_bin(mask: Mask) -> str:
    """Name the area bin of a mask: "1-10%" (over 1, at most 10 % of the picture) to "50-60%", or "other".

    >>> area_bin(np.array([[True, False, False, False]]))
    '20-30%'
    """
    hole = 100 * int(np.count_nonzero(mask))
    for low, high in AREA_BINS:
        if low * mask.size < hole <= high * mask.size:
            return f"{low}-{high}%"
    return "other"


class _Folder:
    """Masks of a folder, each equally likely, brought to the size asked for by their nearest pixels."""

    def __init__(self, folder: Path) -> None:
        if not os.path.isdir(folder):
            raise InputError(f"{folder} is not a folder of mask files")
        files = (path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        self._files = sorted(files)
        if not self._files:
            raise InputError(f"no mask files in {folder}: it holds none of {', '.join(EXTENSIONS)}")
        # A bit a pixel: 12,000 masks of 256² are 100 MB.
        self._packed: dict[tuple[Path, int, int], npt.NDArray[np.uint8]] = {}

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> Mask:
        key = self._files[pick(rng, 0, len(self._files) - 1)], height, width
        if key not in self._packed:
            try:
                self._packed[key] = np.packbits(resize_nearest(read_mask(key[0]), height, width))
            except InputError as error:
                raise InputError(f"mask file {key[0]}: {error}") from error
        bits = np.unpackbits(self._packed[key], count=height * width)
        return bits.reshape(height, width).astype(bool)


_THIN = partial(draw_lama, strokes=(4, 50), pen=10, length=40, max_area=0.5)
_MEDIUM = partial(draw_lama, strokes=(4, 5), pen=50, length=100, boxes=(1, 5), sides=(10, 50), max_area=0.5)
_THICK = partial(
    draw_lama,
    strokes=(1, 5),
    pen=100,
    length=200,
    boxes=(1, 3),
    sides=(30, 150),
    margin=10,
    max_area=0.5,
)
_TRAIN = partial(draw_lama, strokes=(1, 5), pen=100, length=200, boxes=(1, 4), sides=(30, 150), margin=10)
HOLES: dict[str, Draw] = {
    "center": draw_center,
    "block": draw_block,
    "freeform": draw_freeform,
    "large": partial(draw_freeform, bins=LARGE_BINS),
    "lama-thin": _THIN,
    "lama-medium": partial(_MEDIUM, box_share=0.3 / 1.3),  # strokes weigh 1, boxes 0.3
    "lama-thick": partial(_THICK, box_share=0.3 / 1.3),
    "lama-train": partial(_TRAIN, box_share=0.5),
    "deepfill": draw_deepfill,
}
"""What draws one mask, by its name."""


def parse_mix(spec: str | Path | Mapping[str, float]) -> dict[str, float]:
    """Read a spec into shares by name that add up to 1; a name may still be a folder.

    Raises:
        InputError: not a mix, or a weight that is no positive number.

    >>> parse_mix("1 block + 3 freeform")
    {'block': 0.25, 'freeform': 0.75}
    """
    if isinstance(spec, Mapping):
        weights = {str(name): float(weight) for name, weight in spec.items()}
    elif str(spec) in HOLES or _is_folder(spec):
        weights = {str(spec): 1.0}
    else:
        weights = _add_weights(str(spec).split("+"))
    if not weights or not all(0 < weight < math.inf for weight in weights.values()):
        raise InputError(f"holes {spec!r} are no mix: write '0.4 block + 0.6 freeform', every weight above 0")
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _add_weights(parts: Sequence[str]) -> dict[str, float]:
    """Return the weight of each name; a part without a weight weighs 1.

    >>> _add_weights(["2 block ", "center", "block"])
    {'block': 3.0, 'center': 1.0}
    """
    weights: dict[str, float] = defaultdict(float)
    for part in parts:
        weighted = re.fullmatch(r"(\d+\.?\d*|\.\d+)( .*)?", part.strip())
        weight, name = weighted.groups(default="") if weighted else (1, part)
        weights[name.strip()] += float(weight)
    return dict(weights)


def _is_folder(name: str | Path) -> bool:
    return name != "" and os.path.isdir(name)  # Path("") is the folder we are in


def _find_draw(name: str, folder: Path | None) -> Draw:
    if name in HOLES:
        return HOLES[name]
    if name == "folder":
        if folder is None:
            raise InputError("holes from a folder need the folder: give its path")
        return _Folder(folder)
    if _is_folder(name):
        return _Folder(Path(name))
    raise InputError(f"no holes called {name!r}, nor a folder of that name{did_you_mean(name, HOLES)}")


def _choose(rng: np.random.Generator, mix: list[tuple[Draw, float]]) -> Draw:
    """Draw one maker by its share."""
    rest = rng.random()
    for draw, share in mix:
        rest -= share
        if rest < 0:
            return draw
    return mix[-1][0]  # the shares add up to 1 but for rounding
