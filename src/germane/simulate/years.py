"""Years of a watched search whose truth is known: weekdays, slow drift, a rotating panel, and incidents, as daily figures.

Fast: a year of 2,000 sampled queries is drawn as one array and summed into each segment's daily change, as the daily job
would estimate it from its panel. `simulate.incidents` draws single days with result lists, for what a change is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.types import InputError

Floats = NDArray[np.float64]
Cause = Literal["search", "traffic", "catalogue", "judge"]

SEGMENTS = {
    "language": {"en": 0.6, "de": 0.3, "fr": 0.1},
    "device": {"mobile": 0.6, "desktop": 0.4},
    "interest": {"home": 0.25, "fashion": 0.2, "garden": 0.15, "toys": 0.1, "food": 0.1, "sport": 0.1, "books": 0.1},
}


HOLIDAYS = (353, 360)
"""The days of a year, from its first Monday on, when other things are asked for: from the 24th of December on."""


class Incident(NamedTuple):
    """What goes wrong from a day on. drop: relative, of the level of the segment ("all" or column=value)."""

    day: int
    cause: Cause
    segment: str
    drop: float


@dataclass(frozen=True)
class Market:
    """A search as it is sampled. level, between: mean and SD of queries' metric. moves: SD of one query's difference from one
    day to the next. lasting: how much of a query's deviation stays to the next day: 0 where all noise comes and goes.
    quiet: share of days on which a query's results are as usual. rotation: share of the panel replaced each day.
    weekday: SD of the weekdays' effect on the metric. weekend: by how much traffic moves between segments at weekends.
    drift: the largest slow change of a year, in units of the metric. busy: SD of the log of a query's daily traffic.
    alike: correlation of the noise of two metrics. wave: amplitude of a yearly wave of the metric, relative to its level;
    a query's own differs by half as much. holidays: SD of the log by which traffic moves between segments in a week of
    December (`HOLIDAYS`), and half of it between queries.
    """

    queries: int = 2000
    level: float = 0.5
    between: float = 0.2
    moves: float = 0.05
    lasting: float = 0.0
    quiet: float = 0.5
    rotation: float = 0.02
    weekday: float = 0.002
    weekend: float = 0.2
    drift: float = 0.03
    busy: float = 0.15
    alike: float = 0.8
    wave: float = 0.0
    holidays: float = 0.0
    segments: dict[str, dict[str, float]] = field(default_factory=lambda: SEGMENTS)


class Year(NamedTuple):
    """Daily figures of S segments ("all" first) over T days, (T, S) each; the first day has no change (NaN).

    paired, paired_se: change of the same queries; mix, mix_se: what the mix of queries adds. n: queries compared.
    level: the metric's mean over requests; sample: (T, n) each query's metric, for tools that look at
    distributions; member: (n, S) who is in each segment.
    """

    segments: tuple[str, ...]
    paired: Floats
    paired_se: Floats
    mix: Floats
    mix_se: Floats
    n: Floats
    level: Floats
    sample: Floats
    member: NDArray[np.bool_]


def year(
    market: Market | None = None,
    *,
    incidents: Sequence[Incident] = (),
    days: int = 365,
    metrics: int = 1,
    independent: bool = False,
    seed: int,
) -> list[Year]:
    """A year's figures, one `Year` a metric, fixed by the seed. independent: other queries each day, as drawn anew.

    Metrics of the same queries move alike (`Market.alike`), and every incident strikes all of them.

    Source: a design of ours; its constants are choices, and named in `Market`. A simulation, never a measurement.
    Raises: InputError for an incident in a segment that the market does not have.

    >>> [y] = year(Market(queries=200), days=30, seed=1)
    >>> y.paired.shape, y.segments[:3]
    ((30, 13), ('all', 'language=en', 'language=de'))
    """
    market = market or Market()
    rng = np.random.default_rng(seed)
    names, member = members_of(market, rng)
    xs, mean = _metric(market, days, metrics, rng, independent)
    w = traffic_of(market, names, member, days, rng)
    _seasons(market, xs, w, member, np.random.default_rng([seed, 1]))
    for incident in incidents:
        if incident.segment not in names:
            raise InputError(f"an incident in {incident.segment!r}: the market has {', '.join(names)}")
        _strike(incident, xs, w, mean, member[:, names.index(incident.segment)], rng)
    kept = rng.random(w.shape) >= market.rotation  # a query that leaves the panel gives way to one of its segments
    return [_figures(names, member.astype(np.float64), x, w, kept) for x in xs]


def members_of(market: Market, rng: np.random.Generator) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Segment names, and (n, S) who is in each; the columns are independent."""
    names, columns = ["all"], [np.ones(market.queries, np.bool_)]
    for column, shares in market.segments.items():
        total = sum(shares.values())
        count = np.round(np.cumsum([s / total for s in shares.values()]) * market.queries).astype(np.int64)
        value = rng.permutation(np.searchsorted(count, np.arange(market.queries), side="right"))
        for i, name in enumerate(shares):
            names.append(f"{column}={name}")
            columns.append(value == i)
    return tuple(names), np.stack(columns, axis=1)


def _metric(
    market: Market, days: int, metrics: int, rng: np.random.Generator, independent: bool
) -> tuple[list[Floats], Floats]:
    """(T, n) each query's metric without an incident, once a metric, and (n,) its own level."""
    n = market.queries
    spread = market.level * (1 - market.level) / market.between**2 - 1
    mean = rng.beta(market.level * spread, (1 - market.level) * spread, n)
    own = rng.beta(market.level * spread, (1 - market.level) * spread, (days, n)) if independent else mean
    sd = market.moves / np.sqrt(2 * (1 - market.lasting)) / np.sqrt(1 - market.quiet)
    loud = rng.random((days, n)) >= market.quiet
    stays = rng.random((days, n)) < market.lasting if market.lasting else None
    shared = rng.standard_normal((days, n))
    day, found = np.arange(days), []
    for m in range(metrics):
        z = shared
        if m:
            z = market.alike * shared + np.sqrt(1 - market.alike**2) * rng.standard_normal((days, n))
        noise = np.where(loud, sd * z, 0.0)
        for t in range(1, days) if stays is not None else ():  # results stay as they were yesterday, or are drawn anew
            noise[t] = np.where(stays[t], noise[t - 1], noise[t]) if stays is not None else noise[t]
        weekday = rng.normal(0, market.weekday, 7)
        slope = rng.uniform(-market.drift, market.drift) / 365
        found.append(own + noise + ((weekday - weekday.mean())[day % 7] + slope * day)[:, None])
    return found, mean


def traffic_of(market: Market, names: Sequence[str], member: NDArray[np.bool_], days: int, rng: np.random.Generator) -> Floats:
    """(T, n) requests that each query stands for: its own, weekends, and each day's chance."""
    base = rng.lognormal(0, 0.3, market.queries)
    tilt = rng.normal(0, market.weekend / 2, len(names))
    tilt[0] = 0.0
    weekend = np.exp(member @ tilt)
    factor = np.where((np.arange(days) % 7 >= 5)[:, None], weekend, 1.0)
    return base * factor * np.exp(market.busy * rng.standard_normal((days, market.queries)))


def _seasons(market: Market, xs: Sequence[Floats], w: Floats, member: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """A wave of the metrics over the year, and another mix in the holidays."""
    days, n = w.shape
    if market.wave:
        own = market.wave * market.level * (1 + 0.5 * rng.standard_normal(n))
        year_round = np.sin(2 * np.pi * (np.arange(days) / 365 + rng.random()))
        for x in xs:
            x += year_round[:, None] * own
    if market.holidays:
        tilt = rng.normal(0, market.holidays / 2, int(member.shape[1]))
        tilt[0] = 0.0
        first, last = HOLIDAYS
        w[first:last] *= np.exp(member @ tilt + rng.normal(0, market.holidays / 2, n))


def _strike(
    incident: Incident, xs: Sequence[Floats], w: Floats, mean: Floats, inside: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    """Change the metrics, or the traffic, from the incident's day on."""
    t = incident.day
    weight = w[:t].mean(0)
    level = float(weight[inside] @ mean[inside] / weight[inside].sum())
    if incident.cause == "traffic":
        low = inside & (mean < np.median(mean[inside]))
        rest = inside & ~low
        a, b = weight[low] @ mean[low] / weight[low].sum(), weight[rest] @ mean[rest] / weight[rest].sum()
        target = max(level * (1 - incident.drop), a + 1e-3)
        w[t:, low] *= weight[rest].sum() * (b - target) / (weight[low].sum() * (target - a))
        return
    hit = 1.0 if incident.cause == "judge" else 0.4  # a judge grades everything anew, others touch some queries
    struck = inside & (rng.random(inside.size) < hit)
    for x in xs:
        x[t:, struck] -= incident.drop * level * weight[inside].sum() / weight[struck].sum()


def _figures(names: tuple[str, ...], part: Floats, x: Floats, w: Floats, kept: NDArray[np.bool_]) -> Year:
    """Each segment's change and level, with the standard errors that the daily job would give them."""
    nothing = np.full((1, part.shape[1]), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        level = (w * x) @ part / (w @ part)
        same = kept[1:]
        d, v = np.where(same, x[1:] - x[:-1], 0.0), np.where(same, (w[1:] + w[:-1]) / 2, 0.0)
        total = v @ part
        value = (v * d) @ part / total
        v2 = v**2
        square = (v2 * d**2) @ part - 2 * value * ((v2 * d) @ part) + value**2 * (v2 @ part)
        se = np.sqrt(np.maximum(square, 0)) / total
        old, new = np.where(same, w[:-1], 0.0), np.where(same, w[1:], 0.0)
        mid = (x[1:] + x[:-1]) / 2
        w0, w1 = old @ part, new @ part
        a, b = (old * mid) @ part / w0, (new * mid) @ part / w1

        def moment(weight: Floats, one: Floats, two: Floats) -> Floats:  # sum weight (mid - one) (mid - two)
            return np.asarray(
                (weight * mid**2) @ part - (one + two) * ((weight * mid) @ part) + one * two * (weight @ part), np.float64
            )

        mixed = moment(new**2, b, b) / w1**2 + moment(old**2, a, a) / w0**2 - 2 * moment(new * old, a, b) / (w0 * w1)
    rows = [np.vstack([nothing, r]) for r in (value, se, b - a, np.sqrt(np.maximum(mixed, 0)), same.astype(np.float64) @ part)]
    return Year(names, rows[0], rows[1], rows[2], rows[3], rows[4], level, x, part > 0)
