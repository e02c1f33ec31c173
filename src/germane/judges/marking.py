"""What a cross-encoder reads of a pair: its tokens, and, where it is told, which ones query and document share."""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.inference.encoding import distinct
from germane.inference.joining import Frame, cut, joined
from germane.inference.ragged import Rows
from germane.judges.lexical import NAMES, alike, features, numbers_at

if TYPE_CHECKING:
    import torch

Row = dict[str, list[int]]  # what a tokenizer makes of a pair

STEPS = (1.0, 1.1, 1.25)
"""Times a query's number from which a document's, of the same unit, is another kind of token: a little more, more, far more."""

BELOW, SAME, KINDS = 4, 4 + len(STEPS), 5 + 2 * len(STEPS)
"""Kinds of tokens of a model that is told what query and document share: the first of numbers, the same number, how many."""

_SHARES = (("words", "stems"), ("title", "stems in title"))  # what a share is called, and the feature that it is


@dataclass(frozen=True)
class Reader:
    """Pairs to tokens. prefixes: put before each query and document, as multilingual-e5 and decoders want it.

    evidence: begins the document with what its words, numbers and negations have in common with the query's.
    marks: kinds of tokens say which ones stand in both, query's and document's, and how the document's numbers compare to
    the query's of the same unit (`marked` makes a model that reads them).
    max_length: tokens of both together. The query has half of them at most, the document's end is cut. Words that look
    like the tokenizer's own marks ("[SEP]") are read as words: a document cannot pass for a query.
    takes: the inputs of the model.
    """

    tokenizer: Any
    max_length: int
    prefixes: tuple[str, ...] = ("", "")
    takes: frozenset[str] = frozenset({"input_ids", "attention_mask"})
    evidence: bool = False
    marks: bool = False

    def rows(self, queries: Sequence[str], texts: Sequence[str]) -> list[Row]:
        """The tokens of each pair, not padded."""
        if not queries:
            return []
        asked = [self._capped(self.prefixes[0] + query) for query in queries]
        given = self._given(queries, texts)
        with _uncollected():
            sides, frame = (self._read(asked), self._read(given)), self._frame()
            return [self._row(sides[0][query], sides[1][text], frame) for query, text in zip(asked, given, strict=True)]

    def packed(self, queries: Sequence[str], texts: Sequence[str]) -> Rows:
        """The same tokens as those of `rows`, one pair after the other."""
        kinds = "token_type_ids" in self.takes
        if self.marks:
            rows = self.rows(queries, texts)
            return Rows.of([row["input_ids"] for row in rows], [row["token_type_ids"] for row in rows] if kinds else None)
        (asked, of_query), (given, of_text) = distinct(queries), distinct(self._given(queries, texts))
        frame, tokenizer = self._frame(), self.tokenizer.backend_tokenizer
        sides = cut(tokenizer, [self._capped(self.prefixes[0] + query) for query in asked]), cut(tokenizer, given)
        return joined(*sides, (of_query, of_text), frame, self.max_length, kinds=kinds)

    def _given(self, queries: Sequence[str], texts: Sequence[str]) -> list[str]:
        """Each document's text as it is read."""
        first = shared(queries, texts) if self.evidence else [""] * len(texts)
        return [self.prefixes[1] + begins + text for begins, text in zip(first, texts, strict=True)]

    def _read(self, texts: Sequence[str]) -> dict[str, _Side]:
        """The tokens of each different text by themselves."""
        different = list(dict.fromkeys(texts))
        found = self.tokenizer(
            different, add_special_tokens=False, return_offsets_mapping=self.marks, split_special_tokens=True, verbose=False
        )
        spans = found["offset_mapping"] if self.marks else [()] * len(different)
        return {
            text: _Side(ids, _places(ids), _amounts(text, of) if self.marks else ())
            for text, ids, of in zip(different, found["input_ids"], spans, strict=True)
        }

    def _frame(self) -> Frame:
        """What the tokenizer puts around two texts, and the kinds of its tokens."""
        probe = self.tokenizer("a", "a", split_special_tokens=True)
        sides, ids = probe.sequence_ids(0), probe["input_ids"]
        ours, theirs = ([i for i, side in enumerate(sides) if side == of] for of in (0, 1))
        kinds = probe.get("token_type_ids") or [0] * len(ids)
        cuts = ((0, ours[0]), (ours[-1] + 1, theirs[0]), (theirs[-1] + 1, len(ids)))
        around = tuple((ids[start:end], kinds[start:end]) for start, end in cuts)
        return Frame(around, kinds[ours[0]], kinds[theirs[0]])

    def _row(self, query: _Side, text: _Side, frame: Frame) -> Row:
        (begins, begins_kinds), (between, between_kinds), (ends, ends_kinds) = frame.around
        n = min(len(text.ids), max(self.max_length - len(query.ids) - len(begins) - len(between) - len(ends), 0))
        row = {"input_ids": [*begins, *query.ids, *between, *(text.ids if n == len(text.ids) else text.ids[:n]), *ends]}
        row["attention_mask"] = [1] * len(row["input_ids"])
        if "token_type_ids" in self.takes:
            ours, theirs = _marks(query, text, n) if self.marks else ([frame.first] * len(query.ids), [frame.second] * n)
            row["token_type_ids"] = [*begins_kinds, *ours, *between_kinds, *theirs, *ends_kinds]
        return row

    def padded(self, rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Rows as tensors (rows, longest), padded on the right."""
        import torch

        lengths = [len(row["input_ids"]) for row in rows]
        pad = {"input_ids": self.tokenizer.pad_token_id}
        real = np.arange(max(lengths)) < np.array(lengths)[:, None]
        found = {}
        for name in rows[0]:
            filled = np.full(real.shape, pad.get(name, 0), dtype=np.int64)
            filled[real] = np.fromiter(chain.from_iterable(row[name] for row in rows), np.int64, sum(lengths))
            found[name] = torch.from_numpy(filled)
        return found

    def _capped(self, query: str) -> str:
        most = self.max_length // 2
        if len(query.encode()) <= most:  # no token is shorter than a byte
            return query
        ends = self.tokenizer(
            query, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True, verbose=False
        )["offset_mapping"]
        return query if len(ends) <= most else query[: ends[most - 1][1]]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Looks for no cycles meanwhile: among millions of new lists, none of them in a cycle, it takes most of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Amount(NamedTuple):
    """A number of a text: its value, the beginnings of the words beside it, and its tokens."""

    value: float
    units: frozenset[str]
    tokens: range


class _Side(NamedTuple):
    """The tokens of one text. places: of each different token."""

    ids: list[int]
    places: Mapping[int, list[int]]
    amounts: Sequence[_Amount]


def _places(ids: Sequence[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for i, token in enumerate(ids):
        found.setdefault(token, []).append(i)
    return found


def _amounts(text: str, spans: Sequence[tuple[int, int]]) -> list[_Amount]:
    """The numbers of a text with their tokens. spans: of each token, from where to where."""
    starts = [start for start, _ in spans]
    return [
        _Amount(value, units, range(bisect_left(starts, start), bisect_left(starts, end)))
        for value, units, (start, end) in numbers_at(text.lower())
    ]


def _marks(query: _Side, text: _Side, n: int) -> tuple[list[int], list[int]]:
    """Kinds of the query's tokens, and of the document's first n.

    0 query's, 1 document's, 2 document's that the query has too, 3 query's that the document has too; from `BELOW`, numbers of
    the document, by how much they are less or more than the query's of the same unit.
    """
    ours, theirs = [0] * len(query.ids), [1] * n
    for token, places in query.places.items():
        there = text.places.get(token)
        if there is not None and there[0] < n:
            for i in places:
                ours[i] = 3
            for i in there:
                if i < n:
                    theirs[i] = 2
    for asked in query.amounts:
        for amount in text.amounts:
            if alike(asked.units, amount.units):
                for i in amount.tokens:
                    if i < n:
                        theirs[i] = _compared(asked.value, amount.value)
    return ours, theirs


def _compared(asked: float, given: float) -> int:
    """The kind of a number's tokens."""
    if given == asked:
        return SAME
    high, low = max(given, asked), min(given, asked)
    step = sum(high > times * low for times in STEPS)
    return SAME + step if given > asked else SAME - step


def shared(queries: Sequence[str], texts: Sequence[str]) -> list[str]:
    """What a document has of its query, in words for a model to read: shares in tenths, and what contradicts.

    >>> shared(["chair 100 cm"], ["title: Chair 80 cm"])
    ['words 7 title 7 numbers differ. ']
    """
    columns = dict(zip(NAMES, features(queries, texts).T, strict=True))
    marks = {
        "phrase": "phrase",
        "numbers conflicting": "numbers differ",
        "numbers absent": "numbers absent",
        "codes absent": "code absent",
        "negated present": "negated present",
    }
    found = []
    for i in range(len(queries)):
        tenths = [f"{short} {round(10 * float(columns[name][i]))}" for short, name in _SHARES]
        found.append(" ".join([*tenths, *(said for name, said in marks.items() if columns[name][i] > 0)]) + ". ")
    return found
