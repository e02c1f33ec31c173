"""A request's work, in a thread: what the student says of documents, until the deadline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from germane.inference.vectors import Int8, int8
from germane.judges import lexical
from germane.judges.head import floats
from germane.judges.saying import DocScores, decide, probabilities
from germane.serve.generations import Generation
from germane.serve.limits import Deadline
from germane.serve.policies import Asked

STEP = 4  # texts that are encoded between two looks at the clock


class TooLate(Exception):
    """The deadline passed during the work: nobody waits for its answer."""


def score_docs(generation: Generation, query: str, doc_ids: Sequence[str], deadline: Deadline) -> DocScores:
    """As `TwoTower.score_docs`, with the query's vector from the cache or a batch. Raises: TooLate."""
    if deadline.passed:
        raise TooLate
    asked = query.strip()
    vector = generation.encoder.submit(asked) if asked else None
    return generation.student.score_docs(query, doc_ids, generation.documents, vector=vector)


def score_texts(generation: Generation, query: str, texts: Sequence[str], ids: Sequence[str], deadline: Deadline) -> DocScores:
    """What the student says of texts. Vectors that are stored are taken; others are made, rounded as those, and not kept.

    Raises: TooLate.
    """
    student, vectors = generation.student, generation.documents.vectors
    asked, given = query.strip(), [text.strip() for text in texts]
    whole = [i for i, text in enumerate(given) if text]
    probs = np.full((len(texts), len(student.scale.labels)), np.nan)
    if asked and whole:
        waits = generation.encoder.submit(asked)
        different = list(dict.fromkeys(given[i] for i in whole))
        rows = vectors.find(different)
        found = np.empty((len(different), student.dimension), dtype=np.float32)
        there = np.flatnonzero(rows >= 0)
        if len(there):
            found[there] = floats(vectors.take(rows[there]))
        missing = np.flatnonzero(rows < 0)
        for start in range(0, len(missing), STEP):
            if deadline.passed:
                raise TooLate
            some = missing[start : start + STEP]
            found[some] = _rounded(student.encode_texts([different[i] for i in some]), vectors.about.store)
        ready = [lexical.read(text) for text in different] if student.lexical else []
        features = student.features([asked] * len(different), ready or different)
        logits = student.score_query(waits(), found, features)
        made = probabilities(np.where(np.isfinite(logits), logits, 0.0), student.about.temperature)
        made[~np.isfinite(logits).all(axis=1)] = np.nan  # of a text of which the tower makes no number
        place = {text: n for n, text in enumerate(different)}
        probs[whole] = made[[place[given[i]] for i in whole]]
    known = np.zeros(len(texts), dtype=bool)
    known[whole] = True
    return DocScores(tuple(ids), known, probs, probs @ np.asarray(student.scale.gains))


def _rounded(vectors: Any, store: str) -> Any:
    """Vectors as they come back from a folder that stores them so."""
    if store == "int8":
        sound = np.isfinite(vectors).all(axis=1)
        small: Int8 = int8(np.where(sound[:, None], vectors, 0.0))
        return np.where(sound[:, None], small.floats(), np.nan)
    return vectors.astype(np.float16).astype(np.float32) if store == "fp16" else vectors


def documents(generation: Generation, said: DocScores) -> list[dict[str, Any]]:
    """What is said of each document, for JSON: what has no number has null."""
    about, labels = generation.student.about, generation.student.scale.labels
    sound = np.isfinite(said.gains)
    grades = decide(np.where(sound[:, None], said.probs, 0.0), about.weights).tolist()
    rows = zip(said.doc_ids, said.known.tolist(), said.probs.tolist(), said.gains.tolist(), grades, sound.tolist(), strict=True)
    return [
        {"doc_id": doc_id, "known": known, "probs": probs, "gain": gain, "label": labels[grade]}
        if there
        else {"doc_id": doc_id, "known": known, "probs": None, "gain": None, "label": None}
        for doc_id, known, probs, gain, grade, there in rows
    ]


def decisions(generation: Generation, asked: Asked) -> dict[str, list[dict[str, Any]]]:
    """What each policy does with each document."""
    return {policy.name: [made._asdict() for made in policy.decide(asked)] for policy in generation.policies}
