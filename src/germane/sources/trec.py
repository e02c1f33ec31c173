"""TREC runs (`query Q0 document rank score tag`) and qrels (`query 0 document label`), columns set apart by white space."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from germane.sources.content import Content
from germane.sources.raw import Raw
from germane.store.checks import compute, short
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

RUN = ("query_id", "Q0", "doc_id", "rank", "score", "tag")
_WHITE = r"[\s\v\x1c-\x1f\x{85}\p{Z}]"  # what any reader of these files, in C or in Python, may split at
QRELS = ("query_id", "iteration", "doc_id", "relevance")


def columns_of(content: Content) -> tuple[str, ...] | None:
    """The columns that the number of fields in the first line speaks for; None if it is neither a run nor qrels."""
    first = next(line for line in content.head.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip())
    return {6: RUN, 4: QRELS}.get(len(first.split()))


def read(content: Content, columns: tuple[str, ...]) -> Raw:
    """The rows of a TREC file, all as text.

    Raises: InputError naming the first line with another number of fields, or that is not UTF-8.
    """
    content.require_text()
    table = _fast(content, columns)
    if table is None:
        table = _slow(content, columns)
    form = "TREC run" if columns == RUN else "TREC qrels"

    def at(row: int) -> str:
        filled = (number for number, line in enumerate(content.lines(), 1) if line.strip())
        return f"line {next(number for index, number in enumerate(filled) if index == row):,}"

    return Raw(table, content.name, form, at=at, text=True, path=content.place, stem=content.stem)


def _fast(content: Content, columns: tuple[str, ...]) -> pa.Table | None:
    """The table by pyarrow's CSV reader: as it stands, else with runs of white space made one; None if that fails too."""
    first = content.head.split(b"\n", 1)[0]
    delimiter = "\t" if b"\t" in first else " "
    table = _parse(content.open(), columns, delimiter)
    if table is None:
        lines = re.sub(rb"[ \t\f\v]+", b" ", content.data)
        table = _parse(io.BytesIO(re.sub(rb"(?m)^ | (?=\r?$)", b"", lines)), columns, " ")
    return table


def _parse(stream: Any, columns: tuple[str, ...], delimiter: str) -> pa.Table | None:
    import pyarrow as pa
    from pyarrow import csv

    pc = compute()
    kept = [c for c in columns if c not in ("Q0", "rank", "tag", "iteration")]
    with stream:
        try:
            table = csv.read_csv(
                stream,
                read_options=csv.ReadOptions(column_names=list(columns), block_size=1 << 24),
                parse_options=csv.ParseOptions(delimiter=delimiter, quote_char=False, double_quote=False),
                convert_options=csv.ConvertOptions(
                    column_types={c: pa.string() for c in columns},
                    include_columns=kept,
                    strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
    others = [mark for mark in " \t\v\f" if mark != delimiter]
    odd = any(
        pc.any(pc.equal(table[c], "")).as_py() or any(pc.any(pc.match_substring(table[c], o)).as_py() for o in others)
        for c in kept
    )  # an empty field is a double separator; white space inside one is another separator
    return None if odd else table


def _slow(content: Content, columns: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa

    rows = []
    for number, line in enumerate(content.lines(), 1):
        fields = line.split()
        if fields and len(fields) != len(columns):
            raise InputError(
                f"{content.name}, line {number:,}: found {len(fields)} fields ({short(line.decode())}); "
                f"expected {len(columns)}: {' '.join(columns)}"
            )
        if fields:
            rows.append([field.decode() for field in fields])
    return pa.Table.from_arrays([pa.array(values, pa.string()) for values in zip(*rows, strict=True)], list(columns))


def run_lines(table: pa.Table, tag: str, name: str) -> bytes:
    """The lines of a run: `query Q0 document rank score tag`; scores have the digits that give them back exactly.

    Raises: InputError for an id with white space, which this format cannot hold.
    """
    import pyarrow as pa

    _require_plain(table, name)
    tag = re.sub(r"\s+", "_", tag.strip()) or "germane"
    rank, score = (table[c].cast(pa.string()) for c in ("rank", "score"))
    q0, tags = (pa.repeat(text, table.num_rows) for text in ("Q0", tag))
    return _lines([table["query_id"], q0, table["doc_id"], rank, score, tags])


def qrel_lines(table: pa.Table, name: str) -> bytes:
    """The lines of qrels, `query 0 document relevance`; what has no relevance is left out: qrels have no word for it.

    Raises: InputError for an id with white space, which this format cannot hold.
    """
    import pyarrow as pa

    pc = compute()
    table = table.filter(pc.is_valid(table["relevance"]))
    _require_plain(table, name)
    zero = pa.repeat("0", table.num_rows)
    return _lines([table["query_id"], zero, table["doc_id"], table["relevance"].cast(pa.string())])


def _lines(columns: list[Any]) -> bytes:
    """Columns of text set apart by spaces, a row a line."""
    import pyarrow as pa
    from pyarrow import csv

    table = pa.Table.from_arrays(columns, [str(i) for i in range(len(columns))])
    out = io.BytesIO()
    try:
        csv.write_csv(table, out, csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none"))
    except pa.ArrowInvalid:  # an id holds a quotation mark
        rows = compute().binary_join_element_wise(*columns, " ")
        return "".join(f"{row}\n" for row in rows.to_pylist()).encode()
    return out.getvalue()


def _require_plain(table: pa.Table, name: str) -> None:
    pc = compute()
    for column in ("query_id", "doc_id"):
        row = pc.index(pc.match_substring_regex(table[column], _WHITE), True).as_py()
        if row >= 0:
            raise InputError(
                f"cannot write {name}: {column} {short(table[column][row].as_py())} holds white space, which TREC files "
                "use between columns: write .csv, .jsonl or .parquet"
            )
