"""What comes out: estimates, judge cards, and the report with its parts. Every one round-trips through JSON."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from germane.types.decoding import decode
from germane.types.judging import Design

if TYPE_CHECKING:
    import pandas as pd


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
    grades (`cards.digest`).
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
    slices: tuple[Slice, ...] = ()
    targeted: Mapping[str, Estimate] = field(default_factory=dict)
    ceiling: tuple[Ceiling, ...] = ()
    reliability: tuple[Reliability, ...] = ()
    equivalence: Equivalence | None = None
    bias_at: tuple[BiasAt, ...] = ()
    decisions: tuple[Decisions, ...] = ()

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
    return "error" in name.split() or name in ("false relevant", "Brier score")


@dataclass(frozen=True)
class Effect:
    """The paired difference in one segment. `share`: of the population. `q`: p adjusted for looking at many segments.

    adjusted: the interval of a segment that was found, widened for having been selected among many (FCR). shrunken: the
    effect pulled towards that of its dimension's other segments, None where it cannot be.
    """

    dimension: str
    name: str
    share: float
    control: Estimate | None
    delta: Estimate | None
    p: float | None
    q: float | None
    found: bool
    note: str = ""
    adjusted: Estimate | None = None
    shrunken: Estimate | None = None


@dataclass(frozen=True)
class Interaction:
    """Whether the segments of one dimension differ in their effect at all: read this before reading them one by one.

    statistic, df: of the test that all effects are equal; p: its p-value. q: adjusted over the dimensions.
    """

    dimension: str
    statistic: float
    df: tuple[float, float]
    p: float
    q: float
    method: str


@dataclass(frozen=True)
class Alternative:
    """The same question answered in another way, to be read beside the headline: what it is, and how to read it."""

    name: str
    estimate: Estimate
    note: str = ""


@dataclass(frozen=True)
class Audit:
    """What people, judging a blind sample inside this experiment, said of the judge.

    unit: "queries" (every document that moved) or "documents" (with known odds). queries: judged by the judge. audited:
    units that people judged. bias: judge's difference minus people's, on the same queries: positive favours the
    treatment. rho: correlation of the judge's and people's differences inside strata, None for documents. lam: how
    much of the judge's answer is used, 0 = people only. judge_only, people_only: what each would have said alone.
    """

    name: str
    unit: str
    queries: int
    audited: int
    pairs: int
    lam: float
    rho: float | None
    bias: Estimate
    judge_only: Estimate
    people_only: Estimate
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """How the judge's expected gains compare with people's, in one arm and one bucket of ranks, over `n` audited documents."""

    arm: str
    ranks: str
    expected: Estimate
    people: Estimate
    difference: Estimate
    n: int


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
    differences: Histogram | None  # None for unpaired arms, which have no differences of single queries
    winners: tuple[QueryResult, ...]
    losers: tuple[QueryResult, ...]
    exposure: tuple[Exposure, ...]
    variance: VarianceParts | None
    design: Design
    notes: tuple[str, ...]
    inputs: tuple[Input, ...]
    parameters: Mapping[str, Any]
    version: str
    audit: Audit | None = None
    alternatives: tuple[Alternative, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    calibration: tuple[Calibration, ...] = ()
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
