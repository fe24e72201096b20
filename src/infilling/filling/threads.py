"""Work on several threads: numpy lets Python's lock go while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

from infilling.machine import count_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING = 2  # items for each thread that are begun before their results are asked for


def work_on(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the result of each item, in order; on as many threads as this process may use.

    Items are taken as they are needed, so that few are held at once. What is done for one item must not read
    what another writes: then the results do not depend on the number of threads.

    >>> list(work_on(abs, range(-3, 1)))
    [3, 2, 1, 0]
    """
    threads = count_threads()
    if threads == 1:
        yield from map(work, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # not for fills that are done without

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= WAITING * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Beside(Protocol):
    """Begins work on another thread; with one thread, it is done when its result is asked for."""

    def __call__(self, work: Callable[[], Result], /) -> Callable[[], Result]:
        """Return what waits for the result of the work, and returns it."""


def wait_to_work(work: Callable[[], Result]) -> Callable[[], Result]:
    """Return the work itself: a `Beside` without other threads."""
    return work


def work_behind(
    lead: Callable[[Item, Beside], Callable[[], Result]],
    items: Iterable[Item],
    clash: Callable[[Item, Item], bool],
) -> Iterator[Result]:
    """Yield the result of each item, in order: this thread leads, others do the rest behind it.

    Args:
        lead: begins an item, and returns what is left to be done for it. It may have a part of that done
            beside itself, whose result is then for the rest alone to ask for.
        items: taken as they are needed.
        clash: whether one of two items reads what is written for the other. The later one of such a pair is
            begun when the earlier one is done: the results are those of one item after the other.

    >>> list(work_behind(lambda item, beside: lambda: item + 1, [1, 2, 3], lambda one, other: True))
    [2, 3, 4]
    """
    threads = count_threads()
    if threads == 1:
        for item in items:
            yield lead(item, wait_to_work)()
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:

        def begin(work: Callable[[], Any]) -> Future[Any]:
            return pool.submit(copy_context().run, work)

        for item in items:
            while len(waiting) >= WAITING * threads or any(clash(item, other) for other, _ in waiting):
                yield waiting.popleft()[1].result()
            # What is begun beside the lead is begun before the rest, which may wait for it.
            waiting.append((item, begin(lead(item, lambda work: begin(work).result))))
        while waiting:
            yield waiting.popleft()[1].result()
