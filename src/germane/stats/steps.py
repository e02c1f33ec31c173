"""A step in a level that is followed day by day: the model of its noise, and the threshold that keeps false alarms rare.

A level's day-over-day changes are not independent where a part of the noise comes and goes: what a day adds, a later one
takes back. Then the level is better compared with an average of many days than with yesterday, and a step is told by several
days. `Noise` is how much so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.types import InputError


class Noise(NamedTuple):
    """What a level's days differ by. memory: 0 where changes are independent, near 1 where all noise comes and goes.

    lasting: the share of what came that is still there a day later, where it goes at last: noise is an autoregression about
    a level that wanders.
    """

    memory: float
    lasting: float = 0.0


class Steady(NamedTuple):
    """A noise in a long run, in units of the variance of a day's change. own: variance of what comes and goes. wander: of
    the level's own move. error: of the forecast. gain: the share of an error that the level is moved by.
    """

    own: float
    wander: float
    error: float
    gain: float


def _checked(noise: Noise, window: int = 1) -> None:
    if window < 1 or not 0 <= noise.memory < 1 or not 0 <= noise.lasting < 1:
        raise InputError(
            f"window is {window}, memory {noise.memory:g} and lasting {noise.lasting:g}: give days, 1 or more, and shares from "
            "0 to below 1"
        )


@lru_cache(maxsize=256)
def steady(noise: Noise) -> Steady:
    """The forecast of such a level, once it has seen many days.

    Source: Harvey (1989), Forecasting, Structural Time Series Models and the Kalman Filter, 3.3 and 4.1: a local level, its
    noise autoregressive. With lasting 0 the forecast is the mean of the past with weights memory^k.

    >>> s = steady(Noise(0.75))
    >>> round(s.gain, 4), round(s.error, 4), steady(Noise(0.0))
    (0.25, 0.64, Steady(own=0.0, wander=1.0, error=1.0, gain=1.0))
    """
    _checked(noise)
    if noise.memory == 0:
        return Steady(0.0, 1.0, 1.0, 1.0)
    goes = 1 - noise.lasting
    ratio = (1 - noise.memory) ** 2 / noise.memory
    own = 1 / (ratio + 2 * goes)
    wander, fresh = ratio * own, own * goes * (2 - goes)
    p, error, gain = own, 1.0, 1.0
    for _ in range(2000):
        error = goes**2 * p + wander + fresh
        gain = (goes * p + wander) / error
        p = p + wander - gain**2 * error
    return Steady(own, wander, error, gain)


def told(noise: Noise, window: int) -> NDArray[np.float64]:
    """(window,) how much more than its first day a step's first 1, 2, ... days tell: ratios of information."""
    gain, goes = steady(noise).gain, 1 - noise.lasting
    trace = np.ones(window)
    if window > 1:
        trace[1:] = goes * (1 - gain) * (1 - goes * gain) ** np.arange(window - 1)
    return np.asarray(np.cumsum(trace**2))


def _cautious(noises: list[Noise]) -> tuple[Noise, ...]:
    """By how much five days tell of a step, the least first."""
    return tuple(sorted(noises, key=lambda noise: float(told(noise, 5)[-1]) / steady(noise).error))


MEMORIES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
"""The longest averages ten days: more gains little, and turns slow drift into steps."""

LASTS = (0.15, 0.3, 0.45, 0.6, 0.8)

NOISES = _cautious([*(Noise(m) for m in MEMORIES), *(Noise(m, last) for m in (0.6, 0.75, 0.82, 0.9) for last in LASTS)])
"""The noises that are told apart, the most cautious first: the one of which a step tells least."""


def false_alarms(threshold: float, *, memory: float = 0.0, lasting: float = 0.0, window: int = 5) -> float:
    """False alarms a day, at most, of one side of one series that alarms where a step of the last days exceeds the threshold.

    threshold: in standard errors of the step. memory, lasting: of the noise. A step k days old is told by k values with
    correlation r_k to the k - 1 before; what is counted is each first crossing, P(Z_k > h, Z_(k-1) <= h), summed over k: a
    union bound, exact at memory 0.

    >>> round(false_alarms(3.0), 5), round(false_alarms(3.0, memory=0.9), 5)
    (0.00135, 0.0046)
    """
    noise = Noise(memory, lasting)
    _checked(noise, window)
    from scipy.special import ndtr

    total = float(ndtr(-threshold))
    node, weight = np.polynomial.legendre.leggauss(48)
    low = threshold - 8.0
    z, w = low + (threshold - low) * (node + 1) / 2, weight * (threshold - low) / 2
    density = w * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    known = told(noise, window)
    for k in range(1, window):
        r2 = known[k - 1] / known[k]
        if 1 - r2 < 1e-9:
            break
        total += float((density * ndtr((np.sqrt(r2) * z - threshold) / np.sqrt(1 - r2))).sum())
    return total


@lru_cache(maxsize=8192)
def step_threshold(rate: float, *, memory: float = 0.0, lasting: float = 0.0, window: int = 5) -> float:
    """The threshold, in standard errors of a step, at which one side of a series has at most `rate` false alarms a day.

    Raises: InputError for a rate outside 0 to 0.5.

    >>> round(step_threshold(1e-4), 2), round(step_threshold(1e-4, memory=0.9), 2)
    (3.72, 4.05)
    """
    if not 0 < rate < 0.5:
        raise InputError(f"rate is {rate:g}: give false alarms a day of one series, above 0 and below 0.5")
    low, high = 0.0, 1.0
    while false_alarms(high, memory=memory, lasting=lasting, window=window) > rate:
        low, high = high, high + 2.0
    for _ in range(40):
        middle = (low + high) / 2
        rare = false_alarms(middle, memory=memory, lasting=lasting, window=window) <= rate
        low, high = (low, middle) if rare else (middle, high)
    return high
