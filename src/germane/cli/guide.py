"""`germane guide ...`: commands on the guide that raters and judges are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from germane.cli.app import SCALES, LevelOption, OutOption, Output, OutputOption, SeedOption, app, call, table_place
from germane.show import plain, show

guide = typer.Typer(
    name="guide",
    help="What does the guide ask of raters, and what does a change of it do?\n\nShow, compare, and judge again.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(guide, name="guide")

VERSION = "A scale, its TOML file, or a guide.md with --scale."
ScaleOption = Annotated[str | None, typer.Option(help=f"Whose grades a guide.md explains. {SCALES}")]


@guide.command("show")
def show_(
    version: Annotated[str, typer.Argument(metavar="GUIDE", help=VERSION)],
    scale: ScaleOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does the guide say, and which version is it?"""
    show(call("guide show", version, scale=scale), as_json=output == Output.JSON)


@guide.command("diff")
def diff(
    old: Annotated[str, typer.Argument(help=VERSION)],
    new: Annotated[str, typer.Argument(help=VERSION)],
    scale: ScaleOption = None,
    out: Annotated[Path | None, typer.Option(help="An HTML page of it.", show_default=False)] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What changed between two versions of the guide?"""
    found = call("guide diff", old, new, scale=scale, out=out)
    from germane.report import guide as page

    if output == Output.JSON:
        show(plain(found.found), as_json=True)
    else:
        print(page.text(found.scale, found.found))


@guide.command("impact")
def impact(
    golden: Annotated[Path, typer.Argument(help="A sealed folder, or people's judgments with --pairs.")],
    old: Annotated[str, typer.Option(help=VERSION)],
    new: Annotated[str, typer.Option(help=VERSION)],
    scale: ScaleOption = None,
    pairs: Annotated[Path | None, typer.Option(help="Texts of the golden pairs.")] = None,
    n: Annotated[int, typer.Option("-n", "--n", help="Pairs to judge again.", min=2)] = 200,
    share: Annotated[float, typer.Option(help="Of them, pairs that the change may touch.")] = 0.8,
    seed: SeedOption = 1,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which golden pairs does a change of the guide touch, and which shall people judge again?"""
    to = table_place(out, "pairs", f"{golden.stem}-again")
    found = call("guide impact", golden, to, old=old, new=new, scale=scale, pairs=pairs, n=n, share=share, seed=seed)
    show(found, as_json=output == Output.JSON)


@guide.command("drift")
def drift(
    votes: Annotated[list[Path], typer.Argument(help="Votes under both versions, in one file or several.")],
    scale: Annotated[str, typer.Option(help=SCALES)],
    old: Annotated[str, typer.Option(help="A version, or the file that has it.")],
    new: Annotated[str, typer.Option(help="A version, or the file that has it.")],
    odds: Annotated[Path | None, typer.Option(help="What `guide impact` wrote.")] = None,
    level: LevelOption = 0.95,
    output: OutputOption = Output.TEXT,
) -> None:
    """Do people grade the same pairs otherwise under the new guide, more than by their own noise?"""
    found = call("guide drift", votes, scale=scale, old=old, new=new, odds=odds, level=level)
    if output == Output.JSON:
        show(plain(found), as_json=True)
    else:
        from germane import scales
        from germane.report import guide as page

        print(page.drift_text(scales.get(scale), found))
