"""A day of ten million requests: `germane watch run`, sampled, labels from the store, estimated and reported, beside pandas
reading the whole log, each in a process of its own.

    python benchmarks/watch_day.py                     # ten million requests: some minutes
    python benchmarks/watch_day.py --requests 1000000
    python benchmarks/watch_day.py --judge DIR         # a trained judge, all of whose labels the judgment store holds

A log of one parquet file is written to a temporary folder (seeded): queries by a Zipf law over a growing vocabulary, five
languages, and 25 document ids each, of which some 3 % of requests have another order. The judge is the fake one, whose
labels no store keeps. With --judge both days are done once before, untimed, and a second project begins with the store that
this left: every label is from there, and one that had to be asked ends the benchmark. germane does a second day as well, so
that changes are estimated; the time of that day alone is told too. pandas reads three columns and counts requests by query,
and no more: it draws nothing and judges nothing. Up to two million requests it reads the lists as well, in a third run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from germane.labelling.speed import surroundings

K, CATALOGUE, STEP = 25, 200_000, 250_000
LISTS_AT_MOST = 2_000_000  # pandas takes some 0.7 KB a list
FIRST = date(2026, 3, 2)
SETTINGS = """\
scale = "five-level"
[watch]
log = "{{date}}.parquet"
docs = "docs.parquet"
judge = "{judge}"
labels = "{labels}"
segments = ["language"]
strata = ["language"]
sample = 2000
start = "{first}"
"""


def make(folder: Path, requests: int, judge: str) -> None:
    """Two days' logs, a catalogue and settings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    settle(folder, judge)
    docs = {
        "doc_id": [f"item-{i:07d}" for i in range(CATALOGUE)],
        "title": [f"a thing of kind {i % 997}" for i in range(CATALOGUE)],
    }
    pq.write_table(pa.table(docs), folder / "docs.parquet")
    names = pa.array(docs["doc_id"])
    for number in range(2):
        day, rng = FIRST + timedelta(days=number), np.random.default_rng(number)
        path, schema = folder / f"{day}.parquet", None
        writer: Any = None
        for at in range(0, requests, STEP):
            table = _piece(pa, rng, day, min(STEP, requests - at), names)
            if writer is None:
                schema = table.schema
                writer = pq.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(table)
        writer.close()


def settle(folder: Path, judge: str) -> None:
    """The settings. A trained judge's store lies beside the project, so that another project may begin with it."""
    labels = "" if judge == "fake" else str(folder.parent / "labels")
    said = SETTINGS.format(first=FIRST, judge=judge, labels=labels)
    (folder / "germane.toml").write_text(said, encoding="utf-8")


def again(folder: Path, judge: str) -> Path:
    """The same logs in a project without a history."""
    other = folder.parent / "again"
    other.mkdir()
    for path in (folder / "docs.parquet", *(folder / f"{FIRST + timedelta(days=n)}.parquet" for n in range(2))):
        (other / path.name).hardlink_to(path)
    settle(other, judge)
    return other


def _piece(pa: Any, rng: np.random.Generator, day: date, n: int, names: Any) -> Any:
    query = np.minimum(rng.zipf(1.2, n), 50_000_000)  # a long tail: a quarter of the queries is asked once
    rank = np.arange(1, K + 1)
    shown = (query[:, None] * 2_654_435_761 + rank * 40_503 * (query[:, None] % 7919 + 1)) % CATALOGUE
    other = rng.random(n) < 0.03
    shown[other, :2] = shown[other, 1::-1]
    lists = pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * K, names.take(pa.array(shown.ravel())))
    begin = np.datetime64(datetime(day.year, day.month, day.day), "us")
    times = begin + np.sort(rng.integers(0, 86_400_000_000, n)).astype("timedelta64[us]")
    return pa.table(
        {
            "time": pa.array(times),
            "query": pa.array([f"Query number {q}" for q in query.tolist()]),
            "language": pa.array(np.array(["de", "en", "fr", "es", "it"])[query % 5].tolist()),
            "shown": lists,
        }
    )


def watched(folder: Path) -> dict[str, Any]:
    """germane: two days, of which the second is timed alone as well."""
    from germane.pipeline import watch
    from germane.registry import database

    moment = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=2, hours=5)
    database.open_registry = partial(database.open_registry, clock=lambda: moment)  # type: ignore[assignment]
    took = []
    for number in range(2):
        began = time.perf_counter()
        found = watch.run(folder, day=str(FIRST + timedelta(days=number)))
        took.append(time.perf_counter() - began)
    print(found.days[0].answer, file=sys.stderr)
    asked, known = 0, 0
    for number in range(2):
        said = json.loads((folder / f"watch/{FIRST + timedelta(days=number)}/report.json").read_text(encoding="utf-8"))
        labels = said["day"]["facts"]["labels"]
        asked, known = asked + labels["asked"], known + labels["known"]
    return {"first_day_s": took[0], "second_day_s": took[1], "asked": asked, "from_store": known}


def counted(folder: Path, *, lists: bool = False) -> dict[str, Any]:
    """pandas: requests by query and language. lists: the lists are read too, and one is taken for each query."""
    import pandas as pd

    began = time.perf_counter()
    frame = pd.read_parquet(folder / f"{FIRST}.parquet", columns=["time", "query", "language", *(["shown"] if lists else [])])
    inside = frame[(frame["time"] >= str(FIRST)) & (frame["time"] < str(FIRST + timedelta(days=1)))]
    rows = inside.groupby([inside["query"].str.lower(), "language"]).size()
    if lists:
        inside.groupby(inside["query"].str.lower())["shown"].first()
    return {"first_day_s": time.perf_counter() - began, "queries": len(rows)}


TOOLS = {"germane": watched, "pandas": counted, "pandas with the lists": partial(counted, lists=True)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--judge", default="fake", help="the folder of a trained judge")
    parser.add_argument("--tool")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.tool:
        found = TOOLS[given.tool](given.folder)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps(found | {"processor_s": used.ru_utime + used.ru_stime, "peak_gb": used.ru_maxrss / 2**20}))
        return
    print(f"{surroundings()}\n{given.requests:,} requests a day")
    judge = given.judge if given.judge == "fake" else str(Path(given.judge).resolve())
    with tempfile.TemporaryDirectory(prefix="germane-watch-") as name:
        folder = Path(name) / "shop"
        folder.mkdir()
        make(folder, given.requests, judge)
        size = (folder / f"{FIRST}.parquet").stat().st_size / 2**30
        print(f"a log of {size:.2f} GiB a day")
        if judge != "fake":
            told("germane, filling the store (not of the figure)", "germane", folder)
            folder = again(folder, judge)
        for tool in TOOLS:
            if tool == "pandas with the lists" and given.requests > LISTS_AT_MOST:
                print(f"{tool}: left out above {LISTS_AT_MOST:,} requests")
                continue
            found = told(tool, tool, folder)
            if judge != "fake" and found.get("asked"):
                sys.exit(f"{found['asked']:,} pairs were asked: the store does not hold them")


def told(name: str, tool: str, folder: Path) -> dict[str, Any]:
    """What a tool took, in a process of its own, printed; empty where it did not end well."""
    command = [sys.executable, __file__, "--tool", tool, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"{name}: ended with {done.returncode} (killed for memory, where it is -9)")
        return {}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    days = [f"{key.removesuffix('_s').replace('_', ' ')} {value:.1f} s" for key, value in found.items() if key.endswith("_s")]
    if "from_store" in found:
        days.append(f"{found['asked']:,} pairs asked, {found['from_store']:,} labels from the store")
    print(f"{name}: {', '.join(days)}, peak {found['peak_gb']:.2f} GiB", flush=True)
    return found


if __name__ == "__main__":
    main()
