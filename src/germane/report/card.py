"""A JudgeCard prepared for reading: what it passes first, then the other statistics, then each grade."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from germane import cards, scales
from germane.report import charts, probing, words
from germane.types import Estimate, JudgeCard, Reliability, is_error

_OF_A_GRADE = re.compile(r"(precision|recall|F1) of (.+)")
_PARTS = ("precision", "recall", "F1")


class Line(NamedTuple):
    """A statistic with its place on the axis, and its bar. state: "passed", "not passed" or "" where no bar was set."""

    name: str
    estimate: Estimate | None
    mark: charts.Mark | None
    bar: float | None
    state: str


class ByGrade(NamedTuple):
    """How well a judge finds one grade: precision, recall and F1, None where one was not measured."""

    label: str
    parts: tuple[Estimate | None, ...]


class Part(NamedTuple):
    """A table of statistics that share an axis. errors: in units of the metric, better the nearer to 0."""

    title: str
    lead: str
    axis: charts.Axis
    lines: tuple[Line, ...]
    errors: bool


class Split(NamedTuple):
    """One dimension's segments: the statistics shown, and a row a segment with one estimate each, None where not measured."""

    dimension: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Estimate | None, ...]], ...]


@dataclass(frozen=True)
class CardView:
    """A card's answer, its verdict, its statistics (those with a bar first) and its grades. labels: "" of a strange scale.

    parts: scores, paired differences and decisions. bias: what the paired bias comes to, in sentences. splits: by segment.
    uneven: whether errors differ by a dimension, in sentences. probing: attacks and other words for the prompt.
    """

    card: JudgeCard
    answer: str
    passed: bool
    axis: charts.Axis
    lines: tuple[Line, ...]
    by_grade: tuple[ByGrade, ...]
    labels: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    bias: tuple[str, ...] = ()
    splits: tuple[Split, ...] = ()
    reliability: tuple[tuple[str, tuple[Reliability, ...]], ...] = ()
    errors_barred: bool = False
    uneven: tuple[str, ...] = ()
    probing: tuple[tuple[str, str, tuple[probing.Grid, ...]], ...] = ()


_LEADS = {
    "scores": ("Scores", "Each list's sDCG, by people's grades and by the judge's, on the same documents at the same ranks."),
    "differences": ("Paired differences", "Treatment minus control, query by query: what an experiment rests on."),
    "decisions": ("Decisions", "What people and the judge would conclude, in experiments resampled from these queries."),
}
_OF_SEGMENTS = (
    *("coverage", "exact", "quadratic kappa", "macro F1", "specificity", "gain error", "score tau-b", "score rho"),
    *("score error", "difference rho", "difference error", "decision agreement"),
)


def of(card: JudgeCard) -> CardView:
    """A judge card prepared for reading."""
    whole = {name: e for name, e in card.agreement.items() if not _OF_A_GRADE.fullmatch(name) or name in card.bars}
    axis, lines = _lines(card, whole, "labels", room=0.02)
    passed = bool(card.bars) and not cards.misses(card)
    whole_card = CardView(card, answer(card), passed, axis, lines, by_grade(card), labels(card))
    return replace(
        whole_card,
        parts=_parts(card),
        bias=_bias(card),
        splits=_splits(card),
        reliability=_reliability(card),
        errors_barred=any(map(is_error, card.bars)),
        uneven=probing.uneven(card),
        probing=probing.card_grids(card),
    )


def answer(card: JudgeCard) -> str:
    """What a judge card says, in one sentence."""
    if not card.bars:
        return f"{card.judge} was compared with people; no bars were set for it to pass."
    missed = cards.misses(card)
    if not missed:
        return f"{card.judge} passes every bar that was set: {', '.join(card.bars)}."
    return f"{card.judge} does not pass its bars on this scale: {'; '.join(missed)}."


def by_grade(card: JudgeCard) -> tuple[ByGrade, ...]:
    """The statistics named "precision of LABEL", "recall of LABEL" and "F1 of LABEL", one row a label."""
    found: dict[str, dict[str, Estimate]] = {}
    for name, estimate in card.agreement.items():
        if match := _OF_A_GRADE.fullmatch(name):
            found.setdefault(match[2], {})[match[1]] = estimate
    return tuple(ByGrade(label, tuple(parts.get(part) for part in _PARTS)) for label, parts in found.items())


def labels(card: JudgeCard) -> tuple[str, ...]:
    """The names of the confusion's rows: of a built-in scale, or of the card's own statistics, or plain indices."""
    size = len(card.confusion)
    scale = scales.BUILT_IN.get(card.scale)
    named = scale.labels if scale else tuple(row.label for row in by_grade(card))
    return named if len(named) == size else tuple(str(index) for index in range(size))


def _lines(
    card: JudgeCard, found: Mapping[str, Estimate], level: str, *, room: float, errors: bool | None = None
) -> tuple[charts.Axis, tuple[Line, ...]]:
    """The statistics of one level, those with a bar first, and their axis. errors: those alone, or all but those."""

    def here(name: str) -> bool:
        return cards.level_of(name) == level and (errors is None or is_error(name) == errors)

    bars = {name: bar for name, bar in card.bars.items() if here(name)}
    whole = {name: e for name, e in found.items() if here(name)}
    ends = [x for e in whole.values() for x in ((e.low, e.high) if errors else (e.low,))]
    ends += [end for name, bar in bars.items() for end in ((-bar, bar) if is_error(name) else (bar,))]
    axis = charts.axis([*([] if errors else [1.0]), *ends], room=room)
    names = [*bars, *(name for name in whole if name not in bars)]
    return axis, tuple(_line(axis, card, name, whole.get(name)) for name in names)


def _line(axis: charts.Axis, card: JudgeCard, name: str, estimate: Estimate | None) -> Line:
    mark = None if estimate is None else charts.mark(axis, estimate)
    state = "" if name not in card.bars else "passed" if card.meets(name) else "not passed"
    return Line(name, estimate, mark, card.bars.get(name), state)


def _parts(card: JudgeCard) -> tuple[Part, ...]:
    """Scores, paired differences and decisions; agreement and errors on an axis each."""
    parts = []
    for level, (title, lead) in _LEADS.items():
        for errors in (False, True):
            axis, lines = _lines(card, card.agreement, level, room=0.06 if errors else 0.02, errors=errors)
            if lines:
                name = f"{title}: judge minus people, in units of sDCG" if errors else title
                parts.append(Part(name, "" if errors else lead, axis, lines, errors))
    return tuple(parts)


def _bias(card: JudgeCard) -> tuple[str, ...]:
    """What is to be said of the paired bias against its margin."""
    e = card.equivalence
    if e is None:
        return ()
    inside = f"{words.signed(e.low)} to {words.signed(e.high)}"
    told = {
        "equivalent": f"Equivalent: the paired bias is shown to lie within {e.margin:g} (90% interval {inside}).",
        "not equivalent": f"Not equivalent: the paired bias is shown to lie beyond {e.margin:g} (90% interval {inside}).",
        "underpowered": f"Underpowered: these queries do not show whether the paired bias lies within {e.margin:g} "
        f"(90% interval {inside}).",
    }[e.verdict]
    more = f" If there is none, about {words.count(e.needed)} queries would show it (power 0.8)." if e.needed else ""
    note = f" {e.note[0].upper()}{e.note[1:]}." if e.note else ""
    return (told + (more if e.verdict == "underpowered" else "") + note,)


def _reliability(card: JudgeCard) -> tuple[tuple[str, tuple[Reliability, ...]], ...]:
    """Grade by grade, the buckets of its probabilities."""
    grades = dict.fromkeys(row.label for row in card.reliability)
    return tuple((label, tuple(row for row in card.reliability if row.label == label)) for label in grades)


def _splits(card: JudgeCard) -> tuple[Split, ...]:
    """The segments by dimension, with the statistics that any of them has; targeted pairs are a dimension of their own."""
    rows: dict[str, list[tuple[str, Mapping[str, Estimate]]]] = {}
    for each in card.slices:
        rows.setdefault(each.dimension, []).append((each.name, each.found))
    if card.targeted:
        rows["pairs that were chosen"] = [("targeted", card.targeted)]
    splits = []
    for dimension, parts in rows.items():
        for labels_ in (True, False):  # two tables: one would be too wide to read
            wanted = [name for name in _OF_SEGMENTS if (cards.level_of(name) == "labels") == labels_]
            names = tuple(name for name in wanted if any(name in found for _, found in parts))
            shown = tuple((name, tuple(found.get(n) for n in names)) for name, found in parts)
            splits += [Split(dimension, names, shown)] if names else []
    return tuple(splits)
