"""What a job has to do, written down before it begins: which rows are one, which are known, and the blocks of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.labelling.asking import Task
from germane.labelling.blocks import Blocks
from germane.labelling.content import Numbers, contents
from germane.labelling.known import Known
from germane.labelling.reading import PairsFile
from germane.store.files import replacing
from germane.store.schemas import SCHEMAS
from germane.store.tables import explained_parquet
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1024
"""Pairs that are put on disk together: what a kill loses at most."""

SORTED = 16 * BLOCK
"""Pairs that are sorted together: by length, so that a batch holds texts of about one length, or by query."""

_ROWS, _FAULTS, _KNOWN = "rows.parquet", "faults.parquet", "known.parquet"
_BLOCK = b"germane.block"


@dataclass(frozen=True)
class Work:
    """The plan of a job. number, different, faults: as of `contents`. block: pairs that are asked, and put on disk, together.

    asked: (different,) which of the different pairs nobody knows.
    """

    number: Numbers
    different: int
    faults: pa.Table
    block: int
    asked: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Pairs to be asked."""
        return int(np.count_nonzero(self.asked))

    @property
    def window(self) -> int:
        """Pairs that are sorted together: whole blocks, of about SORTED pairs."""
        return self.block * max(1, SORTED // self.block)

    @property
    def blocks(self) -> int:
        return -(-self.count // self.block)


def planned(pairs: PairsFile, blocks: Blocks, block: int, known: Known | None) -> Work:
    """The plan of a job: as it was written down when the job began, or a new one.

    So a block holds the same pairs however often the job was killed, whatever came into the judgment store meanwhile.

    Raises: InputError as `contents`, and where the plan cannot be written.
    """
    if (work := _begun(blocks)) is not None:
        return work
    blocks.clear()
    found = contents(pairs, blocks.folder)
    asked = np.ones(found.different, dtype=bool)
    _write(blocks, _FAULTS, iter([found.faults]))
    if known is not None:
        _write(blocks, _KNOWN, _marked(known.answers(_firsts(pairs, found.number)), asked))
    _write(blocks, _ROWS, _numbers(found.number), {_BLOCK: str(block).encode()})
    return Work(found.number, found.different, found.faults, block, asked)


def _marked(answers: Iterator[pa.Table], asked: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The answers, their numbers marked as not to be asked; at least one table, so that the file has its columns."""
    import pyarrow as pa

    schema = SCHEMAS["judgments"].arrow().append(pa.field("number", pa.int64()))
    yield pa.schema([field for field in schema if field.name not in ("query_id", "doc_id")]).empty_table()
    for table in answers:
        asked[table["number"].to_numpy()] = False
        yield table


def _numbers(number: Numbers) -> Iterator[pa.Table]:
    import pyarrow as pa

    for at in range(0, len(number), 1 << 20):
        some: Any = number[at : at + (1 << 20)]
        yield pa.table({"number": some})


def _write(blocks: Blocks, name: str, tables: Iterator[pa.Table], more: dict[bytes, bytes] | None = None) -> None:
    import pyarrow.parquet as pq

    table = next(tables)
    schema = table.schema.with_metadata(more or {})
    with (
        replacing(blocks.folder / name, sweep=False) as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        writer.write_table(table.cast(schema))
        for table in tables:
            writer.write_table(table.cast(schema))


def _begun(blocks: Blocks) -> Work | None:
    """The plan that was written down; None where there is none, or one that cannot be read."""
    import pyarrow.parquet as pq

    if not (blocks.folder / _ROWS).is_file():
        return None
    try:
        with explained_parquet(blocks.folder / _ROWS):
            file = pq.ParquetFile(blocks.folder / _ROWS, page_checksum_verification=True)
            block = int(file.schema_arrow.metadata[_BLOCK])
            number = np.concatenate([b["number"].to_numpy() for b in file.iter_batches(1 << 20)])
            faults = pq.ParquetFile(blocks.folder / _FAULTS, page_checksum_verification=True).read()
            asked = np.ones(int(number.max()) + 1, dtype=bool)
            for table in known_answers(blocks, ["number"]):
                asked[table["number"].to_numpy()] = False
    except InputError:
        return None
    return Work(number, len(asked), faults, block, asked)


def known_answers(blocks: Blocks, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """What the judgment store knew when the job began: number, and the columns of a judgment without its ids; by number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not (blocks.folder / _KNOWN).is_file():
        return
    with explained_parquet(blocks.folder / _KNOWN):
        file = pq.ParquetFile(blocks.folder / _KNOWN, page_checksum_verification=True)
        for batch in file.iter_batches(1 << 16, columns=columns):
            yield pa.Table.from_batches([batch])


def tasks(pairs: PairsFile, work: Work, blocks: Blocks, *, by_query: bool = False) -> Iterator[Task]:
    """The blocks of the pairs that nobody knows, the longest first within a window of them, so that what does not fit into
    memory fails at once; by_query: those of one query together, in the order in which queries first come. One that is
    finished comes without its pairs: its table has no rows.
    """
    start = 0
    for numbers, table in _together(_firsts(pairs, work.number, work.asked), work.window):
        order = _by_query(table) if by_query else _by_length(table)
        for at in range(0, len(order), work.block):
            rows = order[at : at + work.block]
            number = (start + at) // work.block
            done = blocks.has(number, len(rows))
            yield Task(number, numbers[rows], table.slice(0, 0) if done else table.take(rows))
        start += len(order)


def _firsts(
    pairs: PairsFile, number: Numbers, asked: NDArray[np.bool_] | None = None
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """The different pairs as they first come, with their numbers; only those that are to be asked, if that is said.

    Raises: InputError where a row that could be read no longer can.
    """
    import pyarrow as pa

    told = -1
    for piece in pairs.read():
        here = number[piece.first : piece.first + piece.table.num_rows]
        new = here > np.maximum.accumulate(np.concatenate([[told], here]))[:-1]
        told = max(told, int(here.max()))
        if asked is not None:
            new[new] = asked[here[new]]
        if piece.why is not None and (new & piece.why.is_valid().to_numpy(zero_copy_only=False)).any():
            raise InputError(f"{pairs.path} changed, or can no longer be read, while it was labelled")
        if new.any():
            yield here[new].astype(np.int64), piece.table if new.all() else piece.table.filter(pa.array(new))


def _together(
    pieces: Iterator[tuple[NDArray[np.int64], pa.Table]], window: int
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """The same rows, a window at a time."""
    import pyarrow as pa

    numbers: list[NDArray[np.int64]] = []
    held: list[pa.Table] = []
    for some, piece in pieces:
        numbers.append(some)
        held.append(piece)
        if sum(map(len, numbers)) < window:
            continue
        whole, table = np.concatenate(numbers), pa.concat_tables(held)
        ends = range(window, len(whole) + 1, window)
        for end in ends:
            yield whole[end - window : end], table.slice(end - window, window).combine_chunks()
        numbers, held = [whole[ends[-1] :]], [table.slice(ends[-1])]
    if rest := sum(map(len, numbers)):
        yield np.concatenate(numbers), pa.concat_tables(held).slice(0, rest).combine_chunks()


def _by_length(table: pa.Table) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    lengths: Any = pc.add(pc.binary_length(table["query"]), pc.binary_length(table["text"]))
    return np.argsort(-lengths.to_numpy().astype(np.int64), kind="stable")


def _by_query(table: pa.Table) -> NDArray[np.int64]:
    """Query and context, which prompts begin with: those that are equal come together."""
    import pyarrow.compute as pc

    begins: Any = table["query"]
    if "context" in table.column_names:
        context: Any = table["context"]
        begins = pc.binary_join_element_wise(begins, pc.fill_null(context, ""), "\0")
    codes = begins.combine_chunks().dictionary_encode().indices
    return np.argsort(codes.to_numpy(zero_copy_only=False).astype(np.int64), kind="stable")
