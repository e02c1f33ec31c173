"""Which pairs of a low grade teach the most: those that look right and are not.

Only a document that the teacher graded has a grade. One that nobody graded may well be good, and is a negative only where
`assumed` is called, which says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from germane.chance import keys, uniform
from germane.inference.encoding import Vectors, distinct
from germane.text import words
from germane.training.examples import Examples

Floats = NDArray[np.float64]


def hardest(examples: Examples, alike: Floats, *, most: int, below: int = 1) -> NDArray[np.int64]:
    """The rows to learn from: all with a grade of `below` or better, and of each query the `most` others that are most alike.

    alike: (n,) how much document and query look alike to something cheap, larger is more. Rows keep their order; of equals
    the first stays.
    """
    asked = examples.asked
    low = np.flatnonzero(examples.grade < below)
    order = low[np.lexsort((-alike[low], asked[low]))]
    first = np.r_[True, np.diff(asked[order]) != 0] if len(order) else np.zeros(0, dtype=bool)
    starts = np.flatnonzero(first)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return np.sort(np.concatenate([np.flatnonzero(examples.grade >= below), order[rank < most]]))


def by_bm25(examples: Examples) -> Floats:
    """BM25 of each row's text for its query, (n,), over the different texts of the examples."""
    texts, of_text = distinct(examples.text)
    queries, of_query = distinct(examples.query)
    index = _index(texts)
    found = np.zeros(len(examples))
    for number, query in enumerate(queries):
        rows = np.flatnonzero(of_query == number)
        found[rows] = _scores(index, query)[of_text[rows]]
    return found


def by_vectors(queries: Vectors, texts: Vectors) -> Floats:
    """The cosine of each row's vectors, (n,), which have length 1: a base's, or of a student that was trained before."""
    return np.asarray((queries * texts).sum(axis=1), dtype=np.float64)


def assumed(examples: Examples, corpus: Mapping[str, str], *, a_query: int, seed: int = 0) -> Examples:
    """The examples and, for each query, `a_query` documents that nobody graded, **assumed** to be of the lowest grade.

    Half are those with the largest BM25, half are drawn at random. Right where the labelled pool holds nearly all that is
    relevant; where it does not, this teaches that good documents are bad. The notes count what was assumed.
    corpus: doc_id -> text.
    """
    ids = sorted(doc_id for doc_id, text in corpus.items() if text.strip())
    texts = [corpus[doc_id] for doc_id in ids]
    known: dict[str, set[str]] = defaultdict(set)
    shown: dict[str, tuple[str, str]] = {}
    for query_id, doc_id, query in zip(examples.query_id, examples.doc_id, examples.query, strict=True):
        known[query].add(doc_id)
        shown.setdefault(query, (query_id, query))
    index, names = _index(texts), keys(ids)
    found: list[tuple[str, str, str, str]] = []
    for query, (query_id, _) in shown.items():
        free = np.array([doc_id not in known[query] for doc_id in ids])
        scores = np.where(free, _scores(index, query), -1.0)
        hard = [int(i) for i in np.argsort(-scores, kind="stable")[: a_query // 2] if scores[i] > 0]
        free[hard] = False
        chance = np.where(free, uniform(seed, keys([query]), names), 2.0)
        drawn = np.argsort(chance, kind="stable")[: min(a_query - len(hard), int(free.sum()))]
        found += [(query_id, ids[i], query, texts[i]) for i in (*hard, *drawn.tolist())]
    if not found:
        return examples
    columns = list(zip(*found, strict=True))
    lowest = np.zeros((len(found), len(examples.scale.labels)))
    lowest[:, 0] = 1.0
    note = f"{len(found):,} documents that nobody graded were assumed to be {examples.scale.labels[0]!r}"
    return Examples(
        examples.query_id + columns[0],
        examples.doc_id + columns[1],
        examples.query + columns[2],
        examples.text + columns[3],
        np.concatenate([examples.grade, np.zeros(len(found), dtype=np.int64)]),
        np.concatenate([examples.target, lowest]),
        examples.scale,
        examples.judges,
        (*examples.notes, note),
    )


def _index(texts: list[str]) -> tuple[object, dict[str, int], int]:
    """bm25s over texts, its words, and how many texts there are."""
    import bm25s
    from bm25s.tokenization import Tokenized

    known: dict[str, int] = {}
    rows = [[known.setdefault(word, len(known)) for word in words(text)] for text in texts]
    model = bm25s.BM25(method="lucene", backend="numpy")
    if known:
        model.index(Tokenized(rows, dict(known)), create_empty_token=False, show_progress=False)
    return model, known, len(texts)


def _scores(index: tuple[object, dict[str, int], int], query: str) -> Floats:
    """BM25 of every text of an index, (texts,)."""
    model, known, count = index
    asked = sorted({known[word] for word in words(query) if word in known})
    if not asked:
        return np.zeros(count)
    return np.asarray(model.get_scores_from_ids(asked), dtype=np.float64)  # type: ignore[attr-defined]
