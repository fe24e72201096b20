"""The same pictures filled by several engines, side by side; which pictures, their numbers decide and no eye.

    python benchmarks/figure.py --data val.tar --engine telea --engine RUN --engine fidelity --engine default
        [--every 200] [--count 10] [--grid 1] [--holes block] [--size 128] [--out figure.png]

With `--grid 3` the middle of each picture is cut into 3×3, and each piece is a picture. Columns: original,
masked, then each engine through the pipeline that users get. The holes are those that `infill evaluate` makes
with this seed.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from infilling.filling.contract import Engine
from infilling.filling.engine import open_engine
from infilling.filling.pipeline import fill_picture
from infilling.judging.judge import make_hole
from infilling.judging.settings import EvaluationSettings
from infilling.learning import picture_sources
from infilling.learning.decoding import decode_item
from infilling.pictures.picture import Picture

GAP, CAPTION = 4, 18  # pixels
GREY = 128

Pixels = npt.NDArray[np.uint8]


def fill_row(target: Pixels, mask: npt.NDArray[np.bool_], engines: list[Engine]) -> list[Pixels]:
    """The original, the masked picture, and each engine's result."""
    hidden = np.where(mask[..., None], np.uint8(0), target)
    results = [fill_picture(Picture(hidden), mask, engine).pixels.astype(np.uint8) for engine in engines]
    return [target, np.where(mask[..., None], np.uint8(GREY), target), *results]


def compose(rows: list[list[Pixels]], titles: list[str]) -> Image.Image:
    """Lays the pictures out at full size, one row each, under their titles."""
    side = rows[0][0].shape[0]
    sheet = Image.new("RGB", (len(titles) * (side + GAP) + GAP, CAPTION + len(rows) * (side + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, title in enumerate(titles):
        x = GAP + column * (side + GAP)
        draw.text((x + side / 2, CAPTION / 2), title, "black", font, anchor="mm")
        for number, row in enumerate(rows):
            sheet.paste(Image.fromarray(row[column]), (x, CAPTION + number * (side + GAP)))
    return sheet


def main() -> None:
    """Fills, and writes the figure."""
    parser = argparse.ArgumentParser(description="The same pictures filled by several engines.")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--engine", action="append", required=True, help="repeatable, in the order of columns"
    )
    parser.add_argument("--every", type=int, default=200, help="take each so-manieth picture, from the first")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--grid", type=int, default=1, help="cut each picture into so many rows and columns")
    parser.add_argument("--holes", default="block")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("figure.png"))
    options = parser.parse_args()
    items, _ = picture_sources.list_items(picture_sources.find_sources(options.data))
    settings = EvaluationSettings(holes=options.holes, seed=options.seed, size=options.size)
    engines = [open_engine(name) for name in options.engine]
    pieces = [(item, place) for item in items for place in np.ndindex(options.grid, options.grid)]
    rows = []
    for item, (down, right) in pieces[:: options.every][: options.count]:
        whole, _ = decode_item(item, options.grid * options.size)
        target = np.split(np.split(whole, options.grid)[down], options.grid, axis=1)[right]
        name = item.name if options.grid == 1 else f"{item.name}/{down}{right}"
        rows.append(fill_row(np.ascontiguousarray(target), make_hole(settings, name), engines))
    compose(rows, ["original", "masked", *(engine.name for engine in engines)]).save(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
