"""Fill holes in three sample photographs: two that succeed, and one that still fails.

    python examples/demo.py [OUT] [ENGINE]

OUT is demo/comparison.png and ENGINE is `default` unless they are given. Needs the base install only.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import infilling
from infilling.judging.metrics import judge

PICTURES = Path(__file__).parent / "pictures"
TITLES = ["before", "hole", "filled"]
PANEL, GAP, TITLE, CAPTION = 420, 8, 24, 26  # pixels
MARK = (255, 0, 160)

Polygon = tuple[tuple[int, int], ...]  # corners, (x, y) in pixels


@dataclass(frozen=True)
class Scene:
    """A photograph and its hole.

    Attributes:
        file: name in `examples/pictures`.
        caption: what the row shows.
        hole: polygons that are missing.
        ink: colour of the damage, RGB; None: there is no damage, a thing is to be removed.
    """

    file: str
    caption: str
    hole: tuple[Polygon, ...]
    ink: tuple[int, int, int] | None = None


CREASES = (
    ((0, 52), (0, 47), (451, 96), (451, 102)),
    ((0, 214), (0, 209), (451, 181), (451, 187)),
    ((112, 0), (118, 0), (136, 300), (130, 300)),
    ((310, 0), (315, 0), (271, 300), (265, 300)),
    ((388, 300), (451, 232), (451, 300)),  # a corner is torn off
)
TOWER = ((135, 341), (135, 290), (150, 150), (155, 92), (167, 92), (167, 160), (169, 341))
SPOON_TOP = ((341, 50), (366, 54), (356, 140), (344, 190), (354, 220))
SPOON_BOTTOM = ((352, 262), (332, 284), (296, 282), (272, 252), (276, 214), (308, 192), (325, 140))
SCENES = [
    Scene("cat.jpg", "Repair: a print with creases and a torn corner", CREASES, ink=(240, 236, 226)),
    Scene("rocket.jpg", "Remove a thing: the tower left of the rocket", (TOWER,)),
    Scene(
        "coffee.jpg", "Still fails: the rims of cup and saucer behind a spoon", (SPOON_TOP + SPOON_BOTTOM,)
    ),
]


def main() -> None:
    """Fill the photographs, write the comparison, and print its path, the figures and the time."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/comparison.png")
    engine = sys.argv[2] if len(sys.argv) > 2 else "default"
    began = time.perf_counter()
    rows = [fill_scene(scene, engine) for scene in SCENES]
    out.parent.mkdir(parents=True, exist_ok=True)
    compose(rows).save(out, quality=88)
    print(f"{out}  ({time.perf_counter() - began:.1f} s in all)")


def fill_scene(scene: Scene, engine: str) -> list[np.ndarray]:
    """Fill the hole of a scene.

    Args:
        scene: the photograph and its hole.
        engine: name of the engine.

    Returns:
        The picture before, with its hole marked, and filled: (H, W, 3) uint8 each.
    """
    original = np.asarray(Image.open(PICTURES / scene.file).convert("RGB"))
    height, width, _ = original.shape
    mask = draw_mask(scene, width, height)
    before = original if scene.ink is None else np.where(mask[..., None], np.uint8(scene.ink), original)
    marked = np.where(mask[..., None], np.uint8(MARK), before)

    began = time.perf_counter()
    filled = infilling.fill(before, mask, engine)
    seconds = time.perf_counter() - began

    line = f"{scene.file}: {width}×{height}, {mask.mean():.0%} hole, filled by {engine} in {seconds:.2f} s"
    if scene.ink is not None:  # what the damage covers is known
        line += f", PSNR in the hole {judge('hole_psnr', filled, original, mask):.2f} dB"
    print(line)
    return [before, marked, filled]


def draw_mask(scene: Scene, width: int, height: int) -> np.ndarray:
    """Return the hole of a scene as (H, W) bool."""
    mask = Image.new("1", (width, height))
    draw = ImageDraw.Draw(mask)
    for polygon in scene.hole:
        draw.polygon(polygon, fill=1)
    return np.asarray(mask)


def compose(rows: list[list[np.ndarray]]) -> Image.Image:
    """Place the scenes below one another, each row under its caption."""
    panels = [[shrink(image) for image in row] for row in rows]
    heights = [CAPTION + row[0].height for row in panels]
    sheet = Image.new("RGB", (len(TITLES) * (PANEL + GAP) + GAP, TITLE + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(TITLES):
        middle = GAP + column * (PANEL + GAP) + PANEL / 2
        draw.text((middle, TITLE / 2), title, "black", ImageFont.load_default(14), anchor="mm")
    top = TITLE
    for scene, row, height in zip(SCENES, panels, heights, strict=True):
        draw.text((GAP, top + CAPTION / 2), scene.caption, "black", ImageFont.load_default(15), anchor="lm")
        for column, panel in enumerate(row):
            sheet.paste(panel, (GAP + column * (PANEL + GAP), top + CAPTION))
        top += height
    return sheet


def shrink(pixels: np.ndarray) -> Image.Image:
    """Resize a picture to the width of a panel."""
    image = Image.fromarray(pixels)
    return image.resize((PANEL, round(image.height * PANEL / image.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
