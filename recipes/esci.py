"""Judges of product search from human labels: cross-encoder, student and their baselines, out of fold, on one leaderboard.

    python recipes/esci.py [--device cuda] [--out DIR] [--folds 5] [--seed 0] [--only NAME ...]

Data: esci_us_120 (120 queries, 5,317 labels E/S/C/I) and, to learn from first, epqa_dev, icecat_multirater and the 1,080
labels of a language model, all of GERMANE_DATA; models of GERMANE_MODELS. Every judge is trained in each of five folds by
query and labels the queries that it never saw: the table is of these judgments. tau is of sDCG@25 with ESCI's gains, on
the judged products of each query ranked by BM25 over all fields, once by the judge's grades and once by its expected gains.

- baseline: a plain MiniLM cross-encoder, four epochs of cross-entropy, 192 tokens, the likeliest grade.
- cross-encoder, small cross-encoder: mpnet and MiniLM that learn first from searches of the catalogue and from what others
  labelled, then from the fold's labels; grades by probability over share ** 0.6 (docs/esci.md).
- committee: the two as one judge.
- student: two towers, distilled in each fold from that fold's committee, on pairs that nobody labelled: the training
  queries with more products, and searches made of titles' first words. People's labels alone stop and calibrate it.
- two towers: the same towers, trained on the human labels of the fold alone.

A GPU does it in minutes, two cores need most of a day: --only and --folds 2 make it shorter. A finished fold is kept in
OUT/work and not trained again.
"""

from __future__ import annotations

import argparse
import hashlib
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
from germane.judges.committee import convene
from germane.pipeline.leaderboard import leaderboard
from germane.report import leaderboard as page
from germane.scales import get
from germane.text import TextPlan, compose_table, query_digest
from germane.training import cross_encoder, distil
from germane.training.catalogue import catalogue
from germane.training.examples import Examples, examples, folds, joined, split
from germane.training.finishing import Lineage, Trained
from germane.training.folds import digest, out_of_fold, pairs
from germane.training.running import History, Settings

ESCI = get("esci")
FIELDS = ("title", "brand", "color", "category", "bullet_points", "description")
PLAN = TextPlan(order=FIELDS, budgets={"category": 120, "bullet_points": 500, "description": 500})
K = 25
MORE = 60
"""Products a training query that the teacher labels for the student, beside those that people did."""
SEARCHES, PER_SEARCH = 1_200, 12
"""Searches made of titles, and products of each, that the teacher labels."""


def main() -> int:
    given = arguments()
    data = Path(os.environ.get("GERMANE_DATA", "GERMANE_DATA is not set"))
    if not (data / "esci_us_120").is_dir():
        print(f"no data in {data}: set GERMANE_DATA (docs/data.md says how to get it)", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    world = World(data, given.queries)
    judges = {name: maker for name, maker in made(given, world).items() if name in given.only}
    files, facts = [], {}
    for name, trainer in judges.items():
        kept = name in ("small cross-encoder", "cross-encoder", "committee")
        found = out_of_fold(
            world.labelled, trainer, name=name, folder=given.out / "work" / name, recipe=[name, given.version],
            k=given.folds, seed=given.seed, keep=kept,
        )  # fmt: skip
        if kept:
            parts = folds(world.labelled, given.folds, seed=given.seed)
            rows = (digest(world.labelled.take(learnt)) for learnt, _ in parts)
            world.judges[name] = dict(zip(rows, found.judges, strict=True))
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
    parser.add_argument("--queries", type=int, default=None, help="only so many, and little to learn first: to try it out")
    parser.add_argument("--only", nargs="+", default=JUDGES)
    given = parser.parse_args()
    script = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]  # another recipe makes other folds
    given.version = [given.base, given.small, given.epochs, given.queries, script]
    return given


class World:
    """The data: labelled pairs, texts of all products, and the rankings that levels are measured on."""

    def __init__(self, data: Path, few: int | None = None) -> None:
        folder = data / "esci_us_120"
        self.docs = sources.read_docs(folder / "products.parquet")
        self.queries = pq.read_table(folder / "queries.parquet").select(["query_id", "query"]).cast(STRINGS)
        labels = pq.read_table(folder / "judgments.parquet")
        self.more, self.searches = (MORE, SEARCHES) if few is None else (10, 20)
        if few is not None:
            labels = labels.filter(
                pc.is_in(labels["query_id"].cast(pa.string()), self.queries["query_id"].slice(0, few).combine_chunks())
            )
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
        taken = {query_digest(query) for query in self.queries["query"].to_pylist()}
        self.before = before(data, self.docs, self.text, taken)
        if few is not None:
            self.before = tuple(e.take(np.arange(0, len(e), 200)) for e in self.before)
        self.judges: dict[str, dict[str, Path]] = {}

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
        for row in chance.permutation(len(title))[: self.searches]:
            words = title[row].split()[: int(chance.integers(2, 7))]
            asked[f"title-{row}"] = " ".join(words).strip(" ,-|").lower()
        table = pa.table({"query_id": list(asked), "query": list(asked.values())})
        found = self.engine.search(table, k=self.more).to_pylist()
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


JUDGES = ["baseline", "small cross-encoder", "cross-encoder", "committee", "student", "two towers"]
STRINGS = pa.schema([("query_id", pa.string()), ("query", pa.string())])


def judged(query_id: Any, doc_id: Any, relevance: Any, judge: str, scale: str) -> pa.Table:
    n = len(relevance)
    columns = {"query_id": query_id, "doc_id": doc_id, "relevance": relevance, "judge": [judge] * n}
    more = {"fingerprint": [""] * n, "scale": [scale] * n, "guide_version": [""] * n, "outcome": ["label"] * n}
    return pa.table(columns | more)


def before(data: Path, docs: pa.Table, text: dict[str, str], taken: set[str]) -> tuple[Examples, ...]:
    """What is learned first, in one stage on ESCI's grades: searches of the catalogue, and what others labelled elsewhere.

    Questions and evidence (epqa: 0, 1, 2 are I, S, E), electronics (icecat: 0 to 3 are I, C, S, E), and a language model's
    labels (0 to 3, as these). None of their queries is one of the 120: one that is would be left out.
    """
    searches = catalogue(docs, ESCI, plan=PLAN)
    found = [searches.take([i for i, query in enumerate(searches.query) if query_digest(query) not in taken])]
    if (data / "epqa_dev").is_dir():
        rows = pq.read_table(data / "epqa_dev" / "dev.parquet").to_pylist()
        asked = [
            (str(r["qid"]), r["question"], str(i), f"title: {(r['title'] or '')[:80]}\n{r['candidate'] or ''}")
            for i, r in enumerate(rows)
        ]
        found.append(task(asked, [(0, 2, 3)[int(r["label"])] for r in rows], "human:epqa", taken))
    if (data / "icecat_multirater").is_dir():
        rows = pq.read_table(data / "icecat_multirater" / "broad_query_set_3raters.parquet").to_pylist()
        asked = [(r["query"], r["query"], r["doc_id"], f"title: {r['name'] or ''}") for r in rows]
        found.append(task(asked, [int(r["final_rating"]) for r in rows], "human:icecat", taken))
    rows = pq.read_table(data / "esci_us_120" / "llm_judgments_claude_sonnet_4_5.parquet").to_pylist()
    asked = [(r["query"], r["query"], r["product_id"], text[r["product_id"]]) for r in rows]
    found.append(task(asked, [int(r["llm_rating"]) for r in rows], "claude-sonnet-4.5", taken))
    return (joined(found),)


def task(rows: Sequence[tuple[str, str, str, str]], grades: list[int], judge: str, taken: set[str]) -> Examples:
    kept = [i for i, (_, query, _, text) in enumerate(rows) if query_digest(query) not in taken and text.strip()]
    query_id, query, doc_id, text = (tuple(rows[i][k] for i in kept) for k in range(4))
    grade = np.array([grades[i] for i in kept], dtype=np.int64)
    return Examples(query_id, doc_id, query, text, grade, np.eye(4)[grade], ESCI, ((judge, ""),))


# --- judges ---------------------------------------------------------------------------------------------------------


def made(given: argparse.Namespace, world: World) -> dict[str, Any]:
    """Who learns, by name."""

    def settings(**more: Any) -> Settings:
        epochs = {} if given.epochs is None else {"epochs": given.epochs}
        return Settings(**{"device": given.device, **more, **epochs})

    plain = cross_encoder.CrossEncoderRecipe(base=given.small, max_length=192, settings=settings(epochs=4, learning_rate=5e-5))

    def best(base: str, rate: float) -> cross_encoder.CrossEncoderRecipe:
        return cross_encoder.CrossEncoderRecipe(
            base=base, max_length=128, decision="prior", stop_on="last", held_out=0.06,
            settings=settings(epochs=4, learning_rate=rate),
        )  # fmt: skip

    towers = distil.StudentRecipe(
        base=given.small, decision="macro F1", onnx=False, settings=settings(epochs=4, batch=64, learning_rate=5e-5)
    )
    taught_by = replace(towers, settings=settings(epochs=2, batch=128, learning_rate=1e-4))

    def taught(learnt: Examples, out: Path) -> Trained:
        teacher: Any = loading.load(world.judges["committee"][digest(learnt)], device=given.device)
        people, dev = split(learnt)  # the student stops and is calibrated by people, not by its teacher
        asked = world.unlabelled(people)
        said = as_table(teacher(pairs(asked)))
        probs = np.array(said["probs"].to_pylist())
        soft = replace(asked, target=probs, grade=probs.argmax(axis=1), judges=((teacher.name, teacher.fingerprint),))
        lineage = Lineage((teacher.name,), (teacher.fingerprint,))
        return distil.train(joined([people, soft]), dev, out, recipe=taught_by, lineage=lineage)

    def on(base: str, rate: float, epochs: float) -> Any:
        def learn(learnt: Examples, out: Path) -> Trained:
            first = best(base, rate)
            first = replace(first, settings=replace(first.settings, epochs=given.epochs or epochs))
            return cross_encoder.train(learnt, None, out, recipe=best(prepared(given, world, base, first), rate))

        return learn

    def both(learnt: Examples, out: Path) -> Trained:
        made = [world.judges[name][digest(learnt)] for name in ("cross-encoder", "small cross-encoder")]
        about = convene(made, out, name="committee")
        return Trained(out, about.fingerprint, History(0, (), (), None, 0.0, 0.0, None))

    return {
        "baseline": lambda learnt, out: cross_encoder.train(learnt, None, out, recipe=plain),
        "small cross-encoder": on(given.small, 5e-5, 2),
        "cross-encoder": on(given.base, 3e-5, 1),
        "committee": both,
        "student": taught,
        "two towers": lambda learnt, out: distil.train(learnt, None, out, recipe=towers),
    }


def prepared(given: argparse.Namespace, world: World, base: str, recipe: cross_encoder.CrossEncoderRecipe) -> str:
    """The base after its first stage, which reads none of the 120 queries' labels: made once, for all folds."""
    key = hashlib.sha256(json.dumps(given.version).encode()).hexdigest()[:8]
    out = given.out / "work" / f"prepared-{Path(base).name}-{key}"
    if not (out / "judge.json").is_file():
        cross_encoder.train(joined(world.before), None, out, recipe=recipe)
    return str(out / "model")


def shown(given: argparse.Namespace, world: World, files: list[Path], facts: dict[str, Any]) -> None:
    """leaderboard.html, .md and .json, and the table on standard output."""
    gold, run = given.out / "gold.parquet", given.out / "bm25.parquet"
    pq.write_table(world.gold, gold)
    pq.write_table(world.run, run)
    (given.out / "cost.json").write_text(
        json.dumps({n: store.manifests.plain(c) for n, c in facts.items()}, indent=1), encoding="utf-8"
    )
    names = {path.stem for path in files}
    above = {n: "committee" for n in ("student", "two towers") if {n, "committee"} <= names}
    board = leaderboard(gold, files, scale="esci", out=given.out / "leaderboard", run=run, above=above)
    print(page.markdown(board))


if __name__ == "__main__":
    sys.exit(main())
