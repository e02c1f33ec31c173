"""From a day's lists and their grades to the metrics of each query, as `monitor` takes them. No answer is not zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import metrics
from germane.monitor.days import Day, Lists
from germane.types import Scale
from germane.watching.plan import Plan

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
LEAST_JUDGED = 0.8
"""Of a list's weight that must have a grade, so that its query has an answer."""


def names(scale: Scale, k: int) -> list[str]:
    """The metrics that are watched, the first of them first.

    >>> from germane.scales import get
    >>> names(get("three-level"), 25)[:2]
    ['sdcg@25', 'relevant@25']
    """
    return [f"sdcg@{k}", f"relevant@{k}", *(f"grade@{k}:{label}" for label in scale.labels)]


def measured(grades: Sequence[Sequence[int | None]], scale: Scale, k: int, relevant: int) -> dict[str, Floats]:
    """Each metric of each query, (n,), in 0 to 1; NaN where there is no answer.

    grades: of each list, in order, None where a document has no grade. Such documents are left out, and the weight of the
    others is raised: the metric is that of the documents with a grade. A list of whose weight less than LEAST_JUDGED has a
    grade has no answer. An empty list has an sDCG of 0, and no shares.

    >>> from germane.scales import get
    >>> found = measured([[2, 0], [2, None], []], get("three-level"), 2, 2)
    >>> {name: value.round(3).tolist() for name, value in list(found.items())[:2]}
    {'sdcg@2': [0.613, nan, 0.0], 'relevant@2': [0.5, nan, nan]}
    """
    lists = metrics.Lists.of([list(row)[:k] for row in grades])
    asked = [f"sDCG@{k}", f"Judged@{k}", *(f"Share(rel={grade})@{k}" for grade in range(len(scale.labels)))]
    found = list(metrics.measure(asked, lists, gains=scale.gains).values())
    sdcg, judged, shares = found[0], found[1], found[2:]
    weights = metrics.sdcg_weights(k)
    sizes = np.diff(lists.offsets)
    rank = np.arange(lists.offsets[-1]) - np.repeat(lists.offsets[:-1], sizes)
    lost = np.bincount(np.repeat(np.arange(len(sizes)), sizes), weights[rank] * (lists.relevance < 0), len(sizes))
    held = np.bincount(np.repeat(np.arange(len(sizes)), sizes), weights[rank], len(sizes))
    answered = lost <= (1 - LEAST_JUDGED) * held + 1e-12
    with np.errstate(invalid="ignore", divide="ignore"):
        of = [np.where(answered, sdcg / (1 - lost), np.nan)]
        by_grade = [np.where(answered, share / judged, np.nan) for share in shares]
    of.append(np.sum(by_grade[relevant:], axis=0))
    return dict(zip(names(scale, k), [np.clip(values, 0.0, 1.0) for values in (*of, *by_grade)], strict=True))


def day(
    date: str, sample: pa.Table, labels: pa.Table, plan: Plan, *, judge: str, totals: Mapping[str, float]
) -> tuple[Day, Lists]:
    """The day and what it showed. sample: as `drawing.draw` made it, with `query_id`; labels: its judgments. totals: stratum
    -> requests of the day.
    """
    said = _grades(labels)
    ids: list[Any] = sample["query_id"].to_pylist()
    rows: list[Any] = sample["shown"].to_pylist()
    shown = [tuple(docs) for docs in rows]
    grades = [[said.get((query_id, doc), (None, ""))[0] for doc in docs] for query_id, docs in zip(ids, shown, strict=True)]
    best, gains = max(plan.scale.gains), np.asarray(plan.scale.gains)
    worth = [np.array([np.nan if g is None else gains[g] / best for g in row], np.float64) for row in grades]
    names_of = _texts(sample["query"])
    seen = Day(
        date,
        names_of,
        np.asarray(sample["requests"].to_numpy(), np.float64),
        np.asarray(sample["probability"].to_numpy(), np.float64),
        _texts(sample["stratum"]),
        np.asarray(sample["panel"].to_pylist(), np.bool_),
        {name: _texts(sample[name]) for name in plan.segments},
        measured(grades, plan.scale, plan.k, plan.relevant),
        judge,
        plan.scale.version,
        np.asarray(sample["lists"].to_numpy()) > 1 if "lists" in sample.column_names else None,
        totals,
    )
    told = [tuple(said.get((query_id, doc), (None, ""))[1] for doc in docs) for query_id, docs in zip(ids, shown, strict=True)]
    return seen, Lists(names_of, shown, worth, told)


def panel(of: Day, probability: Floats) -> Day:
    """The day's panel alone, each query with its chance of being in it: what day over day is compared. probability: (n,)."""
    rows = of.panel
    return Day(
        of.date,
        of.query[rows],
        of.requests[rows],
        probability[rows],
        of.stratum[rows],
        of.panel[rows],
        {name: values[rows] for name, values in of.segments.items()},
        {name: values[rows] for name, values in of.metrics.items()},
        of.judge,
        of.guide,
        None if of.varied is None else of.varied[rows],
        of.totals,
    )


def totals(facts: Mapping[str, Any]) -> dict[str, float]:
    """Stratum -> requests of the day, from what is kept of a day."""
    return {str(stratum["name"]): float(stratum["requests"]) for stratum in facts.get("strata", ())}


def taken(lists: Lists, rows: Sequence[int]) -> Lists:
    """These rows of lists, in this order."""
    return Lists(
        lists.query[list(rows)],
        [lists.docs[i] for i in rows],
        [lists.gains[i] for i in rows],
        [lists.fingerprint[i] for i in rows] if lists.fingerprint else (),
        None if lists.fresh is None else [lists.fresh[i] for i in rows],
    )


def _grades(labels: pa.Table) -> Mapping[tuple[str, str], tuple[int | None, str]]:
    columns: list[Any] = [labels[name].to_pylist() for name in ("query_id", "doc_id", "relevance", "fingerprint")]
    return {(query, doc): (grade, mark) for query, doc, grade, mark in zip(*columns, strict=True)}


def _texts(column: Any) -> Any:
    return np.asarray([str(text) for text in column.to_pylist()], dtype=np.str_)
