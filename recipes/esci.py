"""Judges of product search from human labels: cross-encoder, student and their baselines, out of fold, on one leaderboard.

    python benchmarks/esci.py [--device cuda] [--out DIR] [--folds 5] [--seed 0] [--only NAME ...]

Data: esci_us_120 (120 queries, 5,317 labels E/S/C/I) and, to learn from first, epqa_dev, icecat_multirater and the 1,080
labels of a language model, all of GERMANE_DATA; models of GERMANE_MODELS. Every judge is trained in each of five folds by
query and labels the queries that it never saw: the table is of these judgments. tau is of sDCG@25 with ESCI's gains, on
the judged products of each query ranked by BM25 over all fields, once by the judge's grades and once by its expected gains.

- baseline: a plain MiniLM cross-encoder, four epochs of cross-entropy, 192 tokens, the likeliest grade.
- cross-encoder: the recipe of docs/esci.md.
- student: two towers, distilled in each fold from that fold's cross-encoder, on pairs that nobody labelled: the training
  queries with more products, and searches made of titles' first words.
- two towers: the same towers, trained on the human labels of the fold alone.

A GPU does it in minutes, two cores need most of a day: --only and --folds 2 make it shorter. A finished fold is kept in
OUT/work and not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from germane import sources, store
from germane.engines import BM25
from germane.judges import as_table, loading
from germane.pipeline.leaderboard import leaderboard
from germane.report import leaderboard as page
from germane.scales import get
from germane.text import TextPlan, compose_table
from germane.training import cross_encoder, distil
from germane.training.examples import Examples, examples, folds, joined
from germane.training.finishing import Lineage, Trained
from germane.training.folds import digest, out_of_fold, pairs
from germane.training.running import Settings
from germane.types import Scale

ESCI = get("esci")
FIELDS = ("title", "brand", "color", "category", "bullet_points", "description")
PLAN = TextPlan(order=FIELDS, budgets={"category": 120, "bullet_points": 500, "description": 500})
K = 25
MORE = 100
"""Products a training query that the teacher labels for the student, beside those that people did."""
SEARCHES, PER_SEARCH = 1_500, 15
"""Searches made of titles, and products of each, that the teacher labels."""


def main() -> int:
    given = arguments()
    data = Path(os.environ.get("GERMANE_DATA", "GERMANE_DATA is not set"))
    if not (data / "esci_us_120").is_dir():
        print(f"no data in {data}: set GERMANE_DATA (docs/data.md says how to get it)", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    world = World(data)
    judges = {name: maker for name, maker in made(given, world).items() if name in given.only}
    files, facts = [], {}
    for name, trainer in judges.items():
        found = out_of_fold(
            world.labelled, trainer, name=name, folder=given.out / "work" / name, recipe=[name, given.version],
            k=given.folds, seed=given.seed, keep=name == "cross-encoder",
        )  # fmt: skip
        if name == "cross-encoder":
            world.teachers = {
                digest(world.labelled.take(learnt)): judge
                for (learnt, _), judge in zip(folds(world.labelled, given.folds, seed=given.seed), found.judges, strict=True)
            }
        files.append(given.out / f"{name}.parquet")
        facts[name] = found.cost
        pq.write_table(found.judgments, files[-1])
        print(f"{name}: judged {found.judgments.num_rows:,} pairs", flush=True)
    shown(given, world, files, facts)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default=None)
    parser.add_argument("--out", type=Path, default=Path("esci"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", default="all-MiniLM-L6-v2", help="base of the baseline and of the student")
    parser.add_argument("--base", default="all-mpnet-base-v2", help="base of the cross-encoder")
    parser.add_argument("--epochs", type=float, default=None, help="in place of every recipe's own, to try it out")
    parser.add_argument("--only", nargs="+", default=["baseline", "cross-encoder", "student", "two towers"])
    given = parser.parse_args()
    given.version = [given.base, given.small, given.epochs]
    return given


class World:
    """The data: labelled pairs, texts of all products, and the rankings that levels are measured on."""

    def __init__(self, data: Path) -> None:
        folder = data / "esci_us_120"
        self.docs = sources.read_docs(folder / "products.parquet")
        self.queries = pq.read_table(folder / "queries.parquet").select(["query_id", "query"]).cast(STRINGS)
        labels = pq.read_table(folder / "judgments.parquet")
        self.text = dict(zip(self.docs["doc_id"].to_pylist(), compose_table(self.docs, PLAN).text.to_pylist(), strict=True))
        self.engine = BM25(self.docs, FIELDS)
        relevance = pa.array([ESCI.relevance(label) for label in labels["esci_label"].to_pylist()], pa.int32())
        self.gold = judged(
            labels["query_id"].cast(pa.string()), labels["product_id"].cast(pa.string()), relevance, "human:esci", "esci"
        )
        asked = self.gold.join(self.queries, "query_id").select(["query_id", "query", "doc_id"])
        text = pa.array([self.text[d] for d in asked["doc_id"].to_pylist()])
        self.labelled = examples(asked.append_column("text", text), self.gold, ESCI)
        self.run = self._run()
        self.before = before(data, set(self.queries["query"].to_pylist()))
        self.teachers: dict[str, Path] = {}

    def _run(self) -> pa.Table:
        """Each query's judged products as BM25 over all fields ranks them; one without a word of the query comes last."""
        every = self.engine.search(self.queries, k=self.docs.num_rows).select(["query_id", "doc_id", "score"])
        kept = self.gold.select(["query_id", "doc_id"]).join(every, ["query_id", "doc_id"], join_type="left outer")
        return kept.set_column(2, "score", pc.fill_null(kept["score"], -1.0))

    def unlabelled(self, learnt: Examples) -> Examples:
        """Pairs that nobody labelled, grades to be filled in: training queries with more products, and searches of titles."""
        asked = dict(zip(learnt.query_id, learnt.query, strict=True))
        chance = np.random.default_rng(len(asked))
        title = self.docs["title"].to_pylist()
        for row in chance.permutation(len(title))[:SEARCHES]:
            words = title[row].split()[: int(chance.integers(2, 7))]
            asked[f"title-{row}"] = " ".join(words).strip(" ,-|").lower()
        table = pa.table({"query_id": list(asked), "query": list(asked.values())})
        found = self.engine.search(table, k=MORE).to_pylist()
        known = set(zip(learnt.query_id, learnt.doc_id, strict=True))
        rows = [
            (r["query_id"], r["doc_id"])
            for r in found
            if (r["query_id"], r["doc_id"]) not in known and (not r["query_id"].startswith("title-") or r["rank"] <= PER_SEARCH)
        ]
        ids, docs = zip(*rows, strict=True)
        nothing = np.zeros(len(rows), dtype=np.int64)
        queries, texts = tuple(asked[i] for i in ids), tuple(self.text[d] for d in docs)
        return Examples(tuple(ids), tuple(docs), queries, texts, nothing, np.eye(4)[nothing], ESCI)


STRINGS = pa.schema([("query_id", pa.string()), ("query", pa.string())])


def judged(query_id: Any, doc_id: Any, relevance: Any, judge: str, scale: str) -> pa.Table:
    n = len(relevance)
    columns = {"query_id": query_id, "doc_id": doc_id, "relevance": relevance, "judge": [judge] * n}
    more = {"fingerprint": [""] * n, "scale": [scale] * n, "guide_version": [""] * n, "outcome": ["label"] * n}
    return pa.table(columns | more)


def before(data: Path, taken: set[str]) -> tuple[Examples, ...]:
    """What other people and a language model labelled, to learn from first. No query of the 120 is in it."""
    found = []
    if (data / "epqa_dev").is_dir():
        rows = pq.read_table(data / "epqa_dev" / "dev.parquet").to_pylist()
        scale = get("three-level")
        texts = [
            (str(r["qid"]), r["question"], str(i), f"{r['title'] or ''}\n{r['candidate'] or ''}") for i, r in enumerate(rows)
        ]
        found.append(task(texts, [int(r["label"]) for r in rows], scale, "human:epqa"))
    if (data / "icecat_multirater").is_dir():
        rows = pq.read_table(data / "icecat_multirater" / "broad_query_set_3raters.parquet").to_pylist()
        texts = [(r["query"], r["query"], r["doc_id"], f"title: {r['name'] or ''}") for r in rows]
        found.append(task(texts, [int(r["final_rating"]) for r in rows], get("trec"), "human:icecat"))
    return tuple(replace(e, notes=()) for e in found if not taken & set(e.query))


def task(rows: Sequence[tuple[str, str, str, str]], grades: list[int], scale: Scale, judge: str) -> Examples:
    query_id, query, doc_id, text = (list(column) for column in zip(*rows, strict=True))
    asked = pa.table({"query_id": query_id, "query": query, "doc_id": doc_id, "text": text})
    return examples(asked, judged(query_id, doc_id, pa.array(grades, pa.int32()), judge, scale.name), scale)


# --- judges ---------------------------------------------------------------------------------------------------------


def made(given: argparse.Namespace, world: World) -> dict[str, Any]:
    """Who learns, by name."""

    def settings(**more: Any) -> Settings:
        epochs = {} if given.epochs is None else {"epochs": given.epochs}
        return Settings(**{"device": given.device, **more, **epochs})

    plain = cross_encoder.CrossEncoderRecipe(base=given.small, max_length=192, settings=settings(epochs=4))
    best = cross_encoder.CrossEncoderRecipe(
        base=given.base, max_length=256, decision="macro F1", settings=settings(epochs=4, learning_rate=2e-5)
    )
    towers = distil.StudentRecipe(
        base=given.small, decision="macro F1", settings=settings(epochs=4, batch=64, learning_rate=5e-5)
    )

    def taught(learnt: Examples, out: Path) -> Trained:
        teacher: Any = loading.load(world.teachers[digest(learnt)], device=given.device)
        asked = world.unlabelled(learnt)
        said = as_table(teacher(pairs(asked)))
        probs = np.array(said["probs"].to_pylist())
        soft = replace(asked, target=probs, grade=probs.argmax(axis=1), judges=((teacher.name, teacher.fingerprint),))
        lineage = Lineage((teacher.name,), (teacher.fingerprint,))
        return distil.train(joined([learnt, soft]), None, out, recipe=towers, lineage=lineage)

    return {
        "baseline": lambda learnt, out: cross_encoder.train(learnt, None, out, recipe=plain),
        "cross-encoder": lambda learnt, out: cross_encoder.train(learnt, None, out, recipe=best, before=world.before),
        "student": taught,
        "two towers": lambda learnt, out: distil.train(learnt, None, out, recipe=towers),
    }


def shown(given: argparse.Namespace, world: World, files: list[Path], facts: dict[str, Any]) -> None:
    """leaderboard.html, .md and .json, and the table on standard output."""
    gold, run = given.out / "gold.parquet", given.out / "bm25.parquet"
    pq.write_table(world.gold, gold)
    pq.write_table(world.run, run)
    (given.out / "cost.json").write_text(
        json.dumps({n: store.manifests.plain(c) for n, c in facts.items()}, indent=1), encoding="utf-8"
    )
    names = {path.stem for path in files}
    above = {n: "cross-encoder" for n in ("student", "two towers") if {n, "cross-encoder"} <= names}
    board = leaderboard(gold, files, scale="esci", out=given.out / "leaderboard", run=run, above=above)
    print(page.markdown(board) if hasattr(page, "markdown") else board)


if __name__ == "__main__":
    sys.exit(main())
