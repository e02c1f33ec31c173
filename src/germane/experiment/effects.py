"""Per-query values to estimates: levels, the paired difference, and what unjudged documents could do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from germane import metrics
from germane.experiment.frame import Frame, Names, rows_of
from germane.experiment.pool import STEP, Floats, Ints, Pool, linear_parts
from germane.stats.means import relative_lift, stratified_difference, stratified_mean
from germane.stats.moments import Moments, PairedMoments
from germane.types import Estimate, InputError, Scale, Unjudged

ROUNDING = 1e-12
"""A smaller difference of one query's metric, which lies between 0 and 1, is the noise of adding in another order."""


@dataclass(frozen=True)
class PerQuery:
    """The metric of each query, (Q,) each. low, high: the difference if every unjudged moved document were graded
    against, or for, the treatment. can_change: (n,) of the pool: unjudged documents on which the difference depends.
    level_known: False where an arm's own level rests on unjudged documents."""

    control: Floats
    treatment: Floats
    difference: Floats
    low: Floats
    high: Floats
    can_change: NDArray[np.bool_]
    level_known: bool


def per_query(pool: Pool, metric: metrics.Metric, scale: Scale, judged: metrics.Judged | None, k: int) -> PerQuery:
    """Each query's metric in both arms. Unjudged documents count 0 here, and `low` and `high` say what that hides."""
    values = {arm: _measured(pool, arm, metric, scale, judged) for arm in ("control", "treatment")}
    undefined = int((np.isnan(values["control"]) | np.isnan(values["treatment"])).sum())
    if undefined:
        raise InputError(
            f"{metric} is not defined for {undefined} of {pool.size} queries (nothing shown, or nothing judged): "
            "compare by sDCG, which is, or leave these queries out"
        )
    level_known = not pool.unjudged.any()
    parts = linear_parts(metric, scale, k)
    if parts is None:
        difference = _settled(values["treatment"] - values["control"])
        reach = np.where(pool.per_query(pool.unjudged) > 0, 1.0, 0.0)  # no better bound is known: metrics lie in 0 to 1
        low, high = np.maximum(difference - reach, -1.0), np.minimum(difference + reach, 1.0)
        return PerQuery(values["control"], values["treatment"], difference, low, high, pool.unjudged, level_known)
    weights, gains = parts
    gains = np.append(gains, 0.0)  # relevance -1, unjudged, finds it at the end

    def weight(rows: slice) -> Floats:
        return np.asarray(weights[pool.treatment_rank[rows]] - weights[pool.control_rank[rows]])

    difference = _settled(pool.summed(lambda rows: weight(rows) * gains[pool.relevance[rows]]))
    lowest, highest = difference, difference
    if not level_known:
        lowest = difference + pool.summed(lambda rows: np.where(pool.relevance[rows] < 0, np.minimum(weight(rows), 0.0), 0.0))
        highest = difference + pool.summed(lambda rows: np.where(pool.relevance[rows] < 0, np.maximum(weight(rows), 0.0), 0.0))
    can_change = pool.unjudged & pool.moved
    return PerQuery(values["control"], values["treatment"], difference, lowest, highest, can_change, level_known)


def _settled(difference: Floats) -> Floats:
    """Differences with rounding noise made 0: documents of one grade that change places change nothing."""
    return np.where(np.abs(difference) < ROUNDING, 0.0, difference)


def moments(values: Floats, strata: Names) -> dict[str, Moments]:
    """Stratum -> moments of its queries' values."""
    return {name: Moments.of(values[rows]) for name, rows in rows_of(strata).items()}


def _moments(frame: Frame, values: Floats) -> dict[str, Moments]:
    return {name: Moments.of(values[rows]) for name, rows in frame.rows.items()}


def paired(control: Floats, difference: Floats, strata: Names) -> dict[str, PairedMoments]:
    """Stratum -> moments of (control, difference)."""
    return {name: PairedMoments.of(control[rows], control[rows] + difference[rows]) for name, rows in rows_of(strata).items()}


def difference_of(frame: Frame, values: Floats, *, level: float, minimum_nonzero: int) -> Estimate:
    """The stratified paired difference over the whole frame."""
    return stratified_difference(
        _moments(frame, values), frame.populations, level=level, minimum_nonzero=minimum_nonzero, lone="borrow"
    )


def level_of(frame: Frame, values: Floats, *, level: float) -> Estimate:
    """The stratified mean over the whole frame."""
    return stratified_mean(_moments(frame, values), frame.populations, level=level, lone="borrow")


def lift_of(frame: Frame, found: PerQuery, *, level: float) -> Estimate | None:
    """The relative lift, or None where the control's level is unknown or 0."""
    if not found.level_known or not found.control.any():
        return None
    strata = paired(found.control, found.difference, frame.strata)
    return relative_lift(strata, frame.populations, level=level, lone="borrow")


def unjudged_of(frame: Frame, pool: Pool, found: PerQuery, *, level: float, mode: str) -> Unjudged:
    """The unjudged shares of what each arm shows, and the bounds that they leave."""
    control, treatment = (level_of(frame, share, level=level) for share in _unjudged_shares(pool))
    low, high = (_weighted_mean(frame, values) for values in (found.low, found.high))
    return Unjudged(control, treatment, int(found.can_change.sum()), low, high, mode)


def share_difference(frame: Frame, pool: Pool, *, level: float) -> Estimate:
    """The unjudged share of the treatment's results minus that of the control's."""
    control, treatment = _unjudged_shares(pool)
    return difference_of(frame, treatment - control, level=level, minimum_nonzero=0)


def _unjudged_shares(pool: Pool) -> tuple[Floats, Floats]:
    """(Q,) for each arm: the share of its results that nobody judged; an empty page has none."""
    control, treatment = (pool.graded(arm)[:, 0] / np.maximum(pool.pages(arm), 1.0) for arm in ("control", "treatment"))
    return control, treatment


def _measured(pool: Pool, arm: str, metric: metrics.Metric, scale: Scale, judged: metrics.Judged | None) -> Floats:
    """(Q,): the metric of one arm, some thousand queries at a time."""
    lists = pool.lists(arm)
    parts = []
    for first in range(0, pool.size, STEP):
        some = metrics.Lists(*_between(lists, first, first + STEP))
        known = None if judged is None else metrics.Judged(*_between(judged, first, first + STEP))
        (values,) = metrics.measure([metric], some, known, gains=scale.gains).values()
        parts.append(values)
    return np.concatenate(parts)


def _between(flat: metrics.Lists | metrics.Judged, first: int, last: int) -> tuple[Ints, Ints]:
    """The queries from `first` to before `last`."""
    offsets = flat.offsets[first : last + 1]
    return offsets - offsets[0], flat.relevance[offsets[0] : offsets[-1]]


def _weighted_mean(frame: Frame, values: Floats) -> float:
    total = sum(frame.populations.values())
    rows = frame.rows
    return float(sum(frame.populations[name] / total * values[where].mean() for name, where in rows.items()))


def between_share(values: Floats, strata: Names, populations: Mapping[str, int]) -> tuple[float, float]:
    """(SD over the population of queries, share of that variance which lies between stratum means).

    The between part is freed of the noise of the stratum means, and is never below 0.
    Source: Cochran, Sampling Techniques (1977), section 5.6, eq. 5.32.
    """
    parts = moments(values, strata)
    total = sum(populations[name] for name in parts)
    weights = {name: populations[name] / total for name in parts}
    pooled = sum(m.centred_sq for m in parts.values()) / max(sum(m.n - 1 for m in parts.values()), 1)
    own = {name: m.variance if m.n > 1 else pooled for name, m in parts.items()}
    mean = sum(weights[name] * m.mean for name, m in parts.items())
    inside = sum(weights[name] * own[name] for name in parts)
    between = sum(weights[name] * (m.mean - mean) ** 2 for name, m in parts.items())
    between -= sum(weights[name] * (1 - weights[name]) * own[name] / m.n for name, m in parts.items())
    between = max(between, 0.0)
    whole = inside + between
    return whole**0.5, (between / whole if whole > 0 else 0.0)
