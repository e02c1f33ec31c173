"""What is added to a ranker's score: by rules, and by a small function of the expected gain that never falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from germane.signal.deciding import Decisions, Floats, Said
from germane.types import InputError, Policy

KIND = "boost"
DEMOTE, PIN = "demote", "pin"


class BoostRule(NamedTuple):
    """demote: where P(relevance <= grade) reaches `at`, the score loses `by`; pin: where P(relevance >= grade) does, it gains.

    by: in units of the ranker's score.
    """

    kind: str
    grade: int
    at: float
    by: float


@dataclass(frozen=True)
class Curve:
    """A function of expected gain that never falls: lines between points, flat outside them. gain, value: (points,)."""

    gain: tuple[float, ...] = ()
    value: tuple[float, ...] = ()

    def __call__(self, gain: ArrayLike) -> Floats:
        """The value at each gain, (n,); 0 everywhere without points."""
        g = np.asarray(gain, dtype=np.float64)
        return np.interp(g, self.gain, self.value) if self.gain else np.zeros(g.shape)


@dataclass(frozen=True)
class Boost:
    """A boost at work: final score = ranker's score + what `decide` says; `deciding.order` ranks by it, stable on ties.

    curve: of the expected gain, times `strength`, in units of the ranker's score. most: places that a document may move, None
    for any.
    """

    curve: Curve
    strength: float
    rules: tuple[BoostRule, ...]
    grades: int
    most: int | None = 10
    labels: tuple[str, ...] = ()
    name: str = "boost"
    kind: str = KIND

    def decide(self, *, segment: str, probs: ArrayLike, gain: ArrayLike, known: ArrayLike) -> Decisions:
        """What each document of one request gains or loses, in the order given. One that is not known gets 0.

        probs: (n, grades); gain: (n,) expected; known: (n,) bool. segment: of no matter here.
        Raises: InputError for shapes that do not fit.
        """
        said = Said.of(probs, gain, known, self.grades)
        boost = np.zeros(said.gain.size)
        boost[said.known] = self.strength * self.curve(said.gain[said.known])
        reason = ["" if b == 0 else f"expected gain {g:.2f}" for b, g in zip(boost.tolist(), said.gain.tolist(), strict=True)]
        for rule in self.rules:
            p = said.probs[:, : rule.grade + 1] if rule.kind == DEMOTE else said.probs[:, rule.grade :]
            hit = said.known & (p.sum(axis=1) >= rule.at)
            boost[hit] += -rule.by if rule.kind == DEMOTE else rule.by
            for at in np.flatnonzero(hit).tolist():
                reason[at] = "; ".join(filter(None, (reason[at], f"{rule.kind} {self._named(rule)}")))
        return Decisions(np.ones(boost.size, bool), boost, tuple(reason), self.most)

    def parameters(self) -> dict[str, Any]:
        """What a policy file holds of it."""
        return {
            "curve": {"gain": list(self.curve.gain), "value": list(self.curve.value)},
            "strength": self.strength,
            "rules": [rule._asdict() for rule in self.rules],
            "most": self.most,
            "labels": list(self.labels),
        }

    def _named(self, rule: BoostRule) -> str:
        label = self.labels[rule.grade] if rule.grade < len(self.labels) else str(rule.grade)
        return f"{label}, P at least {rule.at:.2f}"


def isotonic(x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, *, points: int = 20) -> Curve:
    """The function that never falls and is nearest to y in squares, at most `points` points of it.

    x, y, weights: (n,). Blocks of equal fit are joined at their mean x by straight lines, which keeps it rising.

    Source: pool adjacent violators, Barlow et al. (1972), Statistical Inference under Order Restrictions.
    Raises: InputError for no pairs, and values that are not finite.

    >>> isotonic([0.0, 0.5, 1.0], [0.0, 1.0, 0.5])
    Curve(gain=(0.0, 0.75), value=(0.0, 0.75))
    """
    a, b = np.asarray(x, dtype=np.float64).ravel(), np.asarray(y, dtype=np.float64).ravel()
    w = np.ones(a.size) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    if not a.size == b.size == w.size or not a.size:
        raise InputError(f"{a.size} gains, {b.size} values and {w.size} weights: give one each, and at least one")
    if not (np.isfinite(a).all() and np.isfinite(b).all() and np.isfinite(w).all() and (w > 0).all()):
        raise InputError("a gain, value or weight is no number, or a weight is not above 0")
    place = np.argsort(a, kind="stable")
    blocks: list[list[float]] = []  # weight, weighted x, weighted y
    for xi, yi, wi in zip(a[place].tolist(), b[place].tolist(), w[place].tolist(), strict=True):
        blocks.append([wi, wi * xi, wi * yi])
        while len(blocks) > 1 and blocks[-2][2] * blocks[-1][0] >= blocks[-1][2] * blocks[-2][0]:
            last = blocks.pop()
            blocks[-1] = [p + q for p, q in zip(blocks[-1], last, strict=True)]
    gain = np.array([block[1] / block[0] for block in blocks])
    value = np.maximum.accumulate([block[2] / block[0] for block in blocks])
    if gain.size > points:
        kept = np.unique(np.linspace(0, gain.size - 1, points).round().astype(int))
        gain, value = gain[kept], value[kept]
    return Curve(tuple(gain.tolist()), tuple(value.tolist()))


def of_policy(policy: Policy) -> Boost:
    """The boost that a policy describes. Raises: InputError naming what in it is no boost."""
    said = policy.parameters
    curve, rules, labels = said.get("curve"), said.get("rules", []), said.get("labels", [])
    if not isinstance(curve, Mapping) or not _numbers(curve.get("gain")) or not _numbers(curve.get("value")):
        raise InputError("policy: parameters.curve: expected lists of numbers gain and value")
    gain, value = [tuple(map(float, curve[name])) for name in ("gain", "value")]
    if len(gain) != len(value) or list(gain) != sorted(gain) or list(value) != sorted(value):
        raise InputError("policy: parameters.curve: expected as many values as gains, neither of which falls")
    strength, most = said.get("strength"), said.get("most")
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not isfinite(strength) or strength < 0:
        raise InputError(f"policy: parameters.strength is {strength!r:.40}: expected a number, 0 or more")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
        raise InputError(f"policy: parameters.most is {most!r:.40}: expected places that a document may move, or null")
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        raise InputError("policy: parameters.rules: expected a list of rules")
    if not isinstance(labels, Sequence) or isinstance(labels, str) or not all(isinstance(x, str) for x in labels):
        raise InputError("policy: parameters.labels: expected a list of texts")
    made = tuple(_rule(rule, policy.grades) for rule in rules)
    return Boost(Curve(gain, value), float(strength), made, policy.grades, most, tuple(labels), policy.name)


def checked(rule: BoostRule, grades: int) -> BoostRule:
    """The rule. Raises: InputError for one that cannot be."""
    if rule.kind not in (DEMOTE, PIN):
        raise InputError(f"a rule of a boost is {rule.kind!r:.40}: expected demote or pin")
    if not 0 <= rule.grade < grades:
        raise InputError(f"a rule of a boost has grade {rule.grade}: expected 0 to {grades - 1}")
    if not (0 <= rule.at <= 1 and isfinite(rule.by) and rule.by >= 0):
        raise InputError(
            f"a rule of a boost is at {rule.at:g} by {rule.by:g}: expected a probability, and a number of 0 or more"
        )
    return rule


def _rule(said: Any, grades: int) -> BoostRule:
    if not isinstance(said, Mapping) or set(said) != set(BoostRule._fields):
        raise InputError("policy: a rule of a boost has kind, grade, at and by")
    if isinstance(said["grade"], bool) or not isinstance(said["grade"], int) or not _numbers([said["at"], said["by"]]):
        raise InputError("policy: a rule of a boost has a whole number as grade, and numbers as at and by")
    return checked(BoostRule(str(said["kind"]), said["grade"], float(said["at"]), float(said["by"])), grades)


def _numbers(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return all(not isinstance(x, bool) and isinstance(x, int | float) and isfinite(x) for x in value)
