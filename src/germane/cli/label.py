"""The command that lets a judge grade pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import SCALES, OutOption, Output, OutputOption, app, call, table_place
from germane.show import show
from germane.types import InputError

ImagesOption = Annotated[Path | None, typer.Option(help="Folder of the documents' images, for a model that sees.")]
ImageDocsOption = Annotated[Path | None, typer.Option("--docs", help="Documents, a column of which names their images.")]
ImageColumnOption = Annotated[str | None, typer.Option(help="That column; by default image.", show_default=False)]


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
    engine: Annotated[str | None, typer.Option(help="Of a two-tower judge: torch, onnx or onnx-int8.")] = None,
    images: ImagesOption = None,
    docs: ImageDocsOption = None,
    image_column: ImageColumnOption = None,
    url: Annotated[
        str | None, typer.Option(help="Ask a teacher's model on this server, as http://localhost:8000/v1 (vLLM).")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Its name there.")] = None,
    key_env: Annotated[str | None, typer.Option(help="The environment variable with the server's key.")] = None,
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
    of: dict[str, Any] = {
        "scale": scale if judge == "fake" or asked else None,
        "device": device,
        "batch": batch,
        "limit": limit,
    }
    of |= {"engine": engine, "pictures": pictures(images, docs, image_column), "server": _server(url, model, key_env)}
    found = call("label", judge, pairs, path, **of)
    show(found, as_json=output == Output.JSON)
    if found.coverage < coverage:
        raise typer.Exit(1)


def pictures(images: Path | None, docs: Path | None, column: str | None) -> Any:
    """The images that options name; None for no such options. Raises: InputError for one without the other."""
    if images is None and docs is None and column is None:
        return None
    if images is None or docs is None:
        raise InputError("--images (the folder) and --docs (whose --image-column names each image) go together: give both")
    from germane.judges.pictures import Pictures

    return Pictures(images, docs, column or "image")


def _server(url: str | None, model: str | None, key_env: str | None) -> Any:
    if url is None and model is None and key_env is None:
        return None
    if url is None or model is None:
        raise InputError("--url and --model go together (and --key-env with both): where the server is, and which model there")
    from germane.pipeline.label import Server

    return Server(url, model, key_env)
