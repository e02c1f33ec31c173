"""From the history of changes to alerts: what dropped or rose, by how much, since when, and which segments carry it."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from germane.monitor.changes import MIX, PAIRED, Change
from germane.monitor.days import ALL
from germane.monitor.detecting import Chains, Snapshot, scan
from germane.stats.means import t_quantile
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]
Direction = Literal["down", "up"]
Series = tuple[str, str, str]  # part, metric, segment

QUARTER = 90
SPENT = 0.8
"""Of the false alarms allowed, the share that thresholds spend: they take the noise as known, and it is learned, which costs
the rest. Source: our simulations, docs/statistics/alerts.md.
"""

CARRIES = 2.5
"""A segment carries an alert if it shows the step by itself with so many standard errors."""

MORE = 2.0
"""Segments whose step exceeds that of the whole by so many standard errors are named alone."""


@dataclass(frozen=True)
class Rules:
    """How watchful to be. per_quarter: false alarms in 90 days, on average, over all metrics and segments together.

    down: share of these that may be false drops; the rest are false rises. mix: share for the mix of queries. overall: share
    for segment "all". window: days within which a change has to show. learning: days before the first alarm.
    gap: more missing days than this, and the detectors start anew. least: fewer queries than this are not watched.
    metrics: those watched, () for all.
    """

    per_quarter: float = 1.0
    down: float = 0.8
    mix: float = 0.2
    overall: float = 0.2
    window: int = 5
    learning: int = 14
    gap: int = 7
    least: int = 30
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("down", "mix", "overall"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: give a share of the false alarms, 0 to 1")
        if not 0 < self.per_quarter <= QUARTER:
            raise InputError(f"per_quarter is {self.per_quarter}: give false alarms in {QUARTER} days, above 0")
        if self.window < 1 or self.learning < 2 or self.gap < 0 or self.least < 2:
            raise InputError("window is 1 day or more, learning 2 days or more, gap 0 or more, least 2 queries or more")


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


def detect(
    days: Sequence[Sequence[Change]],
    dates: Sequence[str],
    rules: Rules | None = None,
    *,
    lines: Collection[str] = (),
    level: float = 0.95,
) -> list[Alert]:
    """Every alert of a history, in the order of days: pure, so that a job may call it daily and see the same ones again.

    days: the changes into each date from the date before it in the list; the first has none. dates: ISO, rising; missing days
    are left out, and nothing is made of them. lines: dates on which a judge or guide changed: the change into them is not
    read, and the detectors start anew. One event is one alert: series that cross for the same step join it (`also`).
    An alert rests on its own date and the days before it, never on later ones; `also` may grow for `rules.window` days.
    Source: docs/statistics/alerts.md.
    Raises: InputError for dates that do not rise, and two changes of one series on a day.

    >>> rng = np.random.default_rng(1)
    >>> dates = [f"2026-{month:02d}-{day:02d}" for month in (1, 2) for day in range(1, 29)]
    >>> noise = np.diff(rng.normal(0, 0.002, len(dates)), prepend=0.0)
    >>> noise[50] -= 0.015  # the level falls, and stays there
    >>> [a] = detect([[Change("sdcg@25", "all", x, 0.0028, 300)] for x in noise], dates)
    >>> a.since, a.direction, a.size.high < 0
    ('2026-02-23', 'down', True)
    """
    rules = rules or Rules()
    if len(days) != len(dates):
        raise InputError(f"{len(days)} days and {len(dates)} dates: give one date a day")
    order, chains = _chains(days, dates, rules, set(lines))
    if not order:
        return []
    snapshots: dict[int, Snapshot] = {}
    found = scan(chains, window=rules.window, learning=rules.learning, gap=rules.gap, snapshots=snapshots)
    events: list[Alert] = []
    place = {date: t for t, date in enumerate(dates)}
    for i in sorted(range(len(found.day)), key=lambda i: (found.day[i], -abs(found.z[i]) / found.threshold[i])):
        t, since = int(found.day[i]), int(found.since[i])
        part, metric, segment = order[int(found.series[i])]
        down = found.z[i] < 0
        same = next(
            (
                k
                for k in reversed(range(len(events)))
                if events[k].part == part
                and (events[k].direction == "down") == down
                and t - place[events[k].date] <= rules.window
                and since <= place[events[k].date]
                and _overlap(events[k], segment)
            ),
            None,
        )
        if same is not None:
            joined = (metric, segment)
            if joined not in (*events[same].also, (events[same].metric, events[same].segment)):
                events[same] = replace(events[same], also=(*events[same].also, joined))
            continue
        series = int(found.series[i])
        se = sqrt(float(found.se[i]) ** 2 + _unequal(chains.variances[: t + 1, series], chains.n[: t + 1, series], since))
        size = _size(float(found.size[i]), se, int(chains.n[t, series]), t - since + 1, level)
        carried = _carried(snapshots[t], since, order, part, metric, bool(down), chains.n[t])
        events.append(
            Alert(
                metric,
                segment,
                dates[t],
                dates[since],
                size,
                "down" if down else "up",
                carried,
                part,
                (),
                abs(float(found.z[i])),
                float(found.threshold[i]),
            )
        )
    return events


def _overlap(event: Alert, segment: str) -> bool:
    """Whether a series of this segment may show the same event: not where both are values of one column."""
    column, other = event.segment.partition("=")[0], segment.partition("=")[0]
    return column != other or event.segment == segment or segment in event.carried_by


def _unequal(variance: Floats, n: Floats, since: int) -> float:
    """What it adds to the variance of a step that it hits queries unequally, and another panel would have had others.

    The noise of quiet days, by which a step is found, knows nothing of that; the change of the day on which it came does: it is
    what that day's variance has above the median of those before, for as many queries. variance, n: (t,) day by day.
    """
    before = variance[:since] * n[:since]
    usual = float(np.nanmedian(before)) if np.isfinite(before).any() else np.inf
    with np.errstate(invalid="ignore", divide="ignore"):
        more = variance[max(since - 1, 0) :] - usual / n[max(since - 1, 0) :]
    return float(np.nanmax(np.where(np.isfinite(more), more, 0.0), initial=0.0)) if np.isfinite(more).any() else 0.0


def _size(value: float, se: float, n: int, days: int, level: float) -> Estimate:
    margin = t_quantile((1 + level) / 2, None) * se
    method = f"step of the level, told by {days} {'day' if days == 1 else 'days'}"
    caveat = "read on the day of the alarm: steps that alarm early lean large"
    return Estimate(value, se, value - margin, value + margin, n, method, level, None, caveat)


def _carried(
    at: Snapshot, since: int, order: Sequence[Series], part: str, metric: str, down: bool, n: Floats
) -> tuple[str, ...]:
    """Segments of this metric that show a step since that day by themselves, the largest part of the whole first.

    Where some exceed the step of the whole clearly, they are named alone: a step in one language shows in every device.
    """
    ours = [i for i, series in enumerate(order) if series[:2] == (part, metric)]
    row = {i: np.flatnonzero(at.day[:, i] == since) for i in ours}
    sign = -1.0 if down else 1.0
    size, z = (
        {i: sign * float(values[row[i][0], i]) for i in ours if row[i].size and at.den[row[i][0], i] > 0}
        for values in (at.size, at.z)
    )
    shown = [i for i in size if order[i][2] != ALL and z[i] >= CARRIES]
    whole = next((i for i in size if order[i][2] == ALL), None)
    if whole is not None:
        more = [i for i in shown if size[i] - size[whole] >= MORE * size[i] / z[i]]
        shown = more or shown
    return tuple(order[i][2] for i in sorted(shown, key=lambda i: -size[i] * np.nan_to_num(n[i])))


def _chains(
    days: Sequence[Sequence[Change]], dates: Sequence[str], rules: Rules, lines: set[str]
) -> tuple[list[Series], Chains]:
    """The series in order, and their changes as arrays: NaN where a day has none, or too few queries to be watched."""
    when = np.array([_ordinal(date) for date in dates], np.int64)
    if (np.diff(when) <= 0).any():
        late = int(np.flatnonzero(np.diff(when) <= 0)[0])
        raise InputError(f"{dates[late + 1]} follows {dates[late]}: give each date once, in order")
    wanted = set(rules.metrics)
    index: dict[Series, int] = {}
    rows: list[tuple[int, int, float, float, float]] = []
    for t, day in enumerate(days):
        for c in day:
            if wanted and c.metric not in wanted:
                continue
            i = index.setdefault((c.part, c.metric, c.segment), len(index))
            if c.n >= rules.least and np.isfinite(c.value) and np.isfinite(c.se):
                rows.append((t, i, c.value, c.se, c.n))
    order = list(index)
    values, variances, n = (np.full((len(dates), len(order)), np.nan) for _ in range(3))
    if rows:
        day_of, row_of, value, se, count = (np.array(column) for column in zip(*rows, strict=True))
        if len({(a, b) for a, b, *_ in rows}) < len(rows):
            raise InputError("a day has two changes of one metric, segment and part: give each once")
        values[day_of, row_of], variances[day_of, row_of], n[day_of, row_of] = value, se**2, count
    group = {key: k for k, key in enumerate(dict.fromkeys(series[:2] for series in order))}
    down, up = _allowed(order, rules)
    gap = np.diff(when, prepend=when[:1] - 1)
    new = np.array([date in lines for date in dates], np.bool_)
    of = np.array([group[series[:2]] for series in order], np.int64)
    return order, Chains(values, variances, n, (when + 6) % 7, gap, new, of, down, up)


def _allowed(order: Sequence[Series], rules: Rules) -> tuple[Floats, Floats]:
    """(S,) false drops and rises a day that each series may have: what is spent of the budget, shared out.

    A share that no series claims goes to those there are.
    """
    share = {PAIRED: 1 - rules.mix, MIX: rules.mix}
    parts = Counter((part, segment == ALL) for part, _, segment in order)
    weights = {(part, whole): share.get(part, 1.0) * (rules.overall if whole else 1 - rules.overall) for part, whole in parts}
    claimed = sum(weights.values())
    each = np.array([weights[part, segment == ALL] / claimed / parts[part, segment == ALL] for part, _, segment in order])
    daily = SPENT * rules.per_quarter / QUARTER * each
    return daily * rules.down, daily * (1 - rules.down)


def _ordinal(date: str) -> int:
    try:
        return datetime.date.fromisoformat(date).toordinal()
    except ValueError as error:
        raise InputError(f"{date!r} is no date: expected one as 2026-03-01") from error
