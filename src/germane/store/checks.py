"""The check that a table is of its kind: types without loss, nothing missing, nothing twice; errors name the row."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from germane.store.schemas import SCHEMAS, Column, Schema, arrow_type
from germane.types import InputError, Outcome

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CHARACTERS = 10_000  # of an id or a query: anything longer is a document in the wrong column
_FLOAT32_MAX = 3.4028234663852886e38
_LARGE = 200_000  # rows from which hashing first is faster than comparing

Position = Callable[[int], str]


def compute() -> Any:
    """pyarrow.compute, loaded at first use; without types, since its stubs know no plain numbers as arguments."""
    import pyarrow.compute

    return pyarrow.compute


def conform(table: pa.Table, kind: str, *, name: str, at: Position | None = None, parse: bool = False) -> pa.Table:
    """The table with the columns, order and types of its kind, every row checked.

    name: of the file or object, for messages. at: where row i (from 0) stands in it, "row i + 1" by default.
    parse: read numbers out of text, as files without types need. Schema metadata other than germane's is dropped.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    import pyarrow as pa

    schema = SCHEMAS[kind]
    where: Position = at or (lambda row: f"row {row + 1:,}")
    if len(set(table.column_names)) < table.num_columns:
        twice = next(c for c in table.column_names if table.column_names.count(c) > 1)
        raise InputError(f"{name}: column {twice!r} is there more than once: keep one of them")
    fields: list[Any] = []
    columns: list[Any] = []
    for column in schema.columns:
        if column.name not in table.column_names:
            if column.optional:
                continue
            raise InputError(
                f"{name}: column {column.name!r} is missing: found {listed(table.column_names) or 'no columns'}; "
                f"a table of {kind} has {', '.join(c.name for c in schema.columns if not c.optional)}"
            )
        values = conform_column(table[column.name], column, name=name, at=where, parse=parse)
        fields.append(pa.field(column.name, values.type))
        columns.append(values)
    if schema.open:
        known = {c.name for c in schema.columns}
        for extra in (f for f in table.schema if f.name not in known):
            values = table[extra.name]
            if pa.types.is_dictionary(extra.type):
                values = values.cast(extra.type.value_type)
            if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
                values = values.cast(pa.string())
            fields.append(pa.field(extra.name, values.type))
            columns.append(values)
    kept = {key: value for key, value in (table.schema.metadata or {}).items() if key.startswith(b"germane.")}
    built: Any = pa.Table.from_arrays(columns, schema=pa.schema(fields))
    out: pa.Table = built.replace_schema_metadata(kept)
    if kind in _CHECKS:
        _CHECKS[kind](out, name, where)
    _check_duplicates(out, schema, name, where)
    return out


def conform_column(values: Any, column: Column, *, name: str, at: Position, parse: bool = False) -> Any:
    """One column in its type, every row checked; see `conform`.

    Raises: InputError naming the first row that is missing or does not fit.
    """
    made = _cast(values, column, name, at, parse)
    _check_missing(made, column, name, at)
    return made


def _cast(values: Any, column: Column, name: str, where: Position, parse: bool) -> Any:
    """The values as the column's type, without loss."""
    import pyarrow as pa

    pc = compute()

    kind, found = pa.types, values.type
    if kind.is_dictionary(found):
        values = values.cast(found.value_type)
        found = values.type
    target = arrow_type(column.type)
    if str(found) == str(target):  # equals() is blind to the name of a list's items, which concat_tables is not
        return (
            pc.if_else(pc.equal(values, ""), None, values) if parse and column.nullable and kind.is_string(target) else values
        )
    if kind.is_null(found):
        return values.cast(target)
    text = kind.is_string(found) or kind.is_large_string(found) or kind.is_string_view(found)
    number = (kind.is_integer(found) or kind.is_floating(found) or kind.is_decimal(found)) and not kind.is_boolean(found)
    if kind.is_string(target):
        fits = text or kind.is_integer(found)
    elif kind.is_list(target):
        fits = kind.is_list(found) or kind.is_large_list(found) or kind.is_fixed_size_list(found)
    else:
        fits = number or (text and parse)
    if not fits:
        raise InputError(f"{name}: column {column.name!r} has type {found}; expected {target}: write it as {_wanted(column)}")
    if text and not kind.is_string(target):
        values = pc.utf8_trim_whitespace(values)
        values = pc.if_else(pc.equal(values, ""), None, values)
        if kind.is_integer(target):
            values = _parsed(values, pa.float64(), column, name, where) if _has_point(values) else values
    return _parsed(values, target, column, name, where)


def _has_point(values: Any) -> bool:
    pc = compute()

    return bool(pc.any(pc.match_substring(values, ".")).as_py())


def _parsed(values: Any, target: Any, column: Column, name: str, where: Position) -> Any:
    """A safe cast; where it fails, an error that names the first value that does not fit."""
    import pyarrow as pa

    try:
        return values.cast(target)
    except pa.ArrowInvalid:
        for row, value in enumerate(values):
            try:
                value.cast(target)
            except pa.ArrowInvalid:
                raise InputError(
                    f"{name}, {where(row)}, column {column.name!r}: found {short(value.as_py())}; expected {_wanted(column)}"
                ) from None
        raise


def _wanted(column: Column) -> str:
    words = {"string": "text", "float64": "a number", "list<float32>": "a list of numbers"}
    return words.get(column.type, "a whole number")


def _check_missing(values: Any, column: Column, name: str, where: Position) -> None:
    pc = compute()

    if not column.nullable and values.null_count:
        row = pc.index(pc.is_null(values), True).as_py()
        raise InputError(f"{name}, {where(row)}, column {column.name!r}: empty; expected {_wanted(column)}")
    if column.name in ("query_id", "doc_id", "query", "stratum") and len(values):
        stripped = pc.utf8_trim_whitespace(values) if column.name == "query" else values
        sizes = pc.binary_length(stripped)
        row = pc.index(sizes, 0).as_py() if pc.min(sizes).as_py() == 0 else -1
        if row >= 0:
            raise InputError(f"{name}, {where(row)}, column {column.name!r}: empty; expected text that {column.meaning}")
        if pc.max(pc.binary_length(values)).as_py() > MAX_CHARACTERS:
            long = pc.greater(pc.utf8_length(values), MAX_CHARACTERS)
            row = pc.index(long, True).as_py()
            if row >= 0:
                raise InputError(
                    f"{name}, {where(row)}, column {column.name!r}: {len(values[row].as_py()):,} characters; expected at "
                    f"most {MAX_CHARACTERS:,}: is a document's text in this column?"
                )


def _check_run(table: Any, name: str, where: Position) -> None:
    pc = compute()

    bad = pc.invert(pc.less_equal(pc.abs(table["score"]), _FLOAT32_MAX))  # NaN too: it is never less or equal
    row = pc.index(bad, True).as_py()
    if row >= 0:
        query, doc, score = (table[c][row].as_py() for c in ("query_id", "doc_id", "score"))
        raise InputError(
            f"{name}, {where(row)}, column 'score': found {score} for query {short(query)}, document {short(doc)}; "
            "expected a finite number (single precision, as ranks are made from it)"
        )


def _check_judgments(table: Any, name: str, where: Position) -> None:
    import pyarrow as pa

    pc = compute()

    outcomes = [str(o) for o in Outcome]
    row = pc.index(pc.is_in(table["outcome"], pa.array(outcomes)), False).as_py()
    if row >= 0:
        found = table["outcome"][row].as_py()
        raise InputError(f"{name}, {where(row)}, column 'outcome': found {found!r}; expected one of {', '.join(outcomes)}")
    labelled = pc.equal(table["outcome"], str(Outcome.LABEL))
    row = pc.index(pc.equal(labelled, pc.is_valid(table["relevance"])), False).as_py()
    if row >= 0:
        found = f"relevance {table['relevance'][row].as_py()} with outcome {table['outcome'][row].as_py()!r}"
        raise InputError(f"{name}, {where(row)}: found {found}; expected a relevance exactly where the outcome is 'label'")


def _check_design(table: Any, name: str, where: Position) -> None:
    pc = compute()

    chance = table["inclusion_probability"]
    good = pc.and_(pc.greater(chance, 0), pc.less_equal(chance, 1))
    row = pc.index(good, False).as_py()
    if row >= 0:
        raise InputError(
            f"{name}, {where(row)}, column 'inclusion_probability': found {chance[row].as_py()}; expected above 0 and up to 1"
        )
    row = pc.index(pc.greater(table["population"], 0), False).as_py()
    if row >= 0:
        found = table["population"][row].as_py()
        raise InputError(f"{name}, {where(row)}, column 'population': found {found}; expected 1 or more")
    sizes = table.group_by("stratum").aggregate([("population", "min"), ("population", "max")])
    row = pc.index(pc.equal(sizes["population_min"], sizes["population_max"]), False).as_py()
    if row >= 0:
        stratum, low, high = (sizes[c][row].as_py() for c in ("stratum", "population_min", "population_max"))
        raise InputError(f"{name}: stratum {stratum!r} has populations {low} and {high}; expected the same in all its rows")


_CHECKS: dict[str, Callable[[Any, str, Position], None]] = {
    "runs": _check_run,
    "judgments": _check_judgments,
    "designs": _check_design,
}


def _check_duplicates(table: Any, schema: Schema, name: str, where: Position) -> None:
    """Raise for the first key that two rows share, naming both rows."""
    keys = list(schema.key)
    rows = first_duplicate(table, keys)
    if rows is None:
        return
    first, second = rows
    rest = [c for c in ("score", "relevance", "query", "stratum") if c in table.column_names and c not in keys]
    values = "".join(f" ({c} {short(table[c][first].as_py())} and {short(table[c][second].as_py())})" for c in rest[:1])
    named = ", ".join(f"{c} {short(table[c][first].as_py())}" for c in keys if table[c][first].as_py() != "")
    raise InputError(f"{name}: {where(first)} and {where(second)} both hold {named}{values}; expected one row each: keep one")


def first_duplicate(table: Any, keys: Sequence[str]) -> tuple[int, int] | None:
    """The first two rows that share a key, the earliest such pair; None if every row has its own.

    A large table is hashed first, and only rows with equal hashes are compared.
    """
    import numpy as np
    import pyarrow as pa

    from germane.store.duck import database

    pc = compute()
    table = table.select(keys)
    rows = None
    if table.num_rows > _LARGE:
        with database(keyed=table) as query:
            hashes = query(f"SELECT hash({', '.join(keys)}) AS hash FROM keyed")["hash"].to_numpy()
        ordered = np.sort(hashes)
        rows = np.flatnonzero(np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]]))
        if not len(rows):
            return None
        table = table.take(pa.array(rows))
    table = table.append_column("row", pa.array(np.arange(table.num_rows) if rows is None else rows))
    groups = table.group_by(keys, use_threads=False).aggregate([("row", "min"), ("row", "count")])
    groups = groups.filter(pc.greater(groups["row_count"], 1)).sort_by("row_min")
    if not groups.num_rows:
        return None
    same = functools.reduce(pc.and_, (pc.equal(table[c], groups[c][0]) for c in keys))
    first, second = table["row"].filter(same)[:2].to_pylist()
    return first, second


def short(value: object, limit: int = 60) -> str:
    """A value as it stands in a message: quoted if text, cut if long."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}... ({len(str(value)):,} characters)"


def listed(names: Sequence[str], limit: int = 300) -> str:
    """Names set apart by commas, on one line, cut if long."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in ", ".join(names))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
