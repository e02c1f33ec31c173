"""`germane enrich`: columns that a catalogue or a table of queries lacks: captions, engaged queries, interests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import sources, store
from germane.engagement import Engaged, engaged_queries, read_clicks
from germane.text import query_digest
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

QUERIES, CAPTION, OUTCOME = "engaged_queries", "caption", "caption_outcome"
INTEREST = ("interest", "interest_probability")


class Enriched(NamedTuple):
    """What `enrich` wrote. made: False if nothing had changed. columns: that are new.

    captions: outcome -> documents. asked: images that the model was shown now. engaged: documents with engaged queries.
    interests: interest -> queries.
    """

    out: str
    made: bool
    rows: int
    columns: tuple[str, ...]
    captions: dict[str, int]
    asked: int | None
    engaged: int | None
    interests: dict[str, int]
    notes: tuple[str, ...]


def enrich(
    table: Path,
    out: Path,
    *,
    captions: str | None = None,
    images: Path | None = None,
    image_column: str | None = None,
    prompt: str | None = None,
    kept: Path | None = None,
    batch: int = 16,
    engaged: Path | None = None,
    queries: Path | None = None,
    top: int = 5,
    least: int = 2,
    held_out: Path | None = None,
    interests: Path | None = None,
) -> Enriched:
    """The documents with the columns `caption` and `engaged_queries`, or the queries with `interest`; see each.

    captions: a model that says what an image shows. Images lie in `images`, named by their doc_id, or by `image_column`
    (default folder: the table's); `kept` is the file of captions that only grows (default: captions.jsonl beside `out`).
    engaged: clicks; of each document the `top` queries that at least `least` people clicked it for. held_out: queries that are
    to be judged, which never become text. interests: what `train interests` made, for a table of queries. More parameters
    than our seven: three columns, each with its own.

    Raises: InputError where nothing is asked for, or a column is there already, and for what the files lack.
    """
    if not (captions or engaged or interests):
        raise InputError("enrich with what? give --captions MODEL, --engaged CLICKS, or for queries --interests DIR")
    if interests and (captions or engaged):
        raise InputError("--interests is for a table of queries, --captions and --engaged are for documents: run it twice")
    if interests is not None:
        return _interests(table, out, interests)
    docs = sources.read_docs(table)
    new = [name for name, wanted in ((CAPTION, captions), (OUTCOME, captions), (QUERIES, engaged)) if wanted]
    _is_new(docs, new, table)
    shown = None if captions is None else _Images(docs, table, captions, images, image_column, prompt)
    asked: dict[str, Any] = {"captions": shown and shown.parameters, "top": top, "least": least, "engaged": bool(engaged)}
    asked |= {"held_out": bool(held_out)}
    inputs = [table, *(path for path in (engaged, queries, held_out) if path)]
    work: dict[str, Any] = {"verb": "enrich", "inputs": inputs, "parameters": asked}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _told(out, False, manifest.extra["enriched"] | {"asked": 0 if shown else None})
    facts: dict[str, Any] = {"rows": docs.num_rows, "columns": new, "asked": None, "engaged": None, "notes": []}
    if shown is not None:
        docs = shown.with_captions(docs, kept or out.with_name("captions.jsonl"), batch, facts)
    if engaged is not None:
        known = None if queries is None else sources.read_queries(queries)
        judged = [] if held_out is None else sources.read_queries(held_out)["query"].to_pylist()
        clicks = read_clicks(engaged, known)
        found = engaged_queries(clicks, top=top, least=least, held_out=[query_digest(str(q)) for q in judged])
        docs = _with_queries(docs, found, facts, held_out=held_out is not None)
        facts["notes"] += [f"clicks left out since their query is not known: {clicks.nameless:,}"] if clicks.nameless else []
    store.write_table(docs, out, "docs", **work, extra={"enriched": facts})
    return _told(out, True, facts)


class _Images:
    """The images of a table of documents, and what is to caption them."""

    def __init__(
        self, docs: pa.Table, table: Path, model: str, folder: Path | None, column: str | None, prompt: str | None
    ) -> None:
        from germane.training.captions import ImageToText, image_names

        if folder is None and column is None:
            raise InputError("captions of what? give --images DIR (files named by doc_id), or --image-column COLUMN, or both")
        if column is not None and column not in docs.column_names:
            raise InputError(f"{table} has no column {column!r}: found {', '.join(docs.column_names)}")
        self.folder = folder or table.parent
        if not self.folder.is_dir():
            raise InputError(f"{self.folder} is not a folder: expected one with images")
        self.names: list[str | None] = (
            image_names([str(i) for i in docs["doc_id"].to_pylist()], self.folder)
            if column is None
            else [None if name is None else str(name) for name in docs[column].to_pylist()]
        )
        self.captioner = ImageToText(model, prompt=prompt)
        contents = {name: store.sha256(path) for name in set(self.names) if name and (path := self.folder / name).is_file()}
        listed = hashlib.sha256("\n".join(str(contents.get(name or "")) for name in self.names).encode()).hexdigest()
        self.parameters = {"model": model, "fingerprint": self.captioner.fingerprint, "images": listed}

    def with_captions(self, docs: pa.Table, kept: Path, batch: int, facts: dict[str, Any]) -> pa.Table:
        """The documents with `caption` and `caption_outcome`; `facts` says how many of which."""
        import pyarrow as pa

        from germane.training.captions import Captions, captions

        found = captions(self.names, self.folder, self.captioner, Captions(kept), batch=batch)
        facts["captions"] = dict(Counter(outcome.partition(":")[0] for outcome in found.outcome).most_common())
        facts["asked"] = found.asked
        why = Counter(outcome for outcome in found.outcome if ":" in outcome)
        facts["notes"] += [f"documents without a caption, {reason}: {count:,}" for reason, count in why.most_common(5)]
        docs = docs.append_column(CAPTION, pa.array(found.text, pa.string()))
        return docs.append_column(OUTCOME, pa.array(found.outcome, pa.string()))


def _with_queries(docs: pa.Table, found: Engaged, facts: dict[str, Any], *, held_out: bool) -> pa.Table:
    """The documents with the list `engaged_queries`; null where nobody, or too few, clicked."""
    import pyarrow.compute as pc

    known: Any = found.table.combine_chunks()
    column: Any = known["engaged_queries"].take(pc.index_in(docs["doc_id"], value_set=known["doc_id"].combine_chunks()))
    facts["engaged"] = len(column) - column.null_count
    notes = (
        [f"queries of a document left out since fewer {found.by} than --least clicked: {found.rare:,}"] if found.rare else []
    )
    if found.by == "clicks":
        notes.append("no column of users: one person's clicks count as many")
    if held_out:
        notes.append(f"queries of a document left out since they are to be judged: {found.held_out:,}")
    else:
        notes.append("no --held-out: a document that carries the very query it is judged for tells the judge its popularity")
    facts["notes"] += notes
    return docs.append_column(QUERIES, column)


def _interests(table: Path, out: Path, folder: Path) -> Enriched:
    from germane.training import interests

    queries = sources.read_queries(table)
    _is_new(queries, [name for name in INTEREST if name != "interest" or _any(queries, name)], table)
    work: dict[str, Any] = {"verb": "enrich", "inputs": [table, folder], "parameters": {"interests": True}}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _told(out, False, manifest.extra["enriched"])
    found = interests.predict(folder, queries)
    counts = Counter(found["interest"].to_pylist())
    facts: dict[str, Any] = {
        "rows": found.num_rows,
        "columns": list(INTEREST),
        "interests": dict(counts.most_common()),
        "notes": [],
    }
    store.write_table(found, out, "queries", **work, extra={"enriched": facts})
    return _told(out, True, facts)


def _any(table: pa.Table, name: str) -> bool:
    return name in table.column_names and table[name].null_count < table.num_rows


def _is_new(table: pa.Table, names: list[str], path: Path) -> None:
    """Raises: InputError for a column that is there already: whose it is, nobody could tell."""
    if there := [name for name in names if name in table.column_names]:
        raise InputError(f"{path} has a column {there[0]!r} already: rename it, or enrich the table as it was before")


def _told(out: Path, made: bool, facts: Mapping[str, Any]) -> Enriched:
    return Enriched(
        str(out),
        made,
        facts["rows"],
        tuple(facts["columns"]),
        dict(facts.get("captions", {})),
        facts.get("asked"),
        facts.get("engaged"),
        dict(facts.get("interests", {})),
        tuple(facts["notes"]),
    )
