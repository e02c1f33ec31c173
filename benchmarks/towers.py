"""Two towers at scale: encoding beside sentence-transformers, labels of stored vectors, one search by ids, and memory.

    python benchmarks/towers.py encode --student FOLDER            # a minute or two
    python benchmarks/towers.py label --student FOLDER             # 1 million pairs over 100,000 documents: some minutes
    python benchmarks/towers.py agree --student FOLDER             # what rounding stored vectors changes
    python benchmarks/towers.py growth --rows 100000 1000000 10000000

Needs GERMANE_DATA (esci_us_120). FOLDER is a student with ONNX and one tower; `python benchmarks/student.py` trains a small one
under student-speed. `encode` and `agree` use real texts and its real weights. `label` and `growth` put random vectors into the
folder, since to encode 100,000 texts on two cores takes an hour, and speed does not depend on them; queries are really encoded.
The load of the machine is printed before and after: other work on the same cores stretches wall times, and processor times
much less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from student import Took, esci, timed

from germane import store
from germane.inference.vector_store import About, VectorStore
from germane.judges.head import floats
from germane.judges.saying import decide, probabilities
from germane.judges.two_tower import CHUNK, TwoTower, cores
from germane.labelling.speed import machine


def loaded() -> str:
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def best_of(repeats: int, works: dict[str, Callable[[], Any]]) -> dict[str, Took]:
    """The least wall and processor seconds of each work, one after the other, again and again."""
    took: dict[str, list[Took]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            took[name].append(timed(work))
    return {name: Took(min(t.wall for t in all_), min(t.processor for t in all_)) for name, all_ in took.items()}


def texts_of(data: Path, most: int) -> list[str]:
    return list(dict.fromkeys(esci(data).text))[:most]


def encode(given: argparse.Namespace) -> None:
    """Texts a second, of all the machine's cores."""
    from sentence_transformers import SentenceTransformer, __version__

    texts = texts_of(given.data, given.texts)
    judges = {engine: TwoTower(given.student, engine=engine, device="cpu") for engine in given.engines}
    peer = SentenceTransformer(str(given.student / "tower"), device="cpu")
    peer.max_seq_length = next(iter(judges.values())).about.max_length

    def theirs(batch: int) -> Any:
        return peer.encode(texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)

    works: dict[str, Callable[[], Any]] = {
        f"sentence-transformers {__version__}, batch {batch}{' (default)' if batch == 32 else ''}": (
            lambda batch=batch: theirs(batch)
        )
        for batch in given.batches
    }
    works |= {f"germane, {name}": (lambda judge=judge: judge.encode_texts(texts)) for name, judge in judges.items()}
    made = {name: work() for name, work in works.items()}  # the first call of each is not counted
    best = best_of(given.repeats, works)
    default = next(iter(best))
    theirs_best = min((name for name in best if name.startswith("sentence")), key=lambda name: best[name].wall)
    print(f"{len(texts)} texts, cut at {peer.max_seq_length} tokens; best of {given.repeats}; their best: {theirs_best}\n")
    print("| tool | texts/s | of their default | of their best | processor ms a text | of their least | mean cosine |")
    print("|---|---|---|---|---|---|---|")
    least = min(took.processor for name, took in best.items() if name.startswith("sentence"))
    for name, took in best.items():
        ratio = f"{best[default].wall / took.wall:.2f} | {best[theirs_best].wall / took.wall:.2f}"
        cost = f"{1000 * took.processor / len(texts):.1f} | {least / took.processor:.2f}"
        cosine = float((made[name] * made[default]).sum(axis=1).mean())
        print(f"| {name} | {len(texts) / took.wall:.1f} | {ratio} | {cost} | {cosine:.4f} |")


def filled(folder: Path, judge: TwoTower, texts: list[str], how: str) -> VectorStore:
    """Random vectors of these texts, in the judge's name."""
    vectors = judge.store(folder, store=how)
    for start in range(0, len(texts), 16 * CHUNK):
        some = texts[start : start + 16 * CHUNK]
        vectors.add(some, drawn(len(some), judge.dimension, start), {f"d{start + i}": text for i, text in enumerate(some)})
    return vectors


def drawn(rows: int, dimension: int, seed: int) -> Any:
    found = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def word(number: int) -> str:
    """A word of its own, in letters: a number would make every query one of those few that ask for a number."""
    return "".join(chr(97 + int(digit)) for digit in str(number))


def label(given: argparse.Namespace) -> None:
    """`germane label --vectors`, parquet to parquet, in a process of its own; and the same pairs without stored vectors."""
    import pyarrow as pa

    judge = TwoTower(given.student, engine=given.engine)
    real, queries = texts_of(given.data, 1 << 30), list(dict.fromkeys(esci(given.data).query))
    texts = [f"{real[i % len(real)]}\nitem: {i}" for i in range(given.docs)]
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        here = Path(scratch)
        filled(here / "vectors", judge, texts, given.store)
        asked = given.pairs // given.shown
        of = np.repeat(np.arange(asked), given.shown)
        shown = np.concatenate([rng.choice(given.docs, given.shown, replace=False) for _ in range(asked)])
        rows = {"query_id": [f"q{i}" for i in of], "query": [f"{queries[i % len(queries)]} {word(int(i))}" for i in of]}
        rows |= {"doc_id": [f"d{i}" for i in shown], "text": [texts[i] for i in shown]}
        store.write_table(pa.table(rows), here / "pairs.parquet", "pairs", verb="pairs", parameters={})
        few = pa.table(rows).slice(0, given.without)
        del rows
        code = (
            "import sys, time\nfrom pathlib import Path\nfrom germane.labelling.speed import PeakMemory\n"
            "from germane.pipeline.label import label\npeak, w, c = PeakMemory(), time.perf_counter(), time.process_time()\n"
            "did = label(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), engine=sys.argv[4], vectors=Path(sys.argv[5]))\n"
            "print(time.perf_counter() - w, time.process_time() - c, peak.mib() or 0, did.rows_per_s)"
        )
        named = [given.student, here / "pairs.parquet", here / "out.parquet", given.engine, here / "vectors"]
        said = subprocess.run([sys.executable, "-c", code, *map(str, named)], capture_output=True, text=True, check=True)
        wall, processor, mib, asking = map(float, said.stdout.split())
        took = timed(lambda: judge.label(few))
        print(f"{given.pairs:,} pairs of {asked:,} queries and {given.docs:,} documents, vectors random, {given.store}")
        print(f"lexical features: {'yes' if judge.lexical else 'no'}; queries encoded by {given.engine}\n")
        print("| how | pairs/s | processor ms a pair | peak MiB |\n|---|---|---|---|")
        cost = 1000 * processor / given.pairs
        print(f"| label --vectors, parquet to parquet | {given.pairs / wall:,.0f} | {cost:.3f} | {mib:,.0f} |")
        print(f"| of it, asking the judge | {asking:,.0f} | | |")
        rate, cost = given.without / took.wall, 1000 * took.processor / given.without
        print(f"| label without --vectors ({given.without:,} pairs) | {rate:,.1f} | {cost:.1f} | |")
        print(f"\nratio: {asking / rate:,.0f} of wall time")
        searching(judge, VectorStore(here / "vectors"), given.docs, queries)


def searching(judge: TwoTower, vectors: VectorStore, docs: int, queries: list[str]) -> None:
    """Milliseconds of `score_docs`, ids to expected gains."""
    rng = np.random.default_rng(2)
    print("\n| documents of one query, by id | p50, ms | p99, ms | processor, ms: p50 |\n|---|---|---|---|")
    for shown in (25, 100, 500):
        took: list[Took] = []
        for n in range(110):
            ids = [f"d{i}" for i in rng.integers(docs, size=shown)]
            query = f"{queries[n % len(queries)]} {word(shown)}"
            took.append(timed(lambda query=query, ids=ids: judge.score_docs(query, ids, vectors)))
        p50, p99 = np.percentile([1000 * t.wall for t in took[10:]], [50, 99])
        processor = 1000 * statistics.median(t.processor for t in took[10:])
        print(f"| {shown} | {p50:.1f} | {p99:.1f} | {processor:.1f} |")


def agree(given: argparse.Namespace) -> None:
    """What stored vectors change, against the same engine's vectors in fp32: real texts, real weights, held-out queries."""
    held = esci(given.data)
    held = held.take(np.random.default_rng(2).permutation(len(held))[: given.texts])
    judge = TwoTower(given.student, engine=given.engine)
    q, d, features = judge.encode_queries(held.query), judge.encode_texts(held.text), judge.features(held.query, held.text)
    gains = np.asarray(judge.scale.gains)

    def said(vectors: Any) -> Any:
        return probabilities(judge.score_vectors(q, vectors, features), judge.about.temperature)

    true = said(d)
    print(f"{len(held)} pairs of esci_us_120, {given.engine}, against its vectors in fp32\n")
    print("| stored as | bytes a vector | labels that differ | their margin at most | mean change of expected gain |")
    print("|---|---|---|---|---|")
    for how in ("fp16", "int8"):
        with tempfile.TemporaryDirectory() as scratch:
            vectors = judge.store(Path(scratch) / "v", store=how)
            vectors.add(held.text, d)
            found = said(floats(vectors.take(vectors.find(held.text))))
        other = decide(found, judge.about.weights) != decide(true, judge.about.weights)
        ordered = np.sort(true, axis=1)
        margin = (ordered[:, -1] - ordered[:, -2])[other].max(initial=0.0)
        change = np.abs((found - true) @ gains).mean()
        size = judge.dimension * (2 if how == "fp16" else 1) + (4 if how == "int8" else 0)
        print(f"| {how} | {size} | {other.mean():.2%} | {margin:.4f} | {change:.6f} |")


def growth(given: argparse.Namespace) -> None:
    """Memory and time to open, find and take, by the number of documents; each in a process of its own."""
    code = (
        "import sys, time, numpy as np\nfrom pathlib import Path\nfrom germane.labelling.speed import PeakMemory\n"
        "from germane.inference.vector_store import VectorStore\n"
        "def own():\n"
        "    rows = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())\n"
        "    return int(rows['RssAnon'].split()[0]) / 1024\n"
        "before, peak, w = own(), PeakMemory(), time.perf_counter()\n"
        "v = VectorStore(sys.argv[1], verify=sys.argv[3] == 'yes'); opened = time.perf_counter() - w; after = own()\n"
        "n, rng, took = int(sys.argv[2]), np.random.default_rng(1), []\n"
        "for _ in range(200):\n"
        "    ids = [f'd{i}' for i in rng.integers(n, size=500)]\n"
        "    w = time.perf_counter(); rows = v.rows(ids); assert (rows >= 0).all(); v.take(rows).floats()\n"
        "    took.append(time.perf_counter() - w)\n"
        "print(opened, after - before, 1000 * np.median(took[20:]))"
    )
    print("| documents | on disk, MiB | texts added/s | opened, s | with digests, s | memory of its own, MiB | 500 by id, ms |")
    print("|---|---|---|---|---|---|---|")
    for rows in given.rows:
        with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
            folder, began = Path(scratch) / "v", time.perf_counter()
            vectors = VectorStore.create(folder, About("random", 384, store="int8"))
            for start in range(0, rows, 1 << 16):
                some = [f"text {i}" for i in range(start, min(start + (1 << 16), rows))]
                vectors.add(some, drawn(len(some), 384, start), {f"d{start + i}": text for i, text in enumerate(some)})
            rate, size = rows / (time.perf_counter() - began), sum(path.stat().st_size for path in folder.iterdir())
            del vectors
            opened = []
            for verify in ("yes", "no"):
                done = subprocess.run([sys.executable, "-c", code, folder, str(rows), verify], capture_output=True, text=True)
                opened.append([float(x) for x in done.stdout.split()])
            (whole, *_), (quick, own, find) = opened
            print(
                f"| {rows:,} | {size / 2**20:,.0f} | {rate:,.0f} | {quick:.2f} | {whole:.2f} | {own:,.0f} | {find:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["encode", "label", "agree", "growth"], nargs="*", default=["encode", "agree", "label"])
    parser.add_argument(
        "--student", type=Path, default=Path("student-speed"), help="a trained student, with ONNX and one tower"
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GERMANE_DATA", "data")) / "esci_us_120")
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 4, 16, 64], help="of the peer; 32 is its default")
    parser.add_argument("--engines", nargs="+", default=["torch", "onnx", "onnx-int8"])
    parser.add_argument("--engine", default="onnx-int8", help="of `label` and `agree`")
    parser.add_argument("--store", default="int8")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--docs", type=int, default=100_000)
    parser.add_argument("--shown", type=int, default=100, help="documents of a query")
    parser.add_argument("--without", type=int, default=200, help="pairs that are labelled without stored vectors, to compare")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--scratch", type=Path, help="where large files may lie")
    given = parser.parse_args()
    for what in given.what:
        print(f"\n{what}: {machine('cpu')}, {cores()} used, {loaded()} before\n", flush=True)
        {"encode": encode, "label": label, "agree": agree, "growth": growth}[what](given)
        print(f"\n{loaded()} after", flush=True)


if __name__ == "__main__":
    main()
