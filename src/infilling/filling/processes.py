"""Fill a folder with the worker processes of this machine: one that dies or is late costs its own picture."""

from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from queue import SimpleQueue

from infilling.filling.batch_results import Result
from infilling.filling.batch_task import DIED, NO_MEMORY, BatchRun, Task, fill_one
from infilling.filling.folder import Job
from infilling.filling.workers import Progress, TaskTimeout, Worker, WorkerDied, WorkerSetup

STOP_SECONDS = 10.0  # time for the pictures in hand when a run is stopped
SHARED_MODULES = ("infilling.filling.batch_task", "infilling.filling.detail")


def fill_in_processes(
    run: BatchRun, tasks: Iterator[Task], jobs: int, seconds: float | None
) -> Generator[Result, None, None]:
    """Fill pictures in worker processes, as they come.

    Args:
        run: what they have in common.
        tasks: the pictures.
        jobs: processes.
        seconds: deadline of one picture; None for none.
    """
    setup = WorkerSetup(run.open_engine, threads=run.threads or 1, preload=SHARED_MODULES)
    workers = [Worker(setup) for _ in range(jobs)]
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def fill(task: Task) -> Result:
        worker = free.get()
        try:
            return _fill(worker, run, task, seconds)
        finally:
            free.put(worker)

    pending: set[Future[Result]] = set()
    threads = ThreadPoolExecutor(jobs)
    try:
        while True:
            pending |= {threads.submit(fill, task) for task in islice(tasks, 2 * jobs - len(pending))}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        wait(pending, STOP_SECONDS)
        for worker in workers:
            worker.close()


def _fill(worker: Worker, run: BatchRun, task: Task, seconds: float | None) -> Result:
    try:
        return worker.call(fill_in_worker, run, *task, seconds=seconds)
    except TaskTimeout:
        error = f"it was not done after {seconds:g} seconds, the limit of --timeout"
    except WorkerDied:
        error = DIED
    except MemoryError:
        error = NO_MEMORY
    return Result(task[0].picture, task[0].output, "failed", error=error)


def fill_in_worker(progress: Progress, run: BatchRun, job: Job, finished: bytes | None) -> Result:
    """Fill one picture in a worker process."""
    return fill_one(run, run.open_engine(), job, finished)
