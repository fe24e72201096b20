"""Speed and memory on photographs: one picture as a command and inside a process, large ones, a folder.

    python benchmarks/photos.py [--engine NAME|FILE] [--rounds 5] [--pictures 200] [--only ROW …]

Medians of whole rounds. Commands are timed as processes, start to end; one has run before, so that files are
in the system's cache and modules are compiled, as an installer leaves them. Pictures are made from a sample
photograph: 512×512, and enlarged with grain. The picture of 3 megapixels is the middle of the one of 12.
Holes are squares in the middle. The table says what must be reached on two cores, and what was to be reached.
The folder takes the longest: all its pictures, three times.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from infilling.filling.contract import Engine
from infilling.filling.engine import open_engine
from infilling.filling.fill import fill
from infilling.filling.pipeline import fill_picture
from infilling.pictures.files import decode
from infilling.pictures.mask import from_boxes
from infilling.pictures.picture import Picture

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "pictures" / "astronaut.jpg"
SMALL, LARGE, MIDDLE = (512, 512), (4000, 3000), (2000, 1500)  # width, height
SMALL_HOLE, LARGE_HOLE = 128, 500
GRAIN = 4  # standard deviation, in levels


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, with its bar and goal; whether more is better."""

    what: str
    must: str
    goal: str
    measured: str
    reached: bool


def make_pictures(folder: Path) -> None:
    """Write small.png and large.jpg."""
    sample = Image.open(SAMPLE).convert("RGB")
    sample.resize(SMALL).save(folder / "small.png")
    grain = np.random.default_rng(0).normal(0, GRAIN, (LARGE[1], LARGE[0], 1)).astype(np.float32)
    large = np.asarray(sample.resize(LARGE, Image.Resampling.BICUBIC)) + grain
    Image.fromarray(large.round().clip(0, 255).astype(np.uint8)).save(folder / "large.jpg", quality=92)


def find_box(size: tuple[int, int], hole: int) -> tuple[int, int, int, int]:
    """A square in the middle: x, y, width, height."""
    return (size[0] - hole) // 2, (size[1] - hole) // 2, hole, hole


@dataclass(frozen=True)
class Run:
    """Seconds that a command took, those of the processor, and the megabytes that it held at most."""

    seconds: float
    cpu: float
    peak: float


def run(*words: object) -> Run:
    """Run `infill`."""
    command = [sys.executable, "-m", "infilling", *map(str, words)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def time_command(rounds: int, *words: object) -> Run:
    """Medians over some runs, after one that is not counted; the largest peak."""
    runs = [run(*words) for _ in range(rounds + 1)][1:]
    seconds, cpu = (statistics.median(getattr(one, name) for one in runs) for name in ("seconds", "cpu"))
    return Run(seconds, cpu, max(one.peak for one in runs))


def time_median(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each work; they take turns, and a first turn is not counted."""
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work()
            if turn:
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


def tell(command: Run) -> str:
    """Its seconds, and of these the processor's."""
    return f"{command.seconds:.2f} s (processor {command.cpu:.2f} s)"


def fill_small(folder: Path, name: str, rounds: int) -> list[Row]:
    box = ",".join(map(str, find_box(SMALL, SMALL_HOLE)))
    words = ("fill", folder / "small.png", "--box", box, "--engine", name, "--out", folder / "out.png")
    command = time_command(rounds, *words)
    data, engine = (folder / "small.png").read_bytes(), open_engine(name)
    [warm] = time_median(2 * rounds, lambda: fill(data, engine=engine, boxes=[find_box(SMALL, SMALL_HOLE)]))
    return [
        Row("512² PNG, hole 128², command", "≤ 1.2 s", "≤ 0.7 s", tell(command), command.seconds <= 1.2),
        Row("the same in a process, warm", "≤ 300 ms", "≤ 120 ms", f"{1000 * warm:.0f} ms", warm <= 0.3),
    ]


def fill_large(folder: Path, name: str, rounds: int) -> list[Row]:
    box = ",".join(map(str, find_box(LARGE, LARGE_HOLE)))
    words = ("fill", folder / "large.jpg", "--box", box, "--engine", name, "--out", folder / "out.jpg")
    command = time_command(rounds, *words)
    peak = f"{command.peak:.0f} MB"
    return [
        Row("12 MP JPEG, hole 500², command", "≤ 3 s", "≤ 1.5 s", tell(command), command.seconds <= 3),
        Row("the same, peak memory", "≤ 900 MB", "≤ 500 MB", peak, command.peak <= 900),
    ]


def compare_sizes(folder: Path, engine: Engine, rounds: int) -> list[Row]:
    large = decode(folder / "large.jpg").pixels
    x, y = (LARGE[0] - MIDDLE[0]) // 2, (LARGE[1] - MIDDLE[1]) // 2
    middle = np.ascontiguousarray(large[y : y + MIDDLE[1], x : x + MIDDLE[0]])
    works = []
    for pixels in (large, middle):
        size = pixels.shape[1], pixels.shape[0]
        hole = from_boxes([find_box(size, LARGE_HOLE)], *pixels.shape[:2])
        works.append(lambda pixels=pixels, hole=hole: fill_picture(Picture(pixels), hole, engine))
    ours, less = time_median(rounds, *works)
    text = f"{ours / less:.2f} × ({ours:.2f} s, {less:.2f} s)"
    what = "12 MP against 3 MP, the same hole, filling alone"
    return [Row(what, "≤ 1.5 ×", "≤ 1.1 ×", text, ours / less <= 1.5)]


def fill_folder(folder: Path, name: str, pictures: int) -> list[Row]:
    (folder / "in").mkdir()
    data = (folder / "small.png").read_bytes()
    for number in range(pictures):
        (folder / f"in/{number:03}.png").write_bytes(data)
    box = ",".join(map(str, find_box(SMALL, SMALL_HOLE)))
    seconds = []
    for turn, (jobs, threads) in enumerate([(1, 1), (2, 1), (1, 2)]):
        words = ("--box", box, "--engine", name, "--jobs", jobs, "--threads", threads)
        seconds.append(run("batch", folder / "in", folder / f"out{turn}", *words).seconds)
    alone, both, threaded = seconds
    what = f"{pictures} pictures of 512²: 2 jobs × 1 thread ({pictures / both:.1f} pictures/s) against"
    return [
        Row(f"{what} 1 × 1", "≥ 1.6 ×", "≥ 1.9 ×", f"{alone / both:.2f} ×", alone / both >= 1.6),
        Row("… against 1 × 2", "≥ 1 ×", "≥ 1.2 ×", f"{threaded / both:.2f} ×", threaded / both >= 1),
    ]


def describe(name: str) -> str:
    """The machine, the engine and the commit."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=7"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next(
        (line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor()
    )
    engine = open_engine(name).name
    return f"{model}, {os.cpu_count()} cores; engine {engine}; Python {platform.python_version()}; {commit}"


def main() -> None:
    """Measure, and print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", default="default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=200, help="in the folder")
    parts = ("small", "large", "sizes", "folder")
    parser.add_argument("--only", action="append", choices=parts, help="repeat it; by default all")
    args = parser.parse_args()
    chosen = args.only or parts
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder)
        # Each part is told as soon as it is measured: a run that is stopped has not been for nothing.
        print(describe(args.engine))
        print("\n| | must | goal | measured | |\n|---|---:|---:|---:|---|", flush=True)
        if "small" in chosen:
            put(fill_small(folder, args.engine, args.rounds))
        if "large" in chosen:
            put(fill_large(folder, args.engine, args.rounds))
        if "sizes" in chosen:
            put(compare_sizes(folder, open_engine(args.engine), args.rounds))
        if "folder" in chosen:
            put(fill_folder(folder, args.engine, args.pictures))


def put(rows: list[Row]) -> None:
    """Print lines of the table."""
    for row in rows:
        verdict = "" if row.reached else "**missed**"
        print(f"| {row.what} | {row.must} | {row.goal} | {row.measured} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
