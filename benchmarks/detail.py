"""Detail of fills that were made in a reduced crop: plain enlargement against recovered texture.

    python benchmarks/detail.py --photos DIR --features FILE [--engine telea …] [--out DIR]
    python benchmarks/detail.py --photos DIR --draw

The holes are squares of 300 to 600 px in photographs; `detail-squares.json` has them. They were drawn once,
by seed, before anything was tuned: five in each photograph, round tiles of 300 px from the upper half by
gradient energy. Each is a hole by itself. Engines that take any size get a working size of 256 px, through
the same plan as a network. Three fills of each: enlarged; with recovered texture; and, as users get it, with
its colours matched at the seam besides. Figures: `lpips_like` of the crop (the hole and as much on each side)
against the photograph, PSNR in the hole, and the gradient energy in the hole over that of the known part of
the crop; the photograph's own is in the table too. Means over the squares; energies as ratio of the sums.
"""

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from infilling.filling import fill as pipeline
from infilling.filling.engine import Engine, open_engine
from infilling.pictures.frame import FloatArray, SizeRule, plan
from infilling.pictures.mask import Mask, from_boxes
from infilling.pictures.picture import Picture, Samples, decode, encode, to_float, write_atomic

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

    def fill(self, image: FloatArray, mask: FloatArray) -> FloatArray:
        return self.inner.fill(image, mask)


def measure_energy(pixels: NDArray[np.float32], chosen: Mask) -> float:
    """Sum of squared steps of the luma, right and down, between chosen pixels."""
    luma = pixels @ np.float32([0.299, 0.587, 0.114])
    right, down = np.diff(luma, axis=1) ** 2, np.diff(luma, axis=0) ** 2
    both_right, both_down = chosen[:, 1:] & chosen[:, :-1], chosen[1:] & chosen[:-1]
    return float(right[both_right].mean() + down[both_down].mean())


def draw(photos: Path) -> list[Square]:
    """Draw the squares: name, x, y, side."""
    rng = np.random.default_rng(SEED)
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
        for chosen in rng.choice(np.sort(upper), EACH, replace=False):
            side = int(rng.integers(SIDES[0], SIDES[1] + 1))
            x, y = (edge + (TILE - side) // 2 for edge in corners[chosen])
            squares.append((name, int(np.clip(x, 0, width - side)), int(np.clip(y, 0, height - side)), side))
    return squares


Judge = Callable[[FloatArray, FloatArray], float]


def make_judge(features: Path) -> Judge:
    """`lpips_like` of two (h, w, 3) crops; the features of the last second crop are kept."""
    import torch

    from infilling.learning.features import PERCEPTUAL_LAYERS, load, perceptual_distance

    torch.set_num_threads(1)
    network = load(features)
    last: dict[bytes, dict[str, torch.Tensor]] = {}

    def look(image: FloatArray) -> dict[str, torch.Tensor]:
        return network.layers(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], PERCEPTUAL_LAYERS)

    def judge(one: FloatArray, other: FloatArray) -> float:
        key = hashlib.sha256(other.tobytes()).digest()
        with torch.inference_mode():
            if key not in last:
                last.clear()
                last[key] = look(other)
            return 0.0 if one is other else float(perceptual_distance(look(one), last[key])[0])

    return judge


@dataclass(frozen=True)
class Figures:
    """Of one result: `lpips_like`, PSNR in the hole, energy in it and around it, seconds of the fill."""

    lpips_like: float
    psnr: float
    inside: float
    around: float
    seconds: float = 0.0


def cut(photo: Samples, square: Square) -> tuple[Samples, Mask]:
    """Cut out what a fill looks at, and a little more; with its hole."""
    _, x, y, side = square
    reach = side + 100
    top, left = max(0, y - reach), max(0, x - reach)
    pixels = photo[top : y + side + reach, left : x + side + reach]
    return pixels, from_boxes([(x - left, y - top, side, side)], *pixels.shape[:2])


def judge_one(pixels: Samples, mask: Mask, result: Samples, judge: Judge) -> Figures:
    [region] = plan(mask, SizeRule(working_size=WORKING_SIZE))
    part = region.box.slices
    other, hole = to_float(pixels[part]), mask[part]
    one = other if result is pixels else to_float(result[part])
    error = float(np.square(one - other)[hole].mean())
    psnr = -10 * np.log10(error) if error else np.inf
    return Figures(judge(one, other), psnr, measure_energy(one, hole), measure_energy(one, ~hole))


def open_sized(name: str) -> Engine:
    """Open an engine; one that takes any size works at `WORKING_SIZE`."""
    engine = open_engine(name)
    return engine if engine.size_rule.working_size else Sized(engine, SizeRule(working_size=WORKING_SIZE))


def fill_as(kind: str, picture: Picture, mask: Mask, engine: Engine) -> Samples:
    """Fill in one of the three ways."""
    if kind == "texture":
        with mock.patch.object(pipeline, "match_seam", lambda image, filled, hole: filled):
            return pipeline.fill_picture(picture, mask, engine).pixels
    return pipeline.fill_picture(picture, mask, engine, detail=kind == "detail").pixels


def measure(photos: Path, features: Path, engines: list[str], out: Path | None) -> dict[str, list[Figures]]:
    judge = make_judge(features)
    opened = [open_sized(name) for name in engines]
    found: dict[str, list[Figures]] = {}
    pictures = {name: decode(photos / name).pixels for name in PHOTOS}
    for number, square in enumerate(json.loads(SQUARES.read_text())):
        pixels, mask = cut(pictures[square[0]], square)
        found.setdefault("photograph", []).append(judge_one(pixels, mask, pixels, judge))
        for engine in opened:
            for kind in KINDS:
                label = f"{engine.name}, {kind}"
                start = time.perf_counter()
                result = fill_as(kind, Picture(pixels), mask, engine)
                seconds = time.perf_counter() - start
                figures = judge_one(pixels, mask, result, judge)
                found.setdefault(label, []).append(replace(figures, seconds=seconds))
                print(f"{number:2} {square} {label:28} {figures.lpips_like:.3f} {seconds:.1f} s", flush=True)
                if out:
                    out.mkdir(parents=True, exist_ok=True)
                    name = f"{number:02}-{label.replace(', ', '-')}.png"
                    write_atomic(out / name, encode(Picture(result)))
    return found


def tell(found: dict[str, list[Figures]]) -> None:
    """Print the table in Markdown."""
    print("| fill | lpips_like | against enlarged | hole PSNR | gradient energy, in / around | seconds |")
    print("|---|---:|---:|---:|---:|---:|")
    for label, rows in found.items():
        distance = statistics.mean(row.lpips_like for row in rows)
        plain = found.get(f"{label.partition(',')[0]}, enlarged", rows)
        change = distance / statistics.mean(row.lpips_like for row in plain) - 1 if distance else 0
        energy = sum(row.inside for row in rows) / sum(row.around for row in rows)
        seconds = statistics.median(row.seconds for row in rows)
        psnr = statistics.mean(row.psnr for row in rows)
        print(f"| {label} | {distance:.3f} | {change:+.1%} | {psnr:.2f} | {energy:.2f} | {seconds:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--features", type=Path, help="SqueezeNet, as `infill evaluate --features` takes it")
    parser.add_argument("--engine", action="append", help="repeat it; by default push-pull and telea")
    parser.add_argument("--out", type=Path, help="folder for the filled crops")
    parser.add_argument("--draw", action="store_true", help="draw the squares anew and write them down")
    args = parser.parse_args()
    if args.draw:
        lines = ",\n".join(f"  {json.dumps(square)}" for square in draw(args.photos))
        SQUARES.write_text(f"[\n{lines}\n]\n")
    else:
        if args.features is None:
            parser.error("--features is needed to measure")
        tell(measure(args.photos, args.features, args.engine or ["push-pull", "telea"], args.out))


if __name__ == "__main__":
    main()
