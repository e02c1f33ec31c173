"""Retrieval: what vectors and fusion find beside BM25, by people's labels; and exact search beside approximate indexes.

    python benchmarks/retrieval.py quality --out retrieval      # trains two small students first: an hour on two busy cores
    python benchmarks/retrieval.py speed                        # needs faiss-cpu, hnswlib and usearch beside germane

`quality` needs GERMANE_DATA (esci_us_120) and all-MiniLM-L6-v2 under GERMANE_MODELS. In each of two folds by query a student
learns from the labels of one half of the queries, encodes the whole catalogue, and ranks the queries of the other half. Each
engine ranks the judged products of a query, all of them and no others, so that nothing unjudged is in a run; each is compared
with BM25 on the same queries, in pairs. `speed` searches random vectors of length 1 around random centres, as many as --rows
says: exact search does not depend on what they are, and the recall of an approximate index does, so it is that of this
geometry and of no catalogue.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from student import FIELDS
from towers import loaded

from germane import scales, sources, store
from germane.inference.nearest import nearest
from germane.inference.vector_store import About, VectorStore
from germane.labelling.speed import machine
from germane.pipeline.collect import collect
from germane.pipeline.compare import compare
from germane.pipeline.encode import encode
from germane.text import TextPlan, compose_table
from germane.training import distil
from germane.training.examples import Examples, examples, folds
from germane.training.finishing import Lineage
from germane.training.running import Settings

PLAN = TextPlan(order=FIELDS, budgets={"category": 120, "bullet_points": 500, "description": 500})
ESCI = scales.get("esci")
D, K = 384, 100


# --- what they find, by people's labels -----------------------------------------------------------------------------------


class World(NamedTuple):
    """The data as files, and the labelled pairs as examples."""

    queries: Path
    docs: Path
    gold: Path
    labelled: Examples


def world(data: Path, out: Path) -> World:
    """esci_us_120 as germane's own tables."""
    folder = data / "esci_us_120"
    docs = sources.read_docs(folder / "products.parquet")
    queries = sources.read_queries(folder / "queries.parquet")
    gold = sources.read_judgments(folder / "judgments.parquet", scale=ESCI)
    paths = [out / f"{name}.parquet" for name in ("queries", "docs", "gold")]
    for table, path, kind in zip((queries, docs, gold), paths, ("queries", "docs", "judgments"), strict=True):
        store.write_table(table, path, kind, verb="benchmark", parameters={})
    made = compose_table(docs, PLAN)
    text = dict(zip(docs["doc_id"].to_pylist(), made.text.to_pylist(), strict=True))
    asked = gold.select(["query_id", "doc_id"]).join(queries.select(["query_id", "query"]), "query_id")
    asked = asked.append_column("text", pa.array([text[doc_id] for doc_id in asked["doc_id"].to_pylist()]))
    return World(*paths, examples(asked.select(["query_id", "query", "doc_id", "text"]), gold, ESCI))


def fold(of: World, number: int, learnt: Examples, held: Examples, out: Path, given: argparse.Namespace) -> dict[str, Path]:
    """The runs of the queries that this fold's student never saw, by engine."""
    student, vectors = out / f"student-{number}", out / f"vectors-{number}"
    if not (student / "judge.json").is_file():
        settings = Settings(epochs=given.epochs, batch=32, learning_rate=5e-5, device="cpu")
        recipe = distil.StudentRecipe("all-MiniLM-L6-v2", max_text=given.max_text, settings=settings)
        distil.train(learnt, None, student, recipe=recipe, lineage=Lineage(text=PLAN.to_dict()))
    encode(of.docs, student, vectors, engine="onnx", store="int8")
    table = sources.read_queries(of.queries)
    asked = out / f"queries-{number}.parquet"
    mine = table.filter(pc.is_in(table["query_id"], value_set=pa.array(sorted(set(held.query_id)), pa.string())))
    store.write_table(mine, asked, "queries", verb="benchmark", parameters={"fold": number})
    folders = {"student": student, "vectors": vectors}
    ways: dict[str, dict[str, Any]] = {
        "BM25 on all fields": {"fields": FIELDS},
        "BM25 on titles": {"fields": ("title",)},
        "vectors": {"engine": "vectors", **folders},
        "vectors, expected gain": {"engine": "vectors", "options": {"rescore": 1000}, **folders},
        "hybrid": {"engine": "hybrid", "fields": FIELDS, **folders},
    }
    runs = {}
    for name, how in ways.items():
        runs[name] = out / f"{name.replace(' ', '-').replace(',', '')}-{number}.parquet"
        collect(asked, of.docs, runs[name], k=1000, candidates=of.gold, **how)
    return runs


def quality(given: argparse.Namespace) -> None:
    """Each engine beside BM25 on all fields, with intervals."""
    given.out.mkdir(parents=True, exist_ok=True)
    of = world(given.data, given.out)
    runs: dict[str, list[Path]] = {}
    for number, (learnt, held) in enumerate(folds(of.labelled, 2)[: given.halves]):
        for name, path in fold(of, number, of.labelled.take(learnt), of.labelled.take(held), given.out, given).items():
            runs.setdefault(name, []).append(path)
    whole = {name: pa.concat_tables([store.read_table(path, "runs") for path in paths]) for name, paths in runs.items()}
    control, *others = whole
    print(f"{machine()}, {loaded()}; students: MiniLM, {given.epochs:g} epochs, {given.max_text} tokens, other half's labels\n")
    print(f"| engine | metric | {control} | engine's | difference | 95 % interval | queries |\n|---|---|---|---|---|---|---|")
    for name in others:
        for metric in ("sDCG@25", "nDCG@10"):
            report = compare(whole[control], whole[name], of.gold, scale="esci", metric=metric)
            d = report.delta
            levels = f"{report.control.value:.4f} | {report.treatment.value:.4f}"
            print(f"| {name} | {metric} | {levels} | {d.value:+.4f} | {d.low:+.4f} to {d.high:+.4f} | {d.n} |", flush=True)


# --- exact beside approximate ---------------------------------------------------------------------------------------------


def made(rows: int, seed: int) -> np.ndarray[Any, Any]:
    """Vectors of length 1 around a hundredth as many centres, as a catalogue has kinds of things."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(max(rows // 100, 1), D)).astype(np.float32)
    x = centres[rng.integers(len(centres), size=rows)] + 0.7 * rng.normal(size=(rows, D)).astype(np.float32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def told(self) -> str:
        return f"{time.perf_counter() - self.wall:.1f} ({time.process_time() - self.processor:.1f})"


class Tool(NamedTuple):
    """A way to search. build: seconds, on the wall and of the processor. search: queries (n, d) to rows of their nearest."""

    name: str
    build: str
    search: Callable[[np.ndarray[Any, Any]], Any]


def ours(vectors: np.ndarray[Any, Any], how: str, folder: Path) -> Tool:
    began = Clock()
    kept = VectorStore.create(folder / how, About("bench", D, how), verify=False)
    for start in range(0, len(vectors), 1 << 16):
        some = vectors[start : start + (1 << 16)]
        kept.add([str(start + i) for i in range(len(some))], some)
    took = began.told()

    def search(queries: np.ndarray[Any, Any]) -> Any:
        return [near.rows[:K] for near in nearest(queries, kept, K)]

    return Tool(f"germane, exact, {how}", took, search)


def theirs(vectors: np.ndarray[Any, Any], threads: int) -> list[Tool]:
    """The indexes that are installed."""
    tools = []
    try:
        import faiss
    except ImportError:
        print("faiss-cpu is not installed: left out", file=sys.stderr)
    else:
        faiss.omp_set_num_threads(threads)
        for name, index in (
            ("flat (exact, fp32)", faiss.IndexFlatIP(D)),
            ("HNSW 32, ef 128", faiss.IndexHNSWFlat(D, 32, faiss.METRIC_INNER_PRODUCT)),
        ):
            began = Clock()
            index.add(vectors)
            if hasattr(index, "hnsw"):
                index.hnsw.efSearch = 128
            took = began.told()
            tools.append(Tool(f"faiss {faiss.__version__}, {name}", took, lambda q, index=index: index.search(q, K)[1]))
    try:
        import hnswlib
    except ImportError:
        print("hnswlib is not installed: left out", file=sys.stderr)
    else:
        began = Clock()
        graph = hnswlib.Index("ip", D)
        graph.init_index(len(vectors), ef_construction=100, M=16)
        graph.set_num_threads(threads)
        graph.add_items(vectors)
        graph.set_ef(128)
        took = began.told()
        tools.append(Tool("hnswlib, M 16, ef 128", took, lambda q: graph.knn_query(q, K)[0]))
    try:
        from usearch.index import Index
    except ImportError:
        print("usearch is not installed: left out", file=sys.stderr)
    else:
        began = Clock()
        small = Index(ndim=D, metric="ip", dtype="i8", expansion_search=128)
        small.add(np.arange(len(vectors)), vectors, threads=threads)
        took = began.told()
        tools.append(Tool("usearch, i8, ef 128", took, lambda q: small.search(q, K, threads=threads).keys))
    return tools


def speed(given: argparse.Namespace) -> None:
    """Recall of the exact 100 nearest, time to build, and time a query, alone and 128 together."""
    for rows in given.rows:
        vectors, queries = made(rows, 1), made(given.queries, 2)
        truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :K]
        with tempfile.TemporaryDirectory() as folder:
            tools = [ours(vectors, how, Path(folder)) for how in ("int8", "fp16")] + theirs(vectors, given.threads)
            print(f"\n{rows:,} vectors of {D}, {given.queries} queries, k = {K}; {machine()}, {loaded()}\n")
            print("| tool | built in s (processor) | recall@100 | ms a query, alone (processor) | 128 together (processor) |")
            print("|---|---|---|---|---|")
            for tool in tools:
                found = [set(map(int, row)) for row in tool.search(queries)]
                recall = np.mean([len(f & set(t.tolist())) / K for f, t in zip(found, truth, strict=True)])
                alone = took(tool.search, [q[None] for q in queries[:20]], 20)
                together = took(tool.search, [np.resize(queries, (128, D))], 128)
                print(f"| {tool.name} | {tool.build} | {recall:.4f} | {alone} | {together} |", flush=True)


def took(search: Callable[[np.ndarray[Any, Any]], Any], asked: list[np.ndarray[Any, Any]], n: int) -> str:
    """Milliseconds a query on the wall, and of the processor, which other work on the machine stretches less; least of five."""
    wall, processor = np.inf, np.inf
    for _ in range(5):
        began, used = time.perf_counter(), time.process_time()
        for queries in asked:
            search(queries)
        wall, processor = min(wall, time.perf_counter() - began), min(processor, time.process_time() - used)
    return f"{1e3 * wall / n:.2f} ({1e3 * processor / n:.2f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("quality", "speed"))
    parser.add_argument("--out", type=Path, default=Path("retrieval"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GERMANE_DATA", "GERMANE_DATA is not set")))
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--halves", type=int, choices=(1, 2), default=2, help="1: only the first half of the queries")
    parser.add_argument("--max-text", type=int, default=96)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.what == "quality" and not (given.data / "esci_us_120").is_dir():
        print(f"no data in {given.data}: set GERMANE_DATA (docs/data.md says how to get it)", file=sys.stderr)
        return 2
    {"quality": quality, "speed": speed}[given.what](given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
