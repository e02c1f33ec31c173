"""`germane schema`: which columns each kind of table has."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from germane.store import SCHEMAS
from germane.types import InputError


class ColumnOf(NamedTuple):
    """One column of one kind of table. needed: "yes", "may be empty" or "may be absent"."""

    kind: str
    column: str
    type: str
    needed: str
    meaning: str


def schema(kind: str | None = None) -> tuple[ColumnOf, ...]:
    """The columns of one kind of table, or of all.

    Raises: InputError for an unknown kind, with the nearest one.
    """
    if kind is not None and kind not in SCHEMAS:
        near = difflib.get_close_matches(kind, SCHEMAS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(SCHEMAS)}"
        raise InputError(f"no table is of kind {kind!r}: {hint}")
    rows = []
    for found in (SCHEMAS[kind],) if kind else SCHEMAS.values():
        for column in found.columns:
            needed = "may be absent" if column.optional else "may be empty" if column.nullable else "yes"
            rows.append(ColumnOf(found.kind, column.name, column.type, needed, column.meaning))
        if found.open:
            meaning = "a field of the document's text" if found.kind == "docs" else "further columns are kept"
            rows.append(ColumnOf(found.kind, "...", "any", "may be absent", meaning))
    return tuple(rows)
