"""How often the intervals and verdicts of a judge card are right: writes calibration_coverage.md and equivalence_coverage.md.

    python docs/coverage_check.py [calibration | equivalence]

Calibration: queries that differ in difficulty, three grades drawn from softmax(z), a judge that says softmax(sharp z). Means
and quantiles: skewed errors that queries share. Equivalence: bias at the margin (no verdict "equivalent" is right there) and
inside it, with normal, skewed and mostly zero errors. Decisions: judge and people correlated at 0.8 by query.
"""

import sys
from pathlib import Path

import numpy as np

from germane.stats.calibration import calibration_error
from germane.stats.clustered import mean, quantile
from germane.stats.equivalence import decision_agreement, decisions, tost
from germane.types import Estimate

OUT = Path(__file__).parent / "statistics"
SAMPLES, EXPERIMENTS, NESTED = 1000, 20_000, 200
Array = np.ndarray


def world(rng: np.random.Generator, queries: int, size: int, sharp: float) -> tuple[Array, Array, Array]:
    """(probabilities, grades, query) of queries x size pairs."""
    z = np.repeat(rng.normal(0, 1, (queries, 3)), size, 0) + rng.normal(0, 1, (queries * size, 3))
    true, said = (np.exp(power * z) / np.exp(power * z).sum(1, keepdims=True) for power in (1.0, sharp))
    grades = (rng.random(len(z))[:, None] > true.cumsum(1)).sum(1)
    return said, grades, np.repeat(np.arange(queries), size)


def errors(rng: np.random.Generator, queries: int, size: int) -> Array:
    return (rng.exponential(1, (queries, 1)) + rng.normal(0, 1, (queries, size))).ravel()


def calibration() -> list[str]:
    rows = [
        "| queries x documents | judge | true error | mean value | without debiasing | covers |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for sharp, name in ((1.0, "calibrated"), (1.5, "a little sharp"), (3.0, "far too sharp")):
        truth = calibration_error(*world(np.random.default_rng(9), 20_000, 8, sharp)[:2]).value
        for queries, size in ((25, 40), (60, 8), (200, 5)):
            rng = np.random.default_rng([queries, size])
            found, plain = [], []
            for _ in range(SAMPLES):
                said, grades, query = world(rng, queries, size, sharp)
                found.append(calibration_error(said, grades, clusters=query))
                plain.append(binned(said, grades))
            covers = np.mean([e.low <= truth <= e.high for e in found])
            value, biased = np.mean([e.value for e in found]), np.mean(plain)
            rows.append(f"| {queries} x {size} | {name} | {truth:.3f} | {value:.3f} | {biased:.3f} | {covers:.3f} |")
    return rows


def binned(said: Array, grades: Array) -> float:
    """The plain calibration error: the same buckets, no variance taken off."""
    total = 0.0
    for grade in range(said.shape[1]):
        edges = np.quantile(said[:, grade], np.arange(1, 10) / 10)
        code = np.searchsorted(edges, said[:, grade], side="right")
        counts = np.bincount(code, minlength=10)
        gaps = np.bincount(code, (grades == grade) - said[:, grade], 10) / np.maximum(counts, 1)
        total += float((counts * gaps**2).sum()) / len(said) / said.shape[1]
    return total**0.5


def over_queries() -> list[str]:
    rows = ["| queries x documents | mean | P10 | P90 |", "|---|--:|--:|--:|"]
    big = errors(np.random.default_rng(8), 200_000, 4)
    truths = (1.0, *np.quantile(big, [0.1, 0.9]))
    for queries, size in ((25, 4), (50, 4), (120, 2), (500, 2)):
        rng, hits = np.random.default_rng(queries), []
        query = np.repeat(np.arange(queries), size)
        for _ in range(SAMPLES):
            x = errors(rng, queries, size)
            found = (mean(x, clusters=query), quantile(x, 0.1, clusters=query), quantile(x, 0.9, clusters=query))
            hits.append([e.low <= t <= e.high for e, t in zip(found, truths, strict=True)])
        rows.append(f"| {queries} x {size} | " + " | ".join(f"{share:.3f}" for share in np.mean(hits, axis=0)) + " |")
    return rows


def equivalence() -> list[str]:
    rows = ["| errors | queries | equivalent, bias at the margin | equivalent, no bias | not equivalent, bias at the margin |"]
    rows.append("|---|--:|--:|--:|--:|")
    for name in ("normal", "skewed", "four of five are 0"):
        for n in (40, 300, 2000):
            rng = np.random.default_rng(n)
            margin = 0.2 if n == 40 else 0.15 if n == 300 else 0.06
            shares = []
            for bias in (margin, 0.0):
                said = verdicts(rng, name, n, bias, margin)
                shares.append((np.mean(said == "equivalent"), np.mean(said == "not equivalent")))
            rows.append(f"| {name} | {n:,} | {shares[0][0]:.3f} | {shares[1][0]:.3f} | {shares[0][1]:.3f} |")
    return rows


def verdicts(rng: np.random.Generator, name: str, n: int, bias: float, margin: float) -> Array:
    """The verdicts of many samples of n errors with standard deviation 1 and this mean."""
    said = []
    for _ in range(EXPERIMENTS // 2000):
        if name == "normal":
            x = rng.normal(0, 1, (2000, n))
        elif name == "skewed":
            x = rng.gamma(0.25, 2.0, (2000, n)) - 0.5
        else:
            x = np.where(rng.random((2000, n)) < 0.2, rng.normal(0, 5**0.5, (2000, n)), 0.0)
        x += bias * (5 * (x != 0) if name.startswith("four") else 1)
        few = np.count_nonzero(x, axis=1) < 30
        for m, se, small in zip(x.mean(1), x.std(1, ddof=1) / n**0.5, few, strict=True):
            caveat = "not reliable: few differences are not zero" if small else ""
            said.append(tost(Estimate(m, se, m, m, n, "bias", df=n - 1.0, caveat=caveat), margin))
    return np.array(said)


def deciding() -> list[str]:
    rows = [
        "| queries of gold | true agreement | mean value | covers | covers, Monte Carlo error alone |",
        "|--:|--:|--:|--:|--:|",
    ]
    for n in (60, 120, 300):
        rng, effect = np.random.default_rng(n), 2.0 / n**0.5

        def draw(size: int, rng: np.random.Generator = rng, effect: float = effect) -> tuple[Array, Array]:
            people = rng.normal(effect, 1, size)
            return people, 0.8 * (people - effect) + effect + rng.normal(0, 0.6, size)

        (whole,) = decisions(*draw(20_000), sizes=[n], seed=1, experiments=2000)
        hits, alone, values = [], [], []
        for seed in range(NESTED):
            people, judge = draw(n)
            e = decision_agreement(people, judge, seed=seed)
            (plain,) = decisions(people, judge, sizes=[n], seed=seed)
            values.append(e.value)
            hits.append(e.low <= whole.same.value <= e.high)
            alone.append(plain.same.low <= whole.same.value <= plain.same.high)
        found = f"{whole.same.value:.3f} | {np.mean(values):.3f} | {np.mean(hits):.3f} | {np.mean(alone):.3f}"
        rows.append(f"| {n} | {found} |")
    return rows


def note(samples: int) -> str:
    spread = (0.95 * 0.05 / samples) ** 0.5
    made = "Made by `python docs/coverage_check.py`."
    return f"\n{samples:,} samples a row; Monte Carlo error of a share near 0.95: {spread:.3f}. {made}\n"


def main() -> None:
    wanted = sys.argv[1:] or ["calibration", "equivalence"]
    if "calibration" in wanted:
        lines = [*calibration(), note(SAMPLES), "Errors that queries share, skewed; nominal 95 % intervals over queries:\n"]
        (OUT / "calibration_coverage.md").write_text("\n".join([*lines, *over_queries(), note(SAMPLES)]), encoding="utf-8")
    if "equivalence" in wanted:
        lines = [*equivalence(), note(EXPERIMENTS), "Nominal 95 % intervals of the share of experiments decided alike:\n"]
        (OUT / "equivalence_coverage.md").write_text("\n".join([*lines, *deciding(), note(NESTED)]), encoding="utf-8")


if __name__ == "__main__":
    main()
