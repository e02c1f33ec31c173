"""A JudgeCard prepared for reading: what it passes first, then the other statistics, then each grade."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from germane import cards, scales
from germane.report import charts
from germane.types import Estimate, JudgeCard

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


@dataclass(frozen=True)
class CardView:
    """A card's answer, its verdict, its statistics (those with a bar first) and its grades. labels: "" of a strange scale."""

    card: JudgeCard
    answer: str
    passed: bool
    axis: charts.Axis
    lines: tuple[Line, ...]
    by_grade: tuple[ByGrade, ...]
    labels: tuple[str, ...]


def of(card: JudgeCard) -> CardView:
    """A judge card prepared for reading."""
    whole = {name: e for name, e in card.agreement.items() if not _OF_A_GRADE.fullmatch(name) or name in card.bars}
    axis = charts.axis([1.0, *(e.low for e in whole.values()), *card.bars.values()], room=0.02)
    names = [*card.bars, *(name for name in whole if name not in card.bars)]
    lines = tuple(_line(axis, name, whole.get(name), card.bars.get(name)) for name in names)
    passed = bool(card.bars) and not cards.misses(card)
    return CardView(card, answer(card), passed, axis, lines, by_grade(card), labels(card))


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


def _line(axis: charts.Axis, name: str, estimate: Estimate | None, bar: float | None) -> Line:
    mark = None if estimate is None else charts.mark(axis, estimate)
    state = "" if bar is None else "passed" if estimate is not None and estimate.low >= bar else "not passed"
    return Line(name, estimate, mark, bar, state)
