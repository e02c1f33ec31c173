"""What a service counts, as Prometheus reads it. A registry for each application, so that two do not mix."""

from __future__ import annotations

from typing import Any

SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """Counters of one application. Nothing that a client sent is a label: routes and reasons are names of ours."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry: Any = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("germane_requests", "Requests by route and status.", ["route", "code"], **made)
        self.seconds = Histogram("germane_request_seconds", "Seconds of a request.", ["route"], buckets=SECONDS, **made)
        self.no_signal = Counter("germane_no_signal", "Answers without a signal, by reason.", ["reason"], **made)
        self.cache = Counter("germane_query_cache", "Vectors of queries: hit, miss or shared.", ["result"], **made)
        self.batch = Histogram("germane_encode_batch", "Queries encoded together.", buckets=(1, 2, 4, 8, 16, 32), **made)
        self.scored = Counter("germane_documents_scored", "Documents by whether they were known.", ["known"], **made)
        self.documents = Gauge("germane_documents", "Texts with a vector in the generation that answers.", **made)
        self.generation = Gauge("germane_generation", "The generation that answers.", **made)
        self.reloads = Counter("germane_reloads", "New generations: loaded, or refused.", ["result"], **made)
        self.healthy = Gauge("germane_reload_ok", "0 if the last generation was refused and an older one answers.", **made)
        self.places = Gauge("germane_requests_inside", "Requests that are worked on or wait.", **made)
        for result in ("hit", "miss", "shared"):
            self.cache.labels(result)
        for reason in ("deadline", "empty_query", "no_known_documents"):
            self.no_signal.labels(reason)
        for known in ("true", "false"):
            self.scored.labels(known)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self.registry))
