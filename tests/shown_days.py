"""Files of watched days as the daily job leaves them, and votes on a golden task: generated, and their values mean nothing."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from registries import a_task

from germane.registry import tables
from germane.store import SCHEMAS
from germane.text.normal import query_id


def shown(folder: Path, dates: list[str]) -> tuple[str, str]:
    """The files of each day: its sample, pairs and labels. A query and a document that the last day shows."""
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
