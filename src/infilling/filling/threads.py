"""Work on several threads: numpy lets Python's lock go while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
