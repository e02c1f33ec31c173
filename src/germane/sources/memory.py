"""Objects that a notebook holds: Arrow tables, data frames, dicts, and lists of named tuples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from germane.sources.raw import Raw, table_of
from germane.store.checks import short
from germane.types import InputError, Run

_NESTED = {  # role -> the columns of {outer: {inner: value}} and of {outer: value}
    "run": ("query_id", "doc_id", "score"),
    "judgments": ("query_id", "doc_id", "relevance"),
    "queries": ("query_id", "query"),
    "docs": ("doc_id", "text"),
}


def read(obj: Any, role: str) -> Raw:
    """The rows of an object.

    role: "run", "judgments", "queries", "docs", "pairs" or "design"; it says what a dict or a bare tuple holds.

    Raises: InputError where it is nothing that can be read.
    """
    import pyarrow as pa

    name = f"the {role} given"
    if isinstance(obj, Run):
        return Raw(obj.table, f"run {obj.name!r}", "table", stem=obj.name, origin=obj.origin)
    if isinstance(obj, (pa.RecordBatch, pa.RecordBatchReader)):
        obj = pa.table(obj) if isinstance(obj, pa.RecordBatch) else obj.read_all()
    if isinstance(obj, pa.Table):
        return Raw(obj, name, "table")
    try:
        if type(obj).__module__.split(".")[0] == "pandas":
            return Raw(pa.Table.from_pandas(obj), name, "data frame")
        if hasattr(obj, "__arrow_c_stream__"):
            return Raw(pa.table(obj), name, "data frame")
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"{name}: a column holds values of several types ({' '.join(map(str, error.args))})") from error
    if isinstance(obj, Mapping):
        return Raw(_of_mapping(obj, role, name), name, "dict")
    if isinstance(obj, Iterable) and not isinstance(obj, (str, bytes)):
        return Raw(_of_rows(list(obj), role, name), name, "list")
    raise InputError(
        f"{name} is a {type(obj).__name__}; expected a path, an Arrow table, a data frame, a dict or a list of rows"
    )


def _of_mapping(obj: Mapping[Any, Any], role: str, name: str) -> Any:
    if role not in _NESTED:
        raise InputError(f"{name} is a dict; expected a path, an Arrow table or a data frame")
    columns = _NESTED[role]
    rows: list[tuple[Any, ...] | dict[str, Any]] = []
    for outer, inner in obj.items():
        if len(columns) == 2:
            rows.append({columns[0]: outer, **inner} if isinstance(inner, Mapping) else (outer, inner))
        elif isinstance(inner, Mapping):
            rows += [(outer, key, value) for key, value in inner.items()]
        else:
            raise InputError(f"{name}: {short(outer)} holds {short(inner)}; expected a dict of {columns[1]} to {columns[2]}")
    return _of_rows(rows, role, name)


def _of_rows(rows: list[Any], role: str, name: str) -> Any:
    columns: dict[str, list[Any]] = {}
    for index, row in enumerate(rows):
        values = _fields(row, role, name, index)
        for column in values:
            if column not in columns:
                columns[column] = [None] * index
        for column, known in columns.items():
            known.append(values.get(column))
    return table_of(columns, name, lambda row: f"row {row + 1:,}")


def _fields(row: Any, role: str, name: str, index: int) -> dict[str, Any]:
    if isinstance(row, Mapping):
        values = dict(row)
    elif hasattr(row, "_asdict"):
        values = row._asdict()
    elif is_dataclass(row) and not isinstance(row, type):
        values = asdict(row)
    elif isinstance(row, (tuple, list)) and len(row) == len(_NESTED.get(role, ())):
        values = dict(zip(_NESTED[role], row, strict=True))
    else:
        raise InputError(f"{name}, row {index + 1:,}: found {short(row)}; expected a named tuple or a dict of columns")
    fields = values.pop("fields", None)  # of types.Doc
    return values | dict(fields) if isinstance(fields, Mapping) else values
