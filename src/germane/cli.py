"""The command line: one command a verb. Parse, call, print; the docstring is the question that a user has."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from germane import __version__, settings
from germane.show import busy, show
from germane.types import InputError

# The only dynamic imports of our own: a verb's module is loaded when the verb is called.
VERBS = {
    "init": "germane.pipeline.init:init",
    "import": "germane.pipeline.import_:import_",
    "segment": "germane.pipeline.sample:segment",
    "sample": "germane.pipeline.sample:sample",
    "collect": "germane.pipeline.collect:collect",
    "pairs": "germane.pipeline.pairs:pairs",
    "check": "germane.pipeline.check:check",
    "evaluate": "germane.pipeline.evaluate:evaluate",
    "compare": "germane.pipeline.compare:compare",
    "demo": "germane.pipeline.demo:demo",
    "doctor": "germane.pipeline.doctor:doctor",
    "schema": "germane.pipeline.schema:schema",
}

EXIT_CODES = """
Exit codes: 0 the verb did what was asked; 1 it did, and the answer is no (a bar that is not met, something broken that is
needed); 2 wrong input or usage, said in one line, nothing half-written; 70 a fault of germane; 130 interrupted.

Files: a suffix names the format (.run .qrels .txt .csv .tsv .jsonl .parquet); "-" is standard input
or output of evaluate, compare and import.
"""

app = typer.Typer(
    name="germane",
    help="Measure search relevance with judges you have checked, and put that measure to work.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Text for people, or one JSON document.")]
SCALES = "A built-in scale (five-level, three-level, esci, trec) or a TOML file."
ScaleOption = Annotated[str | None, typer.Option(help=SCALES)]
DepthOption = Annotated[int, typer.Option("--k", "-k", help="Results a query.", min=1)]
SeedOption = Annotated[int, typer.Option(help="Of the draw: the same seed, the same draw.")]
LevelOption = Annotated[float, typer.Option(help="Confidence level of every interval.", min=0.5, max=0.9999)]
OutOption = Annotated[
    Path | None, typer.Option(help="Where to write; in a project, its folder by default.", show_default=False)
]


def call(verb: str, *arguments: Any, **options: Any) -> Any:
    """Load a verb's module, call its function, and show a sign of life meanwhile."""
    module, _, name = VERBS[verb].partition(":")
    with busy(f"germane {verb}"):
        return getattr(importlib.import_module(module), name)(*arguments, **options)


def place(out: Path | None, kind: str, name: str) -> Path:
    """`out`, or inside a project the named file in the project's folder for its kind.

    Raises: InputError outside a project without `out`.
    """
    if out is None and not (found := settings.load()).path:
        raise InputError("where to? name the file to write with --out, or make this folder a project with `germane init`")
    return found.folder(kind) / name if out is None else out


def table_place(out: Path | None, kind: str, name: str) -> Path:
    """As `place`, for a table of our own, which is parquet.

    Raises: InputError for another suffix.
    """
    path = place(out, kind, f"{name}.parquet")
    if path.suffix != ".parquet":
        raise InputError(f"--out {path}: a table of germane is a .parquet file; `germane import` writes other formats from it")
    return path


def named(pairs: list[str] | None, flag: str) -> dict[str, str]:
    """{"k1": "1.2"} from ["k1=1.2"]."""
    found = [pair.partition("=") for pair in pairs or []]
    for name, equals, value in found:
        if not (name and equals and value):
            raise InputError(f"{flag} {name}{equals}{value}: expected NAME=VALUE")
    return {name: value for name, _, value in found}


def numbers(pairs: list[str] | None, flag: str) -> dict[str, float]:
    """{"k1": 1.2} from ["k1=1.2"]."""
    try:
        return {name: float(value) for name, value in named(pairs, flag).items()}
    except ValueError as problem:
        raise InputError(f"{flag}: {problem}: expected NAME=NUMBER") from problem


def values(pairs: list[str] | None, flag: str) -> dict[str, float | str]:
    """{"k1": 1.2, "stopwords": "en"} from ["k1=1.2", "stopwords=en"]."""
    found = named(pairs, flag)
    return {name: float(value) if re.fullmatch(r"[\d.]+", value) else value for name, value in found.items()}


def words(text: str | None) -> list[str] | None:
    """["title", "brand"] from "title,brand"; None for None and for "all"."""
    return None if text in (None, "all") else [word.strip() for word in str(text).split(",") if word.strip()]


def print_version(wanted: bool) -> None:
    if wanted:
        print(f"germane {__version__}")
        raise typer.Exit


@app.callback()
def project(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    # A verb's options take their defaults from germane.toml. The verbs that mend or explain a project do not need one.
    if context.invoked_subcommand not in ("init", "doctor", "schema"):
        found = settings.load()
        defaults = {name: getattr(found, name) for name in ("scale", "metric", "k", "level", "seed")}
        context.default_map = dict.fromkeys(VERBS, defaults) if found.path else {}


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder; made where it does not exist.")] = Path(),
    scale: Annotated[str, typer.Option(help="The scale that the project's judgments use.")] = "five-level",
    output: OutputOption = Output.TEXT,
) -> None:
    """Where do I put my files?

    Makes the project's folders and germane.toml, and touches nothing that is there.
    """
    show(call("init", folder, scale=scale), as_json=output == Output.JSON)


@app.command("import")
def import_(
    kind: Annotated[str, typer.Argument(help="queries, docs, run, judgments, pairs or design")],
    source: Annotated[Path, typer.Argument(help='The file to read; "-" for standard input.')],
    out: OutOption = None,
    scale: ScaleOption = None,
    judge: Annotated[str | None, typer.Option(help="Who judged; human:FILE by default.", show_default=False)] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I bring my own file in?

    Reads TREC, ESCI, Quepid, UBI, CSV, JSON lines; writes a checked table, or a run or judgments in another format.
    """
    to = place(out, f"{kind.rstrip('s')}s" if kind != "queries" else kind, f"{source.stem}.parquet")
    result = call("import", kind, source, to, scale=scale, judge=judge)
    if str(to) != "-":
        show(result, as_json=output == Output.JSON)


@app.command("segment")
def segment(
    log: Annotated[Path, typer.Argument(help="A query log: .parquet, .csv, .tsv or .jsonl; one row a search, or a count.")],
    out: OutOption = None,
    column: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN where a column has a name of its own.")] = None,
    threshold: Annotated[list[str] | None, typer.Option(help="As head=0.5: where a segment ends, by share of traffic.")] = None,
    by: Annotated[str | None, typer.Option(help="users or impressions; users where the log has them.")] = None,
    normalise: Annotated[str, typer.Option(help="Which spellings are one query; none to keep all.")] = "unicode+case+space",
    output: OutputOption = Output.TEXT,
) -> None:
    """Which of my queries are head, torso, tail and single?

    Counts who asked what, and cuts queries into segments by their share of traffic.
    """
    options: dict[str, Any] = {"columns": named(column, "--column"), "by": by, "normalise": normalise}
    options["thresholds"] = numbers(threshold, "--threshold") or None
    show(call("segment", log, table_place(out, "queries", log.stem), **options), as_json=output == Output.JSON)


@app.command("sample")
def sample(
    queries: Annotated[Path, typer.Argument(help="All queries, from `segment` or `import`.")],
    n: Annotated[int, typer.Option("-n", "--n", help="How many queries to draw.", min=1)],
    out: OutOption = None,
    strata: Annotated[str | None, typer.Option(help="Columns, as interest,segment; none for a simple sample.")] = None,
    allocation: Annotated[str, typer.Option(help="How n is divided among the strata.")] = "neyman",
    pilot: Annotated[Path | None, typer.Option(help="A CSV: stratum, sd of its paired difference, n, cost.")] = None,
    minimum: Annotated[int, typer.Option(help="Queries in each stratum at least.", min=1)] = 2,
    seed: SeedOption = 1,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which queries do I have to judge?

    Draws queries with known odds from strata, so that the sample stands for all of them.
    """
    columns = [] if strata == "none" else words(strata)
    options = {"n": n, "seed": seed, "strata": columns, "allocation": allocation, "pilot": pilot, "minimum": minimum}
    show(call("sample", queries, table_place(out, "designs", "design"), **options), as_json=output == Output.JSON)


@app.command("collect")
def collect(
    queries: Annotated[Path, typer.Argument(help="The queries to ask.")],
    docs: Annotated[Path, typer.Argument(help="The documents to search.")],
    out: OutOption = None,
    fields: Annotated[str, typer.Option(help="The fields to search, as title,brand; all for every text.")] = "title",
    engine: Annotated[str, typer.Option(help="The search engine.")] = "bm25",
    option: Annotated[list[str] | None, typer.Option(help="Of the engine, as k1=1.2; may be given again.")] = None,
    k: DepthOption = 25,
    design: Annotated[Path | None, typer.Option(help="Ask only the queries that it sampled.")] = None,
    candidates: Annotated[Path | None, typer.Option(help="Judgments or pairs: rank only each query's documents there.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does this ranking return for my queries?

    Asks an engine each query, and writes its top k as a run.
    """
    asked = [engine, fields.replace(",", "-"), *(option or []), *([] if k == 25 else [f"k{k}"])]
    asked += [path.stem for path in (design, candidates) if path]  # another question is another file
    to = table_place(out, "runs", "-".join(asked))
    options: dict[str, Any] = {"engine": engine, "fields": words(fields), "options": values(option, "--option"), "k": k}
    options |= {"design": design, "candidates": candidates}
    show(call("collect", queries, docs, to, **options), as_json=output == Output.JSON)


@app.command("pairs")
def pairs(
    control: Annotated[Path, typer.Argument(help="The run as it is today.")],
    treatment: Annotated[Path, typer.Argument(help="The run that may replace it.")],
    queries: Annotated[Path, typer.Option(help="The queries' text.")],
    docs: Annotated[Path, typer.Option(help="The documents' fields.")],
    out: OutOption = None,
    k: DepthOption = 25,
    design: Annotated[Path | None, typer.Option(help="Only its queries, by what each stands for.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="Leave out the pairs that have a grade here.")] = None,
    scale: ScaleOption = None,
    everything: Annotated[bool, typer.Option("--everything", help="Documents that did not move, too.")] = False,
    fields: Annotated[str, typer.Option(help="Fields that the judge reads, as title,brand.")] = "all",
    output: OutputOption = Output.TEXT,
) -> None:
    """Which documents need a grade?

    Only those that moved between the two runs can change the answer: exactly these, most valuable first.
    """
    options: dict[str, Any] = {"queries": queries, "docs": docs, "k": k, "design": design, "judgments": judgments}
    options |= {"scale": scale if judgments else None, "everything": everything, "fields": words(fields)}
    to = table_place(out, "pairs", f"{control.stem}-{treatment.stem}")
    show(call("pairs", control, treatment, to, **options), as_json=output == Output.JSON)


@app.command("check")
def check(
    gold: Annotated[Path, typer.Argument(help="People's judgments.")],
    judgments: Annotated[Path, typer.Argument(help="The judge's, of the same pairs.")],
    scale: Annotated[str, typer.Option(help=SCALES)],
    bar: Annotated[list[str] | None, typer.Option(help="As 'quadratic kappa=0.6': what the low end must reach.")] = None,
    relevant: Annotated[str | None, typer.Option(help="The lowest label that counts as relevant.")] = None,
    design: Annotated[Path | None, typer.Option(help="Inclusion probabilities of gold's queries.")] = None,
    level: LevelOption = 0.95,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Can I trust this judge?

    Agreement with people on the same pairs, with intervals, as a judge card; exit code 1 if a bar is not met.
    """
    folder = out or (place(out, "cards", judgments.stem) if settings.load().path else None)
    options = {"bars": numbers(bar, "--bar") or None, "relevant": relevant, "design": design, "level": level, "out": folder}
    card = call("check", gold, judgments, scale=scale, **options)
    show(card, as_json=output == Output.JSON)
    if not card.passed:
        raise typer.Exit(1)


@app.command("evaluate")
def evaluate(
    qrels: Annotated[Path, typer.Argument(help="Judgments: qrels, or any format that `import` reads.")],
    run: Annotated[Path, typer.Argument(help="The ranking: a TREC run, or any format that `import` reads.")],
    metrics: Annotated[list[str], typer.Argument(help="For example 'nDCG@10 P(rel=2)@5 RR Judged@10 sDCG@25'.")],
    scale: ScaleOption = None,
    by_query: Annotated[bool, typer.Option("--by-query", "--by_query", "-q", help="One line for each query first.")] = False,
    no_summary: Annotated[bool, typer.Option("--no-summary", "--no_summary", "-n", help="With -q: no averages.")] = False,
    places: Annotated[int, typer.Option("--places", "-p", help="Decimal places; -1 prints every digit.")] = 4,
    level: LevelOption = 0.95,
    output: OutputOption = Output.TEXT,
) -> None:
    """How good is this ranking?

    Metrics by their names in ir_measures; queries that the run lacks count as 0, as there.
    """
    result = call("evaluate", qrels, run, metrics, scale=scale, level=level)
    if output == Output.JSON:
        show(result if by_query else result.summary(), as_json=True)
    else:
        show(result.lines(by_query=by_query, summary=not (by_query and no_summary), places=places))


@app.command("compare")
def compare(
    control: Annotated[Path, typer.Option(help="The run as it is today.")],
    treatment: Annotated[Path, typer.Option(help="The run that may replace it.")],
    judgments: Annotated[Path, typer.Option(help="Grades of the documents in both.")],
    scale: Annotated[str, typer.Option(help=SCALES)],
    design: Annotated[Path | None, typer.Option(help="From `sample`; without it, a simple random sample.")] = None,
    metric: Annotated[str, typer.Option(help="For example sDCG@25, sDCG(gain=exp)@10.")] = "sDCG@25",
    queries: Annotated[Path | None, typer.Option(help="The queries' text, for the report.")] = None,
    docs: Annotated[Path | None, typer.Option(help="The documents' fields, for the report.")] = None,
    condensed: Annotated[bool, typer.Option("--condensed", help="Drop unjudged documents first; the report says so.")] = False,
    allow: Annotated[list[str] | None, typer.Option(help="A refusal to insist past; may be given again.")] = None,
    card: Annotated[Path | None, typer.Option(help="The judge card, from `check`.")] = None,
    groups: Annotated[str | None, typer.Option(help="A column of docs: each group's exposure in both arms.")] = None,
    level: LevelOption = 0.95,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Is the treatment's ranking more relevant than the control's, and by how much?"""
    options: dict[str, Any] = {
        "design": design,
        "metric": metric,
        "queries": queries,
        "docs": docs,
        "condensed": condensed,
        "card": card,
    }
    options |= {"allow": tuple(allow or ()), "groups": groups, "level": level}
    report = call("compare", control, treatment, judgments, scale=scale, **options)
    folder = out or (place(out, "reports", f"{control.stem}-{treatment.stem}") if settings.load().path else None)
    show(report, as_json=output == Output.JSON, folder=folder)


@app.command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="The folder for its files and report.")] = Path("demo"),
    seed: SeedOption = 1,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does the answer look like?

    The whole line on a simulated marketplace whose truth is known, from query log to report.
    """
    show(call("demo", out, seed=seed), as_json=output == Output.JSON)
    if output == Output.TEXT:
        print(f"report: {out / 'report.html'}")


@app.command("doctor")
def doctor(output: OutputOption = Output.TEXT) -> None:
    """Is this machine ready?

    Python, packages, extras, data, disk, settings, and what to do about each fault.
    """
    findings = call("doctor", Path())
    show(findings, as_json=output == Output.JSON)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


@app.command("schema")
def schema(
    kind: Annotated[
        str | None, typer.Argument(help="queries, docs, runs, pairs, judgments or designs; all by default.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which columns does a file need?

    The tables' columns, types, and what they hold.
    """
    show(call("schema", kind), as_json=output == Output.JSON)


def main() -> None:
    """Run the command line. Wrong input is one line on stderr; GERMANE_DEBUG=1 shows where it was found."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console that cannot print a query's letters is no fault
    try:
        app(prog_name="germane")
    except Exception as problem:
        if os.environ.get("GERMANE_DEBUG"):
            raise
        sys.exit(fail(problem))
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read our output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(problem: Exception) -> int:
    """One line on stderr about what went wrong, and the exit code that it has."""
    if isinstance(problem, InputError | OSError):
        what, code = str(problem), 2
    else:
        what = f"this is a fault of germane, not of your input: {type(problem).__name__}: {problem}"
        what, code = f"{what} (GERMANE_DEBUG=1 shows where; please report it)", 70
    from germane.report.visible import visible

    print(f"germane: {visible(what)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
