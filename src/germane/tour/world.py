"""What a search team has before it asks anything, on a simulated marketplace: items, queries, two rankers, pairs to learn from.

Nothing here is real. Queries are in three parts that share none: golden ones, which judges are held against; those that judges
learn from; and the others, on which the experiment is run.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import store
from germane.chance import keys, uniform
from germane.engines import BM25
from germane.simulate import Marketplace, labelled
from germane.text import TextPlan
from germane.training import scratch

if TYPE_CHECKING:
    import pyarrow as pa

K = 10
ARMS = {"titles": ("title",), "all-fields": ("title", "brand", "attributes", "description")}
"""The ranker that is live, and the new one: fields that BM25 searches."""

READ = ("title", "brand", "attributes", "price")
"""What judges read: no descriptions, which are half the words; the ceiling reads all of them."""

EASY = 0.15
"""Share of random documents among pairs to learn from: more than usual, since small models learn these first."""

MADE_UP = "simulated by germane: no real shop, person, product or model"
PLAN = TextPlan(READ)


class Size(NamedTuple):
    """How much there is of everything. items, queries: of the marketplace. golden: queries that judges are held against.

    pairs: that the annotator labels, to learn from; taught: those of them that the teacher learns from. made_up: pairs made up
    from listings and graded by rule, to learn from first; more: graded by the cross-encoder, for the student. An encoder that
    was named is larger, and gets an `of_named`-th of these. experiment, audit: queries of the experiment, and documents in it
    that people judge again. days: of watching, of which the first are `sound`; requests, sample, anchors: a day; left: results
    of a page once it is broken. width: of models from scratch, which learn with `rate`.
    """

    items: int = 8_000
    queries: int = 2_000
    golden: int = 50
    pairs: int = 6_000
    taught: int = 400
    made_up: int = 24_000
    more: int = 8_000
    of_named: int = 10
    experiment: int = 600
    audit: int = 500
    days: int = 30
    sound: int = 19
    left: int = K
    requests: int = 4_000
    sample: int = 400
    anchors: int = 200
    width: int = 128
    layers: int = 2
    pieces: int = 6_000
    epochs: float = 2
    rate: float = 1e-3


SMALL = Size()


class Base(NamedTuple):
    """What a judge starts from. said: in its name, so that nobody takes it for more than it is. fresh: from scratch."""

    where: str
    said: str
    fresh: bool


class World:
    """The marketplace, and the files that a team would have of it, in a folder; each is made when it is first asked for."""

    def __init__(self, out: Path, size: Size, seed: int) -> None:
        self.out, self.size, self.seed = out, size, seed

    @cached_property
    def market(self) -> Marketplace:
        """The marketplace: the same for every seed, which is of draws and training."""
        return Marketplace(items=self.size.items, queries=self.size.queries)

    @cached_property
    def runs(self) -> dict[str, pa.Table]:
        """What each ranker shows, its top ten for every query."""
        return {name: BM25(self.market.docs, fields).search(self.market.queries, k=K) for name, fields in ARMS.items()}

    @cached_property
    def apart(self) -> labelled.Apart:
        """Golden queries, and the others."""
        size = self.size
        return labelled.apart(self.market, size.golden, least=max(size.golden // 8, 2), seed=self.seed)

    @cached_property
    def learned_from(self) -> pa.Table:
        """Queries whose pairs judges learn from: about half of those that are not golden."""
        return self.apart.train.filter(self._half)

    @cached_property
    def others(self) -> pa.Table:
        """Queries that are neither golden nor learned from."""
        return self.apart.train.filter(~self._half)

    @cached_property
    def _half(self) -> Any:
        from germane.text import query_digest

        texts = [query_digest(str(text)) for text in self.apart.train["query"].to_pylist()]  # word order tells none apart
        return uniform(self.seed, keys(texts)) < 0.5

    def drawn(self, n: int, seed: int) -> pa.Table:
        """n pairs of the queries to learn from."""
        runs = list(self.runs.values())
        return labelled.drawn_pairs(self.market, self.learned_from, runs, n, seed=self.seed + seed, easy=EASY, fields=READ)

    def docs(self) -> Path:
        """The catalogue, with what judges read and no more."""
        table = self.market.docs.select(["doc_id", "title", "brand", "attributes", "description", "price", "seller_kind"])
        return self.write("docs", "docs", table)

    def write(self, name: str, kind: str, table: pa.Table, *, again: bool = False) -> Path:
        """The path of a table of the world, written once."""
        path = self.out / "data" / f"{name}.parquet"
        if again or not path.is_file() or store.read_manifest(path) is None:
            made: dict[str, Any] = {"verb": "tour", "parameters": {"marketplace": self.market.seed}, "seed": self.seed}
            extra = {"simulated": True} | ({"text": {**PLAN.to_dict(), "cut": {}}} if kind == "pairs" else {})
            store.write_table(store.attributed(table, MADE_UP), path, kind, **made, extra=extra)
        return path

    def arm(self, name: str, queries: pa.Table, of: str) -> Path:
        """A ranker's lists of these queries."""
        held, run = set(queries["query_id"].to_pylist()), self.runs[name]
        return self.write(f"{of}/{name}", "runs", run.filter([query in held for query in run["query_id"].to_pylist()]))

    def bases(self, encoder: str | None, language_model: str | None) -> tuple[Base, Base]:
        """What cross-encoder and student start from, and what the teacher does: as named, as found, or from scratch."""
        size, docs = self.size, self.market.docs
        texts = [str(text) for column in ("title", "attributes", "description") for text in docs[column].to_pylist()]
        texts += [self.market.scale.guide] * 20  # the teacher reads it before each pair: its words should be whole pieces
        sizes: dict[str, Any] = {"width": size.width, "layers": size.layers, "pieces": size.pieces, "seed": self.seed}
        key = hashlib.sha256(json.dumps([texts, sizes], sort_keys=True).encode()).hexdigest()[:8]
        bert = partial(scratch.encoder, punctuation=False, dropout=0.0)
        made = []
        for named, make, name in ((encoder, bert, "bert"), (language_model, scratch.language_model, "llama")):
            if named is not None:
                made.append(Base(named, f"from {named}", False))
                continue
            place = self.out / "bases" / f"{name}-{key}"
            if not (place / "parameters").is_file():  # pieces of words that are as frequent come in any order: made once
                store.write_text(place / "parameters", str(make(place, texts, **sizes)))
            count = int((place / "parameters").read_text(encoding="utf-8"))
            made.append(Base(str(place), f"from scratch, {count / 1e6:.1f}M parameters", True))
        return made[0], made[1]
