"""Many texts to vectors: each different text once, the long ones together, in the order that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from germane.inference.tokens import Ints, Tokens

Vectors = NDArray[np.float32]
Tower = Callable[[Ints, Ints], Vectors]  # tokens and mask, (n, length) each, to vectors of length 1, (n, d)


def encode(texts: Sequence[str], tokens: Tokens, tower: Tower, *, dimension: int, batch: int = 64) -> Vectors:
    """The vectors of texts, shape (n, dimension). batch: rows a step; they are sorted by length, so that little is padded."""
    different, place = distinct(texts)
    rows = tokens(different)
    order = np.argsort([-len(row) for row in rows], kind="stable")
    found = np.zeros((len(rows), dimension), dtype=np.float32)
    for start in range(0, len(rows), batch):
        at = order[start : start + batch]
        found[at] = tower(*tokens.padded([rows[i] for i in at]))
    return found[place]


def distinct(texts: Sequence[str]) -> tuple[list[str], Ints]:
    """The different texts in their first order, and for each text the number of its own among them.

    >>> distinct(["b", "a", "b"])[0], distinct(["b", "a", "b"])[1].tolist()
    (['b', 'a'], [0, 1, 0])
    """
    known: dict[str, int] = {}
    place = np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)
    return list(known), place
