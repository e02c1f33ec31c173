"""Results that a judge predicts to be irrelevant are left out, where people said that this is mostly right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from germane.signal.deciding import ALL, Decisions, Flags, Floats, Said
from germane.types import InputError, Policy

KIND = "filter"


class Rule(NamedTuple):
    """Leave a document out where P(relevance <= grade) reaches the segment's threshold.

    precision: share of what is left out that people call this bad, as it was asked for. thresholds: segment -> threshold, ""
    for all queries; None leaves nothing out. A segment without one of its own takes that of all.
    """

    grade: int
    precision: float
    thresholds: Mapping[str, float | None]

    def of(self, segment: str) -> float | None:
        """The threshold of a segment."""
        return self.thresholds[segment] if segment in self.thresholds else self.thresholds[ALL]


@dataclass(frozen=True)
class Filter:
    """A filter at work. rules: in any order; a document is left out if one of them says so. floor: results left at least."""

    rules: tuple[Rule, ...]
    grades: int
    floor: int = 0
    labels: tuple[str, ...] = ()
    name: str = "filter"
    kind: str = KIND

    def decide(self, *, segment: str, probs: ArrayLike, gain: ArrayLike, known: ArrayLike) -> Decisions:
        """Which documents of one request are kept, and why not the others, in the order given.

        probs: (n, grades); gain: (n,) expected; known: (n,) bool. A document that is not known is never left out. Where fewer
        than `floor` would be left, those of the highest expected gain come back, of equal ones the first.

        Raises: InputError for shapes that do not fit.
        """
        said = Said.of(probs, gain, known, self.grades)
        reason = np.full(said.gain.size, "", dtype=object)
        for rule in self.rules:
            threshold = rule.of(segment)
            if threshold is None:
                continue
            bad = badness(said.probs, rule.grade)
            hit = said.known & (bad >= threshold) & (reason == "")
            reason[hit] = f"P({self._named(rule.grade)}) at least {threshold:.3f}"
        return _floored(reason, said.gain, self.floor)

    def parameters(self) -> dict[str, Any]:
        """What a policy file holds of it."""
        rules = [{"grade": r.grade, "precision": r.precision, "thresholds": dict(r.thresholds)} for r in self.rules]
        return {"rules": rules, "floor": self.floor, "labels": list(self.labels)}

    def _named(self, grade: int) -> str:
        label = self.labels[grade] if grade < len(self.labels) else str(grade)
        return label if grade == 0 else f"{label} or worse"


def badness(probs: ArrayLike, grade: int) -> Floats:
    """P(relevance <= grade) of each row of probabilities, (n,).

    >>> badness([[0.5, 0.25, 0.25]], 1).tolist()
    [0.75]
    """
    p = np.asarray(probs, dtype=np.float64)
    total: Floats = p[:, : grade + 1].sum(axis=1)
    return total


def of_policy(policy: Policy) -> Filter:
    """The filter that a policy describes. Raises: InputError naming what in it is no filter."""
    said = policy.parameters
    rules, floor, labels = said.get("rules"), said.get("floor"), said.get("labels", [])
    if not isinstance(rules, Sequence) or isinstance(rules, str) or not rules:
        raise InputError("policy: parameters.rules: expected a list of rules")
    if isinstance(floor, bool) or not isinstance(floor, int) or floor < 0:
        raise InputError(f"policy: parameters.floor is {floor!r}: expected a whole number, 0 or more")
    if not isinstance(labels, Sequence) or isinstance(labels, str) or not all(isinstance(x, str) for x in labels):
        raise InputError("policy: parameters.labels: expected a list of texts")
    return Filter(tuple(_rule(rule, policy.grades) for rule in rules), policy.grades, floor, tuple(labels), policy.name)


def _rule(said: Any, grades: int) -> Rule:
    if not isinstance(said, Mapping) or not {"grade", "precision", "thresholds"} <= set(said):
        raise InputError("policy: a rule of a filter has grade, precision and thresholds")
    grade, precision, thresholds = said["grade"], said["precision"], said["thresholds"]
    if isinstance(grade, bool) or not isinstance(grade, int) or not 0 <= grade < grades - 1:
        raise InputError(f"policy: a rule's grade is {grade!r}: expected 0 to {grades - 2}, since the best is never filtered")
    if not _share(precision):
        raise InputError(f"policy: a rule's precision is {precision!r}: expected a share from 0 to 1")
    if not isinstance(thresholds, Mapping) or ALL not in thresholds:
        raise InputError('policy: a rule\'s thresholds: expected an object with a threshold for "", all queries')
    for segment, value in thresholds.items():
        if value is not None and not _share(value):
            raise InputError(f"policy: the threshold of {segment!r:.60} is {value!r}: expected a share from 0 to 1, or null")
    return Rule(grade, float(precision), {str(s): None if v is None else float(v) for s, v in thresholds.items()})


def _share(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and isfinite(value) and 0 <= value <= 1


def _floored(reason: Any, gain: Floats, floor: int) -> Decisions:
    """The decisions, with the best of those left out brought back up to the floor."""
    keep: Flags = reason == ""
    short = min(floor, keep.size) - int(keep.sum())
    if short > 0:
        out = np.flatnonzero(~keep)
        back = out[np.argsort(-gain[out], kind="stable")[:short]]
        keep[back] = True
        for at in back.tolist():
            reason[at] = f"kept, since {floor} results are left at least: {reason[at]}"
    return Decisions(keep, np.zeros(keep.size), tuple(reason.tolist()))
