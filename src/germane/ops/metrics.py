"""What services count, as Prometheus reads it: requests by route, in one process or several, and the text of it all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SHARED = "PROMETHEUS_MULTIPROC_DIR"


class Requests:
    """Requests of one application. Nothing that a client sent is a label: routes are names of ours."""

    def __init__(self, registry: Any = None) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry: Any = CollectorRegistry() if registry is None else registry
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("germane_requests", "Requests by route and status.", ["route", "code"], **made)
        self.seconds = Histogram("germane_request_seconds", "Seconds of a request.", ["route"], buckets=SECONDS, **made)

    def count(self, route: str, code: int, seconds: float) -> None:
        """One more request of a route, which took so long."""
        self.requests.labels(route, str(code)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self, *more: Any) -> bytes:
        """All of them in Prometheus' text format, of all processes that share them. more: collectors of the moment."""
        from prometheus_client import CollectorRegistry, generate_latest

        if not more and not os.environ.get(_SHARED):
            return bytes(generate_latest(self.registry))
        whole = CollectorRegistry()
        if os.environ.get(_SHARED):
            from prometheus_client.multiprocess import MultiProcessCollector

            MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
        else:
            whole.register(self.registry)
        for collector in more:
            whole.register(collector)
        return bytes(generate_latest(whole))


@contextmanager
def shared(processes: int) -> Iterator[None]:
    """A block in which so many processes count together, in files that are gone after it.

    It has to begin before anything is counted.
    """
    if processes < 2 or os.environ.get(_SHARED):
        yield
        return
    folder = tempfile.mkdtemp(prefix="germane-counts-")
    os.environ[_SHARED] = folder
    mine = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == mine:
            del os.environ[_SHARED]
            shutil.rmtree(folder, ignore_errors=True)
