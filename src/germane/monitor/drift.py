"""What moves without an alert: how labels and queries are distributed, new words, and agreement with people over time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.monitor.days import Day
from germane.stats.agreement import agreement_within, cohen_kappa, exact_agreement
from germane.stats.clustered import Undefined, mean
from germane.stats.means import t_quantile
from germane.stats.ratios import domain_means
from germane.text.terms import words
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]
KINDS = 10
"""The most kinds whose parts are all compared; more, and the rarest are taken together."""


class Drifted(NamedTuple):
    """One measure of drift. about: what, as "labels" or "language"."""

    about: str
    estimate: Estimate


class Agreed(NamedTuple):
    """A judge's agreement with people on fresh golden samples of one date under one guide version."""

    date: str
    guide: str
    measure: str
    estimate: Estimate


def moved(before: Day, after: Day, column: str, *, level: float = 0.95) -> Estimate:
    """The share of requests (0 to 1) that would have to change its value of a segment column to get from one day to the other.

    Total variation: half the sum of absolute differences of shares. Its interval holds at once for every set of values:
    the distance is the largest difference of any set's share, so the limits are the largest of their limits (Bonferroni).
    What chance alone moves does not count: the low limit is 0 unless some set of values moved by more than its noise.
    Beyond `KINDS` values the rarest are one: what moves among them is not seen.
    Source: total variation as a supremum over sets, Tsybakov (2009), section 2.4; simultaneous limits, Bonferroni.
    Raises: InputError for a day without the column, or without requests.

    >>> def day(date, markets):
    ...     n = len(markets)
    ...     return Day(date, np.arange(n).astype(str), np.ones(n), np.ones(n), np.array(["all"] * n), np.ones(n, bool),
    ...                {"market": np.array(markets)})
    >>> e = moved(day("2026-03-01", ["de"] * 50 + ["fr"] * 50), day("2026-03-02", ["de"] * 80 + ["fr"] * 20), "market")
    >>> round(e.value, 3), round(e.low, 3), round(e.high, 3)
    (0.3, 0.174, 0.426)
    """
    kinds: dict[str, float] = {}
    for day in (before, after):
        if column not in day.segments:
            raise InputError(f"day {day.date} has no column {column!r}: it has {', '.join(day.segments) or 'none'}")
        for kind, weight in zip(np.asarray(day.segments[column]).tolist(), day.weights.tolist(), strict=True):
            kinds[kind] = kinds.get(kind, 0.0) + weight
    names = sorted(kinds, key=lambda kind: -kinds[kind])
    shown = names if len(names) <= KINDS else names[: KINDS - 1]
    masks = []
    for day in (before, after):
        values = np.asarray(day.segments[column])
        columns = [values == name for name in shown]
        rest = ~np.isin(values, shown)
        masks.append(np.stack([*columns, rest][: max(len(shown), min(len(names), KINDS))], axis=1))
    shares = [_shares(day, mask.astype(np.float64)) for day, mask in zip((before, after), masks, strict=True)]
    return distance(shares[0], shares[1], n=len(before) + len(after), level=level)


def labels_moved(before: Day, after: Day, metrics: Sequence[str], *, level: float = 0.95) -> Estimate:
    """The share of shown documents (0 to 1) whose label would have to change to get from one day to the other.

    metrics: the shares of each label among a query's results, as ("grade@25:exact", "grade@25:irrelevant", ...), that add up
    to 1. The distance and its interval are those of `moved`.
    Raises: InputError for a metric that a day does not have.
    """
    found = []
    for day in (before, after):
        if missing := [name for name in metrics if name not in day.metrics]:
            raise InputError(f"day {day.date} has no {missing[0]!r}: it has {', '.join(day.metrics) or 'no metrics'}")
        found.append(_shares(day, np.stack([np.asarray(day.metrics[name], np.float64) for name in metrics], axis=1)))
    return distance(found[0], found[1], n=len(before) + len(after), level=level)


def distance(before: tuple[Floats, Floats], after: tuple[Floats, Floats], *, n: int, level: float = 0.95) -> Estimate:
    """Total variation (0 to 1) between two vectors of shares, each (K,) with its (K, K) covariance; the two independent.

    >>> e = distance((np.array([0.5, 0.5]), np.zeros((2, 2))), (np.array([0.6, 0.4]), np.zeros((2, 2))), n=10)
    >>> round(e.value, 3), round(e.low, 3), round(e.high, 3)
    (0.1, 0.1, 0.1)
    """
    d, covariance = after[0] - before[0], before[1] + after[1]
    value = float(np.abs(d).sum() / 2)
    sets = np.array([s for s in product((0.0, 1.0), repeat=d.size) if 0 < sum(s) < d.size]).reshape(-1, d.size)
    if not sets.size:
        return Estimate(0.0, 0.0, 0.0, 0.0, n, "total variation", level, None, "one value only: nothing can move")
    reach = t_quantile(1 - (1 - level) / max(len(sets), 2), None)
    change, se = sets @ d, np.sqrt(np.maximum(np.einsum("si,ij,sj->s", sets, covariance, sets), 0))
    best = int(change.argmax())
    low, high = max(float((change - reach * se).max()), 0.0), min(float((change + reach * se).max()), 1.0)
    caveat = "" if low > 0 else "no more than chance would move"
    return Estimate(value, float(se[best]), low, max(high, value), n, "total variation", level, None, caveat)


def vocabulary(queries: Iterable[str]) -> set[str]:
    """All words of these queries, case folded: what is known.

    >>> sorted(vocabulary(["Red shoes", "red hat"]))
    ['hat', 'red', 'shoes']
    """
    return {word for query in queries for word in words(query)}


def new_words(day: Day, known: Collection[str], *, level: float = 0.95) -> Estimate:
    """The share of a day's requests (0 to 1) that hold a word which the reference never had, weighted by the design.

    known: `vocabulary` of the reference's queries. A longer reference knows more words: compare days with one reference.
    Raises: InputError for a day without queries.

    >>> day = Day("2026-03-01", np.array(["red hat", "covid test"]), np.array([3.0, 1.0]), np.ones(2), np.array(["a", "a"]),
    ...           np.ones(2, bool))
    >>> new_words(day, {"red", "hat", "test"}).value
    0.25
    """
    known = set(known)
    fresh = np.array([[float(any(word not in known for word in words(query)))] for query in day.query.tolist()])
    if not len(day):
        raise InputError(f"day {day.date} has no queries: there is no share of nothing")
    value, se, n, _ = domain_means(fresh, day.weights, np.ones((len(day), 1), bool), strata=day.stratum, known=bool(day.totals))
    return _share(float(value[0]), float(se[0]), int(n[0]), "requests with a word not seen before", level)


def agreement(
    dates: Sequence[str],
    guides: Sequence[str],
    queries: Sequence[str],
    people: Sequence[int],
    judge: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    gains: Sequence[float] | None = None,
    level: float = 0.95,
) -> list[Agreed]:
    """A judge's agreement with people by date and guide version, in that order: exact, within one grade, kappa, and its lean.

    One entry a golden pair, freshly drawn, or one a vote of it: dates, guides: when it was judged and under which version.
    queries: clusters. people, judge: grades. weights: 1 / inclusion probability. "kappa" has quadratic weights, and is left
    out where both gave one grade throughout. "lean" is the mean of judge minus people, in grades, and with gains (of each
    grade, 0 to 1) "gain" the same in these; both are left out where one query alone was judged. Concept drift shows as a break
    at a new guide; a judge's decay as a slope inside one.
    Raises: InputError for columns of different lengths.

    >>> found = agreement(["2026-03-01"] * 4, ["v1"] * 4, ["a", "b", "c", "d"], [0, 1, 2, 3], [0, 1, 2, 2])
    >>> [(a.measure, a.estimate.value) for a in found]
    [('exact', 0.75), ('within one', 1.0), ('kappa', 0.875), ('lean', -0.25)]
    """
    columns = {"guides": guides, "queries": queries, "people's grades": people, "the judge's grades": judge}
    if wrong := [name for name, column in columns.items() if len(column) != len(dates)]:
        raise InputError(f"{len(dates)} dates and {wrong[0]} of another length: give one a pair")
    gold, other, cluster = np.asarray(people, np.int64), np.asarray(judge, np.int64), np.asarray(queries).astype(str)
    w = np.ones(len(dates)) if weights is None else np.asarray(weights, np.float64)
    found = []
    for date, guide in sorted(set(zip(dates, guides, strict=True))):
        rows = np.fromiter(((d, g) == (date, guide) for d, g in zip(dates, guides, strict=True)), np.bool_, len(dates))
        a, b, c, v = gold[rows], other[rows], cluster[rows], w[rows]
        found.append(Agreed(date, guide, "exact", exact_agreement(a, b, clusters=c, weights=v, level=level)))
        found.append(Agreed(date, guide, "within one", agreement_within(a, b, clusters=c, weights=v, level=level)))
        with suppress(Undefined):
            kappa = cohen_kappa(a, b, distance="quadratic", clusters=c, weights=v, level=level)
            found.append(Agreed(date, guide, "kappa", kappa))
        if len(set(c.tolist())) > 1:
            found.append(Agreed(date, guide, "lean", _lean(a, b, c, v, level, "judge minus people, in grades")))
            if gains is not None:
                worth = np.asarray(gains, np.float64)
                found.append(Agreed(date, guide, "gain", _lean(worth[a], worth[b], c, v, level, "judge minus people, in gain")))
    return found


def _lean(
    people: NDArray[Any], judge: NDArray[Any], queries: NDArray[Any], weights: Floats, level: float, what: str
) -> Estimate:
    return mean((judge - people).astype(np.float64), clusters=queries, weights=weights, level=level, method=what)


def _shares(day: Day, parts: Floats) -> tuple[Floats, Floats]:
    """(K,) weighted means of columns that add up to 1 a query, and their (K, K) covariance over the stratified draw."""
    known = np.isfinite(parts.sum(1))
    w, x = np.where(known, day.weights, 0.0), np.where(known[:, None], parts, 0.0)
    if not w.sum() > 0:
        raise InputError(f"day {day.date} has no requests with an answer: there is no share of nothing")
    value = w @ x / w.sum()
    u = w[:, None] * (x - value) / w.sum()
    covariance = np.zeros((x.shape[1], x.shape[1]))
    for stratum in np.unique(day.stratum):
        inside = u[day.stratum == stratum]
        n = len(inside)
        centred = inside - inside.mean(0) if n > 1 else inside
        covariance += centred.T @ centred * (n / (n - 1) if n > 1 else 1.0)
    return value, covariance


def _share(value: float, se: float, n: int, method: str, level: float) -> Estimate:
    """A share with limits from its effective size (Wilson), so that none seen is not none."""
    z = t_quantile((1 + level) / 2, n - 1 if n > 1 else None)
    size = min(value * (1 - value) / se**2, n) if se > 0 else float(n)
    centre, spread = value + z**2 / (2 * size), z * np.sqrt(value * (1 - value) / size + z**2 / (4 * size**2))
    low, high = (centre - spread) / (1 + z**2 / size), (centre + spread) / (1 + z**2 / size)
    return Estimate(
        value, se if np.isfinite(se) else float("nan"), max(float(low), 0.0), min(float(high), 1.0), n, method, level
    )
