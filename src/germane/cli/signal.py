"""`germane signal ...`: the relevance signal at work in a search."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import SCALES, LevelOption, OutOption, Output, OutputOption, app, call, named, place, table_place
from germane.show import show
from germane.types import InputError

signal = typer.Typer(
    name="signal",
    help="What should a judge's predictions do in the search?\n\nFilter, features, loss weights, boost.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(signal, name="signal")

JudgmentsArgument = Annotated[Path, typer.Argument(help="One judge's, with probabilities (column probs).")]
GoldenOption = Annotated[
    Path | None, typer.Option(help="People's judgments, or a sealed folder, whose dev part is taken.", show_default=False)
]
ScaleOption = Annotated[str | None, typer.Option(help=SCALES)]
QueriesOption = Annotated[Path | None, typer.Option(help="Queries: their texts, and columns of segments.", show_default=False)]
ByOption = Annotated[str | None, typer.Option(help="The column of --queries that names segments.")]
ApplyOption = Annotated[Path | None, typer.Option("--apply", help="A run to change by --policy.", show_default=False)]
PolicyOption = Annotated[Path | None, typer.Option(help="The policy to apply.", show_default=False)]
AllowOption = Annotated[list[str] | None, typer.Option(help="A refusal to insist past: golden-test, trained-on-gold.")]


class Negatives(StrEnum):
    EVEN = "even"
    OPPOSITE = "opposite"


@signal.command("filter")
def filter_(
    judgments: JudgmentsArgument,
    golden: GoldenOption = None,
    scale: ScaleOption = None,
    precision: Annotated[float, typer.Option(help="Share of what is left out that people call bad.")] = 0.9,
    irrelevant: Annotated[str | None, typer.Option(help="The best label that may go; the worst one by default.")] = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="LABEL=PRECISION, a rule for this label or worse; again for each.")
    ] = None,
    relevant: Annotated[str | None, typer.Option(help="The lowest label whose loss is counted.")] = None,
    floor: Annotated[int, typer.Option(help="Results left of each query, at least.", min=0)] = 10,
    no_bound: Annotated[
        bool, typer.Option("--no-bound", help="Take the share found, not the low end of its interval.")
    ] = False,
    queries: QueriesOption = None,
    docs: Annotated[Path | None, typer.Option(help="For the titles of examples.", show_default=False)] = None,
    by: ByOption = None,
    run: Annotated[Path | None, typer.Option(help="A run to try it on, without writing one.", show_default=False)] = None,
    adjudicate: Annotated[str | None, typer.Option(help="How several raters make one grade: majority or median.")] = None,
    allow: AllowOption = None,
    apply: ApplyOption = None,
    policy: PolicyOption = None,
    level: LevelOption = 0.95,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which results can be left out, at which precision, and what would that cost?

    With --apply RUN --policy FILE: the run as the filter shows it, in --out.
    """
    if apply is not None:
        return _apply("filter", judgments, apply, policy, out, queries, by, scale, output)
    options: dict[str, Any] = {"precision": precision, "irrelevant": irrelevant, "relevant": relevant, "floor": floor}
    options |= {"classes": _shares(class_), "bound": not no_bound, "queries": queries, "docs": docs, "by": by, "run": run}
    options |= {"adjudicate": adjudicate, "allow": tuple(allow or ()), "level": level}
    folder = place(out, "reports", f"filter-{judgments.stem}")
    found = call("signal filter", judgments, _needed(golden, "--golden"), folder, scale=_needed(scale, "--scale"), **options)
    show(found, as_json=output == Output.JSON)


@signal.command("features")
def features(
    judgments: Annotated[Path | None, typer.Argument(help="One judge's, with probabilities (column probs).")] = None,
    run: Annotated[Path | None, typer.Option(help="The ranker's results, which are the rows.", show_default=False)] = None,
    scale: ScaleOption = None,
    labels: Annotated[Path | None, typer.Option(help="People's judgments, for the label.", show_default=False)] = None,
    to: Annotated[str, typer.Option(help="parquet, ranklib, lightgbm, xgboost; opensearch, elasticsearch: a feature set.")] = (
        "parquet"
    ),
    field: Annotated[str | None, typer.Option(help="Of a feature set: where documents hold the numbers.")] = None,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which features does a ranker get from the judge's predictions?"""
    suffix = {"parquet": ".parquet", "ranklib": ".txt", "opensearch": ".json", "elasticsearch": ".json"}.get(to, ".npz")
    target = place(out, "reports", f"{judgments.stem if judgments else to}{suffix}")
    of = _needed(scale, "--scale")
    if to in ("opensearch", "elasticsearch"):
        found = call("signal features --to opensearch", target, scale=of, form=to, field=field)
    else:
        given = (_needed(judgments, "the judgments"), _needed(run, "--run"))
        found = call("signal features", *given, target, scale=of, form=to, labels=labels)
    show(found, as_json=output == Output.JSON)


@signal.command("weights")
def weights(
    judgments: JudgmentsArgument,
    run: Annotated[Path, typer.Option(help="The rows of the ranker's training data: query_id, doc_id.", show_default=False)],
    scale: Annotated[str, typer.Option(help=SCALES)],
    clicks: Annotated[Path | None, typer.Option(help="Pairs that were clicked.", show_default=False)] = None,
    base: Annotated[float, typer.Option(help="Weight of a gain of 0, where that of 1 is 1, before clipping.")] = 0.1,
    power: Annotated[float, typer.Option(help="Of the gain.")] = 1.0,
    floor: Annotated[float, typer.Option(help="Of a weight, around the mean of 1.")] = 0.2,
    ceiling: Annotated[float, typer.Option(help="Of a weight.")] = 5.0,
    negatives: Annotated[Negatives, typer.Option(help="Rows without a click: alike, or more the less relevant.")] = (
        Negatives.EVEN
    ),
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """How much should each row count in the loss of a ranker that learns from clicks?"""
    options: dict[str, Any] = {"base": base, "power": power, "floor": floor, "ceiling": ceiling, "clicks": clicks}
    target = table_place(out, "reports", f"weights-{judgments.stem}")
    found = call("signal weights", judgments, run, target, scale=scale, negatives=negatives.value, **options)
    show(found, as_json=output == Output.JSON)


@signal.command("boost")
def boost(
    judgments: JudgmentsArgument,
    golden: GoldenOption = None,
    run: Annotated[Path | None, typer.Option(help="The ranker's results, judged by people.", show_default=False)] = None,
    scale: ScaleOption = None,
    metric: Annotated[str, typer.Option(help="What the strength is chosen by.")] = "sDCG@25",
    most: Annotated[int, typer.Option(help="Places that a result may move; -1 for any.", min=-1)] = 10,
    demote: Annotated[
        list[str] | None, typer.Option(help="LABEL=PROBABILITY:AMOUNT, for this label or worse; again for each.")
    ] = None,
    pin: Annotated[list[str] | None, typer.Option(help="LABEL=PROBABILITY:AMOUNT, for this label or better.")] = None,
    strength: Annotated[list[float] | None, typer.Option(help="To try, in standard deviations; again for each.")] = None,
    queries: QueriesOption = None,
    adjudicate: Annotated[str | None, typer.Option(help="How several raters make one grade: majority or median.")] = None,
    allow: AllowOption = None,
    apply: ApplyOption = None,
    policy: PolicyOption = None,
    level: LevelOption = 0.95,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """How much should the predicted relevance add to the ranker's score?

    With --apply RUN --policy FILE: the run as the boost shows it, in --out.
    """
    if apply is not None:
        return _apply("boost", judgments, apply, policy, out, None, None, scale, output)
    options: dict[str, Any] = {"metric": metric, "most": None if most < 0 else most, "demote": demote or (), "pin": pin or ()}
    options |= {"strengths": strength, "queries": queries, "allow": tuple(allow or ()), "level": level}
    options["adjudicate"] = adjudicate
    folder = place(out, "reports", f"boost-{judgments.stem}")
    given = (judgments, _needed(golden, "--golden"), _needed(run, "--run"))
    found = call("signal boost", *given, folder, scale=_needed(scale, "--scale"), **options)
    show(found, as_json=output == Output.JSON)


def _apply(
    kind: str,
    judgments: Path,
    run: Path,
    policy: Path | None,
    out: Path | None,
    queries: Path | None,
    by: str | None,
    scale: str | None,
    output: Output,
) -> None:
    target = table_place(out, "runs", f"{run.stem}-{kind}")
    options: dict[str, Any] = {"kind": kind, "queries": queries, "by": by, "scale": scale}
    found = call("signal --apply", run, judgments, _needed(policy, "--policy"), target, **options)
    show(found, as_json=output == Output.JSON)


def _needed(value: Any, flag: str) -> Any:
    """The value. Raises: InputError where it was not given."""
    if value is None:
        raise InputError(f"{flag} is missing: see germane signal --help")
    return value


def _shares(pairs: list[str] | None) -> dict[str, float] | None:
    """{"I": 0.9} from ["I=0.9"]."""
    try:
        return {name: float(value) for name, value in named(pairs, "--class").items()} or None
    except ValueError as problem:
        raise InputError(f"--class: {problem}: expected LABEL=PRECISION") from problem


@signal.command("policy")
def policy(
    outcomes: Annotated[Path, typer.Argument(help="Every query under every treatment; with --apply: the judge's predictions.")],
    by: Annotated[list[str] | None, typer.Option(help="A column that makes types of query; again for each.")] = None,
    queries: QueriesOption = None,
    engagement: Annotated[float, typer.Option(help="The relative change allowed, by the low end of its interval.")] = -0.005,
    treatment: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE, the filter or boost that a treatment is; again for each.")
    ] = None,
    any_: Annotated[
        bool, typer.Option("--any", help="Also treatments that are not shown to raise relevance in a type.")
    ] = False,
    apply: ApplyOption = None,
    policy_: Annotated[Path | None, typer.Option("--policy", help="The policy to apply.", show_default=False)] = None,
    scale: ScaleOption = None,
    level: LevelOption = 0.95,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which treatment should each type of query get, for relevance without loss of engagement?

    Exit code 1 if the limit on engagement does not hold on queries that had no part in choosing.
    """
    if apply is not None:
        return _apply("adaptive", outcomes, apply, policy_, out, queries, None, scale, output)
    options: dict[str, Any] = {"by": by or (), "queries": queries, "engagement": engagement, "shown": not any_}
    options |= {"policies": named(treatment, "--treatment"), "level": level}
    found = call("signal policy", outcomes, place(out, "reports", f"policy-{outcomes.stem}"), **options)
    show(found, as_json=output == Output.JSON)
    if not found.held:
        raise typer.Exit(1)
