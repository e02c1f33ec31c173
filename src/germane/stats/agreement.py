"""How far two raters agree, or many: shares, kappas, F1 and Krippendorff's alpha, each with an interval (ranks.py: tau-b, rho).

Grades are indices on a scale: 0 is the worst. An unanswered pair has no grade: leave it out and report coverage, or pass
NaN to `krippendorff_alpha`, which takes missing ratings. Everywhere `clusters` (n,) names the query of each pair: the
pairs of one query are alike, and an interval that takes them as independent is too narrow. `weights` (n,) are
1 / inclusion probability where gold was drawn with unequal ones. Nothing here is random.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.clustered import Numbers, Tables, Undefined, codes, jackknife, scaled, share
from germane.types import Estimate, InputError

Grades = NDArray[np.int64]
Distance = Literal["nominal", "linear", "quadratic"]
Difference = Literal["nominal", "ordinal", "interval"]


class Sampling(TypedDict, total=False):
    """What every statistic takes besides its grades: the query of each pair, weights, and the level of the interval (0.95)."""

    clusters: ArrayLike | None
    weights: ArrayLike | None
    level: float


def exact_agreement(gold: ArrayLike, other: ArrayLike, **sampling: Unpack[Sampling]) -> Estimate:
    """The share (0 to 1) of pairs with the same grade from both raters. Interval: see `clustered.share`.

    gold, other: (n,) grades. Raises: InputError for missing or negative grades, unequal lengths, no pairs.

    >>> exact_agreement([0, 1, 2, 2], [0, 1, 2, 0]).value
    0.75
    """
    a, b = grades(gold, other)
    return share(a == b, **sampling, method="exact agreement")


def agreement_within(gold: ArrayLike, other: ArrayLike, *, steps: int = 1, **sampling: Unpack[Sampling]) -> Estimate:
    """The share (0 to 1) of pairs whose two grades differ by at most `steps`. On a scale of two grades it is always 1.

    >>> agreement_within([0, 1, 2, 2], [1, 1, 2, 0]).value
    0.75
    """
    a, b = grades(gold, other)
    return share(abs(a - b) <= steps, **sampling, method=f"agreement within {steps}")


def precision(gold: ArrayLike, other: ArrayLike, *, grade: int, **sampling: Unpack[Sampling]) -> Estimate:
    """Of the pairs that `other` gives this grade, the share (0 to 1) that gold gives it too.

    Raises: Undefined where `other` never gives it.

    >>> precision([0, 1, 1], [1, 1, 1], grade=1).value == 2 / 3
    True
    """
    a, b = grades(gold, other)
    name = f"precision of grade {grade}"
    return share(a == grade, among=b == grade, **sampling, method=name)


def recall(gold: ArrayLike, other: ArrayLike, *, grade: int, **sampling: Unpack[Sampling]) -> Estimate:
    """Of the pairs that gold gives this grade, the share (0 to 1) that `other` gives it too.

    Raises: Undefined where gold never gives it.

    >>> recall([0, 1, 1], [1, 1, 0], grade=1).value
    0.5
    """
    a, b = grades(gold, other)
    name = f"recall of grade {grade}"
    return share(b == grade, among=a == grade, **sampling, method=name)


def false_relevant_rate(gold: ArrayLike, other: ArrayLike, *, threshold: int, **sampling: Unpack[Sampling]) -> Estimate:
    """Of the pairs that people grade below `threshold`, the share (0 to 1) that `other` grades at or above it.

    Raises: Undefined where gold has no pair below the threshold.

    >>> false_relevant_rate([0, 0, 1, 2], [2, 0, 1, 2], threshold=1).value
    0.5
    """
    a, b = grades(gold, other)
    name = f"false-relevant rate at grade {threshold}"
    return share(b >= threshold, among=a < threshold, **sampling, method=name)


def specificity(gold: ArrayLike, other: ArrayLike, *, threshold: int, **sampling: Unpack[Sampling]) -> Estimate:
    """1 - the false-relevant rate: of the pairs that people grade below `threshold`, the share that `other` does too.

    Raises: Undefined where gold has no pair below the threshold.

    >>> specificity([0, 0, 1, 2], [2, 0, 1, 2], threshold=1).value
    0.5
    """
    a, b = grades(gold, other)
    name = f"specificity at grade {threshold}"
    return share(b < threshold, among=a < threshold, **sampling, method=name)


def confusion(gold: ArrayLike, other: ArrayLike, *, size: int | None = None, weights: ArrayLike | None = None) -> NDArray[Any]:
    """Pairs by gold's grade (rows) and the other's (columns): (size, size), whole numbers; weighted ones sum to n as well.

    >>> confusion([0, 1, 1], [0, 1, 0]).tolist()
    [[1, 0], [1, 1]]
    """
    a, b = grades(gold, other)
    needed = int(max(a.max(), b.max())) + 1
    if size is not None and size < needed:
        raise InputError(f"grade {needed - 1} does not fit a scale of {size} grades")
    size = needed if size is None else size
    counts = np.bincount(a * size + b, weights=None if weights is None else scaled(weights, a.size), minlength=size**2)
    return counts.reshape(size, size)


def f1(
    gold: ArrayLike,
    other: ArrayLike,
    *,
    grade: int,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The harmonic mean (0 to 1) of precision and recall of one grade: 2 TP / (2 TP + FP + FN).

    Source: van Rijsbergen (1979), ch. 7, with equal weights. Interval: `clustered.jackknife`.
    Raises: Undefined where neither rater gives the grade.

    >>> f1([0, 1, 1], [1, 1, 0], grade=1).value
    0.5
    """
    a, b = grades(gold, other)
    name = f"F1 of grade {grade}"
    if not ((a == grade) | (b == grade)).any():
        raise Undefined(f"{name}: neither rater gives this grade, so it has no value")
    tables = Tables.of(2 * (a == grade) + (b == grade), (2, 2), clusters=clusters, weights=weights)

    def statistic(table: Numbers) -> Numbers:
        return _by_grade(table)[..., 1]

    def base(table: Numbers) -> Numbers:
        return _given(table)[..., 1:]

    return jackknife(statistic, tables, lowest=0.0, level=level, method=name, base=base)


def macro_f1(
    gold: ArrayLike,
    other: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The plain mean (0 to 1) of F1 over the grades that either rater gives. Interval: `clustered.jackknife`.

    Source: Opitz and Burst (2019): the mean of F1s, not the F1 of means.

    >>> round(macro_f1([0, 1, 1], [1, 1, 0]).value, 2)
    0.25
    """
    tables = _crossed(gold, other, clusters, weights)
    return jackknife(macro_f1_of, tables, lowest=0.0, level=level, method="macro F1", base=_given)


def macro_f1_of(table: Numbers) -> Numbers:
    """Macro F1 of each table of gold's grade by the other's, (..., g, g) to (...); NaN for an empty one."""
    values = _by_grade(table)
    there = np.isfinite(values)
    mean = np.where(there, values, 0.0).sum(-1) / np.maximum(there.sum(-1), 1)
    return np.where(there.any(-1), mean, np.nan)


def cohen_kappa(
    gold: ArrayLike,
    other: ArrayLike,
    *,
    distance: Distance = "nominal",
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Cohen's kappa (-1 to 1): 1 - disagreement / disagreement expected by chance, from each rater's own grade shares.

    distance: what a disagreement weighs: "nominal" 1, "linear" |i - j|, "quadratic" (i - j)^2.
    Source: Cohen (1960), eq. 1; weighted: Cohen (1968), in disagreement weights. Interval: `clustered.jackknife`.
    Raises: Undefined where both raters give one and the same grade throughout: nothing could have differed.

    >>> round(cohen_kappa([0, 1, 2, 2], [0, 1, 2, 1]).value, 4)
    0.6364
    """
    tables = _crossed(gold, other, clusters, weights)
    if distance not in get_args(Distance):
        raise InputError(f"distance {distance!r}: expected nominal, linear or quadratic")
    name = "Cohen's kappa" if distance == "nominal" else f"Cohen's kappa ({distance} weights)"
    return jackknife(lambda table: kappa_of(table, distance), tables, lowest=-1.0, level=level, method=name)


def kappa_of(table: Numbers, distance: Distance = "quadratic") -> Numbers:
    """Cohen's kappa of each table of gold's grade by the other's, (..., g, g) to (...); NaN where nothing could differ."""
    index = np.arange(table.shape[-1], dtype=np.float64)
    gap = abs(index[:, None] - index)
    apart = {"nominal": (gap > 0).astype(float), "linear": gap, "quadratic": gap**2}[distance]
    n = table.sum((-1, -2))
    expected = np.einsum("...i,...j,ij->...", table.sum(-1), table.sum(-2), apart)
    return _one_minus(n * (table * apart).sum((-1, -2)), expected, n)


def krippendorff_alpha(
    ratings: ArrayLike,
    *,
    difference: Difference = "ordinal",
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Krippendorff's alpha (-1 to 1) of any number of raters with missing ratings: 1 - disagreement / that by chance.

    ratings: (units, raters), NaN where a rater did not answer; units with fewer than two ratings are left out. Values
    may be any numbers: "interval" takes their distance, "ordinal" their ranks among all ratings. clusters, weights:
    (units,); weights are scaled to mean 1 first, so that alpha's small-sample n - 1 keeps its meaning.
    Source: Krippendorff (2019), Content Analysis, 4th ed., ch. 12 (coincidences and the three differences);
    the interval is a jackknife over units or clusters (`clustered.jackknife`), not his bootstrap of single pairs.
    Raises: Undefined where no unit has two ratings, or all ratings are one value.

    >>> round(krippendorff_alpha([[0, 0], [1, 1], [2, 1], [0, float("nan")]], difference="nominal").value, 4)
    0.5455
    """
    if difference not in ("nominal", "ordinal", "interval"):
        raise InputError(f"difference {difference!r}: expected nominal, ordinal or interval")
    x = np.asarray(ratings, dtype=np.float64)
    if x.ndim != 2:
        raise InputError(f"ratings have shape {x.shape}: give a row a unit and a column a rater")
    if np.isinf(x).any():
        raise InputError("a rating is infinite: give numbers, and NaN for no answer")
    kept = (~np.isnan(x)).sum(1) >= 2
    if not kept.any():
        raise Undefined("Krippendorff's alpha: no unit has two ratings, so it has no value")
    w = scaled(weights, len(x))[kept]
    own = np.arange(len(w)) if clusters is None else np.unique(codes(clusters, len(x))[0][kept], return_inverse=True)[1]
    values, sums = _coincidences(x[kept], own, w / w.mean())
    tables = Tables(sums, np.ones(len(sums), np.int64), len(w), clusters is not None, weights is not None)

    def statistic(table: Numbers) -> Numbers:
        margin = table.sum(-1)
        place = np.cumsum(margin, -1) - margin / 2 if difference == "ordinal" else np.broadcast_to(values, margin.shape)
        apart = (place[..., :, None] - place[..., None, :]) ** 2
        apart = (apart > 0).astype(float) if difference == "nominal" else apart
        n = margin.sum(-1)
        expected = (margin[..., :, None] * margin[..., None, :] * apart).sum((-1, -2))
        return _one_minus((n - 1) * (table * apart).sum((-1, -2)), expected, n)

    name = f"Krippendorff's alpha ({difference})"
    return jackknife(statistic, tables, lowest=-1.0, level=level, method=name)


def grades(gold: ArrayLike, other: ArrayLike) -> tuple[Grades, Grades]:
    """Two raters' grades as whole numbers, (n,) each. Raises: InputError for missing or negative ones, and unequal lengths."""
    pair = []
    for name, given in (("gold", gold), ("other", other)):
        x = np.asarray(given).ravel()
        if x.dtype == object and any(value is None for value in x):
            raise InputError(f"{name} has an unanswered pair: leave it out, and report the share answered as coverage")
        number = x.astype(np.float64)
        if not (np.isfinite(number).all() and (number >= 0).all() and (number == np.floor(number)).all()):
            row = int(np.flatnonzero(~(np.isfinite(number) & (number >= 0) & (number == np.floor(number))))[0])
            raise InputError(f"{name} has {number[row]:g} at row {row}: a grade is 0, 1, 2 ...; leave unanswered pairs out")
        pair.append(number.astype(np.int64))
    if pair[0].size != pair[1].size:
        raise InputError(f"{pair[0].size} gold grades and {pair[1].size} others: give one each of the same pairs")
    if pair[0].size == 0:
        raise Undefined("no pairs: there is nothing to agree on")
    return pair[0], pair[1]


def _crossed(gold: ArrayLike, other: ArrayLike, clusters: ArrayLike | None, weights: ArrayLike | None) -> Tables:
    a, b = grades(gold, other)
    size = int(max(a.max(), b.max())) + 1
    return Tables.of(a * size + b, (size, size), clusters=clusters, weights=weights)


def _given(table: Numbers) -> Numbers:
    """How often each grade is given, by either rater."""
    return np.asarray(table.sum(-1) + table.sum(-2))


def _by_grade(table: Numbers) -> Numbers:
    """F1 of every grade, NaN where neither rater gives it."""
    both = _given(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(both > 0, 2 * np.diagonal(table, axis1=-2, axis2=-1) / both, np.nan)


def _one_minus(seen: Numbers, expected: Numbers, n: Numbers) -> Numbers:
    """1 - seen / expected, NaN where nothing is expected (to rounding)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 1e-12 * n**2, 1 - seen / expected, np.nan)


def _coincidences(x: Numbers, own: Grades, w: Numbers) -> tuple[Numbers, Numbers]:
    """The different values, and each cluster's table of ordered pairs of ratings inside a unit, 1 / (ratings - 1) each."""
    values, code = np.unique(x, return_inverse=True)  # NaN sorts last
    code, size = code.reshape(x.shape), int(np.isfinite(values).sum())
    there = ~np.isnan(x)
    each = w / (there.sum(1) - 1)
    rows, cells = [], []
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            if i != j:
                both = np.flatnonzero(there[:, i] & there[:, j])
                rows.append(both)
                cells.append(code[both, i] * size + code[both, j])
    row, cell = np.concatenate(rows), np.concatenate(cells)
    sums = np.bincount(own[row] * size**2 + cell, weights=each[row], minlength=(int(own.max()) + 1) * size**2)
    return values[:size], np.asarray(sums, np.float64).reshape(-1, size, size)
