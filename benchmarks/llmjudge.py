"""33 LLM judges against NIST's assessors: published kappa and alpha reproduced to 4 decimals, with the intervals they lacked.

Data: LLMJudge (Rahmani et al. 2025, arXiv 2502.13908), the folder llmjudge_2024 of GERMANE_DATA; labels above 3 count as 3,
as there. Exit code 1 if one of the 66 numbers differs. Then the time of one kappa with its interval over queries, beside
scikit-learn's kappa in a cluster bootstrap of 200 resamples.

    python benchmarks/llmjudge.py
"""

from __future__ import annotations

import csv
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import cohen_kappa_score

from germane.stats.agreement import cohen_kappa, krippendorff_alpha

FOLDER = Path(os.environ.get("GERMANE_DATA", "GERMANE_DATA is not set")) / "llmjudge_2024"


def main() -> int:
    if not FOLDER.is_dir():
        print(f"no data in {FOLDER}: set GERMANE_DATA (docs/data.md says how to get it)", file=sys.stderr)
        return 2
    labels = pq.read_table(FOLDER / "labels.parquet")
    query, human = labels["query_id"].to_numpy(), labels["human"].to_numpy()
    with open(FOLDER / "published_agreement.csv", encoding="utf-8") as file:
        published = {row["submission"]: row for row in csv.DictReader(file) if row["in_labels"] == "True"}
    judges = {name: np.minimum(labels[name].to_numpy(), 3) for name in published}

    start = time.perf_counter()
    kappa = {name: cohen_kappa(human, judge, clusters=query) for name, judge in judges.items()}
    alpha = {name: krippendorff_alpha(np.column_stack([human, judge]), clusters=query) for name, judge in judges.items()}
    took = time.perf_counter() - start

    equal = 0
    print(
        f"{'judge':24} {'kappa':>7} {'published':>9} {'95 % interval':>16} {'alpha':>8} {'published':>9} {'95 % interval':>16}"
    )
    for name, row in published.items():
        line = f"{name:24}"
        for found, said in ((kappa[name], row["cohen_kappa"]), (alpha[name], row["krippendorff_alpha_ordinal"])):
            same = f"{found.value:.4f}" == said
            equal += same
            line += f" {found.value:7.4f} {said:>8}{' ' if same else '!'} {found.low:7.3f} to {found.high:.3f} "
        print(line.rstrip())
    print(f"{equal} of {2 * len(published)} numbers equal the published ones to 4 decimals; all in {took:.2f} s")
    timing(human, judges["willia-umbrela1"], query)
    return 0 if equal == 2 * len(published) else 1


def timing(human: np.ndarray, judge: np.ndarray, query: np.ndarray, resamples: int = 200) -> None:
    start = time.perf_counter()
    for _ in range(20):
        ours = cohen_kappa(human, judge, clusters=query)
    mine = (time.perf_counter() - start) / 20
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(query == name) for name in np.unique(query)]
    start = time.perf_counter()
    drawn = [np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))]) for _ in range(resamples)]
    low, high = np.quantile([cohen_kappa_score(human[d], judge[d]) for d in drawn], [0.025, 0.975])
    theirs = time.perf_counter() - start
    print(f"kappa of {len(human):,} pairs with its interval over {len(rows)} queries: {1000 * mine:.1f} ms, ", end="")
    print(
        f"{ours.low:.3f} to {ours.high:.3f}; scikit-learn and {resamples} resamples: {theirs:.2f} s, {low:.3f} to {high:.3f} ",
        end="",
    )
    print(f"({theirs / mine:.0f} times as long)")


if __name__ == "__main__":
    sys.exit(main())
