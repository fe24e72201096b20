"""The outermost layer: who may call, how much and how slowly they may send, and what every answer carries."""

import asyncio
import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infilling.serving.answers import respond_problem
from infilling.serving.memory import MemoryBudget
from infilling.serving.metrics import Metrics
from infilling.serving.problems import Problem
from infilling.serving.settings import Settings

LOG = logging.getLogger(__name__)

LEFT = 499  # the status under which requests are counted whose callers have left
RATE_GRACE_SECONDS = 10.0  # time after which an upload's rate is looked at
LEAST_RATE = 1024  # bytes per second that an upload must reach on average after that

HOST = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:@/?#\\%\s,]+))(?::\w*)?", re.ASCII)
OPEN_PATHS = ("/", "/docs", "/sw.js", "/healthz", "/readyz")
OPEN_PREFIX = "/static/"

CONTENT_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, memory: MemoryBudget) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics
        self.memory = memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self.settings, self.memory)
        try:
            self._check(scope)
            exchange.check_length()
            await self.app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            await exchange.answer(problem)
        except ClientDisconnect:
            exchange.status = LEFT
        except Exception:
            LOG.exception("%s %s failed", scope["method"], scope["path"][:200])
            if exchange.begun:
                raise
            await exchange.answer(
                Problem("internal", "something went wrong in the server; its log says what")
            )
        finally:
            exchange.give_memory_back()
            route = scope.get("route")
            path = getattr(route, "path", None) or ("/static" if _is_static(scope["path"]) else "other")
            self.metrics.count_request(scope["method"], path, exchange.status)

    def _check(self, scope: Scope) -> None:
        """Refuse callers that may not call.

        Raises:
            Problem: `foreign-host`, `foreign-origin` or `unauthorized`.
        """
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not knows_host(host, self.settings.host_names):
            text = f"this server is not called {host[:100]!r}: start it with --allow-host to let it be"
            raise Problem("foreign-host", text)
        if origin is not None and not self._welcomes(origin, host):
            raise Problem("foreign-origin", f"pages of {origin[:100]!r} may not call this server")
        if self.settings.token is None or scope["path"] in OPEN_PATHS or _is_static(scope["path"]):
            return
        if origin is not None and scope["method"] == "OPTIONS":
            return  # browsers ask without the token whether they may send it
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_right = secrets.compare_digest(
            given.strip().encode("utf-8", "replace"), self.settings.token.encode()
        )
        if scheme.lower() != "bearer" or not is_right:
            text = "send the header 'Authorization: Bearer' with this server's token"
            raise Problem("unauthorized", text)

    def _welcomes(self, origin: str, host: str) -> bool:
        if origin in self.settings.origins:
            return True
        try:
            return urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:
            return False


class _Exchange:
    """One request and its answer: counted, timed, and with the headers that every answer carries."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, settings: Settings, memory: MemoryBudget
    ) -> None:
        self.status = 500
        self.begun = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._settings = settings
        self._memory = memory
        self._client = find_client(scope)
        self._headers = Headers(scope=scope)
        length = self._headers.get("content-length", "0")
        self._length = int(length) if length.isascii() and length.isdigit() else 0
        self._ended = not self._length and "transfer-encoding" not in self._headers
        self._taken = 0
        self._held = 0
        self._began = time.monotonic()

    def check_length(self) -> None:
        """Refuse a body by its announced length.

        Raises:
            Problem: `too-large`, or `busy` and `too-many` when it does not fit beside others.
        """
        if self._length > self._settings.max_bytes:
            raise self._make_too_large()
        if self._length:
            self._memory.require(self._client, self._length)

    async def receive(self) -> Message:
        """Receive the next piece of the body, in time.

        Raises:
            Problem: `upload-timeout`, `too-large`, `busy` or `too-many`.
        """
        if self._ended:
            return await self._receive()
        now, settings = time.monotonic(), self._settings
        left = self._began + settings.body_seconds - now
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(left, settings.idle_seconds)))
        except TimeoutError as error:
            text = f"the upload was not done after {settings.body_seconds:g} seconds"
            if left > settings.idle_seconds:
                text = f"nothing of the upload came for {settings.idle_seconds:g} seconds"
            raise Problem("upload-timeout", text) from error
        self._ended = not message.get("more_body", False)
        self._count(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer; its head gets the common headers."""
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], True
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            if not self._ended:
                headers["Connection"] = "close"  # the rest of the body is not worth waiting for
            length = int(headers.get("content-length", "0"))
            self._memory.take(self._client, length)
            self._held += length
        await self._send(message)

    async def answer(self, problem: Problem) -> None:
        """Answer with a problem."""
        await respond_problem(problem)(self._scope, self._receive, self.send)

    def give_memory_back(self) -> None:
        """Count the bytes of body and answer as free."""
        self._memory.give(self._client, self._held)
        self._held = 0

    def _count(self, count: int) -> None:
        self._taken += count
        if self._taken > self._settings.max_bytes:
            raise self._make_too_large()
        self._memory.require(self._client, count)
        self._memory.take(self._client, count)
        self._held += count
        seconds = time.monotonic() - self._began - RATE_GRACE_SECONDS
        if not self._ended and self._taken < LEAST_RATE * seconds:
            raise Problem("upload-timeout", f"the upload is slower than {LEAST_RATE:,} bytes per second")

    def _make_too_large(self) -> Problem:
        return Problem("too-large", f"a request may have {self._settings.max_bytes:,} bytes here")


def find_client(scope: Scope) -> str:
    """Return the address that a request counts against: of IPv6 the first half, which a household shares."""
    address = scope["client"][0] if scope.get("client") else ""
    return ":".join(address.split(":")[:4]) if ":" in address else address


def knows_host(host: str, names: frozenset[str]) -> bool:
    """Return whether a `Host` header names this server.

    A page elsewhere can give its own name this server's address (DNS rebinding), but not make a browser send
    an address or a name that it does not own. So addresses and loopback names are fine, and others must be
    known.

    Args:
        host: the header; empty if there is none, which no browser sends.
        names: other names that are fine, in small letters; `*` for all.

    Example:
        >>> knows_host("127.0.0.1:8000", frozenset()), knows_host("evil.example", frozenset())
        (True, False)
    """
    if not host or "*" in names:
        return True
    found = HOST.fullmatch(host)
    if found is None:
        return False
    name = (found["address"] or found["name"]).lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_static(path: str) -> bool:
    return path.startswith(OPEN_PREFIX)
