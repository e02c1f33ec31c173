"""Commands about germane itself: what an answer looks like, whether the machine is ready, what a file needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import (
    SCALES,
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
    serve: Annotated[bool, typer.Option("--serve", help="A search page instead: two rankers, grades, policies.")] = False,
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to serve on.", min=0, max=65535)] = 8139,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does the answer look like?

    The whole line on a simulated marketplace whose truth is known, from query log to report. With --serve: a page that
    searches the same marketplace by two rankers, side by side.
    """
    if serve:
        from germane.serve.running import listening, page

        with listening(host, port) as sock:
            page(call("demo --serve"), sock, tell=lambda address: print(f"open {address}", flush=True))
        return
    show(call("demo", out, seed=seed), as_json=output == Output.JSON)
    if output == Output.TEXT:
        print(f"report: {out / 'report.html'}")


@app.command("doctor")
def doctor(
    judge: Annotated[
        str | None, typer.Option(help="A language model to look at instead: llm:PROVIDER/MODEL.", show_default=False)
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where it is served, as http://localhost:8000/v1.")] = None,
    key_env: Annotated[str | None, typer.Option(help="The environment variable with its key.")] = None,
    scale: Annotated[str, typer.Option(help=SCALES)] = "five-level",
    timeout: Annotated[float, typer.Option(help="Seconds that a reply of the model may take.", min=0.001)] = 120.0,
    output: OutputOption = Output.TEXT,
) -> None:
    """Is this machine ready? Is this language model?

    Python, packages, extras, data, disk, settings, and what to do about each fault; or, of a model, whether it answers, keeps
    to a schema, gives logprobs, sees images, and which limits its server names.
    """
    asked = {"url": url, "key_env": key_env, "timeout": timeout}
    findings = call("doctor", Path()) if judge is None else call("doctor --judge", judge, scale, **asked)
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
