"""Work that is done ahead of its turn, in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def ahead(work: Callable[[T], U], items: Iterable[T], most: int = 2) -> Iterator[U]:
    """work(item) of each item, in order, made in another thread while this one is busy, at most so many before their turn.

    Items are taken in the thread that asks. What goes wrong is raised where the result would have come.

    >>> list(ahead(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    waiting: deque[Future[U]] = deque()
    other = ThreadPoolExecutor(1, thread_name_prefix="germane-ahead")
    try:
        for item in items:
            waiting.append(other.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        other.shutdown(wait=True, cancel_futures=True)
