"""What every trained judge has in common: what it reads of a pair, and how numbers become judgments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from germane.judges.folder import About
from germane.text import document_text
from germane.types import Judgment, Outcome, Pair

Floats = NDArray[np.float64]
Score = Callable[[Sequence[str], Sequence[str]], Floats]  # queries and documents' texts to logits (n, grades)

BLOCK = 4096
"""Pairs that are read before the first is answered: enough to sort by length, little enough to lose nothing much."""


def reads(pair: Pair) -> tuple[str, str]:
    """The query and the document as text; a document with the one field "text" is read as it stands."""
    fields = pair.doc.fields
    text = fields["text"] if set(fields) == {"text"} else document_text(fields)
    return pair.query.text.strip(), text.strip()


def probabilities(logits: Floats, temperature: float = 1.0) -> Floats:
    """Softmax of logits / temperature by row, shape (n, grades).

    >>> probabilities(np.log([[1.0, 3.0]])).round(2).tolist()
    [[0.25, 0.75]]
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers: Floats = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def decide(probs: Floats, weights: Sequence[float] = ()) -> NDArray[np.int64]:
    """The grade with the largest probability times weight, shape (n,); without weights the likeliest.

    >>> decide(np.array([[0.4, 0.6]])).tolist(), decide(np.array([[0.4, 0.6]]), (2.0, 1.0)).tolist()
    ([1], [0])
    """
    return np.asarray((probs * np.asarray(weights) if len(weights) else probs).argmax(axis=1), dtype=np.int64)


def judgments(pairs: Iterable[Pair], about: About, score: Score, *, block: int = BLOCK) -> Iterator[Judgment]:
    """The judgments of a judge that scores texts, in the order of the pairs, block by block.

    A pair with an empty query or document is not scored: there is nothing to judge, so there is no answer. Nor is there one
    where a logit is not a number.
    """
    said = about.name, about.fingerprint, about.scale.name, about.scale.version
    mark = "random weights: its grades mean nothing" if about.random_weights else ""
    stream = iter(pairs)
    while chunk := list(islice(stream, block)):
        texts = [reads(pair) for pair in chunk]
        whole = [i for i, (query, text) in enumerate(texts) if query and text]
        logits = score([texts[i][0] for i in whole], [texts[i][1] for i in whole]) if whole else np.zeros((0, 1))
        known = dict(zip(whole, range(len(whole)), strict=True))
        sound = np.asarray(np.isfinite(logits).all(axis=1))
        probs = probabilities(np.where(sound[:, None], logits, 0.0), about.temperature)
        grades = decide(probs, about.weights) if len(whole) else np.zeros(0, dtype=np.int64)
        for i, (query, doc) in enumerate(chunk):
            ids, row = (query.query_id, doc.doc_id), known.get(i)
            if row is None:
                note = "the query is empty" if not texts[i][0] else "the document has no text"
                yield Judgment(*ids, None, None, *said, Outcome.ABSTAINED, note)
            elif not sound[row]:
                yield Judgment(*ids, None, None, *said, Outcome.UNPARSEABLE, "the model gave no number")
            else:
                yield Judgment(*ids, int(grades[row]), tuple(probs[row].tolist()), *said, note=mark)
