"""Whether golden pairs or queries occur elsewhere: in training data, few-shot examples, audits; exactly or nearly."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.text import fields_of, pair_digest, query_digest
from germane.text.duplicates import near

if TYPE_CHECKING:
    import pyarrow as pa

NEAR = 0.9
"""Jaccard similarity of word triples from which two texts count as one that was typed twice; as in `train --sealed`."""

SHOWN = 5


class Leak(NamedTuple):
    """What one file shares with the golden set. kind: how they are alike. golden: of so many golden pairs or queries.

    examples: some of them, in words.
    """

    against: str
    kind: str
    golden: int
    examples: tuple[str, ...]


def leaks(golden: pa.Table, other: pa.Table, name: str, *, similarity: float = NEAR) -> list[Leak]:
    """The leaks between two tables, strongest first: the same pair, nearly the same, the same query, nearly the same.

    golden, other: query_id, doc_id, query, text, those that are there; texts matter more than ids, which other data may
    use for other things: ids are compared only where neither table says otherwise by a text. A golden pair is counted in
    the first kind that it falls under.
    """
    mine, theirs = _rows(golden), _rows(other)
    found: list[Leak] = []
    seen: set[tuple[str, str]] = set()

    def add(kind: str, pairs: Collection[tuple[str, str]]) -> None:
        fresh = [pair for pair in dict.fromkeys(pairs) if pair not in seen]
        seen.update(fresh)
        if fresh:
            told = tuple(f"query {q!r}, document {d!r}" if d else f"query {q!r}" for q, d in fresh[:SHOWN])
            found.append(Leak(name, kind, len(fresh), told))

    for kind, rows in _same(mine, theirs, similarity).items():
        add(kind, [mine[i].pair for i in rows])
    queries = {query_digest(row.query) for row in theirs if row.query}
    add("the same query, by its words", [row.pair for row in mine if row.query and query_digest(row.query) in queries])
    asked, known = [row for row in mine if row.query], sorted({row.query for row in theirs if row.query})
    if asked and known:
        hits = near([row.query for row in asked], known, similarity, n=1).a
        add("nearly the same query", [asked[i].pair for i in hits.tolist()])
    bare = {row.query_id: row for row in theirs if row.query_id}
    same = [r.pair for r in mine if r.query_id and (hit := bare.get(r.query_id)) is not None and not (r.query and hit.query)]
    add("the same query, by its id", same)
    return found


def shared(mine: pa.Table, theirs: pa.Table, *, similarity: float = NEAR) -> NDArray[np.int64]:
    """The rows of `mine` whose pair is among `theirs`, in order: by its ids, its document under the same words, or its words.

    mine, theirs: as `leaks` takes them. This is the one rule of what is the same pair, wherever two sets are kept apart.

    >>> import pyarrow as pa
    >>> known = pa.table({"query_id": ["1"], "doc_id": ["a"], "query": ["Oak table"], "text": ["A table of oak"]})
    >>> asked = {"query_id": ["7", "8"], "doc_id": ["z", "a"], "query": ["oak table", "lamp"], "text": ["a table, of oak", "-"]}
    >>> shared(pa.table(asked), known).tolist()
    [0]
    """
    found = _same(_rows(mine), _rows(theirs), similarity)
    return np.array(sorted({i for rows in found.values() for i in rows}), dtype=np.int64)


def _same(mine: list[_Row], theirs: list[_Row], similarity: float) -> dict[str, list[int]]:
    """Rows of `mine` that are a pair of `theirs`, by how they are alike, the strongest likeness first."""
    ids = {row.ids: row for row in theirs if row.query_id and row.doc_id}
    asked = {(query_digest(row.query), row.doc_id) for row in theirs if row.query and row.doc_id}
    pairs = {pair_digest(row.query, row.text) for row in theirs if row.query and row.text}
    found: dict[str, list[int]] = {}
    for i, row in enumerate(mine):
        hit = ids.get(row.ids) if row.query_id and row.doc_id else None
        if hit is not None and not row.differs(hit):
            found.setdefault("the same pair, by its ids", []).append(i)
        elif row.query and row.doc_id and (query_digest(row.query), row.doc_id) in asked:
            found.setdefault("the same document under a query of the same words", []).append(i)
        elif row.query and row.text and pair_digest(row.query, row.text) in pairs:
            found.setdefault("the same pair, by its words", []).append(i)
    rows = _nearly(mine, theirs, similarity)
    if rows:
        found[f"nearly the same pair ({similarity:g} of its words or more)"] = rows
    return found


def _nearly(mine: list[_Row], theirs: list[_Row], similarity: float) -> list[int]:
    """Rows of `mine` with nearly the same words in the query, and in the text, as one of `theirs`: each by itself, since a
    long text would outweigh any query."""
    ours = [i for i, row in enumerate(mine) if row.query and row.text]
    others = [row for row in theirs if row.query and row.text]
    if not ours or not others:
        return []
    queries = _alike([mine[i].query for i in ours], [row.query for row in others], similarity, n=1)
    texts = _alike([mine[i].text for i in ours], [row.text for row in others], similarity, n=3)
    there = {(row.query, row.text) for row in others}
    return [
        i for i in ours if any((q, t) in there for t in texts.get(mine[i].text, ()) for q in queries.get(mine[i].query, ()))
    ]


def _alike(mine: list[str], theirs: list[str], similarity: float, n: int) -> dict[str, list[str]]:
    """For each different text of `mine` those of `theirs` that are nearly the same, by runs of n words."""
    one, other = list(dict.fromkeys(mine)), list(dict.fromkeys(theirs))
    hits = near(one, other, similarity, n=n)
    found: dict[str, list[str]] = {}
    for a, b in zip(hits.a.tolist(), hits.b.tolist(), strict=True):
        found.setdefault(one[a], []).append(other[b])
    return found


def of_digests(golden: pa.Table, digests: Collection[str], name: str) -> list[Leak]:
    """The leak of a judge that says which queries it learned from by digests of their words."""
    known = frozenset(digests)
    hits = [row for row in _rows(golden) if row.query and query_digest(row.query) in known]
    if not hits:
        return []
    told = tuple(f"query {query!r}" for query in list(dict.fromkeys(row.query for row in hits))[:SHOWN])
    return [Leak(name, "a query that the judge learned from", len({row.pair for row in hits}), told)]


class _Row(NamedTuple):
    query_id: str
    doc_id: str
    query: str
    text: str

    @property
    def pair(self) -> tuple[str, str]:
        return self.query_id or self.query, self.doc_id

    @property
    def ids(self) -> tuple[str, str]:
        return self.query_id, self.doc_id

    def differs(self, other: _Row) -> bool:
        """True if both say their query's text and it is another: then equal ids mean nothing."""
        return bool(self.query and other.query and query_digest(self.query) != query_digest(other.query))


def _rows(table: pa.Table) -> list[_Row]:
    columns = [
        [str(v or "") for v in table[c].to_pylist()] if c in table.column_names else [""] * table.num_rows for c in _Row._fields
    ]
    query_id, doc_id, query, text = columns
    bare = ["\n".join(value for _, value in fields_of(each)) for each in text]  # whatever the fields are called
    return [_Row(*row) for row in zip(query_id, doc_id, query, bare, strict=True)]
