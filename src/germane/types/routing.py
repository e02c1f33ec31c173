"""People where they matter: what `route` found of a judge's own doubts, and what each number of people's labels buys."""

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
class RoutePoint:
    """A rule and what it is worth. share: of the pairs, accepted (0 to 1); labels: pairs that go to people; money: for these.

    quality: of all grades together, None where golden pairs say nothing; random: the same with as many pairs sent at random.
    accepted, sent: the judge's statistics on either part.
    """

    rule: str
    share: float
    labels: int
    money: float | None
    quality: Estimate | None
    random: Estimate | None
    accepted: Mapping[str, Estimate]
    sent: Mapping[str, Estimate]


@dataclass(frozen=True)
class SignalLevel:
    """The judge at one level of its certainty. pairs: of the table at this level. found: statistics on golden pairs there."""

    name: str
    pairs: int
    found: Mapping[str, Estimate]


@dataclass(frozen=True)
class Routing:
    """What `route` found. signal: what the judge's doubt is read from. measure: what quality is; people: how right they are.

    pairs, queries: golden ones that it rests on. rows: pairs that are routed, without those that gold has (known). unanswered:
    rows without an answer. tells: the chance that a wrong grade is less certain than a right one, None if no grade is wrong.
    chosen: the rule that was taken, None if none was asked for, or none will do. random_labels: what sending at random needs.
    target, budget: as asked. reached: False if the answer is no, and `why` says why.
    """

    judge: str
    fingerprint: str
    scale: str
    signal: str
    measure: str
    people: str
    gold: str
    gold_digest: str
    pairs: int
    queries: int
    rows: int
    known: int
    unanswered: int
    level: float
    tells: Estimate | None
    levels: tuple[SignalLevel, ...]
    curve: tuple[RoutePoint, ...]
    chosen: RoutePoint | None = None
    random_labels: int | None = None
    target: float | None = None
    budget: int | None = None
    reached: bool = True
    why: str = ""
    judge_cost: float | None = None
    price: float | None = None
    slices: tuple[Slice, ...] = ()
    notes: tuple[str, ...] = ()
    overrides: tuple[str, ...] = field(default=())

    @property
    def telling(self) -> bool:
        """True where the judge is shown to be less certain of its errors: the interval of `tells` lies above 0.5."""
        return self.tells is not None and self.tells.low > 0.5

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return typing.cast("Self", decode(cls, json.loads(text)))
