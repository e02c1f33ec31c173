"""Runs and judgments as whole numbers, in blocks of queries: what is left of millions of rows once their ids are read.

A document is known by 64 bits of its id. Two documents of one query are taken for one with a chance of about 1e-10 in
an experiment of a million queries with 100 documents each; ids decide ties, and stand in reports, as they are.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.store.checks import compute, conform
from germane.store.duck import threads
from germane.store.ranking import falling_key, settled, tied_rows
from germane.store.stored import Stored, documents_at, in_pieces
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

BITS = 12
QUERIES = 1 << BITS
"""Queries a block: some hundred thousand rows, which stay in the processor's cache."""

Ints = NDArray[np.integer[Any]]


class Listed(NamedTuple):
    """Ranked rows of a block of queries, by query and rank. query: number in the block. doc: hash of the id.

    row: place in the run's table. tied: True where a neighbour has the same score.
    """

    query: Ints
    doc: Ints
    row: Ints
    tied: NDArray[np.bool_]

    def at(self, which: NDArray[np.bool_]) -> Listed:
        """These rows alone."""
        return Listed(self.query[which], self.doc[which], self.row[which], self.tied[which])


class Graded(NamedTuple):
    """Judged pairs of a block of queries, in any order. relevance: -1 = no answer. expected: gain by probs, NaN without."""

    query: Ints
    doc: Ints
    relevance: Ints
    expected: NDArray[np.float32] | None


@dataclass(frozen=True)
class Blocks:
    """Blocks by number. twice: some query may name a document more than once. source: where the rows came from."""

    source: Any
    parts: Mapping[int, Any]
    twice: bool


class Numbers:
    """Query ids as whole numbers from 0, in the order in which they are first met; safe to share between threads."""

    def __init__(self) -> None:
        self._hash: Any = np.array([], dtype=np.uint64)
        self._number: Any = np.array([], dtype=np.int32)
        self._ids: list[Any] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._hash)

    @property
    def ids(self) -> Any:
        """The id of each number, an Arrow array."""
        import pyarrow as pa

        return pa.concat_arrays(self._ids) if self._ids else pa.array([], pa.string())

    def of(self, ids: Any) -> NDArray[np.int32]:
        """The number of each id, (n,), in a chunked array; new ones are added."""
        encoded = ids if _is_dictionary(ids) else ids.dictionary_encode()
        encoded = encoded.unify_dictionaries()
        if not len(encoded):
            return np.array([], dtype=np.int32)
        numbers = self._numbers(encoded.chunk(0).dictionary)
        return np.asarray(np.concatenate([numbers[chunk.indices.to_numpy()] for chunk in encoded.chunks]), dtype=np.int32)

    def _numbers(self, distinct: Any) -> NDArray[np.int32]:
        import pyarrow as pa

        hashes = hashed(distinct)
        order = np.argsort(hashes)
        hashes = hashes[order]
        with self._lock:
            at = np.searchsorted(self._hash, hashes)
            known = np.zeros(len(hashes), dtype=bool)
            known[at < len(self._hash)] = self._hash[at[at < len(self._hash)]] == hashes[at < len(self._hash)]
            out = np.empty(len(hashes), dtype=np.int32)
            out[order[known]] = self._number[at[known]]
            new = np.sort(order[~known])  # as they stand in the file
            if len(new):
                out[new] = len(self._hash) + np.arange(len(new), dtype=np.int32)
                self._ids.append(distinct.cast(pa.string()).take(pa.array(new)))
                merged = np.concatenate([self._hash, hashes[~known]])
                sorting = np.argsort(merged)
                self._hash = merged[sorting]
                self._number = np.concatenate([self._number, out[order[~known]]])[sorting]
        return out


def ranked_blocks(source: pa.Table | Stored, numbers: Numbers) -> Blocks:
    """A run as blocks of ranked rows: single-precision scores fall, ties by document id (as bytes) fall too.

    Raises: InputError where a document is twice in a query, or a row does not conform.
    """
    places = np.uint32 if source.num_rows < 1 << 32 else np.int64

    def piece(first: int, table: Any) -> list[tuple[int, tuple[Any, ...]]]:
        falling = falling_key(table["score"].to_numpy())
        if falling is None:
            _named(source, "runs")
        rows = np.arange(first, first + table.num_rows, dtype=places)
        return _split(numbers.of(table["query_id"]), (hashed(table["doc_id"]), rows, falling))

    pieces = _gathered(in_pieces(source, ("query_id", "doc_id", "score"), piece))
    made = dict(_each(lambda number: (number, _ranked(pieces.pop(number))), sorted(pieces)))
    _settle(source, made)
    twice = any(_each(lambda block: _has_twice(block[0].query, block[0].doc), list(made.values())))
    if twice:
        _named(source, "runs")
    parts = {number: block for number, (block, _) in made.items()}
    return Blocks(source, parts, twice)


def graded_blocks(source: pa.Table | Stored, numbers: Numbers, gains: Sequence[float] | None = None) -> Blocks:
    """Judgments as blocks of graded pairs. gains: of each grade, for the gain that `probs` expect, if there are any."""
    wanted = ["query_id", "doc_id", "relevance"]
    if gains is not None and "probs" in source.column_names:
        wanted.append("probs")

    def piece(_: int, table: Any) -> list[tuple[int, tuple[Any, ...]]]:
        columns: tuple[Any, ...] = (hashed(table["doc_id"]), _relevance(table["relevance"]))
        if "probs" in table.column_names:
            columns = (*columns, _expected(table["probs"], np.asarray(gains, dtype=np.float64)))
        return _split(numbers.of(table["query_id"]), columns)

    pieces = _gathered(in_pieces(source, wanted, piece))

    def joined(number: int) -> tuple[int, Graded]:
        query, doc, relevance, *expected = (np.concatenate(column) for column in zip(*pieces.pop(number), strict=True))
        return number, Graded(query, doc, relevance, expected[0] if expected else None)

    parts = dict(_each(joined, sorted(pieces)))
    return Blocks(source, parts, any(_each(lambda block: _has_twice(block.query, block.doc), list(parts.values()))))


def hashed(ids: Any) -> NDArray[np.uint64]:
    """64 bits of each id, (n,): DuckDB's hash of text."""
    import pyarrow as pa

    if _is_dictionary(ids):
        ids = ids.cast(pa.string())
    cursor = _connection(os.getpid()).cursor()
    try:
        cursor.register("named", pa.table({"id": ids}))
        return np.asarray(cursor.execute("SELECT hash(id) AS hash FROM named").fetchnumpy()["hash"], dtype=np.uint64)
    finally:
        cursor.close()


def pair_keys(query: Ints, doc: Ints) -> NDArray[np.uint64]:
    """(n,): the number of a query in its block, and as many bits of the document's hash as fit beside it."""
    high: Any = query.astype(np.uint64) << np.uint64(64 - BITS)
    return np.asarray(high | (doc >> np.uint64(BITS)), dtype=np.uint64)


@functools.cache
def _connection(process: int) -> Any:
    """A connection of this process: one that was forked may not use its parent's."""
    import duckdb

    config: dict[str, Any] = {"threads": 1, "autoinstall_known_extensions": False, "python_enable_replacements": False}
    return duckdb.connect(":memory:", config=config)


def _each(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
    """work(item) of every item, in order, several at a time where there are several."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(work, items))


def _is_dictionary(ids: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(ids.type))


def _split(number: NDArray[np.int32], columns: tuple[Any, ...]) -> list[tuple[int, tuple[Any, ...]]]:
    """(block, (query in the block, *columns)) for each block that has rows here."""
    if not len(number):
        return []
    block: Any = (number >> BITS).astype(np.uint16 if int(number.max()) >> BITS < 1 << 16 else np.int32)
    query = (number & (QUERIES - 1)).astype(np.uint16)
    if (block[1:] < block[:-1]).any():
        order = np.argsort(block, kind="stable")
        block, query, columns = block[order], query[order], tuple(column[order] for column in columns)
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(block)]
    whole = (query, *columns)
    cuts = itertools.pairwise(edges)
    return [(int(block[start]), tuple(column[start:end] for column in whole)) for start, end in cuts]


def _gathered(pieces: Iterable[list[tuple[int, tuple[Any, ...]]]]) -> dict[int, list[tuple[Any, ...]]]:
    """Block -> what each piece has of it."""
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for piece in pieces:
        for block, columns in piece:
            found[block].append(columns)
    return dict(found)


def _ranked(pieces: list[tuple[Any, ...]]) -> tuple[Listed, NDArray[np.uint64]]:
    """A block by query and falling score, and the sorted key of its rows; equal keys still stand in any order."""
    query, doc, row, falling = (np.concatenate(column) for column in zip(*pieces, strict=True))
    key = (query.astype(np.uint64) << np.uint64(32)) | falling
    if not (key[1:] > key[:-1]).all():
        order = np.argsort(key)
        key, query, doc, row = key[order], query[order], doc[order], row[order]
    at = tied_rows(key)
    tied = np.zeros(len(key), dtype=bool)
    tied[at] = True
    return Listed(query, doc, row, tied), key[at]


def _settle(source: pa.Table | Stored, blocks: Mapping[int, tuple[Listed, Ints]]) -> None:
    """Put rows of equal score in the order of falling document ids, in place."""
    places = {number: np.flatnonzero(block.tied) for number, (block, _) in blocks.items() if block.tied.any()}
    if not places:
        return
    ids = documents_at(source, np.concatenate([blocks[number][0].row[at] for number, at in places.items()]))
    first = 0
    for number, at in places.items():
        block, key = blocks[number]
        order = at[settled(key, ids.slice(first, len(at)))]
        first += len(at)
        block.doc[at], block.row[at] = block.doc[order], block.row[order]


def _has_twice(query: Ints, doc: Ints) -> bool:
    """True if it seems that some pair is there twice; that of 52 bits of its document is looked at again by `_named`."""
    keys = np.sort(pair_keys(query, doc))
    return bool((keys[1:] == keys[:-1]).any())


def _named(source: pa.Table | Stored, kind: str) -> None:
    """Raises: InputError naming the row, where there is one that does not conform."""
    if isinstance(source, Stored):
        source.whole()
    else:
        conform(source, kind, name=kind.removesuffix("s"))


def _relevance(values: Any) -> Ints:
    """Grades as small numbers, -1 where there is no answer."""
    grades = compute().fill_null(values, -1).to_numpy()
    top = max(int(grades.max(initial=0)), -int(grades.min(initial=0)))
    return np.asarray(grades.astype(np.int8 if top < 1 << 7 else np.int16))


def _expected(probs: Any, gains: NDArray[np.float64]) -> NDArray[np.float32]:
    """The gain that each row's probabilities expect; NaN for a row without them.

    Raises: InputError for a row with another number of probabilities than the scale has grades.
    """
    out = np.full(len(probs), np.nan, dtype=np.float32)
    lengths = compute().list_value_length(probs)
    there = lengths.is_valid().to_numpy() if hasattr(lengths, "chunks") else lengths.is_valid().to_numpy(zero_copy_only=False)
    sizes = compute().fill_null(lengths, 0).to_numpy()
    if wrong := np.flatnonzero(there & (sizes != len(gains))).tolist():
        raise InputError(
            f"judgments: a row has {int(sizes[wrong[0]])} probabilities ({probs[wrong[0]].as_py()}), and the scale has "
            f"{len(gains)} grades: one each is expected, worst first"
        )
    flat = compute().list_flatten(probs).to_numpy().astype(np.float64)
    each = flat.reshape(-1, len(gains))
    if wrong := np.flatnonzero(~((each >= -1e-6).all(axis=1) & (np.abs(each.sum(axis=1) - 1) < 1e-3))).tolist():
        raise InputError(f"judgments: probabilities {each[wrong[0]].tolist()} are not, each 0 or more, 1 in sum")
    out[there] = each @ gains
    return out
