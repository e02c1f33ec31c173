"""Policies prepared for reading: what a filter leaves out, what a boost moves, which treatment is for whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from germane.report import words
from germane.report.probing import Grid
from germane.signal.applying import Applied, Dropped
from germane.signal.fitting import Fit, Fitted
from germane.signal.thresholds import Chosen, Wanted
from germane.types import Estimate, Policy, Scale

if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 20
"""Results that would vanish, shown one by one: one a query first, the ones that the judge expects most of."""


class View(NamedTuple):
    """What a page shows."""

    title: str
    what: str
    question: str
    answer: str
    notes: tuple[str, ...]
    grids: tuple[Grid, ...]
    facts: tuple[tuple[str, str], ...]
    foot: str


def html(view: View) -> str:
    """A self-contained HTML page."""
    from germane.report import render

    return render.html_page("grids.html.j2", **view._asdict())


def markdown(view: View) -> str:
    """The same as GitHub-flavoured Markdown."""
    from germane.report import render

    return render.markdown_page("grids.md.j2", **view._asdict())


def of_filter(
    policy: Policy,
    chosen: Chosen,
    wanted: Wanted,
    scale: Scale,
    tried: Applied | None,
    overrides: Sequence[str],
    *,
    texts: pa.Table | None = None,
    docs: pa.Table | None = None,
) -> View:
    """A filter: its thresholds, what it costs on golden pairs, and what would vanish from a run."""
    grids = [_thresholds(chosen, wanted, scale), _costs(chosen, wanted, scale)]
    if tried is not None:
        grids += [_segments(tried), _vanishing(tried, texts, docs)]
    return View(
        f"A filter by {policy.judge}",
        "Filter",
        f"Which results can be left out, since people would call {_what(wanted, scale)}?",
        filter_answer(chosen, wanted, tried),
        (*policy.notes, *overrides),
        tuple(grid for grid in grids if grid.rows),
        _facts(policy),
        "Thresholds hold for this judge on this scale, and for results like the golden pairs. People's grades of what was left "
        "out, drawn from time to time, say whether they still do.",
    )


def filter_answer(chosen: Chosen, wanted: Wanted, tried: Applied | None) -> str:
    """What the filter does, in one or two sentences."""
    if all(step.threshold is None for step in chosen.steps):
        return "Nothing can be left out at the precision that was asked for."
    removed, lost = chosen.found.get("removed"), chosen.found.get("relevant lost")
    said = f"It leaves out {_share(removed)} of the results" if removed else "It leaves results out"
    if (precision := chosen.found.get("precision")) is not None:
        said += f", of which people call {_share(precision)} bad"
    said += f", and loses {_share(lost)} of the relevant ones." if lost else "."
    if tried is not None and tried.results:
        share = words.percent(len(tried.dropped) / tried.results)
        said += f" Of {words.many(tried.results, 'result')} tried, {words.count(len(tried.dropped))} would vanish ({share})."
    return said


def of_boost(policy: Policy, found: Fitted, scale: Scale, asked: Fit, overrides: Sequence[str]) -> View:
    """A boost: how strong, the curve, and what it is worth."""
    grids = (_worth(found, asked), _strengths(found, asked), _curve(found))
    bound = "none" if asked.most is None else f"no result moves more than {asked.most} places"
    return View(
        f"A boost by {policy.judge}",
        "Boost",
        "How much should the predicted relevance add to the ranker's score?",
        boost_answer(found, asked),
        (*policy.notes, *overrides),
        tuple(grid for grid in grids if grid.rows),
        (*_facts(policy), ("Bound", bound)),
        "A strength is chosen for one ranker: another one's scores have another spread. Fit it again when the ranker changes.",
    )


def _worth(found: Fitted, asked: Fit) -> Grid:
    rows = []
    for name, told in (("control", "without the boost"), ("boosted", "with it"), ("difference", "difference, paired")):
        e, sign = found.found[name], name == "difference"
        value = words.signed(e.value) if sign else words.plain(e.value, 4)
        rows.append((told, value, words.interval(e, 4, sign=sign), words.count(e.n)))
    lead = f"{asked.metric} of queries that had no part in fitting, judged results only."
    return Grid("Out of fold", lead, ("ranking", "value", "interval", "queries"), tuple(rows))


def _strengths(found: Fitted, asked: Fit) -> Grid:
    rows = tuple((f"{strength:g}", words.plain(value, 4)) for strength, value in found.strengths.items())
    lead = f"Mean {asked.metric} on the queries that it was fitted on; in standard deviations of the score inside a query."
    return Grid("Strengths tried", lead, ("strength", asked.metric), rows)


def _curve(found: Fitted) -> Grid:
    curve, strength = found.boost.curve, found.boost.strength
    points = zip(curve.gain, curve.value, strict=True)
    rows = tuple((words.plain(gain), words.signed(value * strength, 3)) for gain, value in points)
    lead = "What is added to the ranker's score, by expected gain; a result that is not known gets 0."
    return Grid("The boost", lead, ("expected gain", "boost"), rows)


def boost_answer(found: Fitted, asked: Fit) -> str:
    """What the boost is worth, in a sentence."""
    e = found.found["difference"]
    if found.boost.strength == 0 and not found.boost.rules:
        return f"No boost: every strength that was tried makes {asked.metric} lower, or no higher."
    worth = f"{asked.metric} {words.signed(e.value)} ({words.interval(e)}) on queries that had no part in fitting"
    shown = "it helps" if e.low > 0 else "it harms" if e.high < 0 else "it is not shown to help"
    return f"A boost of {found.boost.strength / found.unit:g} standard deviations a gain: {shown}, {worth}."


def _thresholds(chosen: Chosen, wanted: Wanted, scale: Scale) -> Grid:
    asked, rows = dict(wanted.precisions), []
    for step in chosen.steps:
        cells = [step.segment or "all queries", f"{scale.labels[step.grade]}{' or worse' * (step.grade > 0)}"]
        cells += ["nothing is left out" if step.threshold is None else f"{step.threshold:.3f}"]
        cells += ["of all queries" if step.note and step.threshold is not None else "own", words.percent(asked[step.grade])]
        cells += ["" if step.precision is None else _plain(step.precision), words.count(step.pairs), words.count(step.queries)]
        rows.append(tuple(cells))
    heads = ("queries", "label", "probability from", "threshold", "precision asked", "where chosen", "pairs", "queries judged")
    how = "the low end of its interval" if wanted.bound else "the share found"
    lead = f"Left out from this probability on. Each threshold is the lowest at which {how} reaches the precision."
    return Grid("Thresholds", lead, heads, tuple(rows))


def _costs(chosen: Chosen, wanted: Wanted, scale: Scale) -> Grid:
    names = {
        "removed": "results left out",
        "precision": "of these, bad (precision)",
        "bad removed": "bad results that are left out",
        "relevant lost": f"relevant results that are lost ({scale.labels[wanted.relevant]} or better)",
        "bad before": "bad share of results before",
        "bad after": "bad share of results after",
    }
    rows = tuple(
        (told, words.percent(e.value), f"{words.percent(e.low)} to {words.percent(e.high)}", words.count(e.n))
        for name, told in names.items()
        if (e := chosen.found.get(name))
    )
    lead = "On golden pairs of queries that had no part in choosing; what the floor brings back is not counted."
    return Grid("What it costs", lead, ("of golden pairs", "share", "interval", "pairs"), rows)


def _segments(tried: Applied) -> Grid:
    rows = [
        (name or "all queries", words.count(of), words.count(gone), words.percent(gone / of if of else 0.0))
        for name, (of, gone) in sorted(tried.by_segment.items())
    ]
    lead = f"{words.many(tried.queries, 'query', 'queries')}; {words.count(tried.floored)} keep something only for the floor; "
    lead += f"{words.many(tried.unknown, 'result')} without a prediction, which are never left out."
    return Grid("What would vanish from the run", lead, ("queries", "results", "left out", "share"), tuple(rows))


def _vanishing(tried: Applied, texts: pa.Table | None, docs: pa.Table | None) -> Grid:
    asked = _column(texts, "query_id", ("query",))
    title = _column(docs, "doc_id", ("title", "name", "text"))
    rows = []
    for gone in _examples(tried.dropped):
        shown = title.get(gone.doc_id, gone.doc_id)
        rows.append(
            (asked.get(gone.query_id, gone.query_id), shown, words.count(gone.rank), words.plain(gone.gain), gone.reason)
        )
    lead = (
        "Of each query the one that the judge expects most of, these queries first in which that is most: look here for harm."
    )
    return Grid("Examples", lead, ("query", "result", "rank", "expected gain", "why"), tuple(rows))


def _examples(dropped: Sequence[Dropped]) -> list[Dropped]:
    best: dict[str, Dropped] = {}
    for gone in dropped:
        if gone.query_id not in best or gone.gain > best[gone.query_id].gain:
            best[gone.query_id] = gone
    return list(islice(sorted(best.values(), key=lambda gone: (-gone.gain, gone.query_id)), EXAMPLES))


def _column(table: pa.Table | None, key: str, names: Sequence[str]) -> dict[str, str]:
    name = next((n for n in names if table is not None and n in table.column_names), None)
    if table is None or name is None:
        return {}
    rows: Any = zip(table[key].to_pylist(), table[name].to_pylist(), strict=True)
    return {str(k): str(v) for k, v in rows if v}


def _what(wanted: Wanted, scale: Scale) -> str:
    worst = scale.labels[max(grade for grade, _ in wanted.precisions)]
    return f"them {worst}" if max(wanted.precisions)[0] == 0 else f"them {worst} or worse"


def _facts(policy: Policy) -> tuple[tuple[str, str], ...]:
    taught = ", ".join(policy.lineage) or "nobody that is known"
    return (
        ("Judge", f"{policy.judge}, fingerprint {policy.fingerprint}"),
        ("Taught by", taught),
        ("Scale", policy.scale),
        ("Chosen on", f"sha256 {policy.golden[:16]}" if policy.golden else "experiments"),
    )


def _share(e: Estimate) -> str:
    return f"{words.percent(e.value)} ({words.percent(e.low)} to {words.percent(e.high)})"


def _plain(e: Estimate) -> str:
    return f"{words.percent(e.value)}, at least {words.percent(e.low)}"
