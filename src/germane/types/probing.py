"""What attacks on a judge, and other words for its prompt, did to its grades: parts of a card, and files of their own."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from germane.types.decoding import decode
from germane.types.estimates import Estimate


@dataclass(frozen=True)
class Probed:
    """What one attack did. Estimates are None where no pair was answered before and after.

    expects: "must not rise", "must not move" or "must not be relevant". raised: share of pairs whose grade rose. change: mean
    change in grades. relevant: of pairs that the judge called not relevant, the share that it then called relevant.
    silent: share of attacked pairs without an answer, which is neither a pass nor a rise. excess: of what must not come of
    it, the share above the control, the same pairs asked again unchanged. p, q: of excess, before and after looking at all
    probes. verdict: "fooled", "not shown" or "not answered".
    """

    name: str
    family: str
    attacks: str
    expects: str
    raised: Estimate | None
    change: Estimate | None
    relevant: Estimate | None
    silent: Estimate | None
    excess: Estimate | None
    p: float | None
    q: float | None
    verdict: str


@dataclass(frozen=True)
class Probes:
    """What the standing suite of attacks did to one judge, on one scale and guide.

    noise: raised, moved and relevant of the control. families: name -> share raised above the control's, over all
    probes of the family. asked: pairs that were graded to find `sample` that could rise; could_be_relevant: of the sample,
    those that the judge called not relevant. relevant: the label from which a grade counts as relevant. calls: made in all.
    """

    judge: str
    fingerprint: str
    scale: str
    guide_version: str
    pairs: str
    rows: tuple[Probed, ...]
    noise: Mapping[str, Estimate]
    families: Mapping[str, Estimate]
    asked: int
    sample: int
    could_be_relevant: int
    relevant: str
    calls: int
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> str | None:
        """The family whose interval reaches highest: if it stays under a bar, every family does."""
        return max(self.families, key=lambda name: self.families[name].high, default=None)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return typing.cast("Self", decode(cls, json.loads(text)))


@dataclass(frozen=True)
class Paraphrase:
    """One wording of the prompt, as a judge of its own, and its agreement with people by statistic."""

    name: str
    fingerprint: str
    found: Mapping[str, Estimate]
    answered: Estimate


@dataclass(frozen=True)
class Sensitivity:
    """How far a judge's figures hang on the words of its prompt, on the gold pairs that every paraphrase answered.

    span, sd: by statistic, the largest minus the smallest over paraphrases, and their standard deviation; "mean gain" is in
    units of the top gain. changed: share of pairs to which not all give one grade. agreement: names of two -> their exact
    agreement. scale, guide_version: what all of them were asked by.
    """

    scale: str
    guide_version: str
    gold: str
    paraphrases: tuple[Paraphrase, ...]
    span: Mapping[str, Estimate]
    sd: Mapping[str, Estimate]
    changed: Estimate
    agreement: Mapping[str, Estimate]
    seed: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return typing.cast("Self", decode(cls, json.loads(text)))


@dataclass(frozen=True)
class Unevenness:
    """Whether a judge's error differs by a dimension more than by chance. statistic: "grade error" or "exact".

    bands: mean of the statistic in each band that was compared. p, q: that all have one mean, before and after looking at
    all dimensions. verdict: "uneven" or "not shown".
    """

    dimension: str
    statistic: str
    bands: Mapping[str, float]
    p: float
    q: float
    verdict: str
