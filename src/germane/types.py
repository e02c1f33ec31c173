"""The nouns of germane. Standard library only; in bulk the same columns live in Arrow tables (see store.py)."""

from __future__ import annotations

import hashlib
import json
import types as python_types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    import pandas as pd
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
    """What somebody asked. `stratum` is where it stands in the design, if it was sampled."""

    query_id: str
    text: str
    language: str | None = None
    stratum: str | None = None


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
    """What became of asking a judge. Only `LABEL` carries a relevance: no answer is not zero."""

    LABEL = "label"
    ABSTAINED = "abstained"
    UNPARSEABLE = "unparseable"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    FILTERED = "filtered"


class Judgment(NamedTuple):
    """One judge's answer on one pair: a superset of a TREC qrel.

    relevance: index on the scale, or None where there is no answer (`outcome` says why). probs: of each grade, or None.
    judge: `human:NAME` for people, otherwise the judge's name. fingerprint: of the judge that said it, "" for people.
    guide_version: `Scale.version` under which it was made, "" when the source does not say.
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


class Judge(Protocol):
    """Whoever grades pairs: people, an LLM, a teacher, a student. Pairs in, judgments out, in the same order."""

    name: str
    fingerprint: str

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]: ...


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


# --- what is printed ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty. Every figure that germane prints is one.

    df: degrees of freedom of the t interval, None for a normal one. caveat: why not to lean on it, "" if nothing is known.
    """

    value: float
    se: float
    low: float
    high: float
    n: int
    method: str
    level: float = 0.95
    df: float | None = None
    caveat: str = ""


@dataclass(frozen=True)
class Input:
    """A file that a result rests on."""

    role: str
    path: str
    sha256: str
    rows: int
    attribution: str = ""


@dataclass(frozen=True)
class JudgeCard:
    """What `check` found of a judge against people, on one scale and guide, with the bars that were set.

    agreement: name of the statistic -> estimate. bars: name -> the least value that passes. lineage: fingerprints of
    the judges that taught this one.
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

    @property
    def passed(self) -> bool:
        """True if every bar is met by the low end of its estimate's interval; a statistic that has no value meets none."""
        return all(name in self.agreement and self.agreement[name].low >= bar for name, bar in self.bars.items())

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return typing.cast("Self", decode(cls, json.loads(text)))


@dataclass(frozen=True)
class Effect:
    """The paired difference in one segment. `share`: of the population. `q`: p adjusted for looking at many segments."""

    dimension: str
    name: str
    share: float
    control: Estimate | None
    delta: Estimate | None
    p: float | None
    q: float | None
    found: bool
    note: str = ""


@dataclass(frozen=True)
class Unjudged:
    """Documents in the two top k without a grade, and what they could do.

    Shares are of the results shown, weighted as the design says. moved: unjudged documents that can change delta: those
    whose rank differs between the arms, and for metrics that are no sum over ranks all of them. low, high: delta if every
    one of them were graded against, or for, the treatment. mode: "complete", "complete where it counts" (none can change
    delta), "as zero" or "condensed" (shares and bounds are those of the lists before they were condensed).
    """

    control: Estimate
    treatment: Estimate
    moved: int
    low: float
    high: float
    mode: str


@dataclass(frozen=True)
class Result:
    """One row of a result list, as shown to the reader of a report. relevance None = unjudged."""

    rank: int
    doc_id: str
    title: str
    relevance: int | None


@dataclass(frozen=True)
class QueryResult:
    """One query in both arms, for the lists of biggest winners and losers."""

    query_id: str
    query: str
    stratum: str
    control: float
    treatment: float
    control_results: tuple[Result, ...]
    treatment_results: tuple[Result, ...]


@dataclass(frozen=True)
class Grades:
    """The share of a query's top k that carries this label, averaged over queries, in each arm, and the paired difference.

    "unjudged" and "empty page" are labels too, so that the shares of an arm add up to 1.
    """

    label: str
    control: Estimate
    treatment: Estimate
    delta: Estimate


@dataclass(frozen=True)
class Exposure:
    """The share of discounted attention that a group of documents gets in each arm, and the paired difference."""

    group: str
    control: Estimate
    treatment: Estimate
    delta: Estimate


@dataclass(frozen=True)
class VarianceParts:
    """Where the variance lies. Levels: the control's metric per query. Differences: treatment minus control.

    sd_*: over sampled queries, weighted by the design. between_strata_*: share (0 to 1) that lies between stratum means.
    gains_between_queries: share of the variance of single documents' gains that lies between queries, not inside them.
    """

    sd_level: float
    sd_difference: float
    between_strata_level: float
    between_strata_difference: float
    gains_between_queries: float | None
    nonzero: int


@dataclass(frozen=True)
class Histogram:
    """Counts of per-query paired differences; `edges` has one more entry than `counts`. zeros: exactly 0, counted apart."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    zeros: int


@dataclass(frozen=True, repr=False)
class Report:
    """The answer to one question about two runs. HTML, Markdown and the console are views of it."""

    question: str
    answer: str
    verdict: str  # "better", "worse", "no clear difference", "no difference at all" or "not reliable"
    metric: str
    k: int
    scale: str
    labels: tuple[str, ...]
    judge: str
    by_people: bool  # every judgment was made by people, no machine among them
    card: JudgeCard | None
    control_name: str
    treatment_name: str
    control: Estimate | None
    treatment: Estimate | None
    delta: Estimate
    lift: Estimate | None
    mde: float
    tipping_bias: float
    warnings: tuple[str, ...]
    overrides: tuple[str, ...]
    by_segment: tuple[Effect, ...]
    unjudged: Unjudged
    grades: tuple[Grades, ...]
    differences: Histogram
    winners: tuple[QueryResult, ...]
    losers: tuple[QueryResult, ...]
    exposure: tuple[Exposure, ...]
    variance: VarianceParts
    design: Design
    notes: tuple[str, ...]
    inputs: tuple[Input, ...]
    parameters: Mapping[str, Any]
    version: str
    truth: float | None = None  # known only in a simulation

    def to_json(self) -> str:
        """The whole report; `Report.from_json` reads it back to an equal value."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises: InputError where a field is missing or unknown."""
        return typing.cast("Self", decode(cls, json.loads(text)))

    def to_pandas(self) -> pd.DataFrame:
        """One row an estimate: overall first, then each segment."""
        import pandas as pd

        rows = [{"dimension": "all", "name": "all", "share": 1.0, **asdict(self.delta)}]
        rows += [
            {"dimension": e.dimension, "name": e.name, "share": e.share, **asdict(e.delta), "p": e.p, "q": e.q}
            for e in self.by_segment
            if e.delta is not None
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"<Report: {self.answer}>"

    def _repr_html_(self) -> str:
        from html import escape

        head = f"<h3>{escape(self.question)}</h3><p><b>{escape(self.answer)}</b></p>"
        rows = [("all", self.delta)] + [(f"{e.dimension}: {e.name}", e.delta) for e in self.by_segment if e.delta]
        cells = "".join(
            f"<tr><td>{escape(name)}</td><td>{d.value:+.4f}</td><td>{d.low:+.4f} to {d.high:+.4f}</td><td>{d.n}</td></tr>"
            for name, d in rows
        )
        head_row = (
            f"<tr><th>queries</th><th>{escape(self.metric)}</th><th>{100 * self.delta.level:g}% interval</th><th>n</th></tr>"
        )
        warned = "".join(f"<li>{escape(w)}</li>" for w in (*self.overrides, *self.warnings))
        return f"{head}<table>{head_row}{cells}</table><ul>{warned}</ul>"


def decode(kind: Any, value: Any) -> Any:
    """A value of type `kind` from what json.loads gave: dataclasses, named tuples, tuples, mappings, optionals.

    >>> decode(Design, {"strata": [["head", 10, 5]], "seed": 1, "unit": "x", "origin": ""}).strata[0].population
    10
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, python_types.UnionType):
        return None if value is None else decode(next(a for a in args if a is not type(None)), value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        unknown = set(value) - {f.name for f in fields(kind)}
        missing = {f.name for f in fields(kind)} - set(value)
        if unknown or missing:
            raise InputError(f"not a {kind.__name__}: unknown fields {sorted(unknown)}, missing fields {sorted(missing)}")
        return kind(**{name: decode(hints[name], item) for name, item in value.items()})
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        return kind(*(decode(hints[name], item) for name, item in zip(kind._fields, value, strict=True)))
    if origin is tuple:
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(decode(a, v) for a, v in zip(kinds, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {key: decode(args[1], item) for key, item in value.items()}
    return float(value) if kind is float else value
