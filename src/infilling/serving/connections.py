"""HTTP/1.1 connections with a time limit on every phase, and a bound on how many are open.

uvicorn's protocol waits without end for the head of a request, for the rest of a body that was refused, and
for a caller to read an answer. Here each of the three has a limit, and a connection that idles makes room
when there are too many.
"""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LINGER_SECONDS = 3.0  # time to read the rest of a body that was refused, so that the caller gets the answer
LINGER_BYTES = 64 << 20  # most bytes to read of it
WRITE_BYTES = 64 << 10  # bytes of an answer that a caller must take within each `write_seconds`
MOST_HEAD_BYTES = 64 << 10
MOST_HEAD_LINES = 500  # of one request; browsers send about 20, proxies add a few
MOST_TINY_CHUNKS = 4096  # of a body, beside one for each LEAST_CHUNK bytes of it
LEAST_CHUNK = 64
LOG_PERIOD_SECONDS = 60.0
LOG_REPEATS = 5  # lines of one kind within LOG_PERIOD_SECONDS; more are counted


@dataclass(frozen=True)
class TimeLimits:
    """Seconds that a caller has.

    Attributes:
        head: for the head of a request, from the first byte of the connection or the end of the last answer.
        write: to take the next WRITE_BYTES of an answer.
    """

    head: float
    write: float


class Crowd:
    """The open connections of a server, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._members: dict[LimitedProtocol, None] = {}  # in the order in which they came

    def enter(self, member: "LimitedProtocol") -> None:
        """Let a connection in; if there are too many, an idle one of the address that has most is closed."""
        self._members[member] = None
        if len(self._members) <= self.limit:
            return
        idle = [each for each in self._members if each.is_idle and each is not member]
        most = Counter(each.address for each in idle).most_common(1)
        victim = next((each for each in idle if each.address == most[0][0]), member)
        self.leave(victim)  # now, for several may come before the system has closed it
        victim.drop()

    def leave(self, member: "LimitedProtocol") -> None:
        """Forget a connection that is closed."""
        self._members.pop(member, None)

    def drop_all(self) -> None:
        """Close every connection at once."""
        for member in list(self._members):
            member.drop()


class _Parser(h11.Connection):
    """h11's parser, which refuses heads of many lines, and bodies in tiny chunks: 13 µs of the loop each."""

    _chunks = _bytes = 0

    def next_event(self) -> Any:
        """Return the next event.

        Raises:
            RemoteProtocolError: not HTTP, a head of too many lines, or a body in chunks that are too small.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            if len(event.headers) > MOST_HEAD_LINES:
                raise h11.RemoteProtocolError("the head has too many lines")
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += 1
            self._bytes += len(event.data)
            if self._chunks > MOST_TINY_CHUNKS + self._bytes // LEAST_CHUNK:
                raise h11.RemoteProtocolError("the chunks of the body are too small")
        return event


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 within limits; a subclass for each server sets them."""

    limits: TimeLimits
    crowd: Crowd

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Parser(h11.SERVER, MOST_HEAD_BYTES)
        self.address = ""
        self._wire: Any = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._lingered = 0
        self._sent = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is being worked on."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first head."""
        self._wire = _CountingTransport(transport, self)
        super().connection_made(self._wire)
        self.address = self.client[0] if self.client else ""
        self.crowd.enter(self)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Read on; of a request that is refused already, nothing is looked at."""
        if self._linger_timer is not None:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.drop()
            return
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all waiting."""
        super().connection_lost(exc)
        self.crowd.leave(self)
        for timer in (self._head_timer, self._write_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()

    def drop(self) -> None:
        """Close the connection at once; what has not been sent is lost."""
        self._wire.abort()

    def close_gently(self) -> None:
        """Close after the answer; the rest of a body is read first, or the system discards the answer."""
        if self.conn.their_state is not h11.SEND_BODY:
            self._wire.close_now()
        elif self._linger_timer is None:
            self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.drop)
            self._wire.end_answer()

    def watch_writing(self) -> None:
        """Start to look whether the caller takes the answer."""
        if self._write_timer is None and self._wire.get_write_buffer_size():
            self._sent = self._wire.sent
            self._write_timer = self.loop.call_later(self.limits.write, self._check_writing)

    def _check_writing(self) -> None:
        self._write_timer = None
        if self._wire.get_write_buffer_size() and self._wire.sent < self._sent + WRITE_BYTES:
            self.drop()
        else:
            self.watch_writing()

    def _wait_for_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and self.timeout_keep_alive_task is None:
            self._head_timer = self.loop.call_later(self.limits.head, self._give_up)

    def _give_up(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE and not self._wire.is_closing():
            self._wire.close_now()


class _CountingTransport:
    """A transport that counts what has been sent, and leaves it to the protocol how to close."""

    def __init__(self, transport: asyncio.Transport, protocol: LimitedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._written = 0
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def sent(self) -> int:
        """Bytes that the system has taken so far."""
        return self._written - self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Write, and see to it that somebody reads."""
        self._written += len(data)
        self._transport.write(data)
        self._protocol.watch_writing()

    def is_closing(self) -> bool:
        """Whether nothing more will be answered."""
        return self._ended or self._transport.is_closing()

    def close(self) -> None:
        """Close in the protocol's way."""
        if not self.is_closing():
            self._protocol.close_gently()

    def close_now(self) -> None:
        """Close once what is written has been sent."""
        self._transport.close()

    def end_answer(self) -> None:
        """Say that nothing more will be answered, and read on."""
        self._ended = True
        try:
            self._transport.write_eof()
        except OSError:  # the caller has closed the connection meanwhile
            self._transport.abort()
        else:
            if not self._transport.is_reading():
                self._transport.resume_reading()


class RepeatFilter(logging.Filter):
    """Lets a few log lines of one kind pass in each minute, and says afterwards how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, int], tuple[float, int]] = {}  # by the line of code that logs

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is to be written."""
        kind = (record.pathname, record.lineno)
        now = time.monotonic()
        since, count = self._kinds.get(kind, (now, 0))
        if now - since > LOG_PERIOD_SECONDS:
            if count > LOG_REPEATS:
                record.msg = f"{record.getMessage()} ({count - LOG_REPEATS} more since the last such line)"
                record.args = ()
            since, count = now, 0
        self._kinds[kind] = since, count + 1
        return count < LOG_REPEATS
