"""`germane experiment ...`: comparisons that run for days, looked at whenever one likes, and decided once."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import SCALES, LevelOption, Output, OutputOption, app, call
from germane.show import show

experiment = typer.Typer(
    name="experiment",
    help="May we look every day, and is relevance neutral or positive?\n\nOpen, look, decide, list, show.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(experiment, name="experiment")

NameArgument = Annotated[str, typer.Argument(help="Small letters, digits and dashes, as title-boost-2.")]
ProjectOption = Annotated[
    Path | None, typer.Option(help="The folder with germane.toml; by default this one.", show_default=False)
]


@experiment.command("open")
def open_(
    name: NameArgument,
    control: Annotated[str, typer.Option(help="The arm as it is today: its runs' names begin so.")],
    treatment: Annotated[str, typer.Option(help="The arm that may replace it.")],
    margin: Annotated[float, typer.Option(help="The largest loss that would not matter, in units of the metric.")],
    population: Annotated[str, typer.Option(help="What is sampled, in words.")],
    scale: Annotated[str, typer.Option(help=SCALES)],
    relative: Annotated[bool, typer.Option("--relative", help="The margin is a share of the control's level.")] = False,
    question: Annotated[str, typer.Option(help="What is asked; by default, whether it is as relevant.")] = "",
    metric: Annotated[str, typer.Option(help="For example sDCG@25, sDCG(gain=exp)@10.")] = "sDCG@25",
    card: Annotated[Path | None, typer.Option(help="The judge's card, from `check`; without it, people judge.")] = None,
    by: Annotated[str, typer.Option(help="queries: each counts once; traffic: as often as asked.")] = "queries",
    queries: Annotated[
        int | None, typer.Option(help="Planned: the interval is tightest there (2,000 if not said).", show_default=False)
    ] = None,
    mde: Annotated[float | None, typer.Option(help="The least difference that it was planned to find.")] = None,
    condensed: Annotated[bool, typer.Option("--condensed", help="Drop unjudged documents first, as in `compare`.")] = False,
    expected: Annotated[bool, typer.Option("--expected", help="The judge's expected gains, by its probabilities.")] = False,
    level: LevelOption = 0.95,
    owner: Annotated[str | None, typer.Option(help="Who answers for it; by default you.", show_default=False)] = None,
    project: ProjectOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What do we ask, and what loss would not matter?

    Stated before the first look, and not changed after it.
    """
    options: dict[str, Any] = {"control": control, "treatment": treatment, "scale": scale, "margin": margin}
    options |= {"population": population, "relative": relative, "question": question, "metric": metric, "card": card}
    options |= {"by": by, "queries": queries, "mde": mde, "condensed": condensed, "expected": expected, "level": level}
    found = call("experiment open", name, owner=owner or _me(), actor=_actor(), project=project, **options)
    if output == Output.JSON:
        show(found, as_json=True)
        return
    print("opened" if found.made else "open already, with these terms")
    _say(found.experiment, Output.TEXT)


@experiment.command("look")
def look(
    name: NameArgument,
    control: Annotated[Path, typer.Option(help="The batch's run of the control.")],
    treatment: Annotated[Path, typer.Option(help="The batch's run of the treatment.")],
    judgments: Annotated[Path, typer.Option(help="Grades of the documents in both.")],
    design: Annotated[Path | None, typer.Option(help="From `sample`; without it, a simple random sample.")] = None,
    card: Annotated[Path | None, typer.Option(help="The judge's card, if it was moved since.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="A refusal to insist past, as in `compare`.")] = None,
    metric: Annotated[str | None, typer.Option(help="Refused if it is not the experiment's.", show_default=False)] = None,
    scale: Annotated[str | None, typer.Option(help="Refused if it is not the experiment's.", show_default=False)] = None,
    note: Annotated[str, typer.Option(help="Kept with the look.")] = "",
    project: ProjectOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What do all batches so far say, this one included?

    As often as you like: the interval holds at every look at once.
    """
    options: dict[str, Any] = {"control": control, "treatment": treatment, "judgments": judgments, "design": design}
    options |= {"card": card, "allow": tuple(allow or ()), "metric": metric, "scale": scale, "note": note}
    found = call("experiment look", name, actor=_actor(), project=project, **options)
    if output == Output.JSON:
        show(found, as_json=True)
        return
    last = found.looks[-1]
    print(f"look {last.number}: {found.says}")
    print(found.guardrail)
    for warning in (*(f"overridden: {text}" for text in last.overrides), *last.warnings, *found.notes):
        print(f"! {_visible(warning)}")


@experiment.command("decide")
def decide(
    name: NameArgument,
    decision: Annotated[str, typer.Argument(help="ship, stop or keep (running).")],
    why: Annotated[str, typer.Option(help="In a few words; kept with it.")],
    by: Annotated[str | None, typer.Option(help="Who took it; by default you.", show_default=False)] = None,
    project: ProjectOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What was decided, by whom, and why?

    A later decision supersedes; the earlier ones stay.
    """
    _say(call("experiment decide", name, decision, by=by or _me(), why=why, actor=_actor(), project=project), output)


@experiment.command("list")
def list_(project: ProjectOption = None, output: OutputOption = Output.TEXT) -> None:
    """Which experiments are there, and how do they stand?"""
    found = call("experiment list", project)
    if output == Output.JSON:
        show(found, as_json=True)
        return
    for row in found:
        ends = "" if row.estimate is None else f" {row.estimate.value:+.4f}"
        if row.estimate is not None and row.estimate.low == row.estimate.low:
            ends += f" ({row.estimate.low:+.4f} to {row.estimate.high:+.4f}; n {row.estimate.n:,})"
        taken = "" if row.decision is None else f"; {row.decision.says}, by {row.decision.by}"
        print(_visible(f"{row.name}: {row.state}, {row.looks} looks,{ends or ' no estimate'}: {row.verdict_says}{taken}"))
    if not found:
        print("no experiment")


@experiment.command("show")
def show_(name: NameArgument, project: ProjectOption = None, output: OutputOption = Output.TEXT) -> None:
    """What is known of one: question, margin, every look, every decision?"""
    _say(call("experiment show", name, project), output)


def _say(found: Any, output: Output) -> None:
    if output == Output.JSON:
        show(found, as_json=True)
        return
    for line in call("experiment as text", found):
        print(_visible(line))


def _visible(text: str) -> str:
    from germane.report.visible import visible

    return visible(text)


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _actor() -> str:
    return f"command line ({_me()})"
