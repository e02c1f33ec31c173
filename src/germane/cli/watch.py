"""`germane watch ...`: search, sampled and judged every day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from germane.cli.app import Output, OutputOption, app, call, of_project
from germane.show import plain, show
from germane.types import InputError

watch = typer.Typer(
    name="watch",
    help="How relevant is search every day, and what moved it?\n\nRun, init, status, alerts, history, golden, labels, costs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(watch, name="watch")

ProjectOption = Annotated[
    Path | None,
    typer.Option(help="The folder with germane.toml; by default this one.", show_default=False, callback=of_project),
]


@watch.command("run")
def run(
    date: Annotated[str | None, typer.Option(help="Only this day, as 2026-03-02; by default all that are due.")] = None,
    project: ProjectOption = None,
    most: Annotated[int, typer.Option(help="Days that are caught up at once, at most.", min=1)] = 400,
    output: OutputOption = Output.TEXT,
) -> None:
    """How relevant was search yesterday, and on every day since the last one that is in the history?

    Each day once, whoever calls this and how often; killed, the next call goes on.
    """
    found = call("watch run", project, day=date, most=most)
    if output == Output.JSON:
        show(found, as_json=True)
    else:
        for day in found.days:
            print(f"{day.date}: {day.answer}")
            print(f"report: {day.report}")
        show({"sent": found.sent or None, "unsent": found.unsent, "notes": found.notes})
    if found.stopped:
        raise InputError(found.stopped)


@watch.command("init")
def init(project: ProjectOption = None, output: OutputOption = Output.TEXT) -> None:
    """What do I fill in, and what do I tell my scheduler?"""
    show(call("watch init", project), as_json=output == Output.JSON)


@watch.command("status")
def status(project: ProjectOption = None, output: OutputOption = Output.TEXT) -> None:
    """Is watching alive, and what is open?"""
    show(call("watch status", project), as_json=output == Output.JSON)


@watch.command("alerts")
def alerts(
    project: ProjectOption = None,
    acknowledge: Annotated[int | None, typer.Option(help="Somebody has seen this one.", show_default=False)] = None,
    resolve: Annotated[
        int | None, typer.Option(help="This one is over; the series may raise another.", show_default=False)
    ] = None,
    note: Annotated[str, typer.Option(help="Kept with it.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Those that are resolved too.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """What moved, since when, and who looks at it?"""
    found = call("watch alerts", project, acknowledge=acknowledge, resolve=resolve, note=note, every=every)
    if output == Output.JSON:
        show(plain(found), as_json=True)
        return
    show(call("watch alerts as text", found) or "no alert")


@watch.command("history")
def history(
    project: ProjectOption = None,
    metric: Annotated[str | None, typer.Option(help="As sdcg@25; by default every one.", show_default=False)] = None,
    segment: Annotated[str, typer.Option(help="As language=de; all, of everything; or every.")] = "all",
    first: Annotated[str | None, typer.Option(help="From this day on.", show_default=False)] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What were the levels, day by day?"""
    found = call("watch history", project, metric=metric, segment=None if segment == "every" else segment, first=first)
    show(plain(found) if output == Output.JSON else found or "no day yet", as_json=output == Output.JSON)


@watch.command("golden")
def golden(
    project: ProjectOption = None,
    first: Annotated[str | None, typer.Option(help="From this day on.", show_default=False)] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Does the judge still agree with people, on pairs of every day, and people with each other?"""
    found = call("watch golden", project, first=first)
    if output == Output.JSON:
        show(plain(found), as_json=True)
        return
    counts = {"pairs": found.drawn, "judged": found.judged, "votes": found.votes, "votes without a grade": found.unsure}
    show({**{name: n for name, n in counts.items() if n}, "tasks": found.tasks, "notes": found.notes})
    for table in call("watch golden as text", found):
        if table:
            print()
            show(table)


@watch.command("labels")
def labels(
    query: Annotated[str, typer.Argument(help="Words of a query, or its id; with DOC, all of its text.")] = "",
    doc: Annotated[str, typer.Argument(help="A document's id: then all that is known of this one pair is told.")] = "",
    text: Annotated[str, typer.Option(help="Words of a document.")] = "",
    of_doc: Annotated[str, typer.Option("--doc", help="A document's id, under any query.")] = "",
    grade: Annotated[str, typer.Option(help="A grade by its name, or none.")] = "",
    segment: Annotated[str, typer.Option(help="As language=de.")] = "",
    days: Annotated[str, typer.Option(help="Days to look through: 1, 7, 30, 90, 365 or 1100.")] = "",
    until: Annotated[str, typer.Option(help="The last of them, as 2026-03-02.")] = "",
    start: Annotated[int, typer.Option(help="Pairs to leave out: the next page.", min=0, max=99_999)] = 0,
    project: ProjectOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Why did this result get this grade?

    What was shown, with the judge's grade; with QUERY and DOC all that is known of one pair.
    """
    asked = {"query": query, "doc": doc or of_doc, "text": text, "grade": grade, "segment": segment, "days": days}
    asked |= {"until": until, "start": str(start or ""), "pair": "yes" if query and doc else ""}
    found = call("watch labels", project, **asked)
    if output == Output.JSON:
        show(found, as_json=True)
    elif query and doc:
        show(_pair(plain(found)))
    else:
        pairs = [_Listed(p.date, p.query, p.doc_id, p.rank, p.grade or p.outcome or "not known") for p in found.pairs]
        show(pairs or "nothing that was shown on these days fits")
        show({"days": f"{found.first} to {found.last}", "pairs": found.total, "notes": found.notes})


@watch.command("costs")
def costs(
    days: Annotated[str, typer.Option(help="Days: 30, 90, 180, 365 or 1100.")] = "",
    until: Annotated[str, typer.Option(help="The last of them, as 2026-03-02.")] = "",
    project: ProjectOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """How many labels a day, and what do they cost?"""
    found = call("watch costs", project, days=days, until=until)
    if output == Output.JSON:
        show(found, as_json=True)
        return
    rows = [
        _Month(t.of, t.days, t.pairs, t.known, t.asked, t.anchors, "" if t.cost is None else f"{t.cost:,.4f} {t.currency}")
        for t in found.months
    ]
    show(rows or "no day is done yet")
    show({"notes": found.notes})


class _Listed(NamedTuple):
    """A pair of a search, in a terminal."""

    date: str
    query: str
    doc_id: str
    rank: int
    grade: str


class _Month(NamedTuple):
    """A month's labels, in a terminal."""

    month: str
    days: int
    pairs: int | None
    known: int | None
    asked: int | None
    anchors: int | None
    cost: str


def _pair(found: dict[str, Any]) -> dict[str, Any]:
    """One pair, in a terminal."""
    told = {name: found[name] for name in ("query", "doc_id", "date", "grade", "why", "judge", "fingerprint", "guide_version")}
    told |= {"probabilities": {c["grade"]: round(c["probability"], 3) for c in found["chances"]}, "text": found["text"]}
    told["shown"] = [f"{s['date']} at rank {s['rank']}: {s['grade'] or s['outcome']}" for s in found["showings"]]
    told["anchor"] = [f"{a['date']}: {a['grade'] or a['outcome']}" for a in found["anchors"]]
    told["stored"] = [f"{s['judge']}: {s['grade'] or s['outcome']}" for s in found["stored"]]
    told["votes"] = [f"{v['rater']}: {v['grade'] or 'no grade'}" for v in found["votes"] if v["stands"]]
    return told | {"notes": found["notes"]}
