"""The validation table of trained judges on the simulated marketplace, each figure beside the best that text allows.

    python recipes/marketplace.py            # two hours or so on two cores; on a GPU, what reached the aim in ten minutes:
    python recipes/marketplace.py --width 384 --layers 6 --made-up 1200000 --made-up-epochs 1.5 --made-up-rate 5e-4 \\
        --batch 512 --epochs 2 --learning-rate 1e-4 --max-length 96 --student-pairs 250000 --student-epochs 3 \\
        --student-batch 1024 --student-learning-rate 5e-4 --label-batch 1024
    python recipes/marketplace.py --pairs 900 --made-up 600 --student-pairs 900 --items 2000 --queries 200 --validation 24 \\
        --width 32 --layers 1 --epochs 1 --student-epochs 1   # does it run? a minute; its figures say nothing

Everything is a SIMULATION: items, queries and grades are made up (docs/simulator.md), and "people" are the known truth. So many
pairs are labelled by people, drawn from the top lists of two BM25 arms with some random ones. From their labels a rule learns
what each fault costs and which askers judge unlike the others (germane.simulate.wishes). A cross-encoder first learns from
that rule's grades of queries made up from listings and of all that both arms show for the queries to learn from, and then from
people's labels without those askers. It grades more pairs,
of these queries; a two-tower student is distilled from its grades; and both are held against the truth on other queries, top
25 of both arms, beside the best possible judge of text, which the simulator knows. Stages are germane's own verbs on files in
--out: a second call with the same options goes on where the first stopped. The last one writes table.md and table.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from germane import cards, store
from germane.cards import ceiling
from germane.engines import BM25
from germane.pipeline import train
from germane.pipeline.label import label
from germane.pipeline.leaderboard import leaderboard
from germane.simulate import Marketplace, labelled, wishes
from germane.sources import read_judgments, read_run
from germane.text import query_digest
from germane.training import scratch
from germane.types import Estimate, InputError, Leaderboard, Standing

K, DEEP = 25, 60  # of validation and of labelled pairs; of the student's
ARMS = {"titles": ("title",), "all-fields": ("title", "brand", "attributes", "description")}
READ = ("title", "brand", "price", "attributes", "description")  # what is cut of a long text is the end of its description
SCRATCH = "scratch"
SEGMENTS = ("head", "torso", "tail", "single")
OVERALL = ("exact", "within one", "macro F1")
LISTS = [f"{level} {name}" for level in ("score", "difference") for name in ("tau-b", "rho", "error", "error P10", "error P90")]
MADE_UP = "simulated by germane: no real shop, person or product"


def main() -> None:
    given = arguments()
    clock = Clock()
    world(given)
    clock("the marketplace, its runs and pairs")
    files, base = given.out, based(given)
    clock("the base")
    cross = {"base": base, "max_length": given.max_length, "marks": given.marks, "learning_rate": given.learning_rate}
    cross |= {"epochs": given.epochs, "before_epochs": given.made_up_epochs, "before_rate": given.made_up_rate}
    cross |= {"batch": given.batch, "precision": given.precision, "seed": given.seed, "device": given.device}
    cross |= {"name": f"cross-encoder, {given.base} (simulated)"}
    before = ((files / "made-up.parquet", files / "made-up-rule.parquet", "five-level"),) if given.made_up else ()
    dev = files / "dev.parquet", files / "dev-people.parquet"
    learned = train.Given(files / "train.parquet", files / "train-people.parquet", "five-level", dev=dev, before=before)
    train.cross_encoder(learned, files / "cross-encoder", options=cross)
    clock(f"a cross-encoder from {given.base} on {given.pairs:,} pairs")
    machine: dict[str, Any] = {"device": given.device, "batch": given.label_batch}
    label(files / "cross-encoder", files / "validation.parquet", files / "cross-encoder.parquet", **machine)
    label(files / "cross-encoder", files / "student.parquet", files / "student-labels.parquet", **machine)
    clock(f"its grades of {given.student_pairs:,} more pairs")
    towers = {"base": given.student_base or base, "device": given.device, "epochs": given.student_epochs}
    towers |= {"batch": given.student_batch, "learning_rate": given.student_learning_rate, "max_text": given.max_length}
    towers |= {"precision": given.precision, "seed": given.seed, "onnx": False}  # the table needs no export
    towers |= {"name": f"student, {given.student_base or given.base} (simulated)"}
    labels = train.Given(files / "student.parquet", files / "student-labels.parquet", "five-level", dev=dev)
    train.student(labels, files / "student", options=towers)
    clock("a two-tower student on these grades")
    label(files / "student", files / "validation.parquet", files / "student-says.parquet", **machine)
    clock("its grades of the validation pairs")
    table = measured(given, clock)
    store.write_text(files / "table.md", table)
    print(table)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pairs", type=int, default=50_000, help="labelled pairs that the cross-encoder learns from")
    add("--student-pairs", type=int, default=150_000, help="pairs that it labels for the student, those made up included")
    add("--made-up", type=int, default=400_000, help="pairs made up from listings alone, to learn from first; 0")
    add("--validation", type=int, default=1_250, help="validation queries, never learned from")
    add("--base", default=SCRATCH, help="of the cross-encoder; by default a small BERT with word pieces of the listings")
    add("--width", type=int, default=128, help="of that BERT")
    add("--layers", type=int, default=2, help="of that BERT")
    add("--student-base", help="by default the same")
    add("--no-marks", dest="marks", action="store_false", help="do not tell it which tokens query and document share")
    add("--everybody", action="store_true", help="learn from all labels, of strict and mild askers too")
    add("--epochs", type=float, default=2, help="of the cross-encoder, over people's labels")
    add("--made-up-epochs", type=float, default=1, help="over pairs made up")
    add("--batch", type=int, default=64)
    add("--learning-rate", type=float, default=5e-4)
    add("--made-up-rate", type=float, default=1.5e-3, help="learning rate over pairs made up")
    add("--precision", default="bf16", help="auto, fp32, bf16 or fp16")
    add("--max-length", type=int, default=64)
    add("--student-epochs", type=float, default=2)
    add("--student-batch", type=int, default=128)
    add("--student-learning-rate", type=float, default=1.5e-3)
    add("--label-batch", type=int, default=256)
    add("--device", help="as torch names it; the best there is")
    add("--items", type=int, default=20_000, help="of the marketplace; other sizes are another marketplace")
    add("--queries", type=int, default=5_000)
    add("--seed", type=int, default=1, help="of the draws and the training; the marketplace stays")
    add("--out", type=Path, default=Path("build/marketplace"))
    return parser.parse_args()


class Clock:
    """Says what took how long, and keeps it for the table."""

    def __init__(self) -> None:
        self.last, self.took = time.perf_counter(), {}

    def __call__(self, what: str) -> None:
        now = time.perf_counter()
        self.took[what] = round(now - self.last, 1)
        print(f"{self.took[what]:8.1f} s  {what}", flush=True)
        self.last = now


def world(given: argparse.Namespace) -> None:
    """The files that a search team would have: runs, pairs, people's labels; and the ceiling, which only a simulator has."""
    made: dict[str, Any] = {"verb": "recipes/marketplace.py", "seed": given.seed}
    names = ("pairs", "student_pairs", "made_up", "validation", "items", "queries", "everybody")
    made["parameters"] = {name: getattr(given, name) for name in names}
    if store.up_to_date(given.out / "student.parquet", inputs=(), **made):
        return
    market = Marketplace(items=given.items, queries=given.queries)
    deep = [BM25(market.docs, fields).search(market.queries, k=DEEP) for fields in ARMS.values()]
    top = [run.filter(pc.less_equal(run["rank"], K)) for run in deep]
    apart = labelled.apart(market, given.validation, least=min(60, given.validation // 8), seed=given.seed)
    for name, run in zip(ARMS, top, strict=True):
        asked = pc.is_in(run["query_id"], value_set=apart.validation["query_id"].combine_chunks())
        write(run.filter(asked), given.out / f"{name}.parquet", "runs", made)
    write(apart.validation, given.out / "queries.parquet", "queries", made)
    write(apart.design, given.out / "design.parquet", "designs", made)
    held = labelled.pairs_of(market, apart.validation, top, fields=READ)
    write(held, given.out / "validation.parquet", "pairs", made)
    write(labelled.people(market, held), given.out / "gold.parquet", "judgments", made)
    write(labelled.best(market, held), given.out / "ceiling.parquet", "judgments", made)
    pairs = labelled.drawn_pairs(market, apart.train, top, given.pairs, fields=READ, seed=given.seed)
    people = labelled.people(market, pairs)
    shelf = wishes.shelf_of(market)
    dev = held_out(pairs, given.seed)
    write(pairs.filter(dev), given.out / "dev.parquet", "pairs", made)
    write(people.filter(dev), given.out / "dev-people.parquet", "judgments", made)
    pairs, people, dev = pairs.filter(pc.invert(dev)), people.filter(pc.invert(dev)), pairs.filter(dev)
    try:
        learned = wishes.learned(shelf, pairs, people)
    except InputError as problem:  # few labels: the guide's own rule needs none
        print(f"the guide's rule grades what is made up: {problem}", flush=True)
        learned = None
    odds = learned.plain if learned and not given.everybody else {}
    plain = pa.array([odds.get(str(q), 1.0) > wishes.PLAIN for q in pairs["query"].to_pylist()])
    write(pairs.filter(plain), given.out / "train.parquet", "pairs", made)
    write(people.filter(plain), given.out / "train-people.parquet", "judgments", made)
    known = pc.is_in(apart.train["query_id"], value_set=dev["query_id"].combine_chunks())
    others, taken = apart.train.filter(pc.invert(known)), without(apart.validation, dev)
    if given.made_up:
        engines = [BM25(market.docs, fields) for fields in ARMS.values()]
        said = {"people": learned, "shelf": shelf, "engines": engines, "fields": READ, "seed": given.seed}
        asked = [wishes.made_up(market, given.made_up, without=taken, **said)]
        real = labelled.pairs_of(market, others, deep, fields=READ)
        asked += [wishes.graded(market, real, learned, shelf)] if learned else []
        pairs, rule = (pa.concat_tables(tables) for tables in zip(*asked, strict=True))
        write(pairs, given.out / "made-up.parquet", "pairs", made)
        write(rule, given.out / "made-up-rule.parquet", "judgments", made)
    half = min(given.student_pairs // 2, given.made_up)
    more = labelled.drawn_pairs(market, others, deep, given.student_pairs - half, fields=READ, seed=given.seed + 1)
    more = pa.concat_tables([more, pairs.slice(0, half)])
    write(more, given.out / "student.parquet", "pairs", made)  # last: it stands for all of them


def held_out(pairs: pa.Table, seed: int) -> pa.Array:
    """One labelled query in ten, to stop and to calibrate by. The same words in another order are on the same side."""
    queries = [str(query) for query in pairs["query"].to_pylist()]
    drawn = {query: sha256(f"{seed} {query_digest(query)}".encode()).digest()[0] < 26 for query in queries}
    return pa.array([drawn[query] for query in queries])


def without(*tables: pa.Table) -> pa.Table:
    return pa.table({"query": pa.concat_arrays([table["query"].combine_chunks() for table in tables])})


def based(given: argparse.Namespace) -> str:
    """Where the base is: as named, or a small BERT with fresh weights, and pieces of the words of what is learned from."""
    if given.base != SCRATCH:
        return str(given.base)
    place = given.out / "base"
    if not (place / "config.json").is_file():
        names = ("train", *(["made-up"] if given.made_up else []), "student")
        tables = [store.read_table(given.out / f"{name}.parquet", "pairs") for name in names]
        texts = [sorted({str(text) for table in tables for text in table[column].to_pylist()}) for column in ("text", "query")]
        sizes: dict[str, Any] = {"width": given.width, "layers": given.layers, "seed": given.seed}
        scratch.encoder(place, [*texts[0], *texts[1]], punctuation=False, dropout=0.0, **sizes)
    return str(place)


def write(table: pa.Table, path: Path, kind: str, made: Mapping[str, Any]) -> None:
    store.write_table(store.attributed(table, MADE_UP), path, kind, **made)


def measured(given: argparse.Namespace, clock: Clock) -> str:
    """The validation table as Markdown; all of it in table.json."""
    files = given.out
    said = {"cross-encoder": files / "cross-encoder.parquet", "student": files / "student-says.parquet"}
    arms: dict[str, Any] = dict(zip(("control", "treatment"), (files / f"{name}.parquet" for name in ARMS), strict=True))
    more: dict[str, Any] = {"design": files / "design.parquet", "queries": files / "queries.parquet", "by": ("segment",)}
    board = leaderboard(
        files / "gold.parquet",
        list(said.values()),
        scale="five-level",
        out=files / "leaderboard",
        ceiling=files / "ceiling.parquet",
        **arms,
        **more,
    )
    experiment = cards.Experiment((), *(read_run(path) for path in arms.values()), seed=given.seed)
    of_errors = {}
    for name, path in said.items():
        tables = (read_judgments(each) for each in (files / "gold.parquet", path, files / "ceiling.parquet"))
        design = store.read_table(files / "design.parquet", "designs")
        of_errors[name] = ceiling.beside(*tables, scale=Marketplace.scale, experiment=experiment, design=design)
    clock("the table")
    judges = {name: next(s for s in board.judges if s.facts.kind == kind) for name, kind in KINDS.items()}
    rows = list(figures(board, judges, of_errors))
    told = {"options": {k: str(v) for k, v in vars(given).items()}, "seconds": clock.took, "rows": rows, "simulated": True}
    told["machine"] = {name: [judge.facts.machine, judge.facts.rows_per_s] for name, judge in judges.items()}
    store.write_text(files / "table.json", json.dumps(told, indent=1, ensure_ascii=False))
    return markdown(board, judges, rows, clock)


KINDS = {"cross-encoder": "cross-encoder", "student": "two-tower"}


def figures(
    board: Leaderboard, judges: Mapping[str, Standing], of_errors: Mapping[str, ceiling.Beside]
) -> Iterator[dict[str, Any]]:
    """A row a figure: its name, of the ceiling, and of each judge with its share of the ceiling."""
    assert board.ceiling is not None
    names = [*OVERALL, *(f"F1 of {label}" for label in board.labels), *LISTS]
    names += [f"expected {name}" for name in LISTS if name in ("score tau-b", "score rho", "score error", "difference rho")]
    for name in names:
        each = {
            kind: (judge.found.get(name), judge.of_ceiling.get(name) or of_errors[kind].share.get(name))
            for kind, judge in judges.items()
        }
        yield row(name, board.ceiling.found.get(name), each)
    for segment in SEGMENTS:
        for name in ("exact", "score tau-b", "score rho"):
            each = {
                kind: (sliced(j.slices, segment, name), sliced(j.slices_of_ceiling, segment, name))
                for kind, j in judges.items()
            }
            yield row(f"{name}, {segment}", sliced(board.ceiling.slices, segment, name), each)


def sliced(slices: Any, segment: str, name: str) -> Estimate | None:
    return next((each.found.get(name) for each in slices if each.name == segment), None)


def row(name: str, best: Estimate | None, each: Mapping[str, tuple[Estimate | None, Estimate | None]]) -> dict[str, Any]:
    found: dict[str, Any] = {"figure": name, "best text judge": best and asdict(best)}
    for kind, (value, share) in each.items():
        found |= {kind: value and asdict(value), f"{kind}, share": share and asdict(share)}
    return found


def markdown(board: Leaderboard, judges: Mapping[str, Standing], rows: list[dict[str, Any]], clock: Clock) -> str:
    columns = ("best text judge", *(column for kind in judges for column in (kind, f"{kind}, share")))
    lines = [
        f"Simulation. {board.common:,} pairs of {board.queries:,} validation queries; 95 % intervals over queries.",
        "",
        f"| figure | {' | '.join(column.replace(', share', ': share of the best') for column in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for each in rows:
        cells = " | ".join(shown(each[column], share=column.endswith("share")) for column in columns)
        lines.append(f"| {each['figure']} | {cells} |")
    lines.append("")
    for name, judge in judges.items():
        lines.append(f"- {name}: {judge.judge}, {judge.facts.rows_per_s:,.0f} rows/s on {judge.facts.machine}")
    lines += [f"- {what}: {seconds:.0f} s" for what, seconds in clock.took.items()]
    lines += [f"- {note}" for note in board.notes]
    return "\n".join(lines) + "\n"


def shown(e: Mapping[str, Any] | None, *, share: bool) -> str:
    """A value with its interval; a share in per cent. A dash where there is none."""
    if e is None:
        return "–"
    if share:
        return f"{e['value']:.1%} ({e['low']:.1%} to {e['high']:.1%})"
    return f"{e['value']:.3f} ({e['low']:.3f} to {e['high']:.3f})"


if __name__ == "__main__":
    main()
