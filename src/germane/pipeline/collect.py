"""`germane collect`: queries through a search engine, for a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import engines, sources, store
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

ENGINES = ("bm25",)


class Collected(NamedTuple):
    """What `collect` wrote: one ranking a query. unanswered: queries without a result. made: False if nothing had changed."""

    out: str
    made: bool
    engine: str
    queries: int
    unanswered: int
    results: int
    notes: tuple[str, ...]


def collect(
    queries: Path,
    docs: Path,
    out: Path,
    *,
    engine: str = "bm25",
    fields: Sequence[str] | None = ("title",),
    options: Mapping[str, Any] | None = None,
    k: int = 25,
    design: Path | None = None,
    candidates: Path | None = None,
) -> Collected:
    """The top k of each query, as a run whose manifest says which engine made it, how, and from what.

    fields: of the docs, that are searched; None = all of their text. options: of the engine, such as k1, b and stopwords of
    bm25. design: only the queries that it sampled. candidates: judgments or pairs; each query ranks its documents there and
    no others, so that nothing unjudged is in the run.

    Raises: InputError for an unknown engine, field or option, queries of the design that are not among the queries, and
    candidates that are not among the docs.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown: expected one of {', '.join(ENGINES)}")
    asked = {"engine": engine, "fields": None if fields is None else list(fields), "options": dict(options or {}), "k": k}
    asked |= {"design": bool(design), "candidates": bool(candidates)}
    inputs = [queries, docs, *(path for path in (design, candidates) if path)]
    work: dict[str, Any] = {"verb": "collect", "inputs": inputs, "parameters": asked}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _collected(out, False, manifest.extra["collected"])
    table = sources.read_queries(queries)
    if design:
        table = _sampled(table, sources.read_design(design), design)
    searched = sources.read_docs(docs)
    ranker = _bm25(searched, fields, options or {})
    run = ranker.search(table, k=k, candidates=sources.read_candidates(candidates) if candidates else None)
    if not run.num_rows:
        raise InputError(f"no query of {queries} has a result in {docs}: are they in the same language, and of the same shop?")
    left = len(engines.unanswered(table, run))
    found = {"engine": ranker.name, "queries": table.num_rows, "unanswered": left, "results": run.num_rows}
    origin = {**ranker.origin, "ranked": "candidates only" if candidates else "all documents"}
    if (made := store.read_manifest(docs)) and made.extra.get("simulated"):
        origin["simulated"] = True
    run = store.attributed(run, "; ".join(sorted({a for t in (table, searched) if (a := store.attribution(t))})))
    store.write_table(run, out, "runs", **work, extra={**origin, "collected": found})
    return _collected(out, True, found)


def _collected(out: Path, made: bool, found: Mapping[str, Any]) -> Collected:
    left, asked = found["unanswered"], found["queries"]
    notes = [f"queries without a result: {left:,} of {asked:,}"] if left else []
    return Collected(str(out), made, **found, notes=tuple(notes))


def _bm25(docs: pa.Table, fields: Sequence[str] | None, options: Mapping[str, Any]) -> engines.BM25:
    for option, value in options.items():
        if option not in ("k1", "b", "stopwords"):
            raise InputError(f"bm25 has no option {option!r}: expected k1, b or stopwords")
        if option != "stopwords" and not (isinstance(value, int | float) and 0 <= value <= (1 if option == "b" else 1000)):
            raise InputError(
                f"bm25's {option} is {value!r}: expected a number from 0" + (" to 1" if option == "b" else ", such as 1.5")
            )
    return engines.BM25(docs, fields, **options)


def _sampled(queries: pa.Table, designs: pa.Table, name: Path) -> pa.Table:
    """The queries of the design, in the order of the queries."""
    import pyarrow.compute as pc

    known = pc.is_in(designs["query_id"], value_set=queries["query_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    if not known.all():
        first = designs["query_id"][int(known.argmin())].as_py()
        raise InputError(
            f"{name} names {int((~known).sum()):,} queries that are not among the queries, such as {first!r}: "
            "give the file that the design was drawn from"
        )
    return queries.filter(pc.is_in(queries["query_id"], value_set=designs["query_id"].combine_chunks()))
