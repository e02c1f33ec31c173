"""Rows as found, from whatever was given: which format a file is in is seen from its suffix, else from its first line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from germane.sources import memory, tabular, trec
from germane.sources.content import Content
from germane.sources.names import DOC_ID, QUERY_ID, plain_name
from germane.sources.raw import Raw
from germane.store import check_kind, read_manifest
from germane.store.checks import short
from germane.types import InputError

_ROW = {"runs": "result", "judgments": "judgment", "queries": "query", "docs": "document", "pairs": "pair"}
_ROW |= {"designs": "query", "candidates": "pair", "audits": "pair"}


def load(obj: Any, role: str, kind: str) -> Raw:
    """Rows as found, from a path, "-" for standard input, or an object; at least one.

    role: "run", "judgments", "queries", "docs", "pairs" or "design"; it says what a dict or a bare tuple holds.
    kind: of table, in case the file says which it is; "candidates" are the ids of any kind that has both.

    Raises: InputError where nothing can be made of it.
    """
    raw = _of_file(Content(obj), role) if isinstance(obj, (str, Path)) else memory.read(obj, role)
    names = raw.table.column_names
    if len(set(names)) < len(names):
        twice = next(c for c in names if names.count(c) > 1)
        raise InputError(f"{raw.name}: column {twice!r} is there more than once: keep one of them")
    of_any_kind = kind == "candidates" or (kind == "queries" and raw.find(DOC_ID) is not None)
    if not of_any_kind:  # queries and candidates are read out of pairs and judgments too
        check_kind(raw.table, kind, raw.name)
    if not raw.table.num_rows:
        raise InputError(f"{raw.name} holds no rows; expected at least one {_ROW[kind]}")
    return replace(raw, manifest=read_manifest(raw.path)).bare_cells() if raw.path else raw


def _of_file(content: Content, role: str) -> Raw:
    if content.is_parquet or content.suffix == ".parquet":
        return tabular.read_parquet(content)
    content.require_text()
    match content.suffix:
        case ".csv":
            return tabular.read_csv(content, ",")
        case ".run":
            return trec.read(content, trec.RUN)
        case ".qrels":
            return trec.read(content, trec.QRELS)
        case ".jsonl" | ".ndjson":
            return tabular.read_jsonl(content)
        case ".json":
            return _json(content, role)
    return tabular.read_jsonl(content) if content.head.lstrip()[:1] == b"{" else _sniffed(content)


def _sniffed(content: Content) -> Raw:
    """A file whose name does not say what it is: a table if its first line names a known column, else TREC by its width."""
    first = content.head.removeprefix(b"\xef\xbb\xbf").splitlines()[0].decode(errors="replace")
    for delimiter in ("\t", ","):
        names = {plain_name(name.strip().strip('"')) for name in first.split(delimiter)}
        if names & {*QUERY_ID, *DOC_ID, "query", "user_query"}:
            return tabular.read_csv(content, delimiter)
    columns = trec.columns_of(content)
    if columns is None:
        raise InputError(
            f"{content.name}, line 1: found {short(first)}; expected a header line that names columns, JSON objects, or "
            "TREC lines of 6 fields (run) or 4 (qrels)"
        )
    return trec.read(content, columns)


def _json(content: Content, role: str) -> Raw:
    """A .json file that holds a list of objects, or {query: {document: number}}."""
    try:
        value = json.loads(content.data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{content.name}: no JSON ({error}); for one object a line name it .jsonl") from None
    found = memory.read(value, role)
    return replace(found, name=content.name, form="JSON", path=content.place, stem=content.stem)
