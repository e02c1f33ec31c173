"""`germane demo`: one question from a query log to a report, in a simulated marketplace whose truth is known.

Read `demo` from top to bottom: it is the flow of a real experiment, verb by verb, each reading files and writing one. Only
what stands in for the world (`world`), for people (`gold`) and for the judge (`judgments`) is made by the simulator.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from germane import report, store
from germane.engines import BM25
from germane.judges import Confused, People, ask
from germane.pipeline.audit import audit
from germane.pipeline.check import check
from germane.pipeline.collect import collect
from germane.pipeline.compare import compare
from germane.pipeline.pairs import pairs
from germane.pipeline.sample import sample, segment
from germane.simulate import Marketplace
from germane.simulate.raters import votes
from germane.text import TextPlan
from germane.types import Report

if TYPE_CHECKING:
    import pyarrow as pa

QUERIES, LEAST = 1_200, 10  # sampled of 5,000, at least so many of each stratum (interest x popularity)
K = 25
TITLE = ("title",)
EVERY = ("title", "brand", "attributes", "description")
GOLD_QUERIES, GOLD_PAIRS = 150, 8  # judged by people: so many queries, and pairs of each
AUDIT = 1_500  # documents that people judge again, blind, about so many
RATERS = ("Ana", "Ben", "Cem")
MADE_UP = "simulated by germane: no real shop, person or product"

# The judge's stated errors. Row: true grade, worst first; column: what it says. It agrees with the truth on eight in ten.
JUDGE = (
    (0.85, 0.12, 0.02, 0.01, 0.00),
    (0.08, 0.76, 0.13, 0.02, 0.01),
    (0.01, 0.09, 0.75, 0.13, 0.02),
    (0.00, 0.02, 0.08, 0.79, 0.11),
    (0.00, 0.01, 0.02, 0.10, 0.87),
)


def demo(out: Path = Path("demo"), *, seed: int = 1) -> Report:
    """Is search on all fields more relevant than on titles? The report, with the known truth; its files are in `out`.

    seed: of the sample and of who errs where; the marketplace stays the same, so other seeds repeat the experiment on the
    same truth.
    """
    step("making the marketplace", 0)
    market = Marketplace()
    queries, docs, design, (titles, every), to_judge = pooled(market, out, seed=seed)

    step("asking people and the judge", 3)
    # May the judge be trusted? People grade a part, the judge grades all, and its card says how far they agree.
    people = gold(market, to_judge, out, seed=seed)
    machine = judgments(market, to_judge, out, seed=seed)
    card = check(people, machine, scale=market.scale, out=out / "judge", design=design)

    # And how far is it off in this experiment? People judge a blind sample of the documents that moved.
    to_audit = out / "audit-pairs.parquet"
    told: dict[str, Any] = {"judgments": machine, "card": out / "judge" / "card.json", "fields": market.fields}
    audit(
        design,
        to_audit,
        control=titles,
        treatment=every,
        n=AUDIT,
        unit="documents",
        seed=seed,
        queries=queries,
        docs=docs,
        k=K,
        **told,
    )
    audited = answers(market, to_audit, out, seed=seed)

    step("comparing", 4)
    # The answer, and, since this is a simulation, what it should have been.
    question = "Is search on all fields more relevant than search on titles? (simulated marketplace)"
    given: dict[str, Any] = {"design": design, "card": card, "queries": queries, "docs": docs, "groups": "seller_kind"}
    given |= {"audit": audited, "audit_sample": to_audit}
    found = compare(titles, every, machine, scale=market.scale, question=question, **given)
    found = replace(found, truth=truth(market))
    report.write(found, out)
    return found


def pooled(market: Marketplace, out: Path, *, seed: int) -> tuple[Path, Path, Path, tuple[Path, Path], Path]:
    """From the query log to the pairs that need a grade: (queries, docs, design, both runs, pairs)."""
    log, docs = world(market, out)

    step("sampling queries", 1)
    # Which queries stand for all? Those of the log, by interest and popularity; a sample of them with known odds.
    segment(log, queries := out / "queries.parquet", columns={"user": "user_id"})
    sample(queries, design := out / "design.parquet", n=QUERIES, minimum=LEAST, seed=seed)

    step("ranking twice", 2)
    # What does each arm show for them, and which results need a grade?
    titles, every = out / "titles.parquet", out / "all-fields.parquet"
    collect(queries, docs, titles, fields=TITLE, k=K, design=design)
    collect(queries, docs, every, fields=EVERY, k=K, design=design)
    texts: dict[str, Any] = {"queries": queries, "docs": docs, "design": design, "plan": TextPlan(market.fields)}
    pairs(titles, every, to_judge := out / "pairs.parquet", k=K, everything=True, **texts)
    return queries, docs, design, (titles, every), to_judge


def step(doing: str, done: int) -> None:
    """Tell whoever listens (the command line's progress bar) what is being done."""
    logging.getLogger("germane").info(doing, extra={"done": done, "total": 5})


def world(market: Marketplace, out: Path) -> tuple[Path, Path]:
    """The query log and the items, as a search team has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    log, docs = out / "log.parquet", out / "docs.parquet"
    made: dict[str, Any] = {"verb": "demo", "parameters": {"marketplace": market.seed}, "extra": {"simulated": True}}
    store.write_table(store.attributed(market.docs, MADE_UP), docs, "docs", **made)
    sink = pa.BufferOutputStream()
    pq.write_table(market.log, sink)
    store.write_bytes(log, sink.getvalue().to_pybytes())
    return log, docs


def gold(market: Marketplace, to_judge: Path, out: Path, *, seed: int) -> Path:
    """What three people say of a random part of the pairs: the grade of the majority, where there is one."""
    table = store.read_table(to_judge, "pairs")
    of_query: dict[str, list[int]] = {}
    for row, query_id in enumerate(table["query_id"].to_pylist()):
        of_query.setdefault(str(query_id), []).append(row)
    chance = Random(seed)
    queries = chance.sample(sorted(of_query), min(GOLD_QUERIES, len(of_query)))
    shown = table.take([row for q in queries for row in chance.sample(of_query[q], min(GOLD_PAIRS, len(of_query[q])))])
    people = People(votes(market, shown, raters=RATERS, seed=seed), market.scale, name="three simulated people")
    made: dict[str, Any] = {"verb": "demo", "inputs": [to_judge], "parameters": {"raters": RATERS}, "seed": seed}
    return store.write_table(_said_so(ask(people, shown)), out / "gold.parquet", "judgments", **made)


def answers(market: Marketplace, to_audit: Path, out: Path, *, seed: int) -> Path:
    """What three people say of the audit's pairs: the grade of the majority, where there is one."""
    shown = store.read_table(to_audit, "audits")
    people = People(votes(market, shown, raters=RATERS, seed=seed + 1), market.scale, name="three simulated people")
    made: dict[str, Any] = {"verb": "demo", "inputs": [to_audit], "parameters": {"raters": RATERS}, "seed": seed}
    return store.write_table(_said_so(ask(people, shown)), out / "audit.parquet", "judgments", **made)


def judgments(market: Marketplace, to_judge: Path, out: Path, *, seed: int) -> Path:
    """What the replay judge says of every pair: the truth, with its stated errors."""
    judge = Confused(market.truth, JUDGE, scale=market.scale, seed=seed, name="replay (simulated)")
    made: dict[str, Any] = {"verb": "demo", "inputs": [to_judge], "parameters": {"confusion": JUDGE}, "seed": seed}
    table = ask(judge, store.read_table(to_judge, "pairs"))
    return store.write_table(_said_so(table), out / "judgments.parquet", "judgments", **made)


def truth(market: Marketplace) -> float:
    """The true difference over all queries of the marketplace, which no experiment sees."""
    titles, every = (BM25(market.docs, fields).search(market.queries, k=K) for fields in (TITLE, EVERY))
    return market.delta(titles, every, k=K)


def _said_so(table: pa.Table) -> pa.Table:
    return store.attributed(table, MADE_UP)
