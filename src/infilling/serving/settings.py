"""What the person who starts a server decides."""

import re
import socket
from dataclasses import dataclass

from infilling.errors import InputError
from infilling.machine import MEBIBYTE, count_cores

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LEAST = {"jobs": 1, "queue": 0, "max_pixels": 1, "max_bytes": 1, "per_client": 1, "fill_seconds": 0}
"""The smallest values of settings."""

MOST_JOBS = 4  # fills at the same time, unless more are asked for


@dataclass(frozen=True)
class Settings:
    """The settings of a server; those of time are in seconds.

    Attributes:
        engines: names, ONNX files or run folders that are offered, the default first. Empty: every engine
            that can be used here, save those whose memory has no bound.
        jobs: fills at the same time; None takes one for each core, `MOST_JOBS` at most.
        queue: requests that may wait beyond those. More are refused.
        max_pixels: of a picture and of a mask.
        max_bytes: of a request's body.
        per_client: fills and uploads at the same time from one address; None leaves one place in sixteen to
            others.
        kept_bytes: of all pictures that callers have uploaded once.
        kept_seconds: from the last use of such a picture to when it is forgotten.
        worker_memory: bytes that a worker process may take beyond what it starts with; None for no limit.
        fill_seconds: from the end of the upload to the answer, waiting included.
        body_seconds: for the upload.
        header_seconds: for the head of a request.
        idle_seconds: within which the next piece of an upload must come.
        write_seconds: within which the next 64 KiB of an answer must be taken.
        stop_seconds: for the fills that run when the server is being stopped.
        connections: open at the same time.
        held_bytes: of bodies and answers that all requests hold together.
        max_json_bytes: of a request's body in JSON.
        host: where the server listens, which is a name of its own too.
        allow_hosts: other names under which it may be called; `*` for any.
        proxies: addresses of proxies whose X-Forwarded-For is believed.
        token: what callers must send as `Authorization: Bearer`; None lets everyone in.
        origins: other web origins whose pages may call this server.
        device: where networks run, as `open_engine` takes it.
    """

    engines: tuple[str, ...] = ()
    jobs: int | None = None
    queue: int = 32
    max_pixels: int = 100_000_000
    max_bytes: int = 64 * MEBIBYTE
    per_client: int | None = None
    kept_bytes: int = 256 * MEBIBYTE
    kept_seconds: float = 900.0
    worker_memory: int | None = 4096 * MEBIBYTE
    fill_seconds: float = 300.0
    body_seconds: float = 120.0
    header_seconds: float = 10.0
    idle_seconds: float = 10.0
    write_seconds: float = 20.0
    stop_seconds: float = 6.0
    connections: int = 500
    held_bytes: int = 1024 * MEBIBYTE
    max_json_bytes: int = 32 * MEBIBYTE
    host: str = "127.0.0.1"
    allow_hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    token: str | None = None
    origins: tuple[str, ...] = ()
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:  # NaN is not
                raise InputError(f"{name} must be {least} or more, not {value}")
        if self.held_bytes < 2 * self.max_bytes:
            object.__setattr__(self, "held_bytes", 4 * self.max_bytes)  # or the largest body would not fit
        if self.token is not None and not re.fullmatch("[ -~]+", self.token):
            raise InputError("a token is one or more printable ASCII characters")

    @property
    def host_names(self) -> frozenset[str]:
        """Names under which the server may be called, beside addresses and loopback names."""
        names = [self.host, *self.allow_hosts]
        if self.host not in LOOPBACK:
            names += [socket.gethostname(), f"{socket.gethostname()}.local"]
        return frozenset(name.lower() for name in names)


def choose_jobs(jobs: int | None, cores: int | None = None) -> int:
    """Return the number of fills at the same time.

    Args:
        jobs: what was asked for; None: one for each core, `MOST_JOBS` at most.
        cores: number of cores; None: those that this process may run on.

    >>> choose_jobs(None, 2), choose_jobs(None, 16), choose_jobs(6, 16)
    (2, 4, 6)
    """
    return jobs or min(cores or count_cores(), MOST_JOBS)
