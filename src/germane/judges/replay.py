"""Judges that say again what is known: a recording, or a known truth blurred by a stated confusion matrix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.chance import keys, uniform
from germane.types import InputError, Judgment, Outcome, Pair, Scale

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 8192
Truth = Callable[[Sequence[str], Sequence[str]], ArrayLike]  # query ids and doc ids to relevance, -1 where unknown


class Recorded:
    """Answers each pair as its recording does, as the judge who was recorded; abstains on a pair it does not hold.

    recording: a judgments table of one judge, under one scale and guide version.
    Raises: InputError for no rows, for several judges at once, and for a pair that was judged twice.
    """

    def __init__(self, recording: pa.Table) -> None:
        rows = [Judgment(**{**row, "outcome": Outcome(row["outcome"])}) for row in _complete(recording).to_pylist()]
        kinds = {(j.judge, j.fingerprint, j.scale, j.guide_version) for j in rows}
        if len(kinds) != 1:
            found = "none" if not kinds else "; ".join(sorted(f"{judge} on {scale}" for judge, _, scale, _ in kinds)[:4])
            raise InputError(f"a recording is of one judge, scale and guide version, found {len(kinds)}: {found}")
        self.name, self.fingerprint, self.scale, self.guide_version = next(iter(kinds))
        self._said = {(j.query_id, j.doc_id): j for j in rows}
        if len(self._said) < len(rows):
            raise InputError(f"the recording of {self.name} holds {len(rows) - len(self._said)} pairs twice: keep one of each")

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        for query, doc in pairs:
            found = self._said.get((query.query_id, doc.doc_id))
            if found is not None and found.probs is not None:
                found = found._replace(probs=tuple(found.probs))
            yield found or Judgment(
                query.query_id,
                doc.doc_id,
                None,
                None,
                self.name,
                self.fingerprint,
                self.scale,
                self.guide_version,
                Outcome.ABSTAINED,
                "not in the recording",
            )


class Confused:
    """A judge whose errors are stated: a true grade i is reported as j with probability confusion[i, j].

    Which pairs it gets wrong is fixed by seed and ids, so it can be asked again. truth: what is known; -1 = unknown,
    on which the judge abstains. prior: share of each true grade; with it, `probs` is the posterior of the true grade
    given the reported one, the same for all pairs with that report: calibrated and coarse.

    Raises: InputError for a matrix that is not square on the scale, or whose rows are no probabilities.

    >>> from germane.scales import get
    >>> judge = Confused(lambda q, d: [3, 0], np.eye(4), scale=get("esci"), seed=1)
    >>> relevance, _ = judge.grade(["q1", "q1"], ["d1", "d2"])
    >>> relevance.tolist()
    [3, 0]
    """

    def __init__(
        self,
        truth: Truth,
        confusion: ArrayLike,
        *,
        scale: Scale,
        seed: int,
        prior: ArrayLike | None = None,
        name: str = "replay",
    ) -> None:
        self.confusion = np.asarray(confusion, dtype=float)
        size = len(scale.labels)
        if self.confusion.shape != (size, size):
            raise InputError(f"a confusion matrix on scale {scale.name!r} is {size} x {size}, found {self.confusion.shape}")
        if not (self.confusion.min() >= 0 and np.allclose(self.confusion.sum(axis=1), 1, rtol=0, atol=1e-6)):
            raise InputError(f"each row of a confusion matrix adds to 1, found {self.confusion.sum(axis=1).tolist()}")
        self.scale, self.name, self.seed = scale, name, seed
        stated = json.dumps([self.confusion.tolist(), seed, scale.name, scale.version, name])
        self.fingerprint = "replay:" + hashlib.sha256(stated.encode()).hexdigest()[:12]
        self._truth = truth
        self._posterior = None if prior is None else posterior(self.confusion, prior)

    def grade(self, query_ids: Sequence[str], doc_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """Reported grades (n,), -1 where it abstains, and the posterior (n, grades) if a prior was given."""
        true = np.asarray(self._truth(query_ids, doc_ids), dtype=np.int64)
        chance = uniform(self.seed, keys(query_ids), keys(doc_ids))
        bounds = self.confusion.cumsum(axis=1)[:, :-1]
        said = np.where(true < 0, -1, (chance[:, None] >= bounds[true]).sum(axis=1))
        return said, None if self._posterior is None else self._posterior[said]

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        scale, version = self.scale, self.scale.version
        stream = iter(pairs)
        while block := list(islice(stream, BLOCK)):
            names = [p.query.query_id for p in block], [p.doc.doc_id for p in block]
            said, probs = self.grade(*names)
            for i, (query_id, doc_id) in enumerate(zip(*names, strict=True)):
                known = said[i] >= 0
                yield Judgment(
                    query_id,
                    doc_id,
                    int(said[i]) if known else None,
                    tuple(probs[i].tolist()) if known and probs is not None else None,
                    self.name,
                    self.fingerprint,
                    scale.name,
                    version,
                    Outcome.LABEL if known else Outcome.ABSTAINED,
                    "" if known else "no truth is known",
                )


def posterior(confusion: ArrayLike, prior: ArrayLike) -> NDArray[np.float64]:
    """The probability of each true grade (column) given the reported one (row), by Bayes' rule.

    A report that cannot happen has the prior.

    >>> posterior([[0.9, 0.1], [0.2, 0.8]], [0.5, 0.5]).round(3).tolist()
    [[0.818, 0.182], [0.111, 0.889]]
    """
    share = np.asarray(prior, dtype=float) / np.sum(prior)
    joint = (np.asarray(confusion, dtype=float) * share[:, None]).T
    total = joint.sum(axis=1, keepdims=True)
    given: NDArray[np.float64] = np.where(total > 0, joint / np.where(total > 0, total, 1), share)
    return given


def _complete(recording: pa.Table) -> pa.Table:
    from germane.store import conform

    table = conform(recording, "judgments", name="recording")
    return table if "probs" in table.column_names else table.append_column("probs", _nulls(table.num_rows))


def _nulls(rows: int) -> pa.Array[pa.Scalar[pa.DataType]]:
    import pyarrow as pa

    return pa.nulls(rows, pa.list_(pa.float32()))
