"""`germane sample --for audit`: the documents of an experiment that people judge, blind, to correct its judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane import cards, sampling, scales, sources, store
from germane.golden import folder as golden
from germane.golden import leaks
from germane.judges import folder
from germane.text import document_texts, query_digest
from germane.types import InputError, JudgeCard, Scale

if TYPE_CHECKING:
    import pyarrow as pa


class AuditSample(NamedTuple):
    """What was drawn. made: False if nothing had changed. units: of what; audited: so many of them; pairs: to be judged."""

    out: str
    made: bool
    unit: str
    queries: int
    moved_queries: int
    moved: int
    audited: int
    pairs: int
    notes: tuple[str, ...]


def audit(
    design: Path,
    out: Path,
    *,
    control: Path,
    treatment: Path,
    n: int,
    seed: int,
    queries: Path | None = None,
    docs: Path,
    unit: str = "queries",
    k: int = 25,
    judgments: Path | None = None,
    card: Path | None = None,
    scale: str | None = None,
    fields: Sequence[str] | None = None,
    without: Sequence[Path] = (),
) -> AuditSample:
    """A blind sample inside this experiment, as a table of audits; see `sampling.draw_audit`.

    design, control, treatment: as `compare` gets them; instead of a design, the queries themselves, where the experiment
    has none. queries (default: those), docs: the texts that raters read. judgments and card: the
    judge's grades and its card; with both, people look more often where this judge errs more. k: of the metric. without: what
    judges learned from, or were checked on (files of pairs, sealed golden sets, folders of judges).

    Raises: InputError for runs in which nothing moved, n that does not fit, queries or documents that the files lack, and an
    audit that holds a pair of `without`, or a query that a judge learned from.
    """
    asked = {"n": n, "unit": unit, "k": k, "scale": scale, "fields": None if fields is None else list(fields)}
    sampled = sources.is_design(design)
    if sampled and queries is None:
        raise InputError(f"{design} is a design, which has no texts: pass the queries' text with --queries")
    inputs = [p for p in (design, control, treatment, queries, docs, judgments, card) if p is not None]
    kept = [_file(path) for path in without]
    if kept:
        asked["without"], inputs = len(kept), [*inputs, *kept]
    work: dict[str, Any] = {"verb": "audit", "inputs": inputs, "parameters": asked, "seed": seed}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _told(out, False, manifest.extra)
    _keep_answers(out)
    designs = sources.read_design(design) if sampled else None
    if designs is not None and (unit_of := sampling.read_design_table(designs).unit) != sampling.UNIT:
        raise InputError(f"{design} was drawn by {unit_of}, and an audit is weighed by distinct queries: draw by queries")
    runs = [sources.read_run(path).table for path in (control, treatment)]
    moved = sampling.pool(runs[0], runs[1], k=k, designs=designs).table
    spread, notes = _spread(moved, judgments, card, scale)
    drawn = sampling.draw_audit(moved, n=n, unit=unit, seed=seed, designs=designs, spread=spread)
    table = _with_texts(drawn.table, sources.read_queries(queries or design), sources.read_docs(docs), fields)
    _apart(table, without)
    extra = {"unit": unit, "counts": drawn.counts, "notes": [*notes, *drawn.notes]}
    sources.write_audit(table, out, **work, extra=extra)
    return _told(out, True, extra)


def _file(path: Path) -> Path:
    """The file that stands for what is kept apart: a seal, what a judge learned from, or the file itself."""
    inside = next((path / name for name in (store.sealed.SEAL, folder.TRAINING) if (path / name).is_file()), path)
    if inside.is_dir():
        raise InputError(f"--without {path}: expected pairs, a sealed golden set, or the folder of a judge that was trained")
    return inside


def _apart(table: pa.Table, without: Sequence[Path]) -> None:
    """Raises: InputError for a drawn pair that judges learned from or were checked on: what is left out would have no odds."""
    for path in without:
        if (path / folder.TRAINING).is_file():
            learned = set(folder.trained_on(path))
            both = sum(query_digest(str(query)) in learned for query in table["query"].to_pylist())
        else:
            both = len(leaks.shared(table, golden.words_of(path)))
        if both:
            raise InputError(
                f"{both:,} of {table.num_rows:,} drawn pairs are in {path}, which judges learned from or were checked on: an "
                "audit has none. Draw with another --seed, or run the experiment on other queries; leaving the pairs out "
                "would give them no chance, and the audit would not stand for the experiment"
            )


def _keep_answers(out: Path) -> None:
    """Raises: InputError for a file that was changed since it was drawn: people's answers may be in it."""
    if not out.exists():
        return
    manifest = store.read_manifest(out)
    if manifest is None or manifest.sha256 != store.sha256(out):
        raise InputError(
            f"{out} is there, and is not what an audit's draw wrote: people's answers may be in it; name another --out"
        )


def _told(out: Path, made: bool, extra: Mapping[str, Any]) -> AuditSample:
    return AuditSample(str(out), made, str(extra["unit"]), **extra["counts"], notes=tuple(extra["notes"]))


def _spread(moved: pa.Table, judgments: Path | None, card: Path | None, scale: str | None) -> tuple[Any, list[str]]:
    """The SD of people's gain for each pair given the judge's grade, and what is to be said of it."""
    if judgments is None or card is None:
        return None, ["the odds do not know where this judge errs more: give its --judgments and --card, and they do"]
    found = cards.read(card)
    sd = sampling.gain_sd(found.confusion, _gains(found, scale))
    grades = sources.read_judgments(judgments, scale=scales.get(scale or found.scale))
    import pyarrow as pa

    numbered = moved.select(["query_id", "doc_id"]).append_column("row", pa.array(np.arange(moved.num_rows)))
    known = grades.filter(grades["relevance"].is_valid()).select(["query_id", "doc_id", "relevance"])
    rows = numbered.join(known, ["query_id", "doc_id"], join_type="inner")
    spread = np.full(moved.num_rows, float(sd.max()))  # a document without a grade could be anything
    spread[rows["row"].to_numpy()] = sd[rows["relevance"].to_numpy()]
    return spread, []


def _gains(card: JudgeCard, scale: str | None) -> tuple[float, ...]:
    of: Scale = scales.get(scale or card.scale)
    if of.name != card.scale:
        raise InputError(f"the card is on scale {card.scale!r}, not on {of.name!r}: give the card of this scale")
    return of.gains


def _with_texts(drawn: pa.Table, queries: pa.Table, docs: pa.Table, fields: Sequence[str] | None) -> pa.Table:
    """The drawn pairs with what a rater reads; nothing in them tells an arm, a rank or the judge's answer."""
    asked = queries["query"].take(_rows(drawn["query_id"], queries["query_id"], "queries"))
    at = _rows(drawn["doc_id"], docs["doc_id"], "documents")
    return drawn.append_column("query", asked).append_column("text", document_texts(docs.take(at), order=fields))


def _rows(ids: Any, known: Any, what: str) -> Any:
    import pyarrow.compute as pc

    rows = pc.index_in(ids, value_set=known.combine_chunks())
    if rows.null_count:
        missing = ids.filter(pc.is_null(rows))[0].as_py()
        raise InputError(f"the {what} given lack {missing!r}, which the runs show: give the file that they were collected from")
    return rows
