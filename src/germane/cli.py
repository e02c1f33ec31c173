"""The command line: one command a verb. Parse, call, print; the docstring is the question that a user has."""

from __future__ import annotations

import importlib
import io
import os
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
    "evaluate": "germane.pipeline.evaluate:evaluate",
    "compare": "germane.pipeline.compare:compare",
    "write": "germane.report:write",
    "doctor": "germane.pipeline.doctor:doctor",
    "schema": "germane.pipeline.schema:schema",
}

EXIT_CODES = """
Exit codes: 0 the verb did what was asked; 1 it did, and the answer is no (a bar that is not met, something broken that is
needed); 2 wrong input or usage, said in one line, nothing half-written; 70 a fault of germane; 130 interrupted.

Files: a suffix names the format (.run .qrels .txt .csv .tsv .jsonl .parquet); "-" is standard input or output.
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
ScaleOption = Annotated[str | None, typer.Option(help="A built-in scale (five-level, three-level, esci, trec) or a TOML file.")]
LevelOption = Annotated[float, typer.Option(help="Confidence level of every interval.", min=0.5, max=0.9999)]
OutOption = Annotated[
    Path | None, typer.Option(help="Where to write; in a project, its folder by default.", show_default=False)
]


def call(verb: str, *arguments: Any, **options: Any) -> Any:
    """Load a verb's module, call its function, and show a sign of life meanwhile."""
    module, _, name = VERBS[verb].partition(":")
    with busy(f"germane {verb}"):
        return getattr(importlib.import_module(module), name)(*arguments, **options)


def place(out: Path | None, kind: str, name: str) -> Path | None:
    """`out`, or inside a project the named file in the project's folder for its kind."""
    found = settings.load() if out is None else settings.Settings()
    return found.folder(kind) / name if out is None and found.path else out


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
    kind: Annotated[str, typer.Argument(help="queries, docs, run, judgments or design")],
    source: Annotated[Path, typer.Argument(help='The file to read; "-" for standard input.')],
    out: OutOption = None,
    scale: ScaleOption = None,
    judge: Annotated[str | None, typer.Option(help="Who judged; human:FILE by default.", show_default=False)] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I bring my own file in?

    Reads TREC, ESCI, Quepid, UBI, CSV, JSON lines; writes a checked parquet table.
    """
    result = call(
        "import", kind, source, out=place(out, f"{kind.rstrip('s')}s", f"{source.stem}.parquet"), scale=scale, judge=judge
    )
    show(result, as_json=output == Output.JSON)


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
    scale: Annotated[str, typer.Option(help="A built-in scale (five-level, three-level, esci, trec) or a TOML file.")],
    design: Annotated[Path | None, typer.Option(help="From `sample`; without it, a simple random sample.")] = None,
    metric: Annotated[str, typer.Option(help="For example sDCG@25, sDCG(gain=exp)@10.")] = "sDCG@25",
    queries: Annotated[Path | None, typer.Option(help="The queries' text, for the report.")] = None,
    docs: Annotated[Path | None, typer.Option(help="The documents' fields, for the report.")] = None,
    condensed: Annotated[bool, typer.Option("--condensed", help="Drop unjudged documents first; the report says so.")] = False,
    allow: Annotated[list[str] | None, typer.Option(help="A refusal to override; may be given again.")] = None,
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
    folder = place(out, "reports", f"{control.stem}-{treatment.stem}")
    show(report, as_json=output == Output.JSON)
    if folder:
        call("write", report, folder)
        print(f"report: {folder / 'report.html'}", file=sys.stderr if output == Output.JSON else sys.stdout)


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
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as problem:
        if os.environ.get("GERMANE_DEBUG"):
            raise
        sys.exit(fail(problem))


def fail(problem: Exception) -> int:
    """One line on stderr about what went wrong, and the exit code that it has."""
    if isinstance(problem, InputError | OSError):
        what, code = str(problem), 2
    else:
        what = f"this is a fault of germane, not of your input: {type(problem).__name__}: {problem}"
        what, code = f"{what} (GERMANE_DEBUG=1 shows where; please report it)", 70
    print(f"germane: {' '.join(what.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
