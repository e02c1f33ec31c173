"""Small days of a watched search, by hand."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np

from germane.monitor.changes import MIX, PAIRED, Change
from germane.monitor.days import Day, Lists, Seen
from germane.simulate.years import Year


def dates(count: int, first: str = "2026-01-05") -> list[str]:
    start = datetime.date.fromisoformat(first)
    return [(start + datetime.timedelta(t)).isoformat() for t in range(count)]


def day(date: str, values: Sequence[float], requests: Sequence[float] | None = None, **columns: Sequence[str]) -> Day:
    """Queries q0, q1, ... of one stratum, all in the panel and drawn with certainty."""
    n = len(values)
    return Day(
        date,
        np.array([f"q{i}" for i in range(n)]),
        np.ones(n) if requests is None else np.asarray(requests, float),
        np.ones(n),
        np.full(n, "all"),
        np.ones(n, bool),
        {name: np.array(column) for name, column in columns.items()},
        {"sdcg@25": np.asarray(values, float)},
    )


def seen(
    date: str, docs: Sequence[Sequence[str]], gains: Sequence[Sequence[float]], requests: Sequence[float] | None = None
) -> Seen:
    sampled = day(date, [0.0] * len(docs), requests)
    return Seen(sampled, Lists(sampled.query, [tuple(d) for d in docs], [np.asarray(g, float) for g in gains]))


def history(years: Sequence[Year]) -> list[list[Change]]:
    """The daily changes of a simulated year, as the job would have written them."""
    rows: list[list[Change]] = []
    for t in range(len(years[0].paired)):
        rows.append(
            [
                Change(f"metric {m}", segment, float(value[t, s]), float(se[t, s]), int(y.n[t, s]), part)
                for m, y in enumerate(years)
                for part, value, se in ((PAIRED, y.paired, y.paired_se), (MIX, y.mix, y.mix_se))
                for s, segment in enumerate(y.segments)
                if np.isfinite(value[t, s])
            ]
        )
    return rows
