"""Vectors of queries: kept for those that were asked before, and encoded together for those that come at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from germane.inference.encoding import Vectors
from germane.judges.two_tower import TwoTower
from germane.serve.metrics import Metrics

BATCH = 16


class QueryEncoder:
    """The vectors of one student's queries. Nobody waits for a batch to fill: what waits when a thread is free is one.

    most: queries that are encoded together. Of int8 it is one: activations are scaled by what stands in a batch, and a
    grade must not depend on who else asks. Such a query is begun by whoever asks, without a thread of ours to wake up; of the
    others, two requests for one query at the same time encode it once.
    """

    def __init__(self, student: TwoTower, metrics: Metrics, *, cache: int = 20_000) -> None:
        self._student, self._metrics, self._size = student, metrics, cache
        self.most = 1 if student.engine == "onnx-int8" else BATCH
        self._kept: OrderedDict[str, Vectors] = OrderedDict()
        self._waiting: dict[str, Future[Vectors]] = {}
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._lock, self._closed = Lock(), False
        if self.most > 1:
            Thread(target=self._work, name="germane-query", daemon=True).start()

    def submit(self, query: str) -> Callable[[], Vectors]:
        """What waits for the query's vector (d,), which is being encoded; nobody has to wait for it."""
        with self._lock:
            vector = self._kept.get(query)
            if vector is not None:
                self._kept.move_to_end(query)
                found, how = None, "hit"
            else:
                found = self._waiting.get(query)
                how = "miss" if found is None else "shared"
                if found is None and self.most > 1 and not self._closed:
                    found = self._waiting[query] = Future()
                    self._queue.put(query)
        self._metrics.cache.labels(how).inc()
        if vector is not None:
            return lambda: vector
        if found is not None:
            return found.result
        if self.most > 1:  # a request that began before a new generation took over
            return lambda: self._student.encode_queries([query])[0]
        self._metrics.batch.observe(1)
        begun = self._student.begin_query(query)

        def waited() -> Vectors:
            made = begun()
            with self._lock:
                self._keep(query, made)
            return made

        return waited

    def close(self) -> None:
        """Ends the thread, once what waits is done."""
        with self._lock:
            self._closed = True
            self._queue.put(None)

    def _work(self) -> None:
        while (query := self._queue.get()) is not None:
            queries = [query]
            while len(queries) < self.most:
                try:
                    more = self._queue.get_nowait()
                except Empty:
                    break
                if more is None:
                    self._queue.put(None)
                    break
                queries.append(more)
            self._encode(queries)

    def _encode(self, queries: list[str]) -> None:
        self._metrics.batch.observe(len(queries))
        try:
            vectors, problem = self._student.encode_queries(queries), None
        except Exception as fault:  # whoever waits is told
            vectors, problem = None, fault
        with self._lock:
            waiting = [self._waiting.pop(query) for query in queries]
            if vectors is not None:
                for query, vector in zip(queries, vectors, strict=True):
                    self._keep(query, vector)
        for i, future in enumerate(waiting):
            if problem is not None:
                future.set_exception(problem)
            elif vectors is not None:
                future.set_result(vectors[i])

    def _keep(self, query: str, vector: Vectors) -> None:
        self._kept[query] = vector
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
