"""Which rows of a file hold the same words: numbers by content, found with 12 bytes of memory a row, whatever the texts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.labelling.reading import CONTEXT, IDS, PairsFile, Piece
from germane.store.checks import MAX_CHARACTERS, compute
from germane.store.duck import connected
from germane.store.files import explained
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = NDArray[np.integer[Any]]

PART = 1 << 20
"""Rows whose digests are sorted together, and held in memory."""

HELD = 8 << 20  # bytes of digests, above which a part waits on disk
MOST = 256  # parts: a file of each is open


class Contents(NamedTuple):
    """number: (n,) of each row by its query and text, 0, 1, ... as they first come; -1 for one that cannot be labelled.

    faults: those rows: row (from 0), query_id, doc_id, reason, and whether both ids are there.
    """

    number: Numbers
    different: int
    faults: pa.Table


def contents(pairs: PairsFile, spill: Path | None = None) -> Contents:
    """Which rows hold the same words. spill: a folder on a disk with room for 48 bytes a row.

    Raises: InputError for no rows, for one query and document twice, and where no row can be labelled.
    """
    rows, faults = 0, []
    with explained(spill or "temporary files"), _Parts(pairs.size(), spill) as words, _Parts(pairs.size(), spill) as ids:
        for piece, content, names in _digests(pairs):
            rows += piece.table.num_rows
            place = np.arange(piece.first, rows, dtype=np.uint64)
            if piece.why is not None:
                bad = piece.why.is_valid()
                faults.append(_faulty(piece, bad))
                sound = ~bad.to_numpy(zero_copy_only=False)
                named = sound.copy()
                named[~sound] = faults[-1]["named"].to_numpy()
                words.add(content[sound], place[sound])
                ids.add(names[named], place[named])
                continue
            words.add(content, place)
            ids.add(names, place)
        if not rows:
            raise InputError(f"{pairs.path} has no pairs: there is nothing to label")
        _no_pair_twice(pairs, ids)
        number, different = _numbered(rows, words, faults)
    found = Contents(number, different, _together(faults))
    if not different:
        reason = found.faults["reason"][0].as_py()
        raise InputError(f"{pairs.path}: none of its {rows:,} rows can be labelled; of row 1, {reason}")
    return found


def same_content(pairs: PairsFile) -> tuple[Numbers, int]:
    """(n,) the number by its words of each row that can be labelled, and how many different ones there are.

    Raises: as `contents`.
    """
    found = contents(pairs)
    return found.number[found.number >= 0], found.different


def _numbered(rows: int, words: _Parts, faults: list[pa.Table]) -> tuple[Numbers, int]:
    kind: Any = np.int32 if rows < 2**31 else np.int64
    first = np.arange(rows, dtype=kind)
    for row, before in words.repeats():
        first[row.astype(np.int64)] = before
    new = first == np.arange(rows, dtype=kind)
    for table in faults:
        new[table["row"].to_numpy()] = False
    number = np.cumsum(new, dtype=kind)
    number -= 1
    number = number[first]
    for table in faults:
        number[table["row"].to_numpy()] = -1
    return number, int(np.count_nonzero(new))


def _digests(pairs: PairsFile) -> Iterator[tuple[Piece, NDArray[np.uint64], NDArray[np.uint64]]]:
    """Pieces, and of each row 128 bits of what a judge reads, and 128 that equal ids share."""
    with connected() as database:
        for piece in pairs.read():
            database.register("piece", piece.table)
            # a context is set apart by a letter that no text needs; the length says where the query ends
            said = "|| coalesce(nullif(context, '') || chr(31), '')" if CONTEXT in piece.table.column_names else ""
            found = database.sql(
                f"""SELECT unhex(left(sha256(strlen(query) || ':' || query {said} || text), 32)) AS words,
                hash(query_id) AS query, hash(doc_id) AS doc FROM piece"""
            ).to_arrow_table()
            names = np.column_stack([found["query"].to_numpy(), found["doc"].to_numpy()])
            yield piece, _sixteen_bytes(found["words"]), names


def _sixteen_bytes(column: Any) -> NDArray[np.uint64]:
    """(n, 2) of values of 16 bytes; zeros for none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    filled: Any = pc.fill_null(column, b"\0" * 16).combine_chunks()
    whole = filled.cast(pa.binary(16))
    return np.frombuffer(whole.buffers()[1], dtype=np.uint64)[2 * whole.offset :][: 2 * len(whole)].reshape(-1, 2)


def _no_pair_twice(pairs: PairsFile, ids: _Parts) -> None:
    """Raises: InputError naming the first two rows of the same query_id and doc_id."""
    suspects = {int(row): int(before) for rows, first in ids.repeats() for row, before in zip(rows, first, strict=True)}
    if not suspects:
        return
    wanted = np.unique(np.fromiter((at for both in suspects.items() for at in both), np.int64))
    said: dict[int, tuple[Any, ...]] = {}
    for piece in pairs.read(IDS):
        here = wanted[(wanted >= piece.first) & (wanted < piece.first + piece.table.num_rows)]
        for row, names in zip(here.tolist(), piece.table.take(here - piece.first).to_pylist(), strict=True):
            said[row] = tuple(names.values())
    for row in sorted(suspects):
        if said[row] == said[suspects[row]]:  # and not only their digests
            raise InputError(
                f"{pairs.path}: row {row + 1:,} names the same query_id and doc_id as row {suspects[row] + 1:,}: keep one of "
                "them"
            )


def _faulty(piece: Piece, bad: Any) -> pa.Table:
    import pyarrow as pa

    pc = compute()

    why: Any = piece.why
    place: Any = pa.array(np.arange(piece.first, piece.first + piece.table.num_rows))
    whole = piece.table.select(IDS).add_column(0, "row", place).append_column("reason", why).filter(bad)
    sizes: Any = [pc.fill_null(pc.utf8_length(whole[name]), 0) for name in IDS]
    good = [pc.and_(pc.greater(size, 0), pc.less_equal(size, MAX_CHARACTERS)) for size in sizes]
    return whole.append_column("named", pc.and_(*good))


def _together(faults: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    fields: Any = [("row", pa.int64()), *((name, pa.string()) for name in IDS), ("reason", pa.string()), ("named", pa.bool_())]
    none: Any = pa.schema(fields).empty_table()
    return pa.concat_tables([none, *faults]).combine_chunks()


class _Parts:
    """Digests of rows, put apart by their first bits, so that equal ones meet in one part that fits in memory."""

    def __init__(self, rows: int, folder: Path | None) -> None:
        self._many = min(MOST, 1 << max(0, (rows - 1) // PART).bit_length())
        self._folder = folder
        self._files: list[Any] = []
        self._open: Any = tempfile.SpooledTemporaryFile

    def __enter__(self) -> _Parts:
        most = max(HELD // self._many, 1 << 16)
        self._files = [self._open(max_size=most, dir=self._folder) for _ in range(self._many)]
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, digests: NDArray[np.uint64], rows: NDArray[np.uint64]) -> None:
        """digests: (n, 2). rows: (n,), larger at each call."""
        whole = np.column_stack([digests, rows])
        part = (digests[:, 0] * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(56)).astype(np.int64) % self._many
        order = np.argsort(part, kind="stable")
        ends = np.searchsorted(part[order], np.arange(self._many + 1))
        whole = np.ascontiguousarray(whole[order])
        for file, start, end in zip(self._files, ends[:-1], ends[1:], strict=True):
            file.write(whole[start:end].tobytes())

    def repeats(self) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint64]]]:
        """Rows whose digest a row before them has, and the first row that has it; part by part."""
        for file in self._files:
            file.seek(0)
            yield _repeats(np.frombuffer(file.read(), dtype=np.uint64).reshape(-1, 3))


def _repeats(whole: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    order = np.argsort(whole[:, 0])
    half = whole[order, 0]
    same = half[1:] == half[:-1]
    shared = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    some = whole[order[shared[: len(order)]]]
    some = some[np.lexsort((some[:, 2], some[:, 1], some[:, 0]))]  # by digest, then by row
    new = np.concatenate([[True], (some[1:, :2] != some[:-1, :2]).any(axis=1)])[: len(some)]
    first = some[new, 2][np.cumsum(new) - 1] if len(some) else some[:, 2]
    return some[~new, 2], first[~new]
