"""CSV, TSV, JSON lines and parquet with named columns, read into a table as found."""

from __future__ import annotations

import csv as python_csv
import io
import json
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from germane.sources.content import Content
from germane.sources.names import IDS, plain_name
from germane.sources.raw import Raw, table_of
from germane.store.checks import Position, short
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(content: Content) -> Raw:
    """The rows of a parquet file, typed.

    Raises: InputError where it is cut short or not parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from germane.store import read_parquet as from_path
    from germane.store.tables import whole

    if content.path is not None and content.path.is_file() and not content.zipped:
        table = from_path(content.path)
    else:
        try:
            table = whole(pq.ParquetFile(io.BytesIO(content.data), page_checksum_verification=True).read())
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{content.name} is not a whole parquet file ({error}): write or copy it again") from error
    return Raw(table, content.name, "parquet", path=content.place, stem=content.stem)


def read_csv(content: Content, delimiter: str) -> Raw:
    """The rows of a CSV or TSV file with a header line; every value is text, "" where empty.

    Raises: InputError naming the first line that does not fit.
    """
    content.require_text()
    with closing(_records(content, delimiter)) as records:
        found = next(records)[0]
    header = [name.strip() for name in found]
    if "" in header or len(set(header)) < len(header):
        raise InputError(
            f"{content.name}, line 1: found columns {short(', '.join(header), 200)}; expected a header line that "
            "names each column, each once"
        )
    table = _fast_csv(content, delimiter, found)
    table = None if table is None or table.column_names != found else table.rename_columns(header)
    if table is None:
        table = _slow_csv(content, delimiter, header)

    def at(row: int) -> str:
        with closing(_records(content, delimiter)) as records:
            return next(f"line {line:,}" for index, (_, line) in enumerate(records) if index == row + 1)

    form = "TSV" if delimiter == "\t" else "CSV"
    return Raw(table, content.name, form, at=at, text=True, path=content.place, stem=content.stem)


def _fast_csv(content: Content, delimiter: str, header: list[str]) -> pa.Table | None:
    import pyarrow as pa
    from pyarrow import csv

    with content.open() as stream:
        try:
            return csv.read_csv(
                stream,
                read_options=csv.ReadOptions(block_size=1 << 24),
                parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=csv.ConvertOptions(column_types={c: pa.string() for c in header}, strings_can_be_null=False),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):  # pyarrow's own messages can hold bytes that are no text
            return None


def _slow_csv(content: Content, delimiter: str, header: list[str]) -> pa.Table:
    import pyarrow as pa

    rows = []
    with closing(_records(content, delimiter)) as records:
        next(records)
        for fields, line in records:
            if len(fields) != len(header):
                raise InputError(
                    f"{content.name}, line {line:,}: found {len(fields)} fields; expected {len(header)}: "
                    f"{short(', '.join(header), 200)} (quote a field that holds the separator)"
                )
            rows.append(fields)
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return pa.Table.from_arrays([pa.array(list(values), pa.string()) for values in columns], header)


def _records(content: Content, delimiter: str) -> Generator[tuple[list[str], int]]:
    """Each record that is not blank, header included, with the line it starts on; in Python, for errors and odd files."""
    start = 1
    with _any_field_size(), io.TextIOWrapper(content.open(), "utf-8-sig", "surrogateescape", newline="") as text:
        reader = python_csv.reader(text, delimiter=delimiter, strict=True)
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except python_csv.Error as error:
                raise InputError(f"{content.name}, line {start:,}: {error}; expected fields quoted as in RFC 4180") from None
            if any("\udc80" <= letter <= "\udcff" for field in fields for letter in field if letter > "\ud7ff"):
                content.lines()  # names the line that is not UTF-8
            if fields:
                yield fields, start
            start = reader.line_num + 1


@contextmanager
def _any_field_size() -> Iterator[None]:
    """Without Python's limit of 131,072 characters a field; queries and ids have a limit of their own, in the schema."""
    before = python_csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        python_csv.field_size_limit(before)


def read_jsonl(content: Content) -> Raw:
    """The rows of a file with one JSON object a line; columns that hold objects are left out.

    Raises: InputError naming the first line that is no object, or whose value has another type than the lines before.
    """
    content.require_text()

    def at(row: int) -> str:
        filled = (number for number, line in enumerate(content.lines(), 1) if line.strip())
        return f"line {next(number for index, number in enumerate(filled) if index == row):,}"

    table = _fast_jsonl(content)
    if table is None:
        table = _slow_jsonl(content, at)
    return Raw(table, content.name, "JSON lines", at=at, path=content.place, stem=content.stem)


def _fast_jsonl(content: Content) -> pa.Table | None:
    """The table by pyarrow's reader; None where it fails, or takes text for times or large ids for decimals."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    try:
        with content.open() as stream:
            table = arrow_json.read_json(stream, arrow_json.ReadOptions(block_size=1 << 24))
        table.validate(full=True)  # UTF-8 too
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    simple = (pa.types.is_string, pa.types.is_int64, pa.types.is_float64, pa.types.is_boolean, pa.types.is_null)
    for column in table.schema:
        kind = column.type.value_type if pa.types.is_list(column.type) else column.type
        if pa.types.is_struct(kind):
            table = table.drop_columns([column.name])
        elif not any(check(kind) for check in simple) or (plain_name(column.name) in IDS and pa.types.is_float64(kind)):
            return None
    return table


def _slow_jsonl(content: Content, at: Position) -> pa.Table:
    rows = []
    for number, line in enumerate(content.lines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{content.name}, line {number:,}: no JSON ({error}); expected one object a line") from None
        if not isinstance(row, dict):
            raise InputError(f"{content.name}, line {number:,}: found {short(row)}; expected an object: {{...}}")
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in names}
    return table_of({name: values for name, values in columns.items() if not _nested(values)}, content.name, at)


def _nested(values: list[Any]) -> bool:
    """True if some of the values are objects, or lists of objects or lists."""
    return any(isinstance(v, dict) or (isinstance(v, list) and any(isinstance(i, (dict, list)) for i in v)) for v in values)
