"""What a judge learns from: pairs with the grade, or the probabilities of the grades, that another judge gave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from germane import store
from germane.text import words
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST = 2
"""Grades that have to occur among the labels: with one, there is nothing to tell apart."""


@dataclass(frozen=True)
class Examples:
    """Pairs side by side, each a row, in order of query_id and doc_id.

    grade: (n,) index on the scale. target: (n, grades) probabilities; 1 for the grade where the label is hard.
    judges: name and fingerprint of whoever gave the labels. notes: what was left out, and why.
    """

    query_id: tuple[str, ...]
    doc_id: tuple[str, ...]
    query: tuple[str, ...]
    text: tuple[str, ...]
    grade: NDArray[np.int64]
    target: NDArray[np.float64]
    scale: Scale
    judges: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.query_id)

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Examples:
        """These rows, in this order."""
        at = [int(i) for i in rows]
        query_id, doc_id, query, text = (
            tuple(column[i] for i in at) for column in (self.query_id, self.doc_id, self.query, self.text)
        )
        return Examples(query_id, doc_id, query, text, self.grade[at], self.target[at], self.scale, self.judges, self.notes)

    @property
    def asked(self) -> NDArray[np.int64]:
        """(n,) number of the query of each row; queries of the same words have one number, whatever their ids."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(" ".join(words(query)) or query, len(numbers)) for query in self.query])


def examples(pairs: pa.Table, judgments: pa.Table, scale: Scale, *, soft: bool = False) -> Examples:
    """The pairs that have a grade, with it. soft: with the judge's probabilities where it gave any.

    pairs: query_id, query, doc_id, text, as `germane pairs` writes them. judgments: one a pair.
    Pairs without an answer teach nothing and are left out, like pairs without text: both are counted.

    Raises: InputError for labels outside the scale or on another, a pair with two labels, no pair in both tables, texts that
    are all empty, and labels of one grade only.
    """
    _on_scale(judgments, scale)
    if twice := store.first_duplicate(judgments, ("query_id", "doc_id")):
        raise InputError(f"the labels hold {twice} more than once: train on one judge's, or make one grade of several first")
    columns = ["query_id", "doc_id", "relevance", *(["probs"] if soft and "probs" in judgments.column_names else [])]
    asked = pairs.select(["query_id", "doc_id", "query", "text"])
    with store.database(asked=asked, said=judgments.select(columns)) as query:
        both = query("SELECT * FROM asked JOIN said USING (query_id, doc_id) ORDER BY query_id, doc_id")
    if not both.num_rows:
        raise InputError("no pair has a label: are query_id and doc_id the same in pairs and labels?")
    queries, texts = ([t or "" for t in both[name].to_pylist()] for name in ("query", "text"))
    grades = both["relevance"].to_pylist()
    readable = [bool(q.strip() and t.strip()) for q, t in zip(queries, texts, strict=True)]
    kept = [i for i, grade in enumerate(grades) if grade is not None and readable[i]]
    without = [f"{grades.count(None):,} pairs without an answer", f"{readable.count(False):,} pairs without text"]
    notes = tuple(f"left out: {said}" for said in without if not said.startswith("0 "))
    if not any(readable):
        raise InputError(f"all {len(texts):,} labelled pairs have an empty query or document: nothing can be learned from them")
    grade = np.array([grades[i] for i in kept], dtype=np.int64)
    target = np.eye(len(scale.labels))[grade]
    if "probs" in columns:
        ids = [f"query {both['query_id'][i]}, document {both['doc_id'][i]}" for i in kept]
        target = _soft(target, [both["probs"][i].as_py() for i in kept], ids)
    _varied(grade, target, scale)
    query_id, doc_id, query_, text_ = (
        tuple(str(column[i]) for i in kept)
        for column in (both["query_id"].to_pylist(), both["doc_id"].to_pylist(), queries, texts)
    )
    names = zip(judgments["judge"].to_pylist(), judgments["fingerprint"].to_pylist(), strict=True)
    judges = tuple(sorted({(str(name), str(fingerprint or "")) for name, fingerprint in names}))
    return Examples(query_id, doc_id, query_, text_, grade, target, scale, judges, notes)


def joined(several: Sequence[Examples]) -> Examples:
    """Examples of one scale one after the other. Raises: InputError for different scales."""
    first = several[0]
    for other in several[1:]:
        if other.scale.labels != first.scale.labels:
            raise InputError(f"examples on scale {other.scale.name!r} and on {first.scale.name!r}: join those of one scale")
    query_id, doc_id, query, text = (
        tuple(x for e in several for x in getattr(e, name)) for name in ("query_id", "doc_id", "query", "text")
    )
    judges = tuple(dict.fromkeys(j for e in several for j in e.judges))
    notes = tuple(dict.fromkeys(n for e in several for n in e.notes))
    grade, target = (np.concatenate([getattr(e, name) for e in several]) for name in ("grade", "target"))
    return Examples(query_id, doc_id, query, text, grade, target, first.scale, judges, notes)


def folds(of: Examples, k: int = 5, *, seed: int = 0) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """k times the rows to learn from and the rows to be held against, split by query: no query is in both.

    Raises: InputError for fewer than k different queries.
    """
    asked = of.asked
    count = int(asked.max()) + 1
    if not 2 <= k <= count:
        raise InputError(f"{k} folds of {count} queries: give 2 to {count} folds")
    fold = np.empty(count, dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(count)] = np.arange(count) % k
    return [(np.flatnonzero(fold[asked] != i), np.flatnonzero(fold[asked] == i)) for i in range(k)]


def split(of: Examples, share: float = 0.15, *, seed: int = 0) -> tuple[Examples, Examples]:
    """Examples to learn from, and about `share` of the queries to calibrate and to stop by: at least one query in each.

    Raises: InputError for a single query.
    """
    asked = of.asked
    count = int(asked.max()) + 1
    if count < 2:
        raise InputError("the labels are of one query: learning and calibrating need different ones, at least two")
    held = np.random.default_rng(seed).permutation(count)[: min(max(round(share * count), 1), count - 1)]
    dev = np.isin(asked, held)
    return of.take(np.flatnonzero(~dev)), of.take(np.flatnonzero(dev))


def _on_scale(judgments: pa.Table, scale: Scale) -> None:
    for name in set(judgments["scale"].to_pylist()):
        if name not in (None, "", scale.name):
            raise InputError(f"the labels are on scale {name!r}, not on {scale.name!r}: pass --scale {name}")
    for grade in set(judgments["relevance"].to_pylist()):
        if grade is not None and not 0 <= grade < len(scale.labels):
            top = len(scale.labels) - 1
            raise InputError(f"label {grade} is not on scale {scale.name!r}, whose grades are 0 to {top}")


def _varied(grade: NDArray[np.int64], target: NDArray[np.float64], scale: Scale) -> None:
    counts = Counter(grade.tolist())
    if not counts:
        raise InputError("no labelled pair with text has an answer: nothing can be learned")
    if len(counts) < FEWEST and np.ptp(target, axis=0).max() < 1e-4:  # a teacher of one grade may still tell more from less
        (only,) = counts
        raise InputError(f"all {len(grade):,} labels are {scale.labels[only]!r}: a judge learns from at least two grades")


def _soft(hard: NDArray[np.float64], probs: Sequence[Sequence[float] | None], ids: Sequence[str]) -> NDArray[np.float64]:
    """The judge's probabilities where it gave any, the grade where it gave none. ids: of the pairs, for messages."""
    target, size = hard.copy(), hard.shape[1]
    for i, given in enumerate(probs):
        if given is None:
            continue
        row = np.array([np.nan if p is None else p for p in given], dtype=np.float64)
        if len(row) != size or not np.isfinite(row).all() or row.min() < 0 or not row.sum() > 0:
            raise InputError(f"the label of {ids[i]} has probabilities {list(given)}: expected {size} that are 0 or more")
        target[i] = row / row.sum()
    return target
