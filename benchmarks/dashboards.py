"""The dashboards at 3 years x 60 segments x 20 metrics: milliseconds at the server for each page, and for 20 readers at once.

    python benchmarks/dashboards.py                # some minutes, most of them for writing the history; 1.5 GB of disk
    python benchmarks/dashboards.py --years 0.25
    python benchmarks/dashboards.py --segments 4 --metrics 3 --pages labels costs golden

The history is generated (seeded by its own formula; the values mean nothing) and written to SQLite in a temporary folder as
the daily job would have written it: a level of every metric in every segment, and two changes of each, every day. The files of
every day are those of 2,000 queries with 25 results and texts of 70 words (six days are made, the others are links to them),
and the golden task has two votes of each of its pairs. Each page is asked for in process, through the whole application without
a network, once to warm up and then --times times. Beside nothing: there is no peer that shows these pages.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from germane.labelling.speed import surroundings

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

PATHS = (
    "/",
    "/?days=365",
    "/?days=1100",
    "/?metric=grade@25:g7&segment=language%3Dl33",
    "/segments",
    "/alerts",
    "/alerts?state=all",
    "/alerts/3",
    "/days/{last}",
    "/judges",
    "/api",
    "/api/overview",
    "/api/overview?days=1100",
    "/api/overview.csv?days=1100",
    "/api/segments",
    "/api/days/{last}",
    "/labels",
    "/labels?query=word17",
    "/labels?query=word17&days=365",
    "/labels?doc=i00123",
    "/labels?text=word17+",
    "/labels?grade=none",
    "/labels/pair?query={query}&doc={doc}",
    "/labels/pair?query={query}&doc={doc}&days=365",
    "/costs",
    "/costs?days=1100",
    "/golden",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--years", type=float, default=3.0)
    parser.add_argument("--segments", type=int, default=60)
    parser.add_argument("--metrics", type=int, default=20)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--pages", nargs="*", default=[""], help="only pages with one of these words")
    parser.add_argument("--golden", type=int, default=2_000, help="pairs of the golden task")
    given = parser.parse_args()
    import histories

    from germane.registry.database import open_registry

    with tempfile.TemporaryDirectory(prefix="germane-dashboards-") as folder:
        registry = open_registry(Path(folder) / "registry.sqlite")
        count, start = round(365 * given.years), time.perf_counter()
        sizes = {"segments": given.segments, "metrics": given.metrics}
        dates = histories.write(registry, count, **sizes, gaps=(17,), missing=(40,), alerts=tuple(range(20, count, 30)))
        size = (Path(folder) / "registry.sqlite").stat().st_size
        facts: dict[str, Any] = {"days": count, **sizes, "levels": (count - 2) * given.segments * given.metrics}
        facts |= {"megabytes": round(size / 1e6), "seconds to write": round(time.perf_counter() - start)}
        (Path(folder) / "germane.toml").write_text('scale = "five-level"\n', encoding="utf-8")
        judged(registry, given.golden)
        query, doc = shown(Path(folder), dates)
        print(json.dumps(facts | {"golden pairs": given.golden, "machine": surroundings()}, default=str))
        paths = [path.format(last=dates[-1], query=query, doc=doc) for path in PATHS if any(w in path for w in given.pages)]
        measure(registry, Path(folder), paths, given.times, given.readers)
        registry.close()


def shown(folder: Path, dates: list[str]) -> tuple[str, str]:
    """The files of each day: its sample, pairs and labels. A query and a document that the last day shows."""
    import os

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from germane.store import SCHEMAS
    from germane.text.normal import query_id

    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(5_000)])
    texts = {f"i{i:05d}": "title: " + " ".join(rng.choice(words, 70)) for i in range(20_000)}
    docs, made, last = np.array(list(texts)), [], ("", "")
    for number, date in enumerate(dates):
        place = folder / "watch" / date
        place.mkdir(parents=True)
        if number >= 6:
            for file in ("sample.parquet", "pairs.parquet", "labels.parquet"):
                os.link(made[number % 6] / file, place / file)
            continue
        made.append(place)
        queries = sorted({f"{a} {b}" for a, b in rng.choice(words, (2_000, 2))})
        ids, lists = [query_id(q) for q in queries], [rng.choice(docs, 25, replace=False).tolist() for _ in queries]
        sample = pa.table({"query": queries, "query_id": ids, "shown": lists, "language": ["en"] * len(ids)})
        pq.write_table(sample, place / "sample.parquet", compression="zstd", write_page_checksum=True)
        rows = [(i, q, d) for i, q, some in zip(ids, queries, lists, strict=True) for d in some]
        of_query, query, doc = (list(column) for column in zip(*rows, strict=True))
        pairs = {
            "query_id": of_query,
            "query": query,
            "doc_id": doc,
            "text": [texts[d] for d in doc],
            "known": [True] * len(doc),
        }
        pq.write_table(pa.table(pairs), place / "pairs.parquet", compression="zstd", write_page_checksum=True)
        n, plain = len(doc), {"judge": "judge", "fingerprint": "f" * 40, "scale": "five-level", "guide_version": "1"}
        said: dict[str, Any] = {name: [value] * n for name, value in (plain | {"outcome": "label", "note": ""}).items()}
        said |= {"query_id": of_query, "doc_id": doc, "relevance": rng.integers(0, 5, n).tolist()}
        said["probs"] = rng.dirichlet(np.ones(5), n).tolist()
        schema = SCHEMAS["judgments"].arrow()
        columns = [pa.array(said[f.name], f.type) if f.name in said else pa.nulls(n, f.type) for f in schema]
        labels = pa.Table.from_arrays(columns, schema=schema)
        pq.write_table(labels, place / "labels.parquet", compression="zstd", write_page_checksum=True)
        if number == (len(dates) - 1) % 6 or number == len(dates) - 1:
            last = ids[700], lists[700][3]
    return last


def judged(registry: Any, pairs: int) -> None:
    """A golden task whose pairs have two votes each, by four raters who differ on a quarter of them; no account may log in."""
    import sqlalchemy as sa
    from registries import a_task

    from germane.registry import tables

    task, at = a_task(registry, pairs), registry.clock()
    with registry.writing() as connection:
        for number in range(4):
            who = {
                "name": f"r{number}",
                "key": f"r{number}",
                "role": "rater",
                "password": "",
                "created_at": at,
                "disabled_at": at,
            }
            connection.execute(sa.insert(tables.accounts).values(**who))
        rows = []
        for number in range(pairs):
            for place in range(2):
                grade = (number * 7 + place * (number % 4 == 0)) % 4
                row = {"task_id": task.id, "pair_id": number + 1, "account_id": 1 + (number + place) % 4, "relevance": grade}
                row |= {"kind": "vote", "at": at, "guide_version": task.scale.version, "reason": "", "note": "", "seconds": 9.0}
                rows.append(row | {"withdrawn": False, "token": f"{number}-{place}"})
        connection.execute(sa.insert(tables.votes), rows)


def measure(registry: Any, folder: Path, paths: list[str], times: int, readers: int) -> None:
    """Prints a row for each page: the median and the slowest of one reader, and of several at once."""
    from starlette.testclient import TestClient

    from germane.registry import accounts
    from germane.web.app import create_app
    from germane.web.boards import pages, site

    accounts.listed = lambda registry: []  # type: ignore[assignment]  # raters cannot log in: whoever is here reads
    board = site.Board(registry, project=folder, secret=b"s" * 64, guest=site.guest())
    with TestClient(create_app(board, pages.PAGES)) as http:

        def ask(path: str) -> tuple[float, int]:
            began = time.perf_counter()
            answer = http.get(path)
            assert answer.status_code == 200, (path, answer.text[:200])
            return 1000 * (time.perf_counter() - began), len(answer.content)

        print(
            f"| page | KB | ms, median | ms, slowest | ms, median of {readers} readers at once | slowest |\n"
            "|---|---|---|---|---|---|"
        )
        for path in paths:
            ask(path)
            alone = [ask(path) for _ in range(times)]
            with ThreadPoolExecutor(readers) as pool:
                many = [took for took, _ in pool.map(ask, [path] * (2 * readers))]
            cells = [statistics.median(t for t, _ in alone), max(t for t, _ in alone), statistics.median(many), max(many)]
            print(f"| {path} | {alone[0][1] / 1000:.0f} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
