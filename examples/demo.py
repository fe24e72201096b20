"""Fill holes in two sample photographs and lay before, masked, filled and original side by side.

    python examples/demo.py [OUT] [ENGINE]

OUT is demo/comparison.png and ENGINE is `default` unless they are given. Needs the base install only.
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import infilling
from infilling.judging.metrics import judge
from infilling.pictures import holes

PICTURES = Path(__file__).parent / "pictures"
SCENES = [("astronaut.jpg", "lama-thin", 1), ("coffee.jpg", "block", 2)]  # file, holes, seed
MOST = 0.12  # of a picture is hole
TITLES = ["before", "masked", "filled", "original"]
PANEL, GAP, CAPTION = 320, 8, 22  # pixels
INK, MARK = (24, 24, 28), (255, 0, 160)


def main() -> None:
    """Fill both photographs, write the comparison, and print its path, the figures and the time."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/comparison.png")
    engine = sys.argv[2] if len(sys.argv) > 2 else "default"
    began = time.perf_counter()
    rows = [fill_scene(*scene, engine) for scene in SCENES]
    out.parent.mkdir(parents=True, exist_ok=True)
    compose(rows).save(out, quality=88)
    print(f"{out}  ({time.perf_counter() - began:.1f} s in all)")


def fill_scene(name: str, kind: str, seed: int, engine: str) -> list[np.ndarray]:
    """Damage a photograph, fill it, and say how near the result comes to what was there."""
    original = np.asarray(Image.open(PICTURES / name).convert("RGB"))
    height, width, _ = original.shape
    mask = holes.make(kind, np.random.default_rng(seed), 1, height, width, max_area=MOST)[0]
    before = np.where(mask[..., None], np.uint8(INK), original)
    masked = np.where(mask[..., None], np.uint8(MARK), original)

    began = time.perf_counter()
    filled = infilling.fill(before, mask, engine)
    seconds = time.perf_counter() - began

    whole, hole = (judge(metric, filled, original, mask) for metric in ("psnr", "hole_psnr"))
    print(
        f"{name}: {width}×{height}, {mask.mean():.0%} hole, filled by {engine} in {seconds:.2f} s, "
        f"PSNR {whole:.2f} dB over the picture, {hole:.2f} dB over the hole"
    )
    return [before, masked, filled, original]


def compose(rows: list[list[np.ndarray]]) -> Image.Image:
    """Lay the pictures out, a scene in each row, under their titles."""
    panels = [[shrink(image) for image in row] for row in rows]
    heights = [row[0].height for row in panels]
    width = len(TITLES) * (PANEL + GAP) + GAP
    sheet = Image.new("RGB", (width, CAPTION + sum(heights) + GAP * len(rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, title in enumerate(TITLES):
        x = GAP + column * (PANEL + GAP)
        draw.text((x + PANEL / 2, CAPTION / 2), title, "black", font, anchor="mm")
        for number, row in enumerate(panels):
            sheet.paste(row[column], (x, CAPTION + sum(heights[:number]) + GAP * number))
    return sheet


def shrink(pixels: np.ndarray) -> Image.Image:
    """Bring a picture to the width of a panel."""
    image = Image.fromarray(pixels)
    return image.resize((PANEL, round(image.height * PANEL / image.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
