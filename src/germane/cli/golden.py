"""`germane golden ...`: commands on people's votes and on the set that is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import SCALES, LevelOption, OutOption, Output, OutputOption, SeedOption, app, call, place
from germane.show import plain, show
from germane.types import InputError

golden = typer.Typer(
    name="golden",
    help="Are people's judgments good, sealed, and apart from what judges learn from?\n\nQuality, health, seal, leaks, export.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(golden, name="golden")

VotesArgument = Annotated[Path, typer.Argument(help="A votes table, or judgments by people, human:NAME.")]
ScaleOption = Annotated[str, typer.Option(help=SCALES)]
Raters = Annotated[list[str] | None, typer.Option("--rater", help="A column with one rater's labels; again for each.")]
SealRule = Annotated[
    str | None, typer.Option(help="majority, median or unanimous; by default as the votes' task asked, else majority.")
]
Rule = Annotated[str, typer.Option(help="How votes make a grade: majority, median or unanimous; an adjudication wins.")]
GoldenArgument = Annotated[Path, typer.Argument(help="A sealed folder.")]


@golden.command("quality")
def quality(
    votes: VotesArgument,
    scale: ScaleOption,
    rater: Raters = None,
    pairs: Annotated[Path | None, typer.Option(help="With odds and part, from `sample --for golden`.")] = None,
    controls: Annotated[Path | None, typer.Option(help="Known grades of the hidden pairs.")] = None,
    rule: Rule = "majority",
    period: Annotated[str, typer.Option(help="day, week or month.")] = "week",
    least: Annotated[int, typer.Option(help="Pairs that a rater, or two, need for figures of their own.", min=2)] = 20,
    too_fast: Annotated[float, typer.Option(help="Votes under so many seconds are counted.", min=0.0)] = 2.0,
    level: LevelOption = 0.95,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Do raters see relevance alike, and who does not?"""
    options: dict[str, Any] = {"raters": rater or (), "pairs": pairs, "controls": controls, "rule": rule, "period": period}
    options |= {"least": least, "too_fast": too_fast, "level": level, "out": out}
    found = call("golden quality", votes, scale=scale, **options)
    from germane.report import golden as page

    print(found.to_json() if output == Output.JSON else page.text(found))


@golden.command("health")
def health(
    project: Annotated[
        Path | None, typer.Option(help="The folder with germane.toml; by default this one.", show_default=False)
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """How many pairs have people judged, do they agree, and what waits?

    The votes of the project's registry, with a number in place of each rater's name.
    """
    found = call("golden health", project)
    if output == Output.JSON:
        show(found, as_json=True)
        return
    for task in found.tasks:
        names = ("name", "kind", "pairs", "judged", "twice", "waiting", "decided", "votes", "raters", "first", "last", "answer")
        show({**{name: getattr(task, name) for name in names}, "notes": task.notes})
    leaks = [f"{leak.number:,} of {leak.of:,} {leak.what}: {leak.against}" for leak in found.leaks]
    show({"leaks": leaks, "notes": found.notes} if found.tasks else "nobody has judged anything yet: germane annotate")


@golden.command("seal")
def seal(
    votes: VotesArgument,
    scale: ScaleOption,
    out: OutOption = None,
    rater: Raters = None,
    pairs: Annotated[Path | None, typer.Option(help="Texts, strata and odds of the judged pairs.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Documents, where the pairs have no text.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Queries, where the pairs have no query.")] = None,
    rule: SealRule = None,
    raters: Annotated[
        int | None, typer.Option(help="Votes that a pair needs; by default as its task asked, else 2.", min=1)
    ] = None,
    test: Annotated[float, typer.Option(help="The share of the queries that are the test.")] = 0.5,
    leave_out: Annotated[bool, typer.Option("--leave-out", help="Leave pairs without a settled grade out.")] = False,
    seed: SeedOption = 1,
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I freeze our judgments, so that nobody can tune on the test?

    One grade a pair, dev and test apart by query, a hash over all of it; later reads of the test are counted.
    """
    options: dict[str, Any] = {"scale": scale, "raters": rater or (), "pairs": pairs, "rule": rule, "raters_per_pair": raters}
    options |= {"docs": docs, "queries": queries, "test": test, "seed": seed, "leave_out": leave_out}
    show(call("golden seal", votes, place(out, "golden", votes.stem), **options), as_json=output == Output.JSON)


@golden.command("status")
def status(folder: GoldenArgument, output: OutputOption = Output.TEXT) -> None:
    """Is it as it was sealed, and how often was its test read?"""
    show(call("golden status", folder), as_json=output == Output.JSON)


@golden.command("leaks")
def leaks(
    golden: Annotated[Path, typer.Argument(help="A sealed folder, or a table of pairs.")],
    against: Annotated[list[Path], typer.Option(help="Training pairs, examples, an audit, a judge; may be given again.")],
    similarity: Annotated[float, typer.Option(help="Share of word triples from which two texts count as one.")] = 0.9,
    output: OutputOption = Output.TEXT,
) -> None:
    """Does anything that a judge learned from occur in the golden set?

    Exit code 1 if it does.
    """
    found = call("golden leaks", golden, against, similarity=similarity)
    if output == Output.JSON:
        show(plain(found), as_json=True)
    else:
        from germane.report.visible import visible

        for leak in found.found:
            print(visible(f"{leak.against}: {leak.kind}: {leak.golden:,} of {found.checked:,} golden pairs"))
            for example in leak.examples:
                print(visible(f"  {example}"))
        if not found.found:
            print(f"No leak: {found.checked:,} golden pairs are apart from {', '.join(found.against)}")
    if found.found:
        raise typer.Exit(1)


@golden.command("export")
def export(
    golden: Annotated[Path, typer.Argument(help="A sealed folder, or judgments with one grade a pair.")],
    form: Annotated[str, typer.Option("--to", help="trec, esci, quepid, jsonl, parquet, csv or hf.")],
    out: Annotated[Path, typer.Option(help="A file; of a sealed folder, or for hf, a folder.")],
    scale: Annotated[str | None, typer.Option(help=SCALES)] = None,
    pairs: Annotated[Path | None, typer.Option(help="Texts, where the folder has none.")] = None,
    licence: Annotated[str, typer.Option("--license", help="Of the data, for the card of hf.")] = "unknown",
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I hand the golden set to another tool?"""
    if not golden.exists():
        raise InputError(f"there is no {golden}: expected a sealed folder, or judgments")
    options: dict[str, Any] = {"form": form, "scale": scale, "pairs": pairs, "licence": licence}
    show(call("golden export", golden, out, **options), as_json=output == Output.JSON)
