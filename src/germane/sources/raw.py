"""A table as it was found, with the way back from its rows to lines: what every format is read into first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from germane.sources.names import READ, plain_name
from germane.store.checks import Position, listed, short
from germane.store.manifests import Manifest
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa


GUARDED = "guarded"
"""What a manifest calls the columns of a CSV file whose texts were kept from being formulas."""


@dataclass(frozen=True)
class Raw:
    """A table as found. name: in messages. at: where row i stands. text: its numbers are still text."""

    table: pa.Table
    name: str
    form: str
    at: Position = lambda row: f"row {row + 1:,}"
    text: bool = False
    path: str = ""
    stem: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)  # of a Run
    manifest: Manifest | None = None  # of the file, where it has one

    def find(self, names: Iterable[str]) -> str | None:
        """The first column that goes by one of these names; case, spaces and hyphens do not matter."""
        columns = {plain_name(c): c for c in reversed(self.table.column_names)}
        return next((columns[name] for name in names if name in columns), None)

    def require(self, role: str, names: Iterable[str]) -> str:
        """The column of a role.

        Raises: InputError listing what was found and what was expected.
        """
        names = tuple(names)
        column = self.find(names)
        if column is None:
            found = listed(self.table.column_names)
            raise InputError(f"{self.name}: no column for {role}: found {found}; expected {' or '.join(names)}")
        return column

    def with_table(self, table: pa.Table) -> Raw:
        return replace(self, table=table)

    def bare_cells(self) -> Raw:
        """Without the apostrophes that `writing.plain_cells` put before texts, of a file whose manifest says that it did."""
        import pyarrow.compute as pc

        table = self.table
        guarded = self.manifest.extra.get(GUARDED) if self.manifest else None
        for column in (column for column in guarded or () if column in table.column_names):
            at = table.column_names.index(column)
            bare = pc.replace_substring_regex(table[column], pattern=r"^'('*[=+\-@\t\r])", replacement=r"\1")
            table = table.set_column(at, column, bare)
        return self.with_table(table)

    def require_rows(self, what: str) -> None:
        """Raises: InputError if there is no row."""
        if not self.table.num_rows:
            raise InputError(f"{self.name} holds no rows; expected at least one {what}")


def column_of(values: list[Any], column: str, name: str, at: Position) -> Any:
    """An Arrow array of Python values; ids that are whole numbers too large for 64 bits become text.

    So do values of several types in a column that nothing is read from.

    Raises: InputError naming the first value whose type differs from those before it.
    """
    import pyarrow as pa

    try:
        array = pa.array(values)
    except OverflowError:
        return pa.array([None if v is None else str(v) for v in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeEncodeError):
        array = None
    if array is not None and (pa.types.is_boolean(array.type) or not any(isinstance(v, (bool, np.bool_)) for v in values)):
        return array
    if plain_name(column) not in READ and all(v is None or isinstance(v, (str, int, float)) for v in values):
        return pa.array([None if v is None else str(v).encode(errors="replace").decode() for v in values], pa.string())
    kind: type | None = None
    for row, value in enumerate(values):
        if value is None:
            continue
        kind = kind or type(value)
        if not _alike(value, kind):
            raise InputError(
                f"{name}, {at(row)}, column {column!r}: found {short(value)} ({type(value).__name__}); "
                f"expected {kind.__name__} as in the rows before"
            )
        try:
            pa.array([value])
        except (pa.ArrowException, UnicodeEncodeError, TypeError):
            break
    raise InputError(f"{name}, {at(row)}, column {column!r}: found {short(value)}; expected text or a number")


def _alike(value: object, kind: type) -> bool:
    """True if a value may stand in one column with values of this type: a truth value is no number."""
    truths = (bool, np.bool_)
    if isinstance(value, truths) or issubclass(kind, truths):
        return isinstance(value, truths) and issubclass(kind, truths)
    numbers = (int, float, np.number)
    return isinstance(value, kind) or (isinstance(value, numbers) and issubclass(kind, numbers))


def table_of(columns: Mapping[str, list[Any]], name: str, at: Position) -> pa.Table:
    """A table of Python columns; see `column_of`."""
    import pyarrow as pa

    for column in columns:
        if not isinstance(column, str) or column.encode(errors="replace").decode() != column:
            raise InputError(f"{name}: found a column named {short(column)}; expected a name of letters that are Unicode")
    arrays: list[Any] = [column_of(values, column, name, at) for column, values in columns.items()]
    return pa.Table.from_arrays(arrays, list(columns))


def digest(table: pa.Table) -> str:
    """64 hex digits of a table's content, for what came without a file."""
    import pyarrow as pa

    made = hashlib.sha256()
    for batch in table.replace_schema_metadata(None).combine_chunks().to_batches():
        made.update(batch.serialize())
    return made.hexdigest() if isinstance(table, pa.Table) else ""
