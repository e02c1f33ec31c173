"""What goes out: runs and judgments to TREC, CSV, TSV, JSON lines and parquet, each with a manifest."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane.sources import trec
from germane.store import attribution, conform, database, first_duplicate, rank, write_bytes, write_manifest, write_table
from germane.types import InputError, Run

if TYPE_CHECKING:
    import pyarrow as pa


def write_run(
    run: Run | pa.Table,
    path: str | Path,
    *,
    verb: str = "write",
    inputs: Sequence[str | Path] = (),
    parameters: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Path:
    """The path of the run, written by its suffix (.run .csv .tsv .jsonl .parquet; "-" = TREC lines to standard output).

    Its origin goes into the manifest.

    Raises: InputError for another suffix, an id with white space in a .run, or a file that cannot be written.
    """
    name, table, origin = (run.name, run.table, run.origin) if isinstance(run, Run) else ("germane", run, {})
    if "rank" not in table.column_names:
        table = rank(table)
    made: dict[str, Any] = {"verb": verb, "inputs": inputs, "parameters": parameters or {}, "seed": seed, "extra": origin}
    if Path(path).suffix in (".run", "") or str(path) == "-":
        return _write(trec.run_lines(table, name, str(path)), path, "runs", table, made)
    return _write_table(table, path, "runs", made)


def write_judgments(
    judgments: pa.Table,
    path: str | Path,
    *,
    verb: str = "write",
    inputs: Sequence[str | Path] = (),
    parameters: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Path:
    """The path of the judgments, by suffix (.qrels .csv .tsv .jsonl .parquet; "-" = qrels to standard output).

    Qrels hold labels only: judgments without an answer are left out of them, and so are judge, scale and note.

    Raises: InputError for another suffix, an id with white space in .qrels, or a file that cannot be written.
    """
    made: dict[str, Any] = {"verb": verb, "inputs": inputs, "parameters": parameters or {}, "seed": seed}
    made["extra"] = {"attribution": attribution(judgments)} if attribution(judgments) else {}
    if Path(path).suffix in (".qrels", "") or str(path) == "-":
        _fits_qrels(judgments, path)
        return _write(trec.qrel_lines(judgments, str(path)), path, "judgments", judgments, made)
    return _write_table(judgments, path, "judgments", made)


def write_audit(audit: pa.Table, path: str | Path, **made: Any) -> Path:
    """The path of an audit's pairs, by suffix (.csv .tsv .jsonl .parquet); all but parquet get an empty column `label` to fill.

    made: verb, inputs, parameters, seed and extra, for the manifest. In .csv and .tsv a text that a spreadsheet would take
    for a formula gets an apostrophe in front.
    Raises: InputError for another suffix, or a file that cannot be written.
    """
    import pyarrow as pa

    if Path(path).suffix in (".csv", ".tsv"):
        no_formulas(audit, ("query_id", "doc_id"), path)
        audit = plain_cells(audit, ("query", "text"))
    if Path(path).suffix != ".parquet":
        audit = audit.append_column("label", pa.repeat("", audit.num_rows))
    return _write_table(audit, path, "audits", made)


def plain_cells(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table with an apostrophe before each text of these columns that a spreadsheet would take for a formula.

    One that stands before such a text already gets one more, so that `raw.bare_cells` gives every text back as it was.
    """
    import pyarrow.compute as pc

    for column in (column for column in columns if column in table.column_names):
        at = table.column_names.index(column)
        safe = pc.replace_substring_regex(table[column], pattern=r"^('*[=+\-@\t\r])", replacement=r"'\1")
        table = table.set_column(at, column, safe)
    return table


def no_formulas(table: pa.Table, columns: Sequence[str], path: str | Path) -> None:
    """Raises: InputError for an id that a spreadsheet would take for a formula: with an apostrophe it would be another id."""
    import pyarrow.compute as pc

    for column in (column for column in columns if column in table.column_names):
        hits: Any = pc.match_substring_regex(table[column], pattern=r"^([=+@\t\r]|-[^0-9])")
        if (row := pc.index(hits, True).as_py()) >= 0:
            raise InputError(
                f"cannot write {path}: {column} {table[column][row].as_py()!r} would be a formula in a spreadsheet: "
                "write .jsonl or .parquet"
            )


def _fits_qrels(judgments: pa.Table, path: str | Path) -> None:
    """Raises: InputError where qrels would lose who judged (a machine would pass for people), or hold a pair twice."""
    rows = judgments.select(["judge", "fingerprint"]).group_by(["judge", "fingerprint"]).aggregate([]).to_pylist()
    machine = [row["judge"] for row in rows if row["fingerprint"] or not str(row["judge"]).startswith("human:")]
    if machine:
        raise InputError(
            f"cannot write {path}: qrels cannot say that {machine[0]!r}, a machine, judged: write .csv, .jsonl or .parquet"
        )
    if first_duplicate(judgments, ["query_id", "doc_id"]) is not None:
        raise InputError(
            f"cannot write {path}: a pair is judged more than once, and qrels hold one grade a pair: aggregate first"
        )


def _write_table(table: pa.Table, path: str | Path, kind: str, made: dict[str, Any]) -> Path:
    suffix = Path(path).suffix
    if suffix == ".parquet":
        return write_table(table, path, kind, **made)
    forms = {".csv": lambda t: _csv(t, ","), ".tsv": lambda t: _csv(t, "\t"), ".jsonl": _jsonl}
    if suffix not in forms:
        trec_suffix = ".run" if kind == "runs" else ".qrels"
        raise InputError(
            f"cannot write {path}: unknown suffix {suffix!r}; expected {trec_suffix}, {', '.join(forms)} or .parquet"
        )
    table = conform(table, kind, name=str(path))
    return _write(forms[suffix](table), path, kind, table, made)


def _write(data: bytes, path: str | Path, kind: str, table: pa.Table, made: dict[str, Any]) -> Path:
    if str(path) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return Path(path)
    write_bytes(path, data)
    write_manifest(path, **made, schema=f"{kind} 1", rows=table.num_rows)
    return Path(path)


def _csv(table: pa.Table, delimiter: str) -> bytes:
    """CSV with text quoted, so that an empty text and a missing value differ; probabilities as JSON."""
    import pyarrow as pa
    from pyarrow import csv

    if "probs" in table.column_names:
        lists = [None if v is None else json.dumps(v) for v in table["probs"].to_pylist()]
        table = table.set_column(table.column_names.index("probs"), "probs", pa.array(lists, pa.string()))
    out = io.BytesIO()
    csv.write_csv(table, out, csv.WriteOptions(delimiter=delimiter))
    return out.getvalue()


def _jsonl(table: pa.Table) -> bytes:
    with database(rows=table) as query:
        lines = query("SELECT to_json(rows)::VARCHAR AS line FROM rows")["line"]
    return "".join(f"{line}\n" for line in lines.to_pylist()).encode()
