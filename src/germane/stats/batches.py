"""A difference that grows by batches of queries and may be looked at after each of them: a confidence sequence of batches.

A batch is a sample of queries with a design of its own. A query that comes in several batches is one query, not several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.sequential import BURN_IN, MINIMUM_DF, MINIMUM_MOVED, standard_errors
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]


class Batch(NamedTuple):
    """A batch alone. n: its queries. value, se: of the mean that they stand for by their design, in units of the metric."""

    n: int
    value: float
    se: float


@dataclass(frozen=True)
class Clusters:
    """Every query of all batches once, (Q,) each. A query's part of a batch's mean is weight / n times its value.

    weight: the sum of its weights, each 1 on average in its batch. deviation: the sum over its batches of `deviations`.
    squares: the sum of their squares. moved: whether it ever had a difference that is not 0.
    """

    weight: Floats
    deviation: Floats
    squares: Floats
    moved: NDArray[np.bool_]

    @classmethod
    def of(
        cls, queries: Sequence[Sequence[str]], weights: Sequence[ArrayLike], deviations: Sequence[ArrayLike], moved: ArrayLike
    ) -> Clusters:
        """Of batches that are at hand: a sequence each of query ids, weights and deviations; moved: one value a row of all."""
        _, code = np.unique(np.concatenate([np.asarray(ids, dtype=str) for ids in queries]), return_inverse=True)
        w, u = (np.concatenate([np.asarray(part, np.float64) for part in parts]) for parts in (weights, deviations))

        def summed(x: ArrayLike) -> Floats:
            return np.asarray(np.bincount(code, np.asarray(x, np.float64).ravel()), np.float64)

        return cls(summed(w), summed(u), summed(u**2), summed(moved) > 0)


class Running(NamedTuple):
    """The mean over all batches so far. estimate: None where there is no interval yet, and `caveat` says what is missing.

    value, se: known from the first batch on. queries: distinct ones. effective: how many that come once would say as much.
    """

    value: float
    se: float
    estimate: Estimate | None
    queries: int
    effective: float
    caveat: str


def deviations(values: ArrayLike, weights: ArrayLike, strata: ArrayLike) -> Floats:
    """(n,) each query's deviation times its weight.

    Where every stratum has two queries or more, the squares add up to n^2 times the variance of the batch's mean.

    values: (n,) of a batch. weights: n W_h / m_h, 1 on average. A query deviates from its stratum's mean, times
    sqrt(m_h / (m_h - 1)). Queries that are alone in their strata deviate from the mean of all these (or of the batch, if there
    is one only), which includes what lies between their strata: then the sum is not exact, and as a rule on the large side.

    Source: Cochran (1977), eq. 5.6; strata of one query: section 5A.12 (collapsed strata).

    >>> deviations([0.1, 0.3, 0.0], [0.75, 0.75, 1.5], ["a", "a", "b"]).round(3).tolist()
    [-0.106, 0.106, -0.15]
    """
    x, w = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    _, code, counts = np.unique(np.asarray(strata).astype(str), return_inverse=True, return_counts=True)
    m = counts[code]
    off = (x - (np.bincount(code, x) / counts)[code]) * np.sqrt(m / np.maximum(m - 1, 1))
    if (alone := m == 1).any():
        several = int(alone.sum())
        middle = x[alone].mean() if several > 1 else float((w * x).sum() / w.sum())
        off[alone] = (x[alone] - middle) * sqrt(several / max(several - 1, 1))
    return np.asarray(w * off, np.float64)


def running(
    batches: Sequence[Batch],
    clusters: Clusters,
    *,
    intended: float,
    level: float = 0.95,
    burn_in: int = BURN_IN,
    minimum_moved: int = MINIMUM_MOVED,
    minimum_df: float = MINIMUM_DF,
) -> Running:
    """The mean over all batches so far, in units of the metric, with an interval that holds at every look at once.

    Each batch's mean counts by its queries, which are known before its outcome: value = sum n_k mean_k / N. Its variance is

        V = (sum n_k^2 se_k^2 + C) / N^2,    C = sum over queries of (sum u)^2 - sum u^2, and no less than 0

    where u are a query's `deviations` in the batches that it is in: 0 beyond the first term where every query comes once. The
    interval is value +- sqrt(V) times `standard_errors` at the number of queries that would say as much if each came once,
    N sum n_k^2 se_k^2 / (N^2 V): information is the clock. No interval before `burn_in` distinct queries, `minimum_moved`
    of them that moved, and `minimum_df` degrees of freedom by weights alone, (sum w^2)^2 / sum w^4 over queries.

    What is assumed: each batch is a random sample by its design, drawn whatever the batches before it said; none that was
    drawn is left out. If the effect drifts, the truth is the mean of the effects, by queries. Allocations, strata and sizes
    may differ from batch to batch.
    Source: Waudby-Smith et al. (2024, arXiv 2103.06476), Lindeberg-type sequences (means and variances that change), as
    `sequential.confidence_sequence`; clusters: Cochran (1977), section 9A, as `stats.clusters`; the clock of information:
    Scharfstein, Tsiatis, Robins (1997). The combination is ours, and is simulated in docs/statistics/sequential.md.
    Raises: InputError for no batch, and numbers that are not finite.

    >>> one = Batch(2, 0.2, 0.1)
    >>> found = running([one], Clusters(np.ones(2), np.array([0.1, -0.1]), np.full(2, 0.01), np.ones(2, bool)), intended=100)
    >>> found.value, found.estimate, found.caveat
    (0.2, None, 'no interval yet: 2 queries so far, 300 are needed')
    """
    if not batches:
        raise InputError("there is no batch: a mean needs at least one")
    if wrong := [i for i, b in enumerate(batches, 1) if not (b.n > 0 and isfinite(b.value) and isfinite(b.se) and b.se >= 0)]:
        raise InputError(f"batch {wrong[0]} has no finite mean or standard error: a look without an answer is none")
    total = sum(b.n for b in batches)
    value = sum(b.n * b.value for b in batches) / total
    apart = sum((b.n * b.se) ** 2 for b in batches)
    together = apart + max(float((clusters.deviation**2 - clusters.squares).sum()), 0.0)
    se = sqrt(together) / total
    distinct, moved = int(clusters.weight.size), int(clusters.moved.sum())
    effective = total * apart / together if together > 0 else float(distinct)
    squares = clusters.weight**2
    df = float(squares.sum() ** 2 / (squares**2).sum())
    caveat = _missing(distinct, moved, df, se, burn_in, minimum_moved, minimum_df)
    if caveat:
        return Running(value, se, None, distinct, effective, caveat)
    margin = se * float(standard_errors(effective, intended=intended, level=level))
    method = f"confidence sequence of {len(batches)} batches, tightest at {intended:g} queries"
    return Running(
        value, se, Estimate(value, se, value - margin, value + margin, distinct, method, level), distinct, effective, ""
    )


def _missing(distinct: int, moved: int, df: float, se: float, burn_in: int, minimum_moved: int, minimum_df: float) -> str:
    """Why there is no interval yet, and what it takes; "" where there is one."""
    if distinct < burn_in:
        return f"no interval yet: {distinct:,} queries so far, {burn_in:,} are needed"
    if moved < minimum_moved:
        return f"no interval yet: {moved:,} of {distinct:,} queries differ between the arms, {minimum_moved:,} are needed"
    if df < minimum_df:
        return f"no interval yet: large strata have few queries ({df:.0f} degrees of freedom, {minimum_df:g} are needed)"
    if not se > 0:
        return "no interval: nothing varied, every query so far has the same difference"
    return ""
