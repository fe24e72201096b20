"""Run the application with uvicorn, within limits; SIGTERM finishes what runs and refuses the rest."""

import asyncio
import logging
import math
import os
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from infilling.machine import raise_descriptors
from infilling.serving.connections import Crowd, LimitedProtocol, RepeatFilter, TimeLimits
from infilling.serving.pool import Pool
from infilling.serving.settings import LOOPBACK, Settings

TOKEN_VARIABLE = "INFILLING_TOKEN"
KEEP_ALIVE_SECONDS = 20
BACKLOG = 100  # connections that the system holds until they are accepted
OTHER_DESCRIPTORS = 3 * BACKLOG  # descriptors beside those of connections: files, pipes, just accepted ones
LOGGERS = (
    "asyncio",
    "uvicorn.error",
    "infilling.serving.guard",
    "python_multipart.multipart",
)  # of callers' deeds
DROP_SECONDS = 1.0  # time in which callers may take their answers when the server is being stopped


class Server(uvicorn.Server):
    """A server that ends within `stop_seconds` and a little more, whatever its callers do."""

    def __init__(self, config: uvicorn.Config, pool: Pool, crowd: Crowd, stop_seconds: float) -> None:
        super().__init__(config)
        self._pool = pool
        self._crowd = crowd
        self._stop_seconds = stop_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and Ctrl-C: refuse those who wait, finish what runs."""
        self._pool.refuse()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Give fills and answers their time, then end them."""
        loop = asyncio.get_running_loop()
        loop.call_later(self._stop_seconds, self._pool.kill_running)
        loop.call_later(self._stop_seconds + DROP_SECONDS, self._crowd.drop_all)
        await super().shutdown(sockets)


def make_server(
    app: FastAPI, *, host: str = "127.0.0.1", port: int = 8000, log_level: str = "info"
) -> Server:
    """Make the server for an application of `make_app`."""
    settings: Settings = app.state.service.settings
    crowd = Crowd(_limit_connections(settings.connections))
    limits = TimeLimits(settings.header_seconds, settings.write_seconds)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=type("Protocol", (LimitedProtocol,), {"limits": limits, "crowd": crowd}),
        ws="none",
        loop="asyncio",
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.stop_seconds + 2 * DROP_SECONDS),
    )
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, RepeatFilter) for each in logger.filters):
            logger.addFilter(RepeatFilter())
    return Server(config, app.state.service.pool, crowd, settings.stop_seconds)


def _limit_connections(wanted: int) -> int:
    """Return how many connections may be open, so that the process does not run out of descriptors."""
    allowed = raise_descriptors(wanted + OTHER_DESCRIPTORS)
    return max(1, min(wanted, allowed - OTHER_DESCRIPTORS))


def open_socket(host: str, port: int) -> socket.socket:
    """Bind before anything slow is done, so that a port in use is known at once. Port 0 takes a free one.

    Raises:
        OSError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def read_token(option: str | None) -> str | None:
    """Return the token of the option, else of the environment, else none."""
    return option or os.environ.get(TOKEN_VARIABLE) or None


def describe_exposure(host: str, settings: Settings) -> str | None:
    """Return the advice for the person who starts a server that others can reach."""
    if host in LOOPBACK or settings.token:
        return None
    return f"anyone who can reach {host} may use this server: set {TOKEN_VARIABLE} or --token"
