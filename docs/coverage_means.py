"""How often the 95 % interval of the paired difference holds the truth: writes docs/statistics/means_coverage.md.

    python docs/coverage_means.py

Simulated experiments, one stratum, 20,000 a cell; the share of queries whose page did not change has difference 0.
"""

from pathlib import Path

import numpy as np
from scipy import stats

EXPERIMENTS = 20_000
SIZES = (40, 100, 300, 1000)
ZEROS = (0.0, 0.5, 0.8, 0.95)
OUT = Path(__file__).parent / "statistics" / "means_coverage.md"


def differences(rng: np.random.Generator, n: int, zeros: float, skewed: bool, experiments: int) -> np.ndarray:
    """(experiments, n) paired differences with mean 0.01 x (1 - zeros)."""
    shape = (experiments, n)
    moved = rng.gamma(0.25, 0.2, shape) - 0.04 if skewed else rng.normal(0.01, 0.1, shape)
    return np.where(rng.random(shape) < zeros, 0.0, moved)


def coverage(n: int, zeros: float, skewed: bool, seed: int) -> tuple[float, float]:
    """(share of all experiments whose interval holds the truth, share of experiments that are called reliable)."""
    rng = np.random.default_rng(seed)
    truth = (1 - zeros) * 0.01
    held, reliable = [], []
    for _ in range(20):
        d = differences(rng, n, zeros, skewed, EXPERIMENTS // 20)
        se = d.std(axis=1, ddof=1) / np.sqrt(n)
        held.append(np.abs(d.mean(axis=1) - truth) <= stats.t.ppf(0.975, n - 1) * se)
        reliable.append((d != 0).sum(axis=1) >= 30)
    hits, kept = np.concatenate(held), np.concatenate(reliable)
    return float(hits.mean()), float(kept.mean())


def main() -> None:
    lines = ["| differences | unchanged pages | n | coverage | called reliable |", "| --- | --- | --- | --- | --- |"]
    for skewed in (False, True):
        for zeros in ZEROS:
            for n in SIZES:
                held, kept = coverage(n, zeros, skewed, seed=n + int(100 * zeros))
                name = "skewed (gamma)" if skewed else "normal"
                lines.append(f"| {name} | {zeros:.0%} | {n:,} | {held:.3f} | {kept:.0%} |")
    note = f"Made by `python docs/coverage_means.py`: {EXPERIMENTS:,} simulated experiments a row; Monte Carlo error 0.0015."
    OUT.write_text("\n".join([*lines, "", note, ""]), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
