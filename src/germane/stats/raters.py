"""What single raters do beside the others: how far each is from them, and whether that drifts with time."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.clustered import FEW, Undefined, codes
from germane.stats.means import t_quantile
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]


def side_by_side(unit: ArrayLike, grade: ArrayLike) -> Floats:
    """Votes as a matrix, (units, most votes of a unit), NaN where there are fewer: what alpha reads, to which raters are alike.

    >>> side_by_side([0, 1, 0], [2, 1, 3]).tolist()
    [[2.0, 3.0], [1.0, nan]]
    """
    u, g = np.asarray(unit, dtype=np.int64).ravel(), np.asarray(grade, dtype=np.float64).ravel()
    counts = np.bincount(u)
    order = np.argsort(u, kind="stable")
    place = np.arange(u.size) - np.repeat(np.cumsum(counts) - counts, counts)
    out = np.full((counts.size, int(counts.max(initial=1))), np.nan)
    out[u[order], place] = g[order]
    return out


def against_others(unit: ArrayLike, grade: ArrayLike) -> tuple[Floats, Floats]:
    """For each vote (n,): its grade minus the mean of the unit's other votes, and the share of these that gave the same grade.

    NaN for a vote without others.

    >>> above, same = against_others([0, 0, 0, 1], [3, 1, 1, 2])
    >>> above.tolist(), same.tolist()
    ([2.0, -1.0, -1.0, nan], [0.0, 0.5, 0.5, nan])
    """
    u, g = np.asarray(unit, dtype=np.int64).ravel(), np.asarray(grade, dtype=np.int64).ravel()
    counts = np.bincount(u)[u] - 1
    total = np.bincount(u, weights=g)[u]
    cell = np.unique(u * (int(g.max(initial=0)) + 1) + g, return_inverse=True)[1]
    same = np.bincount(cell)[cell] - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, g - (total - g) / counts, np.nan), np.where(counts > 0, same / counts, np.nan)


def trend(
    values: ArrayLike, time: ArrayLike, *, clusters: ArrayLike, level: float = 0.95, method: str = "trend"
) -> tuple[Estimate, float]:
    """(the change of the mean by one unit of time, the p-value of no change), from least squares with a cluster-robust error.

    values, time: (n,) finite. clusters: (n,), the query of each. The error is what the slope becomes without each query, and
    the reference is t at clusters - 2.
    Source: Bell and McCaffrey (2002), CR3, which is the jackknife over clusters of Wu (1986), around the estimate itself.
    Raises: Undefined for fewer than three clusters, or where time stands still.

    >>> found, p = trend([0.0, 0.1, 0.2, 0.3, 0.5], [0, 1, 2, 3, 4], clusters=range(5))
    >>> round(found.value, 2), p < 0.05
    (0.12, True)
    """
    from scipy.stats import t as student

    y, x = np.asarray(values, dtype=np.float64).ravel(), np.asarray(time, dtype=np.float64).ravel()
    if y.size != x.size or not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise InputError(f"{y.size} values and {x.size} times: give a finite one each")
    code, held = codes(clusters, y.size)
    if held < 3:
        raise Undefined(f"{method}: {held} clusters, and 3 are the least for a trend")
    centred = x - x.mean()
    spread = float(centred @ centred)
    if spread <= 1e-12 * max(float(x @ x), 1e-300):
        raise Undefined(f"{method}: time stands still, so that there is no trend")
    # Leaving a cluster out, exactly: the sums of least squares without it.
    sums = np.stack(
        [np.bincount(code, weights=w, minlength=held) for w in (np.ones_like(y), centred, centred**2, y, centred * y)]
    )
    n, sx, sxx, sy, sxy = sums.sum(1)[:, None] - sums
    whole = sums.sum(1)
    slope = float((whole[4] - whole[1] * whole[3] / whole[0]) / (whole[2] - whole[1] ** 2 / whole[0]))
    with np.errstate(invalid="ignore", divide="ignore"):
        without = (sxy - sx * sy / n) / (sxx - sx**2 / n)
    if not np.isfinite(without).all():
        raise Undefined(f"{method}: without one of the clusters time stands still, so that there is no error of a trend")
    se = sqrt((held - 1) / held * float(((without - slope) ** 2).sum()))
    df = float(held - 2)
    name = f"{method}, least squares over {held:,} clusters, jackknife"
    caveat = f"only {held} clusters: the interval is a rough one" if held < FEW else ""
    if se <= 1e-12:
        return Estimate(slope, 0.0, slope, slope, y.size, name, level, df, "nothing varied: the interval has no width"), 1.0
    margin = t_quantile((1 + level) / 2, df) * se
    p = float(2 * student.sf(abs(slope) / se, df))
    return Estimate(slope, se, slope - margin, slope + margin, y.size, name, level, df, caveat), p


def difference_of_means(
    a: ArrayLike,
    b: ArrayLike,
    *,
    clusters: tuple[ArrayLike, ArrayLike],
    weights: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
    level: float = 0.95,
    method: str = "difference of means",
) -> Estimate:
    """The weighted mean of a (n,) minus that of b (m,), which may share clusters, with t limits at clusters - 1.

    clusters: the query of each row of a, and of b, by the same labels. Each query's linearised values of both are added before
    they are squared, so that what both share cancels as it should.
    Source: Cochran (1977), sec. 3.12 (ratio of cluster totals), for a difference of two ratios: Wolter (2007), ch. 6.

    >>> e = difference_of_means([1, 1, 0, 1], [0, 1, 0, 0], clusters=(["x", "x", "y", "z"], ["x", "y", "y", "z"]))
    >>> round(e.value, 2), e.n, e.df
    (0.5, 8, 2.0)
    """
    x, y = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    labels = np.concatenate([np.asarray(each).ravel() for each in clusters])
    code, held = codes(labels, x.size + y.size)
    if held < 2:
        raise Undefined(f"{method}: {held} clusters, and 2 are the least for an interval")
    value, z = 0.0, np.zeros(held)
    for sign, v, w, own in ((1, x, weights[0], code[: x.size]), (-1, y, weights[1], code[x.size :])):
        share = np.ones(v.size) if w is None else np.asarray(w, dtype=np.float64).ravel()
        mean = float((share * v).sum() / share.sum())
        value += sign * mean
        z += sign * np.bincount(own, weights=share * (v - mean), minlength=held) / share.sum()
    se = sqrt(held / (held - 1) * float(z @ z))
    margin = t_quantile((1 + level) / 2, held - 1) * se
    caveat = f"only {held} clusters: the interval is a rough one" if held < FEW else ""
    name = f"{method}, t over {held:,} clusters"
    return Estimate(value, se, value - margin, value + margin, x.size + y.size, name, level, float(held - 1), caveat)
