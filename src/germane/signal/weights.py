"""How much each row counts in the loss of a ranker that learns from clicks: more where a judge finds the result relevant.

Etsy weighs the training loss of its ranker by the relevance that its student predicts ("How Etsy Uses LLMs to Improve Search
Relevance"), so that a click on something irrelevant teaches less. How is not published: the formula here is our own choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from germane.signal.deciding import Floats
from germane.types import InputError

Ramp = Literal["none", "linear", "cosine"]
Negatives = Literal["even", "opposite"]


@dataclass(frozen=True)
class Weighing:
    """How weights are made. base: of a gain of 0, before clipping, where that of a gain of 1 is 1; power: of the gain.

    floor, ceiling: of a weight, around the mean of 1. negatives: of rows without a click: all alike, or the more the less
    relevant they are ("opposite": what is irrelevant and not clicked is a sure negative).
    """

    base: float = 0.1
    power: float = 1.0
    floor: float = 0.2
    ceiling: float = 5.0
    negatives: Negatives = "even"


def weights(gain: ArrayLike, known: ArrayLike, how: Weighing = Weighing(), *, clicked: ArrayLike | None = None) -> Floats:
    """(n,) weights from floor to ceiling with mean 1. gain: (n,) expected, 0 to 1; known: (n,) bool; clicked: (n,) bool.

    raw = base + (1 - base) gain^power, and w = min(ceiling, max(floor, c raw)) with the c that makes the mean 1. A row that is
    not known, and with `clicked` and negatives "even" one without a click, weighs 1; the others have mean 1 among them.

    Raises: InputError for gains outside 0 to 1, and a floor, ceiling, base or power that cannot be.

    >>> weights([0.0, 1.0, 0.5], [True, True, False]).round(3).tolist()
    [0.2, 1.8, 1.0]
    """
    _checked(how)
    g, there = np.asarray(gain, dtype=np.float64).ravel(), np.asarray(known, dtype=bool).ravel()
    if g.size != there.size:
        raise InputError(f"{g.size} gains and {there.size} flags: give one each")
    if (wrong := there & ~((g >= 0) & (g <= 1))).any():
        at = int(np.flatnonzero(wrong)[0])
        raise InputError(f"row {at} has a gain of {g[at]}: expected 0 to 1, of the top grade's gain")
    found = np.ones(g.size)
    if clicked is None:
        _fill(found, there, g, how)
        return found
    hit = np.asarray(clicked, dtype=bool).ravel()
    if hit.size != g.size:
        raise InputError(f"{g.size} gains and {hit.size} clicks: give one each")
    _fill(found, there & hit, g, how)
    if how.negatives == "opposite":
        _fill(found, there & ~hit, 1 - g, how)
    return found


def at_step(weight: ArrayLike, step: int, steps: int, ramp: Ramp = "cosine") -> Floats:
    """The weights at a step of training: 1 at the first, in full from step `steps` on; their mean stays 1.

    w_t = 1 + a_t (w - 1), a_t = t / steps (linear) or (1 - cos(pi t / steps)) / 2 (cosine); none: a_t = 1.

    Raises: InputError for an unknown ramp, and steps below 0.

    >>> at_step([0.5, 1.5], 5, 10, "linear").tolist()
    [0.75, 1.25]
    """
    if ramp not in ("none", "linear", "cosine") or step < 0 or steps < 0:
        raise InputError(f"step {step} of {steps} with ramp {ramp!r}: expected none, linear or cosine, and steps of 0 or more")
    share = 1.0 if ramp == "none" or steps == 0 else min(1.0, step / steps)
    share = (1 - cos(pi * share)) / 2 if ramp == "cosine" else share
    return np.asarray(1 + share * (np.asarray(weight, dtype=np.float64) - 1))


def _fill(found: Floats, rows: ArrayLike, gain: Floats, how: Weighing) -> None:
    """The weights of these rows, in place."""
    at = np.flatnonzero(rows)
    if at.size:
        found[at] = _scaled(how.base + (1 - how.base) * gain[at] ** how.power, how.floor, how.ceiling)


def _scaled(raw: Floats, floor: float, ceiling: float) -> Floats:
    """min(ceiling, max(floor, c raw)) with mean 1. Bisection on c: the mean rises from floor to ceiling with it."""
    low, high = 0.0, ceiling / float(raw.min())
    for _ in range(200):
        middle = (low + high) / 2
        if float(np.clip(middle * raw, floor, ceiling).mean()) < 1:
            low = middle
        else:
            high = middle
    return np.clip(high * raw, floor, ceiling)


def _checked(how: Weighing) -> None:
    numbers = (how.base, how.power, how.floor, how.ceiling)
    if not all(isfinite(x) for x in numbers) or not 0 < how.base <= 1 or how.power <= 0:
        raise InputError(f"base {how.base:g} and power {how.power:g}: expected above 0 and up to 1, and above 0")
    if not 0 <= how.floor <= 1 <= how.ceiling:
        raise InputError(f"floor {how.floor:g} and ceiling {how.ceiling:g}: expected 0 to 1, and 1 or more, for a mean of 1")
    if how.negatives not in ("even", "opposite"):
        raise InputError(f"negatives {how.negatives!r}: expected even or opposite")
