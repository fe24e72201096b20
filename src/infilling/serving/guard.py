"""The outermost layer: who may call, how much and how slowly they may send, and what every answer carries."""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infilling.serving.answers import respond
from infilling.serving.metrics import Metrics
from infilling.serving.problems import Problem
from infilling.serving.settings import Settings

LOG = logging.getLogger(__name__)

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

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, begun, started = 500, False, time.perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            if problem := self._refuse(scope):
                await respond(problem)(scope, receive, send_and_note)
            else:
                await self.app(scope, self._limit(receive), send_and_note)
        except Exception:
            LOG.exception("%s %s failed", scope["method"], scope["path"])
            if begun:
                raise
            problem = Problem("internal", "something went wrong in the server; its log says what")
            await respond(problem)(scope, receive, send_and_note)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", None) or ("/static" if _is_static(scope["path"]) else "other")
            self.metrics.count_request(scope["method"], path, status, time.perf_counter() - started)

    def _refuse(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and not self._welcomes(origin, headers.get("host", "")):
            return Problem("foreign-origin", f"pages of {origin[:100]} may not call this server")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.settings.max_bytes:
            return self._too_large()
        if self.settings.token is None or scope["path"] in OPEN_PATHS or _is_static(scope["path"]):
            return None
        if origin is not None and scope["method"] == "OPTIONS":
            return None  # browsers ask without the token whether they may send it
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(
            given.strip().encode("utf-8", "replace"), self.settings.token.encode()
        ):
            return None
        return Problem("unauthorized", "send the header 'Authorization: Bearer' with this server's token")

    def _welcomes(self, origin: str, host: str) -> bool:
        return origin in self.settings.origins or urlsplit(origin).netloc.lower() == host.lower()

    def _limit(self, receive: Receive) -> Receive:
        """Count the body's bytes and seconds."""
        taken, ended = 0, False
        deadline = time.monotonic() + self.settings.body_seconds

        async def receive_within() -> Message:
            nonlocal taken, ended
            if ended:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except TimeoutError as error:
                seconds = self.settings.body_seconds
                raise Problem(
                    "upload-timeout", f"the upload was not done after {seconds:g} seconds"
                ) from error
            taken += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if taken > self.settings.max_bytes:
                raise self._too_large()
            return message

        return receive_within

    def _too_large(self) -> Problem:
        return Problem("too-large", f"a request may have {self.settings.max_bytes:,} bytes here")


def _is_static(path: str) -> bool:
    return path.startswith(OPEN_PREFIX)
