"""A table in a parquet file that is read in pieces: for experiments whose rows do not fit in memory as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from germane.store.duck import threads
from germane.store.tables import explained_parquet, whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

BIG = 1_000_000
"""Rows from which a parquet file is read in pieces; below, one table in memory is as quick."""

PIECE = 1 << 20  # rows read at a time

Prepare = Callable[[Any, int], Any]
Found = TypeVar("Found")


class Stored:
    """Rows in a parquet file that stand where a table could: in pieces for who can, whole for who asks for anything else.

    columns: our name of each column -> its name in the file. schema: of the file, with whose data it is.
    prepare(piece, first): the piece, checked, under our names and types; `first` is the place of its first row in the
    file. load(): the whole table with every check, which is also what names a row that is wrong. kinds: the distinct
    rows of the columns that are no ids, which say who judged.
    """

    def __init__(
        self,
        path: str,
        columns: Mapping[str, str],
        schema: pa.Schema,
        *,
        prepare: Prepare,
        load: Callable[[], pa.Table],
        kinds: pa.Table | None = None,
    ) -> None:
        import pyarrow.parquet as pq

        self.path, self.columns, self._prepare, self._load = path, dict(columns), prepare, load
        self.schema, self.kinds = schema, kinds
        with explained_parquet(path):
            self.metadata = pq.read_metadata(path)
        self._table: pa.Table | None = None

    @property
    def num_rows(self) -> int:
        return int(self.metadata.num_rows)

    @property
    def column_names(self) -> list[str]:
        return list(self.columns)

    def __len__(self) -> int:
        return self.num_rows

    def whole(self) -> pa.Table:
        """All of it in memory, every row checked. Raises: InputError naming the row that is wrong."""
        if self._table is None:
            self._table = self._load()
        return self._table

    def __getitem__(self, column: str) -> Any:
        return self.whole()[column]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.whole(), name)

    def group(self, number: int, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """(place of the first row, piece) of one row group, `PIECE` rows at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        first = sum(self.metadata.row_group(before).num_rows for before in range(number))
        names = [self.columns[column] for column in columns]
        # ids of queries repeat, and so do the columns that say who judged: as dictionaries they are read once each
        repeated = [name for column, name in self.columns.items() if column not in ("doc_id", "score", "probs")]
        with explained_parquet(self.path):
            file = pq.ParquetFile(self.path, metadata=self.metadata, read_dictionary=repeated, page_checksum_verification=True)
            batches = file.iter_batches(PIECE, row_groups=[number], columns=names, use_threads=False)
        while True:
            with explained_parquet(self.path):
                batch = next(batches, None)
                piece = None if batch is None else whole(pa.Table.from_batches([batch]))
            if piece is None:
                return
            yield first, self._prepare(piece.select(names).rename_columns(list(columns)), first)
            first += piece.num_rows


def kinds_of(judgments: Any) -> Any:
    """Judgments for who asks of whom and what they are, and not of which pairs: each kind once where they are stored."""
    return judgments.kinds if isinstance(judgments, Stored) and judgments.kinds is not None else judgments


def in_pieces(source: pa.Table | Stored, columns: Sequence[str], work: Callable[[int, Any], Found]) -> Iterator[Found]:
    """work(place of the first row, piece) of every piece, in the order of the rows; several at a time."""
    if not isinstance(source, Stored):
        table = source.select(list(columns))
        if table.num_rows <= PIECE:  # most experiments: no thread is worth its start
            yield work(0, table)
            return
        with ThreadPoolExecutor(threads()) as pool:
            yield from pool.map(lambda first: work(first, table.slice(first, PIECE)), range(0, table.num_rows, PIECE))
        return

    stored: Stored = source

    def group(number: int) -> list[Found]:
        return [work(first, piece) for first, piece in stored.group(number, columns)]

    with ThreadPoolExecutor(threads()) as pool:
        for found in pool.map(group, range(stored.metadata.num_row_groups)):
            yield from found


def first_of(source: pa.Table | Stored, column: str) -> Any:
    """The value of a column's first row, None if there is none."""
    if isinstance(source, Stored):
        return next(source.group(0, [column]))[1][column][0].as_py() if source.num_rows else None
    return source[column][0].as_py() if source.num_rows else None


def documents_at(source: pa.Table | Stored, rows: NDArray[np.integer[Any]]) -> Any:
    """The document ids at these places, in their order, an Arrow array; of a file, only the parts that hold them are read."""
    import numpy as np
    import pyarrow as pa

    if not isinstance(source, Stored):
        return _one(source["doc_id"].take(rows))
    order = np.argsort(rows, kind="stable")
    wanted = rows[order].astype(np.int64)
    parts: list[Any] = []
    first = 0
    for number in range(source.metadata.num_row_groups):
        last = first + source.metadata.row_group(number).num_rows
        if np.searchsorted(wanted, first) < np.searchsorted(wanted, last):
            for start, piece in source.group(number, ["doc_id"]):
                here: Any = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, start + piece.num_rows)]
                parts.append(_one(piece["doc_id"].take(here - start)))
        first = last
    back = np.empty(len(rows), dtype=np.int64)
    back[order] = np.arange(len(rows))
    return pa.concat_arrays(parts).take(pa.array(back)) if parts else pa.array([], pa.string())


def _one(values: Any) -> Any:
    """One array of a column's chunks."""
    import pyarrow as pa

    if not isinstance(values, pa.ChunkedArray):
        return values
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
