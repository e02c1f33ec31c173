"""The guardrail "relevance neutral or positive": non-inferiority with a stated margin, held at every look at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from germane.stats.batches import Batch, Clusters, Running, running
from germane.types import Estimate

SUPERIOR, NON_INFERIOR, INFERIOR, UNKNOWN = "superior", "non-inferior", "inferior", "not known yet"
PASSES = frozenset({SUPERIOR, NON_INFERIOR})
"""Verdicts that let the guardrail pass. Not known is not a pass."""


class Together(NamedTuple):
    """Every query over all looks, (Q,) each: sums of weights, of deviations (difference, control), of their products."""

    weight: np.ndarray
    deviation: np.ndarray
    control: np.ndarray
    squares: np.ndarray
    products: np.ndarray
    control_squares: np.ndarray
    moved: np.ndarray


class Standing(NamedTuple):
    """Where an experiment stands. difference: treatment minus control. guard: of a relative margin, else None."""

    difference: Running
    guard: Running | None
    verdict: str


def standing(
    batches: Sequence[Batch],
    guards: Sequence[Batch],
    together: Together,
    *,
    margin: float,
    relative: bool,
    intended: float,
    level: float,
) -> Standing:
    """The difference over all batches and the guardrail's verdict, both of them held at every look at once.

    guards: for a relative margin, each batch of difference + margin times control: not inferior is a mean above 0.
    """
    w, moved = together.weight, together.moved
    found = running(batches, Clusters(w, together.deviation, together.squares, moved), intended=intended, level=level)
    if not relative:
        return Standing(found, None, verdict_of(found.estimate, margin))
    both = together.deviation + margin * together.control
    squares = together.squares + 2 * margin * together.products + margin**2 * together.control_squares
    held = running(guards, Clusters(w, both, squares, moved), intended=intended, level=level)
    return Standing(found, held, verdict_of(found.estimate, margin, held.estimate))


def unless_unjudged(verdict: str, batches: Sequence[Batch], bounds: Sequence[Sequence[float] | None], *, margin: float) -> str:
    """The verdict; not known yet in place of a pass, where documents without a grade could make the difference fail it.

    bounds: of each batch, (low, high) of its mean difference if all of them were graded against, or for, the treatment; None
    where they change nothing. A pass is withheld where those of the last batch, or of all batches together, lie on both sides
    of -margin.

    >>> [unless_unjudged("superior", [Batch(9, 0.02, 0.01)], [(low, 0.03)], margin=0.01) for low in (0.0, -0.02)]
    ['superior', 'not known yet']
    """
    if verdict not in PASSES or not any(bounds):
        return verdict
    ends = [(batch.value, batch.value) if pair is None else pair for batch, pair in zip(batches, bounds, strict=True)]
    total = sum(batch.n for batch in batches)
    both = [sum(batch.n * pair[end] for batch, pair in zip(batches, ends, strict=True)) / total for end in (0, 1)]
    return UNKNOWN if any(low <= -margin < high for low, high in (ends[-1], both)) else verdict


def verdict_of(difference: Estimate | None, margin: float, guard: Estimate | None = None) -> str:
    """superior, non-inferior, inferior or not known yet.

    Superior where the interval of the difference lies above 0, non-inferior where it lies above -margin, inferior where all
    of it lies at or below -margin. guard: with a relative margin, the interval of difference + margin times control stands
    for the comparison with the margin. Without an interval nothing is known.

    Source: two-sided interval for a non-inferiority margin, ICH E9 (1998), section 3.3.2; each claim errs in
    (1 - level) / 2 of experiments at most, over all looks together, as far as a central limit holds.

    >>> [verdict_of(Estimate(0, 0, low, high, 9, ""), 0.01) for low, high in ((0.001, 1), (-0.005, 1), (-0.02, 1), (-1, -0.02))]
    ['superior', 'non-inferior', 'not known yet', 'inferior']
    """
    if difference is None or not (math.isfinite(difference.low) and math.isfinite(difference.high)):
        return UNKNOWN
    if difference.low > 0:
        return SUPERIOR
    low, high = (difference.low + margin, difference.high + margin) if guard is None else (guard.low, guard.high)
    if low > 0:
        return NON_INFERIOR
    return INFERIOR if high <= 0 else UNKNOWN
