"""Near-duplicate texts: pairs whose word shingles overlap, found exactly."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.text.terms import words
from germane.types import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ROWS = 2**22  # candidates that are verified at a time


class Near(NamedTuple):
    """Near-duplicates: row a[i] of the one list and b[i] of the other have this Jaccard similarity. Sorted by a, then b."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    similarity: NDArray[np.float64]


def shingles(text: str, n: int = 3) -> frozenset[tuple[str, ...]]:
    """The distinct runs of n words of a text; a shorter text is one run of all its words, an empty one has none.

    >>> sorted(shingles("a blue oak chair"))
    [('a', 'blue', 'oak'), ('blue', 'oak', 'chair')]
    """
    found = words(text)
    if not found:
        return frozenset()
    return frozenset(tuple(found[i : i + n]) for i in range(max(len(found) - n + 1, 1)))


def near(a: Sequence[str], b: Sequence[str], threshold: float = 0.8, *, n: int = 3) -> Near:
    """Every pair of a text in `a` and one in `b` whose shingles have a Jaccard similarity of at least `threshold`.

    Exact: two sets this similar share one of their rarest shingles, so only texts that do are compared.

    Source: prefix filtering, Chaudhuri, Ganti and Kaushik (2006); Bayardo, Ma and Srikant (2007).
    Raises: InputError for a threshold outside 0 (excluded) and 1.

    >>> near(["a blue oak chair"], ["red rug", "A blue, oak chair!"]).b.tolist()
    [1]
    """
    if not 0 < threshold <= 1:
        raise InputError(f"similarity of {threshold}: expected above 0 and up to 1")
    sets = _sets([*a, *b], n)
    ours, theirs = sets[: len(a)], sets[len(a) :]
    left, right = _rare(ours, threshold), _rare(theirs, threshold).T.tocsr()
    sizes = np.diff(ours.indptr), np.diff(theirs.indptr)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for start, end in _blocks(left, right):
        shared = (left[start:end] @ right).tocoo()
        i, j = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
        alike = np.minimum(sizes[0][i], sizes[1][j]) >= threshold * np.maximum(sizes[0][i], sizes[1][j]) - 1e-9
        i, j = i[alike], j[alike]
        for at in range(0, len(i), ROWS // 64):
            one, other = i[at : at + ROWS // 64], j[at : at + ROWS // 64]
            common = np.asarray(ours[one].multiply(theirs[other]).sum(axis=1)).ravel()
            jaccard = common / (sizes[0][one] + sizes[1][other] - common)
            same = jaccard >= threshold - 1e-12
            found.append((one[same], other[same], jaccard[same]))
    if not found:
        return Near(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    i, j, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((j, i))
    return Near(i[order], j[order], similarity[order])


def _sets(texts: Sequence[str], n: int) -> csr_array[Any, Any]:
    """(texts, shingles) 1 where a text has a shingle; columns from the rarest shingle to the most common."""
    from scipy.sparse import csr_array

    numbers: dict[str, int] = {}
    listed = [[numbers.setdefault(word, len(numbers) + 1) for word in words(text)] for text in texts]
    # A text of fewer than n words is filled up with 0, which is no word: one shingle of all its words.
    padded = [row + [0] * (n - len(row)) if 0 < len(row) < n else row for row in listed]
    sizes = np.array([len(row) for row in padded], dtype=np.int64)
    flat = np.fromiter((word for row in padded for word in row), dtype=np.int64, count=int(sizes.sum()))
    start = np.zeros(len(flat), dtype=bool)
    row_of = np.repeat(np.arange(len(texts)), sizes)
    ends = np.repeat(np.cumsum(sizes), sizes)
    start[np.arange(len(flat)) + n <= ends] = True
    at = np.flatnonzero(start)
    code = flat[at]
    for step in range(1, n):  # runs of words as numbers without a collision, one word more at a time
        code = np.unique(code * (len(numbers) + 1) + flat[at + step], return_inverse=True)[1]
    pairs = np.sort(row_of[at] * (int(code.max(initial=0)) + 1) + code)
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # each shingle once a text; np.unique hashes here, which is far slower
    row, column = np.divmod(pairs, int(code.max(initial=0)) + 1)
    count = np.bincount(column, minlength=1)
    rank = np.empty(len(count), dtype=np.int64)
    rank[np.argsort(count, kind="stable")] = np.arange(len(count))
    made = csr_array((np.ones(len(row), dtype=np.int32), (row, rank[column])), shape=(len(texts), len(count)))
    made.sort_indices()
    return made


def _rare(sets: csr_array[Any, Any], threshold: float) -> csr_array[Any, Any]:
    """Of each text only its rarest shingles: so many that two texts as similar as `threshold` share one of them."""
    from scipy.sparse import csr_array

    sizes = np.diff(sets.indptr)
    keep = np.array([size - ceil(threshold * size - 1e-9) + 1 if size else 0 for size in sizes.tolist()], dtype=np.int64)
    place = np.arange(sets.nnz) - np.repeat(sets.indptr[:-1], sizes)
    kept = place < np.repeat(keep, sizes)
    indptr = np.concatenate(([0], np.cumsum(keep)))
    return csr_array((sets.data[kept], sets.indices[kept], indptr), shape=sets.shape)


def _blocks(left: csr_array[Any, Any], right: csr_array[Any, Any]) -> list[tuple[int, int]]:
    """Runs of rows of `left` whose product with `right` has at most `ROWS` entries or so, and at least one row each."""
    per_shingle = np.diff(right.indptr)
    cost = np.concatenate(([0], np.cumsum(per_shingle[left.indices])))[left.indptr]
    blocks, start = [], 0
    while start < left.shape[0]:
        end = max(int(np.searchsorted(cost, cost[start] + ROWS, side="right")) - 1, start + 1)
        blocks.append((start, min(end, left.shape[0])))
        start = blocks[-1][1]
    return blocks
