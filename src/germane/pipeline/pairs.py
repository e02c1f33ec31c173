"""`germane pairs`: the pairs of query and document that need a grade before two runs can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import sampling, scales, sources, store
from germane.judges.loading import locate
from germane.text import TextPlan, Texts, compose_table
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
    plan: TextPlan | None = None,
) -> Pairs:
    """Only documents that moved between the arms need a grade: exactly those, most valuable first; see `sampling.pool`.

    queries, docs: their texts; `text` is the document as a judge reads it by the plan (default: all of its text, budgets in
    characters), and `cut` what of it was cut.
    design: only its queries, each weighted by what it stands for. judgments: pairs that have a grade there (on `scale`) are
    left out. everything: those that did not move too, for the level of each arm and for metrics such as nDCG.

    Raises: InputError for queries or documents of the runs that are not in the files, and for a plan that does not fit.
    """
    plan = _found(plan)
    asked = {"k": k, "everything": everything, "plan": plan.to_dict(), "scale": scale}
    asked |= {"design": bool(design), "judgments": bool(judgments)}
    inputs = [control, treatment, queries, docs, *(path for path in (design, judgments) if path)]
    work: dict[str, Any] = {"verb": "pairs", "inputs": inputs, "parameters": asked}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _pairs(out, False, manifest.extra, everything)
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
    rows, texts = _texts(pool.table, sources.read_docs(docs), docs, plan)
    table = pool.table.append_column("query", asked_for)
    table = table.append_column("text", texts.text.take(rows)).append_column("cut", texts.cut.take(rows))
    extra = {"pool": pool.counts, "text": texts.facts}
    store.write_table(table, out, "pairs", **work, extra=extra)
    return _pairs(out, True, extra, everything)


class Judged(NamedTuple):
    """What `of_judgments` wrote. made: False if nothing had changed."""

    out: str
    made: bool
    queries: int
    pairs: int
    notes: tuple[str, ...]


def of_judgments(
    judgments: Path, out: Path, *, queries: Path, docs: Path, scale: str | None = None, plan: TextPlan | None = None
) -> Judged:
    """The pairs that have been judged, with their texts: what a judge is trained and checked on. Each pair once, by its ids.

    Raises: InputError for queries or documents of the judgments that are not in the files, and for a plan that does not fit.
    """
    plan = _found(plan)
    work: dict[str, Any] = {"verb": "pairs", "inputs": [judgments, queries, docs]}
    work["parameters"] = {"judged": True, "scale": scale, "plan": plan.to_dict()}
    made = not store.up_to_date(out, **work)
    if made:
        said = sources.read_judgments(judgments, scale=scales.get(scale) if scale else None)
        table = said.select(["query_id", "doc_id"])
        table = table.group_by(["query_id", "doc_id"]).aggregate([])
        table = table.sort_by([("query_id", "ascending"), ("doc_id", "ascending")]).combine_chunks()
        asked_for = _queries(table, sources.read_queries(queries), queries)
        rows, texts = _texts(table, sources.read_docs(docs), docs, plan)
        table = table.append_column("query", asked_for)
        table = table.append_column("text", texts.text.take(rows)).append_column("cut", texts.cut.take(rows))
        count = {"queries": len(table["query_id"].unique()), "pairs": table.num_rows}
        store.write_table(table, out, "pairs", **work, extra={"count": count, "text": texts.facts})
    manifest = store.read_manifest(out)
    assert manifest is not None
    count = manifest.extra["count"]
    return Judged(str(out), made, count["queries"], count["pairs"], tuple(_cut(manifest.extra["text"]["cut"])))


def _found(plan: TextPlan | None) -> TextPlan:
    """The plan, its tokenizer where it lies."""
    plan = plan or TextPlan()
    return replace(plan, tokenizer=locate(plan.tokenizer)) if plan.unit == "tokens" and plan.tokenizer else plan


def _cut(shares: Mapping[str, float]) -> list[str]:
    cut = ", ".join(f"{field} in {share:.1%}" for field, share in shares.items())
    return [f"fields that were cut to their budgets, by share of the documents: {cut}"] if shares else []


def _pairs(out: Path, made: bool, found: Mapping[str, Any], everything: bool) -> Pairs:
    count: Mapping[str, int] = found["pool"]
    still = count["pooled"] - count["moved"]
    said = {
        "in the pool that did not move, so that no grade of theirs can change delta": 0 if everything else still,
        "left out since they have a grade": count["judged"],
    }
    notes = [f"documents {words}: {number:,} of {count['pooled']:,}" for words, number in said.items() if number]
    said = {"with results in one arm only": count["one_arm"], "of the design without a result": count["no_results"]}
    notes += [f"queries {words}: {number:,}" for words, number in said.items() if number]
    notes += _cut(found["text"]["cut"])
    spared = 0 if everything else still
    return Pairs(str(out), made, count["queries"], count["pooled"], spared, count["judged"], count["pairs"], tuple(notes))


def _queries(table: pa.Table, queries: pa.Table, name: Path) -> Any:
    return queries["query"].take(_rows(table["query_id"], queries["query_id"], "queries", name))


def _texts(table: pa.Table, docs: pa.Table, name: Path, plan: TextPlan) -> tuple[Any, Texts]:
    """For each row, which of the texts is its document's; each document's is made once."""
    import pyarrow.compute as pc

    rows = _rows(table["doc_id"], docs["doc_id"], "documents", name)
    needed = rows.unique()
    return pc.index_in(rows, value_set=needed), compose_table(docs.take(needed), plan)


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
