"""Fill in several processes of this machine; one that dies costs the picture that it died of."""

import os
import signal
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread

from infilling.filling.batch_results import Result
from infilling.filling.contract import Engine
from infilling.filling.folder import Job
from infilling.filling.work import DIED, Task, Work, fill_job

AHEAD = 2  # pictures handed out for each process, so that none waits for the next


def fill_in_processes(work: Work, tasks: Iterator[Task], jobs: int) -> Generator[Result, None, None]:
    """Fill pictures in so many processes, as they come."""
    pool = _make_pool(work, jobs)
    pending: dict[Future[Result], Task] = {}
    try:
        while True:
            for task in islice(tasks, AHEAD * jobs - len(pending)):
                pending[pool.submit(_fill_in_process, *task)] = task
            if not pending:
                return
            lost = []
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                task = pending.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(task)
                else:
                    yield future.result()
            if lost:
                # A process died, and with it the pool. Whose fault it was shows when each is tried alone.
                lost += pending.values()
                pending.clear()
                pool.shutdown()
                for task in lost:
                    yield _fill_alone(work, task)
                pool = _make_pool(work, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _fill_alone(work: Work, task: Task) -> Result:
    with _make_pool(work, 1) as pool:
        try:
            return pool.submit(_fill_in_process, *task).result()
        except BrokenProcessPool:
            return Result(task[0].picture, task[0].output, "failed", error=DIED)


def _make_pool(work: Work, jobs: int) -> ProcessPoolExecutor:
    # Spawned: a fork would copy locks that the threads of an open engine hold.
    return ProcessPoolExecutor(jobs, get_context("spawn"), _start_process, (work,))


_IN_PROCESS: list[tuple[Work, Engine]] = []
"""In a process of a pool: its work and engine."""


def _start_process(work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets this picture finish
    Thread(target=_end_with_parent, daemon=True).start()
    _IN_PROCESS[:] = [(work, work.open_engine())]


def _end_with_parent() -> None:
    """A parent that is killed cannot end its processes; they would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _fill_in_process(job: Job, finished: bytes | None) -> Result:
    [(work, engine)] = _IN_PROCESS
    return fill_job(work, engine, job, finished)
