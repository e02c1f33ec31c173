"""A sampled day of search: who asked what, how it was drawn, how relevant the answers were, and what was shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.types import InputError

Floats = NDArray[np.float64]
Names = NDArray[np.str_]
Masks = NDArray[np.bool_]

ALL = "all"
"""The segment of everything; another is written column=value, as language=de."""

JUDGE = "judge"
"""The metric whose changes are those of the anchors: fixed pairs, judged again each day past the store."""


@dataclass(frozen=True)
class Day:
    """A day's sampled queries, each once, with what it stands for and how relevant its results were.

    date: ISO, 2026-03-01. query: (n,) normalised text. requests: (n,) of the query that day. probability: (n,) the share of
    its stratum's queries that was drawn. stratum: (n,). panel: (n,) True for queries of the rotating panel, False for those
    drawn fresh. segments: column -> (n,) its value of each query. metrics: name -> (n,) in 0 to 1, NaN where there is no
    answer, which is not zero. judge, guide: fingerprint of the judge and version of the guide that gave the grades, "" if not
    told. varied: (n,) True where the query's requests were shown more than one list, of which one was taken; None where that
    is not told. totals: stratum -> its requests that day, where they are known: each stratum then has that weight, whatever
    was drawn.
    """

    date: str
    query: Names
    requests: Floats
    probability: Floats
    stratum: Names
    panel: Masks
    segments: Mapping[str, Names] = field(default_factory=dict)
    metrics: Mapping[str, Floats] = field(default_factory=dict)
    judge: str = ""
    guide: str = ""
    varied: Masks | None = None
    totals: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.query)
        columns: dict[str, Any] = {name: getattr(self, name) for name in ("requests", "probability", "stratum", "panel")}
        columns |= {} if self.varied is None else {"varied": self.varied}
        for name, values in {**columns, **self.segments, **self.metrics}.items():
            if np.shape(values) != (n,):
                raise InputError(f"day {self.date}: {n} queries and {name} of shape {np.shape(values)}: give one a query")
        if n and not (np.isfinite(self.probability).all() and (self.probability > 0).all() and (self.probability <= 1).all()):
            raise InputError(f"day {self.date}: a query's probability of being drawn is not within 0 and 1")
        if n and not (np.isfinite(self.requests).all() and (self.requests >= 0).all()):
            raise InputError(f"day {self.date}: a query has no finite number of requests, 0 or more")
        if self.totals and (unknown := set(np.unique(self.stratum).tolist()) - set(self.totals)):
            raise InputError(f"day {self.date}: no total of requests is given for stratum {min(unknown)!r}")
        if len(set(self.query.tolist())) != n:
            raise InputError(f"day {self.date}: a query stands there twice: add its requests up, and give it once")

    def __len__(self) -> int:
        return len(self.query)

    @property
    def weights(self) -> Floats:
        """(n,) requests that each query stands for: its own, divided by the share that was drawn of its stratum's requests,
        where these are known, and else of its queries.
        """
        if not self.totals:
            return np.asarray(self.requests / self.probability, np.float64)
        names, code = np.unique(self.stratum, return_inverse=True)
        drawn = np.bincount(code, weights=self.requests, minlength=names.size)
        total = np.array([self.totals[name] for name in names.tolist()], np.float64)
        return np.asarray(self.requests * (total / np.maximum(drawn, 1e-300))[code], np.float64)

    def members(self) -> dict[str, Masks]:
        """Segment -> (n,) who is in it: "all" first, then column=value for each value, in order."""
        found: dict[str, Masks] = {ALL: np.ones(len(self), np.bool_)}
        for column, values in self.segments.items():
            for value in sorted(set(np.asarray(values).tolist())):
                found[f"{column}={value}"] = np.asarray(values == value, np.bool_)
        return found


@dataclass(frozen=True)
class Lists:
    """What was shown for each of a day's queries, in order, and the day's label of each document.

    query: (n,). docs: ids in order, one tuple a query. gains: each document's gain in 0 to 1, NaN where there is no
    answer. fingerprint: of the judge who gave each label. fresh: True where the label was made since the other day that
    these lists are compared with, past or beside the store; None says all of them were.
    """

    query: Names
    docs: Sequence[tuple[str, ...]]
    gains: Sequence[Floats]
    fingerprint: Sequence[tuple[str, ...]] = ()
    fresh: Sequence[Masks] | None = None

    def __post_init__(self) -> None:
        n = len(self.query)
        if not (len(self.docs) == len(self.gains) == n):
            raise InputError(f"{n} queries, {len(self.docs)} lists and {len(self.gains)} rows of gains: give one a query")
        for query, docs, gains in zip(self.query, self.docs, self.gains, strict=True):
            if len(docs) != len(gains):
                raise InputError(f"query {query!r}: {len(docs)} documents and {len(gains)} gains: give one a document")


class Seen(NamedTuple):
    """A day and what it showed, row for row the same queries."""

    day: Day
    lists: Lists
