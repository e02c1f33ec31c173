"""Chapters: an annotator is checked and labels pairs; two teachers learn from its labels, and a student from one of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from germane import store
from germane.chance import keys, uniform
from germane.judges.graph import Voting
from germane.judges.sample import RECORDING
from germane.labelling.annotators import Annotator
from germane.pipeline.check import check
from germane.pipeline.label import label
from germane.pipeline.leaderboard import leaderboard
from germane.pipeline.recorded import replies
from germane.pipeline.train import Given, cross_encoder, student, teacher
from germane.report import words
from germane.report.tour import Chapter, Figure, Link
from germane.simulate import labelled, wishes
from germane.tour.people import FINAL
from germane.tour.world import READ, Base, K, World
from germane.types import InputError, JudgeCard

JUDGE = "llm:sample/recorded"
SAMPLES = 3
"""Replies a pair."""

SLIPS = (-1, 1)
"""By how many grades a reply that errs is off: to either side."""

TEACHERS = ("cross-encoder", "teacher")
STATISTICS = ("exact", "quadratic kappa", "macro F1", "specificity", "gain error")


def annotator(world: World) -> Chapter:
    """A language model's recorded replies, held against the golden votes; then the labels that others learn from."""
    out, scale = world.out, world.market.scale
    golden, learn = world.out / "data" / "golden-pairs.parquet", world.write("learn-pairs", "pairs", learned(world))
    _recorded(world, (golden, learn))
    asked: dict[str, Any] = {"voting": Voting(SAMPLES), "replies": out / "annotator"}
    said = out / "annotator" / "golden-judged.parquet"
    label(JUDGE, golden, said, annotator=Annotator(JUDGE, scale, golden=out / FINAL, **asked))
    card = check(out / FINAL, said, scale=scale, out=out / "annotator" / "card", **_lists(world))
    let = () if card.passed else ("no-card",)
    labels = out / "annotator" / "learn-judged.parquet"
    did = label(JUDGE, learn, labels, annotator=Annotator(JUDGE, scale, card=out / "annotator" / "card", allow=let, **asked))
    figures = [*statistics(card), Figure("pairs that it then labelled", None, f"{did.rows:,}, {SAMPLES} replies each")]
    return Chapter(
        "annotator",
        "An annotator",
        "May a language model label in people's place?",
        f"{_verdict(card)} It then labelled {did.rows:,} pairs of other queries, which judges of our own learn from.",
        f"A language model is asked {SAMPLES} times about each golden pair, and the middle of its grades is held against "
        "people's. Its replies are a recording: written by germane from the known truth, with errors, so that the path can be "
        "walked without a key. No model wrote them, and the figures say nothing about any.",
        tuple(figures),
        Link("its judge card", "annotator/card/card.html"),
        (
            "germane label --judge llm:PROVIDER/MODEL --pairs golden-pairs.parquet --golden golden/votes-final.parquet ...",
            "germane check golden/votes-final.parquet golden-judged.parquet --scale five-level --out card",
            "germane label --judge llm:PROVIDER/MODEL --pairs learn-pairs.parquet --card card ...",
        ),
        notes=(
            "The replies are recorded and simulated: no language model was asked.",
            *("Its card fails: it labelled all the same, with --allow no-card.",) * (not card.passed),
        ),
    )


def taught(world: World, reads: Base, writes: Base) -> Chapter:
    """A cross-encoder and a small generative teacher learn from the annotator's labels."""
    out, size, scale = world.out, world.size, world.market.scale
    pairs, labels, few = out / "data" / "learn-pairs.parquet", out / "annotator" / "learn-judged.parquet", 1
    if not reads.fresh:
        few = size.of_named
    made_up, rule, kept = _made_up(world, pairs, labels, few)
    rate = size.rate if reads.fresh else 1e-4
    common: dict[str, Any] = {"epochs": size.epochs, "seed": world.seed, "decision": "macro F1"}
    options = common | {"base": reads.where, "max_length": 64 if reads.fresh else 128, "batch": 32, "learning_rate": rate / 2}
    options |= {"before_rate": rate, "before_epochs": 1, "marks": True}  # it need not learn to compare words
    first = ((made_up, rule, scale.name),)
    options |= {"name": f"cross-encoder ({reads.said}, simulated)"}
    cross_encoder(Given(kept, labels, scale, before=first), out / "cross-encoder", options=options)
    some = store.read_table(kept, "pairs")
    chance = uniform(world.seed + 2, keys([f"{q} {d}" for q, d in _ids(some)]))
    few_pairs = some.take(np.sort(np.argsort(chance, kind="stable")[: size.taught]))
    slow = size.rate if writes.fresh else 1e-4
    options = common | {"base": writes.where, "max_length": 160, "batch": 8, "packed": False, "learning_rate": slow}
    options |= {"lora": None if writes.fresh else 16, "name": f"generative teacher ({writes.said}, simulated)"}
    teacher(Given(world.write("taught-pairs", "pairs", few_pairs), labels, scale), out / "teacher", options=options)
    cards = {name: carded(world, name) for name in TEACHERS}
    known = {name: card for name, card in cards.items() if card is not None}
    figures = [each for name, card in known.items() for each in statistics(card, f"{name}: ", ("exact", "quadratic kappa"))]
    figures += [
        Figure("pairs that the cross-encoder learned from", None, f"{some.num_rows:,} labels, {_count(made_up):,} made up"),
        Figure("pairs that the generative teacher learned from", None, f"{few_pairs.num_rows:,} labels"),
    ]
    weak = [name for name, card in cards.items() if card is None or not card.passed]
    notes = [
        f"The card of the {' and of the '.join(weak)} fails: nothing below is measured with it." if weak == ["teacher"] else ""
    ]
    notes += ["A language model from scratch learns little in a minute; --language-model takes a real one."] * writes.fresh
    return Chapter(
        "teacher",
        "Teachers",
        "What can models of our own learn from these labels?",
        f"{_of(cards['cross-encoder'], 'The cross-encoder')} {_of(cards['teacher'], 'The generative teacher')}",
        "Two small models learn to grade: a cross-encoder, which reads query and item together, and a language model, which "
        "says the grade. The annotator's labels teach a rule what faults cost; queries are made up from listings and graded by "
        f"that rule, and the cross-encoder learns from these first. Both start as they are named: {reads.said}; {writes.said}.",
        tuple(figures),
        Link("the cross-encoder's judge card", "cross-encoder-card/card.html"),
        (
            "germane train cross-encoder learn-pairs.parquet learn-judged.parquet --scale five-level ...",
            "germane train teacher learn-pairs.parquet learn-judged.parquet --scale five-level ...",
            "germane check golden/votes-final.parquet cross-encoder-says.parquet --scale five-level --out card",
        ),
        (Link("the generative teacher's card", "teacher-card/card.html"),) if cards["teacher"] else (),
        tuple(filter(None, notes)),
    )


def pupil(world: World, reads: Base) -> Chapter:
    """A student learns from the cross-encoder's grades; every judge stands on the same golden pairs."""
    out, size, scale = world.out, world.size, world.market.scale
    few = 1 if reads.fresh else size.of_named
    more = world.write("more-pairs", "pairs", world.drawn(size.more // few, seed=1))
    graded = out / "cross-encoder-says" / "more.parquet"
    label(out / "cross-encoder", more, graded)
    rate = size.rate if reads.fresh else 1e-4
    options: dict[str, Any] = {"epochs": size.epochs, "seed": world.seed, "decision": "macro F1", "base": reads.where}
    options |= {"max_text": 64, "batch": 64, "learning_rate": rate, "onnx": False}
    options |= {"name": f"student ({reads.said}, simulated)"}
    student(Given(more, graded, scale), out / "student", options=options)
    card = carded(world, "student")
    if card is None:
        raise InputError("the student gave no golden pair a grade: train it on more pairs")
    best = labelled.best(world.market, store.read_table(out / "data" / "golden-pairs.parquet", "pairs"))
    said = [golden_of(world, name) for name in (*TEACHERS, "student")]
    ceiling = world.write("ceiling", "judgments", best)
    lists = _lists(world)
    there = [path for path in said if store.read_table(path, "judgments")["relevance"].drop_null()]
    board = leaderboard(out / FINAL, there, scale=scale, out=out / "leaderboard", ceiling=ceiling, seed=world.seed, **lists)
    kept = next((j.retention for j in board.judges if j.name.startswith("student") and j.retention is not None), None)
    figures = list(statistics(card))
    if kept is not None and kept.ratio is not None:
        figures.append(Figure("share of its teacher's macro F1 that it keeps", kept.ratio, kind="percent"))
    if board.ceiling is not None:
        figures.append(Figure("macro F1 of the best that text allows", board.ceiling.found["macro F1"]))
    speeds = [f"{name} {rate:,.0f}" for name, rate in _speeds(said)]
    figures.append(Figure("pairs a second, this machine", None, ", ".join(speeds)))
    return Chapter(
        "student",
        "A student",
        "Is there a judge that is cheap enough for every result, every day?",
        f"{_of(card, 'The student')} The page shows all three judges beside the best that any judge of text could do.",
        f"Two towers learn from the cross-encoder's grades of {_count(more):,} pairs: each text is read once, and a pair costs "
        "a product of two vectors. All judges then grade the same golden pairs, of queries that none of them saw.",
        tuple(figures),
        Link("all judges side by side", "leaderboard/leaderboard.html"),
        (
            "germane label --judge cross-encoder --pairs more-pairs.parquet",
            "germane train student more-pairs.parquet more.parquet --scale five-level ...",
            "germane leaderboard golden/votes-final.parquet *-says/golden.parquet --scale five-level --out leaderboard",
        ),
        (Link("the student's judge card", "student-card/card.html"),),
        () if card.passed else ("The student's card fails: what it says below is told with that override.",),
    )


# --- parts ------------------------------------------------------------------------------------------------------------


def learned(world: World) -> Any:
    """The pairs that the annotator labels."""
    return world.drawn(world.size.pairs, seed=0)


def carded(world: World, name: str) -> JudgeCard | None:
    """The card of a trained judge against the golden votes; None for one that gave no grade at all."""
    out = world.out
    if not store.read_table(golden_of(world, name), "judgments")["relevance"].drop_null():
        return None
    return check(out / FINAL, golden_of(world, name), scale=world.market.scale, out=out / f"{name}-card", **_lists(world))


def golden_of(world: World, name: str) -> Path:
    """What a trained judge says of the golden pairs."""
    said = world.out / f"{name}-says" / "golden.parquet"
    label(world.out / name, world.out / "data" / "golden-pairs.parquet", said)
    return said


def statistics(card: JudgeCard, before: str = "", names: Sequence[str] = STATISTICS) -> tuple[Figure, ...]:
    """Figures of a card, with the bars that were set."""
    made = []
    for name in names:
        if (e := card.agreement.get(name)) is not None:
            bar = card.bars.get(name)
            said = "" if bar is None else f" (bar {bar:g}, {'met' if card.meets(name) else 'missed'})"
            kind = "percent" if name in ("exact", "specificity") else "signed" if name == "gain error" else "plain"
            made.append(Figure(f"{before}{name}{said}", e, kind=kind))
    return tuple(made)


def _lists(world: World) -> dict[str, Any]:
    """What golden grades are weighed with, and both rankers' lists of their queries."""
    data, validation = world.out / "data", world.apart.validation
    arms = {arm: world.arm(name, validation, "golden") for arm, name in (("control", "titles"), ("treatment", "all-fields"))}
    queries = {"queries": data / "golden-queries.parquet", "design": data / "golden-design.parquet"}
    return arms | queries | {"metric": f"sDCG@{K}"}


def _recorded(world: World, files: Sequence[Path]) -> None:
    """The recording of what the made-up annotator says of these pairs."""
    place, rng = world.out / "annotator" / RECORDING, np.random.default_rng([world.seed, 8])
    labels, lines = world.market.scale.labels, {}
    for path in files:
        table = store.read_table(path, "pairs")
        grades = world.market.truth(*zip(*_ids(table), strict=True))
        texts = zip(table["query"].to_pylist(), table["text"].to_pylist(), grades.tolist(), strict=True)
        for query, text, grade in texts:
            said = replies(int(grade), labels, rng, samples=SAMPLES, slips=SLIPS)
            lines[query, text] = json.dumps({"query": query, "item": text, "replies": said}, ensure_ascii=False)
    store.write_text(place, "\n".join(lines.values()) + "\n")


def _made_up(world: World, pairs: Path, labels: Path, few: int) -> tuple[Path, Path, Path]:
    """Pairs made up from listings, a rule's grades of them, and the labelled pairs without odd askers.

    What the labels teach: the costs of faults, and which askers judge unlike the others.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    data = world.out / "data"
    files = (data / "made-up.parquet", data / "made-up-rule.parquet", data / "kept-pairs.parquet")
    if all(path.is_file() and store.read_manifest(path) for path in files):
        return files
    shown, said = store.read_table(pairs, "pairs"), store.read_table(labels, "judgments")
    answered = pc.is_valid(said["relevance"])
    market, shelf = world.market, wishes.shelf_of(world.market)
    rules = wishes.learned(shelf, shown.filter(answered), said.filter(answered))
    without = pa.concat_tables([world.apart.validation, world.others])
    made, rule = wishes.made_up(
        market, world.size.made_up // few, without=without, seed=world.seed, people=rules, shelf=shelf, fields=READ
    )
    usual = [rules.plain.get(str(query), 1.0) > wishes.PLAIN for query in shown["query"].to_pylist()]
    world.write("made-up-rule", "judgments", rule)
    world.write("kept-pairs", "pairs", shown.filter(pa.array(usual)))
    world.write("made-up", "pairs", made)
    return files


def _verdict(card: JudgeCard) -> str:
    return "Its card meets every bar." if card.passed else f"Its card misses {_missed(card)}."


def _of(card: JudgeCard | None, who: str) -> str:
    """A judge in one sentence: how often it is right, and whether its card passes."""
    if card is None:
        return f"{who} gives no grade at all."
    e = card.agreement["exact"]
    ends = f"{words.percent(e.low)} to {words.percent(e.high)}"
    said = f"{who} gives people's grade in {words.percent(e.value)} of pairs ({ends})"
    return f"{said} and meets every bar." if card.passed else f"{said} and misses {_missed(card)}."


def _missed(card: JudgeCard) -> str:
    missed = [f"the bar on {name}" for name in card.bars if not card.meets(name)]
    return " and ".join(missed[:2]) + (f" and {len(missed) - 2} more" if len(missed) > 2 else "")


def _speeds(said: Sequence[Path]) -> list[tuple[str, float]]:
    """Pairs a second of each judge, as the manifest of its judgments says."""
    found = []
    for path in said:
        manifest = store.read_manifest(path)
        rate = None if manifest is None else manifest.extra["judge"].get("rows_per_s")
        if rate is not None:
            found.append((path.parent.name.removesuffix("-says"), float(rate)))
    return found


def _count(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _ids(table: Any) -> list[tuple[str, str]]:
    return [(str(q), str(d)) for q, d in zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True)]
