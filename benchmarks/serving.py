"""What serving costs: fills a second that clients get over REST, against the same fills in process.

    python benchmarks/serving.py [--engine NAME|FILE|RUN …] [--clients 8] [--rounds 5] [--seconds 4]

`infill serve` runs in a process of its own. Clients on loopback, each on one connection that it keeps, send a
JPEG and a mask and take the filled JPEG; in process, as many threads as the server has jobs call
`infilling.fill` on the same bytes with the same engine on one thread each. The two take turns, so that
whatever else the machine does hits them alike; the figure is the median of the rounds' ratios. Every answer
must be, byte for byte, what `infilling.fill` gives.
"""

import argparse
import http.client
import io
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

import infilling

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "examples" / "pictures" / "coffee.jpg"
GOAL = 0.9
BOUNDARY = "infilling-benchmark"
WAIT_SECONDS = 60.0

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


@contextmanager
def serve(engine: str, jobs: int) -> Iterator[tuple[str, int]]:
    """A server in a process of its own: its host and port."""
    command = [
        sys.executable,
        "-m",
        "infilling",
        "serve",
        "--port",
        "0",
        "--engine",
        engine,
        "--jobs",
        str(jobs),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().strip().removeprefix("http://").partition(":")
            wait_until_ready(host, int(port))
            yield host, int(port)
        finally:
            process.terminate()


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


def compare(name: str, options: argparse.Namespace) -> float:
    """Measure one engine, print its rounds and return the median ratio."""
    image = PHOTO.read_bytes()
    mask = draw_mask(*Image.open(PHOTO).size)
    engine = infilling.open_engine(name, threads=1)
    expected = infilling.fill(image, mask, engine)
    body = encode_form(image=image, mask=mask)
    print(
        f"\n{name}\n| round | in process, fills/s | served, fills/s | served / in process | p95 of a client |"
    )
    print("|---:|---:|---:|---:|---:|")
    ratios = []
    with serve(name, options.jobs) as (host, port):

        def direct() -> float:
            return measure(
                lambda: lambda: infilling.fill(image, mask, engine), options.jobs, options.seconds, expected
            )[0]

        def served() -> tuple[float, list[float]]:
            return measure(lambda: make_client(host, port, body), options.clients, options.seconds, expected)

        make_client(host, port, body)()  # the engine is open
        for number in range(options.rounds):
            if number % 2:
                alone = direct()
                rate, lasted = served()
            else:
                rate, lasted = served()
                alone = direct()
            ratios.append(rate / alone)
            p95 = 1000 * statistics.quantiles(lasted, n=20)[-1]
            print(
                f"| {number + 1} | {alone:.2f} | {rate:.2f} | {rate / alone:.2f} | {p95:.0f} ms |", flush=True
            )
    print(f"median {statistics.median(ratios):.2f} (goal {GOAL})")
    return statistics.median(ratios)


def main() -> None:
    """Measure each engine; exit code 1 if one misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", action="append", help="repeatable; default and push-pull")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="one a core")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each turn")
    options = parser.parse_args()
    size = "{} × {}".format(*Image.open(PHOTO).size)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{options.clients} clients, {options.jobs} jobs of one thread, {PHOTO.name} {size}, 10 % hole")
    medians = [compare(name, options) for name in options.engine or ["default", "push-pull"]]
    sys.exit(min(medians) < GOAL)


if __name__ == "__main__":
    main()
