"""What every trained judge has in common: what it reads of a pair, and how numbers become judgments."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.judges.folder import About
from germane.text import document_text
from germane.types import Judgment, Outcome, Pair

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Score = Callable[[Sequence[str], Sequence[str]], Floats]  # queries and documents' texts to logits (n, grades)
Stream = Callable[[Iterable[tuple[Sequence[str], Sequence[str]]]], Iterator[Floats]]  # the same of one job after the other

_EMPTY = {True: "the query is empty", False: "the document has no text"}
_NO_NUMBER = "the model gave no number"

BLOCK = 4096
"""Pairs that are read before the first is answered: enough to sort by length, little enough to lose nothing much."""


class DocScores(NamedTuple):
    """What a judge says of documents by their ids. known: (n,) whether it has a vector of each.

    probs: (n, grades) of each grade. gains: (n,) expected gain, on the scale's gains. Neither is a number where a document
    is not known, or the query is empty: no answer is not zero.
    """

    doc_ids: tuple[str, ...]
    known: NDArray[np.bool_]
    probs: Floats
    gains: Floats


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
    mark = _mark(about)
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
                yield Judgment(*ids, None, None, *said, Outcome.ABSTAINED, _EMPTY[not texts[i][0]])
            elif not sound[row]:
                yield Judgment(*ids, None, None, *said, Outcome.UNPARSEABLE, _NO_NUMBER)
            else:
                yield Judgment(*ids, int(grades[row]), tuple(probs[row].tolist()), *said, note=mark)


def tables(pairs: Iterable[pa.Table], about: About, stream: Stream) -> Iterator[pa.Table]:
    """The same judgments of tables of pairs, as tables; the next ones are taken while the first is computed."""
    waiting: deque[tuple[pa.Table, NDArray[np.bool_], NDArray[np.bool_]]] = deque()

    def jobs() -> Iterator[tuple[Sequence[str], Sequence[str]]]:
        for table in pairs:
            queries, texts = ([str(text or "").strip() for text in table[name].to_pylist()] for name in ("query", "text"))
            asked = np.array([bool(query) for query in queries], dtype=bool)
            whole = asked & np.array([bool(text) for text in texts], dtype=bool)
            waiting.append((table, asked, whole))
            at = np.flatnonzero(whole)
            yield [queries[i] for i in at], [texts[i] for i in at]

    for logits in stream(jobs()):
        yield _table(*waiting.popleft(), about, logits)


def answers(pairs: pa.Table, about: About, score: Score) -> pa.Table:
    """The same judgments of the rows of one table of pairs, whose `text` is the document as it is read."""

    def stream(jobs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Iterator[Floats]:
        for queries, texts in jobs:
            yield score(queries, texts) if queries else np.zeros((0, len(about.scale.labels)))

    return next(tables([pairs], about, stream))


def _table(pairs: pa.Table, asked: NDArray[np.bool_], whole: NDArray[np.bool_], about: About, logits: Floats) -> pa.Table:
    import pyarrow as pa

    from germane.store import SCHEMAS

    n, at = pairs.num_rows, np.flatnonzero(whole)
    sound = np.isfinite(logits).all(axis=1)
    probs = probabilities(logits[sound], about.temperature) if sound.any() else np.zeros((0, len(about.scale.labels)))
    graded = np.zeros(n, dtype=bool)
    graded[at[sound]] = True
    relevance = np.zeros(n, dtype=np.int16)
    relevance[graded] = decide(probs, about.weights)
    outcome = np.where(graded, str(Outcome.LABEL), np.where(whole, str(Outcome.UNPARSEABLE), str(Outcome.ABSTAINED)))
    note = np.where(graded, _mark(about), np.where(whole, _NO_NUMBER, np.where(asked, _EMPTY[False], _EMPTY[True])))
    ends: Any = np.concatenate([[0], np.cumsum(graded * probs.shape[1])]).astype(np.int32)
    values: Any = pa.array(probs.ravel().astype(np.float32))
    said: dict[str, Any] = {name: pairs[name] for name in ("query_id", "doc_id")}
    said["relevance"] = pa.array(relevance, mask=~graded)
    said["probs"] = pa.ListArray.from_arrays(pa.array(ends), values, mask=pa.array(~graded))
    same = {"judge": about.name, "fingerprint": about.fingerprint, "scale": about.scale.name}
    said |= {name: pa.repeat(text, n) for name, text in (same | {"guide_version": about.scale.version}).items()}
    said |= {"outcome": pa.array(outcome.tolist(), pa.string()), "note": pa.array(note.tolist(), pa.string())}
    schema = SCHEMAS["judgments"].arrow()
    said |= {field.name: pa.nulls(n, field.type) for field in schema if field.name not in said}
    return pa.table(said).select(schema.names).cast(schema)


def _mark(about: About) -> str:
    return "random weights: its grades mean nothing" if about.random_weights else ""
