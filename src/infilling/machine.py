"""What this process may use of the machine that it runs on."""

import os


def count_cores() -> int:
    """Cores that this process may run on, which in a container may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
