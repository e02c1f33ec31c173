"""Raters one by one and two by two: how they agree, lean, pass controls, how fast they are, and whether that drifts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.golden.results import RaterPair, RaterQuality
from germane.golden.votes import Votes
from germane.stats import agreement, clustered
from germane.stats.clustered import Undefined
from germane.stats.multiple import adjusted_p
from germane.stats.raters import against_others, side_by_side, trend
from germane.types import Estimate

Ints = NDArray[np.int64]
WEEK = np.timedelta64(7, "D")
MOST = 400  # pairs of raters that get figures of their own: the ones with most pairs in common
TESTED = ("severity", "severity drift, a week", "seconds drift, a week")
FLAGS = {
    "severity": ("stricter than the others", "more lenient than the others"),
    "severity drift, a week": ("becoming stricter", "becoming more lenient"),
    "seconds drift, a week": ("becoming faster", "becoming slower"),
}


def rater_pairs(asked: Votes, *, least: int, level: float) -> tuple[RaterPair, ...]:
    """Exact agreement and kappas of every two raters with at least `least` graded pairs in common."""
    there = np.flatnonzero(asked.grade >= 0)
    unit = np.unique(asked.pair[there] * max(len(asked.guides), 1) + asked.guide[there], return_inverse=True)[1]
    row = side_by_side(unit, there)
    one, two = [], []
    for i in range(row.shape[1]):
        for j in range(i + 1, row.shape[1]):
            both = ~np.isnan(row[:, i]) & ~np.isnan(row[:, j])
            one.append(row[both, i].astype(np.int64))
            two.append(row[both, j].astype(np.int64))
    if not one:
        return ()
    a, b = np.concatenate(one), np.concatenate(two)
    rank = np.argsort(np.argsort(np.array(asked.raters, dtype=object)))  # the first by name stands first
    swap = rank[asked.rater[a]] > rank[asked.rater[b]]
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    code, of, counts = np.unique(asked.rater[a] * len(asked.raters) + asked.rater[b], return_inverse=True, return_counts=True)
    chosen = [c for c in np.argsort(-counts, kind="stable")[:MOST].tolist() if counts[c] >= least]
    order = np.argsort(of, kind="stable")
    ends = np.cumsum(counts)
    found = []
    for c in chosen:
        rows = order[ends[c] - counts[c] : ends[c]]
        first, second = divmod(int(code[c]), len(asked.raters))
        figures = _two(asked.grade[a[rows]], asked.grade[b[rows]], asked.query[a[rows]], level)
        found.append(RaterPair(asked.raters[first], asked.raters[second], len(rows), figures))
    return tuple(sorted(found, key=lambda pair: (pair.a, pair.b)))


def _two(a: Ints, b: Ints, query: Ints, level: float) -> dict[str, Estimate]:
    options: dict[str, Any] = {"clusters": query, "level": level}
    made: dict[str, Callable[[], Estimate]] = {
        "exact agreement": lambda: agreement.exact_agreement(a, b, **options),
        "kappa": lambda: agreement.cohen_kappa(a, b, **options),
        "linear kappa": lambda: agreement.cohen_kappa(a, b, distance="linear", **options),
        "quadratic kappa": lambda: agreement.cohen_kappa(a, b, distance="quadratic", **options),
    }
    return defined(made)


def defined(made: Mapping[str, Callable[[], Estimate]]) -> dict[str, Estimate]:
    """The statistics that have a value on these votes."""
    found = {}
    for name, make in made.items():
        try:
            found[name] = make()
        except Undefined:
            continue
    return found


def every_rater(
    asked: Votes, hidden: Votes, known: Ints, *, least: int, too_fast: float, level: float
) -> tuple[tuple[RaterQuality, ...], list[str]]:
    """Each rater with at least `least` votes, by name; tests are adjusted over all of them (Benjamini-Hochberg); and notes."""
    unit = np.unique(asked.pair * max(len(asked.guides), 1) + asked.guide, return_inverse=True)[1]
    there = asked.grade >= 0
    above, same = np.full(len(asked), np.nan), np.full(len(asked), np.nan)
    above[there], same[there] = against_others(unit[there], asked.grade[there])
    order = np.argsort(asked.rater, kind="stable")
    counts = np.bincount(asked.rater, minlength=len(asked.raters))
    starts = np.cumsum(counts) - counts
    people, tests, few = [], [], 0
    for number, name in sorted(enumerate(asked.raters), key=lambda each: each[1]):
        rows = order[starts[number] : starts[number] + counts[number]]
        if counts[number] < least:
            few += counts[number] > 0
            continue
        mine = hidden.take(np.flatnonzero(hidden.rater == number))
        found, p = _rater(asked, rows, above[rows], same[rows], too_fast, level)
        people.append(RaterQuality(name, int(counts[number]), found | _passed(mine, known, level)))
        tests.append(p)
    notes = [f"{few} raters have fewer than {least} votes: they get no figures of their own"] if few else []
    return _flagged(people, tests, level), notes


def _rater(
    asked: Votes, rows: Ints, above: NDArray[np.float64], same: NDArray[np.float64], too_fast: float, level: float
) -> tuple[dict[str, Estimate], dict[str, float]]:
    query, seconds = asked.query[rows], asked.seconds[rows]
    beside, timed = ~np.isnan(above), ~np.isnan(seconds)
    week = (asked.at[rows] - np.datetime64("2020-01-01")) / WEEK
    dated = np.isfinite(week)
    p: dict[str, float] = {}

    def severity() -> Estimate:
        e = clustered.mean(above[beside], clusters=query[beside], level=level, method="own grade minus the others' mean")
        p["severity"] = _two_sided(e)
        return e

    def drift(name: str, values: NDArray[np.float64], kept: NDArray[np.bool_]) -> Estimate:
        e, p[name] = trend(values[kept], week[kept], clusters=query[kept], level=level, method=name)
        return e

    options: dict[str, Any] = {"clusters": query, "level": level}
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.maximum(seconds, 0.1))
    made: dict[str, Callable[[], Estimate]] = {
        "same as the others": lambda: clustered.mean(
            same[beside], clusters=query[beside], bounds=(0, 1), level=level, method="share of the others with the same grade"
        ),
        "severity": severity,
        "cannot judge": lambda: clustered.share(asked.grade[rows] < 0, **options, method="cannot judge"),
        "median seconds": lambda: clustered.quantile(
            seconds[timed], 0.5, clusters=query[timed], level=level, method="median seconds a pair"
        ),
        "too fast": lambda: clustered.share(
            seconds < too_fast, among=timed, **options, method=f"votes under {too_fast:g} seconds"
        ),
        "severity drift, a week": lambda: drift("severity drift, a week", above, beside & dated),
        "seconds drift, a week": lambda: drift("seconds drift, a week", logs, timed & dated),
    }
    return defined(made), p


def _two_sided(e: Estimate) -> float:
    """The p-value of zero by t, from an estimate's own error. 1 where nothing varied and it is 0, 0 where it is not."""
    from scipy.stats import t as student

    if e.se <= 0:
        return 1.0 if abs(e.value) < 1e-12 else 0.0
    return float(2 * student.sf(abs(e.value) / e.se, e.df)) if e.df else float(2 * student.sf(abs(e.value) / e.se, 1e9))


def _passed(mine: Votes, known: Ints, level: float) -> dict[str, Estimate]:
    there = known[mine.pair] >= 0
    if not there.any():
        return {}
    hit, lean = mine.grade == known[mine.pair], (mine.grade - known[mine.pair]).astype(np.float64)
    graded = there & (mine.grade >= 0)
    return defined(
        {
            "controls passed": lambda: clustered.share(
                hit, among=there, clusters=mine.query, level=level, method="hidden controls judged as known"
            ),
            "severity on controls": lambda: clustered.mean(
                lean[graded], clusters=mine.query[graded], level=level, method="own grade minus the known one"
            ),
        }
    )


def _flagged(people: list[RaterQuality], tests: list[dict[str, float]], level: float) -> tuple[RaterQuality, ...]:
    """The raters with p-values adjusted within each test over all raters, and in words what is found at 1 - level."""
    adjusted: list[dict[str, float]] = [{} for _ in people]
    for name in TESTED:
        rows = [i for i, p in enumerate(tests) if name in p]
        for i, q in zip(rows, adjusted_p([tests[i][name] for i in rows]).tolist(), strict=True):
            adjusted[i][name] = q
    out = []
    for who, q in zip(people, adjusted, strict=True):
        flags = [FLAGS[name][int(who.found[name].value > 0)] for name in TESTED if q.get(name, 1.0) <= 1 - level]
        out.append(replace(who, adjusted=q, flags=tuple(flags)))
    return tuple(out)
