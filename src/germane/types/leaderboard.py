"""Every judge on the same golden set: what `leaderboard` found, best first."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from germane.types.cards import Slice
from germane.types.decoding import decode
from germane.types.estimates import Estimate


@dataclass(frozen=True)
class JudgeFacts:
    """What the manifest of a judgments file says of its judge; nothing of it was measured here, None = not said.

    lineage: fingerprints of the judges that taught it, the nearest first. taught_by: their names, in that order.
    rows_per_s, latency_ms: pairs a second, and milliseconds for one pair alone. cost_per_million: money for a million pairs.
    cost_from: "paid" or "1.01 an hour".
    """

    kind: str = ""
    base: str = ""
    lineage: tuple[str, ...] = ()
    taught_by: tuple[str, ...] = ()
    rows_per_s: float | None = None
    machine: str = ""
    cost_per_million: float | None = None
    cost_from: str = ""
    random_weights: bool = False
    latency_ms: float | None = None


@dataclass(frozen=True)
class Retention:
    """What a judge keeps of the one above it, on the common pairs. ratio: of macro F1, None where that one has none.

    difference: of macro F1. gaps: "F1 of LABEL" -> difference in it.
    """

    above: str
    ratio: Estimate | None
    difference: Estimate
    gaps: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """One judge on the board. name: unlike all others on it; judge: as its file says.

    found: name of the statistic -> estimate over the pairs that all judges answered, named as on a judge card; names that
    start with "expected" are of expected gains, by the judge's probabilities. own: of labels, over all pairs that this
    judge answered. coverage and outcomes: of all gold pairs. to_best: macro F1 minus the best judge's, None for the best.
    of_ceiling: name of the statistic -> its ratio to the ceiling's. slices_of_ceiling: the same in each slice.
    """

    name: str
    judge: str
    fingerprint: str
    guide_version: str
    facts: JudgeFacts
    coverage: Estimate
    outcomes: Mapping[str, int]
    found: Mapping[str, Estimate]
    own: Mapping[str, Estimate]
    confusion: tuple[tuple[int, ...], ...]
    slices: tuple[Slice, ...] = ()
    to_best: Estimate | None = None
    retention: Retention | None = None
    of_ceiling: Mapping[str, Estimate] = field(default_factory=dict)
    slices_of_ceiling: tuple[Slice, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def level_with_best(self) -> bool:
        """True where the interval of the difference to the best judge reaches 0: the two cannot be told apart."""
        return self.to_best is None or self.to_best.high >= 0


@dataclass(frozen=True)
class SpeedOnly:
    """A judge that judges nothing: a fake, or one with random weights. Its speed alone means something. why: which."""

    name: str
    fingerprint: str
    facts: JudgeFacts
    why: str


@dataclass(frozen=True)
class Leaderboard:
    """Every judge on the same golden pairs, in order of macro F1 on the pairs that all of them answered.

    pairs: gold's random part. common: those that all judges (and the ceiling) answered, of `queries` queries. metric: of
    scores and differences, "" without ranked lists. people: how far two people agree, where gold has several raters.
    ceiling: the best that can be, unranked. notes: what to know first; overrides: refusals that were insisted past.
    """

    scale: str
    labels: tuple[str, ...]
    gold: str
    gold_digest: str
    pairs: int
    common: int
    queries: int
    judges: tuple[Standing, ...]
    metric: str = ""
    level: float = 0.95
    people: Mapping[str, Estimate] = field(default_factory=dict)
    ceiling: Standing | None = None
    speed_only: tuple[SpeedOnly, ...] = ()
    notes: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return typing.cast("Self", decode(cls, json.loads(text)))
