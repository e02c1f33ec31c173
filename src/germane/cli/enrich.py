"""The command that adds what a catalogue, or a table of queries, lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import OutOption, Output, OutputOption, app, call, table_place
from germane.show import show


@app.command("enrich")
def enrich(
    table: Annotated[Path, typer.Argument(help="Documents; for --interests, queries.")],
    out: OutOption = None,
    captions: Annotated[str | None, typer.Option(help="A model that describes images: a folder or hub name.")] = None,
    images: Annotated[Path | None, typer.Option(help="Their folder; files named by doc_id, or by --image-column.")] = None,
    image_column: Annotated[str | None, typer.Option(help="The column that names each document's image.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What a model that follows instructions is asked of an image.")] = None,
    kept: Annotated[Path | None, typer.Option(help="Where captions are kept; captions.jsonl beside --out.")] = None,
    batch: Annotated[int, typer.Option(help="Images at once.", min=1)] = 16,
    engaged: Annotated[Path | None, typer.Option(help="Clicks: adds the queries that a document was clicked for.")] = None,
    queries: Annotated[Path | None, typer.Option(help="The queries' text, where clicks have only their ids.")] = None,
    top: Annotated[int, typer.Option(help="Engaged queries of a document, at most.", min=1)] = 5,
    least: Annotated[int, typer.Option(help="People (or clicks) that a query needs on a document.", min=1)] = 2,
    held_out: Annotated[Path | None, typer.Option(help="Queries that are to be judged: they never become text.")] = None,
    interests: Annotated[Path | None, typer.Option(help="From `train interests`: adds each query's interest.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does my catalogue not say of itself?

    Adds captions of images and highly engaged queries to documents, or interests to queries.
    """
    options: dict[str, Any] = {"captions": captions, "images": images, "image_column": image_column, "prompt": prompt}
    options |= {"kept": kept, "batch": batch, "engaged": engaged, "queries": queries, "top": top, "least": least}
    options |= {"held_out": held_out, "interests": interests}
    to = table_place(out, "queries" if interests else "docs", f"{table.stem}-enriched")
    show(call("enrich", table, to, **options), as_json=output == Output.JSON)
