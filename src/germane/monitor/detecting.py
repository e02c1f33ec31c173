"""Steps found in many series at once, day by day: what a reader of a day could have found from the days before it, no more.

Each series is a chain of changes. What a weekday usually brings is taken off; the rest is a level that wanders a little and
is seen with noise (a local level), so that its best forecast is an average that forgets. What the forecast missed is
matched with the trace that a step leaves in it, for steps of each of the last days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.stats.steps import NOISES, steady, step_threshold

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLIP = 3.0
"""Changes count as at most so many standard errors when noise and weekdays are learned: an incident teaches neither."""

YEAR_ROUND = 0.99
"""A day's weight in what is learned of noise and weekdays, against the day after it: about the last hundred days."""

WEEKS = 12
"""Weeks from which a weekday's usual change is learned."""

VARIANCE = 0.9
"""The same for a query's variance, of which each day's own estimate counts as one of about ten."""

DOUBT = 2.0
"""The most cautious noise is taken whose likelihood is within so much of the best: a memory too long takes drift for a step."""

APART = 4
"""Series of a group overlap: together they count as at most so many when the noise is learned."""

_STEADY = np.array([steady(noise) for noise in NOISES])
OWN, WANDER = _STEADY[:, 0], _STEADY[:, 1]
SPREADS, GAINS = _STEADY[:, 2, None], _STEADY[:, 3, None]
LASTING = np.array([noise.lasting for noise in NOISES])[:, None]

PRIOR, LEAST = 20, 0.8
"""Days for which the model's own variance of a step counts, and the least part of it that days may show."""


@dataclass(frozen=True)
class Found:
    """Alarms in the order of days: (A,) day and series index, first day of the step, its size and se, z and threshold."""

    day: Ints
    series: Ints
    since: Ints
    size: Floats
    se: Floats
    z: Floats
    threshold: Floats


class Snapshot(NamedTuple):
    """Each series' evidence on a day of alarms, (window, S): first day of the step, its size, its information and z."""

    day: Ints
    size: Floats
    den: Floats
    z: Floats


@dataclass(frozen=True)
class Chains:
    """Day-over-day changes of S series over T days. values, variances: (T, S), NaN where there is none.

    n: (T, S) queries. weekday: (T,) 0 to 6. gap: (T,) days since the day before in the series, 1 where none is missing.
    new: (T,) True where a line is drawn: the change into this day says nothing. group: (S,) series that share their noise.
    down, up: (S,) false alarms a day allowed to each.
    """

    values: Floats
    variances: Floats
    n: Floats
    weekday: Ints
    gap: Ints
    new: NDArray[np.bool_]
    group: Ints
    down: Floats
    up: Floats


class Learned:
    """What the days so far taught of each series: weekdays' usual changes, spread and autocorrelation."""

    def __init__(self, series: int, group: Ints, weeks: int) -> None:
        self.least = weeks
        self.group, self.groups = group, int(group.max()) + 1 if series else 0
        self.weeks = np.full((7, WEEKS, series), np.nan)
        self.known: dict[int, tuple[Floats, Floats]] = {}
        self.sd = np.zeros(series)
        self.squares, self.days = np.zeros(series), np.zeros(series)
        self.behind = np.zeros((len(NOISES), series))
        self.likelihood = np.zeros((len(NOISES), self.groups))
        self.unit, self.unit_days = np.zeros(series), np.zeros(series)
        self.steps, self.step_days = np.zeros((0, self.groups)), 0.0
        self.members = np.bincount(group, minlength=self.groups)

    def variance(self, own: Floats, n: Floats) -> Floats:
        """(S,) variance of today's change: a query's, as today and the days before estimate it, over today's queries."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((own * n + self.unit) / (1 + self.unit_days) / n)

    def usual(self, weekday: int, gap: int) -> tuple[Floats, Floats]:
        """(S,) what comes with this weekday, after so many days, and by how much not knowing it well widens the noise."""
        total, spread = np.zeros_like(self.days), np.zeros_like(self.days)
        for back in range(min(gap, 7)):
            mean, count = self._weekday((weekday - back) % 7)
            total += np.where(count >= 2, mean, 0.0)
            spread += np.where(count >= 2, 1 / np.maximum(count, 1), 0.0)
        return total, 1 + spread / max(min(gap, 7), 1)

    def settled(self, weekday: int, gap: int) -> NDArray[np.bool_]:
        """(S,) whether the weekday's usual change is known: before, what is left of a day is no evidence.

        After missing days it is read as it is, less what is known of those days: else a job that rests on Sundays would
        never know its Mondays.
        """
        return (self._weekday(weekday)[1] >= self.least) | (gap > 1)

    def forget(self, weekday: int, back: int, series: Ints) -> None:
        """An incident began on that weekday, so many weeks ago: it is no usual change."""
        known = np.isfinite(self.weeks[weekday][:, series]).sum(0) > 2
        self.weeks[weekday, back, series[known]] = np.nan
        self.known.pop(weekday, None)

    def _weekday(self, weekday: int) -> tuple[Floats, Floats]:
        """(S,) a weekday's mean change over the last weeks, and of how many; those `CLIP` off are left out."""
        if weekday not in self.known:
            weeks = self.weeks[weekday]
            count = np.isfinite(weeks).sum(0).astype(np.float64)
            order = np.sort(weeks, axis=0)  # NaN last
            middle = np.maximum((count - 1) / 2, 0)
            low, high = (np.take_along_axis(order, f(middle).astype(np.int64)[None], 0)[0] for f in (np.floor, np.ceil))
            reach = CLIP * np.nan_to_num(self.sd)
            nearer = np.where(np.abs(low) < np.abs(high), low, high)  # two middle weeks that disagree: the quieter one
            median = np.where(high - low > reach, nearer, (low + high) / 2)
            usual = np.isfinite(weeks) & (np.abs(weeks - median) <= np.maximum(reach, 1e-15))
            mean = np.where(usual, weeks, 0.0).sum(0) / np.maximum(usual.sum(0), 1)
            self.known[weekday] = (mean, count)
        return self.known[weekday]

    def noise(self) -> tuple[Floats, Ints]:
        """(S,) how much larger the variance is than stated, at least 1, and (S,) which of `NOISES` the series' group has."""
        days = self._of_group(self.days)
        shared = np.where(days > 0, self._of_group(self.squares) / np.maximum(days, 1e-9), 1.0)
        inflation = np.maximum((self.squares + 30 * shared) / (self.days + 30), 1.0)
        told = self.likelihood.max(0) - self.likelihood <= DOUBT
        return inflation, np.asarray(told.argmax(0)[self.group])

    def learn(self, change: Floats, rest: Floats, sd: Floats, weekday: int, gap: int) -> None:
        """Take in a day: its change as it came, and what was left of it beyond its weekday's usual."""
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.clip(rest / sd, -CLIP, CLIP)
            z = np.where(sd > 0, z, np.nan)
        self.sd = np.where(np.isfinite(sd), sd, self.sd)
        seen = np.isfinite(z) & self.settled(weekday, gap)
        self.squares = np.where(seen, YEAR_ROUND * self.squares + np.nan_to_num(z) ** 2, self.squares)
        self.days = np.where(seen, YEAR_ROUND * self.days + 1, self.days)
        self._weigh(np.nan_to_num(z), seen, gap)
        if gap == 1:
            self.weeks[weekday, 1:] = self.weeks[weekday, :-1]
            self.weeks[weekday, 0] = change
            self.known.pop(weekday, None)

    def calibrated(self, z: Floats) -> Floats:
        """(window, S) steps in the standard errors that such steps have had so far: noise is no local level exactly."""
        steps = self.steps if len(self.steps) else np.zeros((len(z), self.groups))
        spread = np.maximum((steps + PRIOR) / (self.step_days + PRIOR), LEAST)
        clipped = np.minimum(z**2, CLIP**2 * spread[:, self.group])
        held = np.maximum(np.bincount(self.group, weights=z[0] != 0, minlength=self.groups), 1)
        today = np.stack([np.bincount(self.group, weights=row, minlength=self.groups) for row in clipped]) / held
        self.steps = YEAR_ROUND * steps + today
        self.step_days = YEAR_ROUND * self.step_days + 1
        return np.asarray(z / np.sqrt(spread[:, self.group]))

    def _weigh(self, z: Floats, seen: NDArray[np.bool_], gap: int) -> None:
        """Take in how well each memory would have told this day from those before it: its likelihood, by group."""
        shared = self._of_group(self.squares) / np.maximum(self._of_group(self.days), 1e-9)
        spread = np.where(shared > 0, shared, 1.0) * SPREADS
        error = np.where(seen, (1 - LASTING) * self.behind + z, 0.0)
        said = -0.5 * (np.log(spread) + np.minimum(error**2 / spread, CLIP**2)) * seen
        share = np.minimum(self.members, APART) / np.maximum(np.bincount(self.group, weights=seen, minlength=self.groups), 1)
        today = np.stack([np.bincount(self.group, weights=row, minlength=self.groups) for row in said]) * share
        self.likelihood = YEAR_ROUND * self.likelihood + (today if gap == 1 else 0.0)
        self.behind = np.where(seen, self.behind + z - GAINS * error, 0.0)

    def learn_variance(self, own: Floats, n: Floats) -> None:
        seen = np.isfinite(own) & (n > 0)
        self.unit = np.where(seen, VARIANCE * self.unit + np.nan_to_num(own * n), self.unit)
        self.unit_days = np.where(seen, VARIANCE * self.unit_days + 1, self.unit_days)

    def _of_group(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self.group, weights=values, minlength=self.groups)[self.group])


class Levels:
    """The forecast of each series' level, and the evidence for a step on each of the last `window` days."""

    def __init__(self, series: int, window: int) -> None:
        self.behind = np.zeros(series)  # how far the forecast is behind the level, in units of the metric
        self.p = np.full(series, np.nan)  # variance of that; NaN: nothing is known yet
        self.stays, self.num, self.den = (np.zeros((window, series)) for _ in range(3))
        self.day = np.full((window, series), -1, dtype=np.int64)

    def take(self, t: int, rest: Floats, variance: Floats, noise: Ints, gap: int) -> None:
        """A day's change: the forecast's error, what it adds to the evidence of each step, and the next forecast."""
        goes = 1 - LASTING[noise, 0] ** gap
        own, wander = variance * OWN[noise], variance * WANDER[noise] * gap
        start = np.isnan(self.p)
        p = np.where(start, own, self.p)
        f = goes**2 * p + wander + own * goes * (2 - goes)
        seen = np.isfinite(rest) & (f > 0)
        inverse = np.where(seen, 1 / np.where(f > 0, f, 1.0), 0.0)
        gain = (goes * p + wander) * inverse
        for rows in (self.stays, self.num, self.den, self.day):
            rows[1:] = rows[:-1]
        trace = goes * self.stays
        trace[0], self.stays[0], self.num[0], self.den[0], self.day[0] = 1.0, 1.0, 0.0, 0.0, t
        change = np.nan_to_num(rest)
        error = goes * self.behind + change
        self.num += trace * error * inverse
        self.den += trace**2 * inverse
        self.stays -= gain * trace
        self.behind = np.where(seen, self.behind + change - gain * error, self.behind)
        self.p = np.where(seen, p + wander - gain**2 * f, self.p)
        self.restart(np.isnan(rest))

    def restart(self, series: NDArray[np.bool_]) -> None:
        """Forget the level of these: a line was drawn, or the chain broke."""
        self.behind[series], self.p[series] = 0.0, np.nan
        self.num[:, series] = self.den[:, series] = self.stays[:, series] = 0.0

    def z(self) -> Floats:
        """(window, S) each step in its standard errors."""
        return np.asarray(self.num / np.sqrt(np.where(self.den > 0, self.den, 1.0)) * (self.den > 0))

    def accept(self, series: Ints, row: Ints) -> tuple[Floats, Floats]:
        """Size and se of these steps; from here on the level is the one after the step."""
        den = self.den[row, series]
        size, stays = self.num[row, series] / den, self.stays[row, series]
        self.behind[series] -= size * stays
        self.p[series] += stays**2 / den
        self.num[:, series] = self.den[:, series] = self.stays[:, series] = 0.0
        return size, 1 / np.sqrt(den)


def scan(chains: Chains, *, window: int, learning: int, gap: int, snapshots: dict[int, Snapshot] | None = None) -> Found:
    """Every alarm, in the order of days. A series without a change on a day starts anew, as all do at a line and after `gap`.

    snapshots: filled with the evidence of all series on each day of alarms, where given.

    Source: innovations and their use for level shifts: Harvey, Koopman (1992), J. Business and Economic Statistics 10;
    window-limited likelihood ratio: Lai (1995), J. R. Statist. Soc. B 57.
    """
    days, series = chains.values.shape
    learned = Learned(series, chains.group, min(learning // 7, 2))
    level = Levels(series, window)
    rows: list[tuple[NDArray[np.generic], ...]] = []
    for t in range(days):
        missing = int(chains.gap[t])
        change = chains.values[t] if not (chains.new[t] or missing > gap + 1) else np.full(series, np.nan)
        n = chains.n[t]
        usual, wider = learned.usual(int(chains.weekday[t]), missing)
        inflation, noise = learned.noise()
        variance = learned.variance(chains.variances[t], n)
        rest = change - usual
        known = learned.settled(int(chains.weekday[t]), missing)
        level.take(t, np.where(known, rest, np.nan), variance * inflation * wider, noise, missing)
        learned.learn(change, rest, np.sqrt(variance * wider), int(chains.weekday[t]), missing)
        if np.isfinite(change).any():
            learned.learn_variance(np.where(np.isfinite(change), chains.variances[t], np.nan), n)
        z = learned.calibrated(level.z())
        if t < learning:
            continue
        best = np.abs(z).argmax(0)
        peak = z[best, np.arange(series)]
        near = np.flatnonzero(np.abs(peak) > 2.0)
        if not near.size:
            continue
        allowed = np.where(peak[near] < 0, chains.down[near], chains.up[near])
        limits = np.array([_limit(a, m, window) for a, m in zip(allowed.tolist(), noise[near].tolist(), strict=True)])
        over = np.abs(peak[near]) >= limits
        if over.any():
            who, which = near[over], best[near[over]]
            since = level.day[which, who]
            if snapshots is not None:
                told = np.where(level.den > 0, level.den, 1.0)
                snapshots[t] = Snapshot(level.day.copy(), level.num / told, level.den.copy(), z)
            size, se = level.accept(who, which)
            for day in np.unique(since).tolist():
                if chains.gap[day] == 1 and (chains.gap[day + 1 : t + 1] == 1).all():
                    learned.forget(int(chains.weekday[day]), 0, who[since == day])
            rows.append((np.full(who.size, t), who, since, size, se, peak[who], limits[over]))
    columns = [np.concatenate(c) for c in zip(*rows, strict=True)] if rows else [np.zeros(0)] * 7
    whole = [c.astype(np.int64) for c in columns[:3]]
    return Found(whole[0], whole[1], whole[2], *(c.astype(np.float64) for c in columns[3:]))


def _limit(rate: float, noise: int, window: int) -> float:
    memory, lasting = NOISES[noise]
    return step_threshold(float(f"{rate:.3g}"), memory=memory, lasting=lasting, window=window) if rate > 0 else np.inf
