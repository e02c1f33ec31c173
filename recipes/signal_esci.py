"""Does the signal help a search? BM25 and LambdaRank on ESCI with and without each of its four uses, by people's labels.

    python recipes/signal_esci.py [--out DIR] [--folds 5] [--seed 0] [--precision 0.3 0.4 0.5] [--threads 1]

Data: esci_us_120 (120 queries, 5,317 labels E/S/C/I, every query with at least 40 judged products) of GERMANE_DATA;
all-MiniLM-L6-v2 of GERMANE_MODELS. Each query ranks its judged products and no others, so that nothing unjudged is shown.

The signal is of a small judge that two cores can train five times over: MiniLM's sentence embeddings as they are (frozen),
25 lexical features, BM25, and on top a LightGBM classifier of the four grades. It never saw the query that it grades: the
classifier is fitted in each of five folds by query, and what a filter, a boost or a ranker learns from is predicted by four
more inside each fold's training queries.

Rankers: BM25 over all fields; LambdaRank over lexical features, price, rating and number of ratings, which learns from
SIMULATED clicks (ESCI has none): 200 searches a query of BM25's list, clicked by position, human grade, popularity (number of
ratings) and price, with the constants of germane.simulate.traffic; and the same LambdaRank, which learns from the human grades.

Uses: filter (thresholds for each --precision on the training queries, floor 10), feature, loss weight, boost (fitted on the
training queries). Table: sDCG@25 and nDCG@10 with ESCI's gains, paired, stratified by the query's source, 95 % intervals.

--judgments FILE takes another judge's out-of-fold predictions instead, such as OUT/committee.parquet of recipes/esci.py: each
query's are by a model that never saw it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from germane import metrics, sources
from germane.engines import BM25
from germane.judges import lexical
from germane.judges.loading import models_folder
from germane.metrics import Judged, Lists
from germane.report import words
from germane.scales import get
from germane.signal import evidence, features, fitting, thresholds, weights
from germane.simulate import traffic
from germane.stats import agreement
from germane.stats.clustered import share
from germane.stats.means import Moments, stratified_difference, stratified_mean
from germane.store import manifests
from germane.text import TextPlan, compose_table
from germane.types import Estimate

ESCI = get("esci")
FIELDS = ("title", "brand", "color", "category", "bullet_points", "description")
PLAN = TextPlan(order=FIELDS, budgets={"category": 120, "bullet_points": 500, "description": 500})
GAINS = np.asarray(ESCI.gains)
K, FLOOR, SEARCHES = 25, 10, 200
METRICS = ("sDCG@25", "nDCG@10")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JUDGE = {"objective": "multiclass", "num_class": 4, "num_leaves": 15, "min_data_in_leaf": 40, "learning_rate": 0.05,
         "feature_fraction": 0.6, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0}  # fmt: skip
RANKER = {"objective": "lambdarank", "num_leaves": 15, "min_data_in_leaf": 40, "learning_rate": 0.05, "lambda_l2": 5.0,
          "lambdarank_truncation_level": 30}  # fmt: skip
ROUNDS = 120


class World(NamedTuple):
    """One row a judged pair, rows of a query together. x: what the judge reads; z: what the ranker has without the signal."""

    query: Ints
    doc_ids: list[str]
    grade: Ints
    bm25: Floats
    x: Floats
    z: Floats
    names: list[str]
    stratum: list[str]
    ids: list[str]
    popularity: Floats
    dear: Floats


def main() -> int:
    given = arguments()
    data = Path(os.environ.get("GERMANE_DATA", "GERMANE_DATA is not set"))
    if not (data / "esci_us_120").is_dir():
        print(f"no data in {data}: set GERMANE_DATA (docs/data.md says how to get it)", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    world = load(data / "esci_us_120", given.out)
    fold = np.random.default_rng(given.seed).permutation(len(world.ids)) % given.folds
    arms = run(world, fold, given)
    found = tables(world, arms, given)
    (given.out / "signal.json").write_text(json.dumps(manifests.plain(found["json"]), indent=1), encoding="utf-8")
    (given.out / "signal.md").write_text(found["text"], encoding="utf-8")
    print(found["text"])
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("signal"))
    parser.add_argument("--folds", type=int, default=5, choices=range(3, 21), metavar="3..20")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", type=float, nargs="+", default=[0.3, 0.4, 0.5], help="of filters, one each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--judgments", type=Path, default=None, help="of another judge, out of fold")
    return parser.parse_args()


# --- data -----------------------------------------------------------------------------------------------------------


def load(folder: Path, out: Path) -> World:
    docs = sources.read_docs(folder / "products.parquet")
    raw = pq.read_table(folder / "products.parquet", columns=["product_id", "price", "rating", "rating_count"]).to_pylist()
    known = {row["product_id"]: row for row in raw}
    asked = pq.read_table(folder / "queries.parquet").to_pylist()
    labels = pq.read_table(folder / "judgments.parquet").to_pylist()
    number = {str(row["query_id"]): at for at, row in enumerate(asked)}
    rows = sorted((number[str(r["query_id"])], str(r["product_id"]), ESCI.relevance(r["esci_label"])) for r in labels)
    query, doc_ids, grade = (list(column) for column in zip(*rows, strict=True))
    bm25 = [scores(docs, fields, asked, query, doc_ids) for fields in (FIELDS, ("title",))]
    texts = dict(zip(docs["doc_id"].to_pylist(), compose_table(docs, PLAN).text.to_pylist(), strict=True))
    titles = dict(zip(docs["doc_id"].to_pylist(), docs["title"].to_pylist(), strict=True))
    weight = lexical.idf(texts.values())
    lexicals = lexical.features([asked[q]["query"] for q in query], [texts[d] for d in doc_ids], weights=weight)
    words_ = lexicals.astype(np.float64)
    vectors = embedded(out / "embeddings.npz", [row["query"] for row in asked], doc_ids, titles, texts)
    cosines = [np.einsum("ij,ij->i", vectors[0][query], vectors[part][[vectors[3][d] for d in doc_ids]]) for part in (1, 2)]
    product = vectors[0][query] * vectors[2][[vectors[3][d] for d in doc_ids]]
    shop = [[known[d]["price"], known[d]["rating"], known[d]["rating_count"]] for d in doc_ids]
    shop_ = np.array([[np.nan if v is None else float(v) for v in row] for row in shop])
    popularity = np.log1p(np.nan_to_num(shop_[:, 2]))
    return World(
        np.array(query), doc_ids, np.array(grade), bm25[0],
        np.column_stack([*cosines, *bm25, words_, principal(product, 16)]),
        np.column_stack([*bm25, words_[:, :10], shop_]),
        ["bm25", "bm25 title", *(f"words {i}" for i in range(10)), "price", "rating", "ratings"],
        [str(row["query_source"]) for row in asked], [str(row["query_id"]) for row in asked],
        popularity, dearness(shop_[:, 0], np.array(query)),
    )  # fmt: skip


def scores(docs: Any, fields: tuple[str, ...], asked: list[Any], query: list[int], doc_ids: list[str]) -> Floats:
    import pyarrow as pa

    ids = [str(row["query_id"]) for row in asked]
    table = pa.table({"query_id": ids, "query": [row["query"] for row in asked]})
    pairs = pa.table({"query_id": [ids[q] for q in query], "doc_id": doc_ids})
    run = BM25(docs, fields).search(table, k=docs.num_rows, candidates=pairs)
    columns = (run[name].to_pylist() for name in ("query_id", "doc_id", "score"))
    found = {(q, d): s for q, d, s in zip(*columns, strict=True)}
    return np.array([found[ids[q], d] for q, d in zip(query, doc_ids, strict=True)])


def embedded(
    path: Path, queries: list[str], doc_ids: list[str], titles: dict[str, str], texts: dict[str, str]
) -> tuple[Floats, Floats, Floats, dict[str, int]]:
    """Unit vectors of queries, titles and whole texts, made once and kept; and the row of each document."""
    ids = sorted(set(doc_ids))
    if not path.is_file():
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(models_folder() / "all-MiniLM-L6-v2"), device="cpu")
        model.max_seq_length = 128
        made = [
            model.encode(said, batch_size=32, normalize_embeddings=True)
            for said in (queries, [titles[d] for d in ids], [texts[d] for d in ids])
        ]
        np.savez(path, queries=made[0], titles=made[1], texts=made[2])
    with np.load(path) as held:
        parts = [held[name].astype(np.float64) for name in ("queries", "titles", "texts")]
    return parts[0], parts[1], parts[2], {doc: at for at, doc in enumerate(ids)}


def principal(x: Floats, k: int) -> Floats:
    """The first k principal components: no label is looked at."""
    centred = x - x.mean(0)
    _, _, v = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(centred @ v[:k].T)


def dearness(price: Floats, query: Ints) -> Floats:
    """log price minus the usual one of the query's products; 0 where no price is known."""
    log = np.log(np.where(price > 0, price, np.nan))
    usual = np.array(
        [np.nanmean(log[query == q]) if np.isfinite(log[query == q]).any() else 0.0 for q in range(query.max() + 1)]
    )
    return np.nan_to_num(log - usual[query])


def clicks(world: World, seed: int) -> Ints:
    """SIMULATED: how often each product is clicked in 200 searches of BM25's list, by the constants of simulate.traffic."""
    rng, found = np.random.default_rng([seed, 1]), np.zeros(world.grade.size, np.int64)
    level = np.array([0, 1, 2.5, 4])[world.grade]  # I, C, S, E on the five levels of those constants
    taste = (
        traffic.CLICK + traffic.PER_GRADE * (level - 2) + traffic.PER_POPULARITY * (world.popularity - world.popularity.mean())
    )
    taste += traffic.PER_PRICE * world.dear
    for q in range(len(world.ids)):
        rows = np.flatnonzero(world.query == q)
        shown = rows[np.argsort(-world.bm25[rows], kind="stable")][:K]
        odds = np.arange(1, shown.size + 1) ** -traffic.LOOK / (1 + np.exp(-taste[shown]))
        found[shown] = rng.binomial(SEARCHES, odds)
    return found


# --- the judge, the rankers, the four uses --------------------------------------------------------------------------


def predicted(world: World, learn: Ints, ask: Ints, threads: int, seed: int) -> Floats:
    """(rows, 4) probabilities of pairs by a judge fitted on the pairs of other queries."""
    import lightgbm

    data = lightgbm.Dataset(world.x[learn], world.grade[learn])
    told = JUDGE | {"verbosity": -1, "num_threads": threads, "seed": seed, "deterministic": True}
    return np.asarray(lightgbm.train(told, data, ROUNDS).predict(world.x[ask]))


def ranker(x: Floats, label: Ints, query: Ints, threads: int, seed: int, weight: Floats | None = None) -> Any:
    import lightgbm

    _, group = np.unique(query, return_counts=True)
    told = RANKER | {"verbosity": -1, "num_threads": threads, "seed": seed, "deterministic": True}
    return lightgbm.train(told, lightgbm.Dataset(x, label, group=group, weight=weight), ROUNDS)


def run(world: World, fold: Ints, given: argparse.Namespace) -> dict[str, dict[str, list[Ints]]]:
    """ranker -> use -> for each query the grades that it shows, best first: everything learned in the other folds."""
    hits, other = clicks(world, given.seed), None if given.judgments is None else judged_by(world, given.judgments)
    arms: dict[str, dict[str, list[Ints]]] = {}
    probs_of = np.empty((world.grade.size, 4))
    for f in range(given.folds):
        test, learn = (np.flatnonzero((fold[world.query] == f) == side) for side in (True, False))
        inner = np.random.default_rng([given.seed, f]).permutation(len(world.ids)) % (given.folds - 1)
        probs = np.full((world.grade.size, 4), np.nan) if other is None else other.copy()
        for g in range(given.folds - 1) if other is None else ():
            held = learn[inner[world.query[learn]] == g]
            probs[held] = predicted(world, learn[inner[world.query[learn]] != g], held, given.threads, given.seed)
        if other is None:
            probs[test] = predicted(world, learn, test, given.threads, given.seed)
        probs_of[test] = probs[test]
        for name, scorer in rankers(world, probs, learn, inner, hits, given).items():
            for use, lists in uses(world, probs, learn, test, scorer, given).items():
                arms.setdefault(name, {}).setdefault(use, [np.empty(0, np.int64)] * len(world.ids))
                for q, shown in lists.items():
                    arms[name][use][q] = shown
        print(f"fold {f + 1} of {given.folds} is done", flush=True)
    arms["judge"] = {"probs": [probs_of], "hits": [hits]}  # type: ignore[list-item]
    return arms


def judged_by(world: World, path: Path) -> Floats:
    """(rows, 4) probabilities of a file of judgments. Every pair needs them."""
    said, _ = evidence.predictions(path, ESCI)
    pairs = zip((world.ids[q] for q in world.query.tolist()), world.doc_ids, strict=True)
    return np.array([said.probs[said.rows[pair]] for pair in pairs])


Scorer = Callable[[str], Floats]


def rankers(world: World, probs: Floats, learn: Ints, inner: Ints, hits: Ints, given: argparse.Namespace) -> dict[str, Scorer]:
    """ranker -> use -> (rows,) scores. "feature" and "loss weight" change what is learned; "inner": of the training queries,
    by rankers that learned from others of them, which a boost is fitted on.
    """
    signal = np.empty((world.grade.size, len(features.names(ESCI))))
    for q in range(len(world.ids)):
        rows = np.flatnonzero(world.query == q)
        signal[rows] = features.of_request(probs[rows], np.ones(rows.size, bool), ESCI)
    clicked = np.minimum(4, np.ceil(np.log2(1 + hits / 4))).astype(np.int64)
    gain = probs @ GAINS
    seen = learn[_shown(world)[learn]]  # nobody clicks what was not shown

    def learned(x: Floats, label: Ints, rows: Ints, weigh: bool) -> Floats:
        weight = weights.weights(gain[rows], np.ones(rows.size), clicked=hits[rows] > 0) if weigh else None
        made = ranker(x[rows], label[rows], world.query[rows], given.threads, given.seed, weight)
        return np.asarray(made.predict(x))

    def of(label: Ints, rows: Ints, base: Floats) -> Scorer:
        kept: dict[str, Floats] = {}

        def score(use: str) -> Floats:
            if use == "inner" and use not in kept:
                kept[use] = np.full(world.grade.size, np.nan)
                for g in range(given.folds - 1):
                    fold = inner[world.query[rows]] == g
                    held = learn[inner[world.query[learn]] == g]
                    kept[use][held] = learned(base, label, rows[~fold], False)[held]
            if use not in kept:
                x = np.column_stack([base, signal]) if use == "feature" else base
                kept[use] = learned(x, label, rows, use == "loss weight")
            return kept[use]

        return score

    bm25 = of(clicked, seen, world.bm25[:, None])
    return {
        "BM25": lambda use: bm25(use) if use == "feature" else world.bm25,
        "LambdaRank, simulated clicks": of(clicked, seen, world.z),
        "LambdaRank, human grades": of(world.grade, learn, world.z),
    }


def _shown(world: World) -> NDArray[np.bool_]:
    found = np.zeros(world.grade.size, bool)
    for q in range(len(world.ids)):
        rows = np.flatnonzero(world.query == q)
        found[rows[np.argsort(-world.bm25[rows], kind="stable")][:K]] = True
    return found


def uses(
    world: World, probs: Floats, learn: Ints, test: Ints, score: Scorer, given: argparse.Namespace
) -> dict[str, dict[int, Ints]]:
    """use -> test query -> the grades that are shown. The filter and the boost are chosen on the training queries."""
    plain = score("")
    people = evidence.Evidence(
        world.grade[learn], probs[learn], world.query[learn], np.full(learn.size, "", object), None,
        tuple(world.ids), tuple(world.doc_ids[i] for i in learn.tolist()),
    )  # fmt: skip
    lift = fitting.fit(pages(world, probs, learn, score("inner")), ESCI, fitting.Fit()).boost
    policies: dict[str, tuple[Floats, Any]] = {"without": (plain, None), "boost": (plain, lift)}
    for precision in given.precision:
        asked = thresholds.Wanted(((0, precision),), 3, FLOOR)
        policies[f"filter {precision:g}"] = (plain, thresholds.choose(people, asked, ESCI.labels).filter)
    policies |= {"feature": (score("feature"), None), "loss weight": (score("loss weight"), None)}
    asked_queries = np.unique(world.query[test]).tolist()
    found: dict[str, dict[int, Ints]] = {}
    for use, (scored, policy) in policies.items():
        shown = [page.grade[fitting.shown(page, policy)] for page in pages(world, probs, test, scored)]
        found[use] = dict(zip(asked_queries, shown, strict=True))
    return found


def pages(world: World, probs: Floats, rows: Ints, score: Floats) -> list[fitting.Page]:
    """Each query's judged products as the ranker orders them."""
    found = []
    for q in np.unique(world.query[rows]).tolist():
        at = rows[world.query[rows] == q]
        at = at[np.argsort(-score[at], kind="stable")]
        ids = tuple(world.doc_ids[i] for i in at.tolist())
        known = np.ones(at.size, bool)
        grade = world.grade[at]
        found.append(
            fitting.Page(world.ids[q], ids, score[at], probs[at], probs[at] @ GAINS, known, grade, tuple(grade.tolist()))
        )
    return found


# --- the table ------------------------------------------------------------------------------------------------------


def tables(world: World, arms: dict[str, dict[str, Any]], given: argparse.Namespace) -> dict[str, Any]:
    probs = arms.pop("judge")["probs"][0]
    ideal = Judged.of([world.grade[world.query == q].tolist() for q in range(len(world.ids))])
    said, lines = [], [f"# The signal on ESCI: {len(world.ids)} queries, {given.folds} folds, seed {given.seed}", ""]
    found = agreement.macro_f1(world.grade, probs.argmax(1), clusters=world.query)
    exact = agreement.exact_agreement(world.grade, probs.argmax(1), clusters=world.query)
    said += [{"judge": "exact", "estimate": exact}, {"judge": "macro F1", "estimate": found}]
    told = [f"{name} {e.value:.3f} ({e.low:.3f} to {e.high:.3f})" for name, e in (("exact", exact), ("macro F1", found))]
    lines += [f"The judge, out of fold: {', '.join(told)}.", ""]
    lines += ["| ranker | signal as | sDCG@25 | minus without | nDCG@10 | minus without |", "|---|---|--:|--:|--:|--:|"]
    for name, by_use in arms.items():
        level = {use: values(lists, ideal) for use, lists in by_use.items()}
        for use in ("without", *filters(given), "feature", "loss weight", "boost"):
            if name == "BM25" and use == "loss weight":
                lines.append(f"| {name} | {use} | nothing is trained | | | |")
                continue
            cells = [name, use]
            for metric in METRICS:
                e = mean(level[use][metric], world.stratum)
                d = None if use == "without" else paired(level[use][metric] - level["without"][metric], world.stratum)
                said.append({"ranker": name, "use": use, "metric": metric, "level": e, "difference": d})
                cells += [f"{e.value:.4f}", "" if d is None else f"{words.signed(d.value)} ({words.interval(d, 4)})"]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *removed(world, arms, said, given)]
    return {"json": {"arguments": {k: str(v) for k, v in vars(given).items()}, "rows": said}, "text": "\n".join(lines) + "\n"}


def filters(given: argparse.Namespace) -> list[str]:
    return [f"filter {precision:g}" for precision in given.precision]


def removed(world: World, arms: dict[str, Any], said: list[Any], given: argparse.Namespace) -> list[str]:
    """What the filter does to the first 25: people's irrelevant results, and exact ones."""
    heads = ("ranker", "filter", "irrelevant in the top 25", "exact in the top 25, a query", "shown of 25, a query")
    lines = [f"| {' | '.join((*heads, 'left out of all', 'irrelevant', 'exact'))} |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    for name, by_use in arms.items():
        for use in ("without", *filters(given)):
            top = [shown[:K] for shown in by_use[use]]
            query = np.repeat(np.arange(len(top)), [len(t) for t in top])
            bad = share(np.concatenate(top) == 0, clusters=query, method="irrelevant in the top 25")
            exact = mean(np.array([(t == 3).sum() for t in top], dtype=float), world.stratum)
            shown = mean(np.array([len(t) for t in top], dtype=float), world.stratum)
            said.append({"ranker": name, "use": use, "irrelevant": bad, "exact": exact, "shown": shown})
            cells = [f"{words.percent(bad.value)} ({words.percent(bad.low)} to {words.percent(bad.high)})"]
            cells += [f"{e.value:.2f} ({e.low:.2f} to {e.high:.2f})" for e in (exact, shown)]
            gone = [(before, after) for before, after in zip(by_use["without"], by_use[use], strict=True)]
            out = sum(len(a) - len(b) for a, b in gone)
            bad_out, exact_out = (sum(int((a == g).sum() - (b == g).sum()) for a, b in gone) for g in (0, 3))
            cells += [f"{out:,}", f"{bad_out:,}", f"{exact_out:,}"]
            lines.append(f"| {name} | {use} | {' | '.join(cells)} |")
    return lines


def values(lists: list[Ints], ideal: Judged) -> dict[str, Floats]:
    named = [metrics.Metric.parse(name).with_gains(ESCI.gains) for name in METRICS]
    found = metrics.measure(named, Lists.of([shown.tolist() for shown in lists]), ideal, gains=ESCI.gains)
    return dict(zip(METRICS, found.values(), strict=True))


def paired(difference: Floats, stratum: list[str]) -> Estimate:
    parts, sizes = split(difference, stratum)
    return stratified_difference(parts, sizes)


def mean(level: Floats, stratum: list[str]) -> Estimate:
    return stratified_mean(*split(level, stratum))


def split(x: Floats, stratum: list[str]) -> tuple[dict[str, Moments], dict[str, float]]:
    names = sorted(set(stratum))
    parts = {name: x[[s == name for s in stratum]] for name in names}
    return {name: Moments.of(v) for name, v in parts.items()}, {name: float(v.size) for name, v in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
