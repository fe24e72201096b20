"""Fills wait their turn for a few worker processes; whoever leaves takes the fill along.

Callers take turns: of those who wait, each address gets one fill before any gets its second. All methods are
called on the event loop's thread, except `refuse`.
"""

import asyncio
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from infilling.filling.workers import TaskTimeout, Worker, WorkerDied, WorkerSetup
from infilling.serving.problems import Problem

T = TypeVar("T")
State = Literal["uploading", "waiting", "running"]

FIRST_GUESS_SECONDS = 2.0  # assumed duration of a fill before the first one is done
STOP_SECONDS = 1.0  # time in which a fill whose caller has left may stop; then its worker is killed
UPLOADS_A_PLACE = 2  # uploads at the same time, for each place that a fill may take
KILL_AGAIN_SECONDS = 0.05
GIVE_WAY_SECONDS = 1.0  # time that an address whose last fill ran into its deadline leaves to others
MOST_SLOW = 10_000  # such addresses that are remembered
CHECK_SECONDS = 0.5  # interval at which idle workers are checked
WORKER_SLACK_SECONDS = 2.0  # after the deadline, in which the pool ends a fill, not the worker's thread


class CallerLeft(Exception):
    """The caller closed the connection before the answer was there."""

    code = "left"


@dataclass(eq=False)
class Job:
    """One caller's fill.

    Attributes:
        id: the caller's own name for it, or a random one.
        client: the address that it counts against.
        waited, lasted: seconds in the queue, and at work.
    """

    id: str
    client: str
    state: State = "uploading"
    waited: float = 0.0
    lasted: float = 0.0
    started: float = 0.0
    worker: Worker | None = None
    turn: "asyncio.Future[Worker] | None" = None

    @property
    def share(self) -> float:
        """The part of the fill that is done, from 0 to 1."""
        return 0.0 if self.worker is None else self.worker.progress.share

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end of the fill; None while nothing can be said."""
        share = self.share
        if not share:
            return None
        return round((time.perf_counter() - self.started) * (1 - share) / share, 2)


class Pool:
    """Worker processes and the callers that they work for.

    Args:
        jobs: fills at the same time.
        queue: fills that may wait beyond those.
        setup: of each worker.
        per_client: fills and uploads of one address; None leaves one place in sixteen to others.
    """

    def __init__(self, jobs: int, queue: int, setup: WorkerSetup, per_client: int | None = None) -> None:
        self.jobs = jobs
        self.queue = queue
        self.places = jobs + queue
        self.per_client = per_client or max(1, self.places - max(1, self.places // 16))
        self.closing = False
        self.callers: dict[str, Job] = {}
        self._mean = FIRST_GUESS_SECONDS
        self._waiting: dict[str, deque[Job]] = {}
        self._slow: set[str] = set()  # addresses whose last fill ran into its deadline
        self._workers = [Worker(setup) for _ in range(jobs)]
        self._free = list(self._workers)
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="fill")
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def admit(self, id: str | None = None, client: str = "") -> Iterator[Job]:
        """Let a caller in, for as long as the context lasts and the work continues.

        Args:
            id: the name under which the caller asks how far the job is; None makes one.
            client: the caller's address.

        Raises:
            Problem: `busy`, `too-many`, `closing`, or an id that is in use.
        """
        self._require_open()
        self._require_place()
        if self.count_states()["uploading"] >= UPLOADS_A_PLACE * self.places:
            raise Problem("busy", "too many uploads are under way: try later", retry_after=self._mean)
        mine = sum(job.client == client for job in self.callers.values())
        if mine >= self.per_client:
            text = f"{mine} requests from your address are under way: wait for one of them to end"
            raise Problem("too-many", text, retry_after=self._mean)
        if id in self.callers:
            raise Problem("invalid", "a job of this name is under way: choose another", field="X-Job-Id")
        job = Job(id or secrets.token_hex(8), client)
        self.callers[job.id] = job
        try:
            yield job
        finally:
            if job.worker is None:  # else it is taken out when the worker is free again
                self.callers.pop(job.id, None)

    def count_states(self) -> Counter[str]:
        """Return how many callers are in each state."""
        return Counter(job.state for job in self.callers.values())

    def count_ahead(self, job: Job) -> int:
        """Return how many jobs will be started before this one."""
        if job not in self._waiting.get(job.client, ()):
            return 0
        mine = self._waiting[job.client].index(job)
        before, ahead = True, mine
        for client, jobs in self._waiting.items():
            if client == job.client:
                before = False
            else:
                ahead += min(len(jobs), mine + before)
        return ahead

    async def run(
        self,
        job: Job,
        function: Callable[..., T],
        *args: object,
        gone: Coroutine[Any, Any, None],
        seconds: float,
    ) -> T:
        """Run `function(progress, *args)` in a worker as soon as it is this caller's turn.

        Args:
            job: from `admit`.
            function: importable by its name; see `Worker.call`.
            args: its arguments after the progress.
            gone: done when the caller has left.
            seconds: to wait for the result at most.

        Raises:
            CallerLeft: nobody is there to hear the result.
            Problem: `busy`, `timeout`, `too-much-memory`, `engine-failed`, or `closing`.
            Exception: whatever the function raises.
        """
        deadline = time.monotonic() + seconds
        work = asyncio.create_task(self._work(job, function, args, deadline))
        leaving = asyncio.create_task(gone)
        try:
            await asyncio.wait({work, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if leaving.done():
                raise CallerLeft
            if job.worker is not None:
                self._mark_slow(job.client)
            raise Problem("timeout", f"the fill was not done after {seconds:g} seconds", retry_after=60)
        finally:
            self._abandon(job, work, grace=STOP_SECONDS if leaving.done() else 0.0)
            leaving.cancel()

    async def watch(self) -> None:
        """Replace idle workers that have died, until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for worker in [worker for worker in self._free if not worker.is_alive]:
                self._free.remove(worker)
                with suppress(OSError):
                    await asyncio.to_thread(worker.restart)
                self._give_back(worker)

    def refuse(self) -> None:
        """Let nobody in any more and refuse those who wait; what runs continues. Any thread may call this."""
        self.closing = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and with it all who waited
                self._loop.call_soon_threadsafe(self._send_away)

    def kill_running(self) -> None:
        """End the fills that still run."""
        for job in list(self.callers.values()):
            if job.worker is not None:
                job.worker.kill()

    def close(self) -> None:
        """End the workers, whatever they do."""
        self.closing = True
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def probe(self, function: Callable[..., T], *args: object) -> T:
        """Run a task before the first caller is there; raises what it raises."""
        return self._workers[0].call(function, *args)

    # -- turns -----------------------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self.closing:
            raise Problem("closing", "the server is being stopped: try again in a minute", retry_after=60)

    def _require_place(self) -> None:
        """Refuse a fill for which there is no place. An upload takes none, however slow it is."""
        states = self.count_states()
        taken = states["waiting"] + states["running"]
        if taken >= self.places:
            seconds = self._mean * taken / self.jobs
            raise Problem("busy", f"{taken} fills are waiting: try later", retry_after=seconds)

    async def _work(self, job: Job, function: Callable[..., T], args: Sequence[object], deadline: float) -> T:
        worker = await self._wait_for_turn(job)
        job.started = time.perf_counter()
        job.state, job.worker = "running", worker
        seconds = deadline - time.monotonic() + WORKER_SLACK_SECONDS
        call = self._threads.submit(partial(worker.call, function, *args, seconds=seconds))
        loop = asyncio.get_running_loop()

        def finish(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._finish, job, worker)

        call.add_done_callback(finish)
        try:
            result = await asyncio.wrap_future(call)
        except (WorkerDied, TaskTimeout, MemoryError) as error:
            if isinstance(error, TaskTimeout):
                self._mark_slow(job.client)
            raise self._explain(error) from error
        self._slow.discard(job.client)
        return result

    def _mark_slow(self, client: str) -> None:
        """Let an address give way next time: others whose fills ran out as well ask again in that second."""
        if len(self._slow) >= MOST_SLOW:
            self._slow.clear()
        self._slow.add(client)

    async def _wait_for_turn(self, job: Job) -> Worker:
        self._require_open()
        self._require_place()
        began = time.perf_counter()
        job.state, job.turn = "waiting", asyncio.get_running_loop().create_future()
        if job.client in self._slow:
            await asyncio.sleep(GIVE_WAY_SECONDS)
        self._waiting.setdefault(job.client, deque()).append(job)
        self._hand_out()
        try:
            return await job.turn
        except asyncio.CancelledError:
            if job.turn.done() and not job.turn.cancelled():
                self._give_back(job.turn.result())
            raise
        finally:
            self._leave_queue(job)
            job.waited = time.perf_counter() - began

    def _hand_out(self) -> None:
        """Give each free worker to the caller whose turn it is; who has had one goes to the end."""
        while self._free and self._waiting:
            client, jobs = next(iter(self._waiting.items()))
            job = jobs.popleft()
            del self._waiting[client]
            if jobs:
                self._waiting[client] = jobs
            if job.turn is not None and not job.turn.done():
                job.turn.set_result(self._free.pop())

    def _leave_queue(self, job: Job) -> None:
        jobs = self._waiting.get(job.client)
        if jobs and job in jobs:
            jobs.remove(job)
        if not jobs:
            self._waiting.pop(job.client, None)

    def _give_back(self, worker: Worker) -> None:
        self._free.append(worker)
        self._hand_out()

    def _finish(self, job: Job, worker: Worker) -> None:
        job.lasted = time.perf_counter() - job.started
        self._mean += (job.lasted - self._mean) / 8
        job.worker = None
        self.callers.pop(job.id, None)
        self._give_back(worker)

    def _abandon(self, job: Job, work: "asyncio.Task[T]", grace: float) -> None:
        """Take a job that nobody waits for any more out of the queue, or end it."""
        if work.done():
            return
        work.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody has looked
        if job.worker is None:
            work.cancel()
            return
        job.worker.progress.stop()
        asyncio.get_running_loop().call_later(grace, self._kill, job, job.worker)

    def _kill(self, job: Job, worker: Worker) -> None:
        if job.worker is worker and not worker.kill():  # its thread has not begun yet
            asyncio.get_running_loop().call_later(KILL_AGAIN_SECONDS, self._kill, job, worker)

    def _send_away(self) -> None:
        for job in list(self.callers.values()):
            if job.turn is not None and not job.turn.done():
                text = "the server is being stopped: try again"
                job.turn.set_exception(Problem("closing", text, retry_after=60))

    def _explain(self, error: Exception) -> Problem:
        if self.closing:
            return Problem("closing", "the server is being stopped: try again", retry_after=60)
        if isinstance(error, TaskTimeout):
            return Problem("timeout", "the fill took too long", retry_after=60)
        if isinstance(error, MemoryError):
            text = "the fill needs more memory than this server gives to one: send a smaller picture or part"
            return Problem("too-much-memory", text)
        return Problem("engine-failed", str(error))
