"""The command that lets a judge grade pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane import settings
from germane.cli.annotator import annotator, given, is_annotator, refuse_options, with_annotator
from germane.cli.app import SCALES, OutOption, Output, OutputOption, app, call, table_place
from germane.show import show
from germane.types import InputError

ImagesOption = Annotated[Path | None, typer.Option(help="Folder of the documents' images, for a model that sees.")]
ImageDocsOption = Annotated[Path | None, typer.Option("--docs", help="Documents, a column of which names their images.")]
ImageColumnOption = Annotated[str | None, typer.Option(help="That column; by default image.", show_default=False)]
AnnotatorScale = f"Of the fake judge and of language models; trained judges have their own. {SCALES}"


@app.command("label")
@with_annotator
def label(
    context: typer.Context,
    judge: Annotated[
        str | None,
        typer.Option(help="A trained judge's folder; llm:PROVIDER/MODEL, as llm:openai/o3; or fake.", show_default=False),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="What to grade: query_id, query, doc_id, text; from `pairs`.", show_default=False)
    ] = None,
    scale: Annotated[str | None, typer.Option(help=AnnotatorScale)] = None,
    device: Annotated[str | None, typer.Option(help="As torch names it: cpu, cuda; by default the best there is.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs at once, of a trained judge.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many pairs.", min=1)] = None,
    coverage: Annotated[float, typer.Option(help="Exit code 1 if less of the pairs gets a grade.", min=0, max=1)] = 0.8,
    retry: Annotated[bool, typer.Option("--retry", help="Ask again where the table that is there has no answer.")] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            help="ray: on a cluster; two-tower: torch, onnx, onnx-int8; cross-encoder: packed, torch; onnx+ray: both."
        ),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option("--store", help="Folder of labels made before; in a project, labels.", show_default=False),
    ] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Ask all anew, and keep no label for later.")] = False,
    failures: Annotated[int, typer.Option(help="Rows that may fail to be labelled before the job stops.", min=0)] = 1000,
    vectors: Annotated[
        Path | None, typer.Option(help="Of a two-tower judge: documents' vectors, from `encode`; new ones are added.")
    ] = None,
    images: ImagesOption = None,
    docs: ImageDocsOption = None,
    image_column: ImageColumnOption = None,
    model: Annotated[str | None, typer.Option(help="A trained teacher's name on that server.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="llm: say what it would take and show a prompt; ask nothing.")] = False,
    card: Annotated[Path | None, typer.Option(help="llm: its judge card; needed beyond the golden pairs.")] = None,
    golden: Annotated[Path | None, typer.Option(help="llm: people's judgments, whose pairs need no card.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="llm: no-card: label without one; the manifest says so.")] = None,
    sample: Annotated[
        Path | None,
        typer.Option(help="Write a recorded sample here, to walk the path without a key.", show_default=False),
    ] = None,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
    llm: Any = None,
) -> None:
    """What does this judge say of these pairs?

    Equal pairs are asked once. Killed at any moment and run again, it goes on where it stood; no reply is paid for twice.
    Options that begin with "llm:" are of language models.
    """
    if sample is not None:
        show(call("label --sample", sample), as_json=output == Output.JSON)
        return
    if judge is None or pairs is None:
        raise InputError("--judge and --pairs are needed: who grades, and what (or --sample DIR, for a recorded sample)")
    named = given(context)
    refuse_options(judge, named)
    asked = None
    if is_annotator(judge):
        if model is not None:
            raise InputError(
                "--model is a trained teacher's name on a server; a language model's is in --judge llm:PROVIDER/MODEL"
            )
        if unknown := [name for name in allow or () if name != "no-card"]:
            raise InputError(f"--allow {unknown[0]}: there is no such override here; known is no-card")
        more = {"card": card, "golden": golden, "allow": tuple(allow or ()), "images": images is not None}
        asked = annotator(judge, scale, llm, **more)
    elif extra := sorted(named & {"plan", "card", "golden", "allow"}):
        raise InputError(f"--{extra[0]} is of language models (llm:PROVIDER/MODEL), and {judge} is none")
    if plan:
        path = None if out is None else table_place(out, "judgments", pairs.stem)
        _forecast(call("label --plan", pairs, asked, out=path, limit=limit), as_json=output == Output.JSON)
        return
    path = table_place(out, "judgments", pairs.stem)
    # A trained judge may have another scale than a project.
    options: dict[str, Any] = {"scale": scale if judge == "fake" or "scale" in named else None, "device": device}
    options |= {"batch": batch, "limit": limit, "failures": failures, "labels": _labels(known, no_store=no_store)}
    options |= _engine(engine) | {"pictures": pictures(images, docs, image_column)}
    options |= {"annotator": asked, "retry": retry, "vectors": vectors}
    options["server"] = None if asked else _server(llm["url"], model, llm["key_env"])
    found = call("label", judge, pairs, path, **options)
    counted = ("asked", "paid", "currency")  # for programs: `cost` and `known` say it in words
    told = {name: value for name, value in found._asdict().items() if name not in counted}
    show(found if output == Output.JSON else told, as_json=output == Output.JSON)
    if found.coverage < coverage:
        raise typer.Exit(1)


def _labels(known: Path | None, *, no_store: bool) -> Path | None:
    """The folder of labels made before: as named, or a project's. Raises: InputError for a store that is and is not wanted."""
    if no_store and known is not None:
        raise InputError("--store and --no-store: give one of them")
    found = settings.load()
    return None if no_store else known or (found.folder("labels") if found.path else None)


def _engine(name: str | None) -> dict[str, Any]:
    """Where a judge is asked, and how it computes: "onnx+ray" says both."""
    parts = [] if name is None else name.split("+")
    rest = "+".join(part for part in parts if part != "ray") or None
    if "ray" not in parts:
        return {"engine": rest}
    from germane.labelling.ray import Cluster

    return {"engine": rest, "ray": Cluster(**vars(settings.load().ray))}


def _forecast(planned: Any, *, as_json: bool) -> None:
    """A plan, and the prompt after it in its own lines."""
    from germane.report.visible import visible

    show(planned if as_json else planned._replace(prompt=""), as_json=as_json)
    if not as_json:
        print("a prompt, as it would be sent:\n")
        print("\n".join(f"  {visible(line)}" for line in planned.prompt.splitlines()))


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
