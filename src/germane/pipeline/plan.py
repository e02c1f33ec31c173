"""`germane plan`: from a budget to how many queries a judge grades, how many of them people grade, and what that can see."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from germane import cards, sampling, scales, sources, store
from germane.report import plan as page
from germane.report.plan import Option, Part, Plan, Point
from germane.sampling.segmented import with_segments
from germane.stats import planning
from germane.stats.means import MINIMUM_NONZERO
from germane.stats.power import mde
from germane.types import InputError, JudgeCard

SD = 0.06
"""Of a query's paired difference in sDCG@25 where nothing is known; ours, of typical experiments on one ranker. Say yours."""


def plan(
    queries: Path,
    *,
    budget: planning.Budget | Mapping[str, float | None],
    people_money: float = 0.0,
    judge_money: float = 0.0,
    rate: float | None = None,
    raters: int = 1,
    k: int = 25,
    moved: float | None = None,
    rho: float | None = None,
    card: Path | None = None,
    scale: str | Path | None = None,
    pilot: Path | None = None,
    sd: float | None = None,
    strata: Sequence[str] | None = None,
    floors: Mapping[str, float] | None = None,
    minimum: int = 2,
    least_audited: int = 30,
    control_mean: float | None = None,
    level: float = 0.95,
    power: float = 0.8,
    seed: int = 1,
    out: Path | None = None,
) -> Plan:
    """How many queries to draw, to judge and to audit within a budget, by stratum, and the effect that it can find.

    queries: as `segment` wrote them. people_money, judge_money: of one label. rate: labels that a person gives in an hour.
    moved: share of the 2k results of both arms whose rank differs, the only ones that need a grade (`pairs` counts them;
    all, if not given). rho: correlation of the judge's and people's paired differences; card: take it from there. sd, pilot: as
    `sample`. out: a folder for plan.html and plan.json. More parameters than our seven: it is what a plan depends on.

    Raises: InputError for a budget that is too small (with the least that is enough), costs below 0, rho outside (-1, 1).
    """
    budget = budget if isinstance(budget, planning.Budget) else planning.Budget(**budget)
    if moved is not None and not 0 < moved <= 1:
        raise InputError(f"moved is {moved}: expected the share of the 2 x {k} results whose rank differs, above 0 and up to 1")
    if control_mean is not None and not control_mean > 0:
        raise InputError(f"the control's mean is {control_mean}: an effect relative to it needs a mean above 0")
    asked = {"budget": asdict(budget), "people_money": people_money, "judge_money": judge_money, "rate": rate}
    asked |= {"raters": raters, "k": k, "moved": moved, "rho": rho, "scale": str(scale) if scale else None, "sd": sd}
    asked |= {"strata": None if strata is None else list(strata), "floors": dict(floors or {}), "minimum": minimum}
    asked |= {"least_audited": least_audited, "control_mean": control_mean, "level": level, "power": power, "seed": seed}
    prices = planning.Prices(2 * k * (moved or 1.0), people_money, judge_money, rate, raters)
    table, notes = with_segments(sources.read_queries(queries), strata)
    known, said = _sd(sd, pilot)
    notes += said
    if moved is None:
        notes.append(f"every one of the 2 x {k} results counts as moved: `germane pairs` says how many need a grade (--moved)")
    rho, said = _rho(rho, card, scale)
    notes += said
    how = sampling.Allocation("neyman", known, minimum=minimum, floors=dict(floors or {}))
    frame = sampling.Population.of(table, strata, None, how)
    parts = planning.Strata.of(frame.sizes, frame.sd or [], least=frame.least(), minimum=minimum)
    found = planning.best_choices(parts, budget, prices, rho=rho, least_audited=least_audited)
    curve = planning.curve(parts, budget, prices, rho=rho, least_audited=least_audited)
    sample, audit = planning.allocated(parts, found.best)

    def effect(choice: planning.Choice) -> float:
        return mde(choice.se, level=level, power=power)

    options = _options(found, prices, effect, control_mean)
    rows = zip(frame.names, frame.sizes.tolist(), frame.sd or [], sample.tolist(), audit.tolist(), strict=True)
    axis = next(name for name in ("money", "labels", "hours") if getattr(budget, name) is not None)
    result = Plan(
        queries=int(sample.sum()),
        audited=found.best.audited,
        share=found.best.share,
        mde=effect(found.best),
        relative=None if control_mean is None else effect(found.best) / control_mean,
        options=options,
        strata=tuple(Part(*row) for row in rows),
        curve=tuple(_point(factor, at, effect) for factor, at in curve),
        axis=axis,
        amount=float(getattr(budget, axis)),
        commands=_commands(queries, found.best, strata, pilot, known, floors, minimum, k, seed),
        notes=(*notes, *frame.notes, *_warnings(found, rho, judge_money, budget, int(frame.sizes.sum()))),
        parameters=asked,
    )
    if out is not None:
        write(result, out)
        inputs = [path for path in (queries, pilot, _card_file(card)) if path is not None]
        store.write_manifest(Path(out) / "plan.json", verb="plan", inputs=inputs, parameters=asked, seed=seed)
    return result


def write(plan: Plan, folder: str | Path) -> dict[str, Path]:
    """Writes plan.html and plan.json into a folder, and gives their paths by "html" and "json"."""
    import json

    texts = {"html": page.html(plan), "json": json.dumps(asdict(plan), indent=2, ensure_ascii=False) + "\n"}
    paths = {kind: Path(folder) / f"plan.{kind}" for kind in texts}
    for kind, path in paths.items():
        store.write_text(path, texts[kind])
    return paths


def _sd(sd: float | None, pilot: Path | None) -> tuple[Any, list[str]]:
    if pilot is not None and sd is not None:
        raise InputError("a pilot and one SD for all strata: give one of them")
    if pilot is not None:
        return sampling.read_pilot(pilot), []
    if sd is None:
        said = f"no SD was given: {SD} of every query's difference is assumed; a pilot of 50 queries tells (--pilot, --sd)"
        return SD, [said]
    if not 0 < sd < 10:
        raise InputError(f"an SD of {sd}: expected that of paired differences, above 0, such as {SD}")
    return sd, []


def _card_file(card: Path | None) -> Path | None:
    return card / "card.json" if card is not None and card.is_dir() else card


def _rho(rho: float | None, path: Path | None, scale: str | Path | None) -> tuple[float | None, list[str]]:
    """rho as given, or from a card: of paired differences where it has that, else of gains, from its confusion matrix."""
    if rho is not None and path is not None:
        raise InputError("rho and a judge card that holds it: give one of them")
    if path is None:
        said = "no judge: people grade every query; with a judge's --rho or --card the same budget may see a smaller effect"
        return rho, [] if rho is not None else [said]
    card: JudgeCard = cards.read(path)
    measured = card.agreement.get("difference rho")
    if measured is not None:
        said = f"rho {measured.value:.2f} is the card's, of paired differences ({measured.low:.2f} to {measured.high:.2f})"
        return float(measured.value), [said]
    of = scales.get(card.scale if card.scale in scales.BUILT_IN or scale is None else scale)
    if of.name != card.scale:
        raise InputError(f"the card is on scale {card.scale!r} and --scale is {of.name!r}: give the file of the card's scale")
    gains = of.gains
    found = planning.rho_of_confusion(card.confusion, gains)
    return found, [f"rho {found:.2f} follows from the card's confusion of grades, as if the judge's errors were independent"]


def _options(found: planning.Choices, prices: planning.Prices, effect: Any, mean: float | None) -> tuple[Option, ...]:
    rows = [("with a judge, corrected", "people's", found.best)] if found.best.judged else []
    rows.append(("people only", "people's", found.people_only))
    if found.judge_only is not None:
        rows.append(("judge only", "the judge's", found.judge_only))
    return tuple(_option(name, estimand, choice, prices, effect(choice), mean) for name, estimand, choice in rows)


def _option(
    name: str, estimand: str, choice: planning.Choice, prices: planning.Prices, effect: float, mean: float | None
) -> Option:
    people, judge = round(choice.audited * prices.labels), round(choice.judged * prices.documents)
    money = people * prices.people_money + judge * prices.judge_money
    return Option(
        name,
        estimand,
        choice.judged or choice.audited,
        choice.audited,
        people,
        judge,
        None if prices.rate is None else people / prices.rate,
        money if prices.people_money or prices.judge_money else None,
        effect,
        None if mean is None else effect / mean,
    )


def _point(factor: float, at: planning.Choices, effect: Any) -> Point:
    judge = None if at.judge_only is None else effect(at.judge_only)
    return Point(factor, effect(at.best) if at.best.judged else None, effect(at.people_only), judge)


def _warnings(found: planning.Choices, rho: float | None, judge_money: float, budget: planning.Budget, total: int) -> list[str]:
    notes = []
    if rho is not None and not found.best.judged:
        notes.append(f"at rho {rho:.2f} and these costs the judge does not pay: people alone see the smaller effect")
    if found.best.judged and judge_money == 0 and budget.judge_labels is None:
        notes.append("the judge's labels cost nothing and are not limited, so that it grades every query (--judge-cost)")
    if found.best.audited < MINIMUM_NONZERO:
        notes.append(
            f"not reliable: people grade {found.best.audited} queries, and an interval should rest on {MINIMUM_NONZERO}"
        )
    if found.best.audited == total:
        notes.append("people grade every query of the log: more budget finds nothing more, a longer log does")
    if found.judge_only is not None:
        notes.append("judge only answers another question: no number of queries takes the judge's own error out of it")
    return notes


def _commands(
    queries: Path,
    choice: planning.Choice,
    strata: Sequence[str] | None,
    pilot: Path | None,
    sd: Any,
    floors: Mapping[str, float] | None,
    minimum: int,
    k: int,
    seed: int,
) -> tuple[str, ...]:
    """The `germane sample` that draws the plan's queries, with the same strata, SDs and floors, and then its audit."""
    words = ["germane", "sample", str(queries), "-n", str(choice.judged or choice.audited)]
    if strata is not None:
        words += ["--strata", ",".join(strata) or "none"]
    words += ["--pilot", str(pilot)] if pilot is not None else ["--sd", f"{sd:g}"]
    for name, floor in (floors or {}).items():
        words += ["--floor", f"{name}={floor:g}"]
    if minimum != 2:
        words += ["--minimum", str(minimum)]
    first = shlex.join([*words, "--seed", str(seed), "--out", "design.parquet"])
    if not choice.judged:
        return (first,)
    runs = "--control CONTROL --treatment TREATMENT --queries QUERIES --docs DOCS"
    audit = f"germane sample design.parquet --for audit -n {choice.audited} {runs} -k {k} --seed {seed} --out audit.csv"
    return first, audit
