"""The command that attacks a judge, and compares wordings of its prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.annotator import annotator, given, is_annotator, refuse_options, with_annotator
from germane.cli.app import SCALES, LevelOption, OutOption, Output, OutputOption, SeedOption, app, call, place, words
from germane.show import show
from germane.types import InputError


@app.command("probe")
@with_annotator
def probe(
    context: typer.Context,
    judge: Annotated[str | None, typer.Option(help="A trained judge's folder; llm:PROVIDER/MODEL; or fake.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="What to attack: query_id, query, doc_id, text; from `pairs`.")] = None,
    scale: Annotated[
        str | None, typer.Option(help=f"Of the fake judge, of language models, and of paraphrases. {SCALES}")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(help="People's judgments: what they call not relevant is attacked first; gold of paraphrases."),
    ] = None,
    sample: Annotated[int, typer.Option(help="Pairs that each probe attacks.", min=2)] = 60,
    families: Annotated[str | None, typer.Option(help="Of probes, as orders,turns,hidden; all by default.")] = None,
    relevant: Annotated[str | None, typer.Option(help="The lowest label that counts as relevant.")] = None,
    paraphrases: Annotated[
        list[Path] | None, typer.Option(help="Judgments under one wording of the prompt; again for each, three at least.")
    ] = None,
    dry: Annotated[bool, typer.Option("--plan", help="Only say how many calls it may take.")] = False,
    level: LevelOption = 0.95,
    seed: SeedOption = 0,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
    llm: Any = None,
) -> None:
    """Can this judge be talked into a better grade, and how much does it hang on the words of its prompt?

    A standing suite of attacks, each beside asking the same pairs again. With --paraphrases: the spread over wordings.
    """
    as_json, named = output == Output.JSON, given(context)
    refuse_options(judge, named)
    if paraphrases:
        if golden is None or scale is None or judge or pairs:
            raise InputError(
                "--paraphrases are compared with people: give --golden and --scale, and neither --judge nor --pairs"
            )
        folder = place(out, "cards", f"{golden.stem}-paraphrases")
        options: dict[str, Any] = {"scale": scale, "level": level, "seed": seed, "out": folder}
        show(call("probe --paraphrases", golden, paraphrases, **options), as_json=as_json)
        return
    if judge is None or pairs is None:
        raise InputError("whom to probe, and with what? give --judge and --pairs, or --paraphrases with --golden")
    chosen = words(families) or ()
    asked = annotator(judge, scale, llm) if is_annotator(judge) else None
    planned = call("probe --plan", pairs, sample=sample, families=chosen, annotator=asked)
    if dry:
        show(planned, as_json=as_json)
        return
    told = f"{planned.probes} probes of up to {planned.pairs:,} pairs: at most {planned.calls:,} calls of the judge"
    money = "" if planned.dollars is None else f", about ${planned.dollars:,.2f} (--budget ends it before more is spent)"
    print(f"{told}{money}", file=sys.stderr)
    options = {
        "scale": scale if judge == "fake" or "scale" in named else None,
        "annotator": asked,
        "golden": golden,
        "sample": sample,
        "families": chosen,
    }
    folder = place(out, "cards", f"{Path(judge.replace(':', '-')).name}-probes")
    found = call("probe", judge, pairs, folder, **options, relevant=relevant, level=level, seed=seed)
    show(found, as_json=as_json)
