"""The features of one query and many documents that were read before, as `lexical.features` gives them, to the bit.

Few words of a document are any of a query's. So all words of all documents are looked up at once, in a table that has a bit
for each thing that the query looks for, and only those that hit are looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.inference.hashes import Rows
from germane.judges.lexical import NAMES, asked_of, stem
from germane.judges.lexical_store import COMMON, PIECE, Documents, LexicalStore, gram_of

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Marks = NDArray[np.unsignedinteger[Any]]

_BITS = 32
_SCRATCH = threading.local()


def features(
    query: str, docs: Documents, store: LexicalStore, *, weights: Mapping[str, float] | None = None, heaviest: float = 1.0
) -> NDArray[np.float32]:
    """The numbers of `lexical.NAMES` for a query and each of these documents, (n, len(NAMES)).

    weights: of words, from `lexical.idf`; heaviest: the largest of them.
    """
    return _Features(query, docs, store, weights, heaviest).found.T


class _Features:
    """One query on its way through documents."""

    def __init__(
        self, query: str, docs: Documents, store: LexicalStore, weights: Mapping[str, float] | None, heaviest: float
    ) -> None:
        self.q, self.docs, self.store, self.n = asked_of(query), docs, store, len(docs.row)
        self.found = np.zeros((len(NAMES), self.n), dtype=np.float32)
        q = self.q
        self.many = len(q.asked) or 1
        self.mass = [weights.get(word, heaviest) for word in q.asked] if weights else [1.0] * len(q.asked)
        looked = list(dict.fromkeys([*q.asked, *q.negated, *q.words]))
        self.ids = dict(zip(looked, store.ids(looked), strict=True))
        self.ends = docs.begins + docs.row["words"]
        self.title_from = docs.begins + docs.row["title_at"]
        self.title_to = self.title_from + docs.row["title_words"]
        needles = [(word, np.array([self.ids[word]])) for word in dict.fromkeys([*q.asked, *q.negated])]
        needles += [(f" {word}", self._begun(word)) for word in dict.fromkeys([*q.asked, *q.negated])]
        self.names = {name: i for i, (name, _) in enumerate(needles)}
        self.text, self.title = self._hits([ids for _, ids in needles])
        self._shares()
        self._grams()
        self._phrases()
        if q.numbers:
            self._numbers()
        self._negation()
        self._set("query words", q.fixed[0])
        self._set("log query letters", q.fixed[1])
        self._set("log text words", docs.row["log_words"])
        self._set("log title words", docs.row["log_title"])

    def _set(self, name: str, values: Floats | float) -> None:
        self.found[_PLACE[name]] = values

    def _begun(self, word: str) -> Rows:
        beginning = stem(word)
        return self.store.begun(beginning) if beginning else np.zeros(0, dtype=np.int64)

    def _hits(self, needles: Sequence[Rows]) -> tuple[Bools, Bools]:
        """Which document has which needle, (n, needles), in its text and in its title."""
        text = np.zeros((self.n, len(needles)), dtype=bool)
        title = np.zeros_like(text)
        size = 8 if len(needles) <= 8 else 16 if len(needles) <= 16 else _BITS  # a small table stays in the cache
        table = _table(self.store.size, size)
        for start in range(0, len(needles), _BITS):
            some = [(table.dtype.type(1 << i), ids[ids >= 0]) for i, ids in enumerate(needles[start : start + _BITS])]
            for bit, ids in some:
                table[ids] |= bit
            marks = table.take(self.docs.words)
            for _, ids in some:
                table[ids] = 0
            at, of = self._within(np.flatnonzero(marks != 0))
            marks, bits = marks[at], np.array([bit for bit, _ in some], dtype=table.dtype)
            here = slice(start, start + len(some))
            text[:, here] = self._united(marks, of, bits)
            in_title = np.flatnonzero((at >= self.title_from[of]) & (at < self.title_to[of]))
            title[:, here] = self._united(marks[in_title], of[in_title], bits)
        return text, title

    def _within(self, at: Rows) -> tuple[Rows, Rows]:
        """Those of these places that are of a document, and the document of each."""
        of = self.docs.of[at // PIECE]
        whole = at < self.ends[of]
        return at[whole], of[whole]

    def _united(self, marks: Marks, of: Rows, bits: Marks) -> Bools:
        """Which bits any of a document's marks has, (n, bits). of: the document of each mark, rising."""
        found = np.zeros(self.n, dtype=marks.dtype)
        if len(marks):
            first = np.flatnonzero(np.concatenate([[True], of[1:] != of[:-1]]))
            found[of[first]] = np.bitwise_or.reduceat(marks, first)
        return np.asarray((found[:, None] & bits) != 0)

    def _shares(self) -> None:
        q, many = self.q, self.many
        words, stems = [self.names[word] for word in q.asked], [self.names[f" {word}"] for word in q.asked]
        self.here, in_title = self.text[:, words], self.title[:, words]
        self.hits, self.title_hits = self.here.sum(axis=1), in_title.sum(axis=1)
        self.whole, self.title_whole = self.hits == many, self.title_hits == many
        mass, total = np.zeros(self.n), sum(self.mass)
        for i, weight in enumerate(self.mass):  # in this order, as the one document's sum is made
            mass += np.where(self.here[:, i], weight, 0.0)
        self._set("words", self.hits / many)
        self._set("words, weighted", np.where(self.whole, total, mass) / (total or 1.0))
        self._set("words in title", self.title_hits / many)
        self._set("stems", (self.here | self.text[:, stems]).sum(axis=1) / many)
        self._set("stems in title", (in_title | self.title[:, stems]).sum(axis=1) / many)
        self._set("title words asked", self.title_hits / np.maximum(self.docs.row["title_different"], 1))
        if q.codes:
            codes = self.text[:, [self.names[code] for code in q.codes]].sum(axis=1) / len(q.codes)
            self._set("codes present", codes)
            self._set("codes absent", 1.0 - codes)

    def _grams(self) -> None:
        grams = list(map(gram_of, self.q.trigrams))
        many, bits = len(grams) or 1, self.store.common(grams)
        common = np.array([bit for bit in bits if bit >= 0], dtype=np.int64)
        there = (self.docs.bits.take(common >> 3, axis=1) >> (common & 7).astype(np.uint8)) & 1
        found = np.add.reduce(there, axis=1, dtype=np.int16).astype(np.int64)
        looked = np.zeros(COMMON + 1, dtype=bool)
        looked[common] = True
        titled = np.add.reduce(looked.take(self.docs.title_grams).view(np.uint8), axis=1, dtype=np.uint8).astype(np.int64)
        few, of = self.docs.rare
        if len(few):
            place = dict(zip(grams, bits, strict=True))
            hit = np.flatnonzero(_any_of(few, np.array(grams, dtype=np.uint64)))
            begins = np.concatenate([[0], np.cumsum(self.docs.row["rare"], dtype=np.int64)])
            for at in hit.tolist():
                titled[of[at]] += at - begins[of[at]] < self.docs.row["rare_title"][of[at]]
                found[of[at]] += place[int(few[at])] < 0
        self._set("3-grams", np.where(self.whole, 1.0, found / many))
        self._set("3-grams in title", np.where(self.title_whole, 1.0, titled / many))

    def _phrases(self) -> None:
        """1 where the query's words stand one after the other."""
        ids = [self.ids[word] for word in self.q.words]
        if not ids or min(ids) < 0:
            return
        words = self.docs.words
        at, of = self._within(np.flatnonzero(words == ids[0]))
        for i, number in enumerate(ids[1:], start=1):
            keep = at + i < self.ends[of]
            at, of = at[keep], of[keep]
            keep = words[at + i] == number
            at, of = at[keep], of[keep]
        in_title = (at >= self.title_from[of]) & (at + len(ids) <= self.title_to[of])
        for name, places, hits in (("phrase", of, self.hits), ("phrase in title", of[in_title], self.title_hits)):
            there = np.zeros(self.n, dtype=bool)
            there[places] = True
            self._set(name, (there & (hits > 0)).astype(np.float64))

    def _numbers(self) -> None:
        said, of = self.store.numbers(self.docs.row)
        present, conflicting = np.zeros(self.n, dtype=np.int64), np.zeros(self.n, dtype=np.int64)
        for value, units in self.q.numbers:
            same, beside = np.zeros(self.n, dtype=bool), np.zeros(self.n, dtype=bool)
            same[of[said["value"] == value]] = True
            for unit in self.store.ids(sorted(units)):
                if unit >= 0:
                    beside[of[(said["before"] == unit) | (said["after"] == unit)]] = True
            present += same
            conflicting += ~same & beside
        n = len(self.q.numbers)
        self._set("numbers", float(n))
        self._set("numbers present", present / n)
        self._set("numbers conflicting", conflicting / n)
        self._set("numbers absent", (n - present - conflicting) / n)

    def _negation(self) -> None:
        q = self.q
        said, of = self.store.denied(self.docs.row)
        denied = {word: self._denied(word, said, of) for word in dict.fromkeys([*q.asked, *q.negated])}
        lost = np.zeros(self.n, dtype=np.int64)
        for i, word in enumerate(q.asked):
            lost += self.here[:, i] & denied[word][1]
        self._set("asked denied", lost / self.many)
        if q.negated:
            present, kept = np.zeros(self.n, dtype=np.int64), np.zeros(self.n, dtype=np.int64)
            for word in q.negated:
                there = self.text[:, self.names[word]] | self.text[:, self.names[f" {word}"]]
                present += there & ~denied[word][1]
                kept += denied[word][0]
            self._set("negation", 1.0)
            self._set("negated present", present / len(q.negated))
            self._set("negated kept", kept / len(q.negated))

    def _denied(self, word: str, said: NDArray[np.void], of: Rows) -> tuple[Bools, Bools]:
        """Which documents negate a word, and which have it in negations only."""
        times, number = np.zeros(self.n, dtype=np.int64), self.ids[word]
        if number >= 0:
            hit = said["word"] == number
            times[of[hit]] = said["times"][hit]
        once = times > 0
        if not once.any():
            return once, once
        at, place = self._within(np.flatnonzero(self.docs.words == number))
        # A word right after itself shares a space with it: `str.count`, which does not overlap, sees every second one.
        begun = np.concatenate([[True], (np.diff(at) != 1) | (np.diff(place) != 0)])[: len(at)]
        run = np.arange(len(at)) - np.maximum.accumulate(np.where(begun, np.arange(len(at)), 0))
        counts = np.bincount(place[run % 2 == 0], minlength=self.n)
        return once, once & (counts <= times)


def _any_of(values: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> Bools:
    """Which of these values are wanted. A few bits of each are looked up first, since hardly any is."""
    some = np.zeros(1 << 12, dtype=bool)
    some[_folded(wanted)] = True
    near = some.take(_folded(values))
    at = np.flatnonzero(near)
    near[at] = (values[at][:, None] == wanted).any(axis=1)
    return near


def _folded(grams: NDArray[np.uint64]) -> NDArray[np.intp]:
    return np.asarray((grams * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(52), dtype=np.intp)


_PLACE = {name: i for i, name in enumerate(NAMES)}


def _table(size: int, bits: int) -> Marks:
    """A table of zeros with so many bits for each word, of this thread; whoever sets a place sets it to zero again."""
    tables: dict[int, Marks] = _SCRATCH.__dict__.setdefault("tables", {})
    table = tables.get(bits)
    if table is None or len(table) < size:
        table = tables[bits] = np.zeros(size + size // 4 + 1, dtype=f"u{bits // 8}")
    return table
