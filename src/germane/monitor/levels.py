"""How relevant a day's results were, by segment: weighted by requests and by the design, with intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from germane.monitor.days import Day, Floats
from germane.stats.means import t_quantile
from germane.stats.ratios import domain_means, few
from germane.types import Estimate

METHOD = "mean over requests, weighted by the design"
WHOLE = "mean over requests, every query of the day taken"


class Level(NamedTuple):
    """A metric's mean over the requests of a segment on one day. segment: "all" or column=value."""

    metric: str
    segment: str
    estimate: Estimate


def levels(day: Day, *, level: float = 0.95) -> list[Level]:
    """Every metric's level in every segment, in units of the metric: "all" first, then each value of each column.

    The panel and the fresh queries count alike, each with the requests that it stands for (`Day.weights`). A segment without
    an answer has no level: nothing is made of nothing. Intervals are for the requests of this very day: a stratum that was
    taken whole leaves nothing to chance, but for queries that were shown several lists, of which one was taken. They are cut
    at 0 and 1, where the metric ends. Source: see `germane.stats.ratios.domain_means`.

    >>> two = np.array(["red shoes", "hat"])
    >>> day = Day("2026-03-01", two, np.array([3.0, 1.0]), np.ones(2), np.array(["head", "head"]), np.ones(2, bool),
    ...           metrics={"sdcg@25": np.array([1.0, 0.0])})
    >>> [(l.metric, l.segment, l.estimate.value, l.estimate.n) for l in levels(day)]
    [('sdcg@25', 'all', 0.75, 2)]
    """
    members = day.members()
    if not len(day) or not day.metrics:
        return []
    values = np.stack([np.asarray(x, np.float64) for x in day.metrics.values()], axis=1)
    inside, left = np.stack(list(members.values()), axis=1), _left(day, values)
    mean, se, n, _ = domain_means(values, day.weights, inside, strata=day.stratum, left=left, known=bool(day.totals))
    taken = ((left == 0).T @ inside.astype(np.float64) == inside.sum(0)).ravel()  # metric by metric: all of the segment
    names = [(metric, segment) for metric in day.metrics for segment in members]
    return [
        Level(*name, _estimate(m, s, k, level, whole))
        for name, m, s, k, whole in zip(names, mean.tolist(), se.tolist(), n.tolist(), taken.tolist(), strict=True)
        if np.isfinite(m)
    ]


def _left(day: Day, values: Floats) -> Floats:
    """(n, M) what is left to chance. A stratum's queries without an answer stand among those that were not drawn."""
    names, code = np.unique(day.stratum, return_inverse=True)
    size = np.bincount(code, minlength=names.size)
    varied = np.ones(len(day), np.bool_) if day.varied is None else day.varied
    found = np.ones_like(values)
    for m in range(values.shape[1]):
        answered = np.bincount(code, weights=np.isfinite(values[:, m]), minlength=names.size) / size
        found[:, m] = np.where(varied, 1.0, 1.0 - day.probability * answered[code])
    return found


def _estimate(value: float, se: float, n: int, level: float, whole: bool) -> Estimate:
    if whole:
        return Estimate(value, 0.0, value, value, n, WHOLE, level, None, "no chance of the draw is left; the judge may err")
    caveat = few(se, n)
    if not np.isfinite(se):
        return Estimate(value, float("nan"), 0.0, 1.0, n, METHOD, level, None, caveat)
    if se == 0:
        return Estimate(value, 0.0, value, value, n, METHOD, level, None, caveat)
    margin = t_quantile((1 + level) / 2, n - 1) * se
    return Estimate(value, se, max(value - margin, 0.0), min(value + margin, 1.0), n, METHOD, level, float(n - 1), caveat)
