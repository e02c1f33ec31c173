"""How often the demo's interval holds the known truth: writes docs/verbs/demo_coverage.md.

    python docs/coverage_demo.py [seeds]

The demo repeated on one simulated marketplace with other samples and other errors of the judge, through `compare` itself.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from germane import logs, sampling
from germane.engines import BM25
from germane.judges import Confused, People, ask
from germane.pipeline.compare import compare
from germane.pipeline.demo import AUDIT, EVERY, JUDGE, LEAST, QUERIES, RATERS, TITLE, K
from germane.simulate import Marketplace
from germane.simulate.raters import votes
from germane.types import Report

OUT = Path(__file__).parent / "verbs" / "demo_coverage.md"


def judged(runs: list[pa.Table], market: Marketplace, seed: int, perfect: bool) -> pa.Table:
    """Grades of everything in both runs: the replay judge's, or the truth as people would say it."""
    pairs = pa.concat_tables([run.select(["query_id", "doc_id"]) for run in runs])
    pairs = pairs.group_by(["query_id", "doc_id"]).aggregate([])
    ids = pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist()
    said = market.truth(*ids) if perfect else Confused(market.truth, JUDGE, scale=market.scale, seed=seed).grade(*ids)[0]
    n = len(pairs)
    columns = {"relevance": pa.array(said, pa.int16()), "judge": ["human:truth" if perfect else "replay"] * n}
    rest = {"fingerprint": ["" if perfect else "replay"] * n, "scale": [market.scale.name] * n, "guide_version": [""] * n}
    return pa.table({"query_id": pairs["query_id"], "doc_id": pairs["doc_id"], **columns, **rest})


def main(seeds: int) -> None:
    market = Marketplace()
    population = logs.with_segments(market.queries).table
    runs = [BM25(market.docs, fields).search(market.queries, k=K) for fields in (TITLE, EVERY)]
    truth = market.delta(*runs)
    names = ("the truth", "the replay judge, not audited", "the replay judge, audited")
    found: dict[str, list[Report]] = {name: [] for name in names}
    for seed in range(1, seeds + 1):
        design = sampling.draw(population, n=QUERIES, seed=seed, minimum=LEAST).table
        moved = sampling.pool(*runs, k=K, designs=design).table
        drawn = sampling.draw_audit(moved, n=AUDIT, unit="documents", seed=seed, designs=design).table
        blank = pa.repeat("", drawn.num_rows)  # simulated people know the truth by the ids
        asked = drawn.append_column("query", blank).append_column("text", blank)
        said = ask(People(votes(market, asked, raters=RATERS, seed=seed), market.scale, name="people"), asked)
        audits = ({}, {}, {"audit": said, "audit_sample": drawn})
        machine = judged(runs, market, seed, perfect=False)
        grades = (judged(runs, market, seed, perfect=True), machine, machine)
        for name, labels, audit in zip(names, grades, audits, strict=True):
            report = compare(*runs, labels, scale=market.scale, design=design, allow=["no-card"], **audit)
            found[name].append(report)
    lines = ["| grades by | intervals that hold the truth | verdict better | mean estimate | mean se |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for name, reports in found.items():
        held = sum(r.delta.low <= truth <= r.delta.high for r in reports)
        better = sum(r.verdict == "better" for r in reports)
        value, se = (float(np.mean([getattr(r.delta, part) for r in reports])) for part in ("value", "se"))
        lines.append(f"| {name} | {held} of {seeds} | {better} of {seeds} | {value:+.4f} | {se:.4f} |")
    note = f"The truth is {truth:+.4f}. Made by `python docs/coverage_demo.py {seeds}`, a simulation of {seeds} demos."
    OUT.write_text("\n".join([*lines, "", note, ""]), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
