"""How long a CUSUM runs until it raises an alarm, on average, and the threshold at which it runs so long."""

from __future__ import annotations

import numpy as np

from germane.types import InputError

ARL0 = 365.0
"""Looks between false alarms, on average: one a year where a look is a day."""


def cusum_threshold(arl0: float = ARL0, *, k: float = 0.5, two_sided: bool = True) -> float:
    """The threshold h, in sds of one look, at which a CUSUM raises a false alarm every `arl0` looks on average.

    `run_length` solved for h by bisection: exact for normal values. Skewed values alarm more often: take daily means of
    many queries (docs/statistics/sequential.md).
    Raises: InputError for an arl0 of 2 looks or fewer, or above 10 million.

    >>> round(cusum_threshold(370), 2), round(cusum_threshold(370, two_sided=False), 2)
    (4.77, 4.1)
    """
    above("k", k)
    if not 2 < arl0 <= 1e7:
        raise InputError(f"arl0 is {arl0:g}: give the looks between false alarms, from 2 to 10 million")
    low, high = 0.0, 1.0
    while run_length(high, k=k, two_sided=two_sided) < arl0:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        short = run_length(middle, k=k, two_sided=two_sided) < arl0
        low, high = (middle, high) if short else (low, middle)
    return (low + high) / 2


def run_length(h: float, *, k: float = 0.5, shift: float = 0.0, two_sided: bool = True) -> float:
    """Looks until a CUSUM with threshold h raises an alarm, on average, where values are normal and `shift` sds off target.

    One side solves L(u) = 1 + L(0) F(k - u) + integral over (0, h) of L(x) f(x + k - u), f and F the normal density and
    distribution around the shift, on Gauss-Legendre points; two sides add as rates.
    Source: Page (1954), eq. for the run length of a one-sided scheme; Goel and Wu (1971), its solution on Gaussian points.

    >>> round(run_length(5.0)), round(run_length(5.0, shift=1.0), 1)
    (465, 10.4)
    """
    above("h", h)
    sides = (shift, -shift) if two_sided else (shift,)
    lengths = [_one_sided(h, k, off) for off in sides]
    return 1 / sum(1 / length for length in lengths)


def _one_sided(h: float, k: float, shift: float) -> float:
    """Looks until the upper sum alarms, from 0; at most 1e13, where digits end."""
    from scipy.special import ndtr

    node, weight = np.polynomial.legendre.leggauss(64)
    x, w = h * (node + 1) / 2, h * weight / 2
    start = np.append(x, 0.0)  # the last row starts at 0
    kernel = np.empty((65, 65))
    kernel[:, :64] = w * np.exp(-0.5 * (x + k - shift - start[:, None]) ** 2) / np.sqrt(2 * np.pi)
    kernel[:, 64] = ndtr(k - shift - start)
    length = float(np.linalg.solve(np.eye(65) - kernel, np.ones(65))[64])
    return length if 1 <= length < 1e13 else 1e13


def above(name: str, value: float) -> None:
    """Raises: InputError for a number that is not above 0."""
    if not 0 < value < float("inf"):
        raise InputError(f"{name} is {value}: give a number above 0")
