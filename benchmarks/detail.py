"""Detail of fills in photographs: a network's own, enlarged where its crop was reduced, against texture.

    python benchmarks/detail.py --photos DIR --features FILE [--engine telea …] [--figures FILE] [--out DIR]
    python benchmarks/detail.py --photos DIR --draw [--squares FILE --sides LOW HIGH --each N --seed N]

The holes are squares of 300 to 600 px in photographs; `detail-squares.json` has them. They were drawn once,
by seed, before anything was tuned: five in each photograph, round tiles of 300 px from the upper half by
gradient energy. `--squares FILE` takes others, such as `--draw` makes. Each is a hole by itself. Engines that
take any size get a working size of 256 px, through the same plan as a network. Three fills of each: enlarged;
with copied texture as it is; and, as users get it, moved to meet the rim and with some of the fill. Figures:
`lpips_like` of the crop (the hole and as much on each side) against the photograph, PSNR in the hole, and the
gradient energy in the hole over that of the known part of the crop; the photograph's own is in the table too.
Means over the squares; energies as ratio of the sums.
"""

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from infilling.filling import finish, pipeline
from infilling.filling.contract import Engine
from infilling.filling.engine import open_engine
from infilling.pictures.files import decode, encode
from infilling.pictures.frame import SizeRule, plan
from infilling.pictures.mask import Mask, bounding_box, from_boxes
from infilling.pictures.picture import Floats, Picture, Samples, to_float
from infilling.storage import write_atomic

SQUARES = Path(__file__).with_name("detail-squares.json")
PHOTOS = ("canyon.jpg", "pier.jpg", "planks-and-sea.jpg", "spacecraft.jpg")
SEED, EACH, TILE, SIDES = 2026, 5, 300, (300, 600)
WORKING_SIZE = 256
KINDS = ("enlarged", "texture", "detail")

Square = tuple[str, int, int, int]


@dataclass
class Sized:
    """An engine that takes any size, given a size at which it works."""

    inner: Engine
    size_rule: SizeRule

    @property
    def name(self) -> str:
        return self.inner.name

    def fill(self, image: Floats, mask: Floats) -> Floats:
        return self.inner.fill(image, mask)


def measure_energy(pixels: NDArray[np.float32], chosen: Mask) -> float:
    """Sum of squared steps of the luma, right and down, between chosen pixels."""
    luma = pixels @ np.float32([0.299, 0.587, 0.114])
    right, down = np.diff(luma, axis=1) ** 2, np.diff(luma, axis=0) ** 2
    both_right, both_down = chosen[:, 1:] & chosen[:, :-1], chosen[1:] & chosen[:-1]
    return float(right[both_right].mean() + down[both_down].mean())


def draw(photos: Path, sides: tuple[int, int], each: int, seed: int) -> list[Square]:
    """Draw the squares: name, x, y, side."""
    rng = np.random.default_rng(seed)
    squares: list[Square] = []
    for name in PHOTOS:
        pixels = to_float(decode(photos / name).pixels)
        height, width = pixels.shape[:2]
        corners = [
            (x, y) for y in range(0, height - TILE + 1, TILE) for x in range(0, width - TILE + 1, TILE)
        ]
        whole = np.ones((TILE, TILE), bool)
        energies = [measure_energy(pixels[y : y + TILE, x : x + TILE], whole) for x, y in corners]
        upper = np.argsort(energies)[len(corners) // 2 :]
        for chosen in rng.choice(np.sort(upper), each, replace=False):
            side = int(rng.integers(sides[0], sides[1] + 1))
            x, y = (edge + (TILE - side) // 2 for edge in corners[chosen])
            squares.append((name, int(np.clip(x, 0, width - side)), int(np.clip(y, 0, height - side)), side))
    return squares


Judge = Callable[[Floats, Floats], float]


def make_judge(features: Path) -> Judge:
    """`lpips_like` of two (h, w, 3) crops; the features of the last second crop are kept."""
    import torch

    from infilling.learning.features import PERCEPTUAL_LAYERS, load_features, perceptual_distance

    torch.set_num_threads(1)
    network = load_features(features)
    last: dict[bytes, dict[str, torch.Tensor]] = {}

    def look(image: Floats) -> dict[str, torch.Tensor]:
        return network.layers(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], PERCEPTUAL_LAYERS)

    def judge(one: Floats, other: Floats) -> float:
        key = hashlib.sha256(other.tobytes()).digest()
        with torch.inference_mode():
            if key not in last:
                last.clear()
                last[key] = look(other)
            return 0.0 if one is other else float(perceptual_distance(look(one), last[key])[0])

    return judge


@dataclass(frozen=True)
class Figures:
    """Of one result: which square and fill, `lpips_like`, PSNR in the hole, energy in it and around it."""

    square: int
    label: str
    lpips_like: float = 0.0
    psnr: float = 0.0
    inside: float = 0.0
    around: float = 0.0
    seconds: float = 0.0


def cut(photo: Samples, square: Square) -> tuple[Samples, Mask]:
    """Cut out what a fill looks at, and a little more; with its hole."""
    _, x, y, side = square
    reach = side + 100
    top, left = max(0, y - reach), max(0, x - reach)
    pixels = photo[top : y + side + reach, left : x + side + reach]
    return pixels, from_boxes([(x - left, y - top, side, side)], *pixels.shape[:2])


def judge_one(row: Figures, pixels: Samples, mask: Mask, result: Samples, judge: Judge) -> Figures:
    [region] = plan(mask, SizeRule(working_size=min(WORKING_SIZE, bounding_box(mask).width)))
    part = region.box.slices
    other, hole = to_float(pixels[part]), mask[part]
    one = other if result is pixels else to_float(result[part])
    error = float(np.square(one - other)[hole].mean())
    psnr = -10 * np.log10(error) if error else np.inf
    return replace(
        row,
        lpips_like=judge(one, other),
        psnr=psnr,
        inside=measure_energy(one, hole),
        around=measure_energy(one, ~hole),
    )


def open_sized(name: str) -> Engine:
    """Open an engine; one that takes any size works at `WORKING_SIZE`."""
    engine = open_engine(name)
    return engine if engine.size_rule.working_size else Sized(engine, SizeRule(working_size=WORKING_SIZE))


def fill_as(kind: str, picture: Picture, mask: Mask, engine: Engine) -> Samples:
    """Fill in one of the three ways."""
    if kind == "texture":
        recover = finish.recover

        def copy_only(*given: Any, **options: Any) -> Floats:
            return recover(*given, **options | {"most_drift": 0})

        with mock.patch.object(finish, "recover", copy_only):
            return pipeline.fill_picture(picture, mask, engine).pixels
    return pipeline.fill_picture(picture, mask, engine, detail=kind == "detail").pixels


def measure(args: argparse.Namespace) -> Iterator[Figures]:
    """Fill each square in each way, and judge it."""
    judge = make_judge(args.features)
    opened = [open_sized(name) for name in args.engine or ["push-pull", "telea"]]
    pictures = {name: decode(args.photos / name).pixels for name in PHOTOS}
    for number, square in enumerate(json.loads(args.squares.read_text())):
        if args.square and number not in args.square:
            continue
        pixels, mask = cut(pictures[square[0]], square)
        yield judge_one(Figures(number, "photograph"), pixels, mask, pixels, judge)
        for engine, kind in product(opened, args.kind or KINDS):
            start = time.perf_counter()
            result = fill_as(kind, Picture(pixels), mask, engine)
            row = Figures(number, f"{engine.name}, {kind}", seconds=time.perf_counter() - start)
            yield judge_one(row, pixels, mask, result, judge)
            if args.out:
                args.out.mkdir(parents=True, exist_ok=True)
                name = f"{number:02}-{row.label.replace(', ', '-')}.png"
                write_atomic(args.out / name, encode(Picture(result)))


def tell(rows: Iterable[Figures]) -> None:
    """Print the table in Markdown."""
    found: dict[str, list[Figures]] = {}
    for row in rows:
        found.setdefault(row.label, []).append(row)
    print("| fill | squares | lpips_like | to enlarged | hole PSNR | energy in / around | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for label, same in found.items():
        distance = statistics.mean(row.lpips_like for row in same)
        plain = found.get(f"{label.partition(',')[0]}, enlarged", same)
        change = distance / statistics.mean(row.lpips_like for row in plain) - 1 if distance else 0
        energy = sum(row.inside for row in same) / sum(row.around for row in same)
        seconds = statistics.median(row.seconds for row in same)
        psnr = statistics.mean(row.psnr for row in same)
        print(
            f"| {label} | {len(same)} | {distance:.3f} | {change:+.1%} | {psnr:.2f} | {energy:.2f} "
            f"| {seconds:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--features", type=Path, help="SqueezeNet, as `infill evaluate --features` takes it")
    parser.add_argument("--engine", action="append", help="repeat it; by default push-pull and telea")
    parser.add_argument("--kind", action="append", choices=KINDS, help="repeat it; by default all")
    parser.add_argument("--square", action="append", type=int, help="only this one, from 0; repeat it")
    parser.add_argument("--figures", type=Path, help="keep figures in this file, and tell all that are in it")
    parser.add_argument("--out", type=Path, help="folder for the filled crops")
    parser.add_argument("--squares", type=Path, default=SQUARES, help="the file that has them")
    parser.add_argument("--draw", action="store_true", help="draw the squares anew and write them there")
    parser.add_argument(
        "--sides", type=int, nargs=2, default=SIDES, help="to draw: from so many px to so many"
    )
    parser.add_argument("--each", type=int, default=EACH, help="to draw: so many in each photograph")
    parser.add_argument("--seed", type=int, default=SEED, help="to draw")
    args = parser.parse_args()
    if args.draw:
        lines = ",\n".join(
            f"  {json.dumps(square)}" for square in draw(args.photos, args.sides, args.each, args.seed)
        )
        args.squares.write_text(f"[\n{lines}\n]\n")
        return
    if args.features is None:
        parser.error("--features is needed to measure")
    rows = []
    for row in measure(args):
        rows.append(row)
        print(f"{row.square:2} {row.label:28} {row.lpips_like:.3f} {row.seconds:.1f} s", flush=True)
        if args.figures:
            with args.figures.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
    if args.figures:
        # A square that was measured twice counts as it was the last time.
        lines = [json.loads(line) for line in args.figures.read_text().splitlines()]
        rows = list({(line["square"], line["label"]): Figures(**line) for line in lines}.values())
    tell(rows)


if __name__ == "__main__":
    main()
