"""What `check` found of a judge: the card and its parts."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from germane.types.decoding import decode
from germane.types.estimates import Estimate
from germane.types.probing import Probes, Sensitivity, Unevenness


@dataclass(frozen=True)
class Slice:
    """What was found of a judge in one segment, language or kind of document: name of the statistic -> estimate."""

    dimension: str
    name: str
    found: Mapping[str, Estimate]


@dataclass(frozen=True)
class Ceiling:
    """How far people agree with each other on gold, beside the judge with the same single people.

    raters: the average over pairs of raters (alpha: over all at once). judge: that of the judge with each of them.
    """

    name: str
    raters: Estimate
    judge: Estimate | None


@dataclass(frozen=True)
class Reliability:
    """Pairs to which the judge gave a grade about this probability, and the share of them where people gave it."""

    label: str
    expected: float
    seen: Estimate


@dataclass(frozen=True)
class Equivalence:
    """Whether a bias is shown to lie inside a margin. low, high: the interval of the two one-sided tests.

    verdict: "equivalent", "not equivalent" or "underpowered". needed: queries that this margin asks for, None if unknown.
    """

    margin: float
    verdict: str
    p: float | None
    low: float
    high: float
    needed: int | None
    note: str = ""


@dataclass(frozen=True)
class BiasAt:
    """An experiment of n queries with this judge alone: its noise, and how often its interval holds people's answer.

    covers: if the bias is what was found. least: if it is the far end of the bias's own interval.
    """

    n: int
    se: float
    mde: float
    covers: float
    least: float


@dataclass(frozen=True)
class Decisions:
    """What people and the judge conclude in many resampled experiments of n queries.

    same: share with the same verdict. sign: share with the same sign of the difference, of those where both have one.
    opposite: share where one says better and the other worse. table: shares by people's verdict (rows) and the judge's;
    better, worse, unclear.
    """

    n: int
    same: Estimate
    sign: Estimate | None
    opposite: float
    table: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class JudgeCard:
    """What `check` found of a judge against people, on one scale and guide, with the bars that were set.

    agreement: name of the statistic -> estimate; names that start with "score", "difference" and "decision" are of those
    levels, the others of labels. bars: name -> what passes, see `meets`. lineage: fingerprints of the judges that taught
    this one. targeted: of gold's pairs that were chosen, and stand for nothing else. gold_digest: of gold's pairs and
    grades (`cards.digest`). gold_pairs: of each of gold's pairs (`cards.pair_keys`): no audit is made of them. probes,
    sensitivity: what attacks, and other words for its prompt, did to it. unevenness: by dimension of the slices.
    """

    judge: str
    fingerprint: str
    scale: str
    guide_version: str
    gold: str
    agreement: Mapping[str, Estimate]
    confusion: tuple[tuple[int, ...], ...]
    outcomes: Mapping[str, int]
    bars: Mapping[str, float]
    lineage: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    gold_digest: str = ""
    gold_pairs: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()
    targeted: Mapping[str, Estimate] = field(default_factory=dict)
    ceiling: tuple[Ceiling, ...] = ()
    reliability: tuple[Reliability, ...] = ()
    equivalence: Equivalence | None = None
    bias_at: tuple[BiasAt, ...] = ()
    decisions: tuple[Decisions, ...] = ()
    probes: Probes | None = None
    sensitivity: Sensitivity | None = None
    unevenness: tuple[Unevenness, ...] = ()

    @property
    def passed(self) -> bool:
        """True if every bar is met; a statistic that has no value meets none."""
        return all(self.meets(name) for name in self.bars)

    def meets(self, name: str) -> bool:
        """True if the whole interval of a statistic lies on the right side of its bar.

        An agreement has to reach its bar with the low end. An error (`is_error`) has to lie within -bar to bar.
        """
        found, bar = self.agreement.get(name), self.bars[name]
        if found is None:
            return False
        return -bar <= found.low and found.high <= bar if is_error(name) else found.low >= bar

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return typing.cast("Self", decode(cls, json.loads(text)))


def is_error(name: str) -> bool:
    """True for a statistic of a card that is better the nearer it is to 0.

    >>> is_error("difference error P90"), is_error("false relevant"), is_error("exact")
    (True, True, False)
    """
    return "error" in name.split() or name in ("false relevant", "Brier score", "raised by probes")
