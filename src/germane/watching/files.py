"""A day's files: its sample, its pairs and which documents the catalogue had. Each is whole or not there."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import store
from germane.labelling.known import KEYS, keyed
from germane.store.tables import explained_parquet
from germane.text.normal import query_id
from germane.types import InputError
from germane.watching import drawing, reading, texts, warehouse
from germane.watching.asking import REPLIES
from germane.watching.plan import FAKE, Plan

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger("germane")
_FACTS = b"germane.watched"
SAMPLE, PAIRS, LABELS, CATALOGUE = "sample.parquet", "pairs.parquet", "labels.parquet", "catalogue.npy"
KEPT = 40
"""Days whose catalogue is kept, for the splits of changes that began some time ago."""


class Sampled(NamedTuple):
    """The sample of a day, and what was found in the log. facts: requests, queries, strata, notes."""

    table: pa.Table
    facts: Mapping[str, Any]


def folder(plan: Plan, day: date | str) -> Path:
    """Where a day's files lie."""
    return plan.folder / str(day)


def has_log(plan: Plan, day: date) -> bool:
    """Whether the log of a day is there: its file, or in a table all of its requests.

    Raises: InputError for a database that cannot be asked.
    """
    return warehouse.loaded(plan, day) if plan.table else plan.has_log(day)


def sample(plan: Plan, day: date) -> Sampled:
    """The day's sample: drawn now, or before a kill by the same settings from the same log.

    Raises: InputError for a log that cannot be read.
    """
    import pyarrow as pa

    path, logs = folder(plan, day) / SAMPLE, plan.files(day)
    held: list[Any] = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in logs]
    made_of = _digest(design(plan), warehouse.state(plan, day) if plan.table else held)
    if (found := _read(path, made_of)) is not None:
        return found
    with reading.opened(plan, day, logs) as log:
        facts: dict[str, Any] = {"requests": log.rows - log.empty - log.overlong, "queries": log.queries}
        facts |= {"rows": log.rows, "empty": log.empty, "overlong": log.overlong}
        facts |= {} if log.undated is None else {"undated": log.undated}
        if not log.queries:
            return Sampled(_nothing(), facts | {"strata": [], "notes": log.notes})
        drawn = drawing.draw(log, day)
        facts |= {"strata": [s._asdict() for s in drawn.strata], "notes": log.notes}
    ids: Any = pa.array([query_id(str(text)) for text in drawn.table["query"].to_pylist()], pa.string())
    table = drawn.table.append_column("query_id", ids)
    _write(path, table, {"made_of": made_of, "facts": facts})
    return Sampled(table, facts)


def pairs(plan: Plan, day: date, drawn: Sampled, fingerprint: str) -> Mapping[str, Any]:
    """What was found of the documents that the lists show, whose pairs now lie beside the sample, with `known`: the store had
    this judge's label of them. With them, which documents the catalogue has.

    fingerprint: of the judge; "" for one whose labels the store does not keep.
    """
    import pyarrow as pa

    path, documents = folder(plan, day) / PAIRS, plan.documents(day)
    stat = documents.stat()
    made_of = _digest([documents.name, stat.st_size, stat.st_mtime_ns, fingerprint], drawn.table["query"].to_pylist())
    if (found := _read(path, made_of)) is not None:
        return found.facts
    columns: list[list[Any]] = [drawn.table[name].to_pylist() for name in ("query_id", "query", "shown")]
    ids = sorted({doc for docs in columns[2] for doc in docs})
    said = texts.texts(plan, documents, ids)
    rows = [(qid, query, doc, said[doc]) for qid, query, docs in zip(*columns, strict=True) for doc in docs if doc in said]
    names = ("query_id", "query", "doc_id", "text")
    table = pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)})
    missing = [doc for doc in ids if doc not in said]
    facts = {
        "documents": len(ids),
        "missing": len(missing),
        "missing_example": missing[0] if missing else "",
        "pairs": len(rows),
    }
    there = texts.catalogue(plan, documents)
    with store.replacing(folder(plan, day) / CATALOGUE) as file:
        np.save(file, there)
    _write(path, table.append_column("known", _known(plan, str(day), table, fingerprint)), {"made_of": made_of, "facts": facts})
    return facts


def catalogue(plan: Plan, day: str) -> texts.Hashes | None:
    """Which documents the catalogue had on a day; None where that is not known any more."""
    path = folder(plan, day) / CATALOGUE
    try:
        found: texts.Hashes = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return found if found.size else None


def forget(plan: Plan, days: list[str]) -> None:
    """Takes the catalogues of days away that lie further back than KEPT days."""
    for day in sorted(days)[:-KEPT]:
        (folder(plan, day) / CATALOGUE).unlink(missing_ok=True)


def shown(plan: Plan, day: str) -> pa.Table | None:
    """The sample of a day that is done; None where its file is not there any more."""
    found = _read(folder(plan, day) / SAMPLE, None)
    return None if found is None else found.table


def labels(plan: Plan, day: str) -> pa.Table | None:
    """The judgments of a day; None where the file is not there."""
    return _table(folder(plan, day) / LABELS)


def known(plan: Plan, day: str) -> set[tuple[str, str]]:
    """Pairs of a day whose labels were older than it: the store had them."""
    if (table := _table(folder(plan, day) / PAIRS)) is None:
        return set()
    columns = (table[name].to_pylist() for name in ("query_id", "doc_id", "known"))
    return {(query, doc) for query, doc, was in zip(*columns, strict=True) if was}


def design(plan: Plan) -> dict[str, Any]:
    """The settings that decide who is sampled and what is measured: days of other settings are not compared."""
    columns = plan.columns
    return {
        "columns": [columns.query, columns.shown, list(columns.segments)],
        "strata": list(plan.strata),
        "sample": plan.sample,
        "panel": plan.panel,
        "step": plan.step,
        "seed": plan.seed,
        "k": plan.k,
        "relevant": plan.relevant,
        "zone": plan.zone.key,
        "log_zone": plan.log_zone.key,
    }


def _known(plan: Plan, day: str, table: pa.Table, fingerprint: str) -> Any:
    """(n,) Whether the label of each pair is older than the day: of the judgment store, or a kept reply."""
    import pyarrow as pa

    was = np.zeros(table.num_rows, np.bool_)
    if plan.asks_a_model and table.num_rows and (plan.folder / REPLIES).is_dir():
        was = _answered_before(plan, day, table, fingerprint)
    elif fingerprint and plan.judge != FAKE and table.num_rows and not plan.asks_a_model:
        asked = {"scale": plan.scale.name, "guide_version": plan.scale.version, "fingerprint": fingerprint}
        found = store.JudgmentStore(plan.labels).found(keyed(table).select(list(KEYS)), **asked)
        was[found["row"].to_numpy()] = True
    return pa.array(was)


def _answered_before(plan: Plan, day: str, table: pa.Table, fingerprint: str) -> NDArray[np.bool_]:
    """(n,) Whether a language model judged a pair, of the same text, on one of the last days: its reply is kept."""
    import pyarrow as pa
    import pyarrow.compute as pc

    made = np.zeros(table.num_rows, np.bool_)
    there = sorted(path.parent for path in plan.folder.glob(f"????-??-??/{LABELS}") if path.parent.name < day)
    for past in (folder for folder in there[-KEPT:] if (folder / PAIRS).is_file()):
        said = store.read_parquet(past / LABELS).select(["query_id", "doc_id", "relevance", "fingerprint"])
        said = said.filter(pc.equal(said["fingerprint"], pa.scalar(fingerprint)))
        answered = said.filter(said["relevance"].is_valid()).select(["query_id", "doc_id"])
        read = store.read_parquet(past / PAIRS).select(["query_id", "doc_id", "text"])
        row = pa.array(np.arange(table.num_rows))
        kept = table.select(["query_id", "doc_id", "text"]).append_column("row", row)
        both = kept.join(read, ["query_id", "doc_id", "text"], join_type="left semi")
        both = both.join(answered, ["query_id", "doc_id"], join_type="left semi")
        made[both["row"].to_numpy()] = True
    return made


def _nothing() -> pa.Table:
    import pyarrow as pa

    return pa.table({"query": pa.array([], pa.string())})


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:32]


def _write(path: Path, table: pa.Table, said: Mapping[str, Any]) -> None:
    import pyarrow.parquet as pq

    told = table.replace_schema_metadata({_FACTS: json.dumps(said, ensure_ascii=False).encode()})
    with store.replacing(path) as file:
        pq.write_table(told, file, compression="zstd", write_page_checksum=True)


def _read(path: Path, made_of: str | None) -> Sampled | None:
    """What a file holds, if it was made of that."""
    if (table := _table(path)) is None:
        return None
    said: dict[str, Any] = json.loads((table.schema.metadata or {}).get(_FACTS, b"{}"))
    if made_of is not None and said.get("made_of") != made_of:
        return None
    return Sampled(table, said.get("facts", {}))


def _table(path: Path) -> pa.Table | None:
    """A table that germane wrote; None where it is not there, or cannot be read any more: then it is made anew, or missed."""
    if not path.is_file():
        return None
    try:
        with explained_parquet(path):
            return store.read_parquet(path)
    except InputError as problem:
        _LOG.warning("%s: as if it were not there", problem)
        return None
