"""Growth: `germane label --judge fake` from ten thousand to ten million pairs, beside a script in pandas that does the same.

    python benchmarks/growth.py                          # up to 10 million pairs: some minutes
    python benchmarks/growth.py --rows 10000 1000000

Pairs of a marketplace are made up (seeded): 25 documents a query, texts of 70 letters on average, one pair in a hundred with
the words of another. Each tool labels each file in a process of its own, several times, after jobs that do not count; what a
job of one pair takes (median) is the start of a job, and is taken off. Rates are geometric means with 95 % t intervals.
The peer is what one writes in an afternoon: read the file, drop what is there twice, grade each row by the same hash, join,
write; it checks nothing and cannot go on after a kill. The script stops where a grade differs. Memory is the process's peak
(ru_maxrss), files that the system shows in memory included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from germane.labelling.rates import geometric
from germane.labelling.speed import surroundings

SIZES = [10_000, 100_000, 1_000_000, 10_000_000]
STEP = 1 << 17
LEAST, MOST = 3, 40  # times that a file is labelled


def make(path: Path, rows: int, seed: int = 7) -> None:
    """A parquet file of pairs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, writer = np.random.default_rng(seed), None
    for first in range(0, rows, STEP):
        place = np.arange(first, min(first + STEP, rows))
        query, product = place // 25, place.copy()
        product[rng.random(len(place)) < 0.01] = 25 * query[0]  # the words of another pair, as far as it has the same query
        maker, colour = rng.integers(0, 97, len(place)), rng.integers(0, 13, len(place))
        same = product != place
        maker[same] = colour[same] = 0
        texts = [
            f"title: product {p} in walnut and steel{', long lasting' * (p % 3)}\nbrand: maker {m}\ncolour: grey {c}"
            for p, m, c in zip(product.tolist(), maker.tolist(), colour.tolist(), strict=True)
        ]
        table = pa.table(
            {
                "query_id": [f"q{q}" for q in query.tolist()],
                "query": [f"garden chair {q % 5000}" for q in query.tolist()],
                "doc_id": [f"d{d}" for d in place.tolist()],
                "text": texts,
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True)
        writer.write_table(table)
    if writer:
        writer.close()


# --- the tools --------------------------------------------------------------------------------------------------------


def germane(pairs: Path, out: Path) -> None:
    from germane.pipeline.label import label

    label("fake", pairs, out, scale="esci")


def pandas(pairs: Path, out: Path) -> None:
    import pandas as pd

    from germane.judges import Fake
    from germane.scales import get

    fake = Fake(get("esci"))
    table = pd.read_parquet(pairs)
    words = table[["query", "text"]].drop_duplicates()

    def grade(query: str, text: str) -> int:
        said = f"{fake.fingerprint}\x1f{query}\x1ftext\x1e{text}".encode()
        return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest()) % 4

    words["relevance"] = [grade(query, text) for query, text in zip(words["query"], words["text"], strict=True)]
    said = table.merge(words, on=["query", "text"], how="left")[["query_id", "doc_id", "relevance"]]
    same = {"judge": fake.name, "fingerprint": fake.fingerprint, "scale": "esci", "outcome": "label", "note": "fake"}
    said.assign(**same, guide_version=fake.scale.version).to_parquet(out, compression="zstd")


TOOLS = {"germane": germane, "pandas": pandas}


def in_this_process(tool: str, folder: Path, rows: int) -> dict[str, Any]:
    """Seconds and processor seconds of jobs, each after one of a single pair; and the peak memory."""
    _timed(tool, folder, 1)  # loads what is needed
    if rows <= 100_000:
        _timed(tool, folder, rows)
    jobs = [(_timed(tool, folder, 1), _timed(tool, folder, rows)) for _ in range(times(rows))]
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {"jobs": jobs, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def times(rows: int) -> int:
    """How often files of so many pairs are labelled: small ones often, since each job's seconds differ by some hundredths."""
    return int(min(max(LEAST, 2e6 // rows), MOST))


def _timed(tool: str, folder: Path, rows: int) -> tuple[float, float]:
    out = folder / f"{tool}-{rows}.parquet"
    for path in folder.glob(f"{out.name}*"):
        path.unlink()
    since, used = time.perf_counter(), time.process_time()
    TOOLS[tool](folder / f"{rows}.parquet", out)
    return time.perf_counter() - since, time.process_time() - used


# --- one after the other ----------------------------------------------------------------------------------------------


def measured(tool: str, folder: Path, rows: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--tool", tool, "--folder", str(folder), "--rows", str(rows)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{tool} did not run:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    start = [statistics.median(each[0][at] for each in found["jobs"]) for at in (0, 1)]
    wall, processor = ([job[at] - start[at] for _, job in found["jobs"]] for at in (0, 1))
    wall, processor = ([max(each, 1e-6) for each in side] for side in (wall, processor))
    rate, cost = geometric([rows / each for each in wall]), geometric([1e6 * each / rows for each in processor])
    return {"rate": rate, "cost": cost, "wall": statistics.median(wall), "start": start[0], "memory": found["memory"]}


def same_grades(folder: Path, rows: int) -> None:
    """Raises: SystemExit where the tools' grades differ."""
    import pyarrow.parquet as pq

    columns = ["query_id", "doc_id", "relevance"]
    ours, theirs = (pq.read_table(folder / f"{tool}-{rows}.parquet", columns=columns) for tool in TOOLS)
    if not ours.equals(theirs.cast(ours.schema)):
        raise SystemExit(f"{rows:,} pairs: the tools give other grades, so the comparison is void")


def shown(estimate: Any, how: str) -> str:
    return f"{estimate.value:{how}} ({estimate.low:{how}} to {estimate.high:{how}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--where", help="folder for the temporary files; about 1.5 GB for 10 million pairs")
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.tool:
        print(json.dumps(in_this_process(asked.tool, asked.folder, asked.rows[0])))
        return
    print(f"{surroundings()}\n")
    print("| pairs | tool | jobs | seconds | start | pairs a second | processor, µs a pair | rate to germane's | peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    rates, costs = [], []
    with tempfile.TemporaryDirectory(dir=asked.where) as name:
        folder = Path(name)
        make(folder / "1.parquet", 1)
        for rows in asked.rows:
            make(folder / f"{rows}.parquet", rows)
            ours: dict[str, Any] = {}
            for tool in TOOLS:
                found = measured(tool, folder, rows)
                ours = ours or found
                told = f"{found['wall']:.2f} | {found['start']:.2f} | {shown(found['rate'], ',.0f')}"
                told += f" | {shown(found['cost'], '.2f')}"
                ratio = found["rate"].value / ours["rate"].value
                print(f"| {rows:,} | {tool} | {times(rows)} | {told} | {ratio:.2f} | {found['memory']:,.0f} |", flush=True)
            same_grades(folder, rows)
            rates.append(ours["rate"].value)
            costs.append(ours["cost"].value)
            for path in folder.glob(f"*{rows}.parquet*"):
                path.unlink()
    for what, values in (("pairs a second", rates), ("processor a pair", costs)):
        print(f"\ngermane's {what}: the largest is {max(values) / min(values) - 1:.0%} above the smallest")


if __name__ == "__main__":
    main()
