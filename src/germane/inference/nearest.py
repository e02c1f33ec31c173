"""The stored vectors nearest to a query, exactly: every one is compared, in blocks that fit the memory."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.inference.encoding import Vectors
from germane.inference.hashes import Rows
from germane.inference.vector_store import VectorStore
from germane.inference.vectors import Int8
from germane.types import InputError

TOGETHER = 128
"""Queries whose products with a block are made at once: each block is read from the disk and widened once for all of them."""

BLOCK = 1 << 22
"""Numbers of stored vectors in a block: 16 MB as float32."""


class Near(NamedTuple):
    """The rows of stored vectors nearest to a query, best first, and their products with it, in single precision."""

    rows: Rows
    scores: NDArray[np.float32]


def nearest(
    queries: Vectors, vectors: VectorStore, k: int, *, among: NDArray[np.bool_] | None = None, block: int | None = None
) -> list[Near]:
    """Of each query (n, d) the k rows with the largest product, and every row that ties with the last of them.

    Vectors have length 1, as a student makes them, so that a product is a cosine, rounded as the vectors are stored. among:
    (rows,) which of the rows count. block: rows at once. No choice of blocks, threads or neighbours changes a score: fast
    float32 products find whatever could be among the best, and these are then multiplied again in double precision.

    Raises: InputError for queries of another dimension.
    """
    d = vectors.about.dimension
    if queries.ndim != 2 or queries.shape[1] != d:
        raise InputError(f"query vectors {queries.shape}: the folder {vectors.folder} holds vectors of dimension {d}")
    found: list[Near] = []
    for start in range(0, len(queries), TOGETHER):
        some = np.ascontiguousarray(queries[start : start + TOGETHER], dtype=np.float32)
        rows = _possible(some, vectors, k, among, block or max(BLOCK // d, 1))
        found += [_best(query, vectors, mine, k) for query, mine in zip(some, rows, strict=True)]
    return found


def products(query: NDArray[np.float32], vectors: VectorStore, rows: Rows) -> NDArray[np.float32]:
    """(n,) the products of a query (d,) with the vectors of these rows, summed in double precision."""
    wide = _floats(vectors.take(rows)).astype(np.float64)
    return np.asarray((wide * query.astype(np.float64)).sum(axis=1), dtype=np.float32)


def _possible(queries: Vectors, vectors: VectorStore, k: int, among: NDArray[np.bool_] | None, block: int) -> list[Rows]:
    """Of each query the rows that may be among its k best: their float32 product is as high, but for what it can be wrong."""
    off = 2 * queries.shape[1] * float(np.finfo(np.float32).eps)  # twice the most that two sums of d products differ
    least = np.full(len(queries), -np.inf, dtype=np.float32)
    kept = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))  # query, row, product
    for start in range(0, len(vectors), block):
        stop = min(start + block, len(vectors))
        rows = np.arange(start, stop) if among is None else start + np.flatnonzero(among[start:stop])
        if not len(rows):
            continue
        whole = len(rows) == stop - start
        scores = _products(queries, vectors.take(slice(start, stop) if whole else rows))
        if len(rows) > k:
            own = np.partition(scores, len(rows) - k, axis=1)[:, len(rows) - k] - off
            least = np.maximum(least, own)
        of_query, at = np.nonzero(scores >= least[:, None])
        kept = _kept(kept, (of_query, rows[at], scores[of_query, at]), least, k, off)
    starts = np.searchsorted(kept[0], np.arange(len(queries) + 1))
    return [kept[1][a:b] for a, b in pairwise(starts)]


def _kept(
    old: tuple[Rows, Rows, NDArray[np.float32]],
    new: tuple[Rows, Rows, NDArray[np.float32]],
    least: NDArray[np.float32],
    k: int,
    off: float,
) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """What is still possible of both, by query; `least` of each query rises to what it now takes."""
    of_query, rows, scores = (np.concatenate([old[i], new[i]]) for i in range(3))
    order = np.lexsort((-scores, of_query))
    of_query, rows, scores = of_query[order], rows[order], scores[order]
    starts = np.searchsorted(of_query, np.arange(len(least) + 1))
    full = np.flatnonzero(np.diff(starts) >= k)
    least[full] = np.maximum(least[full], scores[starts[full] + k - 1] - np.float32(off))
    there = scores >= least[of_query]
    return of_query[there], rows[there], scores[there]


def _products(queries: Vectors, stored: Vectors | Int8 | NDArray[np.float16]) -> NDArray[np.float32]:
    if isinstance(stored, Int8):  # a scale for each vector: it may wait until after the product
        return np.asarray((queries @ stored.codes.astype(np.float32).T) * stored.scales.T, dtype=np.float32)
    return np.asarray(queries @ np.asarray(stored, dtype=np.float32).T)


def _best(query: NDArray[np.float32], vectors: VectorStore, rows: Rows, k: int) -> Near:
    scores = products(query, vectors, rows)
    if len(rows) > k:
        near = scores >= np.partition(scores, len(rows) - k)[len(rows) - k]
        rows, scores = rows[near], scores[near]
    order = np.lexsort((rows, -scores))
    return Near(rows[order], scores[order])


def _floats(stored: Vectors | Int8 | NDArray[np.float16]) -> Vectors:
    return stored.floats() if isinstance(stored, Int8) else np.asarray(stored, dtype=np.float32)
