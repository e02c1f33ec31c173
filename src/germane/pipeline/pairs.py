"""`germane pairs`: the pairs of query and document that need a grade before two runs can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import sampling, scales, sources, store
from germane.text import document_texts
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa


class Pairs(NamedTuple):
    """What `pairs` wrote, and what it spares. made: False if nothing had changed.

    pairs: listed, most valuable first. pooled: in either top k. spared: of these, at the same rank in both arms, so that no
    grade of theirs can change delta. judged: left out since they have a grade.
    """

    out: str
    made: bool
    queries: int
    pooled: int
    spared: int
    judged: int
    pairs: int
    notes: tuple[str, ...]


def pairs(
    control: Path,
    treatment: Path,
    out: Path,
    *,
    queries: Path,
    docs: Path,
    k: int = 25,
    design: Path | None = None,
    judgments: Path | None = None,
    scale: str | None = None,
    everything: bool = False,
    fields: Sequence[str] | None = None,
) -> Pairs:
    """Only documents that moved between the arms need a grade: exactly those, most valuable first; see `sampling.pool`.

    queries, docs: their texts; `text` is the document as a judge reads it, from `fields` (default: all of its text).
    design: only its queries, each weighted by what it stands for. judgments: pairs that have a grade there (on `scale`) are
    left out. everything: those that did not move too, for the level of each arm and for metrics such as nDCG.

    Raises: InputError for queries or documents of the runs that are not in the files.
    """
    asked = {"k": k, "everything": everything, "fields": None if fields is None else list(fields), "scale": scale}
    asked |= {"design": bool(design), "judgments": bool(judgments)}
    inputs = [control, treatment, queries, docs, *(path for path in (design, judgments) if path)]
    work: dict[str, Any] = {"verb": "pairs", "inputs": inputs, "parameters": asked}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _pairs(out, False, manifest.extra["pool"], everything)
    judged = None if judgments is None else sources.read_judgments(judgments, scale=scales.get(scale) if scale else None)
    pool = sampling.pool(
        sources.read_run(control).table,
        sources.read_run(treatment).table,
        k=k,
        designs=None if design is None else sources.read_design(design),
        judgments=judged,
        everything=everything,
    )
    asked_for = _queries(pool.table, sources.read_queries(queries), queries)
    texts = _texts(pool.table, sources.read_docs(docs), docs, fields)
    table = pool.table.append_column("query", asked_for).append_column("text", texts)
    store.write_table(table, out, "pairs", **work, extra={"pool": pool.counts})
    return _pairs(out, True, pool.counts, everything)


def _pairs(out: Path, made: bool, count: Mapping[str, int], everything: bool) -> Pairs:
    still = count["pooled"] - count["moved"]
    said = {
        "in the pool that did not move, so that no grade of theirs can change delta": 0 if everything else still,
        "left out since they have a grade": count["judged"],
    }
    notes = [f"documents {words}: {number:,} of {count['pooled']:,}" for words, number in said.items() if number]
    said = {"with results in one arm only": count["one_arm"], "of the design without a result": count["no_results"]}
    notes += [f"queries {words}: {number:,}" for words, number in said.items() if number]
    spared = 0 if everything else still
    return Pairs(str(out), made, count["queries"], count["pooled"], spared, count["judged"], count["pairs"], tuple(notes))


def _queries(table: pa.Table, queries: pa.Table, name: Path) -> Any:
    return queries["query"].take(_rows(table["query_id"], queries["query_id"], "queries", name))


def _texts(table: pa.Table, docs: pa.Table, name: Path, fields: Sequence[str] | None) -> Any:
    """The text of each row's document; each document's is made once."""
    import pyarrow as pa

    rows = _rows(table["doc_id"], docs["doc_id"], "documents", name)
    needed = rows.unique()
    return document_texts(docs.take(needed), order=fields).take(pa.compute.index_in(rows, value_set=needed))


def _rows(ids: Any, known: Any, what: str, name: Path) -> Any:
    """Where each id is among the known ones."""
    import pyarrow.compute as pc

    rows = pc.index_in(ids, value_set=known.combine_chunks()).combine_chunks()
    if rows.null_count:
        missing = ids.filter(pc.is_null(rows)).unique()
        raise InputError(
            f"{name} lacks {len(missing):,} {what} of the runs, such as {missing[0].as_py()!r}: "
            "give the file that the runs were collected from"
        )
    return rows
