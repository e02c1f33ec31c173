"""A boost fitted on judged queries: how the curve runs, and how strong it is, by a metric that people's grades give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import metrics
from germane.chance import keys, uniform
from germane.metrics import Judged, Lists
from germane.signal.boost import Boost, BoostRule, Curve, checked, isotonic
from germane.signal.deciding import ALL, Decides, Flags, Floats, Ints, nothing, order
from germane.stats.means import stratified_difference, stratified_mean
from germane.stats.moments import Moments
from germane.types import Estimate, InputError, Scale

STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""What is tried: standard deviations of the ranker's score inside a query for a gain of 1."""

LEAST_QUERIES = 20
"""Fewer judged queries choose no strength."""


class Page(NamedTuple):
    """One query's results as the ranker ordered them: ids, scores (n,), predictions, and people's grades (-1 = unjudged).

    ideal: all grades that people gave for the query.
    """

    query_id: str
    doc_ids: tuple[str, ...]
    score: Floats
    probs: Floats
    gain: Floats
    known: Flags
    grade: NDArray[np.int64]
    ideal: tuple[int, ...]
    segment: str = ALL


@dataclass(frozen=True)
class Fitted:
    """A boost, and what it does to queries that had no part in fitting it. strengths: tried -> mean of the metric, in sample.

    found: "control" and "boosted" (levels), "difference" (paired), out of fold.
    """

    boost: Boost
    unit: float
    strengths: dict[float, float]
    found: dict[str, Estimate]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Fit:
    """What is asked of a fit. rules: in standard deviations of the ranker's score inside a query."""

    metric: str = "sDCG@25"
    most: int | None = 10
    rules: tuple[BoostRule, ...] = ()
    strengths: tuple[float, ...] = STRENGTHS
    folds: int = 5
    level: float = 0.95


def fit(pages: Sequence[Page], scale: Scale, asked: Fit) -> Fitted:
    """The boost whose strength gives the best mean of the metric on these queries, and its worth out of fold.

    Only results that people judged are ranked: what nobody judged says nothing of an order.
    Raises: InputError for too few judged queries, a rule that cannot be, and rankers' scores that never differ.
    """
    judged = [_judged(page) for page in pages]
    judged = [page for page in judged if page.grade.size > 1]
    if len(judged) < LEAST_QUERIES:
        raise InputError(f"{len(judged)} queries of the run have two judged results: {LEAST_QUERIES} are the least to fit on")
    metric = metrics.Metric.parse(asked.metric).with_gains(scale.gains)
    made, unit, tried = _fitted(judged, scale, asked, metric)
    control = _values(judged, None, metric, scale)
    boosted = np.zeros(len(judged))
    fold = np.argsort(np.argsort(uniform(0, keys(page.query_id for page in judged)))) % asked.folds
    for at in range(asked.folds):
        learnt = [page for page, f in zip(judged, fold.tolist(), strict=True) if f != at]
        held = [page for page, f in zip(judged, fold.tolist(), strict=True) if f == at]
        one = _fitted(learnt, scale, asked, metric)[0]
        boosted[fold == at] = _values(held, one, metric, scale)
    difference = paired(boosted - control, level=asked.level)
    found = {"control": _level(control, asked.level), "boosted": _level(boosted, asked.level), "difference": difference}
    notes = []
    if made.strength == 0 and not made.rules:
        notes.append("no strength is better than none on these queries: this boost does nothing")
    elif difference.low <= 0:
        notes.append("out of fold the boost is not shown to help: the interval of its difference holds 0")
    if difference.caveat:
        notes.append(difference.caveat)
    return Fitted(made, unit, tried, found, tuple(notes))


def paired(differences: Floats, *, level: float = 0.95) -> Estimate:
    """The mean paired difference over queries, as `stats.means.stratified_difference` has it."""
    return stratified_difference({"all": Moments.of(differences)}, {"all": float(differences.size)}, level=level)


def shown(page: Page, policy: Decides | None) -> Ints:
    """The places of a page's documents in the order in which the policy shows them; None: as the ranker did."""
    decided = nothing(page.score.size)
    if policy is not None:
        decided = policy.decide(segment=page.segment, probs=page.probs, gain=page.gain, known=page.known)
    return order(page.score, decided)


def values(pages: Sequence[Page], policy: Decides | None, metric: str, scale: Scale) -> Floats:
    """The metric of each page (queries,) as the policy shows it, by people's grades; unjudged results count as gain 0."""
    return _values(pages, policy, metrics.Metric.parse(metric).with_gains(scale.gains), scale)


def _values(pages: Sequence[Page], policy: Decides | None, metric: metrics.Metric, scale: Scale) -> Floats:
    lists = [page.grade[shown(page, policy)].tolist() for page in pages]
    rows = Lists.of([[None if grade < 0 else grade for grade in row] for row in lists])
    judged = Judged.of([page.ideal for page in pages])
    return next(iter(metrics.measure([metric], rows, judged, gains=scale.gains).values()))


def _fitted(pages: Sequence[Page], scale: Scale, asked: Fit, metric: metrics.Metric) -> tuple[Boost, float, dict[float, float]]:
    """The best boost on these queries, the unit of its strength, and the mean of the metric at each strength."""
    unit = float(np.median([page.score.std() for page in pages]))
    if unit == 0:
        raise InputError("the ranker's scores do not differ inside a query: there is no unit to measure a boost in")
    gains = np.asarray(scale.gains) / scale.gains[-1]
    x = np.concatenate([page.gain[page.known] for page in pages])
    y = np.concatenate([gains[page.grade[page.known]] for page in pages])
    if not x.size:
        raise InputError("none of the judged results has a prediction: are query_id and doc_id the same in both?")
    curve = isotonic(x, y)
    middle = float(np.mean(curve(x)))  # an unknown document counts as an average one
    curve = Curve(curve.gain, tuple(value - middle for value in curve.value))
    rules = tuple(checked(rule, len(scale.labels))._replace(by=rule.by * unit) for rule in asked.rules)
    plain = Boost(curve, 0.0, rules, len(scale.labels), asked.most, scale.labels)
    tried = {}
    for strength in asked.strengths:
        one = replace(plain, strength=strength * unit)
        tried[strength] = float(np.nanmean(_values(pages, one, metric, scale)))
    best = max(tried, key=lambda strength: (round(tried[strength], 12), -strength))
    return replace(plain, strength=best * unit), unit, tried


def _judged(page: Page) -> Page:
    rows = page.grade >= 0
    docs = tuple(doc for doc, there in zip(page.doc_ids, rows.tolist(), strict=True) if there)
    return page._replace(
        doc_ids=docs,
        score=page.score[rows],
        probs=page.probs[rows],
        gain=page.gain[rows],
        known=page.known[rows],
        grade=page.grade[rows],
    )


def _level(found: Floats, level: float) -> Estimate:
    return stratified_mean({"all": Moments.of(found)}, {"all": float(found.size)}, level=level)
