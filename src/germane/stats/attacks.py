"""Does an attack change a judge's answers more than asking again does? Paired with a control, clustered by query."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.clustered import codes, share
from germane.types import Estimate, InputError


def excess(hit: ArrayLike, control: ArrayLike, *, clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """How much larger (-1 to 1) the share of hits is than that of control hits on the same rows.

    hit, control: (n,) bool. clusters: (n,) the query of each row. The interval is made of the two shares' Wilson limits, which
    respect clusters and have a width at shares of 0 and 1 too; the two are taken as independent, which errs on the wide
    side where they are positively correlated, as answers to one text are.

    Source: Newcombe (1998), Stat. Med. 17, 2635, method 8 with phi = 0 (Zou and Donner 2008: MOVER), limits of `share`.
    Raises: InputError for lengths that differ; `clustered.Undefined` for no rows.

    >>> e = excess([True, True, False, False], [False] * 4, clusters=["a", "b", "c", "d"])
    >>> e.value, e.low < 0 < e.high
    (0.5, True)
    """
    a, b = (np.asarray(x, dtype=bool).ravel() for x in (hit, control))
    if a.size != b.size:
        raise InputError(f"{a.size} answers and {b.size} control answers: give one each of the same rows")
    p, q = (share(x, clusters=clusters, level=level) for x in (a, b))
    value = p.value - q.value
    low = value - sqrt((p.value - p.low) ** 2 + (q.high - q.value) ** 2)
    high = value + sqrt((p.high - p.value) ** 2 + (q.value - q.low) ** 2)
    caveat = p.caveat or q.caveat
    se = sqrt(p.se**2 + q.se**2)
    return Estimate(value, se, max(low, -1.0), min(high, 1.0), int(a.size), "share above the control's", level, p.df, caveat)


def flipped_p(hit: ArrayLike, control: ArrayLike, *, clusters: ArrayLike) -> float:
    """The p-value that hits are no more frequent than control hits, one-sided and exact; 1 where no cluster differs.

    If an attack does nothing, the attacked answer and the second answer to the unchanged text could be exchanged, in each
    query apart: the sum of differences is compared with all 2^queries sums that such exchanges give. With c queries that
    differ, all in one direction, p = 2^-c, so that a judge that answers alike twice is still not caught by three pairs.

    Source: Fisher (1935), The Design of Experiments, sec. 21; the distribution is found by convolution, not drawn.

    >>> flipped_p([True] * 5, [False] * 5, clusters=[1, 2, 3, 4, 5]), flipped_p([True], [True], clusters=[1])
    (0.03125, 1.0)
    """
    a, b = (np.asarray(x, dtype=np.int64).ravel() for x in (hit, control))
    if a.size != b.size:
        raise InputError(f"{a.size} answers and {b.size} control answers: give one each of the same rows")
    code, held = codes(clusters, a.size)
    sums = np.bincount(code, weights=a - b, minlength=held).astype(np.int64)
    steps = np.abs(sums[sums != 0])
    if not steps.size:
        return 1.0
    return float(_tail(steps, int(sums.sum())))


def _tail(steps: NDArray[np.int64], least: int) -> float:
    """P(sum of +-steps >= least), each sign a fair coin."""
    total = int(steps.sum())
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for step in steps.tolist():
        moved = np.zeros_like(chances)
        moved[step:] += chances[: chances.size - step] / 2
        moved[: chances.size - step] += chances[step:] / 2
        chances = moved
    return min(float(chances[total + least :].sum()), 1.0)
