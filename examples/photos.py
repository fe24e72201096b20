"""Remove or repair something in photographs, by several engines, and lay the results side by side.

    python examples/photos.py PHOTOS [--engine NAME|FILE] [--out docs/photos]

PHOTOS is a folder with canyon.jpg, pier.jpg, planks-and-sea.jpg and spacecraft.jpg (CC0, from elementary OS's
wallpapers). Writes a JPEG for each, with crops at full resolution, and two damaged prints, repaired.
`enlarged` is what the engine gives without `detail`. Needs `pip install '.[classical]'` for Telea's method.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infilling.filling.contract import Engine
from infilling.filling.engine import open_engine
from infilling.filling.finders import find_all, list_damage
from infilling.filling.pipeline import fill_picture
from infilling.pictures import holes
from infilling.pictures.files import decode
from infilling.pictures.mask import Box, Mask, from_boxes
from infilling.pictures.picture import Picture
from infilling.pictures.scratches import find_scratches

GAP, CAPTION, COLUMNS = 4, 18, 2  # pixels, and panels in a row
MARK = (255, 0, 160)
QUALITY = 72

SCENES = {
    # Scratches, and a piece torn out of the rock.
    "canyon.jpg": (Box(1150, 900, 600, 420), [(1380, 1130, 230, 190)]),
    # The side arm of the pier, with its reflection.
    "pier.jpg": (
        Box(1820, 1640, 820, 500),
        [
            (1885, 1755, 690, 70),
            (1885, 1820, 665, 25),
            (1885, 1840, 635, 30),
            (1885, 1865, 600, 25),
            (1885, 1885, 460, 80),
            (1885, 1960, 440, 55),
            (1885, 2010, 370, 55),
            (1885, 2060, 310, 60),
        ],
    ),
    # A glittering wave.
    "planks-and-sea.jpg": (Box(1040, 520, 640, 440), [(1100, 575, 250, 165)]),
    # The spacecraft: its body, and its panels.
    "spacecraft.jpg": (Box(1090, 780, 820, 420), [(1410, 845, 200, 300), (1125, 860, 745, 130)]),
}
"""For each photograph what is shown, and the boxes that are filled: x, y, width, height."""


def make_mask(name: str, height: int, width: int) -> Mask:
    """The boxes; on the canyon thin strokes besides, over what is shown."""
    shown, boxes = SCENES[name]
    mask = from_boxes(boxes, height, width)
    if name == "canyon.jpg":
        rng = np.random.default_rng(6)
        strokes = holes.make_holes("lama-thin", rng, 1, shown.height, shown.width, max_area=0.1)
        mask[shown.slices] |= strokes[0]
    return mask


def compose(panels: dict[str, np.ndarray]) -> Image.Image:
    """Lay panels of one size out under their titles."""
    height, width = next(iter(panels.values())).shape[:2]
    rows = -(-len(panels) // COLUMNS)
    size = COLUMNS * (width + GAP) + GAP, rows * (height + CAPTION + GAP) + GAP
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (title, pixels) in enumerate(panels.items()):
        x = GAP + number % COLUMNS * (width + GAP)
        y = GAP + number // COLUMNS * (height + CAPTION + GAP)
        draw.text((x + width / 2, y + CAPTION / 2), title, "black", font, anchor="mm")
        sheet.paste(Image.fromarray(pixels), (x, y + CAPTION))
    return sheet


def scratch(pixels: np.ndarray) -> np.ndarray:
    """Draw scratches over a picture, bright and dark, 1 to 3 px wide."""
    image, rng = Image.fromarray(pixels), np.random.default_rng(3)
    draw = ImageDraw.Draw(image)
    for number in range(9):
        start, angle = rng.uniform((0, 0), image.size), rng.uniform(0, np.pi)
        bends = np.cumsum(rng.normal(angle, 0.12, 8))[:, None] / np.arange(1, 9)[:, None]
        steps = np.hstack([np.cos(bends), np.sin(bends)]) * rng.uniform(15, 45)
        path = np.vstack([start, start + np.cumsum(steps, axis=0)])
        grey = int(rng.integers(215, 250)) if number % 3 else int(rng.integers(5, 30))
        draw.line([tuple(point) for point in path.tolist()], (grey, grey, grey), int(rng.integers(1, 4)))
    return np.asarray(image)


def crease(pixels: np.ndarray) -> np.ndarray:
    """Draw a crease from edge to edge over a picture, specks of 1 to 5 px, and hairs."""
    image, rng = Image.fromarray(pixels), np.random.default_rng(5)
    draw = ImageDraw.Draw(image)
    for number in range(40):
        x, y, half = rng.uniform((0, 0, 0.5), (*image.size, 2.5))
        draw.ellipse(
            (x - half, y - half, x + half, y + half), (245, 240, 230) if number % 3 else (25, 20, 20)
        )
    for number in range(6):
        x, y, size = rng.uniform((0, 0, 40), (*image.size, 90))
        start = rng.uniform(0, 360)
        grey = (240, 235, 225) if number % 2 else (20, 15, 15)
        draw.arc((x, y, x + size, y + size), start, start + 50, grey, int(rng.integers(1, 3)))
    height, width = pixels.shape[:2]
    bends = 2 * np.sin(np.arange(width) / 60) + np.cumsum(rng.normal(0, 0.15, width))
    middle = 0.55 * height + 0.04 * np.arange(width) + bends
    away = np.abs(np.arange(height)[:, None] - middle) / 6  # 1 at the rim
    cover = np.clip(1.15 - away, 0, 1) ** 0.7 * rng.uniform(0.5, 0.9, (height, width))
    return np.rint(np.asarray(image) * (1 - cover[..., None]) + 235 * cover[..., None]).astype(np.uint8)


def show_repair(
    scan: np.ndarray, mask: Mask, engine: Engine, original: np.ndarray, title: str
) -> Image.Image:
    """A damaged print, what was found in it, the repair, and the print before."""
    repaired = fill_picture(Picture(scan), mask, engine).pixels
    marked = np.where(mask[..., None], np.uint8(MARK), scan)
    return compose({"scan": scan, "found": marked, "repaired": repaired, title: original})


def read_print() -> np.ndarray:
    """The picture that is damaged."""
    return decode(Path(__file__).parent / "pictures" / "cat.jpg").pixels


def show_scratches(engine: Engine) -> Image.Image:
    """A scratched print, what `infill mask scratches` finds in it, and the repair."""
    original = read_print()
    scan = scratch(original)
    return show_repair(scan, find_scratches(scan), engine, original, "without scratches")


def show_restored(engine: Engine) -> Image.Image:
    """A creased and dusty print, what `infill restore` finds in it, and the repair."""
    original = read_print()
    scan = crease(original)
    mask = find_all(list_damage(), Picture(scan))
    return show_repair(scan, mask, engine, original, "without damage")


def main() -> None:
    """Fill all, write the sheets, and print how long each fill took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--engine", default="default", help="a network, so that large holes are reduced")
    parser.add_argument("--out", type=Path, default=Path("docs/photos"))
    parser.add_argument("--only", help="one of the four files")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    engine = open_engine(args.engine)
    ways = [
        ("Telea", open_engine("telea"), True),
        ("patch synthesis", open_engine("patch-synthesis"), True),
        ("enlarged", engine, False),
        ("infill fill", engine, True),
    ]
    if not args.only:
        show_scratches(engine).save(args.out / "scratches.jpg", quality=QUALITY, optimize=True)
        show_restored(engine).save(args.out / "restore.jpg", quality=QUALITY, optimize=True)
    for name in [args.only] if args.only else SCENES:
        picture = decode(args.photos / name)
        shown = SCENES[name][0].slices
        mask = make_mask(name, picture.height, picture.width)
        marked = np.where(mask[shown][..., None], np.uint8(MARK), picture.pixels[shown])
        panels = {"before": picture.pixels[shown], "what is filled": marked}
        for title, one, detail in ways:
            began = time.perf_counter()
            panels[title] = fill_picture(Picture(picture.pixels), mask, one, detail=detail).pixels[shown]
            print(f"{name}: {title}, {time.perf_counter() - began:.1f} s", flush=True)
        path = args.out / name
        compose(panels).save(path, quality=QUALITY, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
