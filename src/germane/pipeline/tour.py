"""`germane tour`: three judges are trained on the CPU, on a simulated marketplace, and stand beside the best that text allows.

Read `tour` from top to bottom: labelled pairs teach a rule what faults cost; queries made up from listings, graded by that
rule, and then the labels, make a cross-encoder, and some labels a small generative teacher; the cross-encoder's grades of more
pairs become a two-tower student; all three grade the same golden pairs, of queries that none of them saw. It shows how judges
are made, not how good they can be: minutes on two cores are little, and the page says what each one is.
"""

from __future__ import annotations

import hashlib
import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import store
from germane.engines import BM25
from germane.extras import needs
from germane.pipeline.label import label
from germane.pipeline.leaderboard import leaderboard
from germane.pipeline.train import Given, cross_encoder, student, teacher
from germane.simulate import Marketplace, labelled, wishes
from germane.training import scratch
from germane.types import Leaderboard

if TYPE_CHECKING:
    import pyarrow as pa

K = 10
ARMS = {"titles": ("title",), "all-fields": ("title", "brand", "attributes", "description")}
READ = ("title", "brand", "attributes", "price")  # no descriptions: half the words, and the ceiling reads all of them
EASY = 0.15  # random documents among pairs to learn from: more than usual, since small models learn these first
MADE_UP = "simulated by germane: no real shop, person or product"


class Size(NamedTuple):
    """How much there is of everything. items, queries: of the marketplace. golden: queries that the judges are held against.

    pairs, more: labelled by people, and by the cross-encoder for the student. made_up: pairs made up from listings and graded
    by rule, to learn from first. An encoder that was named is larger, and gets an `of_named`-th of all these. taught: pairs
    that the teacher learns from. width: of models from scratch, which learn with `rate`.
    """

    items: int = 20_000
    queries: int = 5_000
    golden: int = 80
    pairs: int = 8_000
    more: int = 20_000
    made_up: int = 40_000
    of_named: int = 10
    taught: int = 500
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


def tour(
    out: Path = Path("tour"),
    *,
    encoder: str | None = None,
    language_model: str | None = None,
    seed: int = 1,
    size: Size = SMALL,
) -> Leaderboard:
    """The leaderboard of the three judges; their folders, files and pages are in `out`. A second call goes on from there.

    encoder: base of cross-encoder and student, a folder or a model's name; by default a small BERT from scratch, with word
    pieces of the listings: a larger one learns too little in minutes. language_model: base of the teacher; by default a small
    Llama from scratch, since a real one takes an hour on two cores. seed: of draws and training; the marketplace stays.

    Raises: InputError where the extra "train" is missing, and for a base that cannot be read.
    """
    needs("train", "torch", "transformers", "accelerate", by="the tour")
    step("making the marketplace", 0)
    market = Marketplace(items=size.items, queries=size.queries)
    texts = [str(text) for column in ("title", "attributes", "description") for text in market.docs[column].to_pylist()]
    texts += [market.scale.guide] * 20  # the teacher reads it before each pair: its words should be whole pieces
    reads, writes = bases(texts, out / "bases", encoder, language_model, size, seed)
    few = 1 if reads.fresh else size.of_named

    step("drawing golden pairs, and others to learn from", 1)
    # People label some pairs. None of the golden queries is among those that judges learn from.
    files = world(market, out, few, size, seed)

    step("training a cross-encoder", 2)
    rate = size.rate if reads.fresh else 1e-4
    common: dict[str, Any] = {"epochs": size.epochs, "seed": seed, "decision": "macro F1"}
    options = common | {"base": reads.where, "max_length": 64 if reads.fresh else 128, "batch": 32, "learning_rate": rate / 2}
    options |= {"before_rate": rate, "before_epochs": 1, "marks": True}  # it need not learn to compare words
    made_up = ((files["made-up"], files["made-up-rule"], market.scale.name),)
    taught = Given(files["train"], files["train-people"], market.scale, before=made_up)
    cross_encoder(taught, out / "cross-encoder", options=options | {"name": f"cross-encoder ({reads.said}, simulated)"})

    step("training a generative teacher", 3)
    slow = size.rate if writes.fresh else 1e-4
    options = common | {"base": writes.where, "max_length": 160, "batch": 8, "packed": False, "learning_rate": slow}
    options |= {"lora": None if writes.fresh else 16, "name": f"generative teacher ({writes.said}, simulated)"}
    teacher(Given(files["taught"], files["taught-people"], market.scale), out / "teacher", options=options)

    step("training a student on the cross-encoder's grades", 4)
    more = out / "more-labels.parquet"
    label(out / "cross-encoder", files["more"], more)
    options = common | {"base": reads.where, "max_text": 64, "batch": 64, "learning_rate": rate, "onnx": False}
    options |= {"name": f"student ({reads.said}, simulated)"}
    student(Given(files["more"], more, market.scale), out / "student", options=options)

    step("asking all three about the golden pairs", 5)
    said = [out / f"{name}-says.parquet" for name in ("cross-encoder", "teacher", "student")]
    for path in said:
        label(out / path.name.removesuffix("-says.parquet"), files["golden"], path)

    step("comparing them with people, and with the best that text allows", 6)
    board = leaderboard(
        files["gold"],
        said,
        scale=market.scale,
        out=out,
        ceiling=files["ceiling"],
        control=files["titles"],
        treatment=files["all-fields"],
        metric=f"sDCG@{K}",
        design=files["design"],
        queries=files["queries"],
        by=("segment",),
        seed=seed,
    )
    return board


def step(doing: str, done: int) -> None:
    """Tell whoever listens (the command line's progress bar) what is being done."""
    logging.getLogger("germane").info(doing, extra={"done": done, "total": 7})


def bases(
    texts: list[str], out: Path, encoder: str | None, language_model: str | None, size: Size, seed: int
) -> tuple[Base, Base]:
    """What cross-encoder and student start from, and what the teacher does: as named, as found, or from scratch."""
    sizes: dict[str, Any] = {"width": size.width, "layers": size.layers, "pieces": size.pieces, "seed": seed}
    key = hashlib.sha256(json.dumps([texts, sizes], sort_keys=True).encode()).hexdigest()[:8]
    bert = partial(scratch.encoder, punctuation=False, dropout=0.0)
    made = []
    for named, make, name in ((encoder, bert, "bert"), (language_model, scratch.language_model, "llama")):
        if named is not None:
            made.append(Base(named, f"from {named}", False))
        else:
            place = out / f"{name}-{key}"
            if not (place / "parameters").is_file():  # pieces of words that are as frequent come in any order: made once
                (place / "parameters").write_text(str(make(place, texts, **sizes)), encoding="utf-8")
            count = int((place / "parameters").read_text(encoding="utf-8"))
            made.append(Base(str(place), f"from scratch, {count / 1e6:.1f}M parameters", True))
    return made[0], made[1]


def world(market: Marketplace, out: Path, few: int, size: Size, seed: int) -> dict[str, Path]:
    """Name -> file: what a search team has (ranked lists, queries, people's labels), and the ceiling, which none has."""
    runs = [BM25(market.docs, fields).search(market.queries, k=K) for fields in ARMS.values()]
    apart = labelled.apart(market, size.golden, least=max(size.golden // 8, 2), seed=seed)
    golden = labelled.pairs_of(market, apart.validation, runs, fields=READ)
    draw: dict[str, Any] = {"fields": READ, "easy": EASY}
    train, more, taught = (
        labelled.drawn_pairs(market, apart.train, runs, n, seed=seed + i, **draw)
        for i, n in enumerate((size.pairs // few, size.more // few, size.taught))
    )
    # What labels teach: the costs of faults, and which askers judge unlike the others. Their queries are left out.
    shelf, people = wishes.shelf_of(market), labelled.people(market, train)
    learned = wishes.learned(shelf, train, people)
    made_up, rule = wishes.made_up(
        market, size.made_up // few, without=apart.validation, seed=seed, people=learned, shelf=shelf, fields=READ
    )
    train = train.filter([learned.plain.get(str(query), 1.0) > wishes.PLAIN for query in train["query"].to_pylist()])
    held = set(apart.validation["query_id"].to_pylist())
    tables = {name: ("runs", _of(run, held)) for name, run in zip(ARMS, runs, strict=True)}
    tables |= {"queries": ("queries", apart.validation), "design": ("designs", apart.design)}
    tables |= {"golden": ("pairs", golden), "train": ("pairs", train), "more": ("pairs", more), "taught": ("pairs", taught)}
    tables |= {"made-up": ("pairs", made_up), "made-up-rule": ("judgments", rule)}
    tables |= {"gold": ("judgments", labelled.people(market, golden)), "ceiling": ("judgments", labelled.best(market, golden))}
    tables |= {f"{name}-people": ("judgments", labelled.people(market, tables[name][1])) for name in ("train", "taught")}
    files = {name: out / f"{name}.parquet" for name in tables}
    made: dict[str, Any] = {"verb": "tour", "parameters": {"marketplace": market.seed}, "extra": {"simulated": True}}
    for name, (kind, table) in tables.items():
        store.write_table(store.attributed(table, MADE_UP), files[name], kind, **made)
    return files


def _of(run: pa.Table, held: set[object]) -> pa.Table:
    return run.filter([query_id in held for query_id in run["query_id"].to_pylist()])
