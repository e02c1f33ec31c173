"""Uniform or adaptive? The signal in the SIMULATED marketplace, whose clicks follow popularity, price and relevance.

    python recipes/signal_marketplace.py [--out DIR] [--items 20000] [--queries 3000] [--seed 7] [--noise 1.0]

A simulation: queries, items, grades and clicks are made by germane.simulate, with its constants as they are. The control is a
ranker that learned from clicks: a logistic model of clicks on BM25's lists by BM25, popularity, price and the signal, with the
rank that was shown taken out; it orders 50 candidates. The signal is of a judge that knows what the texts say, through noise
(in log odds, for each pair and each query). Treatments push relevance further than clicks do: a boost of three strengths, and a
filter; each is uniform (all queries) or chosen by type of query (popularity x department), by what the experiment on these
queries showed. Relevance: the true sDCG@25. Engagement: clicks a search on the first ten, of every search in the log.

policy.html has the Pareto front; its answer says whether the adaptive policy dominates, or that it does not.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from germane import store
from germane.chance import keys, uniform
from germane.engines import BM25
from germane.pipeline import signal_policy
from germane.signal import Boost, Filter
from germane.signal.boost import Curve
from germane.signal.deciding import Decides, nothing, order
from germane.signal.filter import Rule
from germane.simulate import Marketplace

Floats = NDArray[np.float64]
K, CANDIDATES = 25, 50
BANDS = ((0.9, "head"), (0.6, "torso"), (0.0, "tail"))
"""Popularity by the rank of a query's users: the top tenth, the next three tenths, the rest."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("signal-marketplace"))
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--noise", type=float, default=1.0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    market = Marketplace(items=given.items, queries=given.queries, seed=given.seed)
    lists = candidates(market, given)
    control = measured(market, lists, None)
    rows: dict[str, list[Any]] = {}
    for name, policy in treatments(market, lists).items():
        for column, values in zip(("relevance", "engagement"), measured(market, lists, policy), strict=True):
            rows.setdefault(column, []).extend(values.tolist())
        for column, values in zip(("relevance_control", "engagement_control"), control, strict=True):
            rows.setdefault(column, []).extend(values.tolist())
        rows.setdefault("treatment", []).extend([name] * given.queries)
        rows.setdefault("query_id", []).extend(market.queries["query_id"].to_pylist())
        print(f"{name} is measured", flush=True)
    written = given.out / "outcomes.parquet"
    about = {"items": given.items, "queries": given.queries, "seed": given.seed, "noise": given.noise}
    store.write_table(pa.table(rows), written, "outcomes", verb="recipe", parameters=about, extra={"simulated": True})
    pq.write_table(typed(market), given.out / "queries.parquet")
    signal_policy.learn(written, given.out, by=("segment", "interest"), queries=given.out / "queries.parquet")
    print((given.out / "policy.md").read_text(encoding="utf-8"))
    return 0


def candidates(market: Marketplace, given: argparse.Namespace) -> dict[str, tuple[list[str], Floats, Floats, Floats]]:
    """query_id -> its documents, the control's scores (best first), the judge's probabilities and expected gains."""
    run = BM25(market.docs, ("title", "attributes")).search(market.queries, k=CANDIDATES)
    ids, docs = run["query_id"].to_pylist(), run["doc_id"].to_pylist()
    probs = predicted(market, ids, docs, given)
    gain = probs @ np.asarray(market.scale.gains)
    score = learned(market, run, gain)
    found = {}
    starts = [0, *(i for i in range(1, len(ids)) if ids[i] != ids[i - 1]), len(ids)]
    for a, b in pairwise(starts):
        place = a + np.argsort(-score[a:b], kind="stable")
        found[ids[a]] = ([docs[i] for i in place], score[place], probs[place], gain[place])
    return found


def predicted(market: Marketplace, ids: list[str], docs: list[str], given: argparse.Namespace) -> Floats:
    """(n, 5) exact probabilities given the texts, with noise in log odds: of a pair, and a query's lenience."""
    width = given.noise * np.sqrt(12)  # of a uniform draw with this SD
    own = width * (uniform(given.seed, keys(ids), 11) - 0.5)
    noise = np.column_stack([width * (uniform(given.seed, keys(ids), keys(docs), g) - 0.5) for g in range(5)])
    odds = np.log(market.probabilities(ids, docs) + 1e-4) + noise + own[:, None] * np.linspace(-1, 1, 5)
    odds = np.exp(odds - odds.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))


def learned(market: Marketplace, run: pa.Table, gain: Floats) -> Floats:
    """The control's score of each candidate: the log odds of a click, by what BM25's lists were clicked on."""
    from sklearn.linear_model import LogisticRegression

    item = np.array([int(doc[1:]) for doc in run["doc_id"].to_pylist()])
    price = np.log(market.catalogue.price)
    kind = market.catalogue.kind
    usual = np.bincount(kind, price) / np.maximum(np.bincount(kind), 1)
    rank = run["rank"].to_numpy()
    x = [run["score"].to_numpy(), np.log(market.catalogue.popularity[item]), (price - usual[kind])[item], gain]
    x = np.column_stack([*x, np.log(rank)])
    x = (x - x.mean(0)) / x.std(0)
    place = {pair: at for at, pair in enumerate(zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True))}
    clicks = market.clicks(run, k=10)
    hits = np.bincount([place[p] for p in zip(clicks["query_id"].to_pylist(), clicks["doc_id"].to_pylist(), strict=True)],
                       minlength=len(place))  # fmt: skip
    times = dict(zip(market.queries["query_id"].to_pylist(), market.queries["impressions"].to_pylist(), strict=True))
    shown = np.array([times[q] for q in run["query_id"].to_pylist()])
    rows = np.flatnonzero(rank <= 10)
    both = np.concatenate([x[rows], x[rows]])
    weight = np.concatenate([hits[rows], np.maximum(shown[rows] - hits[rows], 0)])
    model = LogisticRegression(C=100.0).fit(both, np.repeat([1, 0], rows.size), sample_weight=weight)
    names = ("bm25", "popularity", "price", "signal", "rank")
    print("the control learned from clicks:", dict(zip(names, model.coef_[0].round(2).tolist(), strict=True)))
    return np.asarray(x[:, :4] @ model.coef_[0][:4])


def treatments(market: Marketplace, lists: dict[str, Any]) -> dict[str, Decides]:
    """A boost by the expected gain as it is, in standard deviations of the control's score, and a filter."""
    unit = float(np.median([score.std() for _, score, _, _ in lists.values()]))
    line, labels = Curve((0.0, 1.0), (-0.5, 0.5)), market.scale.labels
    made: dict[str, Decides] = {
        f"boost {strength:g}": Boost(line, strength * unit, (), 5, None, labels) for strength in (1.0, 3.0, 10.0)
    }
    return made | {"filter": Filter((Rule(1, 0.8, {"": 0.8}),), 5, 10, labels)}


def measured(market: Marketplace, lists: dict[str, Any], policy: Decides | None) -> tuple[Floats, Floats]:
    """The true sDCG@25 and the clicks a search (queries,) of each query, as the policy shows it; None: the control."""
    rows: dict[str, list[Any]] = {"query_id": [], "doc_id": [], "score": []}
    for query, (docs, score, probs, gain) in lists.items():
        decided = nothing(len(docs))
        if policy is not None:
            decided = policy.decide(segment="", probs=probs, gain=gain, known=np.ones(len(docs), bool))
        shown = order(score, decided)[:K]
        rows["query_id"] += [query] * shown.size
        rows["doc_id"] += [docs[i] for i in shown.tolist()]
        rows["score"] += range(shown.size, 0, -1)
    run = store.rank(pa.table(rows | {"score": np.array(rows["score"], dtype=np.float64)}))
    number = {query: at for at, query in enumerate(market.queries["query_id"].to_pylist())}
    hits = np.bincount([number[q] for q in market.clicks(run)["query_id"].to_pylist()], minlength=len(number))
    searches = np.maximum(market.queries["impressions"].to_numpy(), 1)
    level = dict(zip(market.demand.ids, market.levels(run, k=K).tolist(), strict=True))
    return np.array([level[q] for q in number]), hits / searches


def typed(market: Marketplace) -> pa.Table:
    """The queries with a popularity segment: by the rank of their users."""
    users = market.queries["users"].to_numpy()
    share = np.argsort(np.argsort(users, kind="stable"), kind="stable") / users.size
    names = [next(name for least, name in BANDS if x >= least) for x in share.tolist()]
    return market.queries.append_column("segment", pa.array(names))


if __name__ == "__main__":
    sys.exit(main())
