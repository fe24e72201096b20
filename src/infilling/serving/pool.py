"""Fills wait in one bounded queue for a few worker threads; a caller who leaves takes the job along.

A caller is admitted before the body is read, so that the bodies in memory are bounded too. All methods are
called on the event loop's thread; only `_work` runs elsewhere.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from infilling.serving.problems import Problem

T = TypeVar("T")
State = Literal["uploading", "waiting", "running"]

FIRST_GUESS_SECONDS = 2.0
"""How long a fill is taken to last before the first one is done."""


class Stopped(Exception):
    """Raised inside a job that nobody waits for any more."""


@dataclass(eq=False)
class Job:
    """One caller's fill.

    Attributes:
        id: the caller's own name for it, or a random one.
        number: callers in the order in which they came.
        steps: regions that are filled so far.
        waited, lasted: seconds in the queue, and at work.
    """

    id: str
    number: int
    state: State = "uploading"
    steps: int = 0
    waited: float = 0.0
    lasted: float = 0.0
    future: Future[Any] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Called between the steps of the work.

        Raises:
            Stopped: nobody waits for the result.
        """
        if self._stop.is_set():
            raise Stopped

    def stop(self) -> None:
        """Ask the work to end: at once if it waits, else at its next step."""
        self._stop.set()
        if self.future is not None:
            self.future.cancel()


class Pool:
    """Worker threads and the callers that they work for."""

    def __init__(self, jobs: int, queue: int) -> None:
        """Start.

        Args:
            jobs: at the same time.
            queue: callers that may wait beyond those.
        """
        self.jobs = jobs
        self.queue = queue
        self.closing = False
        self.callers: dict[str, Job] = {}
        self._count = 0
        self._mean = FIRST_GUESS_SECONDS
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="fill")

    @contextmanager
    def admit(self, id: str | None = None) -> Iterator[Job]:
        """Let a caller in, for as long as the context lasts and the work goes on.

        Args:
            id: the name under which the caller asks how far the job is; None makes one.

        Raises:
            Problem: `busy`, `closing`, or an id that is in use.
        """
        if self.closing:
            raise Problem("closing", "the server is being stopped: try again in a minute", retry_after=60)
        if len(self.callers) >= self.jobs + self.queue:
            seconds = self._mean * len(self.callers) / self.jobs
            raise Problem("busy", f"{len(self.callers)} fills are waiting: try later", retry_after=seconds)
        if id in self.callers:
            raise Problem("invalid", "a job of this name is under way: choose another", field="X-Job-Id")
        self._count += 1
        job = Job(id or secrets.token_hex(8), self._count)
        self.callers[job.id] = job
        try:
            yield job
        finally:
            if job.future is None or job.future.done():
                self.callers.pop(job.id, None)
            else:  # the caller has left and the thread still works: its place is not free yet
                loop = asyncio.get_running_loop()
                job.future.add_done_callback(lambda _: _call_safely(loop, self.callers.pop, job.id, None))

    def count_ahead(self, job: Job) -> int:
        """How many jobs will be started before this one."""
        waiting = [other for other in self.callers.values() if other.state == "waiting"]
        return sum(other.number < job.number for other in waiting) if job.state == "waiting" else 0

    async def run(
        self, job: Job, work: Callable[[Job], T], *, gone: Coroutine[Any, Any, None], seconds: float
    ) -> T | None:
        """Run `work(job)` in a worker thread as soon as one is free.

        Args:
            job: from `admit`.
            work: blocking; calls `job.check` between its steps.
            gone: done when the caller has left.
            seconds: to wait for the result at most.

        Returns:
            What `work` returns; None if the caller left, and nobody is there to hear it.

        Raises:
            Problem: `timeout`, or `closing` when the server stops before the work has begun.
        """
        job.state = "waiting"
        job.future = self._threads.submit(self._work, job, work, time.perf_counter())
        if self.closing:  # `refuse` passed by in another thread while there was no future to cancel yet
            job.future.cancel()
        result: asyncio.Future[T] = asyncio.wrap_future(job.future)
        result.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody has looked
        leaving = asyncio.create_task(gone)
        either: set[asyncio.Future[Any]] = {result, leaving}
        try:
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            if leaving.done():
                return None
            raise Problem("timeout", f"the fill was not done after {seconds:g} seconds", retry_after=60)
        except (CancelledError, asyncio.CancelledError) as error:
            if self.closing and result.cancelled():
                raise Problem("closing", "the server is being stopped: try again", retry_after=60) from error
            raise
        finally:
            leaving.cancel()
            job.stop()

    def refuse(self) -> None:
        """Let nobody in any more and send away those who wait; what runs goes on."""
        self.closing = True
        for job in list(self.callers.values()):
            if job.future is not None:
                job.future.cancel()  # no effect on what runs

    def close(self) -> None:
        """End the threads; what still runs is stopped at its next step."""
        self.refuse()
        for job in list(self.callers.values()):
            job.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _work(self, job: Job, work: Callable[[Job], T], submitted: float) -> T:
        job.check()
        started = time.perf_counter()
        job.state, job.waited = "running", started - submitted
        try:
            return work(job)
        finally:
            job.lasted = time.perf_counter() - started
            self._mean += (job.lasted - self._mean) / 8


def _call_safely(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> None:
    """Call on the event loop's thread, unless the loop has ended meanwhile."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        call(*args)
