"""The command that plans: what is the best use of a budget for labels?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane import settings
from germane.cli.app import (
    SCALES,
    DepthOption,
    LevelOption,
    OutOption,
    Output,
    OutputOption,
    SeedOption,
    app,
    call,
    numbers,
    place,
    words,
)
from germane.show import show

Amount = float | None


@app.command("plan")
def plan(
    queries: Annotated[Path, typer.Argument(help="All queries, from `segment` or `import`.")],
    labels: Annotated[Amount, typer.Option(help="Budget: labels by people.")] = None,
    hours: Annotated[Amount, typer.Option(help="Budget: hours of people; needs --labels-an-hour.")] = None,
    money: Annotated[Amount, typer.Option(help="Budget: money, for people and judge; needs --label-cost.")] = None,
    judge_labels: Annotated[Amount, typer.Option(help="Budget: labels by the judge.")] = None,
    label_cost: Annotated[float, typer.Option(help="Money for a label by a person.")] = 0.0,
    judge_cost: Annotated[float, typer.Option(help="Money for a label by the judge.")] = 0.0,
    labels_an_hour: Annotated[Amount, typer.Option(help="Labels that one person gives in an hour.")] = None,
    raters: Annotated[int, typer.Option(help="People for each document.", min=1)] = 1,
    k: DepthOption = 25,
    moved: Annotated[Amount, typer.Option(help="Share of both arms' 2k results that moved; see `pairs`.")] = None,
    rho: Annotated[Amount, typer.Option(help="Correlation of the judge's and people's paired differences.")] = None,
    card: Annotated[Path | None, typer.Option(help="A judge card, from `check`, instead of rho.")] = None,
    scale: Annotated[str | None, typer.Option(help=f"The card's, where it is your own. {SCALES}")] = None,
    pilot: Annotated[Path | None, typer.Option(help="SDs by stratum, or an earlier experiment's results or report.")] = None,
    sd: Annotated[Amount, typer.Option(help="SD of the paired difference, the same in all strata.")] = None,
    strata: Annotated[str | None, typer.Option(help="Columns, as interest,segment; none for a simple sample.")] = None,
    floor: Annotated[
        list[str] | None, typer.Option(help="As head=100: a reported segment's least; segment=50 for each.")
    ] = None,
    minimum: Annotated[int, typer.Option(help="Queries in each stratum at least.", min=2)] = 2,
    least_audited: Annotated[int, typer.Option(help="Queries that people grade at least.", min=2)] = 30,
    control_mean: Annotated[Amount, typer.Option(help="The control's level, for effects in percent.")] = None,
    power: Annotated[float, typer.Option(help="Chance to find an effect of the MDE.")] = 0.8,
    level: LevelOption = 0.95,
    seed: SeedOption = 1,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What is the best use of my budget for labels?

    How many queries to judge, how many of them people grade too, and the effect that can be found.
    """
    folder = out or (place(out, "reports", f"plan-{queries.stem}") if settings.load().path else None)
    budget = {"labels": labels, "hours": hours, "money": money, "judge_labels": judge_labels}
    options: dict[str, Any] = {"people_money": label_cost, "judge_money": judge_cost, "rate": labels_an_hour, "raters": raters}
    options |= {"k": k, "moved": moved, "rho": rho, "card": card, "scale": scale if card else None, "pilot": pilot, "sd": sd}
    options |= {"strata": [] if strata == "none" else words(strata), "floors": numbers(floor, "--floor"), "minimum": minimum}
    options |= {"least_audited": least_audited, "control_mean": control_mean, "level": level, "power": power, "seed": seed}
    found = call("plan", queries, budget=budget, out=folder, **options)
    show(found if output == Output.JSON else found.lines(), as_json=output == Output.JSON)
    if folder and output == Output.TEXT:
        print(f"plan: {folder / 'plan.html'}")
