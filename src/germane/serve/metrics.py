"""What a service counts, as Prometheus reads it. A registry for each application, so that two do not mix."""

from __future__ import annotations

from typing import Any

from germane.ops.metrics import Requests


class Metrics:
    """Counters of one application. Nothing that a client sent is a label: routes and reasons are names of ours."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self.of_requests = Requests()
        self.registry = self.of_requests.registry
        made: dict[str, Any] = {"registry": self.registry}
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
        return self.of_requests.text()
