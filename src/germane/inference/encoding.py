"""Many texts to vectors: each different text once, the long ones together, in the order that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from germane.inference.tokens import Ints, Tokens

Vectors = NDArray[np.float32]
Tower = Callable[[Ints, Ints], Vectors]  # tokens and mask, (n, length) each, to vectors of length 1, (n, d)


def encode(
    texts: Sequence[str],
    tokens: Tokens,
    tower: Tower,
    *,
    dimension: int,
    batch: int = 64,
    budget: int | None = None,
    workers: int = 1,
) -> Vectors:
    """The vectors of texts, shape (n, dimension). They are sorted by length, so that little is padded.

    batch: rows a step, at most. budget: tokens a step, at most, padding included; None for no limit. workers: steps at a
    time. What stands in a step does not depend on how many workers there are.
    """
    different, place = distinct(texts)
    rows = tokens(different)
    order = np.argsort([-len(row) for row in rows], kind="stable")
    found = np.zeros((len(rows), dimension), dtype=np.float32)

    def step(at: Ints) -> None:
        found[at] = tower(*tokens.padded([rows[i] for i in at]))

    steps = list(_steps(order, [len(rows[i]) for i in order], batch, budget))
    if workers > 1 and len(steps) > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(step, steps))  # a fault of a step is raised here
    else:
        for at in steps:
            step(at)
    return found[place]


def _steps(order: Ints, lengths: Sequence[int], batch: int, budget: int | None) -> Iterator[Ints]:
    """Parts of an order that goes from the longest to the shortest."""
    start = 0
    while start < len(order):
        rows = batch if budget is None else max(min(batch, budget // max(lengths[start], 1)), 1)
        yield order[start : start + rows]
        start += rows


def distinct(texts: Sequence[str]) -> tuple[list[str], Ints]:
    """The different texts in their first order, and for each text the number of its own among them.

    >>> distinct(["b", "a", "b"])[0], distinct(["b", "a", "b"])[1].tolist()
    (['b', 'a'], [0, 1, 0])
    """
    known: dict[str, int] = {}
    place = np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)
    return list(known), place
