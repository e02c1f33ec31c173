"""Texts and ids found again by a hash of 128 bits, at 12 bytes of memory each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from germane.inference.compiling import AHEAD, compiled

Hashes = NDArray[np.uint64]  # (n, 2): the half that is searched for, and the half that is compared
Rows = NDArray[np.int64]

_TAIL = 1 << 16
_FEW = 1 << 14  # keys that fit a cache: found at once as they are
_SHARE = 4  # what is new may be a quarter of what is sorted, before all is sorted again


def hashed(texts: Iterable[str]) -> Hashes:
    """The hash of each text, (n, 2).

    >>> hashed(["chair", "chair", "table"])[:, 0].tolist().count(hashed(["chair"])[0, 0])
    2
    """
    blake = hashlib.blake2b
    digests = b"".join([blake(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts])
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2).astype(np.uint64)


class Index:
    """Which row a hash stands for; the last one that was added counts. other: the second halves of rows, to be compared.

    Two hashes that differ in their second half alone (one chance in three million among ten million) are one place: the
    earlier is then not found, never mistaken.
    """

    def __init__(self, other: Callable[[Rows], Hashes]) -> None:
        self._other = other
        self._sorted = (np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint32))
        self._new = self._sorted

    def add(self, halves: Hashes, first: int) -> None:
        """Rows from `first` on, with the first halves (n,) of their hashes."""
        rows = np.arange(first, first + len(halves), dtype=np.uint32)
        self._new = _merged(self._new, (np.asarray(halves, dtype=np.uint64), rows))
        if len(self._new[0]) > max(_TAIL, len(self._sorted[0]) // _SHARE):
            self._sorted, self._new = _merged(self._sorted, self._new), (self._new[0][:0], self._new[1][:0])

    def beside(self, other: Callable[[Rows], Hashes]) -> Index:
        """The same rows in another index, which grows by itself: what was sorted is shared."""
        made = Index(other)
        made._sorted, made._new = self._sorted, self._new
        return made

    def find(self, hashes: Hashes) -> Rows:
        """(n,) the row of each hash; -1 for one that is not known."""
        found = np.full(len(hashes), -1, dtype=np.int64)
        for keys, rows in (self._sorted, self._new):
            if len(keys):
                at = np.minimum(_places(keys, hashes[:, 0]), len(keys) - 1)
                hit = keys[at] == hashes[:, 0]
                found[hit] = rows[at[hit]]
        there = np.flatnonzero(found >= 0)
        wrong = self._other(found[there]) != hashes[there, 1]
        found[there[wrong]] = -1
        return found


def _places(keys: Hashes, wanted: Hashes) -> Rows:
    """As `np.searchsorted` of hashes, which are spread evenly: a place is guessed from the hash itself, and then the rest."""
    loop = _loop() if len(keys) > _FEW else None
    if loop is None:
        return np.searchsorted(keys, wanted)
    found = np.empty(len(wanted), dtype=np.int64)
    loop(_fixed(keys), _fixed(wanted), found)
    return found


def _fixed(array: Hashes) -> Hashes:
    found = np.ascontiguousarray(array).view()
    found.setflags(write=False)  # one kind for the compiler, mapped or not
    return found


@cache
def _loop() -> Callable[..., None] | None:
    return compiled(_guess)


def _guess(keys: Hashes, wanted: Hashes, found: Rows) -> None:
    """A guess by the hash misses by the root of the keys, one from there by the root of that: each is made of AHEAD hashes."""
    last = len(keys) - 1
    share = len(keys) / 2.0**64
    for i in range(len(wanted)):
        if i % AHEAD == 0:
            for j in range(i, min(i + AHEAD, len(wanted))):
                found[j] = min(int(float(wanted[j]) * share), last)
            for _ in range(2):
                for j in range(i, min(i + AHEAD, len(wanted))):
                    off = int((float(wanted[j]) - float(keys[found[j]])) * share)
                    found[j] = min(max(found[j] + off, 0), last)
        at = found[i]
        while at > 0 and keys[at - 1] >= wanted[i]:
            at -= 1
        while at <= last and keys[at] < wanted[i]:
            at += 1
        found[i] = at


def _merged(
    old: tuple[Hashes, NDArray[np.uint32]], new: tuple[Hashes, NDArray[np.uint32]]
) -> tuple[Hashes, NDArray[np.uint32]]:
    """Both, sorted; of equal keys the last one."""
    keys, rows = np.concatenate([old[0], new[0]]), np.concatenate([old[1], new[1]])
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    last = np.concatenate([keys[1:] != keys[:-1], np.ones(min(len(keys), 1), dtype=bool)])
    return (keys, rows) if last.all() else (keys[last], rows[last])
