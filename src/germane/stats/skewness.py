"""Limits and tail probabilities of a mean whose sampling distribution leans: Hall's correction of t, used with care."""

from __future__ import annotations

from math import cbrt, sqrt

LEANS = 0.1
"""A skewness of the mean (not of the values) above this, and t limits are corrected; below it they are left alone.

At 0.1 the t interval's error is a quarter of a percent (Cochran 1977, sec. 2.15: under 1 % while n > 25 G^2, skewness of
the mean under 0.2; a sample sees less skewness than there is, so half of that). Measured: docs/statistics/bootstrap.md.
"""

SHY = 0.5
"""How far the limit on the side without the long tail follows the correction. In a symmetric sample with heavy tails the
skewness is noise, and following it covers down to 0.91; not following it covers up to 0.967 where the skewness is real."""


MOST = 1.0
"""A mean leans no more than this: one value alone among any number of zeros gives 1, and beyond it Hall's limits turn back."""


def reaches(quantile: float, skewness: float) -> tuple[float, float]:
    """How far the interval reaches below and above the mean, in standard errors: (quantile, quantile) without a lean.

    quantile: of t, above 0. skewness: of the mean, third central moment over se^3. Where the tail is (above for a positive
    skewness) the limit is the farther of t's and Hall's; on the other side it goes half of the way to Hall's.

    Source: Hall (1992), On the removal of skewness by transformation, JRSS B 54, eq. 2.3 (g-hat and its inverse).

    >>> [round(x, 3) for x in reaches(1.96, 0.3)], [round(x, 3) for x in reaches(1.96, 0.05)]
    ([1.795, 2.65], [1.96, 1.96])
    """
    if abs(skewness) <= LEANS:
        return quantile, quantile
    lean = min(abs(skewness), MOST)
    tail = max(quantile, -_inverse(-quantile, lean))
    near = quantile + SHY * (_inverse(quantile, lean) - quantile)
    return (near, tail) if skewness > 0 else (tail, near)


def skewness_of(below: float, above: float, quantile: float) -> float:
    """The skewness, up to `MOST`, whose `reaches` at this quantile are (below, above): an interval carries its own reference.

    >>> round(skewness_of(*reaches(1.96, -0.3), 1.96), 9)
    -0.3
    """
    near, tail = sorted((below, above))
    if tail - quantile <= 1e-6 * quantile:
        return 0.0
    # Hall's transform takes -tail to -quantile: a quadratic in the skewness, and the near limit says which of its roots
    a, b, c = tail**3 / 27, tail**2 / 3 + 1 / 6, tail - quantile
    root = sqrt(max(b * b - 4 * a * c, 0.0))
    lean = min(2 * c / (b + root), (b + root) / (2 * a), key=lambda each: abs(reaches(quantile, each)[0] - near))
    return lean if above > below else -lean


def quantile_at(t: float, skewness: float) -> float:
    """The quantile at which the interval just reaches a null value that lies t standard errors below the mean.

    t: (mean - null) / se, of either sign. Without a lean it is |t|.

    >>> quantile_at(-2.0, 0.0), round(quantile_at(-2.65, 0.3), 2)
    (2.0, 1.96)
    """
    if abs(skewness) <= LEANS:
        return abs(t)
    side, reach = (0 if t > 0 else 1), abs(t)
    few, many = 0.0, 1.0
    while reaches(many, skewness)[side] < reach:
        many *= 2
        if many > 1e6:
            return many
    for _ in range(80):
        middle = (few + many) / 2
        few, many = (middle, many) if reaches(middle, skewness)[side] < reach else (few, middle)
    return many


def _inverse(z: float, a: float) -> float:
    """Where Hall's transform of a studentised mean, T + a T^2 / 3 + a^2 T^3 / 27 + a / 6, is z."""
    return 3 / a * (cbrt(1 + a * (z - a / 6)) - 1)
