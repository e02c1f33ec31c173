"""What `quality` finds, as values that go to JSON and to pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from germane.types import Estimate, decode


@dataclass(frozen=True)
class Part:
    """Agreement in a part of the votes. pairs: those with two grades or more."""

    dimension: str
    name: str
    pairs: int
    found: Mapping[str, Estimate]


@dataclass(frozen=True)
class RaterPair:
    """How two raters agree on the pairs that both graded."""

    a: str
    b: str
    pairs: int
    found: Mapping[str, Estimate]


@dataclass(frozen=True)
class RaterQuality:
    """One rater beside the others. adjusted: p-values over all raters, by the statistic tested. flags: what stands out."""

    name: str
    votes: int
    found: Mapping[str, Estimate]
    adjusted: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


class Differs(NamedTuple):
    """A pair on which Dawid and Skene's model and the rule do not say the same. chance: the model's, of its own grade."""

    query_id: str
    doc_id: str
    by_rule: int | None
    by_model: int
    chance: float


@dataclass(frozen=True)
class SecondOpinion:
    """Dawid and Skene's model of the votes. confusion: rater -> (true grade, given grade) shares, rows of 1.

    prior: shares of the true grades. agrees: among pairs that the rule grades, those that the model grades alike. differs: the
    surest first, at most 200; differ: how many there are. settled: the fit converged.
    """

    confusion: Mapping[str, tuple[tuple[float, ...], ...]]
    prior: tuple[float, ...]
    agrees: Estimate | None
    differ: int
    differs: tuple[Differs, ...]
    rounds: int
    settled: bool


@dataclass(frozen=True)
class Quality:
    """The quality of votes. votes, pairs, raters: that stand. found: over all. parts: by time, stratum, guide."""

    scale: str
    labels: tuple[str, ...]
    rule: str
    votes: int
    pairs: int
    raters: int
    found: Mapping[str, Estimate]
    rater_pairs: tuple[RaterPair, ...]
    people: tuple[RaterQuality, ...]
    parts: tuple[Part, ...]
    second: SecondOpinion | None
    notes: tuple[str, ...]
    level: float = 0.95

    def to_json(self) -> str:
        """The same as JSON; `from_json` reads it back."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Quality:
        """The same from its JSON."""
        found = decode(cls, json.loads(text))
        assert isinstance(found, cls)
        return found
