"""Result lists that were never shown: the old search on the new catalogue, the new one on the old, either by either judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS = 12
"""Gains of at most so many different values are mapped value by value; more, in fifths."""

LEAST = 5
"""A value with fewer anchors is mapped by the mean move of all of them."""


class Anchors(NamedTuple):
    """Fixed pairs, judged on both days past the store. before, after: (m,) gains in 0 to 1, NaN where there is no answer."""

    before: Floats
    after: Floats


class Listed(NamedTuple):
    """A query's list on one day: ids in order, their gains, and True for labels made that day, not taken from a store."""

    docs: tuple[str, ...]
    gains: Floats
    fresh: NDArray[np.bool_]


class Shown(NamedTuple):
    """n queries' lists under search and catalogue, each as before or as after.

    rows: (n, 2, 2, k) index into the documents, the last one meaning none. old, new: (D + 1,) gains, NaN where that day has
    none. fresh: (D + 1,) the label of the later day was made by its judge. stored: (D + 1,) the earlier label would have
    been taken from the store. complete: (n,) every document has an answer on a day at least.
    """

    rows: Ints
    old: Floats
    new: Floats
    fresh: NDArray[np.bool_]
    stored: NDArray[np.bool_]
    complete: NDArray[np.bool_]

    def of(self, keep: NDArray[np.bool_]) -> Shown:
        """The same for some of the queries."""
        return self._replace(rows=self.rows[keep], complete=self.complete[keep])


def shown(lists: Sequence[tuple[Listed | None, Listed | None]], arrived: set[str], gone: set[str], k: int) -> Shown:
    """Lists of both days under each counterfactual; a query asked on one day has that day's list under all of them."""
    old: list[float] = []
    new: list[float] = []
    fresh: list[bool] = []
    stored: list[bool] = []
    rows = np.full((len(lists), 2, 2, k), -1, np.int64)
    complete = np.ones(len(lists), np.bool_)
    for q, (before, after) in enumerate(lists):
        own = before or after
        assert own is not None
        index: dict[str, int] = {}
        was, now = before or own, after or own
        for listed, gains, other in ((was, old, new), (now, new, old)):
            for place, doc in enumerate(listed.docs[:k]):
                if doc not in index:
                    index[doc] = len(old)
                    gains.append(float(listed.gains[place]))
                    other.append(np.nan)
                    fresh.append(bool(listed.fresh[place]) if listed is now else False)
                    stored.append(False)
                else:
                    gains[index[doc]] = float(listed.gains[place])
                    fresh[index[doc]] = bool(listed.fresh[place]) if listed is now else fresh[index[doc]]
        if before is None or after is None:  # one day alone: its grades say nothing of the other day's judge
            for i in index.values():
                known = new[i] if np.isfinite(new[i]) else old[i]
                old[i] = new[i] = known
        reuse = not all(bool(x) for x in now.fresh)
        for i in index.values():
            stored[i] = reuse
        complete[q] = all(np.isfinite(old[i]) or np.isfinite(new[i]) for i in index.values())
        a, b = list(was.docs[:k]), list(now.docs[:k])
        crossed = a if a == b or not (arrived or gone) else merged(a, b, arrived, gone, k)
        back = b if a == b or not (arrived or gone) else merged(b, a, gone, arrived, k)
        for s, c, docs in ((0, 0, a), (0, 1, crossed), (1, 0, back), (1, 1, b)):
            rows[q, s, c, : len(docs)] = [index[doc] for doc in docs]
    none = len(old)
    rows[rows < 0] = none
    return Shown(
        rows, np.array([*old, 0.0]), np.array([*new, 0.0]), np.array([*fresh, False]), np.array([*stored, False]), complete
    )


def merged(base: Sequence[str], other: Sequence[str], came: set[str], left: set[str], k: int) -> list[str]:
    """One day's ranking on the other day's catalogue: what is not there is left out, what came stands where the other had it.

    Ranks that stay empty take the other list's documents, in its order: what was there, and ranked below what is gone.

    >>> merged(["a", "b", "c"], ["a", "x", "c"], {"x"}, {"b"}, 3)
    ['a', 'x', 'c']
    """
    fixed = {place: doc for place, doc in enumerate(other[:k]) if doc in came}
    rest = [doc for doc in base if doc not in left and doc not in came]
    rest += [doc for doc in other if doc not in rest and doc not in came and doc not in left]
    length = min(k, max(len(other), len(base) - sum(doc in left for doc in base)))
    found: list[str] = []
    for place in range(length):
        if place in fixed:
            found.append(fixed[place])
        elif rest:
            found.append(rest.pop(0))
    late = [doc for place, doc in fixed.items() if doc not in found]
    return (found + late)[:k]


def rejudged(lists: Shown, anchors: Anchors) -> tuple[Floats, Floats]:
    """(D + 1,) gains by the earlier and by the later judge: as said, or mapped by the anchors where only one of them spoke.

    A label that the store kept is the same under both: a measured level never saw the later judge say otherwise.
    """
    known_old, known_new = np.isfinite(lists.old), np.isfinite(lists.new)
    both = np.isfinite(anchors.before) & np.isfinite(anchors.after)
    there, back = anchors.before[both], anchors.after[both]
    forward = np.where(lists.stored, lists.old, mapped(lists.old, there, back))
    backward = np.where(lists.fresh, mapped(lists.new, back, there), lists.new)
    old = np.where(known_old, lists.old, backward)
    new = np.where(known_new, lists.new, forward)
    return np.nan_to_num(old), np.nan_to_num(new)


def mapped(gains: Floats, said: Floats, became: Floats) -> Floats:
    """(D,) what such gains became on the anchors: the mean of each value, or of each fifth where there are many values."""
    if not said.size or np.array_equal(said, became):
        return gains
    shift = float((became - said).mean())
    values = np.unique(said)
    edges = (values[1:] + values[:-1]) / 2 if values.size <= LEVELS else np.quantile(said, [0.2, 0.4, 0.6, 0.8])
    of, to = np.searchsorted(edges, said), np.searchsorted(edges, np.nan_to_num(gains))
    count = np.bincount(of, minlength=edges.size + 1)
    moves = np.bincount(of, weights=became - said, minlength=edges.size + 1)
    move = np.where(count >= LEAST, moves / np.maximum(count, 1), shift)
    return np.asarray(np.clip(gains + move[to], 0.0, 1.0))
