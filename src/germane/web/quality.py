"""What the quality page says of votes: the figures of `golden.quality`, as its report has them."""

from __future__ import annotations

from typing import NamedTuple

from germane.golden.quality import quality
from germane.registry import telling
from germane.registry.database import Registry
from germane.registry.tasks import Task
from germane.report import golden as report
from germane.report.probing import Grid
from germane.types import InputError

LEAST = 20  # pairs that raters must have for figures of their own


class Found(NamedTuple):
    """The answer in a sentence or two, what to know first, and tables. Without votes there are none."""

    answer: str
    notes: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()


def found(registry: Registry, task: Task) -> Found:
    """How well a task is judged: agreement with intervals, by rater, week, stratum and guide, and a second opinion."""
    said, known = telling.votes_of(registry, task), telling.controls_of(registry, task)
    try:
        seen = quality(said, task.scale, controls=known or None, least=LEAST)
    except InputError as problem:
        return Found(f"Nothing can be said yet: {problem}.")
    return Found(report.answer(seen), tuple(seen.notes), report.grids(seen))
