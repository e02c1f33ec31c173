"""Pairs of texts as a cross-encoder reads them, put together from texts that were each cut into tokens once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from germane.inference.ragged import Ints, Rows, spans, starts_of


class Frame(NamedTuple):
    """What a tokenizer puts before the first text, between both, and after the second: tokens and their kinds of each.

    first, second: the kinds of the texts' own tokens.
    """

    around: tuple[tuple[Sequence[int], Sequence[int]], ...]
    first: int
    second: int


def cut(tokenizer: Any, texts: Sequence[str]) -> Rows:
    """The tokens of each text by itself. tokenizer: of the tokenizers library. Words that look like its marks are words."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    starts = starts_of([len(each) for each in found])
    ids = np.fromiter(chain.from_iterable(each.ids for each in found), np.int32, int(starts[-1]))
    return Rows(ids, None, starts)


def joined(first: Rows, second: Rows, pairs: tuple[Ints, Ints], frame: Frame, most: int, *, kinds: bool) -> Rows:
    """A row of tokens for each pair, at most so many, of which the second text's end is cut.

    pairs: (n,) which of the first texts, and which of the second. kinds: rows say them.

    >>> frame = Frame((([1], [0]), ([2], [0]), ([2], [1])), 0, 1)
    >>> rows = joined(Rows.of([[7, 8]]), Rows.of([[9], [5, 6]]), (np.array([0, 0]), np.array([1, 0])), frame, 6, kinds=True)
    >>> rows.ids.tolist(), rows.kinds.tolist(), rows.starts.tolist()
    ([1, 7, 8, 2, 5, 2, 1, 7, 8, 2, 9, 2], [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1], [0, 6, 12])
    """
    sizes = [len(tokens) for tokens, _ in frame.around]
    asked = first.lengths[pairs[0]]
    given = np.minimum(second.lengths[pairs[1]], np.maximum(most - asked - sum(sizes), 0))
    starts = starts_of(asked + given + sum(sizes))
    begins = starts[:-1], starts[:-1] + sizes[0] + asked, starts[1:] - sizes[2]  # where each part of the frame stands
    texts = spans(begins[0] + sizes[0], asked), spans(begins[1] + sizes[1], given)
    ids = np.empty(starts[-1], dtype=np.int32)
    ids[texts[0]] = first.ids[spans(first.starts[:-1][pairs[0]], asked)]
    ids[texts[1]] = second.ids[spans(second.starts[:-1][pairs[1]], given)]
    named = np.empty_like(ids) if kinds else None
    for at, (tokens, said) in zip(begins, frame.around, strict=True):
        for i, token in enumerate(tokens):
            ids[at + i] = token
            if named is not None:
                named[at + i] = said[i]
    if named is not None:
        named[texts[0]], named[texts[1]] = frame.first, frame.second
    return Rows(ids, named, starts)
