"""Several rankings as one, by reciprocal rank fusion: of engines, or of runs that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, Any

from germane import store
from germane.engines.results import Failure, Found, as_run, asked, best
from germane.types import InputError, Run

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.engines import Engine

CONSTANT = 60
"""What is added to a rank: the value that Cormack, Clarke and Buettcher found to serve, and since then the usual one."""

DEPTH = 100
"""How far each engine's own list is read."""


def fuse(
    runs: Sequence[pa.Table], *, k: int = 100, constant: float = CONSTANT, queries: Sequence[str] | None = None
) -> pa.Table:
    """The run of the sums of 1 / (constant + rank) over `runs` (two or more), at most k documents a query.

    Ranks are made from scores as the ranking rule says, so scores may be on any scale. A list without a document adds
    nothing to it. The order of the runs does not matter. queries: these ids, in this order; by default all, as they come.

    Source: Cormack, Clarke and Buettcher (2009), SIGIR, Reciprocal rank fusion outperforms Condorcet.
    Raises: InputError for fewer than two runs, a document that is twice in a query, and a constant below 0.
    """
    if len(runs) < 2:
        raise InputError(f"fusion takes two rankings or more, and there {'is 1' if runs else 'are 0'}")
    if not constant >= 0:
        raise InputError(f"constant={constant}: what is added to a rank is 0 or more, usually {CONSTANT}")
    parts: dict[str, dict[str, list[float]]] = {query_id: {} for query_id in queries or ()}
    for run in runs:
        ranked = store.rank(run)
        for query_id, doc_id, rank in zip(*(ranked[c].to_pylist() for c in ("query_id", "doc_id", "rank")), strict=True):
            if query_id in parts or queries is None:
                parts.setdefault(query_id, {}).setdefault(doc_id, []).append(1 / (constant + rank))
    found: list[Found] = []
    for docs in parts.values():
        found.append(best(list(docs), [fsum(terms) for terms in docs.values()], k))
    return as_run(list(parts), found)


class Hybrid:
    """The rankings of two or more engines, fused. depth: how far each is read, k at least; constant: see `fuse`."""

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        constant: float = CONSTANT,
        depth: int = DEPTH,
        name: str | None = None,
    ) -> None:
        if len(engines) < 2:
            raise InputError(f"hybrid takes two engines or more, found {len(engines)}")
        if depth < 1:
            raise InputError(f"depth={depth}: each ranking is read at least one document deep")
        self.engines, self.constant, self.depth = tuple(engines), constant, depth
        self.name = name or "RRF of " + " and ".join(engine.name for engine in engines)
        self.failures: tuple[Failure, ...] = ()

    @property
    def origin(self) -> Mapping[str, Any]:
        parts = [dict(engine.origin) for engine in self.engines]
        models = [model for part in parts for model in part.get("models", ())]
        return fused_origin(parts, self.constant, models) | {"depth": self.depth}

    def search(self, queries: pa.Table, *, k: int = 100, candidates: pa.Table | None = None) -> pa.Table:
        """A run of at most k documents a query, in the order of the queries. candidates: rank each query's pairs there alone.

        A query that one of the engines failed has no results, and is among `failures`: half of a fusion is another ranking.
        """
        ids, _ = asked(queries, k)
        more: dict[str, Any] = {} if candidates is None else {"candidates": candidates}
        deep = max(k, self.depth) if candidates is None else max(k, self.depth, candidates.num_rows)
        runs: list[pa.Table] = []
        failed: dict[str, Failure] = {}
        for engine in self.engines:
            runs.append(engine.search(queries, k=deep, **more))
            failed |= {failure.query_id: failure for failure in getattr(engine, "failures", ())}
        self.failures = tuple(failed.values())
        return fuse(runs, k=k, constant=self.constant, queries=[query_id for query_id in ids if query_id not in failed])


class Fusion:
    """Runs that are there as an engine: it fuses them, and searches nothing."""

    def __init__(self, runs: Sequence[Run], *, constant: float = CONSTANT) -> None:
        self.runs, self.constant = tuple(runs), constant
        self.name = "RRF of " + " and ".join(run.name for run in runs)

    @property
    def origin(self) -> Mapping[str, Any]:
        parts = [{"run": run.name, **{k: v for k, v in run.origin.items() if k != "collected"}} for run in self.runs]
        models = [str(model) for run in self.runs for model in run.origin.get("models", ())]
        return fused_origin(parts, self.constant, models)

    def search(self, queries: pa.Table, *, k: int = 100) -> pa.Table:
        """The fusion of what the runs have of these queries.

        Raises: InputError for a query that failed in one of them: half of a fusion is another ranking.
        """
        ids = [str(query_id) for query_id in queries["query_id"].to_pylist()]
        for run in self.runs:
            lost = {failure["query_id"] for failure in run.origin.get("failed", ())} & set(ids)
            if lost:
                raise InputError(f"query {min(lost)!r} failed when {run.name} was collected: collect that run again")
        return fuse([run.table for run in self.runs], k=k, constant=self.constant, queries=ids)


def fused_origin(parts: Sequence[Mapping[str, Any]], constant: float, models: Sequence[str]) -> dict[str, Any]:
    """What a fused run's manifest says of it: how, of what, and which models ranked any part of it."""
    said = {"engine": "reciprocal rank fusion", "constant": constant, "of": [dict(part) for part in parts]}
    return said | ({"models": list(dict.fromkeys(models))} if models else {})
