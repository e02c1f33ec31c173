"""Commands about germane itself: what an answer looks like, whether the machine is ready, what a file needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import (
    Output,
    OutputOption,
    SeedOption,
    app,
    call,
)
from germane.show import show


@app.command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="The folder for its files and report.")] = Path("demo"),
    seed: SeedOption = 1,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does the answer look like?

    The whole line on a simulated marketplace whose truth is known, from query log to report.
    """
    show(call("demo", out, seed=seed), as_json=output == Output.JSON)
    if output == Output.TEXT:
        print(f"report: {out / 'report.html'}")


@app.command("doctor")
def doctor(output: OutputOption = Output.TEXT) -> None:
    """Is this machine ready?

    Python, packages, extras, data, disk, settings, and what to do about each fault.
    """
    findings = call("doctor", Path())
    show(findings, as_json=output == Output.JSON)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


@app.command("schema")
def schema(
    kind: Annotated[
        str | None, typer.Argument(help="queries, docs, runs, pairs, judgments or designs; all by default.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which columns does a file need?

    The tables' columns, types, and what they hold.
    """
    show(call("schema", kind), as_json=output == Output.JSON)
