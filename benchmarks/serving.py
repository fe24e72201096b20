"""Fills a second of the server: beside `infilling.fill` in process, or beside the server of another revision.

    python benchmarks/serving.py --engine push-pull --engine default
    python benchmarks/serving.py --engine push-pull --baseline 58e7c45
    python benchmarks/serving.py --engine default --bars

Eight clients send a photograph and a mask and take the filled JPEG. The two that are compared take turns,
so that whatever else the machine does hits them alike; the figure is the median of the rounds' ratios.

In process, as many threads as the server has jobs call `infilling.fill` on the same bytes with the same
engine on one thread each, and every answer must be, byte for byte, what `infilling.fill` gives.

With `--baseline` both revisions serve. A fill itself may have become slower or faster between the two, which
says nothing about the servers: so the processor time of one fill in process is measured for each, and the
ratios are given as they are and with that divided out. The goals are 0.9 of the fills a second and 1.1 of the
95th percentile, both with that divided out. The last table has the memory of the idle servers.

With `--bars`, and after a comparison, come the figures that need no other server, each with its bar: memory
of the idle server, seconds until a killed worker is replaced, and seconds from SIGTERM to the end while
clients fill, send half a request, and leave answers unread.
"""

import argparse
import http.client
import io
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import infilling

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "examples" / "pictures" / "coffee.jpg"
GOAL = 0.9  # least fills a second, as a share of what is compared with
P95_GOAL = 1.1  # largest 95th percentile, as a multiple of the other server's
SINGLE_FILLS = 25  # fills in process whose median is the duration of one
BOUNDARY = "infilling-benchmark"
WAIT_SECONDS = 60.0
IDLE_SECONDS = 4.0  # after which a server has given freed memory back
MEMORY_BAR = (150, 100)  # MB of an idle server, and for each of its workers
REPLACED_BAR = 2.0  # seconds until there is another worker for one that was killed
END_BAR = 10.0  # seconds from SIGTERM to the end
CROWD = 20  # connections of each kind that are open when SIGTERM comes

Call = Callable[[], bytes]


def measure(
    make_call: Callable[[], Call], threads: int, seconds: float, expected: bytes
) -> tuple[float, list[float]]:
    """Let threads call for some seconds; what is under way then is finished and counted.

    Returns:
        Fills a second, and how many seconds each took.
    """
    began = time.perf_counter()

    def work(_: int) -> list[float]:
        call, lasted = make_call(), []
        while (start := time.perf_counter()) < began + seconds:
            if call() != expected:
                raise RuntimeError("an answer is not what infilling.fill gives")
            lasted.append(time.perf_counter() - start)
        return lasted

    with ThreadPoolExecutor(threads) as pool:
        lasted = [second for found in pool.map(work, range(threads)) for second in found]
    return len(lasted) / (time.perf_counter() - began), lasted


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    host: str
    port: int
    process: "subprocess.Popen[str]"


@contextmanager
def serve(engine: str, jobs: int, source: Path = ROOT / "src") -> Iterator[Running]:
    """Run the server of the package in `source`."""
    options = ["--port", "0", "--engine", engine, "--jobs", str(jobs)]
    command = [sys.executable, "-m", "infilling", "serve", *options]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().strip().removeprefix("http://").partition(":")
            wait_until_ready(host, int(port))
            yield Running(host, int(port), process)
        finally:
            process.terminate()


@contextmanager
def check_out(revision: str) -> Iterator[Path]:
    """Unpack `src` of another revision."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", ROOT, "archive", revision, "src"], stdout=subprocess.PIPE, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder) / "src"


SINGLE = """
import ctypes, statistics, sys, time
import infilling
libc = ctypes.CDLL(None)
if hasattr(libc, "mallopt"):  # servers keep what fills have freed
    libc.mallopt(-3, 32 << 20), libc.mallopt(-1, 128 << 20)
engine = infilling.open_engine(sys.argv[1], threads=1)
image, mask = (open(path, "rb").read() for path in sys.argv[2:4])
lasted = []
for _ in range(int(sys.argv[4])):
    began = time.process_time()
    infilling.fill(image, mask, engine)
    lasted.append(time.process_time() - began)
print(statistics.median(lasted))
"""


def time_fill(engine: str, mask: bytes, source: Path) -> float:
    """Processor time of one fill in process, in seconds, with the package in `source`."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(mask)
        file.flush()
        words = [sys.executable, "-c", SINGLE, engine, str(PHOTO), file.name, str(SINGLE_FILLS)]
        environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def find_processes(pid: int) -> list[list[int]]:
    """A process, its children, their children …, a list for each generation."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listing.splitlines())}
    generations = [[pid]]
    while front := [child for child, parent in parents.items() if parent in generations[-1]]:
        generations.append(front)
    return generations


def find_workers(server: Running) -> set[int]:
    """Its worker processes: the children of the process that forks them."""
    return {pid for generation in find_processes(server.process.pid)[2:] for pid in generation}


def measure_memory(server: Running) -> tuple[int, float]:
    """Processes of a server, and their memory in MB; pages that they share count once."""
    found = [pid for generation in find_processes(server.process.pid) for pid in generation]
    kilobytes = 0
    for pid in found:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        kilobytes += int(dict(row.split()[:2] for row in rows)["Pss:"])
    return len(found), kilobytes / 1e3


def wait_until_ready(host: str, port: int) -> None:
    """Return when the server takes fills."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        connection = http.client.HTTPConnection(host, port, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        if time.monotonic() > end:
            raise RuntimeError("the server did not start")
        time.sleep(0.1)


def make_client(host: str, port: int, body: bytes) -> Call:
    """One client: sends the same request over one connection."""
    connection = http.client.HTTPConnection(host, port, timeout=300)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def call() -> bytes:
        connection.request("POST", "/api/v1/fill", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {data[:300]!r}")
        return data

    return call


def encode_form(**files: bytes) -> bytes:
    """A multipart body of files."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files.items()
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def draw_mask(width: int, height: int) -> bytes:
    """A disc over a tenth of the picture, as a PNG file."""
    y, x = np.mgrid[:height, :width]
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 <= 0.1 * width * height / np.pi
    buffer = io.BytesIO()
    Image.fromarray(inside).save(buffer, "PNG")
    return buffer.getvalue()


def compare(name: str, options: argparse.Namespace) -> bool:
    """Compare the server with `infilling.fill`, print the rounds, and return whether it reaches the goal."""
    image = PHOTO.read_bytes()
    mask = draw_mask(*Image.open(PHOTO).size)
    engine = infilling.open_engine(name, threads=1)
    expected = infilling.fill(image, mask, engine)
    body = encode_form(image=image, mask=mask)
    print(f"\n{name}\n| round | in process, fills/s | served, fills/s | served / in process | p95 |")
    print("|---:|---:|---:|---:|---:|")
    ratios = []
    with serve(name, options.jobs) as server:

        def direct() -> float:
            return measure(
                lambda: lambda: infilling.fill(image, mask, engine), options.jobs, options.seconds, expected
            )[0]

        def served() -> tuple[float, list[float]]:
            make = partial(make_client, server.host, server.port, body)
            return measure(make, options.clients, options.seconds, expected)

        make_client(server.host, server.port, body)()  # the engine is open
        for number in range(options.rounds):
            if number % 2:
                alone = direct()
                rate, lasted = served()
            else:
                rate, lasted = served()
                alone = direct()
            ratios.append(rate / alone)
            p95 = 1000 * find_p95(lasted)
            print(
                f"| {number + 1} | {alone:.2f} | {rate:.2f} | {ratios[-1]:.2f} | {p95:.0f} ms |", flush=True
            )
    print(f"median {statistics.median(ratios):.2f} (goal {GOAL})")
    return statistics.median(ratios) >= GOAL


def compare_servers(name: str, options: argparse.Namespace, baseline: Path) -> bool:
    """Compare the server with that of another revision, and return whether it reaches both goals."""
    mask = draw_mask(*Image.open(PHOTO).size)
    body = encode_form(image=PHOTO.read_bytes(), mask=mask)
    sources = {"baseline": baseline, "here": ROOT / "src"}
    cost = {which: time_fill(name, mask, source) for which, source in sources.items()}
    slower = cost["here"] / cost["baseline"]
    print(f"\n{name}: processor time of a fill {1000 * cost['baseline']:.1f} → {1000 * cost['here']:.1f} ms")
    columns = ["round", "baseline, fills/s", "here, fills/s", "ratio", "if fills were as long"]
    columns += ["p95, ms", "ratio", "if fills were as long"]
    print(f"| {' | '.join(columns)} |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    rates, tails = [], []
    with ExitStack() as stack:
        servers = {
            which: stack.enter_context(serve(name, options.jobs, source)) for which, source in sources.items()
        }
        expected = {which: make_client(server.host, server.port, body)() for which, server in servers.items()}
        for number in range(options.rounds):
            found = {}
            for which in ("baseline", "here") if number % 2 else ("here", "baseline"):
                make = partial(make_client, servers[which].host, servers[which].port, body)
                found[which] = measure(make, options.clients, options.seconds, expected[which])
            (old_rate, old), (rate, new) = found["baseline"], found["here"]
            old_p95, p95 = find_p95(old), find_p95(new)
            rates.append(rate / old_rate * slower)
            tails.append(p95 / old_p95 / slower)
            row = [number + 1, f"{old_rate:.2f}", f"{rate:.2f}", f"{rate / old_rate:.2f}", f"{rates[-1]:.2f}"]
            row += [f"{1000 * old_p95:.0f} → {1000 * p95:.0f}", f"{p95 / old_p95:.2f}", f"{tails[-1]:.2f}"]
            print(f"| {' | '.join(map(str, row))} |", flush=True)
        time.sleep(IDLE_SECONDS)
        print("\n| idle | processes | memory, MB |\n|---|---:|---:|")
        for which, server in servers.items():
            count, size = measure_memory(server)
            print(f"| {which} | {count} | {size:.0f} |")
    print(f"median of fills/s {statistics.median(rates):.2f} (goal {GOAL}), ", end="")
    print(f"of p95 {statistics.median(tails):.2f} (goal {P95_GOAL})")
    return statistics.median(rates) >= GOAL and statistics.median(tails) <= P95_GOAL


def check_bars(name: str, options: argparse.Namespace) -> bool:
    """Print what a server takes and how it ends, each with its bar, and return whether all are met."""
    body = encode_form(image=PHOTO.read_bytes(), mask=draw_mask(*Image.open(PHOTO).size))
    with serve(name, options.jobs) as server, ThreadPoolExecutor(options.clients) as pool:
        make = partial(make_client, server.host, server.port, body)
        list(pool.map(lambda _: make()(), range(options.clients)))
        time.sleep(IDLE_SECONDS)
        memory = measure_memory(server)[1]
        replaced = time_replacement(server, options.jobs)
        list(pool.map(lambda _: make()(), range(options.clients)))  # all workers work
        ended = time_end(server, make, pool, options.clients, body)
    figures = [
        ("memory of the idle server, MB", memory, MEMORY_BAR[0] + options.jobs * MEMORY_BAR[1]),
        ("a killed worker is replaced after, s", replaced, REPLACED_BAR),
        ("SIGTERM to the end, s", ended, END_BAR),
    ]
    print(f"\n{name}, {options.jobs} workers\n| what | measured | bar | met |\n|---|---:|---:|---|")
    for what, value, bar in figures:
        print(f"| {what} | {value:.2f} | {bar:g} | {'yes' if value <= bar else 'NO'} |")
    return all(value <= bar for _, value, bar in figures)


def time_replacement(server: Running, jobs: int) -> float:
    """Kill an idle worker; seconds until there are as many as before."""
    workers = find_workers(server)
    if len(workers) != jobs:
        raise RuntimeError(f"{len(workers)} workers for {jobs} jobs")
    os.kill(min(workers), signal.SIGKILL)
    began = time.perf_counter()
    while len(find_workers(server) - {min(workers)}) < jobs:
        if time.perf_counter() - began > WAIT_SECONDS:
            raise RuntimeError("a killed worker was not replaced")
        time.sleep(0.02)
    return time.perf_counter() - began


def time_end(
    server: Running, make: Callable[[], Call], pool: ThreadPoolExecutor, clients: int, body: bytes
) -> float:
    """Send SIGTERM to a busy server; seconds until it has ended."""

    def fill(_: int) -> None:
        call = make()
        while True:
            try:
                call()
            except (OSError, http.client.HTTPException, RuntimeError):  # the server refuses, or has ended
                return

    head = f"POST /api/v1/fill HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    with ExitStack() as stack:
        for sent in [head.encode()[:40], head.encode() + body[: len(body) // 2], head.encode() + body]:
            for _ in range(CROWD):
                connection = socket.create_connection((server.host, server.port))
                stack.enter_context(connection)
                connection.sendall(sent)
        fills = [pool.submit(fill, number) for number in range(clients)]
        time.sleep(1)
        server.process.terminate()
        began = time.perf_counter()
        server.process.wait(WAIT_SECONDS)
        ended = time.perf_counter() - began
    for each in fills:
        each.result()
    return ended


def find_p95(lasted: list[float]) -> float:
    """The 95th percentile of seconds."""
    return statistics.quantiles(lasted, n=20)[-1]


def main() -> None:
    """Measure each engine; exit code 1 if one misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", action="append", help="repeatable; default and push-pull")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="one a core")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each turn")
    parser.add_argument("--baseline", metavar="REVISION", help="compare with its server, such as 58e7c45")
    parser.add_argument("--bars", action="store_true", help="only what needs no other server")
    options = parser.parse_args()
    size = "{} × {}".format(*Image.open(PHOTO).size)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{options.clients} clients, {options.jobs} jobs of one thread, {PHOTO.name} {size}, 10 % hole")
    names = options.engine or ["default", "push-pull"]
    reached = []
    if options.baseline and not options.bars:
        with check_out(options.baseline) as baseline:
            reached = [compare_servers(name, options, baseline) for name in names]
    elif not options.bars:
        reached = [compare(name, options) for name in names]
    if options.baseline or options.bars:
        reached += [check_bars(name, options) for name in names]
    sys.exit(not all(reached))


if __name__ == "__main__":
    main()
