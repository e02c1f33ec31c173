"""A catalogue of any size, in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from germane.sources.names import DOC_ID, QUERY_ID
from germane.sources.raw import Raw
from germane.sources.reading import docs_of, read_docs
from germane.store import check_kind, conform
from germane.store.tables import explained_parquet
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PIECE = 16_384
"""Rows that are read at once."""


def docs_in_pieces(path: str | Path) -> tuple[int, Iterator[pa.Table]]:
    """How many documents a file holds, and the documents as `read_docs` has them, in pieces; other files than parquet whole.

    That no id is there twice is known before the first piece.

    Raises: InputError as `read_docs`.
    """
    file = _large(Path(path))
    if file is None:
        table = read_docs(path)
        return table.num_rows, (table.slice(at, PIECE) for at in range(0, table.num_rows, PIECE))
    raw = Raw(file.schema_arrow.empty_table(), str(path), "parquet", path=str(path))
    check_kind(raw.table, "docs", raw.name)
    doc_id = raw.require("doc_id", (*DOC_ID, "_id"))
    with explained_parquet(path):
        ids = file.read(columns=[doc_id])
    conform(ids.rename_columns(["doc_id"]), "docs", name=raw.name)
    return ids.num_rows, _pieces(file, raw)


def _large(path: Path) -> pq.ParquetFile | None:
    """A parquet file whose rows are documents, one each, and more than a piece; None for anything else."""
    import pyarrow.parquet as pq

    if path.suffix != ".parquet" or not path.is_file():
        return None
    with explained_parquet(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
    columns = file.schema_arrow.names
    merged = Raw(file.schema_arrow.empty_table(), str(path), "parquet").find(QUERY_ID)  # with judgments: a row each
    return None if file.metadata.num_rows <= PIECE or merged or len(set(columns)) < len(columns) else file


def _pieces(file: pq.ParquetFile, raw: Raw) -> Iterator[pa.Table]:
    import pyarrow as pa

    batches, first = file.iter_batches(PIECE), 0
    while True:
        with explained_parquet(raw.path):
            batch = next(batches, None)
        if batch is None:
            return
        start = first
        try:
            yield docs_of(replace(raw, table=pa.Table.from_batches([batch]), at=lambda row: f"row {start + row + 1:,}"))  # noqa: B023
        except UnicodeDecodeError as problem:
            raise InputError(f"{raw.name} holds text that is no UTF-8: write or copy it again") from problem
        first += batch.num_rows
