"""Commands that answer: is this judge to be trusted, how good is this ranking, which of two is better?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane import settings
from germane.cli.app import (
    SCALES,
    LevelOption,
    OutOption,
    Output,
    OutputOption,
    ScaleOption,
    SeedOption,
    app,
    call,
    numbers,
    place,
)
from germane.show import show


@app.command("check")
def check(
    gold: Annotated[Path, typer.Argument(help="People's judgments.")],
    judgments: Annotated[Path, typer.Argument(help="The judge's, of the same pairs.")],
    scale: Annotated[str, typer.Option(help=SCALES)],
    bar: Annotated[list[str] | None, typer.Option(help="As 'quadratic kappa=0.6': what the interval must reach.")] = None,
    relevant: Annotated[str | None, typer.Option(help="The lowest label that counts as relevant.")] = None,
    design: Annotated[Path | None, typer.Option(help="Inclusion probabilities of gold's queries.")] = None,
    adjudicate: Annotated[
        str | None, typer.Option(help="How several raters make one grade: majority or median; ties are left out.")
    ] = None,
    rater: Annotated[list[str] | None, typer.Option(help="A column of gold with one rater's labels; again for each.")] = None,
    run: Annotated[list[Path] | None, typer.Option(help="A ranked list, for errors in sDCG; may be given again.")] = None,
    control: Annotated[Path | None, typer.Option(help="With --treatment: errors in paired differences, and decisions.")] = None,
    treatment: Annotated[Path | None, typer.Option(help="The run that may replace the control.")] = None,
    metric: Annotated[str, typer.Option(help="sDCG@K: what the judge's errors are summed by.")] = "sDCG@25",
    condensed: Annotated[bool, typer.Option("--condensed", help="Drop documents without both grades first.")] = False,
    margin: Annotated[float, typer.Option(help="The largest paired bias that would not matter.")] = 0.002,
    queries: Annotated[Path | None, typer.Option(help="With columns to split by, such as language.")] = None,
    docs: Annotated[Path | None, typer.Option(help="With columns to split by, such as type.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="A column of design, queries or docs, length or query length, to split by; again for each."),
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="The texts that the judge read, for --by length.")] = None,
    probes: Annotated[Path | None, typer.Option(help="What attacks did to this judge, from `probe`.")] = None,
    sensitivity: Annotated[
        Path | None, typer.Option(help="What other words for its prompt did, from `probe --paraphrases`.")
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(help="trained-on-gold: check it on queries that it learned from.")] = None,
    level: LevelOption = 0.95,
    seed: SeedOption = 0,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Can I trust this judge?

    Agreement with people in labels, scores, paired differences and decisions, as a judge card; exit code 1 if a bar is not met.
    """
    folder = out or (place(out, "cards", judgments.stem) if settings.load().path else None)
    options: dict[str, Any] = {"bars": numbers(bar, "--bar") or None, "relevant": relevant, "design": design, "level": level}
    options |= {"adjudicate": adjudicate, "run": run or (), "control": control, "treatment": treatment, "metric": metric}
    options |= {"condensed": condensed, "margin": margin, "queries": queries, "docs": docs, "by": by or (), "seed": seed}
    options |= {"raters": rater or (), "allow": allow or (), "pairs": pairs, "probes": probes, "sensitivity": sensitivity}
    card = call("check", gold, judgments, scale=scale, out=folder, **options)
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
        show(result.summary(by_query=by_query), as_json=True)
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
    audit: Annotated[Path | None, typer.Option(help="People's grades of what `sample --for audit` drew.")] = None,
    audit_sample: Annotated[Path | None, typer.Option(help="What it drew, where the audit lacks its columns.")] = None,
    by: Annotated[
        str, typer.Option(help="queries: each counts once; traffic: as often as asked.", show_default="as drawn")
    ] = "",
    population: Annotated[
        Path | None, typer.Option(help="All queries, with segments: post-stratifies a random sample.")
    ] = None,
    adjust: Annotated[str | None, typer.Option(help="A column of the design, known before, that predicts the change.")] = None,
    clusters: Annotated[str | None, typer.Option(help="A column of the design: which queries belong together.")] = None,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Live arms that each answered their own queries.")] = False,
    expected: Annotated[bool, typer.Option("--expected", help="The judge's expected gains, by its probabilities.")] = False,
    finite: Annotated[bool, typer.Option("--finite", help="About the log's own queries, not queries to come.")] = False,
    multiple: Annotated[str, typer.Option(help="Segments' p-values: bh, by or hierarchical.")] = "bh",
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
    options |= {"allow": tuple(allow or ()), "groups": groups, "level": level, "audit": audit, "audit_sample": audit_sample}
    options |= {
        "population": population,
        "by": by,
        "adjust": adjust,
        "clusters": clusters,
        "unpaired": unpaired,
        "expected": expected,
        "finite": finite,
        "multiple": multiple,
    }
    report = call("compare", control, treatment, judgments, scale=scale, **options)
    folder = out or (place(out, "reports", f"{control.stem}-{treatment.stem}") if settings.load().path else None)
    show(report, as_json=output == Output.JSON, folder=folder)
