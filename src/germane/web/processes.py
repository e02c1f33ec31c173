"""Some processes that do the same, one a core: begun together, replaced where one falls over, ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

PAUSE = 1.0
"""Seconds before a process that fell over is begun again, so that a fault at every start takes no core."""


def keep(work: Callable[[], None], count: int, *, ready: Callable[[], None] = lambda: None) -> None:
    """Runs `work` in so many processes until this one is told to stop (SIGTERM, SIGINT), and then waits for them.

    They end too where this one is killed. A process that falls over is begun again.
    """
    children: set[int] = set()
    over = threading.Event()
    held, mine = os.pipe()  # nothing is ever written: its end is ours alone, and the children see it close

    def stop(*_: Any) -> None:
        over.set()
        for child in list(children):
            _told(child)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for _ in range(count):
            children.add(_begun(work, held, mine))
        ready()
        while children:
            child, _status = os.wait()
            children.discard(child)
            if not over.is_set():
                over.wait(PAUSE)
            if not over.is_set():
                children.add(_begun(work, held, mine))
    finally:
        for child in children:
            _told(child)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(held)
        os.close(mine)


def cores() -> int:
    """Processor cores that this process may use; 1 where processes cannot be forked."""
    if not hasattr(os, "fork"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begun(work: Callable[[], None], held: int, mine: int) -> int:
    """The number of a new process that does the work and ends."""
    if child := os.fork():
        return child
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(mine)
        threading.Thread(target=_orphaned, args=(held,), daemon=True).start()
        work()
    except BaseException:  # a fork never goes back into its parent's code
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _orphaned(held: int) -> None:
    """Ends this process once the one that began it is not there any more."""
    os.read(held, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)  # requests that are answered now have this long
    os._exit(1)


def _told(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)
