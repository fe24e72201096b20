"""Run the application with uvicorn: slow heads are cut off; SIGTERM finishes what runs, refuses the rest."""

import asyncio
import os
import socket
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from infilling.serving.pool import Pool
from infilling.serving.settings import LOOPBACK, Settings

TOKEN_VARIABLE = "INFILLING_TOKEN"
KEEP_ALIVE_SECONDS = 20
CONNECTIONS = 500


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that closes connections on which the head of a request does not come."""

    header_seconds = 10.0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once the head is complete."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _wait_for_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._patience is None and self.timeout_keep_alive_task is None:
            self._patience = self.loop.call_later(self.header_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server whose queue is emptied as soon as it is asked to stop."""

    def __init__(self, config: uvicorn.Config, pool: Pool) -> None:
        super().__init__(config)
        self._pool = pool

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and Ctrl-C: refuse those who wait, finish what runs."""
        self._pool.refuse()
        super().handle_exit(sig, frame)


def make_server(
    app: FastAPI, *, host: str = "127.0.0.1", port: int = 8000, log_level: str = "info"
) -> Server:
    """Make the server for an application of `make_app`."""
    settings: Settings = app.state.service.settings
    protocol = type("Protocol", (ImpatientProtocol,), {"header_seconds": settings.header_seconds})
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        ws="none",
        loop="asyncio",
        log_level=log_level,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        backlog=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    return Server(config, app.state.service.pool)


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
    """The token of the option, else of the environment, else none."""
    return option or os.environ.get(TOKEN_VARIABLE) or None


def warn(host: str, settings: Settings) -> str | None:
    """What to tell the person who starts a server that others can reach."""
    if host in LOOPBACK or settings.token:
        return None
    return f"anyone who can reach {host} may use this server: set {TOKEN_VARIABLE} or --token"
