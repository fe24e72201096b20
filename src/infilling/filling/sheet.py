"""Pictures about several fills: a sheet that shows them beside each other, and a map of where they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infilling.pictures.files import encode
from infilling.pictures.mask import Box, Mask, bounding_box, widen
from infilling.pictures.picture import Array, Floats, Picture, find_format, from_array, from_float, to_float

TILE = 480  # px, the longer side of a fill on a sheet, at most
GAP = 12  # px between tiles
CAPTION = 28  # px, the height of a label
FONT = 16  # px
AROUND = 0.5  # of the hole's longer side is shown around it, and LEAST px at least
LEAST = 48
FULL = 0.25  # standard deviation that is white on a map
PAPER, INK = (24, 24, 24), (235, 235, 235)


def draw_sheet(fills: Sequence[Array], labels: Sequence[str], hole: Mask, name: str = "sheet.png") -> bytes:
    """Draw fills of one hole beside each other, each with its number and its label.

    Args:
        fills: (H, W, 1 or 3) uint8, uint16, or float32 in [0, 1], the whole picture each.
        labels: how each was made.
        hole: (H, W) bool; what is round it is shown. If it is empty, all of the picture is.
        name: its ending says the format.

    Returns:
        The bytes of a file.
    """
    part = _choose_part(hole)
    tiles = [_draw_tile(fill, part) for fill in fills]
    width, height = tiles[0].size
    columns = math.ceil(math.sqrt(len(tiles) * height / width))
    rows = math.ceil(len(tiles) / columns)
    step = width + GAP, height + CAPTION + GAP
    sheet = Image.new("RGB", (GAP + columns * step[0], GAP + rows * step[1]), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for number, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        left, top = GAP + number % columns * step[0], GAP + number // columns * step[1]
        sheet.paste(tile, (left, top))
        text = _shorten(f"{number + 1}  {label}", font, width)
        draw.text((left, top + height + 4), text, INK, font=font)
    return encode(from_array(np.asarray(sheet)), find_format(name))


def draw_doubt(spread: Floats) -> bytes:
    """Draw where fills differ, as a PNG in grey: white is a standard deviation of `FULL` or more.

    Args:
        spread: (H, W), as `measure_spread` gives it.
    """
    grey = from_float(np.minimum(spread / np.float32(FULL), 1))
    return encode(Picture(grey[..., None]), "PNG")


def _choose_part(hole: Mask) -> Box:
    """Return the part of the picture that is shown: the holes and some of what is round them."""
    whole = Box(0, 0, hole.shape[1], hole.shape[0])
    core = bounding_box(hole)
    if not core.width:
        return whole
    return widen(core, max(LEAST, round(AROUND * max(core.width, core.height))), whole)


def _draw_tile(fill: Array, part: Box) -> Image.Image:
    tile = Image.fromarray(from_float(to_float(fill[part.slices])))
    tile.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    return tile


def _shorten(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """Cut a text off where it is wider than its tile."""
    while font.getlength(text) > width and len(text) > 2:
        text = text[:-2] + "…"
    return text
