"""A day's level beside the same corrected by what people said of the day's golden pairs. The plain level stays what it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from germane.monitor.days import Day
from germane.registry import days, looking, voted
from germane.registry.database import Registry
from germane.registry.voted import Asked, Said
from germane.report import words
from germane.stats.correction import corrected_documents
from germane.types import Estimate
from germane.watching import comparing
from germane.watching.agreeing import weights

LEAST = 10
"""Pairs with a vote that a day's correction takes."""

SHOWN = 14
"""Days that are corrected, the last ones."""

ROUNDING = 1e-9
CUT = "cut at 0 and 1"
"""What the caveat of a corrected level says that would leave the scale."""


@dataclass(frozen=True)
class Corrected:
    """A day's level by the judge, the same as people would have it, and the judge's bias: judge minus people, in the metric.

    corrected: cut at 0 and 1 (see its caveat), which the bias is not.
    """

    date: str
    metric: str
    level: Estimate
    corrected: Estimate
    bias: Estimate


def levels(registry: Registry, metric: str, *, most: int = SHOWN, first: str | None = None) -> list[Corrected]:
    """The corrected levels of the last days whose golden pairs people judged, at most so many, in order of date."""
    asked, said = voted.asked(registry, first=first), voted.said(registry, first=first)
    known = {vote.pair_id for vote in said if vote.relevance is not None}
    judged = Counter(one.date for one in asked if one.pair_id in known)
    made = []
    for date in sorted(date for date, n in judged.items() if n >= LEAST)[-most:]:
        plain = days.levels_of(registry, metric=metric, segment="all", first=date, last=date)
        pairs = [one for one in asked if one.date == date]
        if plain and (row := looking.day(registry, date)) is not None:
            sampled, _ = comparing.day_of(row, days.queries_of(registry, date))
            made += [found] if (found := corrected(plain[0].estimate, metric, sampled, pairs, said)) is not None else []
    return made


def corrected(level: Estimate, metric: str, day: Day, asked: Sequence[Asked], said: Sequence[Said]) -> Corrected | None:
    """The day's level of sDCG corrected by its golden pairs; None with fewer than LEAST of them judged.

    level: over all, by the judge. day: its sample. asked: pairs of that day. A query's part of the level is
    w (x - level) / sum w with w of `Day.weights` (the linearised ratio); each golden document adds part of the query times
    people's gain minus the judge's, over its chance: the prediction-powered estimate with lambda 1.
    Source: `stats.correction.corrected_documents`; linearised ratio: Särndal, Swensson, Wretman (1992), section 5.6.
    """
    gains: dict[int, list[float]] = defaultdict(list)
    of = {one.pair_id: one for one in asked}
    for vote in said:
        if vote.relevance is not None and vote.pair_id in of:
            worth = of[vote.pair_id].gains
            gains[vote.pair_id].append(worth[vote.relevance] / max(worth))
    known = np.isfinite(day.metrics[metric]) if metric in day.metrics else np.zeros(len(day), np.bool_)
    place = {query: i for i, query in enumerate(day.query[known].tolist())}
    pairs = [one for one in asked if one.pair_id in gains and one.query in place]
    if len(pairs) < LEAST or len(place) < 2:
        return None
    w, x, strata = day.weights[known], day.metrics[metric][known], day.stratum[known].tolist()
    each = w * len(place) / w.sum()
    rows = [place[one.query] for one in pairs]
    odds = weights(asked, gains)
    found = corrected_documents(
        each * (x - level.value),
        query=rows,
        weight=[float(each[row]) * one.part for row, one in zip(rows, pairs, strict=True)],
        judge_gain=[one.gains[one.relevance] / max(one.gains) for one in pairs],
        people_gain=[float(np.mean(gains[one.pair_id])) for one in pairs],
        chance=[min(one.weight / odds[one.date, one.pair_id], 1.0) for one in pairs],
        strata=strata,
        populations={name: float(strata.count(name)) for name in set(strata)},
        lam=1.0,
        level=level.level,
    )
    e = found.estimate
    moved = replace(e, value=e.value + level.value, low=e.low + level.value, high=e.high + level.value, n=len(pairs))
    return Corrected(asked[0].date, metric, level, on_scale(moved), replace(found.bias, n=len(pairs)))


def on_scale(e: Estimate) -> Estimate:
    """The same with value and interval cut at 0 and 1, as the plain level's are; a caveat says what they were.

    >>> e = on_scale(Estimate(-0.04, 0.3, -0.63, 0.55, 20, "m"))
    >>> e.value, e.low, e.high, e.caveat
    (0.0, 0.0, 0.55, 'cut at 0 and 1, was −0.040 (−0.630 to 0.550)')
    """
    value, low, high = (min(max(x, 0.0), 1.0) for x in (e.value, e.low, e.high))
    cut = replace(e, value=value, low=low, high=high)
    if not max(abs(value - e.value), abs(low - e.low), abs(high - e.high)) > ROUNDING:
        return cut
    was = f"{CUT}, was {words.plain(e.value, 3)} ({words.interval(e, 3, sign=False)})"
    return replace(cut, caveat="; ".join(filter(None, (e.caveat, was))))
