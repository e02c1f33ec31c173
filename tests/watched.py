"""A project to watch: a small simulated marketplace, a log a day with what was shown, and the settings."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from germane.engines import BM25
from germane.simulate import Marketplace

FIRST = date(2026, 3, 2)
K = 5

SETTINGS = """\
scale = "five-level"
seed = 1

[watch]
log = "logs/{{date}}.parquet"
docs = "docs.parquet"
judge = "fake"
segments = ["language"]
sample = 60
k = 5
start = "2026-03-02"
{more}
"""


@cache
def market() -> tuple[Marketplace, dict[str, list[str]]]:
    """A marketplace, and what its search shows for each query."""
    made = Marketplace(items=300, queries=80)
    run = BM25(made.docs, ("title",)).search(made.queries, k=K)
    shown: dict[str, list[str]] = {}
    for query_id, doc_id in zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True):
        shown.setdefault(str(query_id), []).append(str(doc_id))
    return made, shown


def day_log(day: date, *, requests: int = 600, worse: bool = False, shift_hours: int = 0) -> pa.Table:
    """A day's requests. worse: search shows its results in reverse, and the first one is lost."""
    made, shown = market()
    rng = np.random.default_rng(day.toordinal())
    queries = made.queries
    odds = np.asarray(queries["impressions"].to_numpy(), float)
    rows = rng.choice(queries.num_rows, requests, p=odds / odds.sum())
    ids, texts, languages = (queries[name].to_pylist() for name in ("query_id", "query", "language"))
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=shift_hours)
    seconds = np.sort(rng.integers(0, 86_400, requests))

    def docs(row: int) -> list[str]:
        found = shown.get(str(ids[row]), [])
        return found[::-1][:-1] if worse else found

    return pa.table(
        {
            "time": pa.array([begin + timedelta(seconds=int(s)) for s in seconds], pa.timestamp("us", tz="UTC")),
            "query": [str(texts[row]).title() if row % 7 == 0 else texts[row] for row in rows],
            "shown": pa.array([docs(row) for row in rows], pa.list_(pa.string())),
            "language": [languages[row] for row in rows],
        }
    )


def project(folder: Path, *, days: int = 0, more: str = "", anchors: bool = False, **asked: Any) -> Path:
    """A folder with settings, documents, and the logs of so many days."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    made, shown = market()
    pq.write_table(made.docs, folder / "docs.parquet")
    if anchors:
        more += '\nanchors = "anchors.parquet"'
        pairs = [(q, d) for q, docs in list(shown.items())[:12] for d in docs[:3]]
        texts = dict(zip(made.queries["query_id"].to_pylist(), made.queries["query"].to_pylist(), strict=True))
        titles = dict(zip(made.docs["doc_id"].to_pylist(), made.docs["title"].to_pylist(), strict=True))
        rows = {"query_id": [q for q, _ in pairs], "query": [texts[q] for q, _ in pairs], "doc_id": [d for _, d in pairs]}
        pq.write_table(pa.table(rows | {"text": [titles[d] for _, d in pairs]}), folder / "anchors.parquet")
    (folder / "germane.toml").write_text(SETTINGS.format(more=more), encoding="utf-8")
    for number in range(days):
        write_log(folder, FIRST + timedelta(days=number), **asked)
    return folder


def write_log(folder: Path, day: date, **asked: Any) -> Path:
    """The log of a day, in its place."""
    path = folder / "logs" / f"{day}.parquet"
    pq.write_table(day_log(day, **asked), path)
    return path
