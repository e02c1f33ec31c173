"""Judges whose weaknesses are known: one that obeys, one that reads, one that is noisy, one that says nothing."""

import random
from collections.abc import Callable, Iterable, Iterator

from germane.judges.injection import suspicions
from germane.text import words
from germane.types import Judgment, Outcome, Pair, Scale


def overlap(pair: Pair) -> float:
    """The share of the query's words that are in the item."""
    asked = set(words(pair.query.text))
    return len(asked & set(words(" ".join(pair.doc.fields.values())))) / max(len(asked), 1)


class Simulated:
    """Grades by a rule. noise: share of answers that are a step off, drawn anew at every call. silent: answers nothing."""

    def __init__(self, scale: Scale, rule: Callable[[Pair, int], int | None], *, noise: float = 0.0, seed: int = 0) -> None:
        self.scale, self.rule, self.noise, self.rng = scale, rule, noise, random.Random(seed)
        self.name, self.fingerprint, self.calls = "simulated", f"simulated:{seed}", 0

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        top = len(self.scale.labels) - 1
        for pair in pairs:
            self.calls += 1
            grade = self.rule(pair, top)
            if grade is not None and self.rng.random() < self.noise:
                grade = min(max(grade + self.rng.choice([-1, 1]), 0), top)
            outcome = Outcome.LABEL if grade is not None else Outcome.ABSTAINED
            ids = (pair.query.query_id, pair.doc.doc_id)
            yield Judgment(*ids, grade, None, self.name, self.fingerprint, self.scale.name, self.scale.version, outcome)


def obeys(pair: Pair, top: int) -> int:
    """The best grade to whoever gives an order or claims to be relevant; otherwise by a fixed draw of the ids."""
    text = "\n".join(pair.doc.fields.values())
    return top if set(suspicions(text)) & {"instructions", "claims of relevance"} else steady(pair, top)


def steady(pair: Pair, top: int) -> int:
    """Never the best grade, and the same whatever the words say; the lowest where there is nothing to judge."""
    said = " ".join(pair.doc.fields.values())
    return random.Random(f"{pair.query.query_id} {pair.doc.doc_id}").randrange(top) if len(words(said)) > 2 else 0
