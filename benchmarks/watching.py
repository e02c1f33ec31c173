"""Watching a search for a simulated year: false alarms, how soon a drop is found, and whether its cause is named.

    python benchmarks/watching.py                            # 200 years of each kind, 200 incidents: half an hour
    python benchmarks/watching.py --years 20 --cases 20      # a look
    python benchmarks/watching_peers.py                      # Evidently and NannyML beside it, in one run
    python benchmarks/watching.py --only seasons             # a yearly wave, holidays, weekdays, twice the drift

Simulated throughout but for the last, seeded. A year has 2,000 sampled queries a day in 13 segments, two metrics, weekdays,
weekends, slow drift and a panel that rotates. On the same series: a plain rule of three sigma on the daily level, and an
e-detector on the level against its first week.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from germane.monitor.alerts import Alert, Rules, detect
from germane.monitor.changes import MIX, PAIRED, Change, anchors, changes
from germane.monitor.counterfactual import Anchors
from germane.monitor.days import ALL, JUDGE, Day, Lists, Seen
from germane.monitor.splitting import split
from germane.simulate.incidents import ShownDay, metrics_of, shown_days
from germane.simulate.years import HOLIDAYS, Incident, Market, Year, year
from germane.stats.sequential import e_detector

METRICS = ("sdcg@25", "relevant@25")
TENTH = "interest=toys"
POWER_DAYS, STRUCK = 120, 90
WEEKS = (1, 2, 3)
CAUSES = ("search", "traffic", "catalogue", "judge")
SEASONS = {
    "a wave of 1 % of the level, holidays with another mix": Market(wave=0.01, holidays=0.4),
    "a wave of 3 %, the same holidays": Market(wave=0.03, holidays=0.4),
    "weekdays that differ with SD 0.01, weekends that move traffic by half": Market(weekday=0.01, weekend=0.5),
    "twice the drift": Market(drift=0.06),
}


def dates(days: int) -> list[str]:
    first = datetime.date(2026, 1, 5)
    return [(first + datetime.timedelta(t)).isoformat() for t in range(days)]


def history(years: Sequence[Year]) -> list[list[Change]]:
    """What the daily job would have written: every series' change on every day."""
    found: list[list[Change]] = []
    for t in range(len(years[0].paired)):
        row = []
        for metric, y in zip(METRICS, years, strict=True):
            for part, value, se in ((PAIRED, y.paired, y.paired_se), (MIX, y.mix, y.mix_se)):
                for s, segment in enumerate(y.segments):
                    if np.isfinite(value[t, s]):
                        row.append(Change(metric, segment, float(value[t, s]), float(se[t, s]), int(y.n[t, s]), part))
        found.append(row)
    return found


# --- detectors: years in, (day, segments, fell) of each alarm out -------------------------------------------------------

Alarm = tuple[int, frozenset[str], bool]


def germane(years: Sequence[Year]) -> list[Alarm]:
    when = dates(len(years[0].paired))
    place = {date: t for t, date in enumerate(when)}
    return [
        (place[a.date], frozenset({a.segment, *a.carried_by}), a.direction == "down")
        for a in detect(history(years), when, Rules())
    ]


def three_sigma(years: Sequence[Year]) -> list[Alarm]:
    """The level against the mean and SD of its last 28 days; a day's alarms count as one."""
    found: dict[tuple[int, bool], set[str]] = {}
    for y in years:
        for t in range(28, len(y.level)):
            past = y.level[t - 28 : t]
            z = (y.level[t] - past.mean(0)) / past.std(0, ddof=1)
            for s in np.flatnonzero(np.abs(z) > 3).tolist():
                found.setdefault((t, bool(z[s] < 0)), set()).add(y.segments[s])
    return [(t, frozenset(segments), fell) for (t, fell), segments in sorted(found.items())]


def e_detected(years: Sequence[Year]) -> list[Alarm]:
    """An e-detector on the level against its first week, in its SD over that week's paired changes; ARL by all series."""
    series = sum(y.level.shape[1] for y in years)
    found: dict[tuple[int, bool], set[str]] = {}
    for y in years:
        sd = np.nanmedian(y.paired_se, axis=0) * np.sqrt(0.5 * (1 + 1 / 7))
        x = ((y.level[7:] - y.level[:7].mean(0)) / sd).T
        alarms = e_detector(x, sd=1.0, arl0=90.0 * series)
        for s, t in np.argwhere(alarms.alarm).tolist():
            found.setdefault((t + 7, bool(x[s, t] < 0)), set()).add(y.segments[s])
    return [(t, frozenset(segments), fell) for (t, fell), segments in sorted(found.items())]


DETECTORS: dict[str, Callable[[Sequence[Year]], list[Alarm]]] = {
    "germane": germane,
    "3 sigma on the level": three_sigma,
    "e-detector on the level": e_detected,
}


def caught(alarms: Sequence[Alarm], segment: str, day: int, within: int) -> bool:
    """A drop of this segment was alarmed on its first `within` days."""
    return any(day <= t < day + within and fell and segment in segments for t, segments, fell in alarms)


DROPS = ((TENTH, 0.02, 3), (ALL, 0.01, 5))


def watched(
    market: Market, years: int, detectors: dict[str, Callable[[Sequence[Year]], list[Alarm]]], first: int
) -> dict[str, list[float]]:
    """Detector -> false alarms in 90 days, and the share of each drop that is found. first: the seed of the first year."""
    false = Counter[str]()
    for seed in range(years):
        quiet = year(market, metrics=2, seed=first + seed)
        for name, detector in detectors.items():
            false[name] += len(detector(quiet))
    found = {name: [false[name] / (years * 365 / 90)] for name in detectors}
    for segment, drop, within in DROPS:
        hits = Counter[str]()
        for seed in range(years):
            day = STRUCK + seed % 7
            struck = year(
                market,
                incidents=[Incident(day, "search", segment, drop)],
                days=POWER_DAYS,
                metrics=2,
                seed=10_000 + first + seed,
            )
            for name, detector in detectors.items():
                hits[name] += caught(detector(struck), segment, day, within)
        for name in detectors:
            found[name].append(hits[name] / years)
    return found


def print_watched(years: int, first: int) -> None:
    print("\n## False alarms and power, simulated\n")
    print(
        "| noise that lasts a day | years | detector | false alarms in 90 days | 2 % in a tenth, 3 days | 1 % overall, 5 days |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for lasting in (0.0, 0.3, 0.6):
        detectors = DETECTORS if lasting == 0 else {"germane": germane}
        times = years if lasting == 0 else max(years // 4, 1)
        for name, (false, *power) in watched(Market(lasting=lasting), times, detectors, first).items():
            cells = " | ".join(f"{share:.1%} ± {196 * (share * (1 - share) / times) ** 0.5:.1f}" for share in power)
            print(f"| {lasting:.0%} | {times} | {name} | {false:.2f} | {cells} |", flush=True)


def print_seasons(years: int, first: int) -> None:
    """False alarms of years with seasons, of the same queries and of their mix; those of the mix in the holidays apart."""
    print("\n## Seasons, simulated\n")
    print(
        "| year | years | same queries, false alarms in 90 days | mix of queries | alerts of the mix in the holidays, a year |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name, market in SEASONS.items():
        counts = Counter[str]()
        for seed in range(years):
            when = dates(365)
            for alert in detect(history(year(market, metrics=2, seed=first + seed)), when, Rules()):
                holiday = market.holidays > 0 and when.index(alert.date) >= HOLIDAYS[0] and alert.part == MIX
                counts["holiday" if holiday else alert.part] += 1
        each = [counts[part] / (years * 365 / 90) for part in (PAIRED, MIX)]
        print(f"| {name} | {years} | {each[0]:.2f} | {each[1]:.2f} | {counts['holiday'] / years:.2f} |", flush=True)


# --- causes ---------------------------------------------------------------------------------------------------------------


def seen(day: ShownDay, date: str) -> Seen:
    """A simulated day as the job would hand it over; every query of it is in the panel, drawn with certainty."""
    n = len(day.names)
    shown = day.docs >= 0
    told = {"sdcg@10": metrics_of([day])[0]}
    ones = np.ones(n)
    sampled = Day(date, day.names, day.requests, ones, np.full(n, "all"), np.ones(n, bool), day.segments, told)
    docs = [tuple(map(str, row[mask].tolist())) for row, mask in zip(day.docs, shown, strict=True)]
    gains = [row[mask] for row, mask in zip(day.gains, shown, strict=True)]
    return Seen(sampled, Lists(day.names, docs, gains))


def case(cause: str, segment: str, drop: float, seed: int, store: bool) -> tuple[str, str]:
    """(what happened, the cause that was named): the whole way, from shown lists to alerts to their split."""
    struck, length = 28 + seed % 7, 28 + seed % 7 + 5
    when = dates(length)
    raw = list(shown_days(Market(), Incident(struck, cause, segment, drop), days=length, seed=seed, store=store))  # type: ignore[arg-type]
    fixed = [{(f"a{i}", "d"): float(g) for i, g in enumerate(day.anchors)} for day in raw]
    days = [seen(day, date).day for day, date in zip(raw, when, strict=True)]
    told: list[list[Change]] = [[]]
    for t in range(1, length):
        told.append([*changes(days[t - 1], days[t]), *anchors(fixed[t - 1], fixed[t])])
    alerts = [a for a in detect(told, when) if when.index(a.date) >= struck and a.direction == "down"]
    related = [a for a in alerts if a.segment == segment or segment in a.carried_by or a.metric == JUDGE or segment == ALL]
    if not related:
        return "missed", ""
    return "found", named(related[0], raw, when)


def named(alert: Alert, raw: Sequence[ShownDay], when: list[str]) -> str:
    """The cause of an alert: its days since it began, each split from the same weekday of three weeks before."""
    if alert.metric == JUDGE:
        return "judge"
    since, now = when.index(alert.since), when.index(alert.date)
    before = [t - 7 * week for t in range(since, now + 1) for week in WEEKS]
    after = [t for t in range(since, now + 1) for _ in WEEKS]
    return split(
        [seen(raw[t], when[t]) for t in before],
        [seen(raw[t], when[t]) for t in after],
        anchors=Anchors(raw[since - 1].anchors, raw[now].anchors),
        gone=[str(d) for d in raw[now].gone - raw[since - 1].gone],
        segment=alert.segment,
        part=alert.part,
        k=10,
    ).cause


def print_causes(cases: int) -> None:
    print(f"\n## Causes, {cases} simulated incidents of each\n")
    print("| cause | drop | found | true cause named | none named | another named |")
    print("| --- | --- | --- | --- | --- | --- |")
    total = Counter[str]()
    for what in (*CAUSES, "judge, labels stored"):
        cause = what.partition(",")[0]
        counts = Counter[str]()
        for seed in range(cases):
            segment, drop = (TENTH, 0.03) if seed % 2 else (ALL, 0.015)
            if cause == "traffic":
                drop *= 2
            state, name = case(cause, segment, drop, seed, what != cause)
            counts[state if state == "missed" else "true" if name == cause else "none" if not name else "another"] += 1
        found = cases - counts["missed"]
        total.update(counts)
        size = "3 % of all, 6 % of a tenth" if cause == "traffic" else "1.5 % of all, 3 % of a tenth"
        rest = " | ".join(f"{counts[key] / max(found, 1):.1%}" for key in ("true", "none", "another"))
        print(f"| {what} | {size} | {found} of {cases} | {rest} |", flush=True)
    found = sum(total.values()) - total["missed"]
    rest = " | ".join(f"{total[key] / max(found, 1):.1%}" for key in ("true", "none", "another"))
    print(f"| all | | {found} of {sum(total.values())} | {rest} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first year")
    parser.add_argument("--cases", type=int, default=200, help="incidents of each cause")
    parser.add_argument("--only", choices=("power", "seasons", "causes"))
    options = parser.parse_args()
    began = time.perf_counter()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, numpy {np.__version__}")
    if options.only in (None, "power"):
        print_watched(options.years, options.seed)
    if options.only in (None, "seasons"):
        print_seasons(options.years, options.seed)
    if options.only in (None, "causes"):
        print_causes(options.cases)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
