"""BM25 in the process, over bm25s: the engine that needs no server."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.text import text_fields, words
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("germane")

BLOCK = 2**23  # scores that one block of queries may hold at most


class BM25:
    """Documents by BM25 of the words of the fields named, or of all of their text.

    The same documents, in any row order, give the same run: ties go as the ranking rule says (score as float32, then
    doc_id, both descending). A document without any word of the query is no result. stopwords: a language whose most
    common words are not searched ("english", "german"); by default all words are.

    Source: Robertson and Zaragoza (2009), with idf and term saturation as in Lucene (bm25s, method "lucene").
    Raises: InputError for a field that the docs do not have, for no documents, and for a doc_id that comes twice.
    """

    def __init__(
        self,
        docs: pa.Table,
        fields: Sequence[str] | None = ("title",),
        *,
        k1: float = 1.5,
        b: float = 0.75,
        stopwords: str | None = None,
        name: str | None = None,
    ) -> None:
        self.fields = tuple(fields) if fields is not None else tuple(text_fields(docs))
        missing = [f for f in self.fields if f not in docs.column_names]
        if missing or not self.fields:
            raise InputError(f"docs have no field {missing[0] if missing else ''!r}: their fields are {text_fields(docs)}")
        if docs.num_rows == 0:
            raise InputError("the docs table is empty: an engine needs at least one document")
        self.k1, self.b, self.stopwords = k1, b, stopwords
        self._stopped = _stopwords(stopwords)
        self.name = name or f"BM25 on {', '.join(self.fields)}"
        # Held by doc_id descending, so that the smaller index wins a tie.
        ids = np.array(docs["doc_id"].to_pylist(), dtype=object)
        order = np.argsort(ids)[::-1]
        self._ids = ids[order]
        if (twice := np.flatnonzero(self._ids[1:] == self._ids[:-1])).size:
            raise InputError(f"doc_id {self._ids[twice[0]]!r} is in the docs table twice: each document needs its own")
        self._index(docs.take(order))

    @property
    def origin(self) -> Mapping[str, Any]:
        from importlib.metadata import version

        return {
            "engine": "embedded BM25",
            "bm25s": version("bm25s"),
            "fields": list(self.fields),
            "k1": self.k1,
            "b": self.b,
            "stopwords": self.stopwords,
            "documents": len(self._ids),
        }

    def search(self, queries: pa.Table, *, k: int = 100, candidates: pa.Table | None = None) -> pa.Table:
        """A run of at most k documents a query, in the order of the queries.

        candidates: rank these pairs (query_id, doc_id) and no others, such as each query's judged documents; all of them
        are ranked, those without a word of the query last (score 0), so that both arms order the same list.
        Raises: InputError for a candidate that is not among the documents, or a query_id that comes twice.
        """
        import pyarrow as pa

        if k < 1:
            raise InputError(f"k is {k}: ask for at least one document a query")
        ids = [str(query_id) for query_id in queries["query_id"].to_pylist()]
        texts = [text or "" for text in queries["query"].to_pylist()]
        if len(set(ids)) < len(ids):
            raise InputError("the queries table has a query_id twice: each query needs its own")
        allowed = self._allowed(ids, candidates) if candidates is not None else None
        found = list(self._found(texts, k, allowed))
        counts = np.array([len(rows) for rows, _ in found], dtype=np.int64)
        rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in found)]).astype(np.int64)
        scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in found)])
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        return pa.table(
            {
                "query_id": pa.array(ids, pa.string()).take(np.repeat(np.arange(len(ids)), counts)),
                "doc_id": pa.array(self._ids, pa.string()).take(rows),
                "score": pa.array(scores.astype(np.float64)),
                "rank": pa.array((np.arange(len(rows)) - starts + 1).astype(np.int32)),
            }
        )

    def _index(self, docs: pa.Table) -> None:
        """The score of each word in each document, words x documents."""
        import bm25s
        from bm25s.tokenization import Tokenized
        from scipy.sparse import csr_matrix

        columns = [docs[field].to_pylist() for field in self.fields]
        self._vocabulary: dict[str, int] = {}
        known = self._vocabulary
        texts = (" ".join(part for part in row if part) for row in zip(*columns, strict=True))
        tokens = [[known.setdefault(word, len(known)) for word in self._words(text)] for text in texts]
        if not known:
            raise InputError(f"no document has a word in {', '.join(self.fields)}: name other fields")
        model = bm25s.BM25(k1=self.k1, b=self.b, method="lucene", backend="numpy", csc_backend="scipy")
        model.index(Tokenized(tokens, dict(known)), create_empty_token=False, show_progress=False)
        parts = (model.scores["data"], model.scores["indices"], model.scores["indptr"])
        self._scores = csr_matrix(parts, shape=(len(known), docs.num_rows))

    def _words(self, text: str) -> list[str]:
        return [word for word in words(text) if word not in self._stopped]

    def _found(
        self, texts: list[str], k: int, allowed: list[NDArray[np.int64]] | None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each query its best documents (index) and their scores, best first."""
        from scipy.sparse import csr_matrix

        known = self._vocabulary
        size = max(1, min(512, BLOCK // len(self._ids)))
        for start in range(0, len(texts), size):
            log.info("searching", extra={"done": start, "total": len(texts)})
            # Sorted, so that the same words in another order add up to the same float32.
            asked = [sorted(known[w] for w in self._words(text) if w in known) for text in texts[start : start + size]]
            ends = np.cumsum([0, *map(len, asked)])
            ones = np.ones(ends[-1], np.float32)
            block = csr_matrix((ones, [t for row in asked for t in row], ends), shape=(len(asked), len(known)))
            result = block @ self._scores
            for i in range(len(asked)):
                rows = result.indices[result.indptr[i] : result.indptr[i + 1]]
                scores = result.data[result.indptr[i] : result.indptr[i + 1]]
                if allowed is None:
                    yield best(rows, scores, k)
                else:
                    yield ranked(*_of(allowed[start + i], rows, scores), k)

    def _allowed(self, query_ids: list[str], candidates: pa.Table) -> list[NDArray[np.int64]]:
        place = {doc_id: index for index, doc_id in enumerate(self._ids)}
        pools: dict[str, list[int]] = {query_id: [] for query_id in query_ids}
        for query_id, doc_id in zip(candidates["query_id"].to_pylist(), candidates["doc_id"].to_pylist(), strict=True):
            if doc_id not in place:
                raise InputError(f"candidate {doc_id!r} of query {query_id!r} is not among the {len(place)} documents")
            if query_id in pools:
                pools[query_id].append(place[doc_id])
        return [np.array(pools[query_id], dtype=np.int64) for query_id in query_ids]


def _stopwords(language: str | None) -> frozenset[str]:
    """The stop words of a language by bm25s's lists; none for None."""
    if language is None:
        return frozenset()
    from bm25s import stopwords

    lists = {name.removeprefix("STOPWORDS_").lower(): name for name in dir(stopwords) if name.startswith("STOPWORDS_")}
    lists["english"] = lists.pop("en")
    if language not in lists:
        raise InputError(f"stopwords {language!r} are not known: expected one of {', '.join(sorted(lists))}")
    return frozenset(getattr(stopwords, lists[language]))


def best(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k highest scores above 0 and their rows, best first; of equal scores the smaller row.

    >>> best(np.array([4, 2, 9]), np.array([1.0, 1.0, 3.0], np.float32), 2)
    (array([9, 2]), array([3., 1.], dtype=float32))
    """
    return ranked(rows[scores > 0], scores[scores > 0], k)


def ranked(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k highest scores and their rows, those without any match included, best first; of equal scores the smaller row.

    >>> ranked(np.array([4, 2, 9]), np.array([1.0, 0.0, 3.0], np.float32), 3)
    (array([9, 4, 2]), array([3., 1., 0.], dtype=float32))
    """
    if len(rows) > k:
        least = np.partition(scores, -k)[-k]
        near = scores >= least
        rows, scores = rows[near], scores[near]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def _of(
    candidates: NDArray[np.int64], rows: NDArray[np.int64], scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The candidates with their scores, 0 where nothing matched."""
    wanted = np.unique(candidates)
    order = np.argsort(rows)
    at = np.searchsorted(rows[order], wanted)
    known = np.append(rows[order], -1)[at] == wanted
    found = np.zeros(len(wanted), np.float32)
    found[known] = scores[order][at[known]]
    return wanted, found
