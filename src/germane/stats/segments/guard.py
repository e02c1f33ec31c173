"""p-values and intervals that skewness does not fool: the most cautious of Student's and of several corrected ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def guarded_p(t: ArrayLike, df: ArrayLike, skewness: ArrayLike) -> Floats:
    """Two-sided p-values, (S,): the largest of Student's and of those that each candidate skewness makes of t.

    t, df: (S,). skewness: (C, S) of the estimates' own distributions, which for a mean of n alike is theirs / sqrt(n).
    Source: Hall (1992), J. R. Statist. Soc. B 54: t + g t^2/3 + g^2 t^3/27 + g/6 is nearly free of skewness g.

    >>> guarded_p([-2.5], [50], [[0.0], [0.5]]).round(3).tolist(), guarded_p([-2.5], [50], np.zeros((0, 1))).round(3).tolist()
    ([0.135], [0.016])
    """
    from scipy.special import stdtr

    x, g = np.asarray(t, dtype=np.float64), np.asarray(skewness, dtype=np.float64)
    corrected = x + g * x**2 / 3 + g**2 * x**3 / 27 + g / 6
    least = np.concatenate([x[None], corrected]) * np.sign(x)
    return np.asarray(2 * stdtr(np.asarray(df, dtype=np.float64), -np.maximum(least.min(axis=0), 0)))


def guarded_interval(
    value: Floats, se: Floats, df: Floats, skewness: ArrayLike, *, level: ArrayLike = 0.95
) -> tuple[Floats, Floats]:
    """(low, high), (S,) each: the union of Student's interval and of those corrected for each candidate skewness, (C, S).

    Excludes 0 exactly where `guarded_p` <= 1 - level. level: one, or (S,).
    Source: Hall (1992): the inverse of the cubic in `guarded_p`.

    >>> [x.round(3).tolist() for x in guarded_interval(np.array([1.0]), np.array([0.5]), np.array([50.0]), [[0.5]])]
    [[-0.004], [5.074]]
    """
    from scipy.special import stdtrit

    reach = stdtrit(df, (1 + np.asarray(level, dtype=np.float64)) / 2)
    g = np.asarray(skewness, dtype=np.float64)
    near = np.where(g == 0, 1.0, g)  # the cubic is the identity there
    ends = [np.where(g == 0, sign * reach, 3 / near * (np.cbrt(1 + near * (sign * reach - near / 6)) - 1)) for sign in (1, -1)]
    furthest = [np.concatenate([(sign * reach)[None], end]) for sign, end in zip((1, -1), ends, strict=True)]
    return value - se * furthest[0].max(axis=0), value - se * furthest[1].min(axis=0)


def candidates(own: Floats, unit: Floats, differences: Floats) -> Floats:
    """(4, S): each segment's own skewness, the whole experiment's at its size, and that plus and minus its spread.

    own: (S,) skewness of each segment's estimate. unit: (S,) what a skewness of 1 in the differences that are not 0 would make
    of it: zeros add neither size nor sign, so segments with many and with few of them are compared by the others alone.
    differences: (E, Q) of E experiments, each of which has its S / E segments.
    """
    x = differences - differences.mean(axis=1, keepdims=True)
    squares = x * x
    moved, cubes = squares.sum(axis=1), (squares * x).sum(axis=1)
    whole = cubes / np.where(moved > 0, moved, 1) ** 1.5 * np.sqrt(np.count_nonzero(differences, axis=1))
    shape = (len(differences), -1)
    usable = unit.reshape(shape) > 0
    each = np.where(usable, own.reshape(shape) / np.where(usable, unit.reshape(shape), 1), 0.0)
    squared = (each * each).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
    spread = np.sqrt(np.maximum(squared - whole**2, 0.0))  # noise is in it: that errs on the safe side
    return np.stack([own, *((g[:, None] * unit.reshape(shape)).ravel() for g in (whole, whole + spread, whole - spread))])
