"""The pairs of a day that people are asked about: drawn by design from what was shown, by grade and over ranks.

The grades that the judge gave are strata, and share the pairs alike: rare grades are seen. Inside a grade the odds are those
of how often a document was shown, and the draw is systematic along the ranks: its odds are exact, and top and bottom are in
it. All numbers are made of seed and day, so that a run that was killed draws the same pairs again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import metrics, store
from germane.registry.draws import Draw, Drawn
from germane.registry.tasks import NewPair
from germane.sampling.unequal import odds_by_size, systematic
from germane.stats.allocation import apportion
from germane.text import fields_of
from germane.watching import files
from germane.watching.drawing import number
from germane.watching.plan import Plan

if TYPE_CHECKING:
    import pyarrow as pa


Floats = NDArray[np.float64]


class Candidate(NamedTuple):
    """A document that was shown to a sampled query, with the judge's grade. weight, part: as of `draws.Drawn`."""

    query_id: str
    query: str
    stratum: str
    doc_id: str
    rank: int
    relevance: int
    fingerprint: str
    weight: float
    part: float


def drawn(plan: Plan, day: date, sample: pa.Table, labels: pa.Table | None, weights: Floats) -> Draw | None:
    """The pairs of a day for people; None where none are asked for, or none has a grade.

    sample: as `drawing.draw` made it, with `query_id`; labels: its judgments. weights: requests that each query stands for.
    """
    if not plan.golden or labels is None:
        return None
    known = candidates(sample, labels, plan.k, weights)
    chances = chosen(known, plan.golden, seed=plan.seed, day=day)
    if not chances:
        return None
    texts = _texts(plan, day, {known[row].doc_id for row in chances})
    pairs = []
    for row, chance in chances.items():
        one = known[row]
        pair = NewPair(one.query_id, one.doc_id, one.query, fields_of(texts.get(one.doc_id, "")), stratum=one.stratum)
        pairs.append(Drawn(pair, one.rank, one.relevance, one.fingerprint, one.weight, chance, one.part))
    return Draw(f"{day:%Y-%m}", plan.scale, plan.seed, tuple(pairs))


def candidates(sample: pa.Table, labels: pa.Table, k: int, weights: Floats) -> list[Candidate]:
    """What may be drawn: every document with a grade, in the order of the sample and of its list. weights: of its queries."""
    said = _said(labels)
    share = metrics.sdcg_weights(k)
    columns: list[Any] = [sample[name].to_pylist() for name in ("query_id", "query", "stratum", "shown")]
    found = []
    for query_id, query, stratum, docs, weight in zip(*columns, weights.tolist(), strict=True):
        graded = [(place, doc, said[query_id, doc]) for place, doc in enumerate(docs[:k]) if (query_id, doc) in said]
        lost = sum(float(share[place]) for place, doc in enumerate(docs[:k]) if (query_id, doc) not in said)
        for place, doc, (grade, fingerprint) in graded:
            part = float(share[place]) / max(1 - lost, 1e-12)
            named = str(query_id), str(query), str(stratum), str(doc), place + 1
            found.append(Candidate(*named, grade, fingerprint, float(weight), part))
    return found


def chosen(known: list[Candidate], n: int, *, seed: int, day: date) -> dict[int, float]:
    """Row -> its chance of being drawn, of at most n rows.

    >>> some = [Candidate(f"q{i}", "hat", "head", "d", i % 5 + 1, int(i > 97), "f", 1.0, 0.2) for i in range(100)]
    >>> rows = chosen(some, 10, seed=1, day=date(2026, 3, 2))
    >>> len(rows), sum(rows[i] == 1.0 for i in (98, 99))
    (10, 2)
    """
    grades = sorted({one.relevance for one in known})
    if not grades:
        return {}
    if n < len(grades):  # fewer than one a grade: all are one stratum, else some pairs had no chance
        grades, rows = [-1], {-1: list(range(len(known)))}
    else:
        rows = {grade: [i for i, one in enumerate(known) if one.relevance == grade] for grade in grades}
    size = np.array([len(rows[grade]) for grade in grades], dtype=np.int64)
    shares = np.full(len(grades), 1 / len(grades))
    each = apportion(shares, int(min(n, size.sum())), low=np.minimum(size, 1), high=size)
    found: dict[int, float] = {}
    for grade, take in zip(grades, each.tolist(), strict=True):
        inside = rows[grade]
        odds = odds_by_size([known[i].weight for i in inside], take)
        order = [known[i].rank + number(seed, "golden", day, known[i].query, known[i].doc_id) for i in inside]
        start = number(seed, "golden start", day, grade)
        found |= {inside[j]: float(odds[j]) for j in systematic(odds, order, start).tolist()}
    return found


def told(draw: Draw | None) -> dict[str, Any]:
    """What a day's facts say of it."""
    pairs = () if draw is None else draw.pairs
    counts = Counter(one.relevance for one in pairs)
    return {"drawn": len(pairs), "by_grade": [counts[grade] for grade in range(len(draw.scale.labels))] if draw else []}


def _said(labels: pa.Table) -> Mapping[tuple[str, str], tuple[int, str]]:
    columns: list[Any] = [labels[name].to_pylist() for name in ("query_id", "doc_id", "relevance", "fingerprint")]
    return {(query, doc): (grade, mark) for query, doc, grade, mark in zip(*columns, strict=True) if grade is not None}


def _texts(plan: Plan, day: date, docs: set[str]) -> dict[str, str]:
    """The documents' texts, as the judge read them."""
    table = store.read_parquet(files.folder(plan, day) / files.PAIRS)
    rows = zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True)
    return {str(doc): str(text) for doc, text in rows if doc in docs}
