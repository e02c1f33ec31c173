"""How much each step of an improvement is worth: rungs in the order they were taken, and a split that knows no order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from math import exp, factorial, isfinite, log
from typing import Literal, NamedTuple

from germane.types import InputError

MOST_STEPS = 10  # a thousand values; beyond that nobody has measured every combination


class Rung(NamedTuple):
    """One step of a ladder of MDEs.

    mde: after the step. points: how much the step took away, in units of mde. ratio: mde over the one before. share:
    points over all points of the ladder. The first rung has points 0, ratio 1 and share 0.
    """

    name: str
    mde: float
    points: float
    ratio: float
    share: float


def ladder(regimes: Sequence[tuple[str, float]]) -> tuple[Rung, ...]:
    """The rungs of a ladder, best regime last: what each step gives *in this order*; another order gives other numbers.

    regimes: (name, MDE), the starting point first. Points add up to the whole fall, ratios multiply to it, shares sum to 1 (a
    step that loses has a negative one). `shapley` is the split that does not depend on the order.

    Raises: InputError for fewer than two regimes, a name that is there twice, or an MDE that is not finite and above 0.

    >>> for rung in ladder([("people", 1.4), ("judge", 0.4), ("strata", 0.3)]):
    ...     print(f"{rung.name}: {rung.mde:.1f}, {rung.points:.1f} points, x {rung.ratio:.2f}, {rung.share:.0%}")
    people: 1.4, 0.0 points, x 1.00, 0%
    judge: 0.4, 1.0 points, x 0.29, 91%
    strata: 0.3, 0.1 points, x 0.75, 9%
    """
    if len(regimes) < 2:
        raise InputError(f"a ladder of {len(regimes)} regimes has no step: give the starting point and one more")
    names = [name for name, _ in regimes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"regime {twice[0]!r} is there twice: give each a name of its own")
    for name, mde in regimes:
        _above_zero(f"the MDE of {name!r}", mde)
    whole = regimes[0][1] - regimes[-1][1]
    if whole == 0:
        raise InputError("the last regime has the MDE of the first: there is no fall to divide into shares")
    rungs = [Rung(*regimes[0], 0.0, 1.0, 0.0)]
    for (_, before), (name, after) in pairwise(regimes):
        points = before - after
        rungs.append(Rung(name, after, points, after / before, points / whole))
    return tuple(rungs)


def shapley(values: Mapping[frozenset[str], float], *, scale: Literal["points", "ratio"] = "points") -> dict[str, float]:
    """What each step is worth, averaged over every order of taking the steps: step -> points, or factor.

    values: the outcome (such as an MDE) with each set of steps taken, all 2^p of them, the empty set included. "points":
    changes, in units of the outcome, that sum to values[all] - values[none]. "ratio": factors that multiply to values[all] /
    values[none]: the same on logarithms, so that halving counts the same early and late.

    Source: Shapley (1953), A value for n-person games, eq. 13; for effects of factors, Shorrocks (2013), eq. 7.
    Raises: InputError for a set that is missing or unknown, more than 10 steps, or a value that is not finite (for "ratio": not
    above 0).

    >>> mde = {frozenset(): 1.4, frozenset({"m"}): 0.4, frozenset({"strata"}): 1.2, frozenset({"m", "strata"}): 0.3}
    >>> {step: round(points, 3) for step, points in shapley(mde).items()}
    {'m': -0.95, 'strata': -0.15}
    >>> {step: round(factor, 3) for step, factor in shapley(mde, scale="ratio").items()}
    {'m': 0.267, 'strata': 0.802}
    """
    if scale not in ("points", "ratio"):
        raise InputError(f"scale {scale!r} is unknown: expected 'points' or 'ratio'")
    steps = sorted(frozenset().union(*values)) if values else []
    _check(values, steps, scale)
    worth = {taken: log(v) if scale == "ratio" else float(v) for taken, v in values.items()}
    p, found = len(steps), {}
    for step in steps:
        others = [s for s in steps if s != step]
        total = 0.0
        for size in range(p):
            weight = factorial(size) * factorial(p - size - 1) / factorial(p)
            for taken in map(frozenset, combinations(others, size)):
                total += weight * (worth[taken | {step}] - worth[taken])
        found[step] = exp(total) if scale == "ratio" else total
    return found


def shares(parts: Mapping[str, float], *, scale: Literal["points", "ratio"] = "points") -> dict[str, float]:
    """Each step's share of the whole change, from the parts that `shapley` found; they sum to 1.

    Of factors ("ratio") it is the share of the logarithm.

    Raises: InputError if the parts cancel, so that there is no whole, or a factor is not above 0.

    >>> {step: round(share, 3) for step, share in shares({"m": -0.95, "strata": -0.15}).items()}
    {'m': 0.864, 'strata': 0.136}
    """
    if scale == "ratio":
        for step, part in parts.items():
            _above_zero(f"the factor of {step!r}", part)
        parts = {step: log(part) for step, part in parts.items()}
    whole = sum(parts.values())
    if abs(whole) <= 1e-12 * sum(abs(part) for part in parts.values()):
        raise InputError("the parts cancel each other: there is no whole to take shares of")
    return {step: part / whole for step, part in parts.items()}


def _check(values: Mapping[frozenset[str], float], steps: Sequence[str], scale: str) -> None:
    if not steps:
        raise InputError("no steps: give a value for the empty set, for each step, and for each set of steps")
    if len(steps) > MOST_STEPS:
        raise InputError(f"{len(steps)} steps have {2 ** len(steps)} combinations: at most {MOST_STEPS} are split")
    for size in range(len(steps) + 1):
        for taken in map(frozenset, combinations(steps, size)):
            if taken not in values:
                raise InputError(f"no value for {{{', '.join(sorted(taken))}}}: each set of the {len(steps)} steps needs one")
            name = f"the value of {{{', '.join(sorted(taken))}}}"
            if scale == "ratio":
                _above_zero(name, values[taken])
            elif not isfinite(values[taken]):
                raise InputError(f"{name} is {values[taken]}: expected a finite number")


def _above_zero(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise InputError(f"{name} is {value}: expected a finite number above 0")
