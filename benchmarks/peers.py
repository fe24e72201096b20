"""Fills of photographs with a known truth by this package and by others, in one run: time, memory, quality.

    pip install pypatchmatch resynthesizer patchmatch-cython opencv-contrib-python-headless numpy pillow
    python benchmarks/peers.py --peers-python VENV/bin/python [--photos DIR] [--features FILE] [--out DIR]

Install the peers in an environment of their own: some need other versions than this package. What is missing
there is listed, and left out. The pictures are scikit-image's samples (those in its wheel) and those of
`--photos`; longer sides than `--side` are reduced. Holes are drawn by seed: boxes and blobs, of 1/16 to 1/4
of the shorter side, where the picture is known, so that the truth is.

Each fill is a process: the seconds are those of one call, after imports; for this package that includes
opening the network. The memory is the whole process's (Linux). PSNR is that of the hole; `lpips_like`, lower
is better, is that of the hole and as much around it, and needs `--features` and torch; energy is the mean
squared slope in the hole over the photograph's own there: 1 is as lively as the truth.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from detail import Judge, make_judge, measure_energy
from photos import choose_modules, describe
from PIL import Image, ImageDraw

from infilling.pictures.mask import Box, Mask, bounding_box, widen
from infilling.pictures.picture import Samples, to_float

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "brick", "grass", "gravel")
OURS = ("default", "patch-synthesis", "push-pull")
PEERS = {  # what it is called: the lines that fill `image` (h, w, 3) by `mask` (h, w) bool into `filled`
    "pypatchmatch": """
from patchmatch import patch_match
fill = lambda: patch_match.inpaint(image, mask.astype(np.uint8) * 255, patch_size=5)
""",
    "resynthesizer": """
from PIL import Image
from resynthesizer import resynthesize
fill = lambda: np.asarray(resynthesize(Image.fromarray(image), Image.fromarray(mask.astype(np.uint8) * 255)))
""",
    "patchmatch-cython": """
import patchmatch_cython
fill = lambda: patchmatch_cython.inpaint_pyramid(image, mask, seed=0)
""",
    "OpenCV Telea": """
import cv2
fill = lambda: cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
""",
    "OpenCV Navier–Stokes": """
import cv2
fill = lambda: cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_NS)
""",
    "xphoto shift-map": """
import cv2
def fill():
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    known, out = np.where(mask, 0, 255).astype(np.uint8), np.zeros_like(lab)
    cv2.xphoto.inpaint(lab, known, out, cv2.xphoto.INPAINT_SHIFTMAP)
    return cv2.cvtColor(out, cv2.COLOR_Lab2RGB)
""",
    "xphoto FSR, fast": """
import cv2
def fill():
    known, out = np.where(mask, 0, 255).astype(np.uint8), np.zeros_like(image)
    cv2.xphoto.inpaint(np.ascontiguousarray(image[..., ::-1]), known, out, cv2.xphoto.INPAINT_FSR_FAST)
    return out[..., ::-1]
""",
}
OWN = """
import infilling
fill = lambda: infilling.fill(image, mask, engine={name!r})
"""
SCRIPT = """
import contextlib, json, os, sys, time
import numpy as np
image, mask = (np.load(path) for path in sys.argv[1:3])
image[mask] = 0
{lines}
began = time.perf_counter()
with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
    filled = fill()
seconds = time.perf_counter() - began
np.save(sys.argv[3], np.ascontiguousarray(filled))
with open("/proc/self/status") as status:  # a process's rusage begins with what its parent had
    [peak] = [int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")]
print("FIGURES", json.dumps([seconds, peak]))
"""
BROKEN = "cannot be imported"


@dataclass(frozen=True)
class Method:
    """A way to fill: what it is called, the lines that do it, and the Python that runs them."""

    name: str
    lines: str
    python: str


@dataclass(frozen=True)
class Figures:
    """What came of one fill."""

    seconds: float
    memory: float
    psnr: float
    lpips_like: float | None
    energy: float


def list_methods(peers_python: str | None) -> Iterator[Method]:
    """Yield the methods that can be run here; print those that cannot, and why."""
    for name in OURS:
        yield Method(f"infilling {name}", OWN.format(name=name), sys.executable)
    if peers_python is None:
        print("no peers: name the Python of their environment with --peers-python")
        return
    for name, lines in PEERS.items():
        check = lines.split("fill = ")[0].split("def fill")[0] + needs(name)
        done = subprocess.run([peers_python, "-c", check], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [BROKEN])[-1]
            print(f"left out: {name} ({reason})")
        else:
            yield Method(name, lines, peers_python)


def needs(name: str) -> str:
    """Return a line that fails where OpenCV lacks its contributed modules."""
    return "\ncv2.xphoto.inpaint" if name.startswith("xphoto") else ""


def load_pictures(photos: Path | None, side: int) -> Iterator[tuple[str, Samples]]:
    """Yield names and pictures (h, w, 3), none of them larger than `side`."""
    from skimage import data

    for name in SAMPLES:
        try:
            yield name, shrink(Image.fromarray(getattr(data, name)()), side)
        except (OSError, ImportError) as error:  # some samples would have to be downloaded
            print(f"left out: {name} ({str(error).splitlines()[0]})")
    for path in sorted(photos.iterdir()) if photos else []:
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
            yield path.stem, shrink(Image.open(path), side)


def shrink(image: Image.Image, side: int) -> Samples:
    """Return a picture in RGB whose longer side is at most `side`."""
    image = image.convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(image)


def draw_hole(height: int, width: int, rng: np.random.Generator) -> Mask:
    """Draw a box or a blob, 1/16 to 1/4 of the shorter side, with as much picture on every side."""
    mask = Image.new("L", (width, height))
    draw, short = ImageDraw.Draw(mask), min(height, width)
    across, down = (int(rng.integers(short // 16, short // 4 + 1)) for _ in range(2))
    x = int(rng.integers(across, width - 2 * across + 1))
    y = int(rng.integers(down, height - 2 * down + 1))
    if rng.random() < 0.5:
        draw.rectangle((x, y, x + across - 1, y + down - 1), fill=255)
    else:
        angles = np.linspace(0, 2 * np.pi, 9)[:-1]
        reach = rng.uniform(0.6, 1, 8) / 2
        points = np.stack([(0.5 + reach * np.cos(angles)) * across, (0.5 + reach * np.sin(angles)) * down], 1)
        draw.polygon([(x + float(right), y + float(low)) for right, low in points], fill=255)
    return np.asarray(mask) > 0


def fill(
    method: Method, picture: Samples, hole: Mask, folder: Path, limit: int
) -> tuple[Samples, float, float]:
    """Fill in a process of its own: the result, the seconds of the call and the process's memory in MB.

    Raises:
        RuntimeError: it fails, or takes longer than `limit` seconds.
    """
    files = [folder / name for name in ("image.npy", "mask.npy", "filled.npy")]
    np.save(files[0], picture)
    np.save(files[1], hole)
    files[2].unlink(missing_ok=True)
    environment = choose_modules(ROOT) if method.python == sys.executable else dict(os.environ)
    command = [method.python, "-c", SCRIPT.replace("{lines}", method.lines), *map(str, files)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"not done after {limit} s") from error
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    line = next(line for line in done.stdout.splitlines() if line.startswith("FIGURES"))
    seconds, memory = json.loads(line.removeprefix("FIGURES"))
    return np.load(files[2]), seconds, memory


def measure(
    truth: Samples, hole: Mask, result: Samples, judge: Judge | None
) -> tuple[float, float | None, float]:
    """Return PSNR in the hole, `lpips_like` of it and its surroundings, and energy to the truth's."""
    box = bounding_box(hole)
    near = widen(box, max(box.width, box.height), Box(0, 0, hole.shape[1], hole.shape[0])).slices
    one, other, chosen = to_float(result[near]), to_float(truth[near]), hole[near]
    one = np.where(chosen[..., None], one, other)  # some change known pixels too
    error = float(np.square(one - other)[chosen].mean())
    psnr = float(-10 * np.log10(max(error, 1e-10)))
    distance = judge(one, other) if judge else None
    energy = measure_energy(one, chosen) / max(measure_energy(other, chosen), 1e-9)
    return psnr, distance, energy


def run_all(args: argparse.Namespace, methods: list[Method]) -> dict[str, list[Figures | None]]:
    """Fill each hole of each picture by each method; None where one failed."""
    judge = make_judge(args.features) if args.features else None
    found: dict[str, list[Figures | None]] = {method.name: [] for method in methods}
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as name:
        for title, picture in load_pictures(args.photos, args.side):
            for number in range(args.holes):
                hole = draw_hole(*picture.shape[:2], rng)
                for method in methods:
                    try:
                        result, seconds, memory = fill(method, picture, hole, Path(name), args.limit)
                    except RuntimeError as error:
                        print(f"{title}, hole {number}: {method.name}: {error}", flush=True)
                        found[method.name].append(None)
                        continue
                    row = Figures(seconds, memory, *measure(picture, hole, result, judge))
                    found[method.name].append(row)
                    if args.out:
                        label = method.name.replace(" ", "-").replace(",", "")
                        Image.fromarray(result).save(args.out / f"{title}-{number}-{label}.png")
    return found


def show(found: dict[str, list[Figures | None]]) -> None:
    """Print the table in Markdown; all figures are of the holes that every method filled."""
    together = [rows for rows in zip(*found.values(), strict=True) if None not in rows]
    print(f"\nof {len(together)} holes that all filled:\n")
    print("| method | seconds, median | slowest | memory | hole PSNR | lpips_like | energy | failed |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for place, (name, all_rows) in enumerate(found.items()):
        rows = [each[place] for each in together]
        if not rows:
            continue
        seconds = [row.seconds for row in rows]
        distances = [row.lpips_like for row in rows if row.lpips_like is not None]
        cells = (
            name,
            f"{statistics.median(seconds):.2f}",
            f"{max(seconds):.2f}",
            f"{max(row.memory for row in rows):.0f} MB",
            f"{statistics.mean(row.psnr for row in rows):.2f} dB",
            f"{statistics.mean(distances):.3f}" if distances else "",
            f"{statistics.median(row.energy for row in rows):.2f}",
            str(all_rows.count(None)),
        )
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Run all methods on all holes, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers-python", help="the Python of the environment that has the peers")
    parser.add_argument("--photos", type=Path, help="a folder of further photographs")
    parser.add_argument("--features", type=Path, help="SqueezeNet, as `infill evaluate --features` takes it")
    parser.add_argument("--side", type=int, default=512, help="longer side of the pictures, at most")
    parser.add_argument("--holes", type=int, default=2, help="of each picture")
    parser.add_argument("--seed", type=int, default=0, help="of the holes")
    parser.add_argument("--limit", type=int, default=300, help="seconds for one fill")
    parser.add_argument("--method", action="append", help="only this one; repeat it")
    parser.add_argument("--out", type=Path, help="folder for the fills")
    args = parser.parse_args()
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    print(describe("default"))
    methods = [one for one in list_methods(args.peers_python) if not args.method or one.name in args.method]
    show(run_all(args, methods))


if __name__ == "__main__":
    main()
