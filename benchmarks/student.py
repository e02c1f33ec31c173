"""How fast a student is: encoding by torch, ONNX and int8 beside sentence-transformers, one search, and what rounding costs.

    python benchmarks/student.py --out student-speed              # trains a small student first: minutes on two cores
    python benchmarks/student.py --student FOLDER                 # measures one that was trained

Needs GERMANE_DATA (esci_us_120) and a base under GERMANE_MODELS. All tools encode the same texts with the same weights, one
after the other, again and again; the largest difference from sentence-transformers' vectors is printed, and for fp32 the
script stops if it is above 1e-4. The small student is a poor judge: it is there for its speed, and for what int8 changes.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from germane import scales
from germane.inference.vectors import Int8, int8
from germane.judges import lexical
from germane.judges.saying import decide, probabilities
from germane.judges.two_tower import ENGINES, TwoTower
from germane.text import document_text
from germane.training import distil
from germane.training.examples import Examples, split
from germane.training.running import Settings

FIELDS = ("title", "brand", "color", "category", "bullet_points", "description")
SHOWN = 25  # documents of one search
TOLERANCE = 1e-4


def esci(folder: Path) -> Examples:
    """The judged pairs of esci_us_120, people's labels."""
    import pyarrow.parquet as pq

    scale = scales.get("esci")
    rows = {row["product_id"]: row for row in pq.read_table(folder / "products.parquet").to_pylist()}
    texts = {key: document_text({name: row[name] or "" for name in FIELDS}) for key, row in rows.items()}
    queries = {row["query_id"]: row["query"] for row in pq.read_table(folder / "queries.parquet").to_pylist()}
    said = pq.read_table(folder / "judgments.parquet").to_pylist()
    said = [row for row in said if texts[row["product_id"]].strip()]
    grade = np.array([scale.relevance(row["esci_label"]) for row in said])
    columns = [
        (str(row["query_id"]), str(row["product_id"]), queries[row["query_id"]], texts[row["product_id"]]) for row in said
    ]
    query_id, doc_id, query, text = zip(*columns, strict=True)
    return Examples(query_id, doc_id, query, text, grade, np.eye(len(scale.labels))[grade], scale, (("human", ""),))


class Took(NamedTuple):
    """Seconds of a call: on the wall, and of all processors together, which other work on the machine does not stretch."""

    wall: float
    processor: float


def timed(work: Callable[[], Any]) -> Took:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - processor)


def encoding(judges: dict[str, TwoTower], folder: Path, texts: Sequence[str], repeats: int) -> None:
    """Texts a second of each engine and of sentence-transformers, interleaved, and the difference of their vectors."""
    from sentence_transformers import SentenceTransformer, __version__

    peer = SentenceTransformer(str(folder / "tower"), device="cpu")
    peer.max_seq_length = next(iter(judges.values())).about.max_length

    def theirs() -> Any:
        return peer.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)

    works: dict[str, Callable[[], Any]] = {f"sentence-transformers {__version__}, fp32": theirs}
    works |= {f"germane, {name}": (lambda judge=judge: judge.encode_texts(texts)) for name, judge in judges.items()}
    vectors = {name: work() for name, work in works.items()}  # and the first call of each is not counted
    took: dict[str, list[Took]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            took[name].append(timed(work))
    best = {name: Took(min(t.wall for t in all_), min(t.processor for t in all_)) for name, all_ in took.items()}
    peers, base = next(iter(best.values())), next(iter(vectors.values()))
    print(f"\n{len(texts)} texts, cut at {peer.max_seq_length} tokens; best of {repeats} (median); ratio to the first line\n")
    print("| tool | texts/s | ratio | processor, ms a text | ratio | largest difference | mean cosine |")
    print("|---|---|---|---|---|---|---|")
    for name, found in vectors.items():
        off, cosine = float(np.abs(found - base).max()), float((found * base).sum(axis=1).mean())
        median = statistics.median(t.wall for t in took[name])
        rate = f"{len(texts) / best[name].wall:,.0f} ({len(texts) / median:,.0f}) | {peers.wall / best[name].wall:.2f}"
        cost = f"{best[name].processor / len(texts) * 1000:.1f} | {peers.processor / best[name].processor:.2f}"
        print(f"| {name} | {rate} | {cost} | {off:.1e} | {cosine:.4f} |")
        if "int8" not in name and off > TOLERANCE:
            sys.exit(f"{name} differs from sentence-transformers by {off:.1e}")


def search(judge: TwoTower, query: str, texts: Sequence[Any], stored: Int8) -> None:
    """Grades documents whose vectors are stored."""
    features = judge.features([query] * len(texts), texts)
    judge.score_vectors(judge.encode_queries([query])[0], stored, features)


def searching(judges: dict[str, TwoTower], held: Examples, searches: int) -> None:
    """Milliseconds to grade the documents of one search, their vectors made before: query, features and head."""
    rng = np.random.default_rng(1)
    ready = [lexical.read(text) for text in held.text]
    print(f"\none query x {SHOWN} documents whose vectors are stored as int8; {searches} searches\n")
    print("| engine | texts | p50, ms | p99, ms | processor, ms: p50 |\n|---|---|---|---|---|")
    for name, judge in judges.items():
        stored = int8(judge.encode_texts(held.text))
        for kind, texts in (("read before", ready), ("read in the search", held.text)):
            took: list[Took] = []
            for n in range(searches + 5):
                at, query = rng.integers(len(held), size=SHOWN), held.query[int(rng.integers(len(held)))] + f" {n}"
                shown = [texts[i] for i in at]
                took.append(timed(partial(search, judge, query, shown, stored.take(at))))
            p50, p99 = np.percentile([1000 * t.wall for t in took[5:]], [50, 99])
            processor = 1000 * statistics.median(t.processor for t in took[5:])
            print(f"| {name} | {kind} | {p50:.1f} | {p99:.1f} | {processor:.1f} |", flush=True)
    began = time.perf_counter()
    lexical.features(held.query, held.text)
    cold = len(held) / (time.perf_counter() - began)
    began = time.perf_counter()
    lexical.features(held.query, ready)
    print(f"\nlexical features: {cold:,.0f} pairs/s, {len(held) / (time.perf_counter() - began):,.0f} with texts read before")


def rounding(judges: dict[str, TwoTower], held: Examples) -> None:
    """The share of labels that change when weights or stored vectors are rounded, against torch and float vectors."""
    torch = judges["torch"]
    q, d = torch.encode_queries(held.query), torch.encode_texts(held.text)
    features = torch.features(held.query, held.text)
    logits = {
        "ONNX, fp32": judges["onnx"].score(held.query, held.text),
        "ONNX, int8 weights": judges["onnx-int8"].score(held.query, held.text),
        "vectors as fp16": torch.score_vectors(q, d.astype(np.float16), features),
        "vectors as int8, a scale each": torch.score_vectors(q, int8(d), features),
        "vectors as int8, a scale a dimension": torch.score_vectors(q, int8(d, by="dimension"), features),
    }
    true = torch.score_vectors(q, d, features)

    def said(x: Any) -> Any:
        return decide(probabilities(x, torch.about.temperature), torch.about.weights)

    print(f"\n{len(held)} pairs of {len(set(held.query))} held-out queries, against torch in fp32 with vectors of floats\n")
    print("| what is rounded | labels changed | mean change of the probabilities | largest |\n|---|---|---|---|")
    for name, found in logits.items():
        change = np.abs(probabilities(found, torch.about.temperature) - probabilities(true, torch.about.temperature))
        print(f"| {name} | {(said(found) != said(true)).mean():.2%} | {change.mean():.4f} | {change.max():.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--student", type=Path, help="a trained student, with ONNX and one tower")
    parser.add_argument(
        "--out", type=Path, default=Path("student-speed"), help="where a small one is trained, if none is given"
    )
    parser.add_argument("--base", default="all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GERMANE_DATA", "data")) / "esci_us_120")
    parser.add_argument("--pairs", type=int, default=320, help="that the small student learns from")
    parser.add_argument("--max-text", type=int, default=128, help="tokens of a text that it reads")
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each tool")
    parser.add_argument("--searches", type=int, default=200)
    given = parser.parse_args()
    import torch

    pairs, held = split(esci(given.data), 0.2, seed=1)
    folder = given.student or given.out
    if not (folder / "judge.json").is_file():
        rows = pairs.take(np.random.default_rng(1).permutation(len(pairs))[: given.pairs])
        settings = Settings(epochs=1, batch=16, learning_rate=5e-5, device="cpu")
        distil.train(rows, None, folder, recipe=distil.StudentRecipe(given.base, max_text=given.max_text, settings=settings))
    torch.set_num_threads(given.threads)
    judges = {engine: TwoTower(folder, engine=engine, device="cpu", threads=given.threads) for engine in ENGINES}
    held = held.take(np.random.default_rng(2).permutation(len(held))[: 2 * given.texts])
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {given.threads} of {os.cpu_count()} cores{load}, Python {platform.python_version()}")
    encoding(judges, folder, list(dict.fromkeys(held.text))[: given.texts], given.repeats)
    searching(judges, held, given.searches)
    rounding(judges, held)


if __name__ == "__main__":
    main()
