"""`germane collect`: queries through a search engine, for a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import engines, sources, store
from germane.engines import opening
from germane.engines.opening import FAILURES, Server
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 3
"""Failed queries that a message names."""


class Collected(NamedTuple):
    """What `collect` wrote: one ranking a query. unanswered: queries without a result, those that failed not counted.

    made: False if nothing had changed.
    """

    out: str
    made: bool
    engine: str
    queries: int
    unanswered: int
    results: int
    notes: tuple[str, ...]


def collect(
    queries: Path,
    docs: Path | None,
    out: Path,
    *,
    engine: str = "bm25",
    fields: Sequence[str] | None = ("title",),
    options: Mapping[str, Any] | None = None,
    k: int = 25,
    design: Path | None = None,
    candidates: Path | None = None,
    student: Path | None = None,
    vectors: Path | None = None,
    runs: Sequence[Path] = (),
    server: Mapping[str, Any] | None = None,
    failures: str = "stop",
) -> Collected:
    """The top k of each query, as a run whose manifest says which engine made it, how, and from what.

    docs: the catalogue; engines that have their own take none. fields: of the docs, that are searched; None = all of their
    text. options: of the engine, such as k1, b and stopwords of bm25. design: only the queries that it sampled. candidates:
    judgments or pairs; each query ranks its documents there and no others, so that nothing unjudged is in the run.
    student, vectors: of the engines that search vectors. runs: what hybrid fuses, in place of engines. server: of the
    engines that are elsewhere, as `engines.opening.Server` has it; those are asked again each time, since what they hold may
    have changed. failures: of single queries; "stop" the whole, or "list" them in the manifest and leave them out.

    Raises: InputError for an unknown engine, field or option, queries of the design that are not among the queries,
    candidates that are not among the docs, and a query that failed.
    """
    if failures not in FAILURES:
        raise InputError(f"failures {failures!r}: expected {' or '.join(FAILURES)}")
    parts = opening.Parts(
        engine, docs, fields, options or {}, student, vectors, tuple(runs), Server(**server) if server else None
    )
    parts.check(candidates=bool(candidates))
    asked = {**parts.asked, "k": k, "design": bool(design), "candidates": bool(candidates)}
    inputs = [queries, *parts.inputs, *(path for path in (design, candidates) if path)]
    work: dict[str, Any] = {"verb": "collect", "inputs": inputs, "parameters": asked}
    if server is None and store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _collected(out, False, manifest.extra["collected"], manifest.extra.get("failed", ()))
    store.not_among(out, inputs)
    table = sources.read_queries(queries)
    if design:
        table = _sampled(table, sources.read_design(design), design)
    ranker, searched = opening.opened(parts)
    chosen = {"candidates": sources.read_candidates(candidates)} if candidates else {}
    run = ranker.search(table, k=k, **chosen)
    failed: tuple[engines.Failure, ...] = getattr(ranker, "failures", ())
    _tolerated(failed, table.num_rows, failures)
    if not run.num_rows:
        where = docs or ranker.name
        raise InputError(f"no query of {queries} has a result in {where}: are they in the same language, and of the same shop?")
    left = len(engines.unanswered(table, run)) - len(failed)
    found = {"engine": ranker.name, "queries": table.num_rows, "unanswered": left, "results": run.num_rows}
    origin = {**ranker.origin, "ranked": "candidates only" if candidates else "all documents"}
    if failed:
        origin["failed"] = [failure._asdict() for failure in failed]
    if any((made := store.read_manifest(path)) and made.extra.get("simulated") for path in (docs, *runs) if path):
        origin["simulated"] = True
    run = store.attributed(run, "; ".join(sorted({a for t in (table, *searched) if (a := store.attribution(t))})))
    store.write_table(run, out, "runs", **work, extra={**origin, "collected": found})
    return _collected(out, True, found, origin.get("failed", ()))


def _collected(out: Path, made: bool, found: Mapping[str, Any], failed: Sequence[Mapping[str, str]]) -> Collected:
    left, asked = found["unanswered"], found["queries"]
    notes = [f"queries without a result: {left:,} of {asked:,}"] if left else []
    if failed:
        notes.append(
            f"queries that failed: {len(failed):,} of {asked:,}, such as {failed[0]['query_id']!r} ({failed[0]['why']}): they "
            "are not in the run, and the manifest lists them; leave them out of the design of a comparison"
        )
    return Collected(str(out), made, **found, notes=tuple(notes))


def _tolerated(failed: Sequence[engines.Failure], asked: int, failures: str) -> None:
    """Nothing, if the run may be written with these queries left out.

    Raises: InputError otherwise.
    """
    if failed and (failures == "stop" or len(failed) == asked):
        shown = "; ".join(f"{query_id!r}: {why}" for query_id, why in failed[:EXAMPLES])
        raise InputError(
            f"{len(failed):,} of {asked:,} queries failed ({shown}): a query that failed is not one without results. Mend it, "
            "or pass --failures list to leave them out"
        )


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
