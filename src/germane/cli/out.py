"""Commands that lead out: results for an experiment platform, and the bridge from one judge to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import (
    SCALES,
    LevelOption,
    OutOption,
    Output,
    OutputOption,
    app,
    call,
    named,
    place,
)
from germane.settings import load
from germane.show import show
from germane.types import InputError

AllowOption = Annotated[list[str] | None, typer.Option(help="A refusal to insist past; may be given again.")]


@app.command("export")
def export(
    control: Annotated[Path | None, typer.Option(help="The run as it is today.")] = None,
    treatment: Annotated[Path | None, typer.Option(help="The run that may replace it.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="Grades of the documents in both.")] = None,
    scale: Annotated[str | None, typer.Option(help=SCALES)] = None,
    design: Annotated[Path | None, typer.Option(help="From `sample`; without it, a simple random sample.")] = None,
    metric: Annotated[str, typer.Option(help="For example sDCG@25, sDCG(gain=exp)@10.")] = "sDCG@25",
    condensed: Annotated[bool, typer.Option("--condensed", help="Drop unjudged documents first, as in `compare`.")] = False,
    allow: AllowOption = None,
    card: Annotated[Path | None, typer.Option(help="The judge card, from `check`.")] = None,
    form: Annotated[str, typer.Option("--for", help="plain, growthbook, statsig or confidence.")] = "plain",
    name: Annotated[str | None, typer.Option(help="The experiment's id; control-treatment by default.")] = None,
    at: Annotated[str | None, typer.Option(help="When it ran, as 2026-05-04 (for growthbook and statsig).")] = None,
    pairing: Annotated[str, typer.Option(help="split keeps the pairs' interval; arms shows each arm's values.")] = "split",
    level: LevelOption = 0.95,
    vectors: Annotated[Path | None, typer.Option(help="In place of results: the vectors in this folder.")] = None,
    to: Annotated[str, typer.Option(help="Of vectors: parquet, opensearch, elasticsearch or pgvector.")] = "parquet",
    docs: Annotated[Path | None, typer.Option(help="Of vectors: only the documents of this catalogue.")] = None,
    field: Annotated[str, typer.Option(help="What the vector is called there.")] = "vector",
    numbers: Annotated[str, typer.Option(help="Of pgvector: vector (4 bytes a number) or halfvec (2).")] = "vector",
    action: Annotated[str, typer.Option(help="Of _bulk: update what is there, or index.")] = "update",
    table: Annotated[str, typer.Option(help="Of pgvector: the table.")] = "product_vectors",
    url_env: Annotated[str, typer.Option(help="Of pgvector: the variable with the address to load into.")] = "",
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I get the results, query by query, into our experiment platform?

    With --vectors: how do I get the student's vectors into our search engine?
    """
    if vectors is not None:
        if control or treatment or judgments:
            raise InputError("--vectors exports a folder of vectors: leave runs and judgments out")
        where = None if url_env and out is None else out or _file_of(vectors, to)
        more: dict[str, Any] = {"docs": docs, "field": field, "numbers": numbers, "action": action, "table": table}
        show(call("export --vectors", vectors, where, to=to, url_env=url_env, **more), as_json=output == Output.JSON)
        return
    if control is None or treatment is None or judgments is None or scale is None:
        raise InputError("results need --control, --treatment, --judgments and --scale; vectors need --vectors")
    path = place(out, "reports", f"{control.stem}-{treatment.stem}-{form}.parquet")
    options: dict[str, Any] = {"scale": scale, "design": design, "metric": metric, "condensed": condensed, "card": card}
    options |= {"allow": tuple(allow or ()), "form": form, "name": name, "at": at, "pairing": pairing, "level": level}
    show(call("export", control, treatment, judgments, path, **options), as_json=output == Output.JSON)


def _file_of(vectors: Path, to: str) -> Path:
    """Where the vectors go in a project, by the form's own ending."""
    ends = {"parquet": ".parquet", "pgvector": ".copy"}
    return place(None, "vectors", f"{vectors.name}{ends.get(to, '.ndjson')}")


@app.command("bridge")
def bridge(
    old: Annotated[Path, typer.Argument(help="Judgments of the judge in use.")],
    new: Annotated[Path, typer.Argument(help="Judgments of the judge that shall replace it, of the same pairs.")],
    scale: Annotated[str, typer.Option(help=SCALES)],
    past: Annotated[
        list[str] | None, typer.Option(help="NAME=CONTROL,TREATMENT[,DESIGN]: an experiment decided by the old judge.")
    ] = None,
    metric: Annotated[str, typer.Option(help="Of the past experiments.")] = "sDCG@25",
    old_card: Annotated[Path | None, typer.Option(help="The old judge's card, from `check`.")] = None,
    new_card: Annotated[Path | None, typer.Option(help="The new judge's card.")] = None,
    allow: AllowOption = None,
    level: LevelOption = 0.95,
    out: Annotated[Path | None, typer.Option(help="A folder for bridge.md and bridge.json.", show_default=False)] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """May a new judge take over, and would past decisions have been others?

    Exit code 1 if a past decision turns.
    """
    folder = out or (place(out, "reports", f"bridge-{old.stem}-{new.stem}") if load().path else None)
    options: dict[str, Any] = {"past": _past(past), "metric": metric, "old_card": old_card, "new_card": new_card}
    options |= {"allow": tuple(allow or ()), "level": level, "out": folder}
    found = call("bridge", old, new, scale=scale, **options)
    show(found.to_json() if output == Output.JSON else found.lines())
    if found.turned:
        raise typer.Exit(1)


def _past(given: list[str] | None) -> dict[str, tuple[Path, ...]]:
    """{"title": (control, treatment)} from ["title=control.run,treatment.run"]."""
    for text in given or []:
        if "=" not in text:
            raise InputError(f"--past {text}: expected NAME=CONTROL,TREATMENT or NAME=CONTROL,TREATMENT,DESIGN")
    found = {name: tuple(Path(part) for part in files.split(",") if part) for name, files in named(given, "--past").items()}
    for name, files in found.items():
        if len(files) not in (2, 3):
            raise InputError(f"--past {name}: {len(files)} files; expected NAME=CONTROL,TREATMENT or with a third, the design")
    if given and len(found) < len(given):
        raise InputError("--past: two experiments have one name; give each its own")
    return found
