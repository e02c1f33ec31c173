"""A search path under load: the student in process and over HTTP, beside a plain service of sentence-transformers.

    python benchmarks/serving.py build --student FOLDER --docs FOLDER      # 1,000,000 documents: some minutes, 3.3 GB
    python benchmarks/serving.py process --student FOLDER --docs FOLDER    # p50, p99 of `score_docs`, and of its parts
    python benchmarks/serving.py http --student FOLDER --docs FOLDER       # 100 requests/s for 60 s, constant and Poisson
    python benchmarks/serving.py sweep --student FOLDER --docs FOLDER      # where it saturates, and ten times as much
    python benchmarks/serving.py peers --student FOLDER --docs FOLDER      # sentence-transformers, a cross-encoder
    python benchmarks/serving.py growth --student FOLDER --docs FOLDER     # memory and latency by the number of documents

Needs GERMANE_DATA (esci_us_120); a student with ONNX and one tower (`python benchmarks/student.py` trains a small one).
Texts are real: the products of esci_us_120, each with a line that makes it another text. Vectors of documents are random,
since to encode a million takes a day on two cores and speed does not depend on them. Queries are real too, each with a made-up
word, so that no query comes twice: the cache of queries is cold. Half of a request's 500 candidates are copies of products
that were judged for the query, so that words meet as they do in a search; half are any.

The load comes from a process of its own on the same cores, over kept connections, at intended times that do not wait for
answers; a latency is from the intended time to the last byte, so that no stall is omitted. The machine's load is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from intended import fire
from student import esci
from towers import drawn, loaded, word

from germane.labelling.speed import machine

SHOWN = 500
PEER = "peer-vectors.npy"
LINE = " .\nitem "  # before the word that makes a copy of a text another one; read apart from what stands before it


class Shop(NamedTuple):
    """Real texts, and for each query the places of those that were judged for it."""

    texts: list[str]
    queries: list[str]
    judged: list[list[int]]


def shop(data: Path) -> Shop:
    rows = esci(data)
    place = {text: i for i, text in enumerate(dict.fromkeys(rows.text))}
    judged: dict[str, list[int]] = {}
    for query, text in zip(rows.query, rows.text, strict=True):
        judged.setdefault(query, []).append(place[text])
    return Shop([f"{text} shop" for text in place], list(judged), list(judged.values()))


def request(of: Shop, docs: int, n: int, shown: int = SHOWN) -> tuple[str, list[str]]:
    """The n-th query, which is asked this once, and its candidates."""
    rng, at = np.random.default_rng([17, n]), n % len(of.queries)
    copies = docs // len(of.texts)
    like = rng.choice(of.judged[at], shown // 2) + len(of.texts) * rng.integers(max(copies, 1), size=shown // 2)
    rows = np.concatenate([like % docs, rng.integers(docs, size=shown - shown // 2)])
    return f"{of.queries[at]} {word(n)}", [f"d{i}" for i in rows]


def quickly() -> None:
    """Reads a text that is another one but for its last line once: the same, tested below, in a third of the time."""
    from germane.judges import lexical

    read, numbers = cache(lexical.read), cache(lexical.numbers)

    def known(text: str) -> lexical.Text:
        base, _, line = text.rpartition(LINE)
        t = read(base)
        more = len({"item", line} - set(t.text.split()))
        return t._replace(raw=f"{t.raw}{LINE}{line}", text=f"{t.text}item {line} ", words=t.words + more)

    lexical.read, lexical.numbers = known, lambda raw: numbers(raw.rpartition(LINE)[0])


def build(given: argparse.Namespace) -> None:
    from germane.judges import lexical
    from germane.judges.lexical_store import LexicalStore
    from germane.judges.two_tower import CHUNK, TwoTower

    real, judge = shop(given.data).texts, TwoTower(given.student, engine=given.engine, threads=1)
    vectors, began = judge.store(given.docs, store=given.store), time.perf_counter()
    for start in range(len(vectors), given.rows, 64 * CHUNK):
        rows = range(start, min(start + 64 * CHUNK, given.rows))
        texts = [f"{real[i % len(real)]}{LINE}{word(i)}" for i in rows]
        ids = {f"d{i}": text for i, text in zip(rows, texts, strict=True)}
        vectors.add(texts, drawn(len(texts), judge.dimension, start), ids)
    stored, true = time.perf_counter() - began, lexical.read
    if judge.lexical:
        quickly()
        some = vectors.texts(np.random.default_rng(1).integers(len(vectors), size=300))
        assert all(lexical.read(text) == true(text) for text in some)
    began, read = time.perf_counter(), LexicalStore.fill(vectors) if judge.lexical else 0
    took = time.perf_counter() - began
    places = {"vectors, texts and ids": given.docs} | ({"words": given.docs / "read"} if judge.lexical else {})
    print(f"{given.rows:,} documents, {given.store}: stored in {stored:.0f} s; {read:,} texts read in {took:.0f} s")
    for part, place in places.items():
        print(f"{part}: {sum(p.stat().st_size for p in place.iterdir() if p.is_file()) / 2**20:,.0f} MiB")


def told(took: Sequence[float]) -> str:
    p = np.percentile(np.asarray(took) * 1000, [50, 95, 99, 100]) if len(took) else np.full(4, np.nan)
    return " | ".join(f"{x:.2f}" for x in p)


def process(given: argparse.Namespace) -> None:
    """`score_docs` in one process, one request after the other; and the parts that it is made of."""
    from germane.inference.vector_store import VectorStore
    from germane.judges.two_tower import TwoTower

    judge, of = TwoTower(given.student, engine=given.engine, threads=1), shop(given.data)
    began = time.perf_counter()
    docs = judge.documents(VectorStore(given.docs))
    n = len(docs.vectors)
    print(f"{n:,} documents opened and verified in {time.perf_counter() - began:.1f} s\n")
    asked = [request(of, n, i, given.shown) for i in range(given.requests + 200)]
    for query, ids in asked[:200]:
        judge.score_docs(query, ids, docs)
    works: dict[str, Callable[[str, list[str]], Any]] = {"score_docs": lambda query, ids: judge.score_docs(query, ids, docs)}
    vector, rows = judge.encode_queries(["a"])[0], docs.vectors.rows(asked[0][1])
    if docs.words is not None:
        works["of it: rows of ids"] = lambda query, ids: docs.vectors.rows(ids)
        works["of it: query encoded"] = lambda query, ids: judge.encode_queries([query])
        works["of it: words and features"] = lambda query, ids: judge._features_of(query, rows, docs)
        works["all but the query encoded"] = lambda query, ids: judge.score_docs(query, ids, docs, vector=lambda: vector)
    print("| what | p50, ms | p95 | p99 | largest | processor, ms: p50 |\n|---|---|---|---|---|---|")
    for name, work in works.items():
        took, cost = [], []
        for query, ids in asked[200:]:
            rows = docs.vectors.rows(ids)
            at, busy = time.perf_counter(), time.process_time()
            work(query, ids)
            took.append(time.perf_counter() - at)
            cost.append(time.process_time() - busy)
        print(f"| {name} | {told(took)} | {1000 * float(np.median(cost)):.2f} |", flush=True)


def growth(given: argparse.Namespace) -> None:
    """Memory and latency by the number of documents, each in a process of its own; --docs is a folder of such folders."""
    code = (
        "import sys, time, json, numpy as np\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[4])\n"
        "import serving as s\nfrom germane.judges.two_tower import TwoTower\n"
        "from germane.inference.vector_store import VectorStore\n"
        "def own():\n"
        "    rows = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())\n"
        "    return int(rows['RssAnon'].split()[0]) / 1024\n"
        "judge, of = TwoTower(sys.argv[1], engine=sys.argv[5], threads=1), s.shop(Path(sys.argv[3]))\n"
        "before, at = own(), time.perf_counter()\ndocs = judge.documents(VectorStore(sys.argv[2]))\n"
        "opened, n = time.perf_counter() - at, len(docs.vectors)\n"
        "memory, took = own() - before, []\n"
        "for i in range(700):\n"
        "    query, ids = s.request(of, n, i)\n"
        "    at = time.perf_counter(); said = judge.score_docs(query, ids, docs); took.append(time.perf_counter() - at)\n"
        "    assert said.known.all()\n"
        "print(n, opened, memory, *np.percentile(np.array(took[200:]) * 1000, [50, 99]))"
    )
    print("| documents | on disk, MiB | opened with digests, s | memory of its own, MiB | p50, ms | p99 |\n" + "|---" * 6 + "|")
    for folder in sorted(path.parent for path in given.docs.glob("*/vectors.json")):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != PEER) / 2**20
        said = [given.student, folder, given.data, Path(__file__).parent, given.engine]
        done = subprocess.run([sys.executable, "-c", code, *map(str, said)], capture_output=True, text=True, check=True)
        n, opened, memory, p50, p99 = map(float, done.stdout.split())
        print(f"| {n:,.0f} | {size:,.0f} | {opened:.1f} | {memory:,.0f} | {p50:.2f} | {p99:.2f} |", flush=True)


# --- the load ---------------------------------------------------------------------------------------------------------


def load(given: argparse.Namespace) -> None:
    """The process that asks: writes what it found to a file."""
    of, n = shop(given.data), int(given.rate * given.seconds)
    bodies = []
    for i in range(given.first, given.first + n):
        query, ids = request(of, given.rows, i, given.shown)
        body = json.dumps({"query": query, "doc_ids": ids}).encode()
        head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        bodies.append(head.encode() + body)
    rng = np.random.default_rng(given.first)
    times = np.cumsum(rng.exponential(1 / given.rate, n)) if given.poisson else np.arange(n) / given.rate
    np.save(given.out, asyncio.run(fire(given.port, bodies, times.tolist())))


_FIRST = [10_000]


def asked(given: argparse.Namespace, port: int, rate: float, seconds: float, *, poisson: bool = False) -> Any:
    """What a process of its own found, asking so many queries a second that nobody asked before."""
    out = Path(given.scratch or "/tmp") / f"serving-{os.getpid()}.npy"
    said = ["load", "--port", port, "--rate", rate, "--seconds", seconds, "--first", _FIRST[0], "--rows", given.rows]
    said += ["--shown", given.shown, "--data", given.data, "--out", out, *(["--poisson"] if poisson else [])]
    _FIRST[0] += int(rate * seconds)
    subprocess.run([sys.executable, __file__, *map(str, said)], check=True)
    found = np.load(out)
    out.unlink()
    return found


HEAD = "| service | arrivals | requests/s | p50, ms | p95 | p99 | largest | no signal | 429 | failed | sent late, p99 ms |"


def row(name: str, arrivals: str, rate: float, found: Any) -> str:
    ok = found[:, 2] == 200
    shed, failed = int((found[:, 2] == 429).sum()), int((~ok & (found[:, 2] != 429)).sum())
    late = 1000 * np.percentile(found[:, 1], 99)
    without = int(found[ok, 3].sum())
    return f"| {name} | {arrivals} | {rate:g} | {told(found[ok, 0])} | {without} | {shed} | {failed} | {late:.2f} |"


class Service:
    """A service in a process of its own, and its port."""

    def __init__(self, *command: object) -> None:
        code = [sys.executable, *map(str, command)]
        self.process = subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("open http"):
                self.port = int(line.split(":")[-1].split("/")[0])
                return
        sys.exit("".join(lines) or "the service did not start")

    def memory(self) -> str:
        rows = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        own, mapped = (int(rows[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
        return f"{own:,.0f} MiB of its own, {mapped:,.0f} MiB of mapped files"

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def ours(given: argparse.Namespace, *more: object) -> Service:
    code = "import sys; sys.argv[0] = 'germane'; from germane.cli import main; main()"
    said = ["serve", "--student", given.student, "--docs", given.docs, "--engine", given.engine, "--port", 0]
    return Service("-c", code, *said, *more)


def http(given: argparse.Namespace) -> None:
    served = ours(given, *given.options)
    asked(given, served.port, 50, 10)  # warm: pages are mapped
    print(HEAD + "\n" + "|---" * 11 + "|")
    for n in range(given.repeats):
        for poisson in (False, True):
            kind = ("Poisson" if poisson else "constant") + f" ({loaded()})"
            found = asked(given, served.port, given.rate, given.seconds, poisson=poisson)
            print(row(f"germane serve, {given.engine}, run {n + 1}", kind, given.rate, found), flush=True)
    print(f"\nmemory: {served.memory()}")
    served.stop()


def sweep(given: argparse.Namespace) -> None:
    served = ours(given, *given.options)
    asked(given, served.port, 50, 10)
    print(HEAD + "\n" + "|---" * 11 + "|")
    best = 0.0
    for rate in given.rates:
        found = asked(given, served.port, rate, 10)
        print(row("germane serve", "constant", rate, found), flush=True)
        answered = (found[:, 2] == 200) & (found[:, 3] == 0)
        if answered.mean() >= 0.99 and np.percentile(found[answered, 0], 99) < 0.1:
            best = rate
        elif answered.mean() < 0.7:
            break
    print(f"\nsaturation: {best:g} requests/s is the largest rate with 99 % answered with a signal and p99 under 100 ms\n")
    print(HEAD + "\n" + "|---" * 11 + "|")
    for name, rate, seconds in (
        ("before", given.rate, 5),
        ("ten times", 10 * max(best, given.rate), 5),
        ("after", given.rate, 5),
    ):
        print(row(name, "constant", rate, asked(given, served.port, rate, seconds)), flush=True)
    served.stop()


def peer(given: argparse.Namespace) -> None:
    """What one writes in ten minutes: sentence-transformers encodes the query, numpy multiplies, FastAPI answers."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel
    from sentence_transformers import SentenceTransformer

    model, vectors = SentenceTransformer(str(given.student / "tower"), device="cpu"), np.load(given.docs / PEER, mmap_mode="r")
    app = FastAPI()

    class Asked(BaseModel):
        query: str
        doc_ids: list[str]

    def score(asked: Any) -> Any:
        query = model.encode(asked.query, normalize_embeddings=True, show_progress_bar=False)
        scores = vectors[[int(name[1:]) for name in asked.doc_ids]].astype(np.float32) @ query
        return {"documents": [{"doc_id": n, "score": float(s)} for n, s in zip(asked.doc_ids, scores, strict=True)]}

    score.__annotations__["asked"] = Asked
    app.post("/v1/score")(score)
    config = uvicorn.Config(app, port=0, log_level="error")
    sock = config.bind_socket()
    print(f"open http://127.0.0.1:{sock.getsockname()[1]}/", flush=True)
    uvicorn.Server(config).run(sockets=[sock])


def peers(given: argparse.Namespace) -> None:
    from sentence_transformers import CrossEncoder

    if not (given.docs / PEER).is_file():
        made = np.lib.format.open_memmap(given.docs / PEER, "w+", np.float16, (given.rows, 384))
        for start in range(0, given.rows, 1 << 16):
            made[start : start + (1 << 16)] = drawn(min(1 << 16, given.rows - start), 384, start)
        del made
    print(HEAD + "\n" + "|---" * 11 + "|")
    for n in range(given.repeats):
        for name, start in (
            (
                "sentence-transformers + FastAPI",
                lambda: Service(__file__, "peer", "--student", given.student, "--docs", given.docs),
            ),
            (f"germane serve, {given.engine}", lambda: ours(given, *given.options)),
        ):
            served = start()
            asked(given, served.port, 20, 10)
            for rate in given.peer_rates:
                found = asked(given, served.port, rate, 20)
                print(row(f"{name}, run {n + 1}", f"constant ({loaded()})", rate, found), flush=True)
            served.stop()
    of = shop(given.data)
    model = CrossEncoder("cross-encoder-of-MiniLM" if given.cross is None else str(given.cross), device="cpu", num_labels=1)
    model.max_length = 160
    query = of.queries[0]
    for shown in (25, 100):
        pairs = [(query, text) for text in of.texts[:shown]]
        at = time.perf_counter()
        model.predict(pairs, show_progress_bar=False)
        took = time.perf_counter() - at
        print(f"\ncross-encoder, {shown} candidates, alone: {took:.2f} s, so {took / shown * SHOWN:.1f} s for {SHOWN}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = ["build", "process", "http", "sweep", "peers"]
    parser.add_argument("what", choices=[*steps, "growth", "peer", "load"], nargs="*", default=steps)
    parser.add_argument("--student", type=Path, default=Path("student-speed"))
    parser.add_argument("--docs", type=Path, default=Path("serving-docs"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GERMANE_DATA", "data")) / "esci_us_120")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shown", type=int, default=SHOWN)
    parser.add_argument("--store", default="int8")
    parser.add_argument("--engine", default="onnx-int8")
    parser.add_argument("--requests", type=int, default=1000, help="of `process`")
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--rates", type=float, nargs="+", default=[25, 50, 75, 100, 125, 150, 200, 300])
    parser.add_argument("--peer-rates", type=float, nargs="+", default=[10, 20])
    parser.add_argument("--cross", type=Path, help="the base of the cross-encoder")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="further options of `germane serve`")
    parser.add_argument("--scratch", type=Path, help="where a file may lie meanwhile")
    for name, kind in (("--port", int), ("--first", int), ("--out", Path)):
        parser.add_argument(name, type=kind, default=kind(), help=argparse.SUPPRESS)
    parser.add_argument("--poisson", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    works = {"build": build, "process": process, "http": http, "sweep": sweep, "peers": peers, "growth": growth}
    works |= {"peer": peer, "load": load}
    for what in given.what:
        quiet = what in ("load", "peer")
        if not quiet:
            print(f"\n{what}: {machine('cpu')}, {os.cpu_count()} cores, {loaded()} before\n", flush=True)
        works[what](given)
        if not quiet:
            print(f"\n{loaded()} after", flush=True)


if __name__ == "__main__":
    main()
