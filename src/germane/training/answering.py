"""When to answer: how likely the likeliest class is to be right, and from which probability on it is worth saying."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.judges.saying import probabilities

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_ANSWERS = 10  # on held-out rows, before a threshold's precision is believed


class Tuning(NamedTuple):
    """Slope and offset of the calibration, and the threshold; reached: answers above it are as often right as was asked."""

    slope: float
    offset: float
    threshold: float
    reached: bool


def calibrated(logits: Floats, slope: float, offset: float) -> Floats:
    """(n,) the probability that the likeliest class is the right one, of rows that may be of none."""
    odds = slope * _log_odds(logits) + offset
    return np.asarray(1 / (1 + np.exp(-odds)))


def _log_odds(logits: Floats) -> Floats:
    """(n,) log odds of the likeliest class among all."""
    top = np.clip(probabilities(logits).max(axis=1), 1e-9, 1 - 1e-9)
    return np.asarray(np.log(top) - np.log1p(-top))


def tuned_on(logits: Floats, codes: Ints, common: NDArray[np.bool_], precision: float) -> Tuning:
    """The tuning that fits these rows best: logits (n, classes) of rows not learned from, codes (n,) their class, or `classes`.

    common: (classes,) True for those that are answered at all: the threshold is for them.

    Source: Platt (1999), with his targets that are never 0 or 1, on the likeliest class (Gupta and Ramdas 2022): a
    temperature would leave out that a row may be of no class at all.
    """
    from scipy.optimize import minimize

    x, right = _log_odds(logits), logits.argmax(axis=1) == codes
    hits = int(right.sum())
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))

    def surprise(line: Floats) -> float:
        odds = line[0] * x + line[1]
        return float((np.logaddexp(0, odds) - target * odds).mean())

    slope, offset = (float(v) for v in minimize(surprise, np.array([1.0, 0.0]), method="Nelder-Mead").x)
    slope = max(slope, 1e-3)  # an answer that is likelier is never believed less
    best = calibrated(logits, slope, offset)
    order = np.flatnonzero(common[logits.argmax(axis=1)])
    if not order.size:
        return Tuning(slope, offset, 1.0, False)
    order = order[np.argsort(-best[order], kind="stable")]
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    least = min(FEWEST_ANSWERS, len(order)) - 1
    enough = np.flatnonzero(share >= precision)
    reached = bool(enough.size and enough[-1] >= least)
    last = int(enough[-1]) if reached else least + int(np.argmax(share[least:]))
    return Tuning(slope, offset, float(best[order][last]), reached)
