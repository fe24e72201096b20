"""Fills of pictures with a known truth: photographs with object-shaped holes and boxes, and drawn patterns.

    python benchmarks/scenes.py --data DIR [--part choose|check] [--size 480 …] [--engine default …]
                                [--shape object …] [--set detail.TRUST=0.3 …] [--out DIR] [--figures FILE]

`--data` is the folder with `photos/`, `train-photos/` and `features/`. The photographs are every seventh of
`train-photos`, which no network learns from, and the four of `photos`; the patterns are bricks, tiles,
blinds, railings, lines of text and a floor in perspective, drawn by seed. Two disjoint parts: `choose` is for
choosing, `check` for checking what was chosen. Of each picture two holes, drawn by seed: an outline like that
of an object, and a box, of 3 to 20 % of the picture. `--shape freeform`: strokes and boxes of 50 to 90 %.

Figures, means over pictures: PSNR in the hole, and `lpips_like` of the hole's surroundings (the box round the
hole, a quarter wider on each side) against the truth. `--set` changes a constant of a module of
`infilling.filling` for this run, to compare choices.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import statistics
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from infilling.pictures import holes

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
PARTS = ("choose", "check")
DEFAULT_SHAPES = ("object", "box")
HELD_BACK = 7  # every seventh photograph of train-photos
SHARES = (0.03, 0.2)  # least and largest share of a picture that is hole
FREEFORM_SHARES = (0.5, 0.9)  # the same of a free-form hole


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture whose hole is known.

    Attributes:
        name: of the picture and its hole.
        kind: `photograph` or `pattern`.
        pixels: (H, W, 3), the truth.
        hole: (H, W).
    """

    name: str
    kind: str
    pixels: Pixels
    hole: Mask


def draw_scenes(
    data: Path, part: str, size: int, photographs: int = 1000, shapes: Sequence[str] = DEFAULT_SHAPES
) -> Iterator[Scene]:
    """Yield the scenes of a part, the longer side of each of this many px."""
    offset = PARTS.index(part)
    for name, photo in list(_read_photographs(data))[offset :: len(PARTS)][:photographs]:
        scale = size / max(photo.size)
        width, height = (round(side * scale) for side in photo.size)
        pixels = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))
        rng = np.random.default_rng([size, *name.encode()])
        for shape in shapes:
            yield Scene(f"{name}-{shape}", "photograph", pixels, SHAPES[shape](rng, height, width))
    for name, paint in PATTERNS.items():
        rng = np.random.default_rng([size, offset, *name.encode()])
        pixels = paint(rng, size * 2 // 3, size)
        for shape in shapes:
            yield Scene(f"{name}-{shape}", "pattern", pixels, SHAPES[shape](rng, *pixels.shape[:2]))


def _read_photographs(data: Path) -> Iterator[tuple[str, Image.Image]]:
    for path in sorted((data / "photos").glob("*.jpg")):
        with Image.open(path) as photo:
            yield path.stem, photo.convert("RGB")
    number = 0
    for path in sorted((data / "train-photos").glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                number += 1
                if number % HELD_BACK:
                    continue
                file = archive.extractfile(member)
                assert file is not None
                with Image.open(io.BytesIO(file.read())) as photo:
                    name = Path(member.name).with_suffix("").as_posix().replace("/", "_")
                    yield name, photo.convert("RGB")


def draw_outline(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Draw the outline of a thing: one to three smooth blobs that overlap, tall or wide."""
    share = rng.uniform(*SHARES)
    radius = np.sqrt(share * height * width / np.pi)
    tall = np.exp(rng.uniform(-0.6, 0.6))
    cy, cx = rng.uniform(0.25, 0.75) * height, rng.uniform(0.25, 0.75) * width
    canvas = Image.new("L", (width, height))
    for _ in range(rng.integers(1, 4)):
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        wave = sum(
            rng.normal(0, 0.25 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi)) for k in range(1, 6)
        )
        reach = radius * 0.8 * np.clip(1 + wave, 0.3, 2)
        y, x = cy + reach * np.sin(angles) * tall, cx + reach * np.cos(angles) / tall
        ImageDraw.Draw(canvas).polygon(list(zip(x, y, strict=True)), fill=255)
        cy, cx = cy + rng.normal(0, radius * 0.6), cx + rng.normal(0, radius * 0.6)
    hole = np.asarray(canvas) > 0
    return hole if 0.01 < hole.mean() < 0.4 else draw_outline(rng, height, width)


def draw_box(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Draw a box inside the picture."""
    area, ratio = rng.uniform(*SHARES) * height * width, np.exp(rng.uniform(-0.7, 0.7))
    tall, wide = min(int(np.sqrt(area * ratio)), height - 20), min(int(np.sqrt(area / ratio)), width - 20)
    top, left = rng.integers(8, height - tall - 8), rng.integers(8, width - wide - 8)
    hole = np.zeros((height, width), bool)
    hole[top : top + tall, left : left + wide] = True
    return hole


def draw_freeform(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Draw strokes and boxes over most of the picture, as inpainting networks are shown."""
    least, most = FREEFORM_SHARES
    return holes.make_holes("large", rng, 1, height, width, min_area=least, max_area=most)[0]


SHAPES: dict[str, Callable[[np.random.Generator, int, int], Mask]] = {
    "object": draw_outline,
    "box": draw_box,
    "freeform": draw_freeform,
}


# -- patterns ------------------------------------------------------------------------------------------------


def _finish(rng: np.random.Generator, values: NDArray[np.floating]) -> Pixels:
    """Light from one side, grain, and a lens's blur: a pattern as a camera sees it."""
    width = values.shape[1]
    light = 1 + 0.15 * np.linspace(-1, 1, width)[None, :, None] * rng.choice([-1, 1])
    lit = np.clip(values * light + rng.normal(0, 0.012, values.shape), 0, 1)
    image = Image.fromarray(np.rint(255 * lit).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)))


def _two_colours(rng: np.random.Generator, chosen: NDArray[np.floating]) -> NDArray[np.floating]:
    one, other = rng.uniform(0.05, 0.5, 3), rng.uniform(0.5, 0.95, 3)
    return one + chosen[..., None] * (other - one)


def paint_bricks(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint bricks in rows, each a little different, with mortar between them."""
    y, x = np.mgrid[:height, :width]
    tall, wide = rng.integers(14, 30), rng.integers(35, 70)
    row = y // tall
    column = (x + row % 2 * (wide // 2)) // wide
    tones = rng.normal(0, 0.05, (row.max() + 1, column.max() + 1))[row, column]
    mortar = (y % tall < 3) | ((x + row % 2 * (wide // 2)) % wide < 3)
    brick = np.array([0.6, 0.32, 0.24]) + tones[..., None]
    return _finish(rng, np.where(mortar[..., None], 0.8, brick))


def paint_tiles(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint square tiles with a ring in each."""
    y, x = np.mgrid[:height, :width]
    side = rng.integers(35, 60)
    away = np.hypot(y % side - side / 2, x % side - side / 2)
    ring = np.abs(away - side * 0.3) < 3
    joint = (y % side < 2) | (x % side < 2)
    return _finish(rng, _two_colours(rng, 1.0 - 0.8 * ring - 0.6 * joint * ~ring))


def paint_blinds(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint slats that are lighter at their upper edges."""
    y, x = np.mgrid[:height, :width]
    pitch, tilt = rng.uniform(9, 22), rng.uniform(-0.08, 0.08)
    return _finish(rng, _two_colours(rng, 1 - ((y + tilt * x) / pitch) % 1))


def paint_railings(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint dark bars with a rail above and below, before grass and sky."""
    y, x = np.mgrid[:height, :width]
    grass = rng.normal(0, 0.08, (height, width)) * (y > height * 0.55)
    behind = np.where((y > height * 0.55)[..., None], [0.35, 0.5, 0.2], [0.6, 0.75, 0.95]) + grass[..., None]
    pitch = rng.integers(22, 40)
    bars = (x % pitch < 5) | (np.abs(y - height * 0.2) < 4) | (np.abs(y - height * 0.8) < 4)
    return _finish(rng, np.where(bars[..., None], 0.12, behind))


def paint_text(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint lines of words: what they say cannot be known, that they are lines can."""
    page = Image.new("RGB", (width, height), (250, 248, 240))
    pen, pitch = ImageDraw.Draw(page), int(rng.integers(18, 26))
    for top in range(12, height - pitch, pitch):
        words = ("".join(rng.choice(list("aceimnorstuv"), rng.integers(2, 9))) for _ in range(width // 20))
        pen.text((12, top), " ".join(words), fill=(30, 30, 40), font_size=pitch * 0.6)
    return _finish(rng, np.asarray(page) / 255)


def paint_floor(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint a floor of squares in perspective, below a wall."""
    y, x = np.mgrid[:height, :width].astype(float)
    horizon = height * rng.uniform(0.1, 0.3)
    depth = height * 0.8 / np.maximum(y - horizon, 1)
    across = (x - width * rng.uniform(0.3, 0.7)) * depth / width * 7
    squares = (np.floor(across + 100) + np.floor(depth * 3)) % 2
    fade = np.clip((y - horizon) / (height * 0.15), 0, 1)
    floor = _two_colours(rng, 0.5 + (squares - 0.5) * fade)
    return _finish(rng, np.where((y > horizon)[..., None], floor, [0.8, 0.78, 0.72]))


PATTERNS: dict[str, Callable[[np.random.Generator, int, int], Pixels]] = {
    "bricks": paint_bricks,
    "tiles": paint_tiles,
    "blinds": paint_blinds,
    "railings": paint_railings,
    "text": paint_text,
    "floor": paint_floor,
}


# -- figures -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """Of one fill: dB in the hole, `lpips_like` round it, seconds of the processor."""

    scene: str
    kind: str
    label: str
    psnr: float
    lpips_like: float
    seconds: float


Judge = Callable[[Pixels, Pixels], float]


def make_judge(features: Path) -> Judge:
    """Make `lpips_like` of two (h, w, 3) crops."""
    import torch

    from infilling.learning.features import PERCEPTUAL_LAYERS, load_features, perceptual_distance

    torch.set_num_threads(1)
    network = load_features(features)

    def look(pixels: Pixels) -> dict[str, torch.Tensor]:
        planes = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
        return network.layers(planes[None], PERCEPTUAL_LAYERS)

    def judge(one: Pixels, other: Pixels) -> float:
        with torch.inference_mode():
            return float(perceptual_distance(look(one), look(other))[0])

    return judge


def judge_fill(scene: Scene, label: str, filled: Pixels, seconds: float, judge: Judge) -> Figures:
    """Compare a fill with the truth."""
    error = np.square(filled.astype(float) - scene.pixels)[scene.hole].mean()
    psnr = float(10 * np.log10(255**2 / max(error, 1e-3)))
    near = surround(scene.hole)
    return Figures(scene.name, scene.kind, label, psnr, judge(filled[near], scene.pixels[near]), seconds)


def surround(hole: Mask) -> tuple[slice, slice]:
    """Return the box round a hole, a quarter of its size wider on each side."""
    slices = []
    for axis, length in ((1, hole.shape[0]), (0, hole.shape[1])):
        places = np.flatnonzero(hole.any(axis=axis))
        first, last = int(places[0]), int(places[-1])
        wider = max(16, (last - first) // 4)
        slices.append(slice(max(0, first - wider), min(length, last + 1 + wider)))
    return slices[0], slices[1]


def hide(scene: Scene) -> Pixels:
    """Return the picture without what its hole holds."""
    pixels = scene.pixels.copy()
    pixels[scene.hole] = 0
    return pixels


def print_table(rows: Iterable[Figures]) -> None:
    """Print the means in Markdown, a row for each label and kind of picture."""
    found: dict[tuple[str, str], list[Figures]] = {}
    for row in rows:
        found.setdefault((row.kind, row.label), []).append(row)
    print("\n| pictures | fill | holes | hole PSNR | lpips_like | seconds |\n|---|---|---:|---:|---:|---:|")
    for (kind, label), same in sorted(found.items()):
        psnr, distance, seconds = (
            statistics.mean(getattr(row, name) for row in same) for name in ("psnr", "lpips_like", "seconds")
        )
        print(f"| {kind} | {label} | {len(same)} | {psnr:.2f} | {distance:.4f} | {seconds:.2f} |")


def set_constant(text: str) -> None:
    """Change a constant by `module.NAME=value`."""
    name, _, value = text.partition("=")
    module, _, constant = name.partition(".")
    holder = importlib.import_module(f"infilling.filling.{module}")
    if not hasattr(holder, constant):
        raise SystemExit(f"infilling.filling.{module} has no {constant}")
    setattr(holder, constant, json.loads(value))


def main() -> None:
    """Fill, judge, and print the table."""
    import infilling

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, default="choose")
    parser.add_argument("--size", action="append", type=int, help="longer side in px; repeat it; 480")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="repeat it; object and box")
    parser.add_argument(
        "--engine", action="append", help="repeat it; `NAME-plain` is without detail; default"
    )
    parser.add_argument("--photographs", type=int, default=1000, help="number of photographs, at most")
    parser.add_argument("--set", action="append", default=[], help="module.NAME=value, for this run")
    parser.add_argument("--label", default="", help="is added to the engines' names")
    parser.add_argument("--figures", type=Path, help="append figures to this file of JSON lines")
    parser.add_argument("--out", type=Path, help="folder for the filled pictures")
    args = parser.parse_args()
    for text in args.set:
        set_constant(text)
    judge = make_judge(args.data / "features" / "squeezenet.safetensors")
    rows = []
    for size in args.size or [480]:
        for scene in draw_scenes(args.data, args.part, size, args.photographs, args.shape or DEFAULT_SHAPES):
            for name in args.engine or ["default"]:
                plain = name.endswith("-plain")
                began = time.process_time()
                filled = infilling.fill(
                    hide(scene), scene.hole, name.removesuffix("-plain"), detail=not plain, threads=1
                )
                seconds = time.process_time() - began
                row = judge_fill(scene, f"{name}{args.label} {size}", filled, seconds, judge)
                rows.append(row)
                if args.figures:
                    with args.figures.open("a") as file:
                        file.write(json.dumps(asdict(row)) + "\n")
                if args.out:
                    args.out.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(filled).save(args.out / f"{scene.name}-{size}-{name}{args.label}.png")
    print_table(rows)


if __name__ == "__main__":
    main()
