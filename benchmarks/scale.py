"""Millions of results: `germane compare` beside raw DuckDB and pandas, on the same parquet files, each in a process of its own.

    python benchmarks/scale.py                        # 50,000 queries: about a minute
    python benchmarks/scale.py --queries 1000000      # 50 million results, 48 million judgments: some minutes
    python benchmarks/scale.py --shuffled             # rows in no order, as some warehouses export them

An experiment of N queries, two arms of 25 results each and 48 judgments a query, with ids as text and a design of 12
strata, is written to a temporary folder (seeded). Then each tool reads the files and finds the stratified paired
difference of sDCG@25, its standard error and the control's level: ranks by single-precision score with ties by document id,
both arms joined, grades joined to them. germane does all of its report beside: bounds, guards, segments, lists, three files.
The script stops where two tools differ by more than 1e-9.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from germane.labelling.speed import surroundings

K, CANDIDATES, JUDGED, CATALOGUE, STRATA = 25, 60, 48, 5_000_000, 12
STEP = 10_000  # queries made at a time
ROWS = 1 << 20  # rows a row group
TOLERANCE = 1e-9
PANDAS_AT_MOST = 200_000  # queries: pandas takes about 14 KB a query, which is 14 GB for a million


# --- the data -------------------------------------------------------------------------------------------------------


def make(folder: Path, queries: int, *, shuffled: bool, seed: int = 3) -> None:
    """control, treatment, judgments and design as parquet files. Everything that is shown is judged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    asked = rng.permutation(queries)  # files are rarely in the order of ids
    parts: dict[str, list[tuple[Any, Any, Any]]] = {"control": [], "treatment": [], "judgments": []}
    for first in range(0, queries, STEP):
        for name, columns in _some(rng, asked[first : first + STEP]).items():
            parts[name].append(columns)
    for name, pieces in parts.items():
        columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
        pieces.clear()
        if shuffled:
            order = rng.permutation(len(columns[0]))
            columns = [column[order] for column in columns]
        _write(folder / f"{name}.parquet", name, columns)
    strata = rng.integers(0, STRATA, queries)
    population = np.bincount(strata, minlength=STRATA) * (2 + np.arange(STRATA))
    table = {
        "query_id": _ids("q", np.arange(queries), 7),
        "stratum": pa.array([f"s{i:02d}" for i in range(STRATA)]).take(pa.array(strata)),
        "inclusion_probability": 1 / (2.0 + strata),
        "population": population[strata],
    }
    pq.write_table(pa.table(table), folder / "design.parquet")


def _some(rng: np.random.Generator, query: Any) -> dict[str, tuple[Any, Any, Any]]:
    """query, document and value (score or grade) of the rows of these queries."""
    n = len(query)
    doc = (rng.integers(0, CATALOGUE, (n, 1)) + np.arange(CANDIDATES) * 7919) % CATALOGUE
    quality = rng.normal(size=(n, CANDIDATES))
    grade = np.clip(np.round(quality + rng.normal(0.8, 0.7, (n, CANDIDATES))), 0, 4).astype(np.int8)
    shown, found = np.zeros((n, CANDIDATES), dtype=bool), {}
    for arm, noise in (("control", 0.6), ("treatment", 0.58)):
        score = quality + noise * rng.normal(size=(n, CANDIDATES))
        top = np.argsort(-score, axis=1)[:, :K]
        np.put_along_axis(shown, top, True, axis=1)
        here = (np.take_along_axis(values, top, 1).ravel() for values in (doc, score))
        found[arm] = (np.repeat(query, K).astype(np.int32), next(here).astype(np.int32), next(here))
    judged = np.argsort(rng.random((n, CANDIDATES)) - shown, axis=1)  # what is shown, then others at random
    size = np.maximum(shown.sum(axis=1), rng.integers(JUDGED - 8, JUDGED + 9, n))
    kept = np.arange(CANDIDATES) < size[:, None]
    rows = (np.take_along_axis(values, judged, 1)[kept] for values in (doc, grade))
    found["judgments"] = (np.repeat(query, size).astype(np.int32), next(rows).astype(np.int32), next(rows))
    return found


def _ids(letter: str, numbers: Any, width: int) -> Any:
    """q0000012 and the like, as an Arrow array."""
    import pyarrow as pa

    digits = np.empty((len(numbers), width + 1), dtype=np.uint8)
    digits[:, 0] = ord(letter)
    rest = numbers.astype(np.int64)
    for column in range(width, 0, -1):
        rest, digit = np.divmod(rest, 10)
        digits[:, column] = digit + ord("0")
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * (width + 1)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(digits))


def _write(path: Path, name: str, columns: list[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for first in range(0, len(columns[0]), ROWS):
        query, doc, value = (column[first : first + ROWS] for column in columns)
        table: dict[str, Any] = {"query_id": _ids("q", query, 7), "doc_id": _ids("d", doc, 8)}
        if name == "judgments":
            said = {"judge": "human:team", "fingerprint": "", "scale": "five-level", "guide_version": ""}
            said |= {"outcome": "label", "note": ""}
            table["relevance"] = value.astype(np.int16)
            table |= {column: pa.repeat(text, len(query)) for column, text in said.items()}
        else:
            table["score"] = value
        batch = pa.table(table)
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd", write_page_checksum=True)
        writer.write_table(batch)
    if writer:
        writer.close()


# --- the tools: value, standard error, control's level --------------------------------------------------------------


def germane(folder: Path) -> list[float]:
    from germane.cli import main as command

    names = ("control", "treatment", "judgments", "design")
    files = [part for name in names for part in (f"--{name}", str(folder / f"{name}.parquet"))]
    sys.argv = ["germane", "compare", *files, "--scale", "five-level", "--out", str(folder / "report")]
    try:
        command()
    except SystemExit as stopped:
        if stopped.code:
            raise
    report = json.loads((folder / "report" / "report.json").read_text())
    return [report["delta"]["value"], report["delta"]["se"], report["control"]["value"]]


def duckdb(folder: Path) -> list[float]:
    """Plain SQL, as an analyst would write it; DuckDB takes as much memory as it likes."""
    import duckdb as engine

    top = f"""
        SELECT query_id, doc_id, row_number() OVER (PARTITION BY query_id ORDER BY score::FLOAT DESC, doc_id DESC) AS rank
        FROM read_parquet('{folder}/%s.parquet') QUALIFY rank <= {K}
    """
    sql = f"""
        WITH c AS ({top % "control"}), t AS ({top % "treatment"}),
        pool AS (SELECT query_id, doc_id, c.rank AS c_rank, t.rank AS t_rank FROM c FULL JOIN t USING (query_id, doc_id)),
        graded AS (
            SELECT pool.query_id, coalesce(1 / log2(c_rank + 1), 0) AS c_weight, coalesce(1 / log2(t_rank + 1), 0) AS t_weight,
                   coalesce(relevance, 0) / 4.0 AS gain
            FROM pool LEFT JOIN read_parquet('{folder}/judgments.parquet') USING (query_id, doc_id)
        ),
        total AS (SELECT sum(1 / log2(i + 1)) AS weight FROM range(1, {K + 1}) ranks(i)),
        by_query AS (
            SELECT query_id, sum(gain * (t_weight - c_weight)) / any_value(weight) AS difference,
                   sum(gain * c_weight) / any_value(weight) AS control
            FROM graded, total GROUP BY query_id
        ),
        strata AS (
            SELECT stratum, any_value(population) AS size, count(*) AS n, avg(coalesce(difference, 0)) AS mean,
                   var_samp(coalesce(difference, 0)) AS variance, avg(coalesce(control, 0)) AS control
            FROM read_parquet('{folder}/design.parquet') LEFT JOIN by_query USING (query_id) GROUP BY stratum
        )
        SELECT sum(size * mean) / sum(size), sqrt(sum(size * size * variance / n)) / sum(size), sum(size * control) / sum(size)
        FROM strata
    """
    with tempfile.TemporaryDirectory() as spill:
        connection = engine.connect(config={"temp_directory": spill})
        found = connection.sql(sql).fetchall()
    return [float(value) for value in found[0]]


def pandas(folder: Path) -> list[float]:
    import pandas as pd

    def top(name: str, rank: str) -> Any:
        run = pd.read_parquet(folder / f"{name}.parquet")
        run["score"] = run["score"].astype(np.float32)
        run = run.sort_values(["query_id", "score", "doc_id"], ascending=[True, False, False])
        run[rank] = run.groupby("query_id").cumcount() + 1
        return run.loc[run[rank] <= K, ["query_id", "doc_id", rank]]

    pool = top("control", "c_rank").merge(top("treatment", "t_rank"), on=["query_id", "doc_id"], how="outer")
    judgments = pd.read_parquet(folder / "judgments.parquet", columns=["query_id", "doc_id", "relevance"])
    pool = pool.merge(judgments, on=["query_id", "doc_id"], how="left")
    gain = pool["relevance"].fillna(0) / 4 / (1 / np.log2(np.arange(2, K + 2))).sum()
    weights = [(1 / np.log2(pool[rank] + 1)).fillna(0) for rank in ("c_rank", "t_rank")]
    pool["difference"], pool["control"] = gain * (weights[1] - weights[0]), gain * weights[0]
    by_query = pool.groupby("query_id")[["difference", "control"]].sum()
    design = (
        pd.read_parquet(folder / "design.parquet").set_index("query_id").join(by_query).fillna({"difference": 0, "control": 0})
    )
    strata = design.groupby("stratum").agg(
        size=("population", "first"),
        n=("difference", "size"),
        mean=("difference", "mean"),
        variance=("difference", "var"),
        control=("control", "mean"),
    )
    share = strata["size"] / strata["size"].sum()
    error = float(np.sqrt((share**2 * strata["variance"] / strata["n"]).sum()))
    return [float((share * strata["mean"]).sum()), error, float((share * strata["control"]).sum())]


TOOLS = {"germane": germane, "duckdb": duckdb, "pandas": pandas}


# --- one after the other ----------------------------------------------------------------------------------------------


def measured(tool: str, folder: Path) -> dict[str, Any]:
    """Values, wall and processor seconds, and peak memory in MiB, of a tool in a process of its own."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--tool", tool, "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, errors = process.communicate()
    wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{tool} did not run:\n{errors[-2000:]}")
    return {"wall": wall, **json.loads(out.strip().splitlines()[-1])}


def in_this_process(tool: str, folder: Path) -> dict[str, Any]:
    values = TOOLS[tool](folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {"values": values, "processor": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / unit}


def compared(queries: int, *, shuffled: bool, tools: list[str], where: str | None) -> None:
    """One line a tool for an experiment of this many queries."""
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        subprocess.run(
            [sys.executable, __file__, "--make", str(queries), "--folder", name, *["--shuffled"] * shuffled], check=True
        )
        ours: dict[str, Any] | None = None
        for tool in tools:
            if tool == "pandas" and queries > PANDAS_AT_MOST:
                print(
                    f"| {queries:,} | pandas | left out above {PANDAS_AT_MOST:,} queries: about 14 KB each | | | | |",
                    flush=True,
                )
                continue
            found = measured(tool, folder)
            ours = ours or found
            apart = max(abs(a - b) for a, b in zip(found["values"], ours["values"], strict=True))
            if not apart <= TOLERANCE:
                raise SystemExit(f"{tool} found {found['values']} and {tools[0]} {ours['values']}: the comparison is void")
            ratio = found["processor"] / ours["processor"]
            print(
                f"| {queries:,} | {tool} | {found['wall']:.1f} | {found['processor']:.1f} | {ratio:.2f} | "
                f"{found['memory']:,.0f} | {apart:.0e} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, nargs="+", default=[50_000], help="one or several sizes")
    parser.add_argument("--shuffled", action="store_true", help="rows in random order")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--where", help="folder for the temporary files; about 0.9 GB for a million queries")
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        make(asked.folder, asked.make, shuffled=asked.shuffled)
    elif asked.tool:
        print(json.dumps(in_this_process(asked.tool, asked.folder)))
    else:
        order = "in random order" if asked.shuffled else "together by query"
        print(f"2 arms x {K} results, {JUDGED} judgments a query, rows {order}\n{surroundings()}\n")
        print("| queries | tool | wall, s | processor, s | its ratio | peak memory, MiB | largest difference |")
        print("|---|---|---|---|---|---|---|")
        for queries in asked.queries:
            compared(queries, shuffled=asked.shuffled, tools=asked.tools, where=asked.where)


if __name__ == "__main__":
    main()
