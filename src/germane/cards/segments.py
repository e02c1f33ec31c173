"""Segments of gold: popularity, interest, language, kind of document, length, or any column of queries, documents, design."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.cards.bands import NONE, banded
from germane.cards.gold import Pairs
from germane.text import compose_table, words
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Names = NDArray[np.object_]

OF_QUERIES = ("segment", "interest", "stratum", "language")
OF_DOCS = ("type", "kind", "doc_type", "document_type")
"""Columns that are taken without being asked for, where a table has them."""

LENGTH, QUERY_LENGTH = "length", "query length"
"""What is asked for by these names, where no table has such a column: characters of the judged text, words of the query."""

MOST = 20
"""Values of a column that are shown one by one; rarer ones are put together as "(other)"."""


class Segments(NamedTuple):
    """Where a card's segments come from: tables of queries and documents, and the columns to split by (`OF_QUERIES` and
    `OF_DOCS` unless named; "docs.language" is that of documents, where queries have one too). pairs: the judged texts."""

    queries: pa.Table | None = None
    docs: pa.Table | None = None
    by: tuple[str, ...] = ()
    pairs: pa.Table | None = None


class Dimension(NamedTuple):
    """A column's value for each gold pair, and for each query where it is one of queries. order: of its values, if known."""

    of_pairs: Names
    of_queries: Names | None
    order: tuple[str, ...] = ()

    def names(self, rows: NDArray[np.bool_]) -> list[str]:
        """The values that these pairs have, in their order."""
        place = {name: at for at, name in enumerate(self.order)}
        return sorted(set(self.of_pairs[rows].tolist()), key=lambda name: (place.get(name, len(place)), name))


def dimensions(pairs: Pairs, segments: Segments, design: pa.Table | None) -> dict[str, Dimension]:
    """Name of the column -> its values, numbers in bands. Raises: InputError for a column that no table has."""
    tables = {"design": design, "queries": segments.queries, "docs": segments.docs}
    built_in = [name for name in segments.by if name in (LENGTH, QUERY_LENGTH) and not _has(name, tables)]
    named = [name for name in segments.by if name not in built_in]
    wanted = [(name, *_where(name, tables)) for name in named] if segments.by else _usual(tables)
    found: dict[str, Dimension] = {name: _length(name, pairs, segments) for name in built_in}
    for name, kind, column in wanted:
        table = tables[kind]
        assert table is not None
        if table[column].null_count == table.num_rows:
            continue
        if bands := _bands(table, kind, column, pairs):
            found[name] = bands
        elif kind == "docs":
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


def _has(name: str, tables: dict[str, pa.Table | None]) -> bool:
    return any(table is not None and name in table.column_names for table in tables.values())


def _bands(table: pa.Table, kind: str, column: str, pairs: Pairs) -> Dimension | None:
    """A column of numbers in bands; None for one of names, or of few numbers."""
    import pyarrow as pa

    what = table.schema.field(column).type
    if not (pa.types.is_integer(what) or pa.types.is_floating(what) or pa.types.is_decimal(what)):
        return None
    key, ids = ("doc_id", pairs.doc_ids) if kind == "docs" else ("query_id", pairs.query_ids)
    return _in_bands(_found(table, key, column, ids), pairs, of_docs=kind == "docs")


def _in_bands(values: list[Any], pairs: Pairs, *, of_docs: bool) -> Dimension | None:
    """Numbers of gold's pairs (documents) or of its queries, split so that bands hold about as many pairs, or queries."""
    found = banded(values)
    if found is None:
        return None
    return (
        Dimension(found.names, None, found.order) if of_docs else Dimension(found.names[pairs.query], found.names, found.order)
    )


def _length(name: str, pairs: Pairs, segments: Segments) -> Dimension:
    """Characters of the text that the judge read, or words of the query, in bands.

    Raises: InputError where the texts were not given.
    """
    if name == QUERY_LENGTH:
        asked = segments.queries if segments.queries is not None else segments.pairs
        if asked is None:
            raise InputError("--by 'query length' needs the queries' texts: give --queries or --pairs")
        texts = dict(zip(asked["query_id"].to_pylist(), asked["query"].to_pylist(), strict=True))
        counts = [len(words(text)) if (text := texts.get(query)) else None for query in pairs.query_ids]
        return _in_bands(counts, pairs, of_docs=False) or _named(counts, pairs)
    if segments.pairs is not None:
        ids = zip(*(segments.pairs[column].to_pylist() for column in ("query_id", "doc_id")), strict=True)
        read = dict(zip(ids, segments.pairs["text"].to_pylist(), strict=True))
        own = zip(pairs.query_ids[pairs.query].tolist(), pairs.doc_ids.tolist(), strict=True)
        sizes = [None if (text := read.get(pair)) is None else len(text) for pair in own]
    elif segments.docs is not None:
        composed = compose_table(segments.docs).text.to_pylist()
        by_id = dict(zip(segments.docs["doc_id"].to_pylist(), composed, strict=True))
        sizes = [None if (text := by_id.get(doc)) is None else len(text) for doc in pairs.doc_ids]
    else:
        raise InputError("--by length needs the texts that the judge read: give --pairs, or --docs to make them from")
    if not any(size is not None for size in sizes):
        raise InputError("--by length: none of gold's pairs has a text: are query_id and doc_id the same in both?")
    found = banded(sizes)
    return Dimension(found.names, None, found.order) if found else Dimension(_shown(sizes), None)


def _named(counts: list[Any], pairs: Pairs) -> Dimension:
    """Few different numbers of words, each under its own name."""
    names = np.array([NONE if count is None else f"{count} word{'s' * (count != 1)}" for count in counts], dtype=object)
    order = tuple(f"{count} word{'s' * (count != 1)}" for count in sorted({count for count in counts if count is not None}))
    return Dimension(names[pairs.query], names, (*order, NONE))


def _shown(values: list[Any]) -> Names:
    return np.array([NONE if value is None or value == "" else str(value) for value in values], dtype=object)


def _values(table: pa.Table, key: str, column: str, ids: Names) -> Names:
    """The column's value for each id, "(none)" where it has none. Raises: InputError where no id is in the table."""
    return _shown(_found(table, key, column, ids))


def _found(table: pa.Table, key: str, column: str, ids: Names) -> list[Any]:
    """The column's value for each id, None where it has none. Raises: InputError where no id is in the table."""
    rows = dict(zip(table[key].to_pylist(), table[column].to_pylist(), strict=True))
    if not any(name in rows for name in ids):
        raise InputError(f"none of gold's {key} is in the table with column {column!r} (gold: {ids[0]!r}): is it of this gold?")
    return [rows.get(name) for name in ids]


def _few(values: Names) -> Names:
    """The values with all but the `MOST` most frequent put together."""
    kept = [value for value, _ in sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))[:MOST]]
    return values if len(set(values)) <= MOST else np.where(np.isin(values.astype(str), kept), values, "(other)").astype(object)
