"""Loading speed: pictures a second out of a folder, the cache and shards, each against the plain loop.

    python benchmarks/loading.py [--data DIR] [--size 128] [--batch 64] [--workers 2] [--rounds 3]

The plain loop is what torchvision's ImageFolder does: it opens every picture every time with PIL, resizes its
short side, cuts out the middle and makes a tensor, in as many worker processes as ours has threads. Ours are
four: preparing a folder, which is done once; the cache that this leaves; shards on the disk; the same shards
from a web server, which runs in this process. webdataset's own loader, on the same shards, is there if it is
installed. All take turns, so that whatever else the machine does hits them alike, and a loop's figure is the
median of its rounds. Beside pictures per second of the clock stand pictures per second of a processor's time,
which another program that runs meanwhile hardly changes: what one core loads that does nothing else. Pictures
are 256×256 JPEGs cut from the sample photographs unless a folder is named; with `--side 16 --size 16` next to
nothing is left to decode, and the figures say what all else takes.
"""

import argparse
import functools
import http.server
import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from training import describe_machine, draw_pictures

from infilling.learning import shard_sets
from infilling.learning.batches import Batches
from infilling.learning.picture_cache import open_pictures
from infilling.learning.settings import HoleSettings
from infilling.learning.shard_stream import ShardedPictures
from infilling.learning.shard_writer import pack_pictures

PER_SHARD = 100
LANES = 4
WARM = 2  # untimed batches at the start of a turn
Step = Callable[[], int]
"""Loads some pictures; returns how many."""
Rates = tuple[float, float]
"""Pictures per second of the clock, and of processor time."""


# -- the plain loops ---------------------------------------------------------------------------------------


def make_tensor(image: Image.Image, side: int) -> Tensor:
    """Resize by the short side, cut out the middle: (3, side, side) in [0, 1]."""
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


class PlainPictures(Dataset[Tensor]):
    """Opens a picture whenever it is asked for."""

    def __init__(self, folder: Path, side: int) -> None:
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        self.side = side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with self.paths[index].open("rb") as file:
            return make_tensor(Image.open(file).convert("RGB"), self.side)


def start_plain(folder: Path, options: argparse.Namespace) -> Callable[[], Step]:
    """The plain loop; returns what starts a new turn of it."""
    pictures = PlainPictures(folder, options.size)

    def turn() -> Step:
        sampler = RandomSampler(pictures, replacement=True, num_samples=10**9)
        batches = iter(DataLoader(pictures, options.batch, sampler=sampler, num_workers=options.workers))
        return lambda: len(next(batches))

    return turn


def start_webdataset(packed: Path, options: argparse.Namespace) -> Callable[[], Step]:
    """The loop of webdataset's manual."""
    import webdataset

    def turn() -> Step:
        paths = sorted(map(str, packed.glob("*.tar")))
        dataset = (
            webdataset.WebDataset(paths, resampled=True, shardshuffle=False)
            .shuffle(LANES * PER_SHARD)
            .decode("pil")
            .to_tuple("jpg")
            .map(lambda sample: make_tensor(sample[0], options.size))
            .batched(options.batch, collation_fn=torch.stack)
        )
        batches = iter(DataLoader(dataset, batch_size=None, num_workers=options.workers))
        return lambda: len(next(batches))

    return turn


# -- ours --------------------------------------------------------------------------------------------------


def start_preparing(folder: Path, scratch: Path, options: argparse.Namespace) -> Callable[[], Step]:
    """Decodes a folder into a new cache, again and again."""

    def prepare() -> int:
        cache = Path(tempfile.mkdtemp(dir=scratch))
        count = len(open_pictures(folder, options.size, cache_dir=cache, workers=options.workers))
        shutil.rmtree(cache)
        return count

    return lambda: prepare


def start_cached(folder: Path, scratch: Path, options: argparse.Namespace) -> Callable[[], Step]:
    """Batches of what was prepared."""
    batches = Batches(
        open_pictures(folder, options.size, cache_dir=scratch / "cache"), HoleSettings(kind="center", pool=1)
    )
    return lambda: lambda: len(batches.next(options.batch).image)


def start_stream(place: str, scratch: Path, options: argparse.Namespace) -> Callable[[], Step]:
    """Batches of what is read from shards meanwhile."""
    found = shard_sets.find_shards([place], scratch / "counted")
    pictures = ShardedPictures(found, options.size, LANES, workers=options.workers)
    batches = Batches(pictures, HoleSettings(kind="center", pool=1))
    return lambda: lambda: len(batches.next(options.batch).image)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that keeps no log."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def serve(folder: Path, stack: ExitStack) -> str:
    """Start a web server of a folder; returns its URL."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}"


# -- measuring ---------------------------------------------------------------------------------------------


def measure(loops: dict[str, Callable[[], Step]], options: argparse.Namespace) -> dict[str, Rates]:
    """Let the loops take turns; returns the median of each one's pictures per second."""
    found: dict[str, list[Rates]] = {name: [] for name in loops}
    for number in range(options.rounds):
        for name, turn in loops.items():
            step = turn()
            for _ in range(WARM):
                step()
            began, used, count = time.perf_counter(), read_cpu_seconds(), 0
            while count < 4 * options.batch or time.perf_counter() - began < options.seconds:
                count += step()
            rates = count / (time.perf_counter() - began), count / (read_cpu_seconds() - used)
            found[name].append(rates)
            told = f"{rates[0]:,.0f} pictures/s, {rates[1]:,.0f} per core"
            print(f"round {number + 1}, {name}: {told}", flush=True)
            del step  # and with it the plain loop's workers
    return {
        name: (statistics.median(clock for clock, _ in rates), statistics.median(core for _, core in rates))
        for name, rates in found.items()
    }


def read_cpu_seconds() -> float:
    """Processor time that this process and its workers have taken."""
    seconds = time.process_time()
    for worker in multiprocessing.active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user's and the system's
    return seconds


def list_loops(
    folder: Path, scratch: Path, stack: ExitStack, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], Step]]]:
    """The loops by name, the plain one first."""
    packed = scratch / "packed"
    pack_pictures(folder, packed, per_shard=PER_SHARD)
    yield "plain loop over the folder", start_plain(folder, options)
    yield "folder, prepared once", start_preparing(folder, scratch, options)
    yield "cache", start_cached(folder, scratch, options)
    yield "shards on the disk", start_stream(str(packed), scratch, options)
    if find_spec("aiohttp"):
        yield "shards from a web server", start_stream(serve(packed, stack), scratch, options)
    if find_spec("webdataset"):
        yield "webdataset's loader, same shards", start_webdataset(packed, options)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description="Loading speed: the plain loop against ours.")
    parser.add_argument("--data", type=Path, help="a folder of JPEGs; cut from the samples unless given")
    parser.add_argument("--side", type=int, default=256, help="of the pictures cut from the samples")
    parser.add_argument("--size", type=int, default=128, help="side of a batch's pictures, pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2, help="processes of the plain loop, threads of ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each loop's turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        folder = options.data or draw_pictures(scratch / "pictures", options.side)
        count = len(PlainPictures(folder, options.size))
        rates = measure(dict(list_loops(folder, scratch, stack, options)), options)
    clock, core = next(iter(rates.values()))
    print(f"\n{describe_machine(torch.device('cpu'))}; {count:,} JPEGs ", end="")
    print(f"of {options.data or f'{options.side} px'} to {options.size} px, ", end="")
    print(f"batches of {options.batch}, {options.workers} workers, median of {options.rounds} rounds\n")
    print("| loaded from | pictures/s | of plain | pictures/s a core | of plain |\n|---|---:|---:|---:|---:|")
    for name, (ours, one) in rates.items():
        print(f"| {name} | {ours:,.0f} | {ours / clock:.2f}× | {one:,.0f} | {one / core:.2f}× |")
    os._exit(0)  # without waiting for threads that decode ahead


if __name__ == "__main__":
    main()
