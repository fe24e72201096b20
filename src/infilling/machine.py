"""What this process may use of the machine that it runs on: cores, threads, and the limits of the system."""

import ctypes
import mmap
import os
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

resource: Any = import_module("resource") if os.name == "posix" else None

MEBIBYTE = 1 << 20
MOST_THREADS = 65_535
KILL_FIRST = 500  # score by which the kernel's memory killer prefers a process to others
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt, from malloc.h
LARGEST_KEPT_BYTES = 32 * MEBIBYTE  # glibc's upper limit for M_MMAP_THRESHOLD
KEPT_BYTES = 128 * MEBIBYTE  # freed memory that a busy process keeps


def count_cores() -> int:
    """Return the cores that this process may run on, in a container perhaps fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_cores(jobs: int, cores: int | None = None) -> int:
    """Return the threads for each of several jobs, so that together they fit the cores; at least 1.

    Args:
        jobs: number of jobs at the same time.
        cores: number of cores to share; None: those that this process may run on.

    >>> share_cores(3, 16), share_cores(4, 2)
    (5, 1)
    """
    return max(1, (cores or count_cores()) // jobs)


def limit_threads(threads: int | None) -> int | None:
    """Let the linear algebra beneath numpy take N threads, here and in processes started from here.

    It reads them when it is loaded: call this before anything imports numpy. None leaves all cores to it.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    return threads


def count_threads() -> int:
    """Return the threads that this process may use: those of `limit_threads`, else one for each core."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(limit), count_cores()) if limit.isdecimal() and int(limit) else count_cores()


def limit_memory(extra: int) -> None:
    """Let this process take `extra` bytes of address space beyond what it has. Does nothing where it cannot.

    A process that reaches the limit gets MemoryError, and leaves no core dump.
    """
    with suppress(OSError, ValueError):  # not Linux, or a lower limit is set already
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (used + extra, used + extra))


def limit_processor(seconds: float | None) -> None:
    """Let the kernel end this process after `seconds` more of processor time; None takes the limit away."""
    if resource is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = resource.RLIM_INFINITY if seconds is None else int(time.process_time() + seconds)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def raise_descriptors(wanted: int) -> int:
    """Raise the limit of open files and sockets to `wanted` as far as allowed, and return what it is now."""
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft >= 0 else wanted


def be_killed_first() -> None:
    """Tell the kernel to end this process before others when memory runs out."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(KILL_FIRST))


def silence_libraries() -> None:
    """Drop what this process writes to standard error: libtiff writes a line there for each bad row.

    A file can have millions of them, and a server's log is its standard error.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def keep_freed_memory() -> None:
    """Let the C library keep what a task frees for the next one.

    glibc gives arrays back to the system and fetches them again page by page, which takes half the time of a
    quick fill. Arrays above LARGEST_KEPT_BYTES still go back at once. Does nothing without glibc.
    """
    libc = _load_libc()
    if libc is not None:
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def trim_memory() -> None:
    """Give freed memory back to the system. Does nothing without glibc."""
    libc = _load_libc()
    if libc is not None:
        libc.malloc_trim(0)


def _load_libc() -> Any:
    """Return glibc, or None where it is not the C library."""
    with suppress(OSError, TypeError):
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            return libc
    return None
