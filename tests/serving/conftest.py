"""A real server on loopback for every test that needs one, and pictures to send."""

import io
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from infilling.filling.contract import Engine
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats
from infilling.serving.app import make_app
from infilling.serving.engines import OfferedEngine
from infilling.serving.server import make_server, open_socket
from infilling.serving.service import Service
from infilling.serving.settings import Settings


@dataclass
class Gate:
    """An event that other processes wait for: a file that is there or not."""

    path: Path

    def set(self) -> None:
        self.path.touch()

    def wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self.path.exists() and time.monotonic() < end:
            time.sleep(0.005)
        return self.path.exists()


@dataclass
class Count:
    """A number that several processes raise: the bytes of a file."""

    path: Path
    taken: int = 0

    def release(self) -> None:
        with self.path.open("ab") as file:
            file.write(b"x")

    def acquire(self, timeout: float) -> bool:
        self.taken += 1
        end = time.monotonic() + timeout
        while self.value < self.taken and time.monotonic() < end:
            time.sleep(0.005)
        return self.value >= self.taken

    @property
    def value(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


@dataclass
class SlowEngine:
    """Fills with one grey, when it is let: `gate` is waited for in every region."""

    name: str = "slow"
    size_rule: SizeRule = field(default_factory=SizeRule)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))

    def __post_init__(self) -> None:
        self.gate = Gate(self.folder / "gate")
        self.began = Count(self.folder / "began")

    @property
    def regions(self) -> int:
        return self.began.value

    def fill(self, image: Floats, mask: Floats) -> Floats:
        self.began.release()
        assert self.gate.wait(30), "the test never opened the gate"
        return np.full_like(image, 0.5)


def offer(engine: Engine) -> OfferedEngine:
    return OfferedEngine(engine.name, engine.name, "for tests", engine)


def push_pull() -> OfferedEngine:
    return OfferedEngine("push-pull", "Smooth", "smooth", "push-pull")


@dataclass(frozen=True)
class Running:
    """A server that runs: its address, what it shares, and a client for it."""

    url: str
    service: Service
    client: httpx.Client
    stop: Callable[[], None]
    thread: threading.Thread


@contextmanager
def serve(settings: Settings | None = None, engines: list[OfferedEngine] | None = None) -> Iterator[Running]:
    """Run a server in a thread of this process."""
    app = make_app(settings, engines=engines or [push_pull()])
    listener = open_socket("127.0.0.1", 0)
    server = make_server(app, log_level="error")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def stop() -> None:
        server.handle_exit(15, None)

    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        wait_until(lambda: server.started)
        try:
            yield Running(url, app.state.service, client, stop, thread)
        finally:
            stop()
            client.close()
            thread.join(15)
            assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def shared() -> Iterator[Running]:
    """One server with the usual settings and the fast engine, for tests that leave nothing behind."""
    with serve(Settings(jobs=2)) as running:
        yield running


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """`start(settings, engines)` runs a server of the test's own."""
    with ExitStack() as stack:
        yield lambda settings=None, engines=None: stack.enter_context(serve(settings, engines))


def find_children(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listing.splitlines())}
    found, front = [], [pid]
    while front:
        front = [child for child, parent in parents.items() if parent in front]
        found += front
    return found


@dataclass(frozen=True)
class Command:
    """A server in a process of its own."""

    url: str
    pid: int

    @property
    def memory(self) -> float:
        """Resident memory of all its processes in MiB."""
        files = [Path(f"/proc/{pid}/status") for pid in self._processes]
        lines = [line for file in files for line in file.read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    @property
    def faults(self) -> int:
        """Pages that all its processes have fetched from the system so far."""
        files = [Path(f"/proc/{pid}/stat") for pid in self._processes]
        return sum(int(file.read_text().rpartition(")")[2].split()[7]) for file in files)

    @property
    def _processes(self) -> list[int]:
        return [self.pid, *find_children(self.pid)]


@contextmanager
def command(engine: str | Path | None, *options: str, seconds: float = 280) -> Iterator[Command]:
    """Run `infill serve` in a process of its own, for some seconds at most; None offers every engine."""
    chosen = [] if engine is None else ["--engine", str(engine)]
    args = [sys.executable, "-m", "infilling", "serve", "--port", "0", *chosen, *options]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    killer = threading.Timer(seconds, process.kill)
    killer.start()
    try:
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, trust_env=False) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, 30)
        yield Command(url, process.pid)
    finally:
        killer.cancel()
        process.terminate()
        process.communicate(timeout=30)


def wait_until(holds: Callable[[], object], seconds: float = 10) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def photo(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A picture (H, W, 3) uint8 that no other seed gives."""
    noise = np.random.default_rng(seed).integers(0, 256, (*(side // 8 + 1 for side in size), 3), np.uint8)
    image = Image.fromarray(noise).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(image)


def hole(size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A mask (H, W) bool with one block."""
    mask = np.zeros(size, bool)
    mask[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = True
    return mask


def to_file(array: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image = Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array)
    image.save(buffer, format, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def from_file(data: bytes) -> np.ndarray:
    """The array in a file."""
    return np.asarray(Image.open(io.BytesIO(data)))


def connect(url: str) -> socket.socket:
    """A bare connection to a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)
