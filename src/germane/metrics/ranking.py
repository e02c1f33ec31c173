"""Runs and judgments as flat arrays of many queries: who is ranked where, and with which grade."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

Ints = NDArray[np.integer[Any]]

_LOW = 0xFFFFFFFF  # two numbers below 2^32 packed into one integer sort several times faster than an argsort or a lexsort
_BLOCK = 1 << 16  # rows worked on at a time: they stay in the processor's cache, and memory stays small for any run


class Lists(NamedTuple):
    """The ranked results of Q queries, flat: query q shows relevance[offsets[q]:offsets[q + 1]], best rank first.

    offsets: (Q + 1,). relevance: (n,) grades, -1 = unjudged.
    """

    offsets: Ints
    relevance: Ints

    @classmethod
    def of(cls, rows: Iterable[Sequence[int | None]]) -> Self:
        """From one list of grades a query, None = unjudged.

        >>> Lists.of([[3, None, 0], []])
        Lists(offsets=array([0, 3, 3]), relevance=array([ 3, -1,  0]))
        """
        return cls(*_flat(rows))


class Judged(NamedTuple):
    """All judged grades of Q queries, flat, in any order within a query: what an ideal ranking is made of.

    offsets: (Q + 1,). relevance: (m,), 0 and up.
    """

    offsets: Ints
    relevance: Ints

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Self:
        """From one list of grades a query.

        >>> Judged.of([[3, 0, 2, 1], []]).offsets
        array([0, 4, 4])
        """
        return cls(*_flat(rows))


def _flat(rows: Iterable[Sequence[int | None]]) -> tuple[Ints, Ints]:
    lists = [[-1 if grade is None else grade for grade in row] for row in rows]
    relevance = np.array([grade for row in lists for grade in row], dtype=np.int64)
    return np.cumsum([0, *map(len, lists)], dtype=np.int64), relevance


def offsets_of(query: ArrayLike, queries: int) -> Ints:
    """Where each query's rows start and end, (queries + 1,), when rows are sorted by query code 0 .. queries - 1.

    Raises: InputError for codes that are not sorted, or not below `queries`.

    >>> offsets_of([0, 0, 2], queries=3)
    array([0, 2, 2, 3])
    """
    codes = _codes(query, "query")
    if (codes[1:] < codes[:-1]).any():
        raise InputError("query codes are not sorted: sort the rows by query first, or call rank_arrays")
    return _offsets(codes, queries)


class Ranked(NamedTuple):
    """Rows of a run in order: query q's are order[offsets[q]:offsets[q + 1]], best first."""

    offsets: Ints
    order: Ints


def rank_arrays(query: ArrayLike, doc: ArrayLike, score: ArrayLike, *, queries: int | None = None) -> Ranked:
    """The rows (n,) sorted by query, then as trec_eval ranks: score descending in single precision, ties by doc descending.

    query, doc: (n,) integer codes from 0 up, in any row order; doc codes in the order of the document ids (as np.unique
    gives them), since ties are broken by them. score: (n,). queries: how many there are, by default the largest code + 1.

    Source: trec_eval 9, form_res_rels.c (comp_sim_docno); scores are held as float.
    Raises: InputError for a NaN score, or for a document that occurs twice in one query.

    >>> rank_arrays([0, 0, 1], [0, 1, 0], [0.5, 0.5, 0.9])
    Ranked(offsets=array([0, 2, 3]), order=array([1, 0, 2]))
    """
    query, doc, score = _codes(query, "query"), _codes(doc, "doc"), np.asarray(score)
    if not len(query) == len(doc) == len(score):
        raise InputError(f"{len(query)} query codes, {len(doc)} doc codes and {len(score)} scores: expected one of each a row")
    if np.isnan(score).any():
        raise InputError(f"row {int(np.flatnonzero(np.isnan(score))[0])} has score NaN: expected a number; drop it or fix it")
    rows = _rows_by_query(query)
    if rows is not None:
        query, doc, score = query[rows], doc[rows], score[rows]
    offsets = _offsets(query, _count(query) if queries is None else queries)
    order = np.empty(len(query), dtype=np.int64)
    for first, last in _blocks(offsets):
        here = slice(offsets[first], offsets[last])
        order[here] = _best_first(doc[here], score[here], offsets[first : last + 1] - offsets[first], first)
        order[here] += offsets[first]
    return Ranked(offsets, order if rows is None else rows[order])


def grade_arrays(
    query: ArrayLike, doc: ArrayLike, judged_query: ArrayLike, judged_doc: ArrayLike, judged_relevance: ArrayLike
) -> Ints:
    """The relevance (n,) of each pair of query and document, -1 where it has no judgment.

    query, doc: (n,) integer codes from 0 up, in any row order. judged_*: (m,) the judgments in the same codes; a negative
    relevance, as TREC gives to spam, is 0, as in trec_eval and ir_measures: it is judged.

    Raises: InputError for a pair that occurs twice among the pairs, or among the judgments.

    >>> grade_arrays([0, 0, 1], [7, 8, 7], [1, 0], [7, 8], [3, 0])
    array([-1,  0,  3], dtype=int32)
    """
    query, doc, grades = _codes(query, "query"), _codes(doc, "doc"), _grades(judged_relevance)
    judged_query, judged_doc = _codes(judged_query, "judged_query"), _codes(judged_doc, "judged_doc")
    rows, judged_rows = _rows_by_query(query), _rows_by_query(judged_query)
    if rows is not None:
        query, doc = query[rows], doc[rows]
    if judged_rows is not None:
        judged_query, judged_doc, grades = judged_query[judged_rows], judged_doc[judged_rows], grades[judged_rows]
    queries = max(_count(query), _count(judged_query))
    offsets, judged_offsets = _offsets(query, queries), _offsets(judged_query, queries)
    found = np.full(len(query), -1, dtype=np.int32)
    for first, last in _blocks(offsets + judged_offsets):
        run, judged = slice(offsets[first], offsets[last]), slice(judged_offsets[first], judged_offsets[last])
        both = np.concatenate([judged_query[judged], query[run]]), np.concatenate([judged_doc[judged], doc[run]])
        at_judged, at_run = _matches(*both, judged.stop - judged.start, first)
        found[run][at_run] = grades[judged][at_judged]
    if rows is None:
        return found
    relevance = np.empty_like(found)
    relevance[rows] = found
    return relevance


def sorted_by_query(pool: Judged) -> Lists:
    """Each query's judged grades, best first: its ideal list.

    >>> sorted_by_query(Judged.of([[0, 3, 2], [1]])).relevance.tolist()
    [3, 2, 0, 1]
    """
    best = int(pool.relevance.max(initial=0))
    width = best.bit_length()
    query: Ints = np.arange(len(pool.offsets) - 1)
    fits = np.int32 if len(query) << width < 1 << 31 else np.int64  # half the width sorts in half the time
    packed = np.repeat((query << width).astype(fits), np.diff(pool.offsets))
    packed |= (best - pool.relevance).astype(packed.dtype)
    packed.sort()
    packed &= (1 << width) - 1
    return Lists(pool.offsets, best - packed)


def _codes(values: ArrayLike, what: str) -> Ints:
    codes = np.asarray(values)
    if codes.size == 0:
        return np.empty(0, dtype=np.int64)
    if codes.ndim == 1 and codes.dtype.kind in "iu":
        codes = codes.astype(np.int64, copy=False)
        if codes.view(np.uint64).max() <= _LOW:  # a negative number is a large one there
            return codes
    raise InputError(f"{what} holds {codes.dtype} of shape {codes.shape}: expected one row of integer codes, 0 to 2^32 - 1")


def _count(sorted_codes: Ints) -> int:
    return int(sorted_codes[-1]) + 1 if len(sorted_codes) else 0


def _offsets(sorted_codes: Ints, queries: int) -> Ints:
    if _count(sorted_codes) > queries:
        found = _count(sorted_codes) - 1
        raise InputError(f"query code {found} found, but there are {queries} queries: expected codes below {queries}")
    return np.searchsorted(sorted_codes, np.arange(queries + 1))


def _grades(values: ArrayLike) -> Ints:
    grades = np.asarray(values)
    if grades.size and (grades.dtype.kind not in "iu" or grades.max() > 0x7FFFFFFF):
        raise InputError(f"relevance holds {grades.dtype} up to {grades.max()}: expected integers below 2^31")
    return np.asarray(np.maximum(grades, 0), dtype=np.int32)


def _rows_by_query(query: Ints) -> Ints | None:
    """The rows in the order of their queries, None if they already are."""
    if not (query[1:] < query[:-1]).any():
        return None
    packed = (query << 32) | np.arange(len(query))
    packed.sort()
    packed &= _LOW
    return packed


def _blocks(offsets: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of queries, first and past the last, of about _BLOCK rows each."""
    inner = np.searchsorted(offsets, np.arange(_BLOCK, offsets[-1], _BLOCK))
    edges = np.unique(np.concatenate([[0], inner, [len(offsets) - 1]])).tolist()
    return itertools.pairwise(edges)


def _best_first(doc: Ints, score: NDArray[Any], offsets: Ints, first_query: int) -> Ints:
    """The rows of a block of queries in the order of their ranks."""
    with np.errstate(over="ignore"):
        single = score.astype(np.float32)
    single += np.float32(0)  # turns -0.0, which compares equal, into 0.0
    key = single.view(np.int32).astype(np.int64)
    key ^= (key >> 31) & 0x7FFFFFFF  # the bits of a float, as an integer that rises with it
    key <<= 32
    key += doc
    np.invert(key, out=key)  # best first
    order = np.empty(len(doc), dtype=np.int64)
    for these, cells, shown in _matrices(offsets):
        docs, keys = doc[cells].reshape(len(these), -1), key[cells].reshape(len(these), -1)
        if shown is not None:
            docs = np.where(shown, docs, ~np.arange(docs.shape[1]))
            keys = np.where(shown, keys, np.iinfo(np.int64).max)
        docs = np.sort(docs, axis=1)
        if (docs[:, 1:] == docs[:, :-1]).any():
            row, column = (int(x[0]) for x in np.nonzero(docs[:, 1:] == docs[:, :-1]))
            _refuse(docs[row, column], "occurs twice in the list of", first_query + int(these[row]))
        best = np.argsort(keys, axis=1)
        best += offsets[these, None]
        if shown is None:
            order[cells] = best.ravel()
        else:
            order[cells[shown]] = best[shown]
    return order


def _matrices(offsets: Ints) -> Iterator[tuple[Ints, Any, NDArray[np.bool_] | None]]:
    """Queries of a similar length (one power of two) as one matrix: their numbers, their rows, and which cells are real."""
    sizes = np.diff(offsets)
    magnitude = np.frexp(sizes)[1]
    for one in np.unique(magnitude[sizes > 0]):
        these = np.flatnonzero(magnitude == one)
        longest = sizes[these].max()
        if sizes.min() == sizes.max():
            yield these, slice(None), None
        else:
            column = np.arange(longest)
            shown = column < sizes[these, None]
            yield these, np.where(shown, offsets[these, None] + column, 0), shown


def _matches(query: Ints, doc: Ints, judged: int, first_query: int) -> tuple[Ints, Ints]:
    """Rows of judgments, and rows of the run that they grade; the pairs hold `judged` judgments first, then the run's."""
    width, doc_bits = len(query).bit_length(), int(doc.max(initial=0)).bit_length()
    pairs = query - first_query
    pairs <<= doc_bits
    pairs |= doc
    if int(pairs.max(initial=0)).bit_length() + width <= 63:  # the row fits beside its pair in one integer
        pairs <<= width
        pairs |= np.arange(len(pairs))
        pairs.sort()
        same = np.flatnonzero((pairs[1:] ^ pairs[:-1]) < (1 << width))
        one, two = pairs[same] & ((1 << width) - 1), pairs[same + 1] & ((1 << width) - 1)
    else:
        order = np.lexsort((doc, query))
        same = np.flatnonzero((np.diff(doc[order]) == 0) & (np.diff(query[order]) == 0))
        one, two = order[same], order[same + 1]
    for wrong, what in ((two < judged, "is judged twice for"), (one >= judged, "occurs twice in the list of")):
        if wrong.any():
            _refuse(doc[two[wrong][0]], what, int(query[two[wrong][0]]))
    return one, two - judged


def _refuse(doc: Any, what: str, query: int) -> None:
    raise InputError(f"document {doc} {what} query {query}: it would count twice; keep one of the two")
