"""Labelled pairs of a marketplace, as a search team would have them: to learn from, and apart from these, to be held against.

Labels are the simulated truth, where a real team would have people's. Which pairs are drawn is fixed by seed and sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.chance import uniform
from germane.logs import with_segments
from germane.sampling.draw import draw
from germane.simulate.marketplace import BestTextJudge, Marketplace
from germane.text import TextPlan, compose_table, query_digest
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

PEOPLE = "human:everyone (simulated)"
EASY = 0.05
"""Share of random documents among pairs to learn from: nearly all are irrelevant, which top lists never show."""


class Apart(NamedTuple):
    """Queries to learn from and queries to validate on, of which no one is among the others. Tables of queries with `segment`.

    design: inclusion probability of each validation query, by popularity segment.
    """

    train: pa.Table
    validation: pa.Table
    design: pa.Table


def apart(market: Marketplace, n: int, *, least: int = 60, seed: int) -> Apart:
    """n validation queries of the marketplace, at least so many of each popularity segment, and all others to learn from.

    A segment with fewer than 2 * `least` queries gives half of them.
    Raises: InputError where nothing would be left to learn from.
    """
    import pyarrow.compute as pc

    queries = with_segments(market.queries).table
    if not 2 <= n < queries.num_rows:
        raise InputError(f"{n} validation queries of {queries.num_rows}: give 2 or more, and leave some to learn from")
    counts = Counter(str(name) for name in queries["segment"].to_pylist())
    floors = {name: max(min(least, count // 2), 2) for name, count in counts.items()}
    design = draw(queries, n=n, seed=seed, strata=("segment",), allocation="proportional", floors=floors).table
    held = pc.is_in(queries["query_id"], value_set=design["query_id"].combine_chunks()).to_numpy()
    validation = queries.filter(held)
    known = {query_digest(str(text)) for text in validation["query"].to_pylist()}
    same = np.array([query_digest(str(text)) in known for text in queries["query"].to_pylist()])  # the words in another order
    return Apart(queries.filter(~same), validation, design)


def pairs_of(
    market: Marketplace,
    queries: pa.Table,
    shown: Sequence[pa.Table],
    *,
    k: int | None = None,
    fields: Sequence[str] = Marketplace.fields,
) -> pa.Table:
    """Every pair of these queries in any of the ranked lists' top k, once, as a pairs table. fields: what a judge reads."""
    query, item = _shown(market, queries, shown, k)
    return _table(market, query, item, fields)


def drawn_pairs(
    market: Marketplace,
    queries: pa.Table,
    shown: Sequence[pa.Table],
    n: int,
    *,
    easy: float = EASY,
    fields: Sequence[str] = Marketplace.fields,
    seed: int,
) -> pa.Table:
    """n pairs of these queries, about as many of each: from the ranked lists, and a share `easy` of random documents.

    Raises: InputError where the lists hold too few.
    """
    query, item = _shown(market, queries, shown, None)
    wanted = n - round(easy * n)
    if wanted > len(query):
        raise InputError(f"{n:,} pairs: the lists of {queries.num_rows:,} queries hold {len(query):,}; rank more documents")
    chance = uniform(seed, query.astype(np.uint64), item.astype(np.uint64))
    order = np.lexsort((chance, query))
    count = np.bincount(query, minlength=len(market.demand))
    place = np.empty(len(query), dtype=np.int64)
    place[order] = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count)
    kept = np.lexsort((chance, place))[:wanted]  # one of each query, then a second of each, and so on
    asked, drawn = _random(market, np.unique(query), query, item, n - wanted, seed)
    return _table(market, np.concatenate([query[kept], asked]), np.concatenate([item[kept], drawn]), fields)


def people(market: Marketplace, pairs: pa.Table) -> pa.Table:
    """The true grade of each pair, as the judgments of simulated people who never err."""
    return judgments_of(market, pairs, market.truth(*_ids(pairs)), None, PEOPLE, "")


def best(market: Marketplace, pairs: pa.Table) -> pa.Table:
    """What the best possible judge of text says of each pair, with its exact probabilities: the ceiling."""
    judge, probs = BestTextJudge(market), market.probabilities(*_ids(pairs))
    return judgments_of(market, pairs, probs.argmax(axis=1), probs, judge.name, judge.fingerprint)


def _ids(pairs: pa.Table) -> tuple[list[str], list[str]]:
    query_ids, doc_ids = ([str(name) for name in pairs[column].to_pylist()] for column in ("query_id", "doc_id"))
    return query_ids, doc_ids


def _shown(
    market: Marketplace, queries: pa.Table, shown: Sequence[pa.Table], k: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Query and item of each pair in the lists, as numbers, each once and in order."""
    size, codes = len(market.catalogue), []
    wanted = set(queries["query_id"].to_pylist())
    of_query = np.array([query_id in wanted for query_id in market.demand.ids])
    for run in shown:
        query, item, rank = market.numbers(run)
        kept = of_query[query] & (query >= 0) & (item >= 0) & (rank <= (k or rank.max(initial=1)))
        codes.append(query[kept] * size + item[kept])
    code = np.unique(np.concatenate(codes))
    return code // size, code % size


def _random(
    market: Marketplace, asked: NDArray[np.int64], query: NDArray[np.int64], item: NDArray[np.int64], n: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """n pairs of these queries with random items that are in no list of theirs, each once."""
    size, rng = len(market.catalogue), np.random.default_rng([seed, 1])
    drawn = rng.choice(asked, 2 * n + 100) * size + rng.integers(0, size, 2 * n + 100)
    fresh = drawn[~np.isin(drawn, query * size + item)]
    code = fresh[np.sort(np.unique(fresh, return_index=True)[1])][:n]
    if len(code) < n:
        raise InputError(f"{n:,} random pairs of {len(asked):,} queries and {size:,} items: too many for so few")
    return code // size, code % size


def _table(market: Marketplace, query: NDArray[np.int64], item: NDArray[np.int64], fields: Sequence[str]) -> pa.Table:
    """These pairs with their texts, by query and item."""
    order = np.lexsort((item, query))
    ids, words = ([column[i] for i in query[order]] for column in (market.demand.ids, market.demand.texts))
    return table_of(market, ids, words, item[order], fields)


def table_of(
    market: Marketplace, query_ids: Sequence[str], queries: Sequence[str], item: NDArray[np.int64], fields: Sequence[str]
) -> pa.Table:
    """A pairs table of queries and items side by side, with the fields of an item that a judge reads."""
    import pyarrow as pa

    needed, of = np.unique(item, return_inverse=True)
    composed = compose_table(market.docs.take(needed), TextPlan(tuple(fields)))
    columns: dict[str, Any] = {"query_id": pa.array(query_ids, pa.string()), "query": pa.array(queries, pa.string())}
    columns |= {"doc_id": market.docs["doc_id"].combine_chunks().take(item), "text": composed.text.take(of)}
    return pa.table(columns)


def judgments_of(
    market: Marketplace, pairs: pa.Table, grade: NDArray[Any], probs: NDArray[Any] | None, judge: str, fingerprint: str
) -> pa.Table:
    """Grades side by side with pairs as a judgments table."""
    import pyarrow as pa

    from germane.store import SCHEMAS

    schema, n = SCHEMAS["judgments"].arrow(), pairs.num_rows
    said: dict[str, Any] = {"judge": judge, "fingerprint": fingerprint, "scale": market.scale.name, "outcome": "label"}
    said |= {"guide_version": market.scale.version, "note": "simulated"}
    columns: dict[str, Any] = {name: pa.repeat(value, n) for name, value in said.items()}
    columns |= {"query_id": pairs["query_id"], "doc_id": pairs["doc_id"], "relevance": pa.array(grade, pa.int16())}
    kind = schema.field("probs").type
    columns["probs"] = pa.nulls(n, kind) if probs is None else pa.array(probs.astype(np.float32).tolist(), kind)
    for name in set(schema.names) - set(columns):  # what only a judge that was asked several times, or for money, has
        columns[name] = pa.nulls(n, schema.field(name).type)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)
