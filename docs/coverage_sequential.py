"""Whether looking at every query, or every day, keeps its promises: writes docs/statistics/sequential_coverage.md.

    python docs/coverage_sequential.py

Confidence sequences over 5,000 looks beside t intervals; run lengths of CUSUM and e-detectors without a change; how soon a
drop of 2 % is seen in 200 queries, in a panel compared with itself and in independent samples; and how a drop dilutes in
a running mean. Simulated throughout, seeded; about ten minutes on one core.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from germane.stats.sequential import BURN_IN, MINIMUM_MOVED, confidence_sequence, cusum, e_detector

EXPERIMENTS = 5_000
LOOKS = 5_000
SERIES = 4_000
OUT = Path(__file__).parent / "statistics" / "sequential_coverage.md"

QUERIES, LEVEL, BETWEEN, DAY_OVER_DAY = 200, 0.5, 0.2, 0.05  # of a segment; SDs per query
NOISE = DAY_OVER_DAY / 2**0.5  # of one query on one day
DROP = 0.02 * LEVEL
REFERENCE, WATCHED = 7, 28  # days of a query in the panel

Table = list[str]


def differences(rng: np.random.Generator, n: int, zeros: float, skewed: bool) -> np.ndarray:
    """(n,) paired differences with mean 0, most of them 0 where `zeros` is large."""
    moved = rng.gamma(0.25, 0.2, n) - 0.05 if skewed else rng.normal(0, 0.1, n)
    return np.where(rng.random(n) < zeros, 0.0, moved)


def peeks(x: np.ndarray, looks: np.ndarray, critical: np.ndarray) -> bool:
    """True if a plain t interval leaves out 0 at any of these looks."""
    mean = np.cumsum(x)[looks - 1] / looks
    se = np.sqrt(np.maximum(np.cumsum(x**2)[looks - 1] / looks - mean**2, 0) / (looks - 1))
    return bool((np.abs(mean) > critical * se)[se > 0].any())


def coverage() -> Table:
    lines = ["| differences | unchanged pages | sequence | sequence from 30 queries, 30 nonzero on | t at every query |"]
    lines[0] += " t at 25 looks | t once, at the end |"
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    plans = [np.arange(30, LOOKS + 1), np.arange(200, LOOKS + 1, 200), np.array([LOOKS])]
    plain = [(looks, stats.t.ppf(0.975, looks - 1)) for looks in plans]
    for skewed in (False, True):
        for zeros in (0.0, 0.5, 0.8, 0.95):
            rng = np.random.default_rng(int(100 * zeros) + skewed)
            wrong = np.zeros(5)
            for _ in range(EXPERIMENTS):
                x = differences(rng, LOOKS, zeros, skewed)
                safe = confidence_sequence(x, intended=1000).decided is not None
                early = confidence_sequence(x, intended=1000, burn_in=30, minimum_nonzero=30).decided is not None
                wrong += [safe, early, *(peeks(x, *plan) for plan in plain)]
            cells = " | ".join(f"{share:.1%}" for share in wrong / EXPERIMENTS)
            lines.append(f"| {'skewed (gamma)' if skewed else 'normal'} | {zeros:.0%} | {cells} |")
    return lines


def stratified() -> Table:
    """Ten strata whose means differ, sampled out of proportion: their mean is the truth that the sequence must hold."""
    shares = np.arange(1, 11) / 55
    names = np.array([f"s{h}" for h in range(10)])
    means, sds = np.linspace(-0.05, 0.05, 10), np.linspace(0.2, 0.02, 10)
    truth = float(shares @ means)
    rng, missed, ignored = np.random.default_rng(9), 0, 0
    for _ in range(EXPERIMENTS):
        h = rng.integers(0, 10, 2000)
        x = rng.normal(means[h], sds[h])
        populations = dict(zip(names.tolist(), shares.tolist(), strict=True))
        found = confidence_sequence(x, intended=1000, strata=names[h], populations=populations)
        missed += bool(((found.low > truth) | (found.high < truth)).any())
        plain = confidence_sequence(x, intended=1000)
        ignored += bool(((plain.low > truth) | (plain.high < truth)).any())
    text = f"Ten strata drawn equally often, with shares 1/55 to 10/55, 2,000 queries, {EXPERIMENTS:,} experiments: the "
    text += f"stratified sequence misses the truth in {missed / EXPERIMENTS:.1%}, "
    return [text + f"one that ignores the strata in {ignored / EXPERIMENTS:.1%}."]


def run_lengths() -> Table:
    """Looks until the first false alarm where nothing changes, with its Monte Carlo error."""
    lines = [
        "| detector | false alarms promised | daily values | looks to the first false alarm |",
        "| --- | --- | --- | --- |",
    ]
    daily: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
        "normal": lambda rng, shape: rng.normal(size=shape),
        "means of 200 skewed (gamma)": lambda rng, shape: (rng.gamma(0.25 * 200, 0.2, shape) - 10) / (0.2 * 50**0.5),
    }
    for arl0 in (100, 365):
        for name, draw in daily.items():
            detectors = {
                "CUSUM, k 0.5, two-sided": lambda x, a=arl0: cusum(x, sd=1.0, arl0=a),
                "CUSUM, k 1, one-sided": lambda x, a=arl0: cusum(x, sd=1.0, k=1.0, arl0=a, direction="down"),
                "e-detector (e-SR)": lambda x, a=arl0: e_detector(x, sd=1.0, arl0=a),
                "e-detector (e-CUSUM)": lambda x, a=arl0: e_detector(x, sd=1.0, arl0=a, kind="cusum"),
            }
            for label, detect in detectors.items():
                rng, days = np.random.default_rng(arl0), 30 * arl0
                first = np.concatenate([detect(draw(rng, (100, days))).first for _ in range(SERIES // 400)])
                seen = np.where(first < 0, days, first + 1)
                about = f"{seen.mean():,.0f} +- {seen.std() / len(seen) ** 0.5:,.0f}"
                late = " or more" if (first < 0).mean() > 0.01 else ""
                lines.append(f"| {label} | one in {arl0} | {name} | {about}{late} |")
    return lines


def panel(rng: np.random.Generator, series: int, before: int, after: int, drop: float) -> np.ndarray:
    """(series, days, queries): each query's day minus the mean of its own first days in the panel; it stays for 28 more.

    Every day a 28th of the watched queries is replaced by ones whose reference is complete, so that a reference is
    up to 28 days old. The drop comes after `before` days, and no reference holds it.
    """
    days = before + after
    age = np.arange(QUERIES) * WATCHED // QUERIES
    x = np.empty((series, days, QUERIES), np.float32)
    reference = rng.normal(0, NOISE / REFERENCE**0.5, (series, QUERIES))
    for day in range(days):
        new = (day + age) % WATCHED == 0
        reference[:, new] = rng.normal(0, NOISE / REFERENCE**0.5, (series, int(new.sum())))
        x[:, day] = rng.normal(0, NOISE, (series, QUERIES)) - reference - (drop if day >= before else 0)
    return x


def seen(alarm: np.ndarray, before: int) -> tuple[float, float]:
    """(share of series with an alarm within three days of the drop, median days until one)."""
    late = alarm[:, before:]
    days = np.where(late.any(1), late.argmax(1) + 1, late.shape[1] + 1)
    return float((days <= 3).mean()), float(np.median(days))


def detection() -> Table:
    rng, before, after = np.random.default_rng(4), 40, 120
    lines = ["| what is watched | SD of a day's mean | detector | drop seen in 3 days | median days | without a drop, 3 days |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for drop_of in (0.02, 0.01):
        drop = drop_of * LEVEL
        watched = {name: {d: [] for d in (drop, 0.0)} for name in ("panel", "panel, day over day", "independent")}
        bounded = {drop: [], 0.0: []}
        for size in (drop, 0.0):
            for _ in range(SERIES // 200):
                x = panel(rng, 200, before, after, size)
                watched["panel"][size].append(x.mean(2, dtype=np.float64))
                bounded[size].append(e_detector(x, bound=1.0, direction="down").alarm)
            shape = (SERIES, before + after)
            step = np.where(np.arange(before + after) >= before, size, 0.0)
            level = rng.normal(0, NOISE / QUERIES**0.5, (SERIES, before + after + 1))
            watched["panel, day over day"][size].append(np.diff(level, axis=1) - np.diff(step, prepend=0.0))
            watched["independent"][size].append(rng.normal(0, BETWEEN / QUERIES**0.5, shape) - step)
        for name, by_drop in watched.items():
            quiet, loud = np.concatenate(by_drop[0.0]), np.concatenate(by_drop[drop])
            sd = float(quiet[:, 30:].std())
            for label, detect in (
                ("CUSUM", lambda x, sd=sd: cusum(x, sd=sd, direction="down").alarm),
                ("e-detector, sub-Gaussian", lambda x, sd=sd: e_detector(x, sd=sd, direction="down").alarm),
            ):
                lines.append(row(f"{name}, drop {drop_of:.0%}", sd, label, detect(loud), detect(quiet), before))
            if name == "panel":
                arms = np.concatenate(bounded[drop]), np.concatenate(bounded[0.0])
                lines.append(row(f"{name}, drop {drop_of:.0%}", sd, "e-detector, bounded by 1", *arms, before))
    return lines


def row(name: str, sd: float, label: str, loud: np.ndarray, quiet: np.ndarray, before: int) -> str:
    share, median = seen(loud, before)
    days = f"{median:.0f}" if median <= loud.shape[1] - before else f"over {loud.shape[1] - before}"
    return f"| {name} | {sd:.4f} | {label} | {share:.1%} | {days} | {seen(quiet, before)[0]:.1%} |"


def dilution() -> Table:
    """Days until a drop of 2 % shows, in a confidence sequence of the running mean and in a CUSUM of the same panel."""
    lines = ["| days without a change first | confidence sequence | CUSUM |", "| --- | --- | --- |"]
    rng = np.random.default_rng(12)
    for quiet in (30, 90, 365):
        days = {"sequence": [], "cusum": []}
        for _ in range(200):
            x = rng.normal(0, NOISE, (quiet + 120, QUERIES))
            x[quiet:] -= DROP
            found = confidence_sequence(x.ravel(), intended=quiet * QUERIES)
            clear = found.looks[(found.high < 0) & (found.looks > quiet * QUERIES)]
            days["sequence"].append(clear[0] / QUERIES - quiet if clear.size else np.inf)
            alarm = cusum(x.mean(1), sd=NOISE / QUERIES**0.5, direction="down").alarm[quiet:]
            days["cusum"].append(alarm.argmax() + 1)
        lines.append(f"| {quiet} | {np.median(days['sequence']):.1f} | {np.median(days['cusum']):.0f} |")
    return lines


def main() -> None:
    sequence = (
        f"How often an interval leaves out the true mean, 0, at some look in {LOOKS:,} queries. The sequence is meant for "
    )
    sequence += (
        f"1,000 queries, and begins after {BURN_IN} queries and {MINIMUM_MOVED} differences that are not 0. Nominal: 5 %."
    )
    parts = [
        [sequence, "", *coverage(), ""],
        [*stratified(), ""],
        ["How long a detector runs until its first false alarm, in looks.", "", *run_lengths(), ""],
        ["How soon a drop is seen in 200 queries, at one false alarm a year.", "", *detection(), ""],
        ["Median days until a drop of 2 % shows in the same panel of 200 queries.", "", *dilution(), ""],
    ]
    note = f"Made by `python docs/coverage_sequential.py`: {EXPERIMENTS:,} experiments a row of the first table (Monte Carlo "
    note += f"error 0.3 points at 5 %), {SERIES // 4:,} series a row of the second, {SERIES:,} of the third, 200 of the fourth."
    OUT.write_text("\n".join([line for part in parts for line in part] + [note, ""]), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
