"""From the history of changes to alerts: what dropped or rose, by how much, since when, and which segments carry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from germane.monitor.changes import PAIRED
from germane.types import Estimate

Direction = Literal["down", "up"]


@dataclass(frozen=True)
class Rules:
    """How watchful to be. per_quarter: false alarms in 90 days, on average, over all metrics and segments together.

    down: share of these that may be false drops; the rest are false rises. mix: share for the mix of queries. overall: share
    for segment "all". window: days within which a change has to show. learning: days before the first alarm.
    gap: more missing days than this, and the detectors start anew. metrics: those watched, () for all.
    """

    per_quarter: float = 1.0
    down: float = 0.8
    mix: float = 0.2
    overall: float = 0.2
    window: int = 5
    learning: int = 14
    gap: int = 7
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alert:
    """What moved. date: raised. since: the first day that shows it, estimated. size: the step, in units of the metric.

    carried_by: segments that show it by themselves, the largest part of the whole first. part: "same queries" or "mix of
    queries". also: (metric, segment) of other series that crossed their threshold for the same event.
    evidence: the step in its standard errors, threshold: those that an alarm takes.
    """

    metric: str
    segment: str
    date: str
    since: str
    size: Estimate
    direction: Direction
    carried_by: tuple[str, ...] = ()
    part: str = PAIRED
    also: tuple[tuple[str, str], ...] = ()
    evidence: float = 0.0
    threshold: float = 0.0
