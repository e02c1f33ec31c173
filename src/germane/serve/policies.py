"""What becomes of a document by its grades: policies of `germane signal`, asked about one request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from germane import signal
from germane.judges.saying import DocScores
from germane.signal.deciding import ALL, Decides, Decisions, order
from germane.types import Scale


class Asked(NamedTuple):
    """What a policy is told of a request. scores: the engine's, of each document, if it sent them; segment: of the query."""

    query: str
    said: DocScores
    scale: Scale
    scores: Sequence[float] | None = None
    segment: str | None = None


class Decision(NamedTuple):
    """What a policy does with one document. action: "keep", "drop", "boost" or "move"; value: a score or a number of places.

    place: 1 for the first of those that are kept, where the engine's scores were sent; None for one that is dropped, or has no
    score.
    """

    doc_id: str
    action: str
    value: float | None = None
    why: str = ""
    place: int | None = None


class Policy(Protocol):
    """A treatment of search results by their grades. A document that is not known has no grade: keep it as it is."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def decide(self, asked: Asked) -> Sequence[Decision]:
        """One decision for each document, in their order."""
        ...


class Treatment:
    """A policy of `germane signal` at work on requests."""

    def __init__(self, policy: Decides) -> None:
        self._policy, self.name, self.kind = policy, policy.name, policy.kind

    def decide(self, asked: Asked) -> list[Decision]:
        said = asked.said
        done = self._policy.decide(segment=asked.segment or ALL, probs=said.probs, gain=said.gains, known=said.known)
        scores = np.full(len(said.doc_ids), np.nan) if asked.scores is None else np.asarray(asked.scores, dtype=np.float64)
        scored = np.flatnonzero(np.isfinite(scores))  # a document without a score has no place among the others
        some = Decisions(done.keep[scored], done.boost[scored], ("",) * len(scored), done.most)
        places = {int(scored[at]): place for place, at in enumerate(order(scores[scored], some), 1)}
        rows = zip(said.doc_ids, done.keep.tolist(), done.boost.tolist(), done.reason, strict=True)
        return [
            Decision(doc_id, "drop" if not keep else "boost" if boost else "keep", boost or None, why, places.get(i))
            for i, (doc_id, keep, boost, why) in enumerate(rows)
        ]


def load(path: Path, fingerprint: str, scale: Scale) -> Policy:
    """The policy in a file, for a student of this fingerprint and scale.

    Raises: InputError for a file that is no policy, and for one that was chosen for another judge or scale.
    """
    return Treatment(signal.load(path, fingerprint=fingerprint, scale=scale.name))
