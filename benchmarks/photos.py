"""Speed and memory on photographs: one picture as a command and inside a process, large ones, a folder.

    python benchmarks/photos.py [--engine NAME|FILE] [--rounds 5] [--pictures 200] [--only ROW …]

Medians of whole rounds. Commands are timed as processes, start to end; one has run before, so that files are
in the system's cache and modules are compiled, as an installer leaves them. Pictures are made from a sample
photograph: 512×512, and enlarged with grain. The picture of 3 megapixels is the middle of the one of 12.
Holes are squares in the middle. The table says what must be reached on two cores, and what was to be reached.
The folder takes the longest: all its pictures, three times.
"""

import argparse
import importlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from photo_cases import (
    CASES,
    LARGE,
    LARGE_HOLE,
    MIDDLE,
    ROOT,
    SMALL,
    SMALL_HOLE,
    Case,
    make_apart,
)

from infilling.filling.contract import Engine
from infilling.filling.engine import open_engine
from infilling.filling.fill import fill
from infilling.filling.pipeline import fill_picture
from infilling.machine import count_cores
from infilling.pictures.files import decode
from infilling.pictures.mask import from_boxes
from infilling.pictures.picture import Picture

LIMIT = 300  # seconds after which a command is stopped

WARM = """
import sys, time
from infilling import fill
data, times = open(sys.argv[1], "rb").read(), []
for _ in range(int(sys.argv[4])):
    began = time.perf_counter()
    fill(data, engine=sys.argv[3], boxes=[tuple(map(int, sys.argv[2].split(",")))])
    times.append(time.perf_counter() - began)
print(min(times[1:]))
"""


STAGES = {  # stage: the functions that make it up, by module; none calls another
    "decode": (("infilling.filling.pipeline", "decode"),),
    "network": (("infilling.filling.session", "Session.run"),),
    "search": tuple(("infilling.filling.search", f"Search.{name}") for name in ("start", "adopt", "improve")),
    "vote": tuple(
        ("infilling.filling.vote", f"Vote.{name}") for name in ("average", "measure_drift", "copy_liveliest")
    ),
    "seam": (("infilling.filling.seam", "find_membrane"), ("infilling.filling.detail", "find_membrane")),
    "encode": (("infilling.filling.pipeline", "encode"),),
}


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, with its bar and goal; whether more is better."""

    what: str
    must: str
    goal: str
    measured: str
    reached: bool


def find_box(size: tuple[int, int], hole: int) -> tuple[int, int, int, int]:
    """A square in the middle: x, y, width, height."""
    return (size[0] - hole) // 2, (size[1] - hole) // 2, hole, hole


@dataclass(frozen=True)
class Run:
    """Seconds that a command took, those of the processor, and the megabytes that it held at most."""

    seconds: float
    cpu: float
    peak: float


def run(*words: object, checkout: Path = ROOT) -> Run:
    """Run `infill` of a checkout; a command that takes longer than `LIMIT` has infinite seconds."""
    command = ["timeout", str(LIMIT), sys.executable, "-m", "infilling", *map(str, words)]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=choose_modules(checkout)
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == 124:  # what `timeout` gives
        return Run(float("inf"), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def choose_modules(checkout: Path) -> dict[str, str]:
    """Return the environment in which Python takes this project's modules from a checkout."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(checkout.resolve() / "src")}


def run_warm(folder: Path, case: Case, name: str, rounds: int, checkout: Path) -> Run:
    """Fill in a process that has filled before; the least seconds."""
    words = (folder / case.picture, case.hole[1], name, 2 * rounds + 1)
    command = [sys.executable, "-c", WARM, *map(str, words)]
    done = subprocess.run(command, env=choose_modules(checkout), check=True, capture_output=True, text=True)
    return Run(float(done.stdout), 0, 0)


def run_case(folder: Path, case: Case, name: str, rounds: int, checkout: Path) -> Run:
    """Run one case of the comparison once."""
    if case.name == "warm":
        return run_warm(folder, case, name, rounds, checkout)
    option, value = case.hole
    hole = value if option == "--box" else folder / value
    out = folder / f"out{Path(case.picture).suffix}"
    words = ("fill", folder / case.picture, option, hole, "--engine", name, "--out", out)
    return run(*words, checkout=checkout)


def compare(folder: Path, cases: list[Case], name: str, rounds: int, other: Path) -> None:
    """Print the table of this checkout beside another one."""
    print(f"\n| | {describe_commit(other)} | {describe_commit(ROOT)} | | must | goal | |")
    print("|---|---:|---:|---:|---:|---:|---|", flush=True)
    for case in cases:
        runs: dict[Path, list[Run]] = {other: [], ROOT: []}
        for turn in range(rounds + 1):
            for checkout, found in runs.items():
                if not (turn and found and found[0].seconds > LIMIT):  # once is enough
                    found.append(run_case(folder, case, name, rounds, checkout))
        theirs, ours = (summarize(found) for found in runs.values())
        print(show_case(case, theirs, ours), flush=True)


def summarize(runs: list[Run]) -> Run:
    """Return the least seconds and the largest memory; the first of several runs is not counted."""
    counted = runs[1:] or runs
    return Run(
        min(one.seconds for one in counted),
        min(one.cpu for one in counted),
        max(one.peak for one in counted),
    )


def show_case(case: Case, theirs: Run, ours: Run) -> str:
    """Return a row of the comparison."""
    ratio = ours.seconds / theirs.seconds
    reached = ours.seconds if case.seconds else ratio
    verdict = "goal" if reached <= case.goal else "must" if reached <= case.must else "**missed**"
    if case.memory and ours.peak > case.memory:
        verdict += f", **over {case.memory} MB**"
    unit = " s" if case.seconds else " ×"
    cells = (case.what, show_run(theirs), show_run(ours), f"{ratio:.2f} ×")
    return f"| {' | '.join(cells)} | {case.must:g}{unit} | {case.goal:g}{unit} | {verdict} |"


def show_run(one: Run) -> str:
    """Return seconds, the processor's, and memory."""
    if one.seconds == float("inf"):
        return f"> {LIMIT} s"
    if not one.peak:
        return f"{1000 * one.seconds:.0f} ms"
    return f"{one.seconds:.2f} s (processor {one.cpu:.2f} s), {one.peak:.0f} MB"


def show_stages(folder: Path, cases: list[Case], name: str) -> None:
    """Print where the time goes in one fill of each case, inside this process; engines are open."""
    spent: dict[str, float] = {}
    for stage, places in STAGES.items():
        for module, path in places:
            time_calls(stage, module, path, spent)
    fill_data = importlib.import_module("infilling.filling.fill").fill
    print(f"\n| seconds | {' | '.join(STAGES)} | the rest | all |")
    print(f"|---|{'---:|' * (len(STAGES) + 2)}", flush=True)
    for case in cases:
        option, value = case.hole
        numbers = tuple(map(int, value.split(","))) if option == "--box" else ()
        hole: dict[str, Any] = {"boxes": [numbers]} if numbers else {"mask": folder / value}
        data = (folder / case.picture).read_bytes()
        for _ in range(1 + (case.name == "warm")):
            spent.clear()
            began = time.perf_counter()
            fill_data(data, engine=name, **hole)
            whole = time.perf_counter() - began
        parts = [spent.get(stage, 0) for stage in STAGES]
        cells = [f"{seconds:.2f}" for seconds in (*parts, whole - sum(parts), whole)]
        print(f"| {case.what} | {' | '.join(cells)} |", flush=True)


def time_calls(stage: str, module: str, path: str, spent: dict[str, float]) -> None:
    """Replace a function, `name` or `Class.name`, by one that adds the time of its calls to a stage."""
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    inner = getattr(owner, name)

    @wraps(inner)
    def timed(*args: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        try:
            return inner(*args, **keywords)
        finally:
            spent[stage] = spent.get(stage, 0) + time.perf_counter() - began

    setattr(owner, name, timed)


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
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next(
        (line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor()
    )
    engine = open_engine(name).name
    python, commit = platform.python_version(), describe_commit(ROOT)
    return f"{model}, {count_cores()} cores; engine {engine}; Python {python}; {commit}"


def describe_commit(checkout: Path) -> str:
    """The commit of a checkout, marked if its files are others."""
    git = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=7"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"


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
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout of this project")
    parser.add_argument("--stages", action="store_true", help="show where the time goes")
    names = [case.name for case in CASES]
    parser.add_argument("--case", action="append", choices=names, help="repeat it; by default all")
    args = parser.parse_args()
    chosen = args.only or parts
    if args.against or args.stages:
        show_cases(args)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_apart(folder)
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


def show_cases(args: argparse.Namespace) -> None:
    """Print the comparison with another checkout, the stages, or both."""
    cases = [case for case in CASES if case.name in (args.case or case.name)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_apart(folder)
        print(describe(args.engine))
        if args.against:
            compare(folder, cases, args.engine, args.rounds, args.against)
        if args.stages:
            show_stages(folder, cases, args.engine)


def put(rows: list[Row]) -> None:
    """Print lines of the table."""
    for row in rows:
        verdict = "" if row.reached else "**missed**"
        print(f"| {row.what} | {row.must} | {row.goal} | {row.measured} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
