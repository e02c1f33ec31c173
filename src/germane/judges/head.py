"""The head of a judge of two towers: two vectors and a few lexical features to the logits of each grade; numpy alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.inference.encoding import Vectors
from germane.inference.tokens import Ints
from germane.inference.vectors import Int8

Floats = NDArray[np.float64]
Stored = Vectors | Int8 | NDArray[np.float16]
"""Vectors (n, d) as they are kept: float32, float16, or int8 with scales."""

_TOGETHER = 24_576
"""Numbers of documents' vectors that are multiplied at once (64 vectors of 384): they stay in the processor's cache, and numpy
does not spread so small a product over threads, which would wait for each other: up to 8 times the processor time on two busy
cores. One product a query, of all its documents, is no faster below 500 documents a query, and half as fast with four."""


class Head(NamedTuple):
    """The head's weights. s = cosine and standardised features; p, a = product and gap of the vectors, number by number.

    logits = relu([p product, a difference, s] hidden + hidden_bias) out + s direct + out_bias, vectors having length sqrt(d).
    """

    product: NDArray[np.float32]
    difference: NDArray[np.float32]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    out: NDArray[np.float32]
    out_bias: NDArray[np.float32]
    direct: NDArray[np.float32]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    def __call__(self, queries: Vectors, texts: Vectors, features: NDArray[np.float32]) -> Floats:
        """Logits (n, grades) of vectors (n, d) of length 1 and features (n, F)."""
        rows = np.arange(len(texts), dtype=np.int64)
        return self.pairs(queries, rows, texts, rows, features)

    def pairs(self, queries: Vectors, of_query: Ints, texts: Stored, of_text: Ints, features: NDArray[np.float32]) -> Floats:
        """Logits (n, grades) of pairs: of_query and of_text (n,) say which of the vectors are each pair's."""
        logits = np.empty((len(of_query), len(self.out_bias)), dtype=np.float64)
        step = max(_TOGETHER // len(self.product), 1)
        for start in range(0, len(of_query), step):
            at = slice(start, start + step)
            logits[at] = self._some(queries[of_query[at]], floats(texts, of_text[at]), features[at])
        return logits

    def one(self, query: Vectors, texts: Stored, features: NDArray[np.float32]) -> Floats:
        """Logits (n, grades) of one query's vector (d,) and the documents of texts, as `pairs` to 1e-5 of them.

        The query is multiplied into the weights, (d, p), and not into every document; a scale of int8 into what comes out.
        """
        n, width = features.shape[0], len(query)
        length = np.float32(np.sqrt(width))
        given = np.empty((n, self.product.shape[1] + self.difference.shape[1]), dtype=np.float32)
        cosine = np.empty((n, 1), dtype=np.float32)
        weights = np.concatenate([query[:, None], query[:, None] * self.product * (length * length)], axis=1)
        far = self.difference * length
        step = max(_TOGETHER // width, 1)
        numbers, scales = (texts.codes, texts.scales) if isinstance(texts, Int8) else (texts, None)
        for start in range(0, n, step):
            at = slice(start, start + step)
            codes = numbers[at].astype(np.float32)
            near = codes @ weights
            if scales is not None:
                near *= scales[at]
                codes *= scales[at]
            cosine[at], given[at, : near.shape[1] - 1] = near[:, :1], near[:, 1:]
            codes -= query
            given[at, near.shape[1] - 1 :] = np.abs(codes, out=codes) @ far
        seen = np.concatenate([cosine, (features - self.mean) / self.spread], axis=1)
        hidden = np.maximum(np.concatenate([given, seen], axis=1) @ self.hidden + self.hidden_bias, 0.0)
        return np.asarray(hidden @ self.out + seen @ self.direct + self.out_bias, dtype=np.float64)

    def _some(self, queries: Vectors, texts: Vectors, features: NDArray[np.float32]) -> NDArray[np.float32]:
        cosine = (queries * texts).sum(axis=1, keepdims=True)
        seen = np.concatenate([cosine, (features - self.mean) / self.spread], axis=1)
        length = np.float32(np.sqrt(queries.shape[1]))
        q, d = queries * length, texts * length
        given = np.concatenate([(q * d) @ self.product, np.abs(q - d) @ self.difference, seen], axis=1)
        hidden = np.maximum(given @ self.hidden + self.hidden_bias, 0.0)
        return np.asarray(hidden @ self.out + seen @ self.direct + self.out_bias)


def floats(texts: Stored, rows: Ints | None = None) -> Vectors:
    """Stored vectors as float32, all of them or these rows."""
    if isinstance(texts, Int8):
        return (texts if rows is None else texts.take(rows)).floats()
    return np.asarray(texts if rows is None else texts[rows], dtype=np.float32)
