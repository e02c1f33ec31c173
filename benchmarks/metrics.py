"""Ten thousand queries, a hundred documents each, three measures: germane.metrics beside pytrec_eval, ir_measures and ranx.

    python benchmarks/metrics.py              # about three minutes, half of them ranx's first compilation
    python benchmarks/metrics.py --warm-only  # without it

Every tool runs in a process of its own, on the same seeded data, in the form that the tool takes: arrays of integer codes
for germane (ranking, look-up in the judgments and measures are all inside its time), dictionaries of strings for the others.
"prepare" is what a tool wants built before it measures; making the dictionaries is left out of everybody's time. Then all
values of all queries are compared. Needs the dependency group `bench`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from germane.labelling.speed import surroundings

QUERIES, DOCS, REPEATS = 10_000, 100, 15
NAMES = ("nDCG@10", "P@5", "RR")
TOLERANCE = 1e-9


class World(NamedTuple):
    """A run of QUERIES x DOCS rows and its judgments, in integer codes. Scores are exact in single precision, and distinct."""

    query: Any
    doc: Any
    score: Any
    judged_query: Any
    judged_doc: Any
    relevance: Any


def world(seed: int = 7) -> World:
    """Half of what is retrieved is judged, and ten documents a query that are not; grades 0 to 3, of 100,000 documents."""
    rng = np.random.default_rng(seed)
    doc = rng.integers(0, 90_000, (QUERIES, 1)) + np.argsort(rng.random((QUERIES, 2 * DOCS)), axis=1) * 37
    score = np.argsort(rng.random((QUERIES, DOCS)), axis=1) / 128
    judged = np.concatenate([doc[:, : DOCS // 2], doc[:, DOCS : DOCS + 10]], axis=1)
    rows = np.arange(QUERIES)[:, None]
    return World(
        np.broadcast_to(rows, (QUERIES, DOCS)).ravel().copy(),
        doc[:, :DOCS].ravel().copy(),
        score.ravel(),
        np.broadcast_to(rows, judged.shape).ravel().copy(),
        judged.ravel().copy(),
        rng.choice(4, judged.size, p=[0.4, 0.3, 0.2, 0.1]),
    )


def dictionaries(w: World) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Judgments and run as the other tools take them; padded ids sort as their codes do."""
    qrels: dict[str, dict[str, int]] = {f"q{q:05d}": {} for q in range(QUERIES)}
    run: dict[str, dict[str, float]] = {query: {} for query in qrels}
    ids = list(qrels)
    for q, d, r in zip(w.judged_query.tolist(), w.judged_doc.tolist(), w.relevance.tolist(), strict=True):
        qrels[ids[q]][f"d{d:06d}"] = r
    for q, d, s in zip(w.query.tolist(), w.doc.tolist(), w.score.tolist(), strict=True):
        run[ids[q]][f"d{d:06d}"] = s
    return qrels, run


# --- the tools: an import, a preparation, and what is repeated; values are (measures, queries) ----------------------

Measured = Callable[[], Any]


def germane(w: World) -> tuple[Measured, Callable[[Any], Any]]:
    from germane.metrics import Judged, Lists, grade_arrays, measure, offsets_of, rank_arrays

    def run(_: Any) -> Any:
        ranked = rank_arrays(w.query, w.doc, w.score, queries=QUERIES)
        grades = grade_arrays(w.query, w.doc, w.judged_query, w.judged_doc, w.relevance)
        judged = Judged(offsets_of(w.judged_query, QUERIES), w.relevance)
        return np.stack([*measure(NAMES, Lists(ranked.offsets, grades[ranked.order]), judged).values()])

    return lambda: None, run


def germane_graded(w: World) -> tuple[Measured, Callable[[Any], Any]]:
    """The same where each row of the run already has its relevance, as after a join elsewhere."""
    from germane.metrics import Judged, Lists, grade_arrays, measure, offsets_of, rank_arrays

    grades = grade_arrays(w.query, w.doc, w.judged_query, w.judged_doc, w.relevance)

    def run(_: Any) -> Any:
        ranked = rank_arrays(w.query, w.doc, w.score, queries=QUERIES)
        judged = Judged(offsets_of(w.judged_query, QUERIES), w.relevance)
        return np.stack([*measure(NAMES, Lists(ranked.offsets, grades[ranked.order]), judged).values()])

    return lambda: None, run


def pytrec_eval(w: World) -> tuple[Measured, Callable[[Any], Any]]:
    import pytrec_eval

    qrels, run = dictionaries(w)
    names = ("ndcg_cut_10", "P_5", "recip_rank")

    def prepare() -> Any:
        return pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "P.5", "recip_rank"})

    return prepare, lambda evaluator: [
        [row[name] for row in by_query] for by_query in [[*evaluator.evaluate(run).values()]] for name in names
    ]


def ir_measures(w: World) -> tuple[Measured, Callable[[Any], Any]]:
    import ir_measures

    qrels, run = dictionaries(w)
    names = [ir_measures.nDCG @ 10, ir_measures.P @ 5, ir_measures.RR]

    def measured(evaluator: Any) -> Any:
        values: dict[Any, list[float]] = {name: [] for name in names}
        for row in evaluator.iter_calc(run):
            values[row.measure].append(row.value)
        return [*values.values()]

    return lambda: ir_measures.evaluator(names, qrels), measured


def ranx(w: World) -> tuple[Measured, Callable[[Any], Any]]:
    import ranx

    qrels, run = dictionaries(w)

    def measured(objects: Any) -> Any:
        found = ranx.evaluate(*objects, ["ndcg@10", "precision@5", "mrr"], return_mean=False)
        return [found["ndcg@10"], found["precision@5"], found["mrr"]]

    return lambda: (ranx.Qrels(qrels), ranx.Run(run)), measured


TOOLS = {
    "germane": germane,
    "germane (rows with relevance)": germane_graded,
    "pytrec_eval": pytrec_eval,
    "ir_measures": ir_measures,
    "ranx, warm": ranx,
    "ranx, cold": ranx,
}
PACKAGES = {"pytrec_eval": "pytrec-eval-terrier", "ir_measures": "ir-measures", "ranx": "ranx"}


def one_tool(tool: str, values_at: Path) -> dict[str, Any]:
    """Times of one tool, in seconds; its values go to a file. The first call is apart from the repeated ones."""
    data = world()
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's warnings
        prepare, run = TOOLS[tool](data)
        marks = [time.perf_counter()]
        state = prepare()
        marks.append(time.perf_counter())
        values = run(state)
        marks.append(time.perf_counter())
        prepares, runs, processor = [marks[1] - marks[0]], [], []
        for _ in range(0 if tool.endswith("cold") else REPEATS):
            start = time.perf_counter()
            state = prepare()
            middle, used = time.perf_counter(), time.process_time()
            values = run(state)
            prepares.append(middle - start)
            runs.append(time.perf_counter() - middle)
            processor.append(time.process_time() - used)
    np.save(values_at, np.asarray(values, dtype=np.float64))
    first = {"start": marks[0] - began, "prepare": marks[1] - marks[0], "first": marks[2] - marks[1]}
    return first | {"prepares": prepares, "runs": runs, "processor": processor}


def in_its_own_process(tool: str, folder: Path, environment: dict[str, str]) -> tuple[dict[str, Any], Any]:
    at = folder / "values.npy"
    command = [sys.executable, __file__, "--tool", tool, "--values", str(at)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    if found.returncode:
        raise SystemExit(f"{tool} did not run:\n{found.stderr[-2000:]}")
    return json.loads(found.stdout.strip().splitlines()[-1]), np.load(at)


def import_seconds(module: str) -> float:
    """Best of seven fresh interpreters."""
    best = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        best.append(time.perf_counter() - start)
    return min(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm-only", action="store_true", help="leave out ranx's first call without compiled code")
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--values", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.tool:
        print(json.dumps(one_tool(asked.tool, asked.values)))
        return
    versions = ", ".join(f"{name} {importlib.metadata.version(package)}" for name, package in PACKAGES.items())
    where = f"{surroundings()}, numpy {np.__version__}"
    print(f"{QUERIES:,} queries x {DOCS} documents, {', '.join(NAMES)}; best of {REPEATS} (median)\n{where}\n{versions}\n")
    print("| tool | prepare, s | measure, s | its processor time, s | ratio | prepare + first call, s | largest difference |")
    print("|---|---|---|---|---|---|---|")
    ours, mine = None, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for tool in TOOLS:
            cold = tool.endswith("cold")
            if cold and asked.warm_only:
                continue
            times, values = in_its_own_process(tool, Path(folder), {"NUMBA_CACHE_DIR": folder} if cold else {})
            ours = values if ours is None else ours
            apart = float(np.abs(values - ours).max())
            if not apart <= TOLERANCE:
                raise SystemExit(f"{tool} differs from germane by {apart}: the comparison is void")
            first = f"{times['prepare'] + times['first']:.3f}"
            if cold:
                print(f"| {tool} | | | | | {first} | {apart:.0e} |")
                continue
            best = min(times["runs"])
            mine = mine or best
            prepared = f"{min(times['prepares']):.3f}" if min(times["prepares"]) > 1e-4 else "0"
            middle = statistics.median(times["runs"])
            used, ratio = min(times["processor"]), best / mine
            print(f"| {tool} | {prepared} | {best:.3f} ({middle:.3f}) | {used:.3f} | {ratio:.1f} | {first} | {apart:.0e} |")
    bare, numpy, full = import_seconds("sys"), import_seconds("numpy"), import_seconds("germane.metrics")
    print(f"\nimport, s: numpy {numpy - bare:.3f}, germane.metrics {full - bare:.3f}, so {full - numpy:+.3f} (best of 7)")


if __name__ == "__main__":
    main()
