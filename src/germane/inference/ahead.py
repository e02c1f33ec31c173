"""Work that is done ahead of its turn, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()


def ahead(items: Iterable[T], most: int = 2) -> Iterator[T]:
    """The same items in the same order, made in another thread while this one is busy, at most so many before their turn.

    What goes wrong there is raised here. The thread ends when this iterator is closed or forgotten.

    >>> list(ahead(range(3)))
    [0, 1, 2]
    """
    made: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(most)
    over = threading.Event()

    def put(item: Any, problem: BaseException | None = None) -> None:
        while not over.is_set():
            try:
                return made.put((item, problem), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if over.is_set():
                    return
            put(_END)
        except BaseException as problem:  # it is raised where the items are asked for
            put(_END, problem)

    thread = threading.Thread(target=work, name="germane-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, problem = made.get()
            if problem is not None:
                raise problem
            if item is _END:
                return
            yield item
    finally:
        over.set()
        thread.join()
