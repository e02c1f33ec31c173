"""Rows of tokens of different lengths, one after the other, without padding between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Rows(NamedTuple):
    """Rows of tokens. ids: of all rows, int32. kinds: of the same tokens, None where a model knows one kind. starts: (n + 1,).

    >>> rows = Rows.of([[2, 7, 3], [2, 3]])
    >>> rows.n, rows.lengths.tolist(), rows.take([1, 0]).ids.tolist()
    (2, [3, 2], [2, 3, 2, 7, 3])
    """

    ids: NDArray[np.int32]
    kinds: NDArray[np.int32] | None
    starts: Ints

    @property
    def n(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Ints:
        """(n,) tokens of each row."""
        return np.diff(self.starts)

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]], kinds: Sequence[Sequence[int]] | None = None) -> Rows:
        """Rows from lists of numbers."""
        starts = starts_of([len(row) for row in ids])
        return cls(_flat(ids, starts[-1]), None if kinds is None else _flat(kinds, starts[-1]), starts)

    def take(self, order: Sequence[int] | Ints) -> Rows:
        """These rows, in this order."""
        at = np.asarray(order, dtype=np.int64)
        lengths = self.lengths[at]
        tokens = spans(self.starts[:-1][at], lengths)
        return Rows(self.ids[tokens], None if self.kinds is None else self.kinds[tokens], starts_of(lengths))


def starts_of(lengths: Sequence[int] | Ints) -> Ints:
    """(n + 1,) where rows of these lengths begin, and at last where they end."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))])


def spans(starts: Ints, lengths: Ints) -> Ints:
    """The numbers starts[0], starts[0] + 1, ..., lengths[0] of them, then those of the next row.

    >>> spans(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = starts_of(lengths)
    return np.repeat(starts - before[:-1], lengths) + np.arange(before[-1])


def batches(lengths: Ints, tokens: int, rows: int) -> Iterator[slice]:
    """Rows that follow each other, as many as have at most so many tokens together; one that is longer stands alone.

    >>> [(s.start, s.stop) for s in batches(np.array([3, 3, 3, 9, 1]), 6, 10)]
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    starts, at = starts_of(lengths), 0
    while at < len(lengths):
        end = int(np.searchsorted(starts, starts[at] + tokens, side="right")) - 1
        end = max(min(end, at + rows), at + 1)
        yield slice(at, end)
        at = end


def _flat(rows: Sequence[Sequence[int]], tokens: int) -> NDArray[np.int32]:
    return np.fromiter((token for row in rows for token in row), np.int32, int(tokens))
