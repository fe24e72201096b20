"""Random holes to train and to judge with: centre, block, free-form strokes, the protocols of other projects.

The same seed gives the same masks on every machine and with every version of NumPy and Pillow: every number
comes from `rng.random()` (53 bits of the bit stream, a definition that does not change between versions),
positions are rounded to whole pixels before they are drawn, and the drawing is our own. Masks are drawn one
after the other, so the first 100 of 1,000 are the masks that a call for 100 gives.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from infilling.errors import InputError, did_you_mean
from infilling.pictures.mask import Mask, resize_nearest
from infilling.pictures.mask_files import read_mask
from infilling.pictures.picture import EXTENSIONS, Bools
from infilling.pictures.strokes import Line, Window, rasterise

Masks = Bools
# rng, count, height, width -> (count, height, width)
HoleMaker = Callable[[np.random.Generator, int, int, int], Masks]
# rng, height, width -> (height, width)
Draw = Callable[[np.random.Generator, int, int], Mask]

TRIES = 1000  # redraws of one mask before its limits are called impossible
FREEFORM_BINS = ((5, 10), (10, 20), (20, 30), (30, 40), (40, 50))  # per cent of the picture, each (low, high]
LARGE_BINS = ((30, 40), (40, 50), (50, 60), (60, 70), (70, 80), (80, 90))  # likewise
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
    mix = [(_find_draw(name, folder), weight) for name, weight in parse(spec).items()]
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
        for _ in range(TRIES):
            mask[...] = draw(rng, height, width)
            area = np.count_nonzero(mask)
            if 0 < area < mask.size and low <= area / mask.size <= high:
                break
        else:
            raise InputError(
                f"none of {TRIES} masks from {spec!r} at {width}×{height} had hole, known pixels and an area "
                f"between {low:g} and {high:g} of the picture: widen the limits or choose other holes"
            )
    return masks


def center(height: int, width: int) -> Mask:
    """Make the central hole of half the height and half the width (context encoders, Pathak et al. 2016)."""
    mask = np.zeros((height, width), dtype=bool)
    tall, wide = max(1, height // 2), max(1, width // 2)
    _draw_box(mask, (width - wide) // 2, (height - tall) // 2, wide, tall)
    return mask


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


# -- one mask at a time --------------------------------------------------------------------------------------


def _draw_center(rng: np.random.Generator, height: int, width: int) -> Mask:
    return center(height, width)


def _draw_block(rng: np.random.Generator, height: int, width: int) -> Mask:
    """One box, sides 32 to 64 at 128 px and in proportion at other sizes, each uniform, placed uniformly."""
    mask = np.zeros((height, width), dtype=bool)
    shortest, longest = (max(1, (min(height, width) * part + 64) // 128) for part in (32, 64))
    tall, wide = _pick(rng, shortest, longest), _pick(rng, shortest, longest)
    _draw_box(mask, _pick(rng, 0, width - wide), _pick(rng, 0, height - tall), wide, tall)
    return mask


def _draw_freeform(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    bins: tuple[tuple[int, int], ...] = FREEFORM_BINS,
) -> Mask:
    """Strokes and some boxes, added until the area falls into a bin that was drawn beforehand.

    The bins are equally likely. Shapes suit the area that is left in the bin, and one that would overshoot it
    is thrown away.
    """
    low, high = bins[_pick(rng, 0, len(bins) - 1)]
    pixels = height * width
    least, most = low * pixels // 100 + 1, high * pixels // 100
    if least > most:
        raise InputError(
            f"a picture of {width}×{height} is too small for freeform holes of {low} to {high} %"
        )
    enough = _pick(rng, least, (2 * least + 3 * most) // 5)  # the last shape goes beyond: even within the bin
    mask = np.zeros((height, width), dtype=bool)
    area = 0
    while area < enough:
        reach = math.sqrt(min(pixels, 8 * (most - area)))
        shape = _shape_box if rng.random() < 0.3 else _shape_stroke
        (rows, columns), drawn = shape(rng, height, width, reach)
        part = mask[rows, columns]
        added = int(np.count_nonzero(drawn & ~part))
        if area + added <= most:
            part |= drawn
            area += added
    return mask


def _draw_lama(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    strokes: tuple[int, int],
    pen: int,
    length: int,
    boxes: tuple[int, int] = (0, 0),
    sides: tuple[int, int] = (0, 0),
    margin: int = 0,
    box_share: float = 0.0,
    max_area: float = 1.0,
) -> Mask:
    """Masks of LaMa (Suvorov et al. 2022): strokes, or boxes with the probability `box_share`.

    Lengths are those at 256 px. A stroke is 1 to 5 segments, each with its own whole-radian angle (0.01 + 0
    to 3, of the other sign on even strokes), length (10 + below `length`) and width (5 + below `pen`). Masks
    with more than `max_area` of hole are drawn again.
    """
    scale = min(height, width) / 256
    for _ in range(TRIES):
        mask = np.zeros((height, width), dtype=bool)
        if rng.random() < box_share:
            for _ in range(_pick(rng, *boxes)):
                wide, tall = (max(1, round(scale * _pick(rng, sides[0], sides[1] - 1))) for _ in range(2))
                edge = round(scale * margin)
                x, y = _pick(rng, edge, width - wide - edge), _pick(rng, edge, height - tall - edge)
                _draw_box(mask, x, y, wide, tall)
        else:
            lines: list[Line] = []
            for stroke in range(_pick(rng, *strokes)):
                x, y = _pick(rng, 0, width - 1), _pick(rng, 0, height - 1)
                for _ in range(_pick(rng, 1, 5)):
                    angle = (0.01 + _pick(rng, 0, 3)) * (-1 if stroke % 2 == 0 else 1)
                    reach = scale * (10 + _pick(rng, 0, length - 1))
                    to_x = _clip(round(x + reach * math.sin(angle)), width)
                    to_y = _clip(round(y + reach * math.cos(angle)), height)
                    radius = max(0.5, scale * (5 + _pick(rng, 0, pen - 1)) / 2)
                    lines.append((x, y, to_x, to_y, radius))
                    x, y = to_x, to_y
            _draw_lines(mask, lines)
        if np.count_nonzero(mask) <= max_area * mask.size:
            return mask
    raise InputError(
        f"no LaMa mask out of {TRIES} at {width}×{height} covered at most {max_area:.0%} of the picture"
    )


def _draw_deepfill(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Strokes of DeepFillv2 (Yu et al. 2019): 1 to 3 zigzags of 4 to 12 vertices, flipped at random."""
    scale, diagonal = min(height, width) / 256, math.hypot(height, width)
    lines: list[Line] = []
    for _ in range(_pick(rng, 1, 3)):
        low = 2 * math.pi / 5 - rng.random() * 2 * math.pi / 15
        high = 2 * math.pi / 5 + rng.random() * 2 * math.pi / 15
        radius = max(0.5, scale * (12 + 28 * rng.random()) / 2)
        x, y = _pick(rng, 0, width - 1), _pick(rng, 0, height - 1)
        for vertex in range(_pick(rng, 4, 12)):
            turn = low + rng.random() * (high - low)
            angle = -turn if vertex % 2 == 0 else turn
            reach = min(max(diagonal / 8 + diagonal / 16 * _draw_normal(rng), 0), diagonal / 4)
            to_x = _clip(round(x + reach * math.cos(angle)), width)
            to_y = _clip(round(y + reach * math.sin(angle)), height)
            lines.append((x, y, to_x, to_y, radius))
            x, y = to_x, to_y
    mask = np.zeros((height, width), dtype=bool)
    _draw_lines(mask, lines)
    mask = mask[:, ::-1] if rng.random() < 0.5 else mask
    return mask[::-1] if rng.random() < 0.5 else mask


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
        key = self._files[_pick(rng, 0, len(self._files) - 1)], height, width
        if key not in self._packed:
            try:
                self._packed[key] = np.packbits(resize_nearest(read_mask(key[0]), height, width))
            except InputError as error:
                raise InputError(f"mask file {key[0]}: {error}") from error
        bits = np.unpackbits(self._packed[key], count=height * width)
        return bits.reshape(height, width).astype(bool)


# -- drawing -------------------------------------------------------------------------------------------------


def _pick(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw a whole number from low to high, both included."""
    return low + int(rng.random() * (high - low + 1))


def _draw_normal(rng: np.random.Generator) -> float:
    """Draw from N(0, 1) by Box and Muller's transform."""
    return math.sqrt(-2 * math.log(1 - rng.random())) * math.cos(2 * math.pi * rng.random())


def _clip(place: int, side: int) -> int:
    return min(max(place, 0), side - 1)


def _draw_box(mask: Mask, x: int, y: int, width: int, height: int) -> None:
    mask[y : y + height, x : x + width] = True


def _draw_lines(mask: Mask, lines: list[Line]) -> None:
    (rows, columns), drawn = rasterise(lines, *mask.shape)
    mask[rows, columns] |= drawn


def _shape_box(rng: np.random.Generator, height: int, width: int, reach: float) -> tuple[Window, Mask]:
    """Shape a box whose sides are 0.1 to 0.5 of `reach`."""
    tall = min(height, max(1, round(reach * (0.1 + 0.4 * rng.random()))))
    wide = min(width, max(1, round(reach * (0.1 + 0.4 * rng.random()))))
    x, y = _pick(rng, 0, width - wide), _pick(rng, 0, height - tall)
    return (slice(y, y + tall), slice(x, x + wide)), np.ones((tall, wide), dtype=bool)


def _shape_stroke(rng: np.random.Generator, height: int, width: int, reach: float) -> tuple[Window, Mask]:
    """Shape a stroke that bends: 1 to 5 segments of 0.1 to 0.5 of `reach`, the pen 0.04 to 0.2 wide."""
    radius = max(0.5, reach * (0.02 + 0.08 * rng.random()))
    x, y = _pick(rng, 0, width - 1), _pick(rng, 0, height - 1)
    angle = 2 * math.pi * rng.random()
    lines: list[Line] = []
    for _ in range(_pick(rng, 1, 5)):
        length = reach * (0.1 + 0.4 * rng.random())
        to_x = _clip(round(x + length * math.cos(angle)), width)
        to_y = _clip(round(y + length * math.sin(angle)), height)
        lines.append((x, y, to_x, to_y, radius))
        x, y = to_x, to_y
        angle += math.pi * (rng.random() - 0.5)
    return rasterise(lines, height, width)


# -- the table -----------------------------------------------------------------------------------------------

_THIN = partial(_draw_lama, strokes=(4, 50), pen=10, length=40, max_area=0.5)
_MEDIUM = partial(_draw_lama, strokes=(4, 5), pen=50, length=100, boxes=(1, 5), sides=(10, 50), max_area=0.5)
_THICK = partial(
    _draw_lama, strokes=(1, 5), pen=100, length=200, boxes=(1, 3), sides=(30, 150), margin=10, max_area=0.5
)
_TRAIN = partial(_draw_lama, strokes=(1, 5), pen=100, length=200, boxes=(1, 4), sides=(30, 150), margin=10)
_DRAWS: dict[str, Draw] = {
    "center": _draw_center,
    "block": _draw_block,
    "freeform": _draw_freeform,
    "large": partial(_draw_freeform, bins=LARGE_BINS),
    "lama-thin": _THIN,
    "lama-medium": partial(_MEDIUM, box_share=0.3 / 1.3),  # strokes weigh 1, boxes 0.3
    "lama-thick": partial(_THICK, box_share=0.3 / 1.3),
    "lama-train": partial(_TRAIN, box_share=0.5),
    "deepfill": _draw_deepfill,
}


def _make_each(draw: Draw, rng: np.random.Generator, count: int, height: int, width: int) -> Masks:
    masks = np.empty((count, height, width), dtype=bool)
    for mask in masks:
        mask[...] = draw(rng, height, width)
    return masks


HOLES: dict[str, HoleMaker] = {name: partial(_make_each, draw) for name, draw in _DRAWS.items()}


def parse(spec: str | Path | Mapping[str, float]) -> dict[str, float]:
    """Read a spec into shares by name that add up to 1; a name may still be a folder.

    Raises:
        InputError: not a mix, or a weight that is no positive number.

    >>> parse("1 block + 3 freeform")
    {'block': 0.25, 'freeform': 0.75}
    """
    if isinstance(spec, Mapping):
        weights = {str(name): float(weight) for name, weight in spec.items()}
    elif str(spec) in _DRAWS or _is_folder(spec):
        weights = {str(spec): 1.0}
    else:
        weights = {}
        for part in str(spec).split("+"):
            number, _, name = part.strip().partition(" ")
            if not re.fullmatch(r"\d+\.?\d*|\.\d+", number):
                number, name = "1", part
            name = name.strip()
            weights[name] = weights.get(name, 0.0) + float(number)
    if not weights or not all(0 < weight < math.inf for weight in weights.values()):
        raise InputError(f"holes {spec!r} are no mix: write '0.4 block + 0.6 freeform', every weight above 0")
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _is_folder(name: str | Path) -> bool:
    return name != "" and os.path.isdir(name)  # Path("") is the folder we are in


def _find_draw(name: str, folder: Path | None) -> Draw:
    if name in _DRAWS:
        return _DRAWS[name]
    if name == "folder":
        if folder is None:
            raise InputError("holes from a folder need the folder: give its path")
        return _Folder(folder)
    if _is_folder(name):
        return _Folder(Path(name))
    raise InputError(f"no holes called {name!r}, nor a folder of that name{did_you_mean(name, _DRAWS)}")


def _choose(rng: np.random.Generator, mix: list[tuple[Draw, float]]) -> Draw:
    """Draw one maker by its share."""
    rest = rng.random()
    for draw, share in mix:
        rest -= share
        if rest < 0:
            return draw
    return mix[-1][0]  # the shares add up to 1 but for rounding
