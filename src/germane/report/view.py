"""What the HTML, the Markdown and the console say of a Report: its sentences, and its parts in reading order.

A part that was not measured is None or empty here, and the templates leave it out or say so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from germane import cards, scales
from germane.report import beside, charts, segments, words
from germane.types import Effect, JudgeCard, QueryResult, Report, Result

POPULARITY = ("head", "torso", "tail", "single")
SHOWN = 10  # ranks of a result list in view; the rest folds away


class Verdict(NamedTuple):
    """The verdict for a glance: a word, a sign that needs no colour, and the tone (a CSS class)."""

    word: str
    sign: str
    tone: str


VERDICTS = {
    "better": Verdict("Better", "▲", "better"),
    "worse": Verdict("Worse", "▼", "worse"),
    "no clear difference": Verdict("No clear difference", "=", "open"),
    "no difference at all": Verdict("No difference at all", "=", "open"),
    "not reliable": Verdict("Not reliable", "!", "doubt"),
    "overridden": Verdict("Overridden: read what could make it wrong", "!", "doubt"),
}


class Doubt(NamedTuple):
    """Something that could make the answer wrong. tone: "override", "warning" or "note"."""

    tone: str
    head: str
    text: str


class SegmentRow(NamedTuple):
    """One segment in a forest plot: `mark` is None where nothing was measured; `grey` where it should not be leaned on."""

    effect: Effect
    mark: charts.Mark | None
    grey: bool
    remark: str


class Dimension(NamedTuple):
    """A forest plot: the segments of one dimension on a common axis, below all queries together.

    differ: whether the segments differ at all, in words. pulled: some of them have a shrunken effect.
    """

    name: str
    axis: charts.Axis
    overall: charts.Mark
    rows: tuple[SegmentRow, ...]
    places: int
    differ: str
    pulled: bool


class Grade(NamedTuple):
    """A grade in words with its colour step, 0 (worst) to 4 (best); step "none" = no grade."""

    name: str
    step: str


class Shown(NamedTuple):
    """A result as a reader sees it. move: what became of the document in the other arm. kind: same, up, down, gone, new."""

    result: Result
    grade: Grade
    move: str
    kind: str


class Rank(NamedTuple):
    """One rank of the two lists, side by side."""

    rank: int
    control: Shown | None
    treatment: Shown | None


class Compared(NamedTuple):
    """A query with its two result lists: the first ranks, and the rest."""

    query: QueryResult
    first: tuple[Rank, ...]
    rest: tuple[Rank, ...]


@dataclass(frozen=True)
class View:
    """A Report prepared for reading. `places`: decimal places that its differences deserve. `metric`: its name
    without parameters, for where the full name has been said."""

    report: Report
    places: int
    metric: str
    verdict: Verdict
    doubts: tuple[Doubt, ...]
    truth: str
    mde: str
    design: str
    overturn: tuple[str, ...]
    audit: tuple[str, ...]
    axis: charts.Axis
    mark: charts.Mark
    dimensions: tuple[Dimension, ...]
    histogram_axis: charts.Axis
    bars: tuple[charts.Bar, ...]
    sides: tuple[int, int, int] | None
    winners: tuple[Compared, ...]
    losers: tuple[Compared, ...]
    grades: tuple[Grade, ...]
    exposure_axis: charts.Axis


def of(report: Report) -> View:
    """A report prepared for reading."""
    places = words.digits(report.delta.se)
    axis = _headline_axis(report)
    histogram_axis, bars = charts.bars(report.differences) if report.differences else (charts.axis([0.0]), ())
    return View(
        report=report,
        places=places,
        metric=re.sub(r"\(.*\)", "", report.metric),
        verdict=VERDICTS.get(report.verdict, Verdict(report.verdict, "!", "doubt")),
        doubts=doubts(report, places),
        truth=truth(report, places),
        mde=mde(report, places),
        design=design(report),
        overturn=overturn(report, places),
        audit=beside.audit(report, places),
        axis=axis,
        mark=charts.mark(axis, report.delta),
        dimensions=dimensions(report),
        histogram_axis=histogram_axis,
        bars=bars,
        sides=sides(report),
        winners=tuple(compared(report, q) for q in report.winners),
        losers=tuple(compared(report, q) for q in report.losers),
        grades=tuple(_grade_of_label(report, g.label) for g in report.grades),
        exposure_axis=charts.axis([x for e in report.exposure for x in (e.delta.low, e.delta.high)]),
    )


# --- sentences ------------------------------------------------------------------------------------------------------


def doubts(report: Report, places: int) -> tuple[Doubt, ...]:
    """Everything that could make the answer wrong, the gravest first; who judged is always among them."""
    said = " ".join(report.warnings).casefold()
    found = [Doubt("override", "Overridden", text) for text in report.overrides]
    if report.delta.caveat and report.delta.caveat.casefold().rstrip(".") not in said:
        found.append(Doubt("warning", "Not reliable", report.delta.caveat))
    found += [Doubt("warning", "", text) for text in report.warnings]
    who = judge(report)
    if report.card is not None and report.judge.casefold() in said:
        who = who._replace(head="Judge card")
    if report.card is not None or report.judge.casefold() not in said:
        found.append(who)
    if report.unjudged.moved and "njudged" not in said:
        found.append(Doubt("note", "Documents without a grade", unjudged(report, places)))
    found.append(Doubt("note", "What would overturn it", tipping(report, places)))
    return tuple(found)


def judge(report: Report) -> Doubt:
    """Who graded, and whether anybody checked."""
    card = report.card
    if report.by_people:
        who = report.judge.removeprefix("human:")
        return Doubt("note", "Measured by people", f"The grades are of “{who}”; what they got wrong is not in the interval.")
    if report.audit is not None:
        head = f"Measured by {report.judge}, corrected by people"
    else:
        head = f"Measured by {report.judge}, no human audit"
    if card is None:
        return Doubt("warning", head, "It has no judge card: nobody has compared it with people on this scale.")
    if not card.bars:
        return Doubt("note", head, "It was compared with people before, and no bars were set for it to pass.")
    missed = cards.misses(card)
    if missed:
        return Doubt("warning", head, f"Against people it does not pass the bars of its card: {'; '.join(missed)}.")
    return Doubt("note", head, f"Against people it passed the bars of its card ({', '.join(_against(card))}).")


def _against(card: JudgeCard) -> list[str]:
    return [f"{n} {words.plain(e.value)}, n = {words.count(e.n)}" for n, e in card.agreement.items() if n in card.bars]


def truth(report: Report, places: int) -> str:
    """In a simulation: the known truth, and whether the interval holds it. Otherwise nothing."""
    if report.truth is None:
        return ""
    inside = report.delta.low <= report.truth <= report.delta.high
    where = "inside" if inside else "outside"
    return f"The known truth of this simulation is {words.signed(report.truth, places)}: {where} the interval."


def mde(report: Report, places: int) -> str:
    """The smallest difference that a sample like this one usually finds."""
    if not report.mde > 0:
        return ""
    relative = ""
    if report.control is not None and report.control.value > 0:
        relative = f" ({words.percent(report.mde / report.control.value)} of the control's level)"
    return f"A sample like this one finds a true difference of ±{words.plain(report.mde, places)}{relative} four times in five."


def overturn(report: Report, places: int) -> tuple[str, ...]:
    """What would change the answer: an error of the grades, and documents that have none."""
    return (tipping(report, places), unjudged(report, places))


def tipping(report: Report, places: int) -> str:
    """How far the judge would have to lean towards an arm for another verdict, and how far it was found to."""
    if report.audit is not None:
        return beside.audit(report, places)[1]
    said = _overturned(report, places)
    if report.by_people or report.delta.caveat:
        return said
    found = report.card.agreement.get("difference error") if report.card else None
    if found is None:
        return f"{said} Its bias was not measured: an audit (sample --for audit) would."
    lean = f"{words.signed(found.value, places)} ({words.interval(found, places)}, n = {words.count(found.n)})"
    return f"{said} On golden queries its card found {lean}; in this experiment an audit would tell."


def _overturned(report: Report, places: int) -> str:
    who = "the people who graded" if report.by_people else report.judge
    delta, tip = report.delta, report.tipping_bias
    lean = f"{words.plain(tip, places)} a query on average"
    if delta.caveat:
        return "The interval itself is not reliable: more queries that differ are needed before anything can be overturned."
    if delta.low > 0 or delta.high < 0:
        side = "treatment" if delta.value > 0 else "control"
        part = f" ({100 * tip / abs(delta.value):.0f}% of the measured difference)" if delta.value else ""
        return f"If {who} favoured the {side} by {lean}{part}, the interval would reach zero."
    if not tip > 0:
        return "One end of the interval is zero: the least error of the grades would turn the answer."
    side, then = ("control", "better") if abs(delta.low) < abs(delta.high) else ("treatment", "worse")
    return f"If {who} favoured the {side} by {lean}, the treatment would in truth be clearly {then}."


def unjudged(report: Report, places: int) -> str:
    """How much of what was shown has no grade, what was done about it, and how far it could move the difference."""
    u, k = report.unjudged, report.k
    if u.mode == "condensed":
        low, high = words.signed(u.low, places), words.signed(u.high, places)
        return (
            "Documents without a grade were taken out of both lists before these were cut: only graded ones are compared. "
            f"Before that, {words.percent(u.control.value)} of the control's and {words.percent(u.treatment.value)} of the "
            f"treatment's top {k} had no grade (n = {words.count(u.control.n)} queries), and with them in their places the "
            f"difference could be anything from {low} to {high}."
        )
    if u.control.value == 0 and u.treatment.value == 0:
        return f"Every document in the top {k} of both arms has a grade."
    shares = (
        f"{words.percent(u.control.value)} of the control's and {words.percent(u.treatment.value)} of the treatment's top {k} "
        f"have no grade (n = {words.count(u.control.n)} queries)."
    )
    if not u.moved:
        return f"{shares} All of these stand at the same rank in both arms, so they cannot change the difference."
    counted = " They were counted as no gain." if u.mode == "as zero" else ""
    low, high = words.signed(u.low, places), words.signed(u.high, places)
    moved = words.many(u.moved, "of these can", "of these can")
    return (
        f"{shares}{counted} {moved} change the difference: "
        f"graded against the treatment they would make the difference {low}, for it {high}."
    )


def design(report: Report) -> str:
    """What the sampled queries stand for."""
    d = report.design
    sampled, population = sum(s.sample for s in d.strata), sum(s.population for s in d.strata)
    seed = "" if d.seed is None else f", drawn with seed {d.seed}"
    queries = words.many(sampled, "query", "queries")
    if len(d.strata) > 1:
        return f"{queries} in {len(d.strata)} strata stand for {words.count(population)} {d.unit}{seed}."
    if population > sampled:
        return f"{queries} stand for {words.count(population)} {d.unit}, as a simple random sample{seed}."
    return f"{queries}, taken as a simple random sample of those that they stand for{seed}."


def sides(report: Report) -> tuple[int, int, int] | None:
    """Queries that got worse, stayed exactly the same and got better; None where a histogram bin holds both sides."""
    h = report.differences
    if h is None:
        return None
    bins = list(zip(h.edges, h.edges[1:], h.counts, strict=False))
    noise = 1e-9 * max((abs(edge) for edge in h.edges), default=0.0)
    if not bins or any(low < -noise and high > noise and n for low, high, n in bins):
        return None
    return sum(n for _, high, n in bins if high <= noise), h.zeros, sum(n for low, _, n in bins if low >= -noise)


# --- parts ----------------------------------------------------------------------------------------------------------


def _headline_axis(report: Report) -> charts.Axis:
    held = [report.delta.low, report.delta.high, -report.mde, report.mde]
    return charts.axis([*held, report.truth] if report.truth is not None else held)


def dimensions(report: Report) -> tuple[Dimension, ...]:
    """One forest plot a dimension, in the order of the report."""
    names = dict.fromkeys(e.dimension for e in report.by_segment)
    return tuple(_dimension(report, n, _ordered([e for e in report.by_segment if e.dimension == n])) for n in names)


def _ordered(effects: list[Effect]) -> list[Effect]:
    """Popularity from head to single; anything else by its share of the population, the largest first."""
    if all(e.name.split()[0] in POPULARITY for e in effects if e.name):
        return sorted(effects, key=lambda e: POPULARITY.index(e.name.split()[0]))
    return sorted(effects, key=lambda e: -e.share)


def _dimension(report: Report, name: str, effects: Sequence[Effect]) -> Dimension:
    measured = [e.delta for e in effects if e.delta is not None]
    axis = charts.forest([d for d in measured if not d.caveat] or measured, report.delta)
    rows = tuple(_segment(axis, e) for e in effects)
    pulled, places = any(e.shrunken is not None for e in effects), min(4, words.digits(report.delta.se))
    return Dimension(name, axis, charts.mark(axis, report.delta), rows, places, segments.differ(report, name), pulled)


def _segment(axis: charts.Axis, effect: Effect) -> SegmentRow:
    if effect.delta is None:
        return SegmentRow(effect, None, True, effect.note or "not measured")
    remark = "; ".join(dict.fromkeys(text for text in (effect.delta.caveat, effect.note) if text))
    return SegmentRow(effect, charts.mark(axis, effect.delta), bool(effect.delta.caveat), remark)


def grade(report: Report, relevance: int | None) -> Grade:
    """A relevance in words, with a colour step that spreads any scale over five."""
    if relevance is None:
        return Grade("no grade", "none")
    if not 0 <= relevance < len(report.labels):
        return Grade(f"grade {relevance}", "2")
    step = round(4 * relevance / max(1, len(report.labels) - 1))
    return Grade(_long_name(report, relevance), str(step))


def _grade_of_label(report: Report, label: str) -> Grade:
    if label in report.labels:
        return grade(report, report.labels.index(label))
    return Grade("no grade" if label == "unjudged" else label, "none")


def _long_name(report: Report, relevance: int) -> str:
    """ "Exact" for ESCI's "E": where a built-in scale's label is a letter, its longest alias says what it means."""
    label = report.labels[relevance]
    scale = scales.BUILT_IN.get(report.scale)
    if len(label) > 2 or scale is None or scale.labels != report.labels:
        return label
    named = [a for a, index in scale.aliases.items() if index == relevance and a.isalpha()]
    return max(named, key=len, default=label).lower()


def compared(report: Report, query: QueryResult) -> Compared:
    """A query's two result lists rank by rank, each document with its grade and what became of it in the other arm."""
    here = {r.doc_id: r.rank for r in query.control_results}
    there = {r.doc_id: r.rank for r in query.treatment_results}
    control = {r.rank: _shown(report, r, there.get(r.doc_id), control=True) for r in query.control_results}
    treatment = {r.rank: _shown(report, r, here.get(r.doc_id), control=False) for r in query.treatment_results}
    ranks = tuple(Rank(rank, control.get(rank), treatment.get(rank)) for rank in sorted({*control, *treatment}))
    return Compared(query, ranks[:SHOWN], ranks[SHOWN:])


def _shown(report: Report, result: Result, other: int | None, *, control: bool) -> Shown:
    grade_ = grade(report, result.relevance)
    if other == result.rank:
        return Shown(result, grade_, "same rank", "same")
    if other is None:
        return Shown(result, grade_, *(("not in the treatment", "gone") if control else ("not in the control", "new")))
    if control:
        return Shown(result, grade_, f"to {other}", "up" if other < result.rank else "down")
    return Shown(result, grade_, f"from {other}", "up" if result.rank < other else "down")
