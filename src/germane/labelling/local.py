"""Labelling on this machine: equal pairs once, sorted by length, block by block, and the answers in the order of the file."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import sources, store
from germane.judges import as_table, pairs_of
from germane.labelling.blocks import Blocks
from germane.labelling.speed import FEW, latency_ms
from germane.store.files import replacing
from germane.store.tables import check_kind, explained_parquet
from germane.types import InputError, Judge, Judgment

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1024
"""Pairs that are put on disk together: what a kill loses at most."""

SORTED = 16 * BLOCK
"""Pairs that are sorted by length together, so that a batch holds texts of about one length."""

PIECE = 65_536
"""Rows of a file that are read, and written, at once."""

CONTEXT = "context"
_READ = ("query_id", "query", "doc_id", "text")
_LOG = logging.getLogger("germane")


@dataclass(frozen=True)
class PairsFile:
    """A file of pairs, read in pieces if it is parquet. limit: only its first so many rows.

    context: a column of that name is read as well, for a judge that reads it, and makes pairs differ.
    """

    path: Path
    limit: int | None = None
    context: bool = False

    def pieces(self) -> Iterator[pa.Table]:
        """Tables of query_id, query, doc_id and text, in order, every row checked.

        Raises: InputError naming file, row, column, what was found and what was expected.
        """
        left, first = self.limit, 0
        for piece in self._read():
            if left is not None:
                piece = piece.slice(0, left)
                left -= piece.num_rows
            if piece.num_rows:
                whole = store.conform(piece, "pairs", name=str(self.path), at=_at(first))
                yield whole.select([*_READ, *([CONTEXT] if self.context and CONTEXT in whole.column_names else [])])
            first += piece.num_rows
            if left == 0:
                return

    def _read(self) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.path.suffix != ".parquet":
            table = sources.read_pairs(self.path)
            yield from (table.slice(at, PIECE) for at in range(0, table.num_rows, PIECE))
            return
        with explained_parquet(self.path):
            file = pq.ParquetFile(self.path, page_checksum_verification=True)
        empty = file.schema_arrow.empty_table()
        check_kind(empty, "pairs", str(self.path))
        store.conform(empty, "pairs", name=str(self.path))  # names a column that is missing
        more = [CONTEXT] if self.context and CONTEXT in empty.column_names else []
        batches = file.iter_batches(PIECE, columns=[*_READ, *more])
        while True:
            with explained_parquet(self.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield pa.Table.from_batches([batch])


class Labelled(NamedTuple):
    """What a job did. rows: written. computed: pairs of different content that the judge was asked, now or before a kill.

    outcomes: of rows. rows_per_s: that the judge answered. latency_ms: of one pair alone, None if nothing was left to ask.
    cost: of all answers, None where one of them is not known.
    """

    rows: int
    computed: int
    outcomes: dict[str, int]
    seconds: float
    rows_per_s: float
    latency_ms: float | None
    cost: float | None = None


def label(
    judge: Judge, pairs: PairsFile, out: Path, blocks: Blocks, *, block: int | None = None, timed: bool = True
) -> Labelled:
    """Writes the judge's answer to each row of pairs, in their order, as a table of judgments at `out`.

    blocks: opened; what is finished in it is not asked again. block: pairs that are put on disk together, a divisor of
    SORTED; BLOCK by default. timed: a few pairs are asked alone afterwards, to measure the latency.

    Raises: InputError for a file without pairs, one pair twice, and a judge that loses some.
    """
    block = block or BLOCK
    number, computed = same_content(pairs)
    some = _ask(judge, pairs, number, computed, blocks, block)
    latency = None if some is None or not timed else latency_ms(judge, list(pairs_of(some)))
    said, seconds = blocks.read(-(-computed // block))
    place = np.empty(computed, dtype=np.int64)
    place[said["row"].to_numpy()] = np.arange(computed)
    answers = said.drop_columns(["row"]).combine_chunks()
    _LOG.info("writing the table")
    _write(out, pairs, number, place, answers)
    code: Any = answers["outcome"].combine_chunks()
    counts = Counter(code.indices.to_numpy()[place[number]].tolist())
    outcomes = {str(code.dictionary[at]): counts[at] for at in sorted(counts)}
    total = sum(seconds)
    paid = answers["cost"]
    cost = None if paid.null_count else float(paid.to_numpy().sum())
    return Labelled(len(number), computed, outcomes, total, computed / max(total, 1e-9), latency, cost)


def same_content(pairs: PairsFile) -> tuple[NDArray[np.int64], int]:
    """(n,) each row's number by its query and text: 0, 1, ... as they first come; and how many different ones there are.

    Raises: InputError for no rows, and for one query and document twice.
    """
    content, ids = bytearray(), bytearray()
    for piece in pairs.pieces():
        columns: Any = [piece[name].to_pylist() for name in _READ]
        query_id, query, doc_id, text = columns
        if CONTEXT in piece.column_names:
            around = piece[CONTEXT].to_pylist()
            query = [f"{asked}\x1f{said}" if said else asked for asked, said in zip(query, around, strict=True)]
        content += b"".join(map(_digest, query, text))
        ids += b"".join(map(_digest, query_id, doc_id))
    if not content:
        raise InputError(f"{pairs.path} has no pairs: there is nothing to label")
    first = _first(ids)
    if (first != np.arange(len(first))).any():
        row = int(np.flatnonzero(first != np.arange(len(first)))[0])
        raise InputError(
            f"{pairs.path}: row {row + 1:,} names the same query_id and doc_id as row {first[row] + 1:,}: keep one of them"
        )
    first = _first(content)
    new = first == np.arange(len(first))
    return (np.cumsum(new) - 1)[first], int(new.sum())


def _digest(one: str, other: str) -> bytes:
    return hashlib.blake2b(f"{len(one)}:{one}{other}".encode(), digest_size=16).digest()


def _first(digests: bytearray) -> NDArray[np.int64]:
    """(n,) the first row with the digest of each row; digests of 16 bytes."""
    halves = np.frombuffer(bytes(digests), dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: the first row of a group comes first
    new = np.concatenate([[True], (halves[order][1:] != halves[order][:-1]).any(axis=1)])
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def _ask(
    judge: Judge, pairs: PairsFile, number: NDArray[np.int64], computed: int, blocks: Blocks, size: int
) -> pa.Table | None:
    """Finishes every block; a few pairs of different lengths, if there was a block to finish."""
    import pyarrow as pa

    told = _Telling(judge, computed)
    bulk = getattr(judge, "label", None)  # a judge that takes a table
    some = None
    for start, table in _distinct(pairs, number):
        order = _by_length(table)
        for at in range(0, table.num_rows, size):
            rows = order[at : at + size]
            block = (start + at) // size
            if blocks.has(block, len(rows)):
                told.done += len(rows)
                continue
            if some is None:  # spread over the lengths, as the file's pairs are
                some = table.take(np.linspace(0, table.num_rows - 1, min(FEW, table.num_rows)).astype(np.int64))
            since = time.perf_counter()
            said = told.all(bulk(table.take(rows))) if bulk else as_table(told.watched(judge(pairs_of(table.take(rows)))))
            if said.num_rows != len(rows):
                raise InputError(f"judge {judge.name!r} gave {said.num_rows:,} answers for {len(rows):,} pairs: it is broken")
            kept = said.drop_columns(["query_id", "doc_id"]).append_column("row", pa.array(start + rows))
            blocks.commit(block, kept, seconds=time.perf_counter() - since)
    return some


class _Telling:
    """Says how far a job is while answers come in, at most twice a second."""

    def __init__(self, judge: Judge, total: int) -> None:
        self.judge, self.total = judge, total
        self.done, self.asked, self.without = 0, 0, 0
        self.began = self.last = time.perf_counter()

    def watched(self, answers: Iterable[Judgment]) -> Iterator[Judgment]:
        for answer in answers:
            self.done += 1
            self.asked += 1
            self.without += answer.relevance is None
            if (now := time.perf_counter()) - self.last > 0.5:
                self.last = now
                self.tell(now)
            yield answer
        self.tell(time.perf_counter())

    def all(self, answers: pa.Table) -> pa.Table:
        self.done += answers.num_rows
        self.asked += answers.num_rows
        self.without += answers["relevance"].null_count
        self.tell(time.perf_counter())
        return answers

    def tell(self, now: float) -> None:
        rate = self.asked / max(now - self.began, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        parts = [
            f"{self.done:,} of {self.total:,} pairs",
            f"{rate:,.0f} a second" if rate >= 1 else f"{60 * rate:.0f} a minute",
        ]
        parts += [f"{left / 60:,.0f} min left"] if left >= 90 else []
        parts += [f"{self.without:,} without a grade"] if self.without else []
        money = getattr(getattr(self.judge, "spent", None), "money", 0.0)  # of a judge that costs money
        parts += [f"${money:,.2f}"] if money else []
        _LOG.info(", ".join(parts), extra={"done": self.done, "total": self.total})


def _distinct(pairs: PairsFile, number: NDArray[np.int64]) -> Iterator[tuple[int, pa.Table]]:
    """The rows of different content, SORTED at a time, each with the number of its first."""
    import pyarrow as pa

    new = np.concatenate([[True], number[1:] > np.maximum.accumulate(number)[:-1]])
    at, start = 0, 0
    held: list[pa.Table] = []
    for piece in pairs.pieces():
        held.append(piece.filter(pa.array(new[at : at + piece.num_rows])))
        at += piece.num_rows
        while sum(table.num_rows for table in held) >= SORTED:
            table = pa.concat_tables(held)
            yield start, table.slice(0, SORTED)
            start, held = start + SORTED, [table.slice(SORTED)]
    if rest := sum(table.num_rows for table in held):
        yield start, pa.concat_tables(held).slice(0, rest)


def _by_length(table: pa.Table) -> NDArray[np.int64]:
    """Rows from the longest to the shortest: what does not fit into memory fails at once."""
    import pyarrow.compute as pc

    lengths: Any = pc.add(pc.binary_length(table["query"]), pc.binary_length(table["text"]))
    return np.argsort(-lengths.to_numpy().astype(np.int64), kind="stable")


def _write(out: Path, pairs: PairsFile, number: NDArray[np.int64], place: NDArray[np.int64], answers: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = store.SCHEMAS["judgments"]
    schema = kind.arrow().with_metadata({b"germane.kind": b"judgments", b"germane.schema_version": str(kind.version).encode()})
    at, told = 0, -1
    with replacing(out) as file, pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
        for piece in pairs.pieces():
            taken = answers.take(place[number[at : at + piece.num_rows]])
            whole: Any = {"query_id": piece["query_id"], "doc_id": piece["doc_id"]}
            whole |= {name: taken[name].cast(schema.field(name).type) for name in taken.column_names}
            whole["cost"] = _once(whole["cost"], number[at : at + piece.num_rows], told)
            told = max(told, int(number[at : at + piece.num_rows].max()))
            writer.write_table(pa.table(whole).select(schema.names).cast(schema), row_group_size=PIECE)
            at += piece.num_rows


def _once(cost: Any, number: NDArray[np.int64], told: int) -> Any:
    """The cost of each row's answer, 0 where a row before it had the same: so the column adds up to what was paid."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = number > np.maximum.accumulate(np.concatenate([[told], number]))[:-1]
    kept: Any = pc.or_(pa.array(first), pc.is_null(cost))
    return cost if first.all() else pc.if_else(kept, cost, pa.scalar(0.0, cost.type))


def _at(first: int) -> Any:
    return lambda row: f"row {first + row + 1:,}"
