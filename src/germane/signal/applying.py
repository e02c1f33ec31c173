"""A policy on a run: what of it is left, in which order, and what the new run says of the models that it used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.signal.deciding import ALL, Decides, order
from germane.signal.evidence import Predictions, Whose
from germane.types import InputError, Run

if TYPE_CHECKING:
    import pyarrow as pa

FOUND = ("path", "sha256", "rows", "format", "verb", "attribution")
"""What a run's origin says of the file that it was read from, and not of how it was made."""


class Dropped(NamedTuple):
    """A result that was left out: where it stood, what the judge expected of it, and why."""

    query_id: str
    doc_id: str
    rank: int
    gain: float
    reason: str


class Applied(NamedTuple):
    """A run under a policy. table: query_id, doc_id, score, rank. results, queries: before. dropped: what was left out.

    moved: results that stand elsewhere among those that are left. floored: queries that kept something only for the floor.
    unknown: results without a prediction, which are never left out. by_segment: segment -> (results, dropped).
    """

    table: pa.Table
    results: int
    queries: int
    dropped: tuple[Dropped, ...]
    moved: int
    floored: int
    unknown: int
    emptied: int
    by_segment: dict[str, tuple[int, int]]


def apply(run: Run, predicted: Predictions, policy: Decides, segments: Mapping[str, str]) -> Applied:
    """The run as the policy shows it. Scores become places from the bottom, since a bounded move has no score of its own.

    Raises: InputError where no result of the run has a prediction.
    """
    import pyarrow as pa

    rows: dict[str, list[Any]] = {name: [] for name in ("query_id", "doc_id", "score", "rank")}
    dropped: list[Dropped] = []
    moved = floored = unknown = emptied = results = 0
    by_segment: dict[str, tuple[int, int]] = {}
    lists = pages(run.table)
    for query, (docs, scores) in lists.items():
        probs, gain, known = predicted.of(query, docs)
        name = segments.get(query, ALL)
        said = policy.decide(segment=name, probs=probs, gain=gain, known=known)
        shown = order(scores, said)
        out = np.flatnonzero(~said.keep)
        dropped += [Dropped(query, docs[i], i + 1, float(gain[i]), said.reason[i]) for i in out.tolist()]
        moved += int((shown != np.sort(shown)).sum())
        floored += any(reason.startswith("kept") for reason in said.reason)
        unknown += int((~known).sum())
        emptied += not shown.size
        results += len(docs)
        before = by_segment.get(name, (0, 0))
        by_segment[name] = (before[0] + len(docs), before[1] + out.size)
        rows["query_id"] += [query] * shown.size
        rows["doc_id"] += [docs[i] for i in shown.tolist()]
        rows["score"] += range(shown.size, 0, -1)
        rows["rank"] += range(1, shown.size + 1)
    if results == unknown:
        raise InputError(
            f"none of the {results:,} results of {run.name} has a prediction: are query_id and doc_id those of the judgments?"
        )
    types = {"query_id": pa.string(), "doc_id": pa.string(), "score": pa.float64(), "rank": pa.int32()}
    table = pa.table({name: pa.array(rows[name], kind) for name, kind in types.items()})
    return Applied(table, results, len(lists), tuple(dropped), moved, floored, unknown, emptied, by_segment)


def pages(run: pa.Table) -> dict[str, tuple[list[str], Any]]:
    """query_id -> its documents and scores (n,), best first, of a ranked run."""
    found: dict[str, tuple[list[str], list[float]]] = {}
    columns = (run[name].to_pylist() for name in ("query_id", "doc_id", "score"))
    for query, doc, score in zip(*columns, strict=True):
        docs, scores = found.setdefault(str(query), ([], []))
        docs.append(str(doc))
        scores.append(float(score))
    return {query: (docs, np.array(scores, dtype=np.float64)) for query, (docs, scores) in found.items()}


def origin(run: Run, whose: Whose, policy: Mapping[str, Any], simulated: bool = False) -> dict[str, Any]:
    """What the new run says of itself: where it comes from, and under `models` every fingerprint that it now rests on.

    `compare` refuses a judge of that line: it would be marking its own work.
    """
    kept = {name: value for name, value in run.origin.items() if name not in FOUND}
    before: Sequence[Any] = kept.get("models", ())
    models = list(dict.fromkeys([*map(str, before), *whose.models]))
    used = [*kept.get("signal", ()), dict(policy)] if isinstance(kept.get("signal", ()), list | tuple) else [dict(policy)]
    return {**kept, "models": models, "signal": used} | ({"simulated": True} if simulated else {})
