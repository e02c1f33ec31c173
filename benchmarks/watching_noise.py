"""Noise that lasts, seasons and drift: false alarms and power of the detector, with and without noise that is told to last.

    python benchmarks/watching_noise.py                                  # 80 years and 240 incidents of each: half an hour
    python benchmarks/watching_noise.py --years 10 --cases 14            # a look
    python benchmarks/watching_noise.py --only "30 % lasts" --queries 2800 # what more queries would help

Simulated, seeded. The series of many years are scanned as one array, which is ten times as fast as year by year
(`benchmarks/watching.py`) and the same: a series learns from its own year alone. "white only" is the detector without
autoregressive noise (`stats.steps.NOISES` with lasting 0).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
from watching import DROPS, METRICS, SEASONS, STRUCK

from germane.monitor import alerts, detecting
from germane.monitor.alerts import Rules, _allowed, _carried, _overlap
from germane.monitor.changes import MIX, PAIRED
from germane.simulate.years import HOLIDAYS, Incident, Market, Year, year
from germane.stats.steps import NOISES, steady

MARKETS = {
    "white": Market(),
    "30 % lasts": Market(lasting=0.3),
    "60 % lasts": Market(lasting=0.6),
    **SEASONS,
}
PARTS = (PAIRED, MIX)


class Event:
    """An alert of one simulated year: as `monitor.alerts.detect` merges them."""

    def __init__(self, t: int, part: str, segment: str, down: bool, carried_by: tuple[str, ...]) -> None:
        self.t, self.part, self.segment, self.down, self.carried_by = t, part, segment, down, carried_by


def events(years: list[list[Year]]) -> list[list[Event]]:
    """Alerts of each year, all years scanned at once."""
    rules, segments = Rules(), years[0][0].segments
    order = [(part, metric, segment) for metric in METRICS for part in PARTS for segment in segments]
    down, up = _allowed(order, rules)

    def together(paired: str, mix: str) -> np.ndarray:
        return np.concatenate([getattr(y, name) for metrics in years for y in metrics for name in (paired, mix)], axis=1)

    values, n = together("paired", "mix"), together("n", "n")
    values = np.where(n >= rules.least, values, np.nan)
    days, count = len(values), len(years)
    group = np.repeat(np.arange(len(METRICS) * len(PARTS) * count), len(segments))
    chains = detecting.Chains(
        values,
        np.where(np.isfinite(values), together("paired_se", "mix_se") ** 2, np.nan),
        np.where(np.isfinite(values), n, np.nan),
        np.arange(days) % 7,
        np.ones(days, np.int64),
        np.zeros(days, np.bool_),
        group,
        np.tile(down, count),
        np.tile(up, count),
    )
    snapshots: dict[int, detecting.Snapshot] = {}
    found = detecting.scan(chains, window=rules.window, learning=rules.learning, gap=rules.gap, snapshots=snapshots)
    told: list[list[Event]] = [[] for _ in years]
    for i in sorted(range(len(found.day)), key=lambda i: (found.day[i], -abs(found.z[i]) / found.threshold[i])):
        t, since, (y, s) = int(found.day[i]), int(found.since[i]), divmod(int(found.series[i]), len(order))
        part, metric, segment = order[s]
        fell = bool(found.z[i] < 0)
        if any(
            e.part == part and e.down == fell and t - e.t <= rules.window and since <= e.t and _overlap(e, segment)  # type: ignore[arg-type]
            for e in told[y]
        ):
            continue
        mine = slice(y * len(order), (y + 1) * len(order))
        at = detecting.Snapshot(*(rows[:, mine] for rows in snapshots[t]))
        told[y].append(Event(t, part, segment, fell, _carried(at, since, order, part, metric, fell, chains.n[t, mine])))
    return told


def quiet(market: Market, years: int, seed: int) -> dict[str, float]:
    """False alarms in 90 days of the same queries and of their mix; those of the mix in holidays apart."""
    found = Counter[str]()
    for told in events([year(market, metrics=len(METRICS), seed=seed + s) for s in range(years)]):
        for e in told:
            found["holidays" if market.holidays and e.part == MIX and e.t >= HOLIDAYS[0] else e.part] += 1
    return {part: found[part] / (years * 365 / 90) for part in (*PARTS, "holidays")}


def power(market: Market, cases: int, seed: int) -> list[float]:
    """The share of each drop that is found in time."""
    shares = []
    for segment, drop, within in DROPS:
        hits = 0
        for weekday in range(7):
            struck = STRUCK + weekday
            incidents = [Incident(struck, "search", segment, drop)]
            seeds = [10_000 + s for s in range(seed, seed + cases) if s % 7 == weekday]
            years = [year(market, incidents=incidents, days=struck + 5, metrics=len(METRICS), seed=s) for s in seeds]
            cut = [[Year(y.segments, *(x[: struck + within] for x in y[1:8]), y.member) for y in metrics] for metrics in years]
            for told in events(cut) if cut else ():
                hits += any(struck <= e.t and e.down and segment in {e.segment, *e.carried_by} for e in told)
        shares.append(hits / cases)
    return shares


def without_lasting() -> None:
    """Tell no noise that lasts, with the caution that this took."""
    detecting.DOUBT, alerts.SPENT = 4.0, 0.7
    noises = tuple(noise for noise in NOISES if noise.lasting == 0)
    found = np.array([steady(noise) for noise in noises])
    detecting.NOISES = noises
    detecting.OWN, detecting.WANDER = found[:, 0], found[:, 1]
    detecting.SPREADS, detecting.GAINS = found[:, 2, None], found[:, 3, None]
    detecting.LASTING = np.array([noise.lasting for noise in noises])[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=80)
    parser.add_argument("--cases", type=int, default=240, help="incidents of each drop")
    parser.add_argument("--seed", type=int, default=330_000)
    parser.add_argument("--only", choices=MARKETS)
    parser.add_argument("--queries", type=int, default=2000, help="sampled a day")
    parser.add_argument("--white-only", action="store_true", help="tell no noise that lasts")
    options = parser.parse_args()
    if options.white_only:
        without_lasting()
    began = time.perf_counter()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, numpy {np.__version__}")
    print(f"{options.years} years, {options.cases} incidents, seed {options.seed}, {options.queries} queries a day\n")
    print(
        "| noise | same queries, false in 90 days | mix | mix in the holidays | 2 % in a tenth, 3 days | 1 % overall, 5 days |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, market in MARKETS.items():
        if options.only in (None, name):
            given = replace(market, queries=options.queries)
            false = (
                " | ".join(f"{x:.2f}" for x in quiet(given, options.years, options.seed).values())
                if options.years
                else "- | - | -"
            )
            shares = " | ".join(f"{x:.1%}" for x in power(given, options.cases, options.seed)) if options.cases else "- | -"
            print(f"| {name} | {false} | {shares} |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
