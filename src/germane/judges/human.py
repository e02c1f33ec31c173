"""People's votes as a judge: one vote stands, several need a strict majority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from germane.golden.rules import decide
from germane.types import InputError, Judgment, Outcome, Pair, Scale

if TYPE_CHECKING:
    import pyarrow as pa


class People:
    """What people said of a pair: the grade that more than half of all who were asked gave it.

    votes: a judgments table, one row a rater and pair. A rater who abstained was asked, and counts. Without a strict
    majority, and on a pair that nobody was asked about, there is no answer. `probs` are the shares of the grades among
    the answers, where more than one person gave one.

    Raises: InputError for votes of a machine, on another scale, or of a relevance outside the scale.
    """

    fingerprint = ""

    def __init__(self, votes: pa.Table, scale: Scale, *, name: str = "people") -> None:
        self.scale = scale
        self.name = name if name.startswith("human:") else f"human:{name}"
        self._guide_version = _one_guide(votes, scale)
        self._votes: dict[tuple[str, str], list[int | None]] = {}
        columns = (votes[c].to_pylist() for c in ("query_id", "doc_id", "relevance", "judge"))
        for query_id, doc_id, relevance, judge in zip(*columns, strict=True):
            if not str(judge).startswith("human:"):
                raise InputError(f"a vote of {judge!r} on query {query_id!r}: people's votes have a judge named human:NAME")
            if relevance is not None and not 0 <= relevance < len(scale.labels):
                raise InputError(
                    f"a vote of {relevance} on query {query_id!r}: {scale.name!r} has 0 to {len(scale.labels) - 1}"
                )
            self._votes.setdefault((str(query_id), str(doc_id)), []).append(relevance)

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        for query, doc in pairs:
            votes = self._votes.get((query.query_id, doc.doc_id), [])
            grade, note = decide(votes, self.scale)
            counts = Counter(vote for vote in votes if vote is not None)
            answers = counts.total()
            shares = tuple(counts[i] / answers for i in range(len(self.scale.labels))) if answers > 1 else None
            yield Judgment(
                query.query_id,
                doc.doc_id,
                grade,
                shares,
                self.name,
                self.fingerprint,
                self.scale.name,
                self._guide_version,
                Outcome.ABSTAINED if grade is None else Outcome.LABEL,
                note,
            )


def _one_guide(votes: pa.Table, scale: Scale) -> str:
    scales, guides = set(votes["scale"].to_pylist()), set(votes["guide_version"].to_pylist())
    if wrong := scales - {scale.name}:
        raise InputError(f"votes on scale {sorted(map(str, wrong))[0]!r}: expected {scale.name!r}")
    if len(guides) > 1:
        raise InputError(f"votes under {len(guides)} guide versions ({', '.join(sorted(map(str, guides)))}): use those of one")
    return str(next(iter(guides), scale.version))
