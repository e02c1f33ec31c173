"""Graded examples for a prompt: of golden dev, as like the pair as can be, so many of each grade."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import NamedTuple

from germane.judges.prompts.annotating import Example
from germane.text.terms import query_digest, words
from germane.types import InputError, Scale

LONGEST = 600  # characters of an example's item: what shows why it has its grade


class _Shown(NamedTuple):
    example: Example
    query: str  # digest
    terms: Mapping[str, float]


@dataclass(frozen=True)
class Examples:
    """Graded pairs to choose examples from. each: how many of every grade are shown.

    The likeness of two pairs is the cosine of their words, weighted by how few of the examples hold a word. An example is
    never shown for its own query: it would tell the answer. Every example's query counts as learned from (`queries`).
    """

    graded: tuple[Example, ...]
    scale: Scale
    each: int = 1

    def __post_init__(self) -> None:
        if not self.graded or self.each < 1:
            raise InputError("examples are graded pairs, at least one of each grade is shown: give some, or leave them out")
        of = Counter(word for e in self.graded for word in set(_terms(e.query, e.item)))
        weight = {word: log(1 + len(self.graded) / count) for word, count in of.items()}
        shown = [
            _Shown(e._replace(item=e.item[:LONGEST]), query_digest(e.query), _vector(_terms(e.query, e.item), weight))
            for e in self.graded
        ]
        by_grade: dict[int, list[_Shown]] = defaultdict(list)
        for each in shown:
            by_grade[each.example.grade].append(each)
        for name, value in (("_weight", weight), ("_by_grade", dict(sorted(by_grade.items())))):
            object.__setattr__(self, name, value)

    @property
    def queries(self) -> tuple[str, ...]:
        """Digests of the queries that a judge with these examples has learned from."""
        return tuple(sorted({query_digest(e.query) for e in self.graded}))

    @property
    def digest(self) -> str:
        """12 hex digits of the examples and how many are shown."""
        told = json.dumps([sorted(self.graded), self.each, LONGEST], ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    def of(self, query: str, item: str) -> list[Example]:
        """The examples to show with this pair: of each grade the most alike, worst grade first."""
        asked, own = _vector(_terms(query, item), self._weight), query_digest(query)  # type: ignore[attr-defined]
        found: list[Example] = []
        for shown in self._by_grade.values():  # type: ignore[attr-defined]
            others = [each for each in shown if each.query != own]
            others.sort(key=lambda each: (-_cosine(asked, each.terms), each.example))
            found += [each.example for each in others[: self.each]]
        return found


def _terms(query: str, item: str) -> Sequence[str]:
    return words(query) * 2 + words(item[:LONGEST])  # a query has few words: they count twice


def _vector(terms: Sequence[str], weight: Mapping[str, float]) -> dict[str, float]:
    found = {word: count * weight[word] for word, count in Counter(terms).items() if word in weight}
    size = sum(value**2 for value in found.values()) ** 0.5
    return {word: value / size for word, value in found.items()} if size else {}


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    short, long = sorted((one, other), key=len)
    return sum(value * long.get(word, 0.0) for word, value in short.items())
