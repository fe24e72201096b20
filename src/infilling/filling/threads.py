"""Work on several threads: numpy lets Python's lock go while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import TypeVar

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


def work_behind(
    lead: Callable[[Item], Callable[[], Result]], items: Iterable[Item], clash: Callable[[Item, Item], bool]
) -> Iterator[Result]:
    """Yield the result of each item, in order: this thread leads, others do the rest behind it.

    Args:
        lead: begins an item, and returns what is left to be done for it.
        items: taken as they are needed.
        clash: whether one of two items reads what is written for the other. The later one of such a pair is
            begun when the earlier one is done: the results are those of one item after the other.

    >>> list(work_behind(lambda item: lambda: item + 1, [1, 2, 3], lambda one, other: True))
    [2, 3, 4]
    """
    threads = count_threads()
    if threads == 1:
        for item in items:
            yield lead(item)()
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            while len(waiting) >= WAITING * threads or any(clash(item, other) for other, _ in waiting):
                yield waiting.popleft()[1].result()
            waiting.append((item, pool.submit(copy_context().run, lead(item))))
        while waiting:
            yield waiting.popleft()[1].result()
