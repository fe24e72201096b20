"""Waiting for work in C that may never end: with a deadline, and so that Ctrl-C is heard."""

import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

END_SECONDS = 1.0  # time for work that is asked to stop

_LEAVING = threading.Event()  # no new work begins
_RUNNING: dict[threading.Thread, Callable[[], None] | None] = {}
"""The threads that work, and what asks each to stop."""


def run_patiently(
    work: Callable[[], T], seconds: float | None = None, stop: Callable[[], None] | None = None
) -> T:
    """Run `work` in a thread of its own and wait for it.

    Python hears a signal only between its own steps: a call that works in C for an hour cannot be interrupted
    by the thread that made it.

    Args:
        work: what may take long.
        seconds: to wait at most; None waits as long as it takes.
        stop: asks the work to end, when nobody waits for it any more. Work that does not listen ends with
            the process.

    Raises:
        TimeoutError: it was not done in time.
        Exception: whatever `work` raises.
    """
    if seconds is None and threading.current_thread() is not threading.main_thread():
        return work()  # signals come to the main thread alone
    future: Future[T] = Future()
    thread = threading.Thread(target=_fulfil, args=(future, work), daemon=True)
    _RUNNING[thread] = stop
    if _LEAVING.is_set():  # a process whose C code begins to work while it ends would crash
        raise SystemExit
    try:
        thread.start()
        return future.result(seconds)
    except BaseException:  # also while the thread starts: then cancelled work never begins
        if not (future.done() or future.cancel()):
            _stop([thread])
        raise


def stop_all() -> bool:
    """Ask all work to stop, for a process that is about to end, and return whether it has.

    A process whose C code still works crashes as it ends by itself: then it should call `os._exit`.
    """
    return _stop(list(_RUNNING))


def stop_for_good() -> bool:
    """Let no work begin any more, and stop what runs; see `stop_all`."""
    _LEAVING.set()
    return stop_all()


atexit.register(stop_for_good)


def _stop(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        if stop := _RUNNING.get(thread):
            stop()
    end = time.monotonic() + END_SECONDS
    for thread in threads:
        with suppress(RuntimeError):  # it has not started, and will not work
            thread.join(max(0.0, end - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _fulfil(future: "Future[T]", work: Callable[[], T]) -> None:
    try:
        if future.set_running_or_notify_cancel():
            future.set_result(work())
    except BaseException as error:  # whoever waits raises it
        future.set_exception(error)
    finally:
        _RUNNING.pop(threading.current_thread(), None)
