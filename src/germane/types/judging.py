"""What goes in: scales, queries, documents, judgments, runs, designs; and what is said of wrong input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

# --- errors ---------------------------------------------------------------------------------------------------------


class InputError(ValueError):
    """What a user gave cannot be used: the message names it, what was expected, and what to do. CLI exit code 2."""


class Refusal(InputError):
    """germane could compute a number here, but it could be wrong and look right. `override` is the flag that insists."""

    def __init__(self, message: str, override: str) -> None:
        super().__init__(f"{message} To insist, pass {override}; the report will say so.")
        self.override = override


# --- what a judge reads and says ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Grades from worst to best, the gain of each in a metric, and the rubric that people and LLMs are both shown.

    A grade's *relevance* is its index in `labels`. `aliases` are other spellings found in files ("100" for ESCI's E).

    >>> scale = Scale("yes-no", ("no", "yes"), (0.0, 1.0), "Is it what was asked for?")
    >>> scale.relevance("Yes"), scale.gains[1], len(scale.version)
    (1, 1.0, 12)
    """

    name: str
    labels: tuple[str, ...]
    gains: tuple[float, ...]
    guide: str
    aliases: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(self.labels) != len(self.gains):
            raise InputError(
                f"scale {self.name!r} has {len(self.labels)} labels and {len(self.gains)} gains: "
                "give at least two labels, worst first, and one gain each"
            )
        rises = all(0 <= low <= high < inf for low, high in zip(self.gains, self.gains[1:], strict=False))
        if not rises or self.gains[-1] <= 0:
            raise InputError(f"scale {self.name!r} has gains {self.gains}: they must not fall, be negative, or all be 0")

    @property
    def version(self) -> str:
        """12 hex digits of what a judge is shown: labels and guide. Gains may change without voiding a judgment."""
        shown = json.dumps([self.labels, self.guide], ensure_ascii=False)
        return hashlib.sha256(shown.encode()).hexdigest()[:12]

    def relevance(self, label: object) -> int:
        """The index of a label as found in a file: its name or an alias, whatever the case.

        Raises: InputError naming the label and the scale's labels.
        """
        text = str(int(label) if isinstance(label, float) and label.is_integer() else label).strip().casefold()
        for index, name in enumerate(self.labels):
            if text == name.casefold():
                return index
        for alias, index in self.aliases.items():
            if text == alias.casefold():
                return index
        raise InputError(f"label {label!r} is not on scale {self.name!r}: expected one of {', '.join(self.labels)}")


class Query(NamedTuple):
    """What somebody asked. `stratum` is where it stands in the design, if it was sampled.

    context: what is known of the asker's situation that a judge may read (a category that was open, a place, earlier queries).
    """

    query_id: str
    text: str
    language: str | None = None
    stratum: str | None = None
    context: str | None = None


class Doc(NamedTuple):
    """What may answer: a document, product, listing or pin, as named fields of text."""

    doc_id: str
    fields: Mapping[str, str]


class Pair(NamedTuple):
    """A query and a document: what a judge reads."""

    query: Query
    doc: Doc


class ScoredDoc(NamedTuple):
    """One row of a run: the columns of ir_measures."""

    query_id: str
    doc_id: str
    score: float


class Outcome(StrEnum):
    """What became of asking a judge. Only `LABEL` carries a relevance: no answer is not zero.

    `ERROR`: nobody answered, since the pair cannot be read or broke the judge; it stands in the quarantine with its reason.
    """

    LABEL = "label"
    ABSTAINED = "abstained"
    UNPARSEABLE = "unparseable"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    FILTERED = "filtered"
    ERROR = "error"


class Judgment(NamedTuple):
    """One judge's answer on one pair: a superset of a TREC qrel.

    relevance: index on the scale, or None where there is no answer (`outcome` says why). probs: of each grade, or None.
    judge: `human:NAME` for people, otherwise the judge's name. fingerprint: of the judge that said it, "" for people.
    guide_version: `Scale.version` under which it was made, "" when the source does not say. self_agreement: of a judge that
    was asked several times, the share of its samples that gave this grade (one without an answer agrees with none). entropy:
    of its samples over the grades, in bits. cost: of this answer, in the currency of the price table. None: not known.
    """

    query_id: str
    doc_id: str
    relevance: int | None
    probs: tuple[float, ...] | None
    judge: str
    fingerprint: str
    scale: str
    guide_version: str
    outcome: Outcome = Outcome.LABEL
    note: str = ""
    self_agreement: float | None = None
    entropy: float | None = None
    cost: float | None = None


class Judge(Protocol):
    """Whoever grades pairs: people, an LLM, a teacher, a student. Pairs in, judgments out, in the same order."""

    name: str
    fingerprint: str

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]: ...


class Bulk(Judge, Protocol):
    """A judge that also takes many pairs as a table, for which no object a pair is made; labelling asks it so.

    label: pairs (query_id, query, doc_id, text as strings, and context where there is one) to judgments (the columns of
    `Judgment`), a row for each, in their order, and the same answers as pair by pair. block: pairs that it likes to be given
    at once, which is also what is put on disk together, and lost by a kill: some seconds of its work. The same judge on the
    same device has the same block, since answers may depend on what is computed together. One that also has `labels`, tables
    to tables one after the other, is asked so: it takes the next ones while it computes one.
    """

    block: int

    def label(self, pairs: pa.Table) -> pa.Table: ...


class Run(NamedTuple):
    """A ranked table (query_id, doc_id, score, rank) with its origin: file, engine, the signal that its ranker used."""

    name: str
    table: pa.Table
    origin: Mapping[str, Any]


class Stratum(NamedTuple):
    """A part of the population of queries: how many there are, and how many of them were sampled."""

    name: str
    population: int
    sample: int


@dataclass(frozen=True)
class Design:
    """What the sampled queries stand for. `unit` names the estimand: what one unit of population is.

    >>> Design((Stratum("head", 10, 5), Stratum("tail", 90, 5)), seed=1).weights
    {'head': 0.1, 'tail': 0.9}
    """

    strata: tuple[Stratum, ...]
    seed: int | None = None
    unit: str = "distinct queries"
    origin: str = ""

    @property
    def weights(self) -> dict[str, float]:
        """Each stratum's share of the population."""
        size = sum(s.population for s in self.strata)
        return {s.name: s.population / size for s in self.strata}
