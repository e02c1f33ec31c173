"""Do corrected intervals hold people's answer on real labels? Writes docs/statistics/audits_esci_coverage.md.

    GERMANE_DATA=... python docs/audits_esci.py [EXPERIMENTS]

A simulation on real labels: 120 real queries of Amazon's ESCI with 40 to 78 products each that people graded. Every simulated
A/B test ranks each query's graded products twice (control: words shared with the title, and noise; treatment: new noise for
four queries of five, and a little of the truth or of its opposite). The judge is a replay of people's grades through a
stated confusion matrix; among the products that the treatment moved up, a stated share is read by a lenient one, so that its
errors favour the treatment. The target is what people say over these very queries, which is known here.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from germane.judges.replay import Confused
from germane.scales import get
from germane.stats.correction import Corrected, corrected, corrected_documents

EXPERIMENTS = 1000
OUT = Path(__file__).parent / "statistics" / "audits_esci_coverage.md"
K = 25
REPLAYS = 50  # different replays of each judge; an experiment takes one
GAINS = np.array([0.0, 0.01, 0.1, 1.0])  # I, C, S, E
GOOD = np.array([[0.85, 0.05, 0.08, 0.02], [0.15, 0.6, 0.2, 0.05], [0.08, 0.05, 0.77, 0.1], [0.02, 0.01, 0.12, 0.85]])
FAIR = np.array([[0.6, 0.1, 0.2, 0.1], [0.25, 0.35, 0.25, 0.15], [0.15, 0.1, 0.5, 0.25], [0.05, 0.05, 0.25, 0.65]])
LENIENT = np.array([[0.4, 0.1, 0.3, 0.2], [0.1, 0.3, 0.3, 0.3], [0.03, 0.02, 0.45, 0.5], [0.0, 0.0, 0.05, 0.95]])
JUDGES = {"good": (GOOD, 0.1), "fair": (FAIR, 0.3)}  # confusion, share of moved-up products that the lenient one reads
AUDITS = ("40 queries", "60 queries", "documents of 40 queries", "documents of 20 queries")


class Labels(NamedTuple):
    """(queries, products) each, padded: grade -1 where there is no product. strata: (queries,) the source of the query."""

    grade: np.ndarray
    overlap: np.ndarray
    strata: np.ndarray
    said: dict[str, np.ndarray]  # judge -> (REPLAYS, queries, products)


def labels(folder: Path) -> Labels:
    judged = pq.read_table(folder / "judgments.parquet").to_pandas()
    source = dict(pq.read_table(folder / "queries.parquet").select(["query_id", "query_source"]).to_pandas().to_numpy())
    titles = dict(pq.read_table(folder / "products.parquet").select(["product_id", "title"]).to_pandas().to_numpy())
    judged["grade"] = judged["esci_label"].map({"I": 0, "C": 1, "S": 2, "E": 3})
    groups = list(judged.groupby("query_id"))
    size = max(len(g) for _, g in groups)
    grade, overlap = np.full((len(groups), size), -1), np.zeros((len(groups), size))
    ids, docs = np.full(grade.shape, "", object), np.full(grade.shape, "", object)
    for i, (query_id, g) in enumerate(groups):
        grade[i, : len(g)] = g["grade"]
        ids[i, : len(g)], docs[i, : len(g)] = str(query_id), g["product_id"].astype(str)
        words = set(str(g["query"].iloc[0]).lower().split())
        overlap[i, : len(g)] = [len(words & set(str(titles[p]).lower().split())) / len(words) for p in g["product_id"]]
    there = grade >= 0
    known = {(q, d): r for q, d, r in zip(ids[there], docs[there], grade[there], strict=True)}

    def truth(queries, documents):
        return [known[q, d] for q, d in zip(queries, documents, strict=True)]

    said = {}
    for name, matrix in (("good", GOOD), ("fair", FAIR), ("lenient", LENIENT)):
        said[name] = np.zeros((REPLAYS, *grade.shape), int)
        for seed in range(REPLAYS):
            judge = Confused(truth, matrix, scale=get("esci"), seed=seed, name=name)
            said[name][seed][there] = judge.grade(ids[there].tolist(), docs[there].tolist())[0]
    return Labels(grade, overlap, np.array([str(source[q]) for q, _ in groups]), said)


def discounts(score: np.ndarray) -> np.ndarray:
    """(queries, products) share of sDCG@25 that a product's place carries, 0 below the top 25."""
    rank = (-score).argsort(axis=1).argsort(axis=1) + 1
    whole = (1 / np.log2(np.arange(2, K + 2))).sum()
    return np.where(rank <= K, 1 / np.log2(rank + 1), 0.0) / whole


def rankings(data: Labels, rng: np.random.Generator) -> np.ndarray:
    """(queries, products) weights: the discount in the treatment minus that in the control."""
    there = data.grade >= 0
    control = np.where(there, data.overlap + rng.normal(0, 0.3, there.shape), -np.inf)
    moved = rng.random(len(there)) < 0.8
    truth = rng.normal(0, 0.15) * GAINS[data.grade] * there
    treatment = np.where(moved[:, None], control + rng.normal(0, 0.4, there.shape) + truth, control)
    return discounts(np.where(there, treatment, -np.inf)) - discounts(control)


def audit(kind: str, data: Labels, weight: np.ndarray, said: np.ndarray, rng: np.random.Generator) -> tuple[Corrected, float]:
    """The corrected answer and the number of pairs that people judged for it."""
    there, people, judge = data.grade >= 0, GAINS[data.grade], GAINS[said]
    f, y = (weight * judge * there).sum(1), (weight * people * there).sum(1)
    names, counts = np.unique(data.strata, return_counts=True)
    populations = {str(name): float(count) for name, count in zip(names, counts, strict=True)}
    share = int(kind.split()[-2]) / len(f)
    if "documents" not in kind:
        seen = np.zeros(len(f), bool)
        for name, count in zip(names, counts, strict=True):
            seen[rng.choice(np.flatnonzero(data.strata == name), max(2, round(share * count)), replace=False)] = True
        options = {"strata": data.strata, "populations": populations, "finite": True}
        return corrected(f, np.where(seen, y, np.nan), **options), float((weight[seen] != 0).sum())
    size = np.abs(weight)
    wanted = share * (weight != 0).sum()
    chance = np.minimum(1, size / size.sum() * wanted)
    q, j = np.nonzero(rng.random(size.shape) < chance)
    found = corrected_documents(
        f,
        query=q,
        weight=weight[q, j],
        judge_gain=judge[q, j],
        people_gain=people[q, j],
        chance=chance[q, j],
        strata=data.strata,
        populations=populations,
        finite=True,
    )
    return found, float(len(q))


def run(data: Labels, judge: str, kind: str, experiments: int, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    lenient_share = JUDGES[judge][1]
    rows = []
    for _ in range(experiments):
        weight = rankings(data, rng)
        replay = rng.integers(REPLAYS)
        lenient = (weight > 0) & (rng.random(weight.shape) < lenient_share)
        said = np.where(lenient, data.said["lenient"][replay], data.said[judge][replay])
        d = (weight * GAINS[data.grade] * (data.grade >= 0)).sum(1)
        c, pairs = audit(kind, data, weight, said, rng)
        true = d.mean()  # the strata's populations are these queries, so the stratified target is their plain mean
        x, only = c.estimate, c.judge_only
        skew = ((d - true) ** 3).mean() / d.std() ** 3
        held, alone = x.low <= true <= x.high, only.low <= true <= only.high
        wrong = [(e.low > 0 and true < 0) or (e.high < 0 and true > 0) for e in (x, only)]
        said_what = [e.low > 0 or e.high < 0 for e in (x, only)]
        rows.append(
            [
                held,
                not x.caveat,
                alone,
                x.se**2,
                c.people_only.se**2,
                c.judge_only.value - true,
                pairs,
                abs(skew),
                *wrong,
                *said_what,
            ]
        )
    a = np.array(rows, float)
    reliable = a[:, 1] == 1
    return {
        "held": a[:, 0].mean(),
        "reliable": reliable.mean(),
        "held_reliable": a[reliable, 0].mean() if reliable.any() else float("nan"),
        "judge": a[:, 2].mean(),
        "ratio": a[:, 3].mean() / a[:, 4].mean(),
        "bias": a[:, 5].mean(),
        "pairs": a[:, 6].mean(),
        "skew": float(np.median(a[:, 7])),
        "wrong": a[:, 8].sum() / max(a[:, 10].sum(), 1),
        "judge_wrong": a[:, 9].sum() / max(a[:, 11].sum(), 1),
    }


def main(experiments: int = EXPERIMENTS) -> None:
    folder = Path(os.environ.get("GERMANE_DATA", "")) / "esci_us_120"
    if not os.environ.get("GERMANE_DATA") or not folder.is_dir():
        print("GERMANE_DATA names no folder that holds esci_us_120: docs/data.md says how to get it", file=sys.stderr)
        sys.exit(2)
    data = labels(folder)
    cells = [(judge, kind) for judge in JUDGES for kind in AUDITS]
    lines = [
        "| judge | audit | pairs people judged | judge's mean error | corrected: coverage | called reliable | coverage of those"
        " | variance, of people only | wrong clear answers | judge only: coverage | wrong clear answers |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    with ProcessPoolExecutor() as pool:
        results = pool.map(run, repeat(data), *zip(*cells, strict=True), repeat(experiments), range(len(cells)))
        for (judge, kind), r in zip(cells, results, strict=True):
            line = (
                f"| {judge} | {kind} | {r['pairs']:,.0f} | {r['bias']:+.4f} | {r['held']:.3f} | {r['reliable']:.0%} |"
                f" {r['held_reliable']:.3f} | {r['ratio']:.2f} | {r['wrong']:.1%} | {r['judge']:.3f} | {r['judge_wrong']:.1%} |"
            )
            lines.append(line)
            print(line, f"skew {r['skew']:.2f}", flush=True)
    note = (
        f"Made by `python docs/audits_esci.py`: {experiments:,} simulated A/B tests a row over {len(data.grade)} real"
        f" queries of ESCI; Monte Carlo error {np.sqrt(0.95 * 0.05 / experiments):.4f}. A clear answer: the interval leaves"
        " out 0; wrong: people say the opposite. The judge-only interval is the usual one, for queries like these."
    )
    OUT.write_text("\n".join([*lines, "", note, ""]), encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
