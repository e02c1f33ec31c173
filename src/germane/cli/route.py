"""The command that sends people where they matter."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import SCALES, LevelOption, OutOption, Output, OutputOption, SeedOption, app, call, place
from germane.types import InputError


class By(StrEnum):
    AUTO = "auto"
    SELF_AGREEMENT = "self-agreement"
    ENTROPY = "entropy"
    CONFIDENCE = "confidence"


class Measure(StrEnum):
    EXACT = "exact"
    WITHIN_ONE = "within-one"
    KAPPA = "quadratic kappa"
    F1 = "macro F1"


@app.command("route")
def route(
    judgments: Annotated[Path, typer.Argument(help="One judge's, with self_agreement, entropy or probs.")],
    golden: Annotated[Path, typer.Option(help="People's judgments of some of the same pairs.")],
    scale: Annotated[str, typer.Option(help=SCALES)],
    by: Annotated[By, typer.Option(help="What says how sure the judge is; by default the best that there is.")] = By.AUTO,
    quality: Annotated[float | None, typer.Option(help="To keep, with the low end of its interval, as 0.85.")] = None,
    measure: Annotated[Measure, typer.Option(help="What quality is.")] = Measure.EXACT,
    budget: Annotated[int | None, typer.Option(help="Labels that people can give; with --quality, at most.")] = None,
    people: Annotated[str, typer.Option(help="How often people are right, as 0.95; raters: as gold's raters agree.")] = "1",
    price_per_label: Annotated[float | None, typer.Option(help="Of a label by a person.")] = None,
    relevant: Annotated[str | None, typer.Option(help="The lowest label that counts as relevant in false relevant.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Texts of the pairs, to show them to people.")] = None,
    adjudicate: Annotated[
        str | None, typer.Option(help="How several raters make one grade: majority or median; ties are left out.")
    ] = None,
    rater: Annotated[list[str] | None, typer.Option(help="A column of gold with one rater's labels; again for each.")] = None,
    design: Annotated[Path | None, typer.Option(help="Inclusion probabilities of gold's queries.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Texts, to see who was trained on them, and columns to split by.")
    ] = None,
    by_segment: Annotated[
        list[str] | None, typer.Option(help="A column of design or queries to split the rule by; again for each.")
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(help="A refusal to insist past: trained-on-gold.")] = None,
    level: LevelOption = 0.95,
    seed: SeedOption = 0,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which labels can be accepted, and which pairs should people grade?

    Without --quality and --budget: what each number of people's labels buys. Exit code 1 if a target cannot be reached.
    """
    asked: dict[str, Any] = {"by": by.value, "measure": measure.value, "quality": quality, "budget": budget}
    asked |= {"people": _people(people), "price": price_per_label, "level": level}
    options: dict[str, Any] = {"asked": asked, "relevant": relevant, "pairs": pairs, "adjudicate": adjudicate}
    options |= {"raters": rater or (), "design": design, "queries": queries, "by_segment": by_segment or ()}
    options |= {"allow": tuple(allow or ()), "seed": seed}
    folder = place(out, "reports", f"route-{judgments.stem}")
    found = call("route", judgments, golden, folder, scale=scale, **options)
    from germane.report import route as page

    print(found.to_json() if output == Output.JSON else page.text(found))
    if not found.reached:
        raise typer.Exit(1)


def _people(text: str) -> float | str:
    """How right people are. Raises: InputError for what is neither a share nor "raters"."""
    if text == "raters":
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--people {text}: expected how often people are right, as 0.95, or raters") from None
