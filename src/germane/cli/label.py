"""The command that lets a judge grade pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import SCALES, OutOption, Output, OutputOption, app, call, table_place
from germane.show import show


@app.command("label")
def label(
    context: typer.Context,
    judge: Annotated[str, typer.Option(help="The folder of a trained judge, or fake.")],
    pairs: Annotated[Path, typer.Option(help="What to grade: query_id, query, doc_id, text; from `pairs`.")],
    scale: Annotated[str | None, typer.Option(help=f"Of the fake judge; others have their own. {SCALES}")] = None,
    device: Annotated[str | None, typer.Option(help="As torch names it: cpu, cuda; by default the best there is.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs at once.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many pairs.", min=1)] = None,
    coverage: Annotated[float, typer.Option(help="Exit code 1 if less of the pairs gets a grade.", min=0, max=1)] = 0.8,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does this judge say of these pairs?

    Equal pairs are asked once. Killed at any moment and run again, it goes on where it stood.
    """
    path = table_place(out, "judgments", pairs.stem)
    asked = str(context.get_parameter_source("scale")).endswith(
        "COMMANDLINE"
    )  # a trained judge may have another than a project
    of = scale if judge == "fake" or asked else None
    found = call("label", judge, pairs, path, scale=of, device=device, batch=batch, limit=limit)
    show(found, as_json=output == Output.JSON)
    if found.coverage < coverage:
        raise typer.Exit(1)
