"""What a policy says of the documents of one request, and the order that follows from it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

ALL = ""
"""The name of the segment that holds every query."""


class Decisions(NamedTuple):
    """One request's documents in the order given, (n,) each. keep: False leaves it out. boost: what is added to the ranker's
    score. reason: why, "" where nothing was done. most: places that a document may move, None for any."""

    keep: Flags
    boost: Floats
    reason: tuple[str, ...]
    most: int | None = None


class Decides(Protocol):
    """A policy at work: `name` and `kind`, and one answer for the documents of a request."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def decide(self, *, segment: str, probs: ArrayLike, gain: ArrayLike, known: ArrayLike) -> Decisions: ...


class Said(NamedTuple):
    """A judge's predictions of one request. probs: (n, grades); gain: (n,); known: (n,) bool, False where there is none.

    What is not a number is not known: no answer is not zero.
    """

    probs: Floats
    gain: Floats
    known: Flags

    @classmethod
    def of(cls, probs: ArrayLike, gain: ArrayLike, known: ArrayLike, grades: int) -> Said:
        """The three as arrays that fit. Raises: InputError for shapes that do not, or another number of grades."""
        g = np.asarray(gain, dtype=np.float64).ravel()
        p = np.asarray(probs, dtype=np.float64)
        p = p.reshape(0, grades) if p.size == 0 and g.size == 0 else p
        there = np.asarray(known, dtype=bool).ravel()
        if p.shape != (g.size, grades) or there.size != g.size:
            raise InputError(
                f"{g.size} gains, probabilities of shape {p.shape} and {there.size} flags: expected n gains, n rows of "
                f"{grades} probabilities and n flags"
            )
        return cls(p, g, there & np.isfinite(p).all(axis=1) & np.isfinite(g))


def nothing(n: int) -> Decisions:
    """Every document kept as it is: what a policy says where it has nothing to say."""
    return Decisions(np.ones(n, bool), np.zeros(n), ("",) * n)


def order(scores: ArrayLike, decided: Decisions) -> Ints:
    """The documents that are kept, best first: (kept,) their places in `scores`.

    scores: (n,) of the ranker, in the order that it ranked: of equal scores the first stays first. Final score = score +
    boost; of equal final scores the one that stood higher stays higher. With `most`, no document that is kept moves more than
    so many places among those that are kept.

    Raises: InputError for a score that is not a number, and for another number of scores than decisions.

    >>> order([3.0, 2.0, 1.0], Decisions(np.ones(3, bool), np.array([0.0, 0.0, 2.5]), ("", "", "boost"))).tolist()
    [2, 0, 1]
    >>> order([3.0, 2.0, 1.0], Decisions(np.ones(3, bool), np.array([0.0, 0.0, 2.5]), ("", "", "boost"), most=1)).tolist()
    [0, 2, 1]
    """
    s = np.asarray(scores, dtype=np.float64).ravel()
    if s.size != decided.keep.size:
        raise InputError(f"{s.size} scores and {decided.keep.size} decisions: give one each")
    if np.isnan(s).any():
        raise InputError(f"document {int(np.flatnonzero(np.isnan(s))[0])} has score NaN: expected a number")
    ranked = np.argsort(-s, kind="stable")
    ranked = ranked[decided.keep[ranked]]
    final = s[ranked] + decided.boost[ranked]
    wanted = np.argsort(-final, kind="stable")
    return np.asarray(ranked[wanted if decided.most is None else within(wanted, decided.most)], dtype=np.int64)


def within(wanted: ArrayLike, most: int) -> Ints:
    """The order nearest to the wanted one in which nobody moves more than `most` places: (n,) old places, best first.

    wanted: (n,) old places in the order that is wished for. At each place stands the one that must (it stood `most` places
    higher), else the first of the wished order that may. One that must is the only one that must there, so it always fits.

    Raises: InputError for `most` below 0, and for what is no order.

    >>> within([3, 0, 1, 2], 2).tolist()
    [0, 3, 1, 2]
    """
    old = np.asarray(wanted, dtype=np.int64).ravel()
    if most < 0:
        raise InputError(f"a document may move {most} places: expected 0 or more")
    if not np.array_equal(np.sort(old), np.arange(old.size)):
        raise InputError("what is wished for is no order: expected every place from 0 to n - 1 once")
    waiting, placed = old.tolist(), np.zeros(old.size, bool)
    found = []
    for place in range(old.size):
        must = place - most
        pick = must if must >= 0 and not placed[must] else next(doc for doc in waiting if doc <= place + most)
        waiting.remove(pick)
        placed[pick] = True
        found.append(pick)
    return np.array(found, dtype=np.int64)
