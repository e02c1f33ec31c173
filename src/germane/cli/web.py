"""The command that serves a project's dashboards."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import Output, OutputOption, app, call, of_project
from germane.show import show


@app.command("web")
def web(
    project: Annotated[
        Path | None,
        typer.Option(help="The folder with germane.toml; by default this one.", show_default=False, callback=of_project),
    ] = None,
    port: Annotated[int, typer.Option(help="The port to serve on; 0: any that is free.", min=0, max=65535)] = 8139,
    host: Annotated[str, typer.Option(help="The address to serve on; others need accounts.")] = "127.0.0.1",
    public_url: Annotated[str, typer.Option(help="How browsers reach it behind a proxy, as https://search.example.org.")] = "",
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer; one a core, 4 at most.", min=1, max=64, show_default=False)
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve the pages, or only say what would be served.")
    ] = True,
    output: OutputOption = Output.TEXT,
) -> None:
    """How relevant is search, by day and by segment, what moved it, and who judges?

    Serves the history that `watch run` writes: charts and their tables, alerts, days, judge cards, all of it as JSON too.
    Owners and adjudicators of the registry log in; without accounts it serves on this machine alone.
    """
    from germane.ops.metrics import shared
    from germane.web.processes import cores
    from germane.web.serving import serve as run

    many = workers or min(cores(), 4)
    with shared(many if serve else 1):
        facts, pages = call("web", project, host=host, public_url=public_url)
        show(facts, as_json=output == Output.JSON)
        say = partial(print, file=sys.stderr if output == Output.JSON else sys.stdout, flush=True)
        if serve:
            run(pages, host=host, port=port, workers=many, tell=lambda address: say(f"open {public_url or address}"))
