"""Fixtures that more than one room's tests use."""

import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no fault
settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of photographs, shards and feature weights; they are never part of the project."""
    folder = Path(os.environ.get("INFILLING_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}: set INFILLING_TEST_DATA")
    return folder


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        """Stdout as lines of text."""
        return self.out.decode().splitlines()


@pytest.fixture
def infill(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`infill("fill", path, …, stdin=b"")` runs the command line in this process."""
    from infilling.cli import main
    from infilling.filling import open_engines

    def run(*args: object, stdin: bytes = b"") -> Ran:
        open_engines._open_once.cache_clear()  # a command starts with no engine open
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setenv("INFILLING_VERBOSE", "")
            patch.setenv("OMP_NUM_THREADS", str(os.cpu_count()))  # `--threads` sets it
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as left:
                main([str(arg) for arg in args])
        return Ran(left.value.code or 0, out.buffer.getvalue(), err.buffer.getvalue().decode())

    return run


@pytest.fixture(scope="session")
def store() -> Iterator[Any]:
    """An S3 server in another process, with the bucket `photos`; the environment says where it is."""
    import s3fs

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    named = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in named.items():
                patch.setenv(name, value)
            for _ in range(600):
                assert process.poll() is None
                try:
                    urllib.request.urlopen(named["AWS_ENDPOINT_URL"], timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            s3fs.S3FileSystem.clear_instance_cache()
            found = s3fs.S3FileSystem()
            found.mkdir("photos")
            yield found
    finally:
        process.kill()
        process.wait()
