"""`germane watch ...`: search, sampled and judged every day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import Output, OutputOption, app, call, of_project
from germane.show import plain, show
from germane.types import InputError

watch = typer.Typer(
    name="watch",
    help="How relevant is search every day, and what moved it?\n\nRun, init, status, alerts, history, golden.",
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
