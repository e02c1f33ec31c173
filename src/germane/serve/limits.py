"""What a service gives at most: time, documents, bytes, requests at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock

from germane.types import InputError


@dataclass(frozen=True)
class Limits:
    """The bounds of a service.

    deadline_ms: from a whole request to its answer; past it, the answer is "no signal". most_docs: documents of a request.
    most_bytes: of a body. queue: requests that wait, beyond those that are worked on. threads: requests that are worked on at
    once. body_s, send_s: seconds that a client may take to send a request, and to take an answer. cache: queries whose vectors
    are kept, some 2 KB each.
    """

    deadline_ms: float = 100.0
    most_docs: int = 2_000
    most_bytes: int = 8 << 20
    queue: int = 32
    threads: int = 2
    body_s: float = 5.0
    send_s: float = 10.0
    cache: int = 20_000

    def __post_init__(self) -> None:
        for name in ("deadline_ms", "most_docs", "most_bytes", "threads", "body_s", "send_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, found {getattr(self, name)}")
        if self.queue < 0 or self.cache < 0:
            raise InputError("queue and cache must not be negative")


class Deadline:
    """A moment after which nobody waits for an answer any more."""

    def __init__(self, milliseconds: float) -> None:
        self._end = time.perf_counter() + milliseconds / 1000

    @property
    def left(self) -> float:
        """Seconds until it, 0 past it."""
        return max(self._end - time.perf_counter(), 0.0)

    @property
    def passed(self) -> bool:
        return time.perf_counter() >= self._end


class Places:
    """Places for requests: those that are worked on, and those that wait. Who finds none is turned away at once."""

    def __init__(self, most: int) -> None:
        self.most, self.taken, self._lock = most, 0, Lock()

    def take(self) -> bool:
        """True if there was a place, which is now taken."""
        with self._lock:
            if self.taken >= self.most:
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        with self._lock:
            self.taken -= 1

    @property
    def full(self) -> bool:
        return self.taken >= self.most
