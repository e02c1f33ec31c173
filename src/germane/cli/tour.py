"""`germane tour`: how judges are made, on a simulated marketplace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import Output, OutputOption, SeedOption, app, call
from germane.show import show


@app.command("tour")
def tour(
    out: Annotated[Path, typer.Option(help="The folder for its judges, files and pages.")] = Path("tour"),
    encoder: Annotated[str | None, typer.Option(help="Base of cross-encoder and student; by default from scratch.")] = None,
    language_model: Annotated[str | None, typer.Option(help="Base of the teacher; by default from scratch.")] = None,
    seed: SeedOption = 1,
    output: OutputOption = Output.TEXT,
) -> None:
    """How are judges made?

    A cross-encoder, a teacher and a student are trained on a simulated marketplace and compared; needs the extra train.
    """
    board = call("tour", out, encoder=encoder, language_model=language_model, seed=seed)
    show(board, as_json=output == Output.JSON)
    if output == Output.TEXT:
        print(f"page: {out / 'leaderboard.html'}")
