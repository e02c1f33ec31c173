"""How often the 95 % interval of the paired difference holds the truth: writes docs/statistics/means_coverage.md.

    python docs/coverage_means.py

Simulated experiments, 20,000 a cell, in one stratum and in many of unequal populations. The share of queries whose page did
not change has difference 0; the rest is normal, or skewed (gamma of shape 1/4: most changes slightly negative, a few large).
`intervals` is the product's stratified_difference for many experiments at once; tests/test_means.py holds the two together.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from germane.stats.means import MINIMUM_DF, MINIMUM_NONZERO, SMALL, THIN
from germane.stats.skewness import LEANS, MOST, SHY

EXPERIMENTS = 20_000
DESIGNS = ((40, 1), (40, 20), (100, 1), (100, 50), (300, 1), (300, 60), (2000, 1), (1980, 60), (5000, 1), (4980, 60))
ZEROS = (0.0, 0.5, 0.8, 0.95)
EFFECT = 0.01  # the mean of the differences that are not zero
OUT = Path(__file__).parent / "statistics" / "means_coverage.md"
Array = np.ndarray


class Sums(NamedTuple):
    """(E, H) each: of E experiments of H strata of m differences, how many are not zero, and their sums of powers."""

    m: int
    nonzero: Array
    first: Array
    second: Array
    third: Array

    @classmethod
    def of(cls, d: Array) -> "Sums":
        """d: (E, H, m)."""
        return cls(d.shape[2], np.count_nonzero(d, axis=2), *((d**power).sum(axis=2) for power in (1, 2, 3)))

    def without_effect(self) -> "Sums":
        """The same with EFFECT taken from every difference that is not zero: pages change, and none is better on average."""
        e, k = EFFECT, self.nonzero
        first, second = self.first - e * k, self.second - 2 * e * self.first + e**2 * k
        return Sums(self.m, k, first, second, self.third - 3 * e * self.second + 3 * e**2 * self.first - e**3 * k)


class Intervals(NamedTuple):
    """(E,) each. plain_*: t limits with each stratum's own variance, as if nothing were thin or skewed."""

    value: Array
    se: Array
    df: Array
    low: Array
    high: Array
    reliable: Array
    plain_low: Array
    plain_high: Array


class Cell(NamedTuple):
    """Shares of experiments: plain t and the product's interval hold the truth; called reliable; among these, the
    interval holds the truth, and finds a difference where none is."""

    plain: float
    covered: float
    reliable: float
    covered_reliable: float
    false_alarms: float


def weights(strata: int) -> Array:
    """Shares of strata whose populations differ by up to three times."""
    size = np.linspace(1.0, 3.0, strata)
    return size / size.sum()


def draw(rng: np.random.Generator, shape: tuple[int, int], m: int, zeros: float, kind: str) -> Sums:
    """Experiments (E, H) of m differences each, mean EFFECT x (1 - zeros), the moved ones of SD 0.1: only these are drawn."""
    nonzero = np.full(shape, m) if zeros == 0 else rng.binomial(m, 1 - zeros, shape)
    count = int(nonzero.sum())
    moved = rng.gamma(0.25, 0.2, count) - 0.05 if kind == "skewed" else rng.normal(0.0, 0.1, count)
    moved += EFFECT
    place = np.repeat(np.arange(nonzero.size), nonzero.ravel())
    powers = [np.bincount(place, weights=x, minlength=nonzero.size).reshape(shape) for x in (moved, moved**2, moved**3)]
    return Sums(m, nonzero, *powers)


def intervals(sums: Sums, share: Array) -> Intervals:
    """The product's estimate of each experiment at level 0.95. share: (H,) of the population."""
    m, nonzero = sums.m, sums.nonzero
    strata = share.size
    mean = sums.first / m
    squares = np.maximum(sums.second - m * mean**2, 0.0)
    cubes = sums.third - 3 * mean * sums.second + 2 * m * mean**3
    value, part = mean @ share, share**2 / m
    thin = (nonzero < THIN) | (squares == 0)
    lends = np.where((thin & (squares > 0)).any(axis=1, keepdims=True), thin, True)  # thin ones, or all where none varies
    terms = part * squares / (m - 1)  # no stratum of these designs is undersampled
    few = 2.0 if m < SMALL <= strata else 0.0
    variance, below = terms.sum(axis=1), (terms**2).sum(axis=1) / (m - 1 + few)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(below > 0, np.maximum(variance**2 / below - few, m - 1.0), strata * (m - 1.0))
        own_third = cubes * m / ((m - 1) * (m - 2)) if m > 2 else np.zeros_like(cubes)
        third = (np.where(thin, 0.0, own_third) * share**3).sum(axis=1) / m**2
        third += _merged_third(mean, squares, cubes, lends, m) * np.where(thin, share**3, 0.0).sum(axis=1) / m**2
        skewness = np.where(variance > 0, third / variance**1.5, 0.0)
    se, quantile = np.sqrt(variance), stats.t.ppf(0.975, df)
    under, over = reaches(quantile, skewness)
    plain = part * squares / (m - 1)
    plain_variance = plain.sum(axis=1)
    plain_df = plain_variance**2 / np.maximum((plain**2).sum(axis=1) / (m - 1), 1e-300)
    margin = stats.t.ppf(0.975, np.maximum(plain_df, 1)) * np.sqrt(plain_variance)
    reliable = (nonzero.sum(axis=1) >= MINIMUM_NONZERO) & (df >= MINIMUM_DF) & (se > 0)
    return Intervals(value, se, df, value - under * se, value + over * se, reliable, value - margin, value + margin)


def _merged_third(mean: Array, squares: Array, cubes: Array, lends: Array, m: int) -> Array:
    """(E,) unbiased third central moment of all values in the lending strata together."""
    count = lends.sum(axis=1)
    n = count * m
    centre = (mean * lends).sum(axis=1) / count
    gap = mean - centre[:, None]
    total = ((cubes + 3 * gap * squares + m * gap**3) * lends).sum(axis=1)
    return np.where(n > 2, total * n / np.maximum((n - 1.0) * (n - 2.0), 1.0), 0.0)


def reaches(quantile: Array, skewness: Array) -> tuple[Array, Array]:
    """germane.stats.skewness.reaches for many means at once."""
    lean = np.clip(np.abs(skewness), LEANS, MOST)

    def inverse(z: Array) -> Array:
        return 3 / lean * (np.cbrt(1 + lean * (z - lean / 6)) - 1)

    tail = np.maximum(quantile, -inverse(-quantile))
    near = quantile + SHY * (inverse(quantile) - quantile)
    leans = np.abs(skewness) > LEANS
    under = np.where(leans, np.where(skewness > 0, near, tail), quantile)
    over = np.where(leans, np.where(skewness > 0, tail, near), quantile)
    return under, over


def cell(n: int, strata: int, zeros: float, kind: str, experiments: int = EXPERIMENTS, seed: int = 1) -> Cell:
    rng = np.random.default_rng([seed, n, strata, int(100 * zeros), kind == "skewed"])
    share, truth = weights(strata), EFFECT * (1 - zeros)
    rows = []
    for count in _chunks(experiments, n):
        sums = draw(rng, (count, strata), n // strata, zeros, kind)
        found, null = intervals(sums, share), intervals(sums.without_effect(), share)
        rows.append(
            np.column_stack(
                [
                    (found.plain_low <= truth) & (truth <= found.plain_high),
                    (found.low <= truth) & (truth <= found.high),
                    found.reliable,
                    (null.low > 0) | (null.high < 0),
                    null.reliable,
                ]
            )
        )
    plain, held, reliable, alarm, null_reliable = np.concatenate(rows).T
    return Cell(
        float(plain.mean()),
        float(held.mean()),
        float(reliable.mean()),
        float(held[reliable].mean()) if reliable.any() else float("nan"),
        float(alarm[null_reliable].mean()) if null_reliable.any() else float("nan"),
    )


def _chunks(experiments: int, n: int) -> Iterator[int]:
    step = max(1, 2_000_000 // n)
    for start in range(0, experiments, step):
        yield min(step, experiments - start)


def line(n: int, strata: int, zeros: float, kind: str, found: Cell) -> str:
    seldom = found.reliable < 0.02
    shown = ["seldom", "seldom"] if seldom else [f"{found.covered_reliable:.3f}", f"{found.false_alarms:.3f}"]
    share = "under 1 %" if 0 < found.reliable < 0.01 else f"{found.reliable:.0%}"
    cells = [kind, f"{zeros:.0%}", f"{n:,}", str(strata), f"{found.plain:.3f}", f"{found.covered:.3f}", share, *shown]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    head = [
        "differences",
        "unchanged pages",
        "n",
        "strata",
        "plain t",
        "germane",
        "called reliable",
        "coverage of these",
        "A/A: false alarms of these",
    ]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for kind in ("normal", "skewed"):
        for zeros in ZEROS:
            for n, strata in DESIGNS:
                lines.append(line(n, strata, zeros, kind, cell(n, strata, zeros, kind)))
                print(lines[-1], flush=True)
    note = (
        f"Made by `python docs/coverage_means.py`: {EXPERIMENTS:,} simulated experiments a row, Monte Carlo error 0.0015 where "
        "all are reliable. plain t: coverage of t limits with each stratum's own variance; germane: of the product's interval; "
        "both over all experiments, called reliable or not. seldom: fewer than 2 % are called reliable."
    )
    OUT.write_text("\n".join([*lines, "", note, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
