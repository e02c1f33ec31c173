"""Pairs to logits by the packed engine: cut into tokens in another thread while the model computes those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from germane.inference.ahead import ahead
from germane.inference.packed import Floats, Packed
from germane.inference.ragged import Rows
from germane.judges.marking import Reader

MANY = 8192
"""Pairs of a job from which it is worth the seconds to compile what they need."""

CUT = 2048
"""Pairs that are cut into tokens at once."""

AHEAD = 8
"""Times CUT that are cut before their turn: a second of a fast GPU's work."""

Texts = tuple[Sequence[str], Sequence[str]]  # queries, and as many documents


class Packing:
    """The logits (n, grades) of jobs of pairs, in their order; while one is computed, the next one is read.

    A job gets the same logits whatever is asked beside it: jobs share batches only where that changes no bit.
    """

    def __init__(self, reader: Reader, engine: Packed) -> None:
        self._reader, self.engine = reader, engine

    def __call__(self, jobs: Iterable[Texts]) -> Iterator[Floats]:
        for many, group in groupby(jobs, key=lambda job: len(job[0]) >= MANY):
            if many and self.engine.joins:
                yield from self._through(group, many=True)
            else:
                for job in group:
                    yield from self._through([job], many=many)

    def _through(self, jobs: Iterable[Texts], *, many: bool) -> Iterator[Floats]:
        parts: deque[int] = deque()  # of each job that is not answered
        rows = ahead(self._rows, _cut(jobs, parts), AHEAD)
        found: list[Floats] = []
        try:
            for logits in self.engine(rows, many=many):
                found.append(logits)
                if len(found) == parts[0]:
                    yield np.concatenate(found)
                    parts.popleft()
                    found = []
        finally:
            rows.close()  # type: ignore[attr-defined]

    def _rows(self, part: _Cut) -> Rows:
        return self._reader.packed(part.queries, part.texts)


class _Cut(NamedTuple):
    """Some pairs of a job."""

    queries: Sequence[str]
    texts: Sequence[str]


def _cut(jobs: Iterable[Texts], parts: deque[int]) -> Iterator[_Cut]:
    """The jobs cut into parts, at least one of each; how many there are of each is put into `parts`."""
    for queries, texts in jobs:
        starts = range(0, max(len(queries), 1), CUT)
        parts.append(len(starts))
        for at in starts:
            yield _Cut(queries[at : at + CUT], texts[at : at + CUT])
