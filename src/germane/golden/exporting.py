"""A golden set in the forms of other tools: TREC, ESCI, Quepid, JSON lines, CSV, parquet, a Hugging Face data set folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane import sources, store
from germane.sources.raw import GUARDED
from germane.sources.writing import no_formulas, plain_cells
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

FORMS = {"trec": ".qrels", "esci": ".csv", "quepid": ".csv", "jsonl": ".jsonl", "parquet": ".parquet", "csv": ".csv", "hf": ""}


def joined(labels: pa.Table, pairs: pa.Table | None) -> pa.Table:
    """The judgments with query and text, where pairs are given. Raises: InputError for a judged pair that they lack."""
    if pairs is None:
        return labels
    texts = pairs.select(["query_id", "doc_id", "query", "text"]).replace_schema_metadata(None)
    both = labels.replace_schema_metadata(None).join(texts, ["query_id", "doc_id"], join_type="left outer")
    if both["query"].null_count:
        import pyarrow.compute as pc

        lost = both.filter(pc.is_null(both["query"]))
        raise InputError(f"{lost.num_rows:,} judged pairs are not in the pairs, such as query {lost['query_id'][0].as_py()!r}")
    return both.sort_by([("query_id", "ascending"), ("doc_id", "ascending")])


def write(labels: pa.Table, path: Path, form: str, scale: Scale, *, made: Mapping[str, Any]) -> int:
    """Rows written of one table of judgments (with query and text, where known) in a form of FORMS but hf.

    Raises: InputError where the form needs the queries' text and there is none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if form == "trec":
        sources.write_judgments(labels, path, **made)
        return labels.num_rows - labels["relevance"].null_count
    if form in ("jsonl", "parquet", "csv") and "query" not in labels.column_names:
        sources.write_judgments(labels, path, **made)
        return labels.num_rows
    if "query" not in labels.column_names:
        raise InputError(f"--to {form} holds the queries' text: give the pairs with --pairs")
    answered = labels.filter(pc.is_valid(labels["relevance"]))
    name = [scale.labels[int(grade)] for grade in answered["relevance"].to_pylist() if grade is not None]
    if form == "quepid":  # its CSV of ratings: query, docid, rating
        digits = [_digit(scale, int(grade)) for grade in answered["relevance"].to_pylist() if grade is not None]
        columns: dict[str, Any] = {
            "query": answered["query"],
            "docid": answered["doc_id"],
            "rating": pa.array(digits, pa.int64()),
        }
        columns = _once(columns, answered["query_id"].to_pylist())
    elif form == "esci":
        columns = {"query_id": answered["query_id"], "query": answered["query"], "product_id": answered["doc_id"]}
        columns |= {"product_title": answered["text"], "esci_label": pa.array(name, pa.string())}
        if "split" in answered.column_names:
            columns["split"] = answered["split"]
    else:
        texts = [None if grade is None else scale.labels[grade] for grade in labels["relevance"].to_pylist()]
        columns = {**{c: labels[c] for c in labels.column_names}, "label": pa.array(texts, pa.string())}
    table = pa.table(columns)
    _plain(table, path, made)
    return table.num_rows


def _once(columns: Mapping[str, Any], ids: list[Any]) -> dict[str, Any]:
    """Ratings with each query and document once: Quepid knows a query by its words, whatever its id.

    Raises: InputError where two ids of the same words gave one document two ratings.
    """
    import pyarrow as pa

    table = pa.table(dict(columns))
    seen: dict[tuple[Any, Any], int] = {}
    kept = []
    for i, (query, doc, rating) in enumerate(zip(*(table[c].to_pylist() for c in ("query", "docid", "rating")), strict=True)):
        first = seen.setdefault((query, doc), i)
        if first == i:
            kept.append(i)
        elif table["rating"][first].as_py() != rating:
            raise InputError(
                f"queries {ids[first]!r} and {ids[i]!r} have the same words and rate document {doc!r} differently: --to quepid "
                "knows a query by its words; use --to csv, jsonl or parquet"
            )
    whole = table.take(pa.array(kept, pa.int64()))
    return {name: whole[name] for name in whole.column_names}


def _digit(scale: Scale, grade: int) -> int:
    """The number that this scale reads as the grade: its own alias ("5" of five-level), else the grade's index."""
    own = sorted(int(alias) for alias, index in scale.aliases.items() if index == grade and alias.isdecimal())
    clash = scale.aliases.get(str(grade))
    return grade if clash == grade else own[0] if own else grade


def _plain(table: pa.Table, path: Path, made: Mapping[str, Any]) -> None:
    """A table as it stands, by suffix, with its manifest; in CSV no text is a formula."""
    import io

    import pyarrow.parquet as pq
    from pyarrow import csv

    if path.suffix == ".parquet":
        with store.replacing(path) as file:
            pq.write_table(table, file, compression="zstd")
    elif path.suffix == ".jsonl":
        store.write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()))
    else:
        guarded = [name for name in ("query", "text", "product_title", "note") if name in table.column_names]
        made = {**made, "extra": {**made.get("extra", {}), GUARDED: guarded}}
        no_formulas(table, ("query_id", "doc_id", "docid", "product_id"), path)
        out = io.BytesIO()
        csv.write_csv(plain_cells(table, guarded), out)
        store.write_bytes(path, out.getvalue())
    store.write_manifest(path, **made, rows=table.num_rows)


def hugging_face(
    parts: Mapping[str, pa.Table], folder: Path, scale: Scale, *, name: str, licence: str, facts: Mapping[str, Any], guide: str
) -> Path:
    """A folder that `datasets.load_dataset(folder)` reads: data/PART-00000-of-00001.parquet, and a card with its splits.

    Source: huggingface.co/docs/hub/datasets-manual-configuration (configs, data_files, split, path).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if (folder / "README.md").exists() or (folder / "data").exists():
        raise InputError(f"{folder} holds a data set already: name a new folder")
    for part, table in parts.items():
        grades = table["relevance"].to_pylist()
        texts = pa.array([None if grade is None else scale.labels[grade] for grade in grades], pa.string())
        with store.replacing(folder / "data" / f"{part}-00000-of-00001.parquet") as file:
            pq.write_table(table.append_column("label", texts).replace_schema_metadata(None), file)
    store.write_text(folder / "README.md", _card(parts, scale, name, licence, facts, guide))
    return folder


def _card(parts: Mapping[str, pa.Table], scale: Scale, name: str, licence: str, facts: Mapping[str, Any], guide: str) -> str:
    quoted = json.dumps  # a JSON text is a YAML text
    files = "".join(f"      - split: {part}\n        path: data/{part}-*.parquet\n" for part in parts)
    rows = "\n".join(
        f"| {part} | {table.num_rows:,} | {len(set(table['query_id'].to_pylist())):,} |" for part, table in parts.items()
    )
    grades = "\n".join(f"- {index}: {label.replace('|', ' ')}" for index, label in enumerate(scale.labels))
    said = "\n".join(f"- {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items())
    fenced = guide.replace("```", "'''")
    shown = f"\nThe guide that raters were shown:\n\n```text\n{fenced}\n```\n" if guide else ""
    return f"""---
pretty_name: {quoted(name)}
license: {quoted(licence)}
task_categories:
  - text-ranking
tags:
  - search-relevance
configs:
  - config_name: default
    data_files:
{files}---

# {" ".join(name.split())}

People's grades of how well a document answers a query, one grade a pair, made with germane.

| split | pairs | queries |
|---|--:|--:|
{rows}

Do not train on `test`, and show nobody its pairs as examples.

## Grades

`relevance` is an index on the scale, empty where people could not judge; `label` is its name.

{grades}

## How they were made

{said}
{shown}"""
