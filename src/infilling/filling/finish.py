"""Finish: what becomes of an engine's fill of a region before it is pasted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from infilling.filling.detail import FIRM_HINT, HINT, REACH, Guess, recover
from infilling.filling.patches import RADIUS
from infilling.filling.pyramid import Pyramid, count_sources, surround_pixels
from infilling.filling.repeats import predict
from infilling.filling.seam import match_seam
from infilling.filling.smooth import fill_smoothly
from infilling.filling.sources import find_window
from infilling.pictures.blend import sum_window
from infilling.pictures.frame import Region
from infilling.pictures.mask import Box, Mask, bounding_box, shift, widen
from infilling.pictures.picture import Bools, Floats, Levels, to_float

RIM = 8  # width, in px, of what is looked at around a hole to say whether it is plain
GREY_RIM = 3  # the same to say whether it is grey: no colour from farther off comes into the hole
PLAIN = 4 / 255  # largest range of each channel around a hole in a plain colour
GRAIN = 12 / 255  # largest standard deviation of grain on a plain colour
WINDOW = 3  # reach, in px, of the windows over which grain is averaged
SOURCE_DRIFT = 0.08  # of a channel's range: how far copies of a source, or of what repeats, are moved
GREY = 0.5 / 255  # largest difference of the channels of a pixel without colour
FLAT_ART = 0.5  # share of equal neighbours, or of a few colours, from which a picture is a flat drawing
FEW_COLOURS = 6  # that many are a few
SOME_PAIRS = 100_000  # neighbours that are compared, at most, in rows as far apart as that takes
SOME_PIXELS = 10_000  # pixels whose colours are counted, at most


class Look(NamedTuple):
    """What a look at the rim of a region's hole says.

    Attributes:
        near: the part of the picture that the hole is filled from.
        close: the hole's box and what is next to it.
        is_whole: the picture is all in the region, which the engine sees as it is.
        is_reduced: the engine sees the region reduced.
        is_smooth: no whole patch around the hole is known, or all around it is one plain colour.
        is_grain: all around it is one colour with grain.
    """

    near: Box
    close: Box
    is_whole: bool
    is_reduced: bool
    is_smooth: bool
    is_grain: bool

    @property
    def is_enough(self) -> bool:
        """Whether the hole is filled without an engine."""
        return self.is_smooth or self.is_grain


class Study(NamedTuple):
    """What can be said of a hole without an engine.

    Attributes:
        look: where that is.
        image: (look.near.height, look.near.width, 3) in [0, 1].
        hole: (look.near.height, look.near.width) bool.
        fill: (look.near.height, look.near.width, 3), the fill; None if more is to be done.
        guess: what the hole may hold, to be drawn by copies; None if only an engine can tell.
        drift: how far copies may be moved; None if they are to meet the rim.
        pyramid: of image and hole, as far as it was needed.
    """

    look: Look
    image: Floats
    hole: Bools
    fill: Floats | None = None
    guess: Guess | None = None
    drift: float | None = None
    pyramid: Pyramid | None = None


def look(pixels: Levels, hole: Mask, given: Mask, region: Region) -> Look:
    """Look at the rim of a region's hole.

    Args:
        pixels: (H, W, 1 or 3), the picture as it is by now.
        hole: (H, W) bool, what of it is not filled yet.
        given: (H, W) bool, what of it was hole at first.
        region: what is to be filled.
    """
    near, around, close = (widen(region.core, reach, region.box) for reach in (REACH, RIM, GREY_RIM))
    rim, gap = to_float(pixels[around.slices]), hole[around.slices]
    is_smooth = not count_sources(given[near.slices], RADIUS) or _is_plain(rim, gap)
    return Look(
        near,
        close,
        is_whole=(region.box.height, region.box.width) == hole.shape,
        is_reduced=region.size != (region.frame.height, region.frame.width),
        is_smooth=is_smooth,
        is_grain=not is_smooth and _is_grain(rim, gap),
    )


def study(pixels: Levels, hole: Mask, seen: Look) -> Study:
    """Find what can be said of a hole without an engine: where it repeats, is smooth, or one colour.

    Args:
        pixels: (H, W, 1 or 3), the picture as it is by now.
        hole: (H, W) bool, what of it is not filled yet.
        seen: of the region.
    """
    gap = hole[seen.near.slices]
    image = to_float(pixels[seen.near.slices], surround_pixels(seen.near.height, seen.near.width, RADIUS))
    if seen.is_smooth:
        return Study(seen, image, gap, fill=fill_smoothly(image, gap))
    pyramid = [(image, gap)]
    repeated = predict(image, gap, pyramid)
    if repeated is not None and repeated.is_exact:
        return Study(seen, image, gap, fill=repeated.image)
    guess, drift = None, None
    if repeated is not None:
        guess, drift = Guess(repeated.image, FIRM_HINT, FIRM_HINT), SOURCE_DRIFT
    elif seen.is_grain:
        guess = Guess(fill_smoothly(image, gap), FIRM_HINT)
    drift = 0 if _is_flat_art(image, gap) else drift
    return Study(seen, image, gap, guess=guess, drift=drift, pyramid=pyramid)


def finish(filled: Floats, region: Region, studied: Study, *, seed: int = 0, guide: float = 1.0) -> None:
    """Finish an engine's fill of a region.

    - Where no whole patch around the hole is known, or all around it is one plain colour, it is filled
      smoothly.
    - A network that saw the whole picture as it is has filled it as it learned to: that stays. In a reduced
      crop its fill is blurred; in a part of a larger picture, of which it has seen few, copies of what is
      around the hole are sharper and nearer to the truth; in a drawing in flat colours they are exact: these
      are redrawn by copies.
    - Where what is around the hole repeats, that is copied as it is if it is exact; else it, not the
      network's fill, says what goes where. In one colour with grain the colour does.
    - A network's colours are matched at the seam; what repeats is moved by `SOURCE_DRIFT` at the most.
    - Where all next to the hole is grey, so is the fill.

    Args:
        filled: (region.box.height, region.box.width, 3) in [0, 1]; written to. What it holds does not matter
            where `Look.is_enough`.
        region: what is filled.
        studied: of the region.
        seed: of the search's random jumps; the same seed gives the same result.
        guide: factor of the fill's weight in the choice of what is copied.
    """
    seen = studied.look
    near = shift(seen.near, region.box)
    part = studied.fill
    if part is None:
        part = _draw(studied, filled[near.slices], seed, guide)
    gaps = bounding_box(studied.hole)  # the rest of a large crop is not touched
    part = part[gaps.slices]
    close = shift(seen.close, seen.near).slices
    if not seen.is_smooth and _is_grey(studied.image[close], studied.hole[close]):
        part = np.repeat(part.mean(axis=2, keepdims=True), 3, axis=2)
    filled[near.slices][gaps.slices] = part


def _draw(studied: Study, network: Floats, seed: int, guide: float) -> Floats:
    """Draw a hole by copies, or as the network did; see `finish`.

    Args:
        studied: of the hole, which nothing exact is said of.
        network: (H, W, 3), its fill.
        seed: of the search.
        guide: factor of a guess's weight.
    """
    seen, image, hole, drift = studied.look, studied.image, studied.hole, studied.drift
    guess = studied.guess
    if guess is None:
        if drift is None and seen.is_whole and not seen.is_reduced:
            return match_seam(image, network, hole)
        guess = Guess(network, HINT if seen.is_reduced else FIRM_HINT)
    rng, pyramid = np.random.default_rng(seed), studied.pyramid
    return recover(image, hole, guess.weigh(guide), rng, most_drift=drift, pyramid=pyramid)


def copy_from_source(
    pixels: Levels, hole: Mask, filled: Floats, region: Region, seed: int, source: Mask, weight: float
) -> Floats:
    """Replace the fill of a region by copies from a source: the fill shows what goes where.

    Args:
        pixels: (H, W, 1 or 3), the picture as it is by now.
        hole: (H, W) bool, what of it is not filled yet.
        filled: (region.box.height, region.box.width, 3) in [0, 1]; written to.
        region: what the engine filled.
        seed: of the search's random jumps.
        source: (H, W) bool, where texture may be copied from.
        weight: factor of the fill's weight in the choice of what is copied.

    Returns:
        `filled`.
    """
    near = find_window(region.core, source)
    image, gap = to_float(pixels[near.slices]), hole[near.slices]
    guide = np.empty_like(image)
    guide[:] = image[~gap].mean(axis=0, dtype=np.float64)  # for other holes in the window
    here, there = shift(region.core, region.box).slices, shift(region.core, near).slices
    guide[there] = filled[here]
    rng = np.random.default_rng(seed)
    allowed = source[near.slices]
    guess = Guess(guide).weigh(weight)
    filled[here] = recover(image, gap, guess, rng, source=allowed, most_drift=SOURCE_DRIFT)[there]
    return filled


def _is_plain(image: Floats, hole: Bools) -> bool:
    """Say whether what is known of (H, W, 3) is of one colour: the range of each channel is small."""
    known = ~hole
    return bool(known.any()) and all(np.ptp(channel[known]) <= PLAIN for channel in image.transpose(2, 0, 1))


def _is_grey(image: Floats, hole: Bools) -> bool:
    """Say whether what is known of (H, W, 3) has no colour: each pixel's channels are alike."""
    known = ~hole
    red, green, blue = image.transpose(2, 0, 1)
    pairs = ((red, green), (green, blue), (red, blue))
    return all(np.abs(one - other)[known].max(initial=0) <= GREY for one, other in pairs)


def _is_grain(image: Floats, hole: Bools) -> bool:
    """Say whether what is known of (H, W, 3) is one colour with grain: its means over windows are alike.

    Of N pixels of grain with a deviation s, the mean deviates by s / √N. Windows of which half are known
    have N of 24 or more, so that nearly all means are within s of each other.
    """
    some = image[::4][~hole[::4]]
    if len(some) and some.std(axis=0).max() > 2 * (GRAIN + PLAIN):  # far more than such grain and means allow
        return False
    known = (~hole)[..., None].astype(np.float32)
    count = sum_window(known, WINDOW)
    mean = sum_window(image * known, WINDOW) / np.maximum(count, 1)
    whole = (count[..., 0] >= (2 * WINDOW + 1) ** 2 / 2) & ~hole
    if not whole.any():
        return False
    grain = np.sqrt(np.square(image[whole] - mean[whole]).mean(axis=0))
    ranges = np.ptp(mean[whole], axis=0)
    return bool(grain.max() <= GRAIN and (ranges <= PLAIN + grain).all())


def _is_flat_art(image: Floats, hole: Bools) -> bool:
    """Say whether a picture (H, W, 3) is drawn in flat colours.

    Most of its known neighbours are equal; in a small drawing, of which much is outline, a few colours are
    most of it.
    """
    rows = slice(None, None, -(-hole.size // SOME_PAIRS))
    known, some = ~hole[rows], image[rows]
    pairs = known[:, 1:] & known[:, :-1]
    red, green, blue = (some[:, 1:] == some[:, :-1]).transpose(2, 0, 1)
    count, among = (int(np.count_nonzero(each)) for each in (red & green & blue & pairs, pairs))
    if count >= FLAT_ART * max(1, among):
        return True
    pixels = some[known]
    pixels = pixels[:: -(-len(pixels) // SOME_PIXELS) or 1]
    colours = np.rint(pixels * 255).astype(np.int64) @ (65536, 256, 1)
    counts = np.unique(colours, return_counts=True)[1]
    return bool(np.sort(counts)[-FEW_COLOURS:].sum() >= FLAT_ART * counts.sum())
