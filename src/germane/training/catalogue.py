"""Pairs made of a catalogue alone, for a judge to learn from before it sees a label: what it is to have what was asked.

A search is two to four words of a product's title. The product itself has the best grade; one that stands near it and lacks
a word of the search, everywhere in its text, has the second best; one that shares none has the worst. Some searches go on
"... without X": there, products with every word are told apart by whether they have X. Such grades are right by
construction, not by judgement: they teach word matching, which a few hundred queries cannot, and no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.text import TextPlan, compose_table, words
from germane.training.examples import Examples
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

COMMON = 0.05
"""Words in more than this share of the titles ("for", "with", "set") are no words to search by."""
FIRST = 14
"""Words of a title that a search may take: what comes later names sizes and packs."""
NEAR = 60
"""Products that a search finds, best first by the weight of shared title words."""
ALIKE = 0.4
"""Share of the search's weight that a product near it has at least."""
CONSTRUCTED = (("catalogue (by construction)", ""),)
"""Whose grades these are."""
FEWEST = 50
"""Products from which a catalogue is large enough to have neighbours."""

Ints = NDArray[np.int64]


class _Titles(NamedTuple):
    """Titles as words worth searching by, every word of each text, and titles as a sparse matrix (products, words)."""

    title: list[list[str]]
    every: list[frozenset[str]]
    column: dict[str, int]
    matrix: object
    weight: NDArray[np.float64]


def catalogue(
    docs: pa.Table,
    scale: Scale,
    *,
    title: str = "title",
    plan: TextPlan | None = None,
    without: str = "without",
    most: int = 4_000,
    seed: int = 0,
) -> Examples:
    """Searches made of titles, with grades by construction; about four pairs a product, `most` products at most.

    docs: doc_id, the title and other fields; their text follows `plan`. without: the word that negates, in the language of
    the catalogue ("ohne", "sin"); "" leaves such searches out.

    Raises: InputError for a table without this title, and for a catalogue too small to have neighbours.
    """
    if title not in docs.column_names:
        raise InputError(f"docs have no column {title!r} to make searches of: they have {', '.join(docs.column_names)}")
    texts = [text or "" for text in compose_table(docs, plan).text.to_pylist()]
    known = _titles([str(t or "") for t in docs[title].to_pylist()], texts)
    usable = [i for i, found in enumerate(known.title) if len(found) >= 4]
    if len(usable) < FEWEST:
        raise InputError(f"{len(usable)} documents have titles of four words worth searching by: at least {FEWEST} are needed")
    chance = np.random.default_rng(seed)
    top, rows = len(scale.labels) - 1, list[tuple[str, int, int]]()
    for i in chance.permutation(usable)[:most].tolist():
        rows += _searches(known, i, top, without, chance)
    ids = docs["doc_id"].to_pylist()
    asked, at, grades = zip(*rows, strict=True)
    grade = np.array(grades, dtype=np.int64)
    return Examples(
        tuple(f"catalogue:{query}" for query in asked),
        tuple(str(ids[i]) for i in at),
        tuple(asked),
        tuple(texts[i] for i in at),
        grade,
        np.eye(top + 1)[grade],
        scale,
        CONSTRUCTED,
        (f"{len(set(asked)):,} searches were made of titles, with grades by construction",),
    )


def _searches(known: _Titles, i: int, top: int, without: str, chance: np.random.Generator) -> Iterator[tuple[str, int, int]]:
    """(search, product, grade) of searches that product i answers."""
    said = known.title[i]
    count = int(chance.integers(2, 5))
    if chance.random() < 0.6:  # words that stand together, else words from anywhere, in their order
        start = int(chance.integers(0, max(1, min(8, len(said) - count))))
        asked = said[start : start + count]
    else:
        asked = [said[a] for a in sorted(chance.choice(len(said), min(count, len(said)), replace=False))]
    query = " ".join(asked)
    near, score = _near(known, asked)
    least = ALIKE * sum(known.weight[known.column[w]] for w in set(asked))
    lacking = [
        j for j, s in zip(near, score, strict=True) if j != i and s >= least and any(w not in known.every[j] for w in asked)
    ]
    yield query, i, top
    for j in chance.permutation(lacking[:30])[: 1 + int(chance.random() < 0.5)].tolist():
        yield query, j, max(top - 1, 0)
    other = int(chance.integers(len(known.title)))
    if not set(asked) & known.every[other]:
        yield query, other, 0
    if without and chance.random() < 0.3:
        around = [w for j in near[:15] for w in known.title[j] if w not in asked and len(w) > 3]
        whole = [j for j in near if all(w in known.every[j] for w in asked)][:4]
        if around and whole:
            unwanted = around[int(chance.integers(len(around)))]
            for j in whole:
                yield f"{query} {without} {unwanted}", j, max(top - 1, 0) if unwanted in known.every[j] else top


def _near(known: _Titles, asked: Sequence[str]) -> tuple[list[int], list[float]]:
    """Products whose titles share most of the search's weight, and how much, best first."""
    at = np.array([known.column[w] for w in set(asked)])
    score = np.asarray(known.matrix[:, at] @ known.weight[at])  # type: ignore[index]
    order = np.argsort(-score, kind="stable")[:NEAR]
    return order.tolist(), score[order].tolist()


def _titles(titles: Sequence[str], texts: Sequence[str]) -> _Titles:
    from scipy.sparse import csc_array

    split = [words(title) for title in titles]
    count: dict[str, int] = {}
    for said in split:
        for word in set(said):
            count[word] = count.get(word, 0) + 1
    kept = {w for w, n in count.items() if len(w) > 1 and n <= max(COMMON * len(titles), 2)}
    useful = [[w for w in said[:FIRST] if w in kept] for said in split]
    column = {w: k for k, w in enumerate(sorted(kept))}
    places = [(i, column[w]) for i, said in enumerate(split) for w in set(said) & kept]
    rows, columns = zip(*places, strict=True) if places else ((), ())
    matrix = csc_array((np.ones(len(rows)), (rows, columns)), shape=(len(titles), max(len(column), 1)))
    weight = np.array([np.log(len(titles) / count[w]) for w in column] or [0.0])
    every = [frozenset(words(text)) | frozenset(said) for text, said in zip(texts, split, strict=True)]
    return _Titles(useful, every, column, matrix, weight)
