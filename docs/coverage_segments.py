"""How often 30 dependent segments make a false discovery: writes docs/statistics/segments_coverage.md.

    python docs/coverage_segments.py            # 20,000 experiments a row; a quarter of an hour on two cores

Each experiment has 104 strata, 26 interests of unequal size by 4 popularity segments, sampled in proportion. The 30 segments
are the two margins of one set of queries. Rows with effects: the four largest interests have effects of alternating signs
that cancel, so that 4 segments differ from 0 and 26, all of popularity among them, do not.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from germane.stats.multiple import adjusted_p, fcr_level, gated_p
from germane.stats.segments import Segments, guarded_interval, guarded_p, heterogeneity, segment_differences, shrunken

INTERESTS, POPULARITY = 26, 4
BATCH, GATES, SHRUNKEN = 50, 2000, 1000
OUT = Path(__file__).parent / "statistics" / "segments_coverage.md"
SHAPES = {
    "normal": lambda rng, n: rng.normal(0, 0.1, n),
    "heavy tails (t, 3 df)": lambda rng, n: 0.06 * rng.standard_t(3, n),
    "skewed (exponential)": lambda rng, n: rng.exponential(0.1, n) - 0.1,
    "very skewed (lognormal)": lambda rng, n: 0.05 * (rng.lognormal(0, 1, n) - np.exp(0.5)),
    "skewed, up or down by interest": lambda rng, n: rng.exponential(0.1, n) - 0.1,
}
ROWS = [(shape, zeros, 2000, False) for shape in SHAPES for zeros in (0.0, 0.5, 0.8)]
ROWS += [(shape, 0.8, 5000, False) for shape in SHAPES] + [(shape, 0.5, 2000, True) for shape in SHAPES]


class World(NamedTuple):
    """Queries of one design: strata (Q,), segments (2, Q), populations (H,), and the true effect of each stratum (H,)."""

    strata: np.ndarray
    segments: np.ndarray
    populations: np.ndarray
    effect: np.ndarray


def world(n: int, effects: bool) -> World:
    share = np.arange(2, INTERESTS + 2) ** -0.7
    share /= share.sum()
    populations = np.outer(share, (0.15, 0.25, 0.35, 0.25)).ravel() * 1e6
    strata = np.repeat(np.arange(populations.size), np.maximum(2, np.round(populations / populations.sum() * n)).astype(int))
    effect = np.zeros(INTERESTS)
    if effects:
        effect[:4] = 0.035 * np.array([1, -1, 1, -1]) * share[2] / share[:4]
    segments = np.stack([strata // POPULARITY, INTERESTS + strata % POPULARITY])
    return World(strata, segments, populations, np.repeat(effect, POPULARITY))


def differences(rng: np.random.Generator, w: World, shape: str, zeros: float, size: int) -> np.ndarray:
    """(size, Q): a share of pages does not change; the others' changes have the shape and, over the stratum, the effect."""
    d = SHAPES[shape](rng, (size, w.strata.size))
    if shape.endswith("interest"):
        d *= np.where(w.segments[0] % 2, 1, -1)
    return np.where(rng.random(d.shape) < zeros, 0.0, d + w.effect[w.strata] / (1 - zeros))


class Tally:
    """Sums over experiments by name of the column."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: float, count: int = 1) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.counts[name] = self.counts.get(name, 0) + count

    def __getitem__(self, name: str) -> float:
        return self.sums[name] / self.counts[name] if self.counts.get(name) else float("nan")


class One(NamedTuple):
    """The reliable segments of one experiment: which they are, and their columns of the batch."""

    which: np.ndarray
    value: np.ndarray
    se: np.ndarray
    df: np.ndarray
    skewness: np.ndarray
    p: np.ndarray
    plain: np.ndarray


def one(found: Segments, plain: np.ndarray, e: int) -> One:
    at = slice(e * (INTERESTS + POPULARITY), (e + 1) * (INTERESTS + POPULARITY))
    kept = np.flatnonzero(found.reliable[at])
    columns = (found.value[at][kept], found.se[at][kept], found.df[at][kept], found.skewness[:, at][:, kept])
    return One(kept, *columns, found.p[at][kept], plain[at][kept])


def gates(x: One, tally: Tally | None) -> np.ndarray:
    """(2,): the p-value of each dimension's heterogeneity, 1 where there is no test."""
    p = np.ones(2)
    for k in (0, 1):
        of = (x.which >= INTERESTS) == k
        if of.sum() > 1:
            p[k] = heterogeneity(x.value[of], x.se[of], x.df[of], x.skewness[:, of]).p
            if tally is not None:
                tally.add(f"gate {k}", p[k] <= 0.05)
                tally.add(f"plain gate {k}", heterogeneity(x.value[of], x.se[of], x.df[of]).p <= 0.05)
    return p


def once(x: One, truth: np.ndarray, gate: np.ndarray, tally: Tally) -> None:
    """One experiment's discoveries by plain t, by the default and behind a gate, and intervals of those by default."""
    null = truth[x.which] == 0
    hits = {
        "t": adjusted_p(x.plain) <= 0.05,
        "default": adjusted_p(x.p) <= 0.05,
        "gated": gated_p(x.p, (x.which >= INTERESTS).astype(int), adjusted_p(gate))[0] <= 0.05,
    }
    for rule, hit in hits.items():
        tally.add(f"fdr {rule}", (hit & null).sum() / max(hit.sum(), 1), 0)
        tally.add(f"power {rule}", hit[~null].sum() / 4, 0)
    hit = hits["default"]
    if hit.any():
        level = fcr_level(int(hit.sum()), x.which.size)
        for name, skewness, at in (("missed", x.skewness, level), ("plain missed", x.skewness[:0], 0.95)):
            low, high = guarded_interval(x.value, x.se, x.df, skewness, level=at)
            tally.add(name, ((low > truth[x.which]) | (high < truth[x.which]))[hit].mean(), 0)


def row(of: tuple[str, float, int, bool], experiments: int) -> Tally:
    shape, zeros, n, effects = of
    w = world(n, effects)
    rng = np.random.default_rng([n, int(100 * zeros), list(SHAPES).index(shape), effects])
    truth = np.concatenate([w.effect[::POPULARITY], np.zeros(POPULARITY)])
    tally = Tally()
    for start in range(0, experiments, BATCH):
        size = min(BATCH, experiments - start)
        found = segment_differences(differences(rng, w, shape, zeros, size), w.strata, w.segments, w.populations)
        none = np.zeros((0, found.n.size))
        with np.errstate(invalid="ignore", divide="ignore"):
            plain = np.where(found.reliable, guarded_p(found.value / found.se, found.df, none), 1.0)
        # No p-value at or under 0.05 in an experiment, and nothing is found by any rule.
        least = np.where(found.reliable, plain, 1.0).reshape(size, -1).min(axis=1)
        for e in range(size):
            tested = start + e < GATES
            if not tested and least[e] > 0.05:
                continue
            x = one(found, plain, e)
            if x.which.size:
                once(x, truth, gates(x, tally if tested else None), tally)
        for name in [f"{what} {rule}" for what in ("fdr", "power") for rule in ("t", "default", "gated")]:
            tally.add(name, 0, size)
        for name in ("missed", "plain missed"):
            tally.add(name, 0, size)
        tally.add("tested", found.reliable.sum(), size)
    return tally


def shrink(of: tuple[int, float], experiments: int) -> tuple[float, float, float]:
    """(coverage of shrunken effects, their error and their intervals' width as shares of the plain ones')."""
    k, between = of
    rng = np.random.default_rng([k, int(10 * between)])
    se = np.geomspace(0.6, 1.6, k)
    held, error, plain, width = [], [], [], []
    for _ in range(experiments):
        truth = rng.normal(0.5, between, k)
        y = rng.normal(truth, se)
        found = shrunken(y, se, np.full(k, 1e6))
        assert found is not None
        held.append(((found.low <= truth) & (truth <= found.high)).mean())
        error.append(((found.value - truth) ** 2).mean())
        plain.append(((y - truth) ** 2).mean())
        width.append((found.se / se).mean())
    return float(np.mean(held)), float(np.sqrt(np.mean(error) / np.mean(plain))), float(np.mean(width))


def table(head: str, lines: list[str]) -> list[str]:
    names = head.split(" | ")
    return [f"| {head} |", "|" + " --- |" * len(names), *lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    cells = [(k, between) for k in (4, 12, 30) for between in (0.0, 0.5, 1.0, 2.0)]
    with ProcessPoolExecutor(asked.workers) as pool:
        tallies = list(pool.map(partial(row, experiments=asked.experiments), ROWS))
        shrinks = list(pool.map(partial(shrink, experiments=min(asked.experiments, SHRUNKEN)), cells))
    none, some, gates, pulled = [], [], [], []
    for (shape, zeros, n, effects), t in zip(ROWS, tallies, strict=True):
        name = f"| {shape} | {zeros:.0%} | {n:,} |"
        rates = " | ".join(f"{t[f'fdr {rule}']:.3f}" for rule in ("t", "default", "gated"))
        if effects:
            powers = " | ".join(f"{t[f'power {rule}']:.2f}" for rule in ("t", "default", "gated"))
            some.append(f"{name} {rates} | {powers} | {t['plain missed']:.3f} | {t['missed']:.3f} |")
        else:
            none.append(f"{name} {t['tested']:.1f} | {rates} |")
            gates.append(
                f"{name} " + " | ".join(f"{t[f'{kind}gate {k}']:.3f}" for k in (0, 1) for kind in ("plain ", "")) + " |"
            )
    for (k, between), (held, error, width) in zip(cells, shrinks, strict=True):
        pulled.append(f"| {k} | {between:g} | {held:.3f} | {error:.2f} | {width:.2f} |")
    rules = "plain t: FDR | default: FDR | gated: FDR"
    error = (0.05 * 0.95 / asked.experiments) ** 0.5
    lines = ["**No effect anywhere: the share of experiments with a false discovery**", ""]
    lines += table(f"differences | unchanged pages | queries | segments tested, of 30 | {rules}", none)
    lines += ["**Four interests differ: false discoveries, power, and intervals of what was found that miss the truth**", ""]
    power = "plain t: power | default: power | gated: power | plain intervals miss | adjusted intervals miss"
    lines += table(f"differences | unchanged pages | queries | {rules} | {power}", some)
    lines += ["**No effect anywhere: how often “do the segments differ at all?” says yes at 5 %**", ""]
    asks = "26 interests, plain Welch | 26 interests, default | 4 popularity segments, plain Welch | 4, default"
    lines += table(f"differences | unchanged pages | queries | {asks}", gates)
    lines += ["**Shrunken effects, normal errors; the spread of true effects is in standard errors**", ""]
    lines += table("segments | spread of true effects | coverage | error, share of plain | width, share of plain", pulled)
    told = "" if asked.experiments == 20_000 else f" --experiments {asked.experiments}"
    third = (0.05 * 0.95 / GATES) ** 0.5
    lines.append(
        f"Made by `python docs/coverage_segments.py{told}`: {asked.experiments:,} simulated experiments a row, the first "
        f"{GATES:,} of them in the third table, {SHRUNKEN:,} others in the last. Monte Carlo error of a rate of 0.05: "
        f"{error:.4f}, so 0.05 + 3 of them is {0.05 + 3 * error:.4f} (in the third {0.05 + 3 * third:.4f})."
    )
    OUT.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
