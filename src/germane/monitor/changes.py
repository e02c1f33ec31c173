"""What changed from one day to another on the panel: the same queries, and the mix of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.monitor.days import ALL, JUDGE, Day
from germane.stats.ratios import Domains, domain_means, effective
from germane.types import InputError

Floats = NDArray[np.float64]

PAIRED = "same queries"
MIX = "mix of queries"

TAILS = 0.57
"""By how much a standard error is widened where m queries carry a change: 1 + TAILS / m.

A sum of m jumps has excess kurtosis 1 / m, and exceeds h (1 + h^2 / 24 m) standard errors as often as a normal one h;
alarms take an h of about 3.7. Source: Daniels (1954), the saddlepoint of a difference of two Poisson counts, first order.
"""

ROUNDING = 1e-12
"""Less than this is rounding, and not a change: else a day's last digits would be evidence where nothing ever moves."""


class Change(NamedTuple):
    """A metric's change between two days in a segment, in units of the metric, with its standard error over n queries.

    The standard error is widened where few of them move (`TAILS`).

    part: "same queries" is the mean paired difference of queries asked on both days, at the mean of both days' traffic.
    "mix of queries" is what the traffic's move between queries adds, those that came and went included, each at its mean
    metric. The panel's level changes by the second and by the first times the share of traffic asked on both days.
    """

    metric: str
    segment: str
    value: float
    se: float
    n: int
    part: str = PAIRED


def changes(before: Day, after: Day) -> list[Change]:
    """Every metric's change on the panel in every segment, part by part; a segment without two answers has none.

    before, after: two days, the earlier one first, of one judge and guide: across a change of either there is nothing to
    compare, and the detectors start anew (`alerts.detect`, lines).
    Raises: InputError for days in the wrong order, and for two judges or guides.

    >>> def day(date, values):
    ...     n = len(values)
    ...     return Day(date, np.array(["a", "b", "c"])[:n], np.ones(n), np.ones(n), np.array(["all"] * n), np.ones(n, bool),
    ...                metrics={"sdcg@25": np.array(values)})
    >>> found = changes(day("2026-03-01", [0.5, 0.5, 0.2]), day("2026-03-02", [0.4, 0.3, 0.2]))
    >>> [(c.part, round(c.value, 3), c.n) for c in found]
    [('same queries', -0.1, 3), ('mix of queries', 0.0, 3)]
    """
    if not before.date < after.date:
        raise InputError(f"{before.date} is not before {after.date}: give the earlier day first")
    for what, old, new in (("judge", before.judge, after.judge), ("guide", before.guide, after.guide)):
        if old != new:
            raise InputError(
                f"{before.date} and {after.date} have two {what}s, {old or 'not told'} and {new or 'not told'}: their "
                "difference is no change of search; draw a line there"
            )
    one, two = _rows(before, after)
    metrics = [name for name in after.metrics if name in before.metrics]
    if not metrics or not (one.size or two.size):
        return []
    both = (one >= 0) & (two >= 0)
    members = _members(before, after, one, two)
    inside = np.stack(list(members.values()), axis=1)
    w0, w1 = _taken(before.weights, one, 0.0), _taken(after.weights, two, 0.0)
    x0, x1 = (
        np.stack([_taken(np.asarray(day.metrics[m], np.float64), rows, np.nan) for m in metrics], axis=1)
        for day, rows in ((before, one), (after, two))
    )
    strata = np.where(two >= 0, _taken(after.stratum, two, ""), _taken(before.stratum, one, ""))
    paired = domain_means((x1 - x0)[both], ((w0 + w1) / 2)[both], inside[both], strata=strata[both]) if both.any() else None
    names = [(metric, segment) for metric in metrics for segment in members]
    found = _told(names, paired, PAIRED) if paired else []
    return found + _told(names, _mix(x0, x1, w0, w1, inside), MIX)


def anchors(before: Mapping[tuple[str, str], float], after: Mapping[tuple[str, str], float]) -> list[Change]:
    """The judge's own change: the mean difference in gain of the same pairs, judged again past the store on both days.

    before, after: (query, doc id) -> gain in 0 to 1, NaN where there is no answer. A model that changed behind its name shows
    here first: the pairs are fixed, nothing else can move them. Fewer than two pairs with both answers: no change.

    >>> [c] = anchors({("hat", "d1"): 1.0, ("hat", "d2"): 0.5}, {("hat", "d1"): 0.75, ("hat", "d2"): 0.5})
    >>> c.metric, c.value, c.n
    ('judge', -0.125, 2)
    """
    pairs = [pair for pair in before if pair in after and np.isfinite(before[pair]) and np.isfinite(after[pair])]
    if len(pairs) < 2:
        return []
    d = np.array([after[pair] - before[pair] for pair in pairs])[:, None]
    queries = np.array([query for query, _ in pairs])
    _, code, size = np.unique(queries, return_inverse=True, return_counts=True)
    sums = np.bincount(code, weights=d[:, 0])
    mean = float(d.mean())
    spread = float(((sums - mean * size) ** 2).sum())  # pairs of one query move together
    count = size.size
    se = float(np.sqrt(spread * count / max(count - 1, 1))) / len(pairs)
    return [Change(JUDGE, ALL, mean, se, len(pairs))]


def _rows(before: Day, after: Day) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) rows of the panel's queries on each day, -1 where a query was not asked; those of the later day first."""
    old = {q: i for i, q in enumerate(before.query.tolist()) if before.panel[i]}
    new = {q: i for i, q in enumerate(after.query.tolist()) if after.panel[i]}
    names = [*new, *(q for q in old if q not in new)]
    return np.array([old.get(q, -1) for q in names], np.int64), np.array([new.get(q, -1) for q in names], np.int64)


def _members(before: Day, after: Day, one: NDArray[np.int64], two: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Segment -> (n,) who is in it: as the later day says, or the earlier one of a query that was not asked again."""
    old, new = before.members(), after.members()
    found = {}
    for segment in [*new, *(s for s in old if s not in new)]:
        now = _taken(new[segment], two, False) if segment in new else np.zeros(len(two), np.bool_)
        then = _taken(old[segment], one, False) if segment in old else np.zeros(len(one), np.bool_)
        found[segment] = np.where(two >= 0, now, then).astype(np.bool_)
    return found


def _taken(values: NDArray[Any], rows: NDArray[np.int64], missing: object) -> NDArray[Any]:
    """Each row's value, `missing` where a row is -1."""
    if not len(values):
        return np.full(len(rows), missing)
    return np.where(rows >= 0, np.asarray(values)[rows], np.asarray(missing))


def _mix(x0: Floats, x1: Floats, w0: Floats, w1: Floats, inside: NDArray[np.bool_]) -> Domains:
    """What the traffic's move adds: each query at the mean of its days' metric, weighed as on each day."""
    known0, known1 = np.isfinite(x0), np.isfinite(x1)
    x = np.where(known0 & known1, (np.nan_to_num(x0) + np.nan_to_num(x1)) / 2, np.where(known0, x0, x1))
    known = np.isfinite(x)
    x = np.where(known, x, 0.0)
    part = inside.astype(np.float64)
    value, se, carried = (np.zeros((x.shape[1], part.shape[1])) for _ in range(3))
    for m in range(x.shape[1]):
        a, b = (part * (w * known[:, m])[:, None] for w in (w0, w1))
        with np.errstate(invalid="ignore", divide="ignore"):
            a, b = a / a.sum(0), b / b.sum(0)
        old, new = x[:, m] @ a, x[:, m] @ b
        u = b * (x[:, m : m + 1] - new) - a * (x[:, m : m + 1] - old)
        value[m], se[m], carried[m] = new - old, np.sqrt((u**2).sum(0)), effective(u)
    n = (known.astype(np.float64).T @ part).astype(np.int64)
    return Domains(value.ravel(), se.ravel(), n.ravel(), carried.ravel())


def _told(names: list[tuple[str, str]], found: Domains, part: str) -> list[Change]:
    wide = found._replace(se=found.se * (1 + TAILS / np.maximum(found.effective, 1.0)))
    return [
        Change(metric, segment, value if abs(value) > ROUNDING else 0.0, se if se > ROUNDING else 0.0, n, part)
        for (metric, segment), value, se, n in zip(names, wide.value.tolist(), wide.se.tolist(), wide.n.tolist(), strict=True)
        if np.isfinite(value) and np.isfinite(se) and n > 1
    ]
