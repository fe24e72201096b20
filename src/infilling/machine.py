"""What this process may use of the machine that it runs on."""

import os


def count_cores() -> int:
    """Cores that this process may run on, which in a container may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_cores(jobs: int) -> int:
    """Threads for each of so many jobs, so that together they fit the cores; at least 1."""
    return max(1, count_cores() // jobs)


def limit_threads(threads: int | None) -> int | None:
    """Let the linear algebra beneath numpy take so many threads, here and in processes started from here.

    It reads them when it is loaded: call this before anything imports numpy. None leaves all cores to it.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    return threads
