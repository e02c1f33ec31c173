"""The command that makes the vectors of a catalogue."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import Output, OutputOption, app, call, place
from germane.show import show


class Engine(StrEnum):
    TORCH = "torch"
    ONNX = "onnx"
    ONNX_INT8 = "onnx-int8"


class Store(StrEnum):
    INT8 = "int8"
    FP16 = "fp16"
    FP32 = "fp32"


@app.command("encode")
def encode(
    docs: Annotated[Path, typer.Argument(help="The catalogue: doc_id, and a column of text for each field.")],
    judge: Annotated[Path, typer.Option(help="The folder of a student, from `train student`.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The folder of vectors, made or added to.", show_default=False)] = None,
    engine: Annotated[Engine, typer.Option(help="What encodes; onnx and onnx-int8 need no torch.")] = Engine.TORCH,
    store: Annotated[Store | None, typer.Option(help="How vectors are kept: fp16 in a new folder.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="Of torch: cpu, cuda; by default the best there is.")] = None,
    batch: Annotated[int | None, typer.Option(help="Texts at once.", min=1)] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Documents that are not in DOCS leave the folder.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which documents still need a vector?

    Encodes these, and only these: a text that has a vector is never encoded again. Killed, the same command goes on.
    """
    options: dict[str, Any] = {"engine": str(engine), "store": None if store is None else str(store), "device": device}
    to = place(out, "vectors", judge.name)
    show(call("encode", docs, judge, to, **options, batch=batch, prune=prune), as_json=output == Output.JSON)
