"""A step in a level that is followed day by day: the model of its noise, and the threshold that keeps false alarms rare.

A level's day-over-day changes are not independent where a part of the noise comes and goes: what a day adds, the next one
takes back. Then the level is better compared with an average of many days than with yesterday, and a step is told by several
days. `memory` is how much so: 0 where changes are independent, near 1 where all noise comes and goes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from germane.types import InputError

MEMORIES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
"""The memories that are told apart. The longest averages ten days: more gains little, and turns slow drift into steps."""


def false_alarms(threshold: float, *, memory: float = 0.0, window: int = 5) -> float:
    """False alarms a day, at most, of one side of one series that alarms where a step of the last days exceeds the threshold.

    threshold: in standard errors of the step. A step k days old is told by k values with correlation r_k to the k - 1
    before; what is counted is each first crossing, P(Z_k > h, Z_(k-1) <= h), summed over k: a union bound, exact at memory 0.

    >>> round(false_alarms(3.0), 5), round(false_alarms(3.0, memory=0.9), 5)
    (0.00135, 0.0046)
    """
    if window < 1 or not 0 <= memory < 1:
        raise InputError(f"window is {window} and memory {memory:g}: give days, 1 or more, and a memory from 0 to below 1")
    from scipy.special import ndtr

    total = float(ndtr(-threshold))
    node, weight = np.polynomial.legendre.leggauss(48)
    low = threshold - 8.0
    z, w = low + (threshold - low) * (node + 1) / 2, weight * (threshold - low) / 2
    density = w * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    told = np.cumsum(memory ** (2.0 * np.arange(window)))
    for k in range(1, window):
        r2 = told[k - 1] / told[k]
        if 1 - r2 < 1e-9:
            break
        total += float((density * ndtr((np.sqrt(r2) * z - threshold) / np.sqrt(1 - r2))).sum())
    return total


@lru_cache(maxsize=8192)
def step_threshold(rate: float, *, memory: float = 0.0, window: int = 5) -> float:
    """The threshold, in standard errors of a step, at which one side of a series has at most `rate` false alarms a day.

    Raises: InputError for a rate outside 0 to 0.5.

    >>> round(step_threshold(1e-4), 2), round(step_threshold(1e-4, memory=0.9), 2)
    (3.72, 4.05)
    """
    if not 0 < rate < 0.5:
        raise InputError(f"rate is {rate:g}: give false alarms a day of one series, above 0 and below 0.5")
    low, high = 0.0, 1.0
    while false_alarms(high, memory=memory, window=window) > rate:
        low, high = high, high + 2.0
    for _ in range(40):
        middle = (low + high) / 2
        rare = false_alarms(middle, memory=memory, window=window) <= rate
        low, high = (low, middle) if rare else (middle, high)
    return high
