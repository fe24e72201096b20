"""Fill on a Ray cluster: one actor for each core or GPU, which holds an open engine.

Plain actors and not Ray Data, which was tried: it wants all pictures as one list before the first is filled,
repeats or gives up whole blocks of them, where here a picture that kills its worker costs one line, and took
21 s of processor time for 2,000 empty fills in blocks of 20, where actors that get one at a time took 7 s.
Ray starts lost actors again, on another host where that must be, and gives them the picture that they lost.
"""

import logging
import os
import re
import socket
from collections.abc import Generator, Iterator
from typing import Any

from infilling.errors import DependencyError, InputError, ModelError
from infilling.filling.batch_results import Result
from infilling.filling.batch_task import DIED, BatchRun, Task, fill_one
from infilling.filling.contract import require
from infilling.filling.folder import Job

LOG = logging.getLogger(__name__)
CONNECT_S = 10
RETRIES = 2  # of a picture whose worker died
QUIETLY = {"log_to_driver": False, "logging_level": logging.ERROR}


def fill_on_cluster(
    run: BatchRun, tasks: Iterator[Task], jobs: int | None, address: str
) -> Generator[Result, None, None]:
    """Fill pictures with actors, as they come.

    Args:
        run: its paths must be seen by every host, and its engine opened there.
        tasks: what is to be filled.
        jobs: actors; None: one for each core of the cluster, or for each GPU where the device is CUDA.
        address: `auto`, the cluster that RAY_ADDRESS or this machine knows (`ray start` notes it), or else a
            new one of this machine alone; `local`, the latter; or what `ray.init` takes, such as `host:6379`.
            Which it is, is logged.

    Raises:
        DependencyError: Ray is not installed.
        InputError: no cluster is there.
        ModelError: a worker cannot open the engine.
    """
    ray = require("ray", "--ray", "ray")
    mine = not ray.is_initialized()
    if mine:
        _connect(ray, address)
    try:
        yield from _fill(ray, run, tasks, jobs)
    finally:
        if mine:
            ray.shutdown()


class Filler:
    """An actor: an open engine, and what its pictures have in common."""

    def __init__(self, run: BatchRun) -> None:
        """Open the engine."""
        self._run = run
        self._engine = run.open_engine()

    def wait(self) -> None:
        """Return when the engine is open."""

    def fill(self, job: Job, finished: bytes | None) -> Result:
        """Fill one picture; see `fill_one`."""
        return fill_one(self._run, self._engine, job, finished)


def _connect(ray: Any, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here reports to nobody
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or "auto"
    try:
        is_joined = address != "local" and _join(ray, address)
        if not is_joined:
            ray.init("local", include_dashboard=False, **QUIETLY)
    except Exception as error:  # one that does not start in time says so by a bare Exception
        place = "here" if address in ("auto", "local") else f"at {address}"
        raise InputError(f"no Ray cluster {place}: {' '.join(str(error).split())}") from error
    kind = "the Ray cluster" if is_joined else "a Ray cluster of this machine, started for this run,"
    LOG.info("filling on %s at %s", kind, ray.get_runtime_context().gcs_address)


def _join(ray: Any, address: str) -> bool:
    """Connect to a cluster; return whether there is one, if it is not at a given address.

    Raises:
        Exception: there is none at the address.
    """
    if re.fullmatch(r"[^/]+:\d+", address):  # Ray itself asks a dead address for minutes
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    try:
        ray.init(address, **QUIETLY)
    except ConnectionError:
        if address != "auto":
            raise
        return False
    return True


def _fill(ray: Any, run: BatchRun, tasks: Iterator[Task], jobs: int | None) -> Generator[Result, None, None]:
    threads = run.threads or 1
    kind, taken = ("GPU", 1) if run.device.startswith("cuda") else ("CPU", threads)
    count = jobs or int(ray.cluster_resources().get(kind, 0) // taken)
    if not count:
        raise DependencyError(f"the Ray cluster has no {kind}")
    options = {"num_cpus": threads, "num_gpus": int(kind == "GPU")}
    actor = ray.remote(Filler).options(max_restarts=-1, max_task_retries=RETRIES, **options)
    # An actor takes one picture at a time, so that none dies of its neighbour, and the first when it is
    # there: a cluster may have room for fewer than asked for.
    actors = [actor.remote(run) for _ in range(count)]
    pending: dict[Any, tuple[Any, Task | None]] = {each.wait.remote(): (each, None) for each in actors}
    actors.clear()
    left = next(tasks, None)
    while left or any(task for _, task in pending.values()):
        [done], _ = ray.wait(list(pending), num_returns=1)
        holder, task = pending.pop(done)
        result = _receive(ray, done, task)
        if result and result.error == DIED:  # whether this one starts again is not known
            holder = actor.remote(run)
            pending[holder.wait.remote()] = (holder, None)
        elif left:
            pending[holder.fill.remote(*left)] = (holder, left)
            left = next(tasks, None)
        del holder  # one that gets no more work ends here, and leaves its core to one that was lost
        if result:
            yield result


def _receive(ray: Any, done: Any, task: Task | None) -> Result | None:
    try:
        result: Result | None = ray.get(done)
        return result
    except ray.exceptions.RayError as error:
        if task:
            return Result(task[0].picture, task[0].output, "failed", error=DIED)
        raise ModelError(f"a worker cannot start: {' '.join(str(error).split())[-300:]}") from error
