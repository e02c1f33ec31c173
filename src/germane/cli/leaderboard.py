"""The command that asks: of all these judges, which one?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane import settings
from germane.cli.app import SCALES, LevelOption, OutOption, Output, OutputOption, SeedOption, app, call, named, place
from germane.show import show


@app.command("leaderboard")
def leaderboard(
    gold: Annotated[Path, typer.Argument(help="People's judgments.")],
    judgments: Annotated[list[Path], typer.Argument(help="The judges', of the same pairs: one file a judge.")],
    scale: Annotated[str, typer.Option(help=SCALES)],
    above: Annotated[
        list[str] | None,
        typer.Option(help="STUDENT=TEACHER: whom a judge should keep up with; its nearest teacher by default."),
    ] = None,
    ceiling: Annotated[
        Path | None, typer.Option(help="Judgments of the best judge possible: figures are also shares of it.")
    ] = None,
    run: Annotated[list[Path] | None, typer.Option(help="A ranked list, for errors in sDCG; may be given again.")] = None,
    control: Annotated[Path | None, typer.Option(help="With --treatment: errors in paired differences, and decisions.")] = None,
    treatment: Annotated[Path | None, typer.Option(help="The run that may replace the control.")] = None,
    metric: Annotated[str, typer.Option(help="sDCG@K: what the judges' errors are summed by.")] = "sDCG@25",
    condensed: Annotated[bool, typer.Option("--condensed", help="Drop documents without both grades first.")] = False,
    design: Annotated[Path | None, typer.Option(help="Inclusion probabilities of gold's queries.")] = None,
    adjudicate: Annotated[
        str | None, typer.Option(help="How several raters make one grade: majority or median; ties are left out.")
    ] = None,
    rater: Annotated[list[str] | None, typer.Option(help="A column of gold with one rater's labels; again for each.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Texts, to see who was trained on them, and columns to split by.")
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="With columns to split by, such as type.")] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="A column of design, queries or docs to split by; may be given again.")
    ] = None,
    hour_price: Annotated[
        float | None, typer.Option(help="Of the machines: the cost of judges that say their speed and no cost.")
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(help="A refusal to insist past: trained-on-gold.")] = None,
    level: LevelOption = 0.95,
    seed: SeedOption = 0,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Of these judges, which is closest to people, and what does it cost?

    All on the golden pairs that every one of them answered, best first by macro F1, each beside the best and its teacher.
    """
    folder = out or (place(out, "reports", f"leaderboard-{gold.stem}") if settings.load().path else None)
    options: dict[str, Any] = {"above": named(above, "--above"), "ceiling": ceiling, "run": run or (), "control": control}
    options |= {"treatment": treatment, "metric": metric, "condensed": condensed, "design": design, "adjudicate": adjudicate}
    options |= {"raters": rater or (), "queries": queries, "docs": docs, "by": by or (), "hour_price": hour_price}
    options |= {"allow": tuple(allow or ()), "level": level, "seed": seed}
    board = call("leaderboard", gold, judgments, scale=scale, out=folder, **options)
    show(board, as_json=output == Output.JSON)
