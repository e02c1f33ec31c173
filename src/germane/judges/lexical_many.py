"""The features of one query and many documents that were read before, as `lexical.features` gives them, to the bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from germane.inference.hashes import Rows
from germane.judges.lexical import NAMES, Query, asked_of, stem
from germane.judges.lexical_counts import NEAR, Counts, Sought, counted
from germane.judges.lexical_store import COMMON, LexicalStore, gram_of

Floats = NDArray[np.float64]

_PLACE = {name: i for i, name in enumerate(NAMES)}


def features(
    query: str, rows: Rows, store: LexicalStore, *, weights: Mapping[str, float] | None = None, heaviest: float = 1.0
) -> NDArray[np.float32]:
    """The numbers of `lexical.NAMES` for a query and the documents in these rows, (n, len(NAMES)).

    weights: of words, from `lexical.idf`; heaviest: the largest of them.
    """
    asked = _Asked(query, store)
    counts = counted(store.arrays, np.asarray(rows, dtype=np.int64), asked.sought, len(asked.names))
    mass = [weights.get(word, heaviest) for word in asked.q.asked] if weights else [1.0] * len(asked.q.asked)
    row = store.arrays.rows.take(rows)  # many times as quick as [rows]
    return _Numbers(asked, counts, row, mass).found.T


class _Asked:
    """A query, and what it looks for in this store. names: the column of each word, and of each beginning with a space."""

    def __init__(self, query: str, store: LexicalStore) -> None:
        self.q: Query = asked_of(query)
        q, self.looked = self.q, list(dict.fromkeys([*self.q.asked, *self.q.negated]))
        of_word = dict(zip(words := list(dict.fromkeys([*self.looked, *q.words])), store.ids(words), strict=True))
        needles = [(word, np.array([of_word[word]])) for word in self.looked]
        needles += [(f" {word}", store.begun(start) if (start := stem(word)) else _NOTHING) for word in self.looked]
        self.names = {name: i for i, (name, _) in enumerate(needles)}
        every = np.concatenate([_NOTHING, *(ids for _, ids in needles)])
        needle = np.repeat(np.arange(len(needles)), [len(ids) for _, ids in needles])
        order = np.argsort(every, kind="stable")[np.count_nonzero(every < 0) :]  # -1 is no word
        every, needle = every[order], needle[order]
        new = np.flatnonzero(np.diff(every, prepend=-1))
        near = np.zeros(NEAR, dtype=np.bool_)
        near[every % NEAR] = True
        phrase = [of_word[word] for word in q.words]
        grams = sorted(map(gram_of, q.trigrams))
        bits = np.array(store.common(grams), dtype=np.int64)
        common = np.zeros(COMMON + 1, dtype=np.bool_)
        common[bits[bits >= 0]] = True
        units = [[unit for unit in store.ids(sorted(beside)) if unit >= 0] for _, beside in q.numbers]
        self.sought = Sought(
            ids=every[new],
            first=np.append(new, len(every)),
            needle=needle,
            near=near,
            phrase=np.array(phrase if phrase and min(phrase) >= 0 else [], dtype=np.int64),
            byte=bits[bits >= 0] >> 3,
            bit=(bits[bits >= 0] & 7).astype(np.uint8),
            common=common,
            rare=np.array(grams, dtype=np.uint64),
            placed=bits >= 0,
            values=np.array([value for value, _ in q.numbers], dtype=np.float64),
            unit_first=np.cumsum([0, *map(len, units)]),
            unit=np.array([unit for each in units for unit in each], dtype=np.int64),
            denied=np.array([of_word[word] for word in self.looked], dtype=np.int64),
        )


class _Numbers:
    """Counts made the numbers of `lexical.NAMES`, which are computed in the order in which one document's are."""

    def __init__(self, asked: _Asked, counts: Counts, row: NDArray[np.void], mass: list[float]) -> None:
        self.q, self.names, self.counts, self.row = asked.q, asked.names, counts, row
        self.found = np.zeros((len(NAMES), len(row)), dtype=np.float32)
        self.many = len(self.q.asked) or 1
        self._shares(mass)
        self._grams()
        self._set("phrase", counts.phrase & (self.hits > 0))
        self._set("phrase in title", counts.title_phrase & (self.title_hits > 0))
        if n := len(self.q.numbers):
            self._set("numbers", float(n))
            self._set("numbers present", counts.present / n)
            self._set("numbers conflicting", counts.conflicting / n)
            self._set("numbers absent", (n - counts.present - counts.conflicting) / n)
        self._negation()
        self._set("query words", self.q.fixed[0])
        self._set("log query letters", self.q.fixed[1])
        self._set("log text words", row["log_words"])
        self._set("log title words", row["log_title"])

    def _set(self, name: str, values: Floats | NDArray[np.bool_] | float) -> None:
        self.found[_PLACE[name]] = values

    def _shares(self, mass: list[float]) -> None:
        q, many, text, title = self.q, self.many, self.counts.text, self.counts.title
        n, stems = len(q.asked), [self.names[f" {word}"] for word in q.asked]
        self.here, in_title = text[:, :n], title[:, :n]  # the words asked for come first
        self.hits, self.title_hits = self.here.sum(axis=1), in_title.sum(axis=1)
        self.whole, self.title_whole = self.hits == many, self.title_hits == many
        weighed, total = np.zeros(len(self.row)), sum(mass)
        for i, weight in enumerate(mass):
            weighed += np.where(self.here[:, i], weight, 0.0)
        self._set("words", self.hits / many)
        self._set("words, weighted", np.where(self.whole, total, weighed) / (total or 1.0))
        self._set("words in title", self.title_hits / many)
        self._set("stems", (self.here | text[:, stems]).sum(axis=1) / many)
        self._set("stems in title", (in_title | title[:, stems]).sum(axis=1) / many)
        self._set("title words asked", self.title_hits / np.maximum(self.row["title_different"], 1))
        if q.codes:
            codes = text[:, [self.names[code] for code in q.codes]].sum(axis=1) / len(q.codes)
            self._set("codes present", codes)
            self._set("codes absent", 1.0 - codes)

    def _grams(self) -> None:
        many = len(self.q.trigrams) or 1
        self._set("3-grams", np.where(self.whole, 1.0, self.counts.grams / many))
        self._set("3-grams in title", np.where(self.title_whole, 1.0, self.counts.title_grams / many))

    def _negation(self) -> None:
        q, counts = self.q, self.counts
        self._set("asked denied", (self.here & counts.only[:, : len(q.asked)]).sum(axis=1) / self.many)
        if q.negated:
            words = [self.names[word] for word in q.negated]
            there = counts.text[:, words] | counts.text[:, [self.names[f" {word}"] for word in q.negated]]
            self._set("negation", 1.0)
            self._set("negated present", (there & ~counts.only[:, words]).sum(axis=1) / len(words))
            self._set("negated kept", counts.once[:, words].sum(axis=1) / len(words))


_NOTHING = np.zeros(0, dtype=np.int64)
