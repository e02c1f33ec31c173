"""What comes out: estimates, judge cards, and the report with its parts. Every one round-trips through JSON."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from germane.types.cards import JudgeCard
from germane.types.decoding import decode
from germane.types.estimates import Estimate, Input
from germane.types.judging import Design

if TYPE_CHECKING:
    import pandas as pd


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
