"""`germane tour`: the whole story on a simulated marketplace, and a folder of pages that tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import Output, OutputOption, SeedOption, app, call
from germane.show import show


@app.command("tour")
def tour(
    out: Annotated[Path, typer.Option(help="The folder for its judges, files and pages.")] = Path("tour"),
    encoder: Annotated[str | None, typer.Option(help="Base of cross-encoder and student; by default from scratch.")] = None,
    language_model: Annotated[str | None, typer.Option(help="Base of the teacher; by default from scratch.")] = None,
    seed: SeedOption = 1,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does a team do with all of this, from the first vote to an alert?

    A simulated marketplace in eight chapters: golden votes, an annotator, teachers, a student, labels, an experiment, a filter,
    thirty watched days. Killed, the next call goes on. Needs the extras train, web and llm.
    """
    found = call("tour", out, encoder=encoder, language_model=language_model, seed=seed)
    if output == Output.JSON:
        show(found, as_json=True)
        return
    for number, chapter in enumerate(found.chapters, 1):
        print(f"{number}. {chapter.title} ({chapter.seconds:.0f} s): {chapter.answer}")
        print(f"   {out / chapter.report.path}")
    print(f"seconds: {found.seconds:.0f}{'' if found.made else ', when it was done: nothing had changed'}")
    print(f"begin at: {found.page}")
