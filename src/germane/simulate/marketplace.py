"""A marketplace whose truth is known: items, queries, a log, clicks, and the true grade of any pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from germane.metrics import sdcg_weights
from germane.scales import get
from germane.simulate import catalogue, demand, traffic
from germane.simulate.relevance import HIDDEN, Hidden, Relevance
from germane.simulate.vocabulary import vocabulary
from germane.types import InputError, Judgment, Pair

if TYPE_CHECKING:
    import pyarrow as pa

SEED = 7
SCALE = get("five-level")
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Marketplace:
    """Simulated search: `docs`, `queries`, `log` and `clicks` are what a real one would have; the truth is what none has.

    The same seed and sizes give the same marketplace. Pairs are named by ids, arrays side by side; an unknown id has the
    grade -1.

    >>> market = Marketplace(items=300, queries=40)
    >>> market.docs.num_rows, market.queries.num_rows
    (300, 40)
    >>> pair = market.queries["query_id"][:1].to_pylist(), ["i000000"]
    >>> int(market.truth(*pair)[0]) in range(5), market.probabilities(*pair).sum().round(6)
    (True, np.float64(1.0))
    """

    scale = SCALE
    fields = ("title", "brand", "attributes", "description", "price")  # of docs: what a judge reads

    def __init__(self, *, seed: int = SEED, items: int = 20_000, queries: int = 5_000, hidden: Hidden = HIDDEN) -> None:
        if items < 100 or queries < 1:
            raise InputError(f"a marketplace of {items} items and {queries} queries: expected at least 100 and 1")
        self.seed = seed
        self.words = vocabulary()
        self.catalogue = catalogue.build(self.words, items, seed=seed)
        self.demand = demand.build(self.words, self.catalogue, queries, seed=seed)
        self.relevance = Relevance(self.words, self.catalogue, self.demand, seed=seed, hidden=hidden)

    # --- what a real marketplace has --------------------------------------------------------------------------------

    @property
    def docs(self) -> pa.Table:
        """Items: doc_id, title, brand, attributes, description, price, language, seller, seller_kind."""
        return self.catalogue.table

    @cached_property
    def queries(self) -> pa.Table:
        """Distinct queries, most popular first: query_id, query, language, users, impressions (searches), interest."""
        times = np.bincount(self.searches.query, minlength=len(self.demand))
        return demand.table(self.words, self.demand, self.demand.users, times)

    @cached_property
    def log(self) -> pa.Table:
        """One row a search: search_id, timestamp, user_id, query as typed, language, interest."""
        return traffic.log_table(self.words, self.demand, self.searches, seed=self.seed)

    @cached_property
    def people(self) -> traffic.People:
        return traffic.people(self.words, self.demand, seed=self.seed)

    @cached_property
    def searches(self) -> traffic.Searches:
        return traffic.searches(self.words, self.demand, self.people, seed=self.seed)

    def clicks(self, run: pa.Table, *, k: int = 10) -> pa.Table:
        """What users would click if every search of the log showed the run's top k: search_id, query_id, doc_id, rank."""
        import pyarrow as pa

        query, item, rank = self.numbers(run)
        shown = (rank <= k) & (query >= 0) & (item >= 0)
        order = np.flatnonzero(shown)[np.lexsort((rank[shown], query[shown]))]
        query, item, rank = query[order], item[order], rank[order]
        count = np.bincount(query, minlength=len(self.demand))
        start = np.cumsum(count) - count
        of = self.searches.query
        search = np.repeat(np.arange(len(of)), count[of])
        place = start[of][search] + np.arange(len(search)) - np.repeat(np.cumsum(count[of]) - count[of], count[of])
        grade = self.relevance.truth(query, item)
        odds = traffic.click_odds(
            self.catalogue, self.people, self.searches.user[search], item[place], grade[place], rank[place]
        )
        hit = traffic.clicked(self.seed, search, item[place], odds)
        search, place = search[hit], place[hit]
        ids = np.array(self.demand.ids, dtype=object)
        return pa.table(
            {
                "search_id": [f"s{i:07d}" for i in search],
                "query_id": pa.array(ids[query[place]], pa.string()),
                "doc_id": [f"i{i:06d}" for i in item[place]],
                "rank": pa.array(rank[place].astype(np.int32)),
            }
        )

    # --- what none has ----------------------------------------------------------------------------------------------

    def truth(self, query_ids: Sequence[str], doc_ids: Sequence[str]) -> Ints:
        """The true grade of each pair, 0 to 4, shape (n,); -1 where an id is unknown."""
        query, item = self._query_numbers(query_ids), self._item_numbers(doc_ids)
        return np.where((query < 0) | (item < 0), -1, self.relevance.truth(query, item))

    def probabilities(self, query_ids: Sequence[str], doc_ids: Sequence[str]) -> Floats:
        """The probability of each grade given all that the two texts say, exact, shape (n, 5).

        Its largest entry is the answer of the best possible judge of text, and no judge of text agrees more often.
        """
        query, item = self._query_numbers(query_ids), self._item_numbers(doc_ids)
        if (query < 0).any() or (item < 0).any():
            raise InputError("probabilities of a pair that is not in this marketplace: ask for its own queries and items")
        return self.relevance.probabilities(query, item)

    def levels(self, run: pa.Table, *, k: int = 25) -> Floats:
        """The true sDCG@k of every query of the marketplace, in the order of `queries`; 0 for one without results."""
        query, item, rank = self.numbers(run)
        rows = (rank <= k) & (query >= 0)
        gain = np.asarray(self.scale.gains)[self.relevance.truth(query[rows], item[rows])]
        level: Floats = np.bincount(query[rows], sdcg_weights(k)[rank[rows] - 1] * gain, len(self.demand)).astype(np.float64)
        return level

    def delta(self, control: pa.Table, treatment: pa.Table, *, k: int = 25) -> float:
        """The true mean of sDCG@k of treatment minus control, over all distinct queries: what an experiment estimates."""
        return float(np.mean(self.levels(treatment, k=k) - self.levels(control, k=k)))

    def numbers(self, run: pa.Table) -> tuple[Ints, Ints, Ints]:
        """Query, item and rank of each row of a run as numbers, -1 for an unknown id, sorted by query id and rank."""
        from germane.store import rank

        ranked = rank(run)
        return (
            self._query_numbers([str(query_id) for query_id in ranked["query_id"].to_pylist()]),
            self._item_numbers([str(doc_id) for doc_id in ranked["doc_id"].to_pylist()]),
            ranked["rank"].to_numpy().astype(np.int64),
        )

    @cached_property
    def _query_number(self) -> dict[str, int]:
        return {query_id: number for number, query_id in enumerate(self.demand.ids)}

    def _query_numbers(self, ids: Sequence[str]) -> Ints:
        return np.array([self._query_number.get(query_id, -1) for query_id in ids], dtype=np.int64)

    def _item_numbers(self, ids: Sequence[str]) -> Ints:
        count = len(self.catalogue)
        known = (int(i[1:]) if len(i) == 7 and i[0] == "i" and i[1:].isdecimal() else -1 for i in ids)
        return np.array([number if number < count else -1 for number in known], dtype=np.int64)


class BestTextJudge:
    """The best judge that reads text alone: the likeliest grade, with the exact probability of each. A ceiling, no product.

    It knows how the marketplace draws its truth, and of each pair no more than the texts say.
    """

    name = "best text judge (simulated)"

    def __init__(self, market: Marketplace) -> None:
        self.market = market
        self.fingerprint = f"simulated:best-text:{market.seed}"

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        scale = self.market.scale
        for query, doc in pairs:
            probs = self.market.probabilities([query.query_id], [doc.doc_id])[0]
            said = self.name, self.fingerprint, scale.name, scale.version
            yield Judgment(query.query_id, doc.doc_id, int(probs.argmax()), tuple(probs.tolist()), *said)
