"""How often the corrected interval holds people's answer: writes docs/statistics/correction_coverage.md.

    python docs/coverage_correction.py [EXPERIMENTS]

Simulated experiments, 20,000 a row, computed by the product's own code for many experiments at once (a test holds it
against `corrected`, experiment by experiment). A page that did not change has difference 0 for people and judge; else
people's difference is m_h + s_h a and the judge's m_h + b_h + s_h (rho a + sqrt(1 - rho^2) a'), with a, a' standard: normal,
or skewed (exponential: skewness 2), or very skewed (gamma of shape 1/4: skewness 4). m_h from -0.01 to 0.03 and s_h from
0.07 to 0.13 differ by stratum; the judge's bias b_h is +0.010 in four strata of five and -0.010 in the fifth.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from germane.stats.correction.core import Found, estimate, limits, mean, tuned
from germane.stats.correction.layout import Layout, layout
from germane.stats.correction.queries import ROUNDING, weights
from germane.stats.means import MINIMUM_DF, MINIMUM_NONZERO

EXPERIMENTS = 20_000
OUT = Path(__file__).parent / "statistics" / "correction_coverage.md"
SHAPES = {"normal": None, "skewed": 1.0, "very skewed": 0.25}
JUDGE_ONLY = 4000  # experiments in which the judge-only interval is looked at, where more than 500 queries were judged
MOVED = 8  # documents of a query that moved, in the rows of audited documents


class Cell(NamedTuple):
    """One row: n audited of m judged queries. audit: nested, disjoint or documents (MOVED x n). null: no true effect."""

    audit: str
    n: int
    strata: int
    shape: str = "normal"
    zeros: float = 0.0
    rho: float = 0.6
    null: bool = False

    @property
    def m(self) -> int:
        return {300: 900, 2000: 5000, 5000: 10_000}.get(self.n, 5 * self.n)


class World(NamedTuple):
    """Rows and strata of a cell. h: (m,) stratum of each judged query; audited: (m,); weight: (H,) shares of the population."""

    h: np.ndarray
    names: np.ndarray
    audited: np.ndarray
    populations: dict[str, float]
    weight: np.ndarray
    effect: np.ndarray
    sd: np.ndarray
    bias: np.ndarray


def world(cell: Cell) -> World:
    """Strata of shares 1/rank^0.7, audited in proportion; where each has two audited queries only, of equal shares."""
    count = cell.strata
    weight = np.ones(count) if 2 * count == cell.n else 1 / np.arange(1, count + 1) ** 0.7
    weight /= weight.sum()
    n = np.maximum(2, np.floor(cell.n * weight)).astype(int)
    while n.sum() != cell.n:
        step = int(np.sign(cell.n - n.sum()))
        n[np.argmax(step * (cell.n * weight - n) - 1e9 * (n + step < 2))] += step
    m = np.round(cell.m * n / cell.n).astype(int)
    h = np.repeat(np.arange(count), m)
    audited = np.concatenate([np.arange(b) < a for a, b in zip(n, m, strict=True)])
    names = np.array([f"{i:02d}" for i in range(count)])
    number = np.arange(count)
    effect = np.zeros(count) if cell.null else 0.01 + 0.02 * np.sin(number)
    sd = 0.07 + 0.06 * (number * 7 % 10) / 9 if count > 1 else np.array([0.1])
    bias = np.where(number % 5 == 4, -0.01, 0.01)
    populations = {str(name): 1e6 * w for name, w in zip(names, weight, strict=True)}
    return World(h, names[h], audited, populations, weight, effect, sd, bias)


def differences(cell: Cell, w: World, rng: np.random.Generator, experiments: int) -> tuple[np.ndarray, np.ndarray]:
    """(people's, the judge's), (experiments, m) each."""
    k, shape = SHAPES[cell.shape], (experiments, w.h.size)
    a, b = (rng.normal(size=shape) if k is None else (rng.gamma(k, 1, shape) - k) / np.sqrt(k) for _ in range(2))
    same = rng.random(shape) < cell.zeros
    people = w.effect[w.h] + w.sd[w.h] * a
    judge = (w.effect + w.bias)[w.h] + w.sd[w.h] * (cell.rho * a + np.sqrt(1 - cell.rho**2) * b)
    return np.where(same, 0.0, people), np.where(same, 0.0, judge)


def queries(cell: Cell, w: World, people: np.ndarray, judge: np.ndarray) -> tuple[Layout, Found, Found, np.ndarray]:
    """Layout, the corrected estimates and people's alone of every experiment, and people's audited differences."""
    nested = cell.audit == "nested"
    plan = layout(w.names, w.audited, w.populations, nested=nested)
    y, f, rest = people[:, plan.audited], judge[:, plan.audited], judge[:, plan.rest]
    fit = tuned(y, f, plan, rest=rest, **weights(plan, nested))
    found = estimate(y, f, rest, plan, fit.each, nested=nested)
    return plan, found, mean(y, plan, plan.bias_term), y


def gains(cell: Cell, w: World, rng: np.random.Generator, experiments: int) -> tuple[np.ndarray, ...]:
    """Documents: (weights, people's gains, the judge's), (experiments, m, MOVED) each. ESCI gains; (1 - rho)/2 are wrong."""
    shape = (experiments, w.h.size, MOVED)
    discount = 1 / np.log2(np.arange(2, MOVED + 2))
    weight = np.where(np.arange(MOVED) % 2 == 0, discount, -discount) / discount.sum()
    moved = rng.random(shape[:2]) >= cell.zeros
    gain = np.array([0.0, 0.01, 0.1, 1.0])
    better = 0.0 if cell.null else 0.03  # more exact matches among the documents that went up
    exact = 0.5 + better * (weight > 0)
    drawn = rng.random(shape)
    people = np.where(drawn < exact, 1.0, gain[np.minimum((4 * rng.random(shape)).astype(int), 2)])
    lenient = np.where(np.sign(w.bias)[w.h][None, :, None] * weight > 0, 1.0, 0.0)  # its errors favour one arm
    judge = np.where(rng.random(shape) < (1 - cell.rho) / 2, lenient, people)
    return moved[..., None] * weight, people, judge


def documents(
    cell: Cell, w: World, rng: np.random.Generator, experiments: int
) -> tuple[Layout, Found, Found, np.ndarray, np.ndarray]:
    """As `queries`, from MOVED x n documents (expected) drawn by themselves with chance proportional to |weight|."""
    weight, people, judge = gains(cell, w, rng, experiments)
    chance = np.abs(weight) / np.abs(weight).mean(axis=(1, 2), keepdims=True) * cell.n / cell.m
    drawn = rng.random(weight.shape) < chance
    scale = np.where(drawn, weight / np.where(drawn, np.minimum(chance, 1), 1), 0.0)
    plan = layout(w.names, np.ones(w.h.size, bool), w.populations)
    f = (weight * judge).sum(-1)
    y, said = (scale * people).sum(-1), (scale * judge).sum(-1)
    factor = plan.share**2 * plan.kish
    y, off = y[:, plan.audited], (said - f)[:, plan.audited]
    fit = tuned(y, off, plan, gain=factor, cost=factor)
    return plan, mean(y - fit.each * off, plan, factor), mean(y, plan, factor), y, f


def truth(cell: Cell, w: World) -> float:
    if cell.audit != "documents":
        return float((1 - cell.zeros) * w.weight @ w.effect)
    discount = 1 / np.log2(np.arange(2, MOVED + 2))
    up = (discount * (np.arange(MOVED) % 2 == 0)).sum() / discount.sum()
    other = (0.0 + 0.01 + 2 * 0.1) / 4
    level = (0.5 + 0.5 * other) * (2 * up - 1)
    return float((1 - cell.zeros) * (level + (0.0 if cell.null else 0.03 * (1 - other) * up)))


def run(cell: Cell, experiments: int, seed: int) -> dict[str, float]:
    """What the table says of one cell."""
    w, rng, true = world(cell), np.random.default_rng(seed), truth(cell, world(cell))
    size = 250_000 // (cell.m * (MOVED if cell.audit == "documents" else 1)) + 1
    parts: dict[str, list[np.ndarray]] = {"held": [], "reliable": [], "value": [], "alone": [], "judge": []}
    everyone = layout(w.names, np.ones(w.h.size, bool), w.populations)
    others = layout(w.names[~w.audited], np.ones(int((~w.audited).sum()), bool), w.populations)
    for start in range(0, experiments, size):
        block = min(size, experiments - start)
        if cell.audit == "documents":
            plan, found, alone, y, judge = documents(cell, w, rng, block)
        else:
            people, judge = differences(cell, w, rng, block)
            plan, found, alone, y = queries(cell, w, people, judge)
        low, high = limits(found, 0.95)
        parts["held"].append((low <= true) & (true <= high))
        nonzero = (np.abs(y) > ROUNDING).sum(-1)
        parts["reliable"].append((nonzero >= MINIMUM_NONZERO) & (plan.design_df >= MINIMUM_DF))
        parts["value"].append(found.value)
        parts["alone"].append(alone.value)
        if cell.m > 500 and start >= JUDGE_ONLY:
            continue
        judged, seen = (others, judge[:, ~w.audited]) if cell.audit == "disjoint" else (everyone, judge)
        only = mean(seen[:, judged.audited], judged, judged.share**2 * judged.kish)
        low, high = limits(only._replace(third=np.zeros(block)), 0.95)
        parts["judge"].append((low <= true) & (true <= high))
    all_ = {name: np.concatenate(x) for name, x in parts.items()}
    kept = all_["reliable"]
    return {
        "held": float(all_["held"].mean()),
        "reliable": float(kept.mean()),
        "held_reliable": float(all_["held"][kept].mean()) if kept.mean() >= 0.05 else float("nan"),
        "ratio": float(all_["value"].var() / all_["alone"].var()),
        "judge": float(all_["judge"].mean()),
    }


def cells() -> list[Cell]:
    shapes = [("normal", 0.0), ("skewed", 0.0), ("normal", 0.5), ("skewed", 0.5), ("normal", 0.8), ("skewed", 0.8)]
    plain, skewed, half, most = shapes[0], shapes[1], shapes[3], shapes[5]
    found = [
        Cell("nested", n, h, *shape) for n, many in ((40, (1, 8, 20)), (100, (1, 10, 50))) for h in many for shape in shapes
    ]
    found += [Cell("nested", 300, 60, *shape) for shape in shapes] + [Cell("nested", 300, 1, *shape) for shape in (half, most)]
    found += [Cell("nested", 100, 10, *shape, rho) for rho in (0.3, 0.9) for shape in (plain, half)]
    found += [Cell("disjoint", n, 8, *shape) for n in (40, 100) for shape in (plain, skewed)]
    found += [Cell("disjoint", 100, 8, *half), Cell("disjoint", 300, 60, *most)]
    found += [Cell("documents", n, 8, "ESCI gains", zeros) for n in (40, 100) for zeros in (0.0, 0.5)]
    found += [Cell("documents", 300, 60, "ESCI gains", 0.5)]
    found += [Cell("nested", n, 10, "very skewed") for n in (100, 300)]
    found += [Cell("nested", 2000, 60, *most), Cell("disjoint", 2000, 60, *half)]
    found += [Cell("nested", n, 60, *shape, rho) for n in (300, 2000) for rho in (0.3, 0.9) for shape in (plain, most)]
    return [*found, *(Cell(audit, 5000, 60, *shape) for audit in ("nested", "disjoint") for shape in (plain, most))]


def null_cells() -> list[Cell]:
    found = [Cell("nested", n, 8, shape, null=True) for n in (40, 100) for shape in ("normal", "skewed")]
    found += [Cell("nested", 300, 60, shape, 0.8, null=True) for shape in ("normal", "skewed")]
    found += [Cell("disjoint", 100, 8, null=True), Cell("disjoint", 300, 60, "skewed", 0.5, null=True)]
    return [*found, *(Cell("nested", 2000, 60, shape, 0.8, null=True) for shape in ("normal", "skewed"))]


def row(cell: Cell) -> str:
    return f"| {cell.audit} | {cell.shape} | {cell.zeros:.0%} | {cell.n:,} | {cell.m:,} | {cell.strata} | {cell.rho:g} |"


def shown(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.3f}"


def compared(cell: Cell, experiments: int, seed: int) -> tuple[float, float, float]:
    """Coverage of plain t limits, of Hall's transformation alone, and of the product's limits, in the same experiments."""
    w, rng, true = world(cell), np.random.default_rng(seed), truth(cell, world(cell))
    held: list[list[np.ndarray]] = [[], [], []]
    size = 250_000 // cell.m + 1
    for start in range(0, experiments, size):
        _, found, _, _ = queries(cell, w, *differences(cell, w, rng, min(size, experiments - start)))
        se, t = np.sqrt(found.variance), stdtrit(found.df, 0.975)
        a = np.where(found.third == 0, 1e-9, found.third / se**3)
        hall = [found.value - se * 3 / a * (np.cbrt(1 + a * (x - a / 6)) - 1) for x in (t, -t)]
        for kept, (low, high) in zip(
            held, ((found.value - t * se, found.value + t * se), hall, limits(found, 0.95)), strict=True
        ):
            kept.append((low <= true) & (true <= high))
    plain, alone, ours = (float(np.concatenate(x).mean()) for x in held)
    return plain, alone, ours


def skewed_cells() -> list[Cell]:
    found = [Cell("nested", 40, 1, "skewed"), Cell("nested", 100, 1, "skewed", 0.5), Cell("nested", 100, 10, "very skewed")]
    return [
        *found,
        Cell("nested", 300, 60, "skewed", 0.8),
        Cell("nested", 100, 1, "normal", 0.5),
        Cell("nested", 300, 1, "normal", 0.8),
    ]


def results(every: list[Cell], experiments: int, seed: int) -> Iterator[tuple[Cell, dict[str, float]]]:
    with ProcessPoolExecutor() as pool:
        yield from zip(every, pool.map(run, every, repeat(experiments), range(seed, seed + len(every))), strict=True)


def main(experiments: int = EXPERIMENTS) -> None:
    head = "| audit | differences | unchanged pages | audited | judged | strata | rho |"
    lines = [
        f"{head} coverage | called reliable | coverage of those | variance, of people only | judge-only interval |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell, r in results(cells(), experiments, 0):
        kept = f"{r['held']:.3f} | {r['reliable']:.0%} | {shown(r['held_reliable'])}"
        line = f"{row(cell)} {kept} | {r['ratio']:.2f} | {r['judge']:.3f} |"
        lines.append(line)
        print(line, flush=True)
    null = [
        "Type I error of a 5 % test where people see no difference at all and the judge is biased:",
        "",
        f"{head} corrected | called reliable | corrected, of those | judge only |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell, r in results(null_cells(), experiments, 1000):
        line = (
            f"{row(cell)} {1 - r['held']:.3f} | {r['reliable']:.0%} | {shown(1 - r['held_reliable'])} | {1 - r['judge']:.3f} |"
        )
        null.append(line)
        print(line, flush=True)
    lengths = [
        "What skewness does, and what mends it: coverage of three intervals in the same experiments.",
        "",
        f"{head} t limits | Hall's transformation | as it is |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for seed, cell in enumerate(skewed_cells(), 2000):
        line = f"{row(cell)} " + " | ".join(f"{x:.3f}" for x in compared(cell, experiments, seed)) + " |"
        lengths.append(line)
        print(line, flush=True)
    note = (
        f"Made by `python docs/coverage_correction.py`: {experiments:,} simulated experiments a row, nominal 95 %; Monte Carlo"
        f" error {np.sqrt(0.95 * 0.05 / experiments):.4f}. Audited: queries; for documents, {MOVED} times as many documents."
        " No coverage is given of those where under 5 % of experiments are called reliable: too few to tell."
    )
    OUT.write_text("\n".join([*lines, "", note, "", *lengths, "", *null, ""]), encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
