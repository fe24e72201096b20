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

from infilling.errors import ModelError
from infilling.pictures.clusters import find_solid, join, split, to_box, to_edges, unite
from infilling.pictures.mask import Box, Mask, bounding_box, find_groups, require_known, shift
from infilling.pictures.picture import Floats, Ints, Samples, to_float
from infilling.pictures.resample import enlarge, mirror, reduce

CROP_SIDE = 512  # what thin and small holes are gathered into for engines that do not care about size


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
        sides = (self.multiple_of, self.working_size or 1, self.fixed_size or 1)
        if min(sides) < 1 or (self.fixed_size or 0) % self.multiple_of:
            raise ModelError(f"{self}: sides are at least 1, and fixed_size is a multiple of multiple_of")
        if self.holes not in ("any", "block", "center"):
            raise ModelError(f"an engine fills 'any' holes, a 'block' or the 'center', not {self.holes!r}")


@dataclass(frozen=True, eq=False)
class Region:
    """One crop that an engine fills.

    Attributes:
        box: the part of the picture that the crop shows.
        frame: the crop in the picture's coordinates. Where the picture is too small for the engine, it
            reaches beyond `box`: there the picture is mirrored at its edge, and the mask with it. A hole at
            the edge so stays open, no hole pixel is taken for known, and a smooth fill is level at the edge.
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

    def cut(self, pixels: Samples, mask: Mask) -> tuple[Floats, Floats]:
        """Cut the crop out of the picture as the engine wants it.

        Args:
            pixels: (H, W, 1 or 3) uint8 or uint16.
            mask: (H, W) bool, what is still to be filled.

        Returns:
            image (1, 3, h, w) float32 in [0, 1], 0 in its holes whatever the picture has there; and its mask
            (1, 1, h, w) float32, 0 or 1. Of a reduced crop, a pixel is hole if it takes in any hole pixel.
        """
        rows = mirror(self.frame.y, self.frame.height, pixels.shape[0])
        columns = mirror(self.frame.x, self.frame.width, pixels.shape[1])
        image, hole = to_float(pixels[rows][:, columns]), mask[rows][:, columns]
        if self.alone:
            others, hole = hole, hole & self._place()
            image[others] = image[~others].mean(axis=0, dtype=np.float64) if not others.all() else 0.5
        image = np.ascontiguousarray(image)
        image.reshape(-1, 3)[np.flatnonzero(hole)] = 0  # four times as fast as a mask of two axes on three
        if self.size != hole.shape:
            image, hole = reduce(image, hole, *self.size)
        return np.ascontiguousarray(image.transpose(2, 0, 1)[None]), hole[None, None].astype(np.float32)

    def restore(self, filled: Floats, wanted: Box | None = None) -> Floats:
        """Bring what the engine made of the crop back to the picture's scale.

        Args:
            filled: (1, 3, h, w) in [0, 1].
            wanted: a part of `box`, from its corner on; None: all of it.

        Returns:
            (box.height, box.width, 3) float32, a new array; exactly what was given if the crop was not
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
        """This region's hole pixels in its frame."""
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

    Args:
        mask: (H, W) bool, True = hole.
        size_rule: what the engine takes.
        context: how much of the picture to see on each side of a hole, in sizes of the hole.

    Returns:
        Regions whose holes together are the mask, each pixel once; none for an empty mask.

    Raises:
        InputError: the mask leaves nothing to fill from.

    >>> mask = np.zeros((100, 200), dtype=bool)
    >>> mask[40:50, 40:60] = True
    >>> [region] = plan(mask, SizeRule(multiple_of=8, working_size=64))
    >>> region.frame
    Box(x=18, y=13, width=64, height=64)
    """
    if not mask.any():
        return []
    require_known(mask)
    layout = _Layout(mask.shape[0], mask.shape[1], size_rule, context)
    groups = find_groups(mask)
    cores = to_edges(groups.boxes)
    needs = layout.surround(cores)
    large = np.flatnonzero(layout.exceeds(needs))
    solid = find_solid(mask, groups, large, layout.side // 6)
    thin = large[~np.isin(large, solid)]
    cells = split(groups, thin, max(1, layout.side // 4))
    fine_cores = np.concatenate([np.delete(cores, large, axis=0), cells])
    fine_needs = np.concatenate([np.delete(needs, large, axis=0), layout.surround(cells, 0)])
    fine = [(unite(fine_cores[one]), unite(fine_needs[one])) for one in layout.gather(fine_needs)]
    coarse_cores = join(cores[solid])
    coarse = list(zip(coarse_cores, layout.surround(coarse_cores), strict=True))
    near = bounding_box(mask)  # a large picture's mask is mostly empty
    solid_holes = groups.paint(solid, *mask.shape)[near.slices]
    other_holes = mask[near.slices] & ~solid_holes
    return [*layout.assign(fine, near, other_holes), *layout.assign(coarse, near, solid_holes)]


@dataclass(frozen=True)
class _Layout:
    """What a plan goes by: the size of the picture, the engine's rule, the context in sizes of a hole."""

    height: int
    width: int
    rule: SizeRule
    context: float

    @property
    def side(self) -> int:
        """The side of a crop at full resolution."""
        return self.rule.fixed_size or self.rule.working_size or CROP_SIDE

    def surround(self, edges: Ints, context: float | None = None) -> Ints:
        """Widen boxes by what is to be seen around them: their size times the context, and some in any case.

        An engine that fills one box or the centre needs room on all sides, beyond the picture's edge too.
        """
        sizes = edges[:, 2:] - edges[:, :2]
        wanted = np.ceil(sizes * (self.context if context is None else context)).astype(np.intp)
        around = np.maximum(wanted, self.side // (8 if self.rule.holes == "any" else 4))
        wide = np.concatenate([edges[:, :2] - around, edges[:, 2:] + around], axis=1)
        return self.clip(wide) if self.rule.holes == "any" else wide

    def clip(self, edges: Ints) -> Ints:
        """Cut boxes off at the picture's edges."""
        return np.clip(edges, 0, [self.height, self.width, self.height, self.width])

    def exceeds(self, needs: Ints) -> Mask:
        """Which needs, within the picture, do not fit into a crop at full resolution."""
        inside = self.clip(needs)
        return np.asarray((inside[:, 2:] - inside[:, :2] > self.side).any(axis=1))

    def gather(self, needs: Ints) -> list[Ints]:
        """Gather boxes into crops: strips from the top down, in each strip crops from the left."""
        crops = []
        rest = np.lexsort((needs[:, 1], needs[:, 0]))
        while rest.size:
            top = needs[rest[0], 0]
            fits = needs[rest, 2] <= top + self.side
            fits[0] = True  # it may be larger by itself
            strip, rest = rest[fits], rest[~fits]
            strip = strip[np.argsort(needs[strip, 1], kind="stable")]
            while strip.size:
                fits = needs[strip, 3] <= needs[strip[0], 1] + self.side
                fits[0] = True
                crops.append(np.sort(strip[fits]))
                strip = strip[~fits]
        return crops

    def assign(self, crops: list[tuple[Ints, Ints]], near: Box, holes: Mask) -> Iterator[Region]:
        """Make the regions of crops (core, need); a hole pixel in several cores goes to the first.

        `holes` is what the box `near` shows of the mask; all cores lie in it.
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
        """Choose the frame of a crop, and the size to which it is reduced for the engine."""
        rule = self.rule
        picture = np.array([self.height, self.width])
        if rule.holes == "center":
            # Twice the hole, and a little more, so that the hole stays within the centre when it is reduced.
            hole = int((core[2:] - core[:2]).max())
            seen = np.array([max(self.side, 2 * hole + 2 if 2 * hole > self.side else 0)] * 2)
            need = core
        else:
            need = self.clip(need[None])[0]
            seen = need[2:] - need[:2]
            if rule.fixed_size:
                seen = np.array([max(rule.fixed_size, seen.max())] * 2)
            elif rule.working_size:
                seen = np.minimum(max(rule.working_size, seen.max()), picture)
        # Where a crop is reduced, its longer side becomes the engine's.
        longest = max(self.side, int(seen.max())) if rule.fixed_size or rule.working_size else self.side
        cells = -(-seen * self.side // longest)  # in whole numbers: 97 / (97 / 21) is a little over 21
        size = -(-cells // rule.multiple_of) * rule.multiple_of
        sides = np.rint(size * (longest / self.side)).astype(np.intp)
        start = need[:2] - (sides - (need[2:] - need[:2])) // 2
        if rule.holes != "center":
            start = np.where(sides <= picture, np.clip(start, 0, picture - sides), -((sides - picture) // 2))
        return Box(int(start[1]), int(start[0]), int(sides[1]), int(sides[0])), (int(size[0]), int(size[1]))
