"""Segments of gold: popularity, interest, language, kind of document, or any column of queries, documents and design."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.cards.gold import Pairs
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Names = NDArray[np.object_]

OF_QUERIES = ("segment", "interest", "stratum", "language")
OF_DOCS = ("type", "kind", "doc_type", "document_type")
"""Columns that are taken without being asked for, where a table has them."""

MOST = 20
"""Values of a column that are shown one by one; rarer ones are put together as "(other)"."""


class Segments(NamedTuple):
    """Where a card's segments come from: tables of queries and documents, and the columns to split by (`OF_QUERIES` and
    `OF_DOCS` unless named; "docs.language" is that of documents, where queries have one too)."""

    queries: pa.Table | None = None
    docs: pa.Table | None = None
    by: tuple[str, ...] = ()


class Dimension(NamedTuple):
    """A column's value for each gold pair, and for each query where it is one of queries."""

    of_pairs: Names
    of_queries: Names | None


def dimensions(pairs: Pairs, segments: Segments, design: pa.Table | None) -> dict[str, Dimension]:
    """Name of the column -> its values. Raises: InputError for a column that no table has."""
    tables = {"design": design, "queries": segments.queries, "docs": segments.docs}
    wanted = [(name, *_where(name, tables)) for name in segments.by] if segments.by else _usual(tables)
    found: dict[str, Dimension] = {}
    for name, kind, column in wanted:
        table = tables[kind]
        assert table is not None
        if table[column].null_count == table.num_rows:
            continue
        if kind == "docs":
            found[name] = Dimension(_few(_values(table, "doc_id", column, pairs.doc_ids)), None)
        else:
            of = _values(table, "query_id", column, pairs.query_ids)
            kept = _few(of[pairs.query])
            names = np.where(np.isin(of.astype(str), kept.astype(str)), of, "(other)").astype(object)
            found[name] = Dimension(kept, names)
    return {name: values for name, values in found.items() if len(set(values.of_pairs)) > 1 or name in segments.by}


def _usual(tables: dict[str, pa.Table | None]) -> list[tuple[str, str, str]]:
    """(name, table, column) of the columns that are taken unasked: of the first table that has one."""
    found = []
    for name in (*OF_QUERIES, *OF_DOCS):
        kinds = ("design", "queries") if name in OF_QUERIES else ("docs",)
        kind = next((k for k in kinds if (table := tables[k]) is not None and name in table.column_names), None)
        found += [(name, kind, name)] if kind else []
    return found


def _where(name: str, tables: dict[str, pa.Table | None]) -> tuple[str, str]:
    """(table, column) of a column that was asked for."""
    kind, dot, column = name.partition(".")
    among = [kind] if dot and kind in tables else list(tables)
    column = column if dot and kind in tables else name
    for each in among:
        table = tables[each]
        if table is not None and column in table.column_names:
            return each, column
    have = [f"{kind} has {', '.join(t.column_names)}" for kind, t in tables.items() if t is not None]
    raise InputError(f"--by {name}: no such column; {'; '.join(have) or 'give the table of --queries, --docs or --design'}")


def _values(table: pa.Table, key: str, column: str, ids: Names) -> Names:
    """The column's value for each id, "(none)" where it has none. Raises: InputError where no id is in the table."""
    rows = dict(zip(table[key].to_pylist(), table[column].to_pylist(), strict=True))
    if not any(name in rows for name in ids):
        raise InputError(f"none of gold's {key} is in the table with column {column!r} (gold: {ids[0]!r}): is it of this gold?")
    found = (rows.get(name) for name in ids)
    return np.array(["(none)" if value is None or value == "" else str(value) for value in found], dtype=object)


def _few(values: Names) -> Names:
    """The values with all but the `MOST` most frequent put together."""
    kept = [value for value, _ in sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))[:MOST]]
    return values if len(set(values)) <= MOST else np.where(np.isin(values.astype(str), kept), values, "(other)").astype(object)
