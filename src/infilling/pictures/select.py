"""Selecting a thing in a picture by clicks or a scribble.

On a reduced copy, each pixel is given to the side, thing or background, from which the path to it is cheaper.
Models of the colours of both sides improve that: GrabCut where OpenCV is installed. The outline is then
refined on a larger copy, by the colours next to it.

Sources: Rother, Kolmogorov and Blake, GrabCut (2004); Bai and Sapiro, geodesic segmentation (2007).
"""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from infilling.errors import InputError
from infilling.pictures.blend import sum_window
from infilling.pictures.colour_models import improve_by_colours
from infilling.pictures.mask import Box, Mask, bounding_box, find_groups, grow, widen
from infilling.pictures.picture import Array, Floats, Ints, Picture

Point = tuple[float, float]

SIDE = 224  # px; long side of the copy that is divided into thing and background
FINE_SIDE = 1024  # px; long side of the copy that the outline is refined on
PEN = 2  # px on the reduced copy; radius of a point
ROUNDS = 1  # rounds of GrabCut; three find no more of 120 cut-outs, and take twice the time
BINS = 12  # bins of a colour histogram along each of its three axes
SWEEPS = 2  # sweeps over the copy, down and up, that find the cheapest paths
STEP = 0.01  # cost of a step where nothing changes
EDGE = 0.5  # cost of a step between black and white
DOUBT = 1.0  # cost of a step onto a pixel whose colour is only found on the other side
COLLAPSE = 4  # colour models are not believed if they leave less than 1/4 of what the paths found
SPECK = 50  # a gap in the thing is closed if the thing has over 50 times its pixels
NOISE = 1e-3  # squared distance of colours, in [0, 1], that decides nothing


@dataclass(frozen=True)
class Reduced:
    """What is looked at of a picture: a few MB, of which several questions can be asked.

    Attributes:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        fine: copy that the outline is refined on.
        small: (h, w, 3) in [0, 1], copy that is divided into thing and background.
        clear: (h, w) bool, what is transparent in it; None: nothing is.
    """

    height: int
    width: int
    fine: Image.Image
    small: Floats
    clear: Mask | None


def reduce_picture(picture: Picture) -> Reduced:
    """Return what `select_object` looks at of a picture."""
    fine = _reduce(_to_image(picture), FINE_SIDE)
    small = _to_floats(_reduce(fine, SIDE))
    clear = None if picture.alpha is None else _resize(picture.alpha != 0, small.shape[:2]) < 0.5
    return Reduced(picture.height, picture.width, fine, small, clear)


def select_object(
    picture: Picture | Reduced, points: Sequence[Point], *, background: Sequence[Point] = ()
) -> Mask:
    """Select the thing under clicks or a scribble.

    Args:
        picture: of any size and depth, or what `reduce_picture` made of it. What is transparent is
            background.
        points: (x, y) in pixels, on the thing: one click, or places along a scribble.
        background: (x, y) in pixels, on what does not belong to it.

    Returns:
        (H, W) bool, True = the thing. It holds every point.

    Raises:
        InputError: there are no points, or one is outside the picture.
    """
    seeds, others = _check_points(picture, points), _check_points(picture, background)
    if not len(seeds):
        raise InputError("no point says where the thing is: give at least one x,y")
    seen = picture if isinstance(picture, Reduced) else reduce_picture(picture)
    thing, ground = (_draw_points(each, seen) for each in (seeds, others))
    ground &= ~thing
    if seen.clear is not None:
        ground |= ~thing & seen.clear
    found = thing
    if not thing.all():
        found = _divide_by_paths(seen.small, thing, ground)
        has_opencv = importlib.util.find_spec("cv2") is not None
        improve = _improve_with_grabcut if has_opencv else improve_by_colours
        improved = improve(seen.small, found, thing, ground)
        if np.count_nonzero(improved) * COLLAPSE >= np.count_nonzero(found):
            found = improved
        found = _tidy(found, thing, ground)
    selected = _refine(found, _to_floats(seen.fine), (seen.height, seen.width))
    selected[tuple(seeds.T)] = True
    return selected


# -- points and copies ---------------------------------------------------------------------------------------


def _check_points(picture: Picture | Reduced, points: Sequence[Point]) -> Ints:
    """Return (N, 2) row and column of each point."""
    try:
        places = np.floor(np.array([(y, x) for x, y in points], np.float64).reshape(-1, 2))
    except (TypeError, ValueError):
        raise InputError("points are (x, y) in pixels, such as [(120, 80), (130, 82)]") from None
    inside = ((places >= 0) & (places < (picture.height, picture.width))).all(axis=1)
    if not inside.all():
        y, x = places[~inside][0]
        size = f"{picture.width}×{picture.height} (width × height)"
        raise InputError(f"the point {x:g},{y:g} is outside the picture, which is {size}")
    return places.astype(np.intp)


def _draw_points(places: Ints, seen: Reduced) -> Mask:
    """Draw (N, 2) rows and columns of the picture as discs into a mask (h, w) of its small copy."""
    shape = seen.small.shape[:2]
    mask = np.zeros(shape, dtype=bool)
    rows = places[:, 0] * shape[0] // seen.height
    columns = places[:, 1] * shape[1] // seen.width
    mask[rows, columns] = True
    return grow(mask, min(PEN, max(shape) * PEN // SIDE))


def _to_image(picture: Picture) -> Image.Image:
    """Return an image of 8 bits, grey or RGB."""
    pixels = picture.pixels if picture.pixels.dtype == np.uint8 else (picture.pixels >> 8).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _reduce(image: Image.Image, side: int) -> Image.Image:
    """Average an image so that its long side is at most `side`."""
    scale = min(1.0, side / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _to_floats(image: Image.Image) -> Floats:
    """Return (h, w, 3) in [0, 1]."""
    return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


def _resize(plane: Array, shape: tuple[int, ...]) -> Floats:
    """Return (h, w) float32, interpolated or averaged."""
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


# -- dividing ------------------------------------------------------------------------------------------------


def _divide_by_paths(small: Floats, thing: Mask, ground: Mask) -> Mask:
    """Give each pixel to the side from which the path to it is cheaper.

    Steps cost more where the colour changes, and onto pixels whose colour is found on the other side rather
    than under the points.
    """
    bins = np.minimum((small * BINS).astype(np.intp), BINS - 1) @ np.array([BINS * BINS, BINS, 1])
    share = _compare_colours(bins, thing)
    across = EDGE * np.abs(np.diff(small, axis=1)).mean(axis=2)
    down = EDGE * np.abs(np.diff(small, axis=0)).mean(axis=2)
    rim = ~thing
    rim[1:-1, 1:-1] = False
    near = _measure_paths(thing, across, down, STEP + DOUBT * (1 - share))
    far = _measure_paths(ground | rim, across, down, STEP + DOUBT * share)
    return np.asarray((near < far) | thing)


def _compare_colours(bins: Ints, found: Mask) -> Floats:
    """Return (h, w) in [0, 1], how much more often each colour is in what was found than elsewhere."""
    inside = _count_colours(bins[found]) / max(1, np.count_nonzero(found))
    outside = _count_colours(bins[~found]) / max(1, np.count_nonzero(~found))
    share: Floats = ((inside + 1e-6) / (inside + outside + 2e-6)).astype(np.float32)
    return share[bins]


def _count_colours(bins: Ints) -> Array:
    """Count colours by bin, each also in the neighbouring bins."""
    counts = np.bincount(bins, minlength=BINS**3).reshape(BINS, BINS, BINS).astype(np.float64)
    for axis in range(3):
        padded = np.insert(counts, [0, BINS], 0, axis=axis)
        before, after = (padded.take(range(start, start + BINS), axis=axis) for start in (0, 2))
        counts = 0.5 * counts + 0.25 * (before + after)
    return counts.ravel()


def _measure_paths(seeds: Mask, across: Floats, down: Floats, cost: Floats) -> Floats:
    """Return (h, w) the cost of the cheapest path from a seed to each pixel.

    Along a row, the cheapest path from x' to x costs C[x] - C[x'] with the running sum C of the steps, so
    that the least of D[x'] - C[x'] so far, plus C[x], is what a whole row of steps comes to.

    Args:
        seeds: (h, w) bool.
        across: (h, w - 1) cost of a step to the right or back.
        down: (h - 1, w) cost of a step down or back.
        cost: (h, w) cost of stepping onto a pixel.
    """
    paths = np.where(seeds, np.float32(0), np.float32(1e6))
    right = across + (cost[:, 1:] + cost[:, :-1]) / 2
    below = down + (cost[1:] + cost[:-1]) / 2
    sums = np.pad(np.cumsum(right, axis=1), ((0, 0), (1, 0)))
    height = len(paths)
    for _ in range(SWEEPS):
        for row, other in [(y, y - 1) for y in range(height)] + [(y, y + 1) for y in range(height)[::-1]]:
            best, total = paths[row], sums[row]
            if 0 <= other < height:
                np.minimum(best, paths[other] + below[min(row, other)], out=best)
            np.minimum(best, np.minimum.accumulate(best - total) + total, out=best)
            np.minimum(best, np.minimum.accumulate((best + total)[::-1])[::-1] - total, out=best)
    return paths


def _improve_with_grabcut(small: Floats, found: Mask, thing: Mask, ground: Mask) -> Mask:
    """Divide a picture again, by colour models of both sides and a cut along its edges."""
    import cv2

    labels = np.where(found, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[[0, -1]] = labels[:, [0, -1]] = cv2.GC_BGD
    labels[ground] = cv2.GC_BGD
    labels[thing] = cv2.GC_FGD
    if not (labels & 1 == 0).any():
        return found
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    pixels = np.rint(small * 255).astype(np.uint8)
    cv2.grabCut(pixels, labels, (0, 0, 1, 1), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray(labels & 1 == 1)


def _tidy(found: Mask, thing: Mask, ground: Mask) -> Mask:
    """Keep what hangs together with a point, and close small gaps in it."""
    groups = find_groups(found | thing)
    kept = groups.paint(np.unique(groups.find(*np.nonzero(thing))), *found.shape)
    gaps = find_groups(~kept)
    sizes = np.bincount(gaps.labels, gaps.ends - gaps.starts, len(gaps.boxes))
    small = np.flatnonzero(sizes * SPECK < np.count_nonzero(kept))
    return (kept | gaps.paint(small, *found.shape)) & ~ground


# -- the outline ---------------------------------------------------------------------------------------------


def _refine(found: Mask, fine: Floats, shape: tuple[int, int]) -> Mask:
    """Enlarge what was found to the picture's size, its outline moved to where the colours change.

    In a band along the outline, a pixel's colour is compared with the mean colours of both sides near by.

    Args:
        found: (h, w) bool, on the reduced copy.
        fine: (h', w', 3) in [0, 1], the larger copy.
        shape: (H, W), the size of the picture.
    """
    if found.shape == shape:
        return found.copy()
    score = _resize(2.0 * found - 1, fine.shape[:2]).copy()
    reach = 2 * max(1, round(fine.shape[0] / found.shape[0]))
    whole = Box(0, 0, fine.shape[1], fine.shape[0])
    near = widen(bounding_box(score > -1), 2 * reach, whole).slices
    score[near] = _compare_sides(fine[near], score[near], reach)
    return _enlarge(score, widen(bounding_box(score > 0), 2, whole), shape)


def _enlarge(score: Floats, box: Box, shape: tuple[int, int]) -> Mask:
    """Return (H, W) bool, where the interpolated score (h, w) is above 0; `box` holds all of that."""
    down, across = shape[0] / score.shape[0], shape[1] / score.shape[1]
    left, top = int(box.x * across), int(box.y * down)
    right = min(shape[1], math.ceil((box.x + box.width) * across))
    bottom = min(shape[0], math.ceil((box.y + box.height) * down))
    end = min(score.shape[1], right / across), min(score.shape[0], bottom / down)
    source = (left / across, top / down, *end)
    part = Image.fromarray(score).resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=source)
    found = np.zeros(shape, dtype=bool)
    found[top:bottom, left:right] = np.asarray(part) > 0
    return found


def _compare_sides(image: Floats, score: Floats, reach: int) -> Floats:
    """Return (h, w) the score, -1 outside to 1 inside, weighed up with the colours in the band between."""
    band = grow(np.abs(score) < 1, reach // 2)
    planes = np.concatenate([image, np.ones_like(image[..., :1])], axis=2)
    inside = sum_window(planes * (score > 0)[..., None], 2 * reach)
    outside = sum_window(planes, 2 * reach) - inside
    distances = [
        ((image - side[..., :3] / np.maximum(side[..., 3:], 1)) ** 2).sum(axis=2)
        for side in (inside, outside)
    ]
    gain = (distances[1] - distances[0]) / (distances[0] + distances[1] + np.float32(NOISE))
    return np.where(band, score + gain, score)
