"""The command that measures how fast a judge is here."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from germane.cli.app import SCALES, Output, OutputOption, app, call
from germane.show import show

if TYPE_CHECKING:
    from germane.types import Estimate


class Shape(StrEnum):
    MINILM = "minilm"
    BASE = "base"
    LARGE = "large"


class Line(NamedTuple):
    """A way of asking, as it is printed."""

    asked: str
    rows_per_s: str
    interval: str
    tokens_per_s: str
    of_matmul: str
    of_memory: str
    cost_per_million: str
    times_the_first: str
    rows_a_round: str


@app.command("bench")
def bench(
    judge: Annotated[
        str | None, typer.Option(help="A trained judge's folder, or fake; without it random weights.", show_default=False)
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Pairs to ask about; made up, 99 words on average, without it.", show_default=False)
    ] = None,
    scale: Annotated[str, typer.Option(help=f"Of the fake judge. {SCALES}")] = "esci",
    shape: Annotated[
        Shape, typer.Option(help="Without --judge: the size of a cross-encoder of random weights.")
    ] = Shape.MINILM,
    device: Annotated[str | None, typer.Option(help="As torch names it: cpu, cuda; by default the best there is.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs at once, as of label.", min=1)] = None,
    engine: Annotated[str | None, typer.Option(help="As of label: packed, torch; onnx, onnx-int8 of a student.")] = None,
    vectors: Annotated[Path | None, typer.Option(help="Of a student: a folder of documents' vectors, from encode.")] = None,
    seconds: Annotated[float, typer.Option(help="That each way of asking is measured for.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="In which they take turns.", min=3)] = 5,
    hour_price: Annotated[float | None, typer.Option(help="What an hour of this machine costs, for the cost of pairs.")] = None,
    peer: Annotated[bool, typer.Option("--peer/--no-peer", help="Beside sentence-transformers.")] = True,
    output: OutputOption = Output.TEXT,
) -> None:
    """How fast is this judge here, and how much faster could it be?

    Pairs a second with an interval, as a share of the best product of matrices and the best copy of memory of this machine,
    beside sentence-transformers' own predict, in turns.
    """
    options: dict[str, Any] = {"pairs": pairs, "scale": scale, "shape": str(shape), "device": device, "batch": batch}
    options |= {"engine": engine, "vectors": vectors, "seconds": seconds, "rounds": rounds, "hour_price": hour_price}
    found = call("bench", judge, **options, peer=peer)
    if output == Output.JSON:
        show(found, as_json=True)
        return
    facts = found._asdict() | {"rates": None, "notes": ()}
    facts["matmul"] = {f"{numbers}, TFLOP/s": each.value for numbers, each in found.matmul.items()} or None
    facts["memory_gb_s"] = found.memory_gb_s.value
    show(facts)
    show([_line(each) for each in found.rates])
    for note in found.notes:
        print(f"note: {note}")


def _line(rate: Any) -> Line:
    a_second: Estimate = rate.rows_per_s
    return Line(
        rate.named,
        _figure(a_second.value) + (" ?" if a_second.caveat else ""),
        f"{_figure(a_second.low)} to {_figure(a_second.high)}",
        "" if rate.tokens_per_s is None else _figure(rate.tokens_per_s.value),
        _share(rate.matmul),
        _share(rate.memory),
        "" if rate.cost_per_million is None else f"{rate.cost_per_million.value:,.2f}",
        "" if rate.ratio is None else f"{rate.ratio.value:.2f} ({rate.ratio.low:.2f} to {rate.ratio.high:.2f})",
        f"{rate.rows:,}",
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _share(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.1%}"
