"""Chapters: the student labels what two rankers show, the experiment is read with an audit, and a filter leaves results out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from germane import cards, report, store
from germane.pipeline import signal_apply, signal_filter
from germane.pipeline.audit import audit
from germane.pipeline.compare import compare
from germane.pipeline.label import label
from germane.pipeline.pairs import pairs
from germane.pipeline.sample import sample
from germane.registry.database import open_registry
from germane.report import words
from germane.report.tour import Chapter, Figure, Link
from germane.tour.judges import golden_of, statistics
from germane.tour.people import FINAL
from germane.tour.raters import judged
from germane.tour.world import ARMS, PLAN, READ, K, World

DESIGN, SAID = "experiment/design.parquet", "experiment/student-says.parquet"
CARD = "student-card"
PRECISION = 0.8
"""Of what the filter leaves out, the share that is to be irrelevant."""


def labels(world: World) -> Chapter:
    """The student's grades of everything that either ranker shows for a sample of queries."""
    out, size = world.out, world.size
    queries = world.write("other-queries", "queries", world.others)
    n = min(size.experiment, world.others.num_rows)
    sample(queries, design := out / DESIGN, n=n, strata=("segment",), minimum=5, seed=world.seed)
    titles, every = (world.arm(name, world.others, "experiment") for name in ARMS)
    to_label = out / "experiment" / "pairs.parquet"
    texts: dict[str, Any] = {"queries": queries, "docs": world.docs(), "design": design, "plan": PLAN}
    made = pairs(titles, every, to_label, k=K, everything=True, **texts)
    did = label(out / "student", to_label, out / SAID)
    card = cards.read(out / CARD)
    drawn = store.read_table(design, "designs")
    figures = [
        Figure("queries sampled", None, f"{drawn.num_rows:,} of {world.others.num_rows:,}, with known odds"),
        Figure("pairs labelled", None, f"{did.rows:,}"),
        Figure("pairs a second, this machine", None, "not measured" if did.rows_per_s is None else f"{did.rows_per_s:,.0f}"),
        *statistics(card, "on golden pairs: ", ("coverage", "exact", "quadratic kappa")),
    ]
    notes = made.notes
    return Chapter(
        "labels",
        "Labels",
        "What does the student say of everything that two rankers show?",
        f"{did.rows:,} results of {drawn.num_rows:,} sampled queries have a grade; no person or paid model was asked.",
        "The live ranker searches titles, the new one all fields. A sample of queries that no judge learned from stands for "
        f"the others, by popularity; whatever either ranker shows in its top {K} is graded by the student.",
        tuple(figures),
        Link("how far the student may be trusted", f"{CARD}/card.html"),
        (
            "germane sample queries.parquet -n 600",
            "germane pairs titles.parquet all-fields.parquet --everything",
            "germane label --judge student --pairs pairs.parquet",
        ),
        notes=tuple(notes),
    )


def experiment(world: World) -> Chapter:
    """Two rankers compared by the student's grades, corrected by people's blind audit."""
    out, size, scale = world.out, world.size, world.market.scale
    data, titles, every = world.out / "data", *(world.arm(name, world.others, "experiment") for name in ARMS)
    card = cards.read(out / CARD)
    told: dict[str, Any] = {"queries": data / "other-queries.parquet", "docs": data / "docs.parquet"}
    to_audit = out / "experiment" / "audit-pairs.parquet"
    how: dict[str, Any] = {"judgments": out / SAID, "card": out / CARD / "card.json", "fields": READ}
    without = (data / "golden-pairs.parquet", out / "student")
    drawn = audit(
        out / DESIGN, to_audit, control=titles, treatment=every, n=size.audit, unit="documents", seed=world.seed, k=K,
        without=without, **told, **how,
    )  # fmt: skip
    registry = open_registry(out / "experiment" / "registry.sqlite")
    try:
        place = out / "experiment" / "audit.parquet"
        said = judged(registry, to_audit, place, market=world.market, name="audit", seed=world.seed + 1, kind="audit")
    finally:
        registry.close()
    question = "Is search on all fields more relevant than search on titles? (simulated marketplace)"
    found = compare(
        titles,
        every,
        out / SAID,
        scale=scale,
        design=out / DESIGN,
        card=card,
        audit=out / "experiment" / "audit-final.parquet",
        audit_sample=to_audit,
        metric=f"sDCG@{K}",
        question=question,
        allow=() if card.passed else ("failed-card",),
        **told,
    )
    truth = _truth(world)
    found = replace(found, truth=truth)
    report.write(found, out / "experiment")
    e = found.delta
    inside = "the interval holds it" if e.low <= truth <= e.high else "the interval misses it"
    arms = (("titles", found.control), ("all fields", found.treatment))
    figures = [
        Figure(f"sDCG@{K}, all fields minus titles", e, kind="signed"),
        *(Figure(f"sDCG@{K}, {name}", each) for name, each in arms if each is not None),
        Figure("verdict", None, found.verdict),
        Figure("documents that two people judged again, blind", None, f"{drawn.audited:,}, {said.votes.votes:,} votes"),
        Figure("the true difference, which a simulation knows", None, f"{words.signed(truth)}; {inside}"),
    ]
    return Chapter(
        "experiment",
        "An experiment",
        "Is the new ranker better than the live one?",
        f"{found.answer} The true difference, which only a simulation knows, is {words.signed(truth)}: {inside}.",
        "The student's grades say how the two rankers differ, and a blind sample of what moved, judged again by two people on "
        "the screens, corrects its errors and widens the interval by what is not known of them.",
        tuple(figures),
        Link("the report of the experiment", "experiment/report.html"),
        (
            "germane sample design.parquet --for audit -n 500 --control titles.parquet --treatment all-fields.parquet ...",
            "germane annotate --pairs audit-pairs.parquet ...",
            "germane compare --control titles.parquet --treatment all-fields.parquet --audit audit-final.parquet ...",
        ),
        notes=found.overrides,
    )


def filtered(world: World) -> Chapter:
    """A filter chosen on the golden votes, and what it leaves out of the new ranker's results."""
    out, scale = world.out, world.market.scale
    worst = scale.labels[1]
    golden = world.out / "data" / "golden-queries.parquet"
    run = world.arm("all-fields", world.apart.validation, "golden")
    said = golden_of(world, "student")
    made = signal_filter.choose(
        said,
        out / FINAL,
        out / "filter",
        scale=scale.name,
        precision=PRECISION,
        irrelevant=worst,
        floor=3,
        queries=golden,
        run=run,
    )
    shown = _sampled(world)
    after = out / "filter" / "filtered.parquet"
    done = signal_apply.apply(shown, out / SAID, out / "filter" / "filter.json", after, kind="filter")
    left = _left_out(shown, after)
    true = world.market.truth(*zip(*left, strict=True)) if left else np.zeros(0, np.int64)
    bad, good = int((true <= 1).sum()), int((true >= 3).sum())
    names = {"precision": f"of what it leaves out, {worst} or worse by people", "removed": "of all results, left out"}
    names |= {"relevant_lost": "of relevant results, lost", "bad_removed": f"of {worst} or worse results, left out"}
    figures = [Figure("threshold", None, ", ".join(f"{name}: {at}" for name, at in made.thresholds.items()))]
    figures += [Figure(words_, e, kind="percent") for name, words_ in names.items() if (e := getattr(made, name)) is not None]
    figures += [Figure("results of the experiment's queries", None, f"{done.results:,}, {done.left_out:,} left out")]
    if left:
        known = f"{bad:,} are {worst} or worse, {good:,} are relevant"
        figures.append(Figure("of these, in truth, which a simulation knows", None, known))
    if not left:
        answer = f"No threshold is shown to reach a precision of {words.percent(PRECISION)}: this student must take nothing "
        answer += "away, and the filter leaves every result where it is."
    else:
        answer = f"It leaves {done.left_out:,} of {done.results:,} results out."
        if (e := made.precision) is not None:
            ends = f"{words.percent(e.low)} to {words.percent(e.high)}, n {e.n:,}"
            answer += f" On golden pairs {words.percent(e.value)} of such are {worst} or worse ({ends})."
    return Chapter(
        "filter",
        "A filter in search",
        "May the judge's prediction take bad results away?",
        answer,
        f"From which predicted chance of {worst} or worse on is a result left out? The threshold is chosen on golden pairs, so "
        f"that at least {words.percent(PRECISION)} of what goes is that bad, by the lower end of an interval; three results "
        "stay on every page.",
        tuple(figures),
        Link("what would vanish, and what that costs", "filter/filter.html"),
        ("germane signal filter student-says.parquet --golden votes-final.parquet --precision 0.8 ...",),
        notes=(*made.overrides, *made.notes),
    )


def _sampled(world: World) -> Path:
    """The new ranker's lists of the sampled queries."""
    drawn = set(store.read_table(world.out / DESIGN, "designs")["query_id"].to_pylist())
    run = world.runs["all-fields"]
    return world.write("sampled/all-fields", "runs", run.filter([query in drawn for query in run["query_id"].to_pylist()]))


def _left_out(before: Path, after: Path) -> list[tuple[str, str]]:
    """The results of one run that another lacks."""
    rows = [store.read_table(path, "runs") for path in (before, after)]
    was, now = (
        {(str(q), str(d)) for q, d in zip(r["query_id"].to_pylist(), r["doc_id"].to_pylist(), strict=True)} for r in rows
    )
    return sorted(was - now)


def _truth(world: World) -> float:
    """The true difference over the queries that the sample stands for, which no experiment sees."""
    titles, every = (world.market.levels(world.runs[name], k=K) for name in ARMS)
    place = {query: i for i, query in enumerate(world.market.demand.ids)}
    rows = [place[str(query)] for query in world.others["query_id"].to_pylist()]
    return float(np.mean((every - titles)[rows]))
