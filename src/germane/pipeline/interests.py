"""`germane train interests`: labelled queries in, or a catalogue and what is good in it; a classifier's folder out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import scales, sources, store
from germane.engagement import interests_from_catalogue, read_clicks
from germane.types import Estimate, InputError, decode

if TYPE_CHECKING:
    import pyarrow as pa


class Interests(NamedTuple):
    """What was trained. interests: that it answers; rare: queries of others, which it calls "other".

    measured: on queries held out in folds: see `training.interests.Trained`.
    """

    out: str
    made: bool
    queries: int
    interests: int
    rare: int
    threshold: float
    measured: dict[str, Estimate]
    notes: tuple[str, ...]


def train_interests(
    queries: Path,
    out: Path,
    *,
    base: str,
    column: str = "interest",
    docs: Path | None = None,
    judgments: Path | None = None,
    scale: str | None = None,
    clicks: Path | None = None,
    category: str = "category",
    depth: int | None = None,
    share: float = 0.5,
    options: Mapping[str, Any] | None = None,
) -> Interests:
    """A classifier of queries to interests, in the folder `out`, for `germane enrich QUERIES --interests`.

    queries: with their interest in `column`. Or with `docs`: the interest is the category that most of a query's relevant
    documents share (judgments: the upper half of the scale) or most of its clicked ones (clicks); share: at least this much
    of them; depth: of a category's path. base: an encoder by hub name or folder. options: fields of
    `training.interests.Recipe` and of its `Settings`. More parameters than our seven: where labels come from.

    Raises: InputError for a missing column, no text, one interest only, and a base that is no encoder.
    """
    from germane.training import interests as training

    recipe = _recipe(training.Recipe, dict(options or {}))
    if docs is not None and (judgments is None) == (clicks is None):
        raise InputError("interests from a catalogue: give --judgments or --clicks beside --docs, one of them")
    if docs is None and (judgments or clicks):
        raise InputError("interests from judgments or clicks are categories of documents: give --docs too")
    inputs = [queries, *(path for path in (docs, judgments, clicks) if path)]
    asked = {"base": base, "column": column, "category": category, "depth": depth, "share": share, "scale": scale}
    work: dict[str, Any] = {"verb": "train interests", "inputs": inputs, "parameters": {**asked, "recipe": recipe}}
    work["seed"] = recipe.seed
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _told(out, False, manifest.extra["interests"])
    table = sources.read_queries(queries)
    notes: list[str] = []
    if docs is not None:
        pairs = _clicked(clicks, table) if clicks is not None else _relevant(judgments, table, scale)
        found = interests_from_catalogue(pairs, sources.read_docs(docs), category, share=share, depth=depth)
        known, all_of = found.num_rows - found["interest"].null_count, found.num_rows
        notes.append(f"queries with an interest from the catalogue: {known:,} of {all_of:,} with documents")
        table, column = found.filter(found["interest"].is_valid()), "interest"
    elif column not in table.column_names:
        raise InputError(f"{queries} has no column {column!r}: found {', '.join(table.column_names)}; say which with --column")
    trained = training.train(table, out, base=base, recipe=recipe, column=column)
    facts = {
        "queries": trained.queries,
        "interests": len(trained.interests),
        "rare": trained.rare,
        "threshold": trained.threshold,
        "measured": dict(trained.measured),
        "notes": [*notes, *trained.notes],
    }
    store.write_manifest(out, **work, extra={"interests": facts})
    return _told(out, True, facts)


def _told(out: Path, made: bool, facts: Mapping[str, Any]) -> Interests:
    measured = {
        name: found if isinstance(found, Estimate) else decode(Estimate, found) for name, found in facts["measured"].items()
    }
    counts = (facts["queries"], facts["interests"], facts["rare"], facts["threshold"])
    return Interests(str(out), made, *counts, measured, tuple(facts["notes"]))


def _recipe(kind: Any, options: dict[str, Any]) -> Any:
    """The recipe with these options; those of its settings are told from its own by name.

    Raises: InputError for an option that neither knows.
    """
    own = {field.name for field in fields(kind)}
    start = kind()
    known = {field.name for field in fields(start.settings)}
    if unknown := [name for name in options if name not in own | known]:
        raise InputError(f"interests know no option {unknown[0]!r}: {', '.join(sorted(own | known))}")
    settings = {name: value for name, value in options.items() if name in known and name not in own}
    given = {name: value for name, value in options.items() if name in own}
    return kind(**{**given, "settings": type(start.settings)(**{**vars(start.settings), **settings})})


def _clicked(clicks: Path, queries: pa.Table) -> pa.Table:
    """query, doc_id and weight of what was clicked."""
    found = read_clicks(clicks, queries)
    return found.table.select(["query", "doc_id", found.by]).rename_columns(["query", "doc_id", "weight"])


def _relevant(judgments: Path | None, queries: pa.Table, scale: str | None) -> pa.Table:
    """query and doc_id of the pairs in the upper half of the scale."""
    import pyarrow.compute as pc

    if judgments is None:
        raise InputError("interests from a catalogue: give --judgments or --clicks beside --docs")
    of = scales.get(scale) if scale else None
    found = sources.read_judgments(judgments, scale=of)
    top = len(of.labels) - 1 if of else int(pc.max(found["relevance"]).as_py() or 0)
    good = found.filter(pc.field("relevance") * 2 > top)
    with store.database(good=good.select(["query_id", "doc_id"]), queries=queries.select(["query_id", "query"])) as query:
        return query("SELECT DISTINCT query, doc_id FROM good JOIN queries USING (query_id) ORDER BY query, doc_id")
