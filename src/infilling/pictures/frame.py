"""The plan of a fill: which crops an engine sees, how each is cut from the picture, and the way back.

A hole is seen in a crop with at least its own size of picture on every side. Holes that fit the engine's
working size in this way, and thin ones of any length (a scratch, a wire, a line of text), are filled at full
resolution; near ones share a crop. Only a hole that is both large and solid is seen in a reduced crop. What
is thin comes first, so that the large holes are filled from whole surroundings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from infilling.errors import InputError, ModelError, check_count, show_value
from infilling.pictures.clusters import (
    find_solid,
    join_edges,
    pack,
    split_groups,
    to_box,
    to_edges,
    unite,
    widen_edges,
)
from infilling.pictures.mask import Box, Mask, bounding_box, find_groups, require_known, shift
from infilling.pictures.picture import Floats, Ints, Levels, find_top, to_float
from infilling.pictures.resample import enlarge, mirror, reduce

MOST_SIDE = 65_536  # of what an engine may ask for, pixels
CROP_SIDE = 512  # side of the crops of thin and small holes for engines without a size of their own
MOST_SEEN = 4  # times the picture's pixels, in all crops of one kind together
FEW = 16  # crops that are never too many


@dataclass(frozen=True)
class SizeRule:
    """The sizes and holes an engine takes.

    Attributes:
        multiple_of: sides are multiples of this.
        working_size: the side at which it works best; larger crops are reduced to it. None: any.
        fixed_size: the side of the only square it takes. None: any size.
        holes: "any"; "block": one box, the bounding box of the mask; "center": the central half of each side.
    """

    multiple_of: int = 1
    working_size: int | None = None
    fixed_size: int | None = None
    holes: Literal["any", "block", "center"] = "any"

    def __post_init__(self) -> None:
        try:
            check_count("multiple_of", self.multiple_of, 1, MOST_SIDE)
            check_count("working_size", self.working_size, 1, MOST_SIDE, optional=True)
            check_count("fixed_size", self.fixed_size, 1, MOST_SIDE, optional=True)
        except InputError as error:
            raise ModelError(str(error)) from error
        if (self.fixed_size or 0) % self.multiple_of:
            raise ModelError(f"{self}: fixed_size is a multiple of multiple_of")
        if not isinstance(self.holes, str) or self.holes not in ("any", "block", "center"):
            raise ModelError(
                f"an engine fills 'any' holes, a 'block' or the 'center', not {show_value(self.holes)}"
            )


@dataclass(frozen=True, eq=False)
class Region:
    """One crop that an engine fills.

    Attributes:
        box: the part of the picture that the crop shows.
        frame: the crop in the picture's coordinates. Where the picture is too small for the engine, it
            reaches beyond `box`: there the picture is mirrored at its edge, and the mask with it. So a hole
            at the edge stays open, no hole pixel is taken for known, and a smooth fill is level at the edge.
        size: (height, width) the engine sees; the frame is reduced to it if it is larger.
        core: the box round the hole pixels that this region is to fill.
        hole: (core.height, core.width) bool, those pixels. Each of the mask's is in one region.
        alone: the engine fills one hole; others in the crop are covered with the mean of the known pixels.
    """

    box: Box
    frame: Box
    size: tuple[int, int]
    core: Box
    hole: Mask
    alone: bool = False

    def cut(self, pixels: Levels, mask: Mask) -> tuple[Floats, Floats]:
        """Cut the crop out of the picture as the engine wants it.

        Args:
            pixels: (H, W, 1 or 3) uint8, uint16, or float32 in [0, 1].
            mask: (H, W) bool, what is still to be filled.

        Returns:
            image (1, 3, h, w) float32 in [0, 1], 0 in its holes whatever the picture has there; and its mask
            (1, 1, h, w) float32, 0 or 1. Of a reduced crop, a pixel is hole if it takes in any hole pixel.
        """
        rows = mirror(self.frame.y, self.frame.height, pixels.shape[0])
        columns = mirror(self.frame.x, self.frame.width, pixels.shape[1])
        image, hole = pixels[rows][:, columns], mask[rows][:, columns]
        is_reduced = self.size != hole.shape
        if is_reduced and image.dtype != np.float32 and not self.alone:
            # First reduced, then floats: those of every pixel would take four times the picture's memory.
            reduced, hole = reduce(image, hole, *self.size)
            floats = to_float(reduced / np.float32(find_top(image.dtype)))
        else:
            floats, hole = self._hide(to_float(image), hole)
            if is_reduced:
                floats, hole = reduce(floats, hole, *self.size)
        return np.ascontiguousarray(floats.transpose(2, 0, 1)[None]), hole[None, None].astype(np.float32)

    def _hide(self, image: Floats, hole: Mask) -> tuple[Floats, Mask]:
        """Return the frame with 0 in its holes, and these; where it is filled alone, without the others."""
        if self.alone:
            others, hole = hole, hole & self._place()
            image[others] = image[~others].mean(axis=0, dtype=np.float64) if not others.all() else 0.5
        image = np.ascontiguousarray(image)
        image.reshape(-1, 3)[np.flatnonzero(hole)] = 0  # four times as fast as a mask of two axes on three
        return image, hole

    def restore(self, filled: Floats, wanted: Box | None = None) -> Floats:
        """Bring the engine's fill of the crop back to the picture's scale.

        Args:
            filled: (1, 3, h, w) in [0, 1].
            wanted: a part of `box`, counted from its corner; None: all of it.

        Returns:
            (box.height, box.width, 3) float32, a new array; exactly `filled` if the crop was not
            reduced. If it was, what is not wanted is 0.
        """
        height, width, inside = self.frame.height, self.frame.width, shift(self.box, self.frame)
        if self.size == (height, width):
            return np.array(filled[0].transpose(1, 2, 0)[inside.slices])
        wanted = wanted or Box(0, 0, inside.width, inside.height)
        part = wanted._replace(x=inside.x + wanted.x, y=inside.y + wanted.y)
        restored = np.zeros((inside.height, inside.width, 3), np.float32)
        restored[wanted.slices] = enlarge(filled[0], height, width, part).transpose(1, 2, 0)
        return restored

    def close(self, mask: Mask) -> None:
        """Take this region's pixels out of a mask of what is still to be filled (written to)."""
        mask[self.core.slices] &= ~self.hole

    def _place(self) -> Mask:
        """Return this region's hole pixels in its frame, (frame.height, frame.width) bool."""
        hole = np.zeros((self.frame.height, self.frame.width), dtype=bool)
        hole[shift(self.core, self.frame).slices] = self.hole
        return hole


def plan(mask: Mask, size_rule: SizeRule, *, context: float = 1.0) -> list[Region]:
    """Plan the crops in which an engine fills a mask.

    The order is fixed, and later regions should see what earlier ones filled:

        left = mask.copy()
        for region in plan(mask, size_rule):
            filled = engine.fill(*region.cut(pixels, left))
            pixels = paste(pixels, region.restore(filled), left, region)
            region.close(left)

    A worked example, a picture of 300×400 px and an engine that works at 64 px. A hole needs its own size
    around it, at least 8 px, and a need of up to 64 px fits a crop at full resolution:

    1. Two specks of 4 px, 20 px apart, need 20 px each. The crop that begins at the first one's need holds
    both:
       one region of 64×64 px, with the box around both as its core.
    2. A line of 3×100 px needs 303 px in length, so it is large; but it covers no square of a grid of
       64 // 6 = 10 px, so it is thin. Cells of 64 // 4 = 16 px cut it into 7 pieces, each of which needs 8 px
       around it: 3 regions at full resolution hold them all.
    3. A block of 60×50 px needs 180×150 px, and is solid: one region, whose frame of 180×180 px is reduced to
       64×64. It comes last.

    >>> mask = np.zeros((300, 400), dtype=bool)
    >>> mask[20:24, 20:24] = mask[20:24, 44:48] = mask[50:53, 250:350] = mask[150:200, 100:160] = True
    >>> for region in plan(mask, SizeRule(multiple_of=8, working_size=64)):
    ...     print(tuple(region.core), tuple(region.frame), region.size)
    (20, 20, 28, 4) (2, 0, 64, 64) (64, 64)
    (250, 50, 38, 3) (237, 20, 64, 64) (64, 64)
    (288, 50, 48, 3) (280, 20, 64, 64) (64, 64)
    (336, 50, 14, 3) (311, 20, 64, 64) (64, 64)
    (100, 150, 60, 50) (40, 85, 180, 180) (64, 64)

    Args:
        mask: (H, W) bool, True = hole.
        size_rule: what the engine takes.
        context: how much of the picture to see on each side of a hole, in sizes of the hole.

    Returns:
        Regions whose holes together are the mask, each pixel once; none for an empty mask.

    Raises:
        InputError: the mask leaves nothing to fill from.
    """
    near = bounding_box(mask)  # a large picture's mask is mostly empty
    if not near.width:
        return []
    require_known(mask)
    layout = _Layout(mask.shape[0], mask.shape[1], size_rule, context)
    groups = find_groups(mask)
    cores = to_edges(groups.boxes)
    needs = layout.surround(cores)
    large = np.flatnonzero(layout.exceeds(needs))
    solid = find_solid(mask, groups, large, layout.side // 6)
    thin = large[~np.isin(large, solid)]
    cells = split_groups(groups, thin, max(1, layout.side // 4))
    fine_cores = np.concatenate([np.delete(cores, large, axis=0), cells])
    fine_needs = np.concatenate([np.delete(needs, large, axis=0), layout.surround(cells, 0)])
    fine = layout.gather(fine_cores, fine_needs, layout.side)
    coarse_cores = join_edges(cores[solid])
    coarse = list(zip(coarse_cores, layout.surround(coarse_cores), strict=True))
    solid_holes = groups.paint(solid, *mask.shape)[near.slices]
    other_holes = mask[near.slices] & ~solid_holes
    return [
        *layout.assign(layout.limit(fine), near, other_holes),
        *layout.assign(layout.limit(coarse), near, solid_holes),
    ]


@dataclass(frozen=True)
class _Layout:
    """What a plan depends on: the size of the picture, the engine's rule, the context in sizes of a hole."""

    height: int
    width: int
    rule: SizeRule
    context: float

    @property
    def side(self) -> int:
        """Side of a crop at full resolution, in px."""
        return self.rule.fixed_size or self.rule.working_size or CROP_SIDE

    @property
    def has_size(self) -> bool:
        """Whether larger crops are reduced for the engine."""
        return bool(self.rule.fixed_size or self.rule.working_size)

    def surround(self, edges: Ints, context: float | None = None) -> Ints:
        """Widen boxes by what is to be seen around them: their size times the context, and some in any case.

        An engine that fills one box or the centre needs room on all sides, beyond the picture's edge too.
        """
        sizes = edges[:, 2:] - edges[:, :2]
        wanted = np.ceil(sizes * (self.context if context is None else context)).astype(np.intp)
        wide = widen_edges(edges, np.maximum(wanted, self.side // (8 if self.rule.holes == "any" else 4)))
        return self.clip(wide) if self.rule.holes == "any" else wide

    def clip(self, edges: Ints) -> Ints:
        """Cut boxes off at the picture's edges."""
        return np.clip(edges, 0, [self.height, self.width, self.height, self.width])

    def exceeds(self, needs: Ints) -> Mask:
        """Say which needs, within the picture, do not fit into a crop at full resolution; (n,) bool."""
        inside = self.clip(needs)
        return np.asarray((inside[:, 2:] - inside[:, :2] > self.side).any(axis=1))

    def gather(self, cores: Ints, needs: Ints, side: int) -> list[tuple[Ints, Ints]]:
        """Gather holes into crops: strips from the top down, in each strip crops from the left.

        Returns:
            The box around the cores of each crop, and the one around its needs.
        """
        by_place = np.lexsort((needs[:, 1], needs[:, 0]))
        crops = []
        for rows in pack(needs[by_place, 0], needs[by_place, 2], side):
            strip = by_place[rows]
            for columns in pack(needs[strip, 1], needs[strip, 3], side):
                crops.append((unite(cores[strip[columns]]), unite(needs[strip[columns]])))
        return crops

    def limit(self, crops: list[tuple[Ints, Ints]]) -> list[tuple[Ints, Ints]]:
        """Gather crops that together are too many: with less around each hole, then into larger ones.

        Crops for each of many holes side by side would see every pixel up to 14 times, most of it hole.
        Measured on four photographs that chose nothing, with squares of 36 and 44 px, 6 and 12 px apart:
        fills took half of the time, and `lpips_like` fell from 2.40 to 2.35.
        """
        if self.rule.holes != "any" or not self.has_size:
            return crops
        side = self.side
        most = max(FEW, MOST_SEEN * self.height * self.width // side**2)
        while len(crops) > most:
            cores = np.array([core for core, _ in crops])
            crops = self.gather(cores, self.clip(widen_edges(cores, side // 16)), side)
            side *= 2
        return crops

    def assign(self, crops: list[tuple[Ints, Ints]], near: Box, holes: Mask) -> Iterator[Region]:
        """Make the regions of crops; a hole pixel in several cores belongs to the first.

        Args:
            crops: pairs of core and need, (4,) each.
            near: a box that holds all cores.
            holes: (near.height, near.width) bool, the part of the mask in that box.

        Yields:
            A region for each crop that has hole pixels left.
        """
        holes = holes.copy()
        for core_edges, need in crops:
            core = to_box(core_edges)
            place = shift(core, near).slices
            hole = holes[place].copy()
            if hole.any():
                holes[place] = False
                frame, size = self.frame(core_edges, need)
                box = self.clip(to_edges(np.array([frame])))[0]
                yield Region(to_box(box), frame, size, core, hole, alone=self.rule.holes != "any")

    def frame(self, core: Ints, need: Ints) -> tuple[Box, tuple[int, int]]:
        """Choose the frame of a crop, and the size to which it is reduced for the engine.

        Args:
            core: (4,) the box round the hole.
            need: (4,) the box that is to be seen, beyond the picture's edge too.
        """
        if self.rule.holes == "center":
            need, seen = core, self._see_center(core)
        else:
            need = self.clip(need[None])[0]
            seen = self._see(need)
        size, sides = self._scale(seen)
        top, left = self._place(need, sides)
        height, width = (int(side) for side in sides)
        return Box(int(left), int(top), width, height), (int(size[0]), int(size[1]))

    def _see_center(self, core: Ints) -> Ints:
        """Return the sides of a square, (2,), twice as large as the hole that is to be in its centre.

        And 2 px more, so that the hole stays within the centre when the square is reduced.
        """
        hole = int((core[2:] - core[:2]).max())
        side = self.side if 2 * hole <= self.side else 2 * hole + 2
        return np.array([side, side])

    def _see(self, need: Ints) -> Ints:
        """Return height and width, (2,), of what is seen of the picture: the need, or the engine's size."""
        seen = need[2:] - need[:2]
        if self.rule.fixed_size:
            return np.full(2, max(self.rule.fixed_size, seen.max()))
        if self.rule.working_size:
            return np.minimum(max(self.rule.working_size, seen.max()), [self.height, self.width])
        return seen

    def _scale(self, seen: Ints) -> tuple[Ints, Ints]:
        """Return the size for the engine and the sides of the frame, (2,) each: height, width.

        Where a crop is reduced, its longer side becomes the engine's. Sizes are rounded up to a multiple of
        the engine's step, and the frame grows with them. For example 181×150 px at a working size of 64 and
        steps of 8: 64×54 px, rounded up to 64×56, which is a frame of 181×158 px.
        """
        longest = max(self.side, int(seen.max())) if self.has_size else self.side
        cells = -(-seen * self.side // longest)  # in whole numbers: 97 / (97 / 21) is a little over 21
        size = -(-cells // self.rule.multiple_of) * self.rule.multiple_of
        return size, np.rint(size * (longest / self.side)).astype(np.intp)

    def _place(self, need: Ints, sides: Ints) -> Ints:
        """Return the top left corner, (2,), of a frame with the need in its middle.

        It is moved into the picture, or, where it is larger, has the picture in its middle. An engine that
        fills the centre needs its hole there, whatever of the picture is beyond.
        """
        start = need[:2] - (sides - (need[2:] - need[:2])) // 2
        if self.rule.holes == "center":
            return np.asarray(start)
        picture = np.array([self.height, self.width])
        inside = np.clip(start, 0, picture - sides)
        return np.asarray(np.where(sides <= picture, inside, -((sides - picture) // 2)))
