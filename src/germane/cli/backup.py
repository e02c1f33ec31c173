"""`germane backup` and `germane restore`: a project in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import Output, OutputOption, app, call
from germane.show import show


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write, as project.zip.")],
    project: Annotated[
        Path | None, typer.Option(help="The folder with germane.toml; by default this one.", show_default=False)
    ] = None,
    vectors: Annotated[bool, typer.Option("--vectors", help="Keep vectors too, which `encode` can make again.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Lose an older file of this name.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Is all of this project in one file?

    Settings, registry, judgments, days, judges, cards, designs, guides, reports: consistent, while people vote and days are
    watched. Says what is not in it.
    """
    show(call("backup", file, project, vectors=vectors, replace=replace), as_json=output == Output.JSON)


@app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="An archive that `backup` wrote.")],
    project: Annotated[Path, typer.Option(help="The folder to restore into, new or empty.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of what is there: the folder is kept beside, the registry is not.")
    ] = False,
    registry: Annotated[
        str | None,
        typer.Option(help="A file in the project or postgresql://...; by default as the settings say.", show_default=False),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Is the project of this file here again?

    Whole, every file checked, or not at all.
    """
    show(call("restore", file, project, replace=replace, registry=registry), as_json=output == Output.JSON)
