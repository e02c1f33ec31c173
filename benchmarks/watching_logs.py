"""Watching on real logs: Berlin's site search over 37 months, and the shock of January 2020 in Bing's queries.

    GERMANE_DATA=DATA python benchmarks/watching_logs.py

The traffic is real, the grades are not: these logs have no results, so each query has a metric of its own that never changes.
Whatever moves is then traffic, by construction; a paired difference that alarms, or a split that names another cause, is wrong.
"""

from __future__ import annotations

import datetime
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from germane.chance import keys, uniform
from germane.monitor.alerts import Alert, Rules, detect
from germane.monitor.changes import Change, changes
from germane.monitor.days import Day, Lists, Seen
from germane.monitor.drift import moved, new_words, vocabulary
from germane.monitor.splitting import Split, split
from germane.text.terms import words

BERLIN = "berlin_search_terms/search_terms_monthly.parquet"
BING = "bing_coronavirus_queries_2020_01/queries_by_country.parquet"
SHOWN = 10
ORDINARY = 2000
"""Requests a day of ordinary traffic, Berlin's queries, that Bing's coronavirus queries come on top of."""


def made(date: str, requests: dict[str, float], low: frozenset[str] = frozenset()) -> Seen:
    """A day of these queries with lists and a metric fixed by each query's text; those in `low` are served badly."""
    names = np.array(sorted(requests))
    key = keys(names.tolist())
    level = np.where([name in low for name in names.tolist()], 0.2, 0.6)
    draw = uniform(7, key[:, None], np.arange(SHOWN, dtype=np.uint64)[None])
    gains = np.clip(level[:, None] + 0.6 * (draw - 0.5), 0, 1)
    discount = 1 / np.log2(np.arange(SHOWN) + 2.0)
    metric = gains @ discount / discount.sum()
    length = np.array([str(min(len(words(name)), 4)) for name in names.tolist()])
    weight = np.array([requests[name] for name in names.tolist()], np.float64)
    ones = np.ones(len(names))
    day = Day(date, names, weight, ones, np.full(len(names), "all"), ones > 0, {"words": length}, {"sdcg@10": metric})
    docs = [tuple(f"{i}-{j}" for j in range(SHOWN)) for i in key.tolist()]
    return Seen(day, Lists(names, docs, list(gains)))


def counted(table: Any, column: str) -> dict[str, float]:
    """Requests of each query, case folded."""
    found: dict[str, float] = {}
    for query, count in zip(table["query"].astype(str), table[column], strict=True):
        name = " ".join(words(query))
        if name:
            found[name] = found.get(name, 0.0) + float(count)
    return found


def berlin(folder: Path) -> list[Seen]:
    """A "day" a month: 37 of them, in order, as if one followed the other."""
    import pandas as pd

    log = pd.read_parquet(folder / BERLIN)
    first = datetime.date(2019, 2, 1)
    months = [counted(rows, "impressions") for _, rows in log.groupby("month", sort=True)]
    return [made((first + datetime.timedelta(t)).isoformat(), requests) for t, requests in enumerate(months)]


def bing(folder: Path, seed: int = 1) -> list[Seen]:
    """January 2020 day by day: ordinary traffic with chance, and Bing's coronavirus queries at their popularity.

    Popularity is scaled within a country and day (SOURCE.md), so its sum is no count: it grows with how many countries and
    queries are asked, which is the shock.
    """
    import pandas as pd

    ordinary = counted(pd.read_parquet(folder / BERLIN), "impressions")
    log = pd.read_parquet(folder / BING)
    log["date"] = log["date"].astype(str).str[:10]
    rng = np.random.default_rng(seed)
    names, rate = list(ordinary), np.array(list(ordinary.values()))
    rate = rate * ORDINARY / rate.sum()
    days = []
    shock = frozenset(" ".join(words(q)) for q in log["query"].astype(str))
    for date, rows in log.groupby("date", sort=True):
        asked = dict(zip(names, rng.poisson(rate).astype(float).tolist(), strict=True))
        for name, count in counted(rows, "popularity_score").items():
            asked[name] = asked.get(name, 0.0) + count / 20
        days.append(made(str(date), {name: count for name, count in asked.items() if count > 0}, shock - set(names)))
    return days


def alerts(days: list[Seen], rules: Rules | None = None) -> list[Alert]:
    told: list[list[Change]] = [[]] + [changes(a.day, b.day) for a, b in pairwise(days)]
    return detect(told, [d.day.date for d in days], rules)


def explained(days: list[Seen], alert: Alert) -> Split:
    """The alert's days since it began beside the same weekdays of the week before."""
    when = [d.day.date for d in days]
    after = list(range(when.index(alert.since), when.index(alert.date) + 1))
    return split([days[t - 7] for t in after], [days[t] for t in after], segment=alert.segment, part=alert.part, k=SHOWN)


def main() -> None:
    folder = Path(os.environ["GERMANE_DATA"])
    months = berlin(folder)
    print(f"Berlin: {len(months)} months, {sum(len(m.day) for m in months)} queries and months")
    for alert in alerts(months):
        print(f"  {alert.date} {alert.part} {alert.segment} {alert.size.value:+.3f} ({alert.evidence:.1f} standard errors)")
    known = vocabulary(name for m in months[:12] for name in m.day.query.tolist())
    for t in (12, 14, 24, 36):
        new, mix = new_words(months[t].day, known), moved(months[t - 12].day, months[t].day, "words")
        print(
            f"  month {t}: {new.value:.1%} ({new.low:.1%} to {new.high:.1%}) of requests have a word new since year one; "
            f"{mix.value:.1%} ({mix.low:.1%} to {mix.high:.1%}) moved between lengths within a year"
        )
    days = bing(folder)
    print(f"Bing: {len(days)} days, {len(days[0].day)} queries on the first and {len(days[-1].day)} on the last")
    for alert in alerts(days):
        found = explained(days, alert)
        parts = ", ".join(f"{c} {getattr(found, c).value:+.3f}" for c in ("search", "traffic", "catalogue", "judge"))
        print(
            f"  {alert.date} since {alert.since} {alert.part} {alert.segment} {alert.direction} "
            f"{alert.size.value:+.3f}: {found.cause or 'no cause named'} ({parts})"
        )


if __name__ == "__main__":
    main()
