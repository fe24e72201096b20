"""The limits of the system, each set in a process of its own."""

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial

import pytest

from infilling import machine
from infilling.filling.workers import CONTEXT, Progress, Worker, WorkerSetup

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


def run_apart(function: Callable[[], object]) -> int | None:
    """Run a function in a process; its exit code, 0 if it returns."""
    process: multiprocessing.Process = CONTEXT.Process(target=function)
    process.start()
    process.join(60)
    return process.exitcode


def take(size: int) -> None:
    machine.limit_memory(64 * machine.MEBIBYTE)
    try:
        assert len(bytearray(size)) == size
    except MemoryError:
        sys.exit(3)


def spin() -> None:
    machine.limit_processor(1)
    while True:
        pass


def spin_unlimited() -> None:
    machine.limit_processor(1)
    machine.limit_processor(None)
    sys.exit(0 if resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY else 1)


def raise_to(wanted: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, min(256, hard)))
    sys.exit(machine.raise_descriptors(wanted) % 256)


@pytest.mark.parametrize(("size", "code"), [(1 << 20, 0), (1 << 28, 3)])
def test_memory(size: int, code: int) -> None:
    assert run_apart(partial(take, size)) == code


def test_processor_time() -> None:
    assert run_apart(spin) == -signal.SIGXCPU
    assert run_apart(spin_unlimited) == 0


@pytest.mark.parametrize(("wanted", "allowed"), [(32, 64), (100, 100), (255, 255)])
def test_descriptors(wanted: int, allowed: int) -> None:
    assert run_apart(partial(raise_to, wanted)) == allowed


def find_limit(progress: Progress) -> int:
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def yes() -> bool:
    return True


def test_a_worker_that_may_use_a_gpu_has_no_limit_of_address_space() -> None:
    limits = []
    for uses_gpu in (bool, yes):
        worker = Worker(WorkerSetup(memory=512 * machine.MEBIBYTE, uses_gpu=uses_gpu))
        limits.append(worker.call(find_limit))
        worker.close()
    assert limits[0] > 512 * machine.MEBIBYTE
    assert limits[1] == resource.RLIM_INFINITY


def find_standard_error(progress: Progress) -> str:
    return os.readlink("/proc/self/fd/2")


def test_what_libraries_write_in_a_worker_is_in_no_log() -> None:
    """libtiff writes a line for each bad row of a fax: 10,000 for a file of 1 MB."""
    worker = Worker(WorkerSetup())
    assert worker.call(find_standard_error) == os.devnull
    worker.close()
