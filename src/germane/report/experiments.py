"""An experiment of the registry as it is shown: by the command line, by a page, and as JSON, from one set of values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from germane.experiment.guardrail import PASSES, UNKNOWN
from germane.experiment.words import insisted
from germane.report import looks as words
from germane.report.words import signed
from germane.stats.means import limits
from germane.types import Estimate

if TYPE_CHECKING:
    from germane.registry.experimenting import Decision, Found, Look


@dataclass(frozen=True)
class LookView:
    """A look. estimate: over all batches so far, its ends null where there is no interval yet; caveat says why. passes: the
    guardrail. batch: its own queries alone, with an interval for one look at it. distinct: queries of all batches, each once.
    overrides: refusals that it insisted past; overridden: the flags of these and of all looks before. verdict_says: with them.
    """

    number: int
    at: str
    estimate: Estimate
    caveat: str
    verdict: str
    verdict_says: str
    passes: bool
    batch: Estimate
    control: Estimate | None
    repeated: int
    note: str
    warnings: list[str]
    overrides: list[str]
    overridden: list[str]
    inputs: list[dict[str, Any]]
    actor: str


@dataclass(frozen=True)
class DecisionView:
    """A decision. says: it in words. look: the last one when it was taken, 0 for none; verdict: of the guardrail at that."""

    number: int
    kind: str
    says: str
    by: str
    why: str
    look: int
    verdict: str
    at: str
    actor: str


@dataclass(frozen=True)
class ExperimentRow:
    """An experiment in a list. state: running, shipped or stopped. estimate: of the last look, null before the first.

    overrides: flags of the refusals that any look insisted past. verdict_says: the verdict with them.
    """

    name: str
    question: str
    state: str
    metric: str
    margin: str
    looks: int
    estimate: Estimate | None
    caveat: str
    verdict: str
    verdict_says: str
    overrides: list[str]
    decision: DecisionView | None
    owner: str
    opened: str
    last_look: str


@dataclass(frozen=True)
class Experiment:
    """An experiment with all its looks and decisions. says, guardrail: the last look in words.

    margin: in units of the metric, or, if relative, a share of the control's level; margin_now: in units of the metric, by the
    level so far, null before the first look. first_pass: the first look at which the guardrail passed, null for none.
    overrides: flags of the refusals that any look insisted past.
    """

    name: str
    question: str
    state: str
    control: str
    treatment: str
    metric: str
    scale: str
    guide_version: str
    judge: str
    fingerprint: str
    card: str
    card_says: str
    population: str
    unit: str
    margin: float
    relative: bool
    margin_says: str
    margin_now: float | None
    level: float
    intended: int
    planned: int | None
    mde: float | None
    owner: str
    opened: str
    opened_by: str
    estimate: Estimate | None
    verdict: str
    passes: bool
    overrides: list[str]
    first_pass: int | None
    says: str
    guardrail: str
    looks: list[LookView]
    decisions: list[DecisionView]
    notes: list[str]


def row(found: Found) -> ExperimentRow:
    """An experiment in a list."""
    t, last = found.terms, found.looks[-1] if found.looks else None
    return ExperimentRow(
        name=t.name,
        question=t.question,
        state=found.state,
        metric=t.metric,
        margin=words.margin_words(t.margin, t.relative),
        looks=last.number if last else 0,
        estimate=last.estimate if last else None,
        caveat=last.caveat if last else "no look yet",
        verdict=last.verdict if last else UNKNOWN,
        verdict_says=_verdict(last) if last else UNKNOWN,
        overrides=_overridden(last) if last else [],
        decision=_decision(found.decisions[-1]) if found.decisions else None,
        owner=t.owner,
        opened=f"{found.at:%Y-%m-%d}",
        last_look=f"{last.at:%Y-%m-%d}" if last else "",
    )


def view(found: Found) -> Experiment:
    """An experiment with all that is known of it."""
    t, seen = found.terms, found.looks
    last = seen[-1] if seen else None
    now = margin_now(found)
    named = {name: getattr(t, name) for name in ("name", "question", "control", "treatment", "metric", "scale", "card")}
    named |= {name: getattr(t, name) for name in ("guide_version", "judge", "fingerprint", "population", "unit", "owner")}
    named |= {name: getattr(t, name) for name in ("margin", "relative", "level", "intended", "planned", "mde")}
    verdict = last.verdict if last else UNKNOWN
    return Experiment(
        **named,
        state=found.state,
        card_says=str(t.terms.get("card_says") or ""),
        margin_says=words.margin_words(t.margin, t.relative),
        margin_now=now,
        opened=f"{found.at:%Y-%m-%d %H:%M} UTC",
        opened_by=found.actor,
        estimate=last.estimate if last else None,
        verdict=verdict,
        passes=verdict in PASSES,
        overrides=_overridden(last) if last else [],
        first_pass=next((each.number for each in seen if each.verdict in PASSES), None),
        says=words.estimate_words(t.metric, last.estimate, last.caveat, len(seen)) if last else "No look yet.",
        guardrail=words.verdict_words(verdict, last.estimate, t.margin, t.relative, len(_overridden(last)))
        if last
        else "Not known yet: no look was taken.",
        looks=[_look(each, t.level) for each in seen],
        decisions=[_decision(each) for each in found.decisions],
        notes=_notes(found),
    )


def margin_now(found: Found) -> float | None:
    """The margin in units of the metric; a relative one by the control's level over all batches, None before the first."""
    t = found.terms
    if not t.relative:
        return t.margin
    known = [(each.batch[0], each.facts["control"]["value"]) for each in found.looks]
    return t.margin * sum(n * value for n, value in known) / sum(n for n, _ in known) if known else None


def lines(e: Experiment) -> list[str]:
    """An experiment for a terminal."""
    facts = {
        "question": e.question,
        "state": e.state,
        "arms": f"{e.control} (control), {e.treatment} (treatment)",
        "metric": f"{e.metric}, scale {e.scale}",
        "population": f"{e.population}; {'each query counts once' if e.unit == 'queries' else 'a query counts by its traffic'}",
        "judge": e.judge + (f", fingerprint {e.fingerprint}, card {e.card}" if e.fingerprint else ""),
        "margin": e.margin_says,
        "owner": f"{e.owner}, opened {e.opened}",
        "so far": e.says,
        "guardrail": e.guardrail,
    }
    made = [f"{name}: {value}" for name, value in facts.items()]
    for each in e.looks:
        x = each.estimate
        ends = f"{signed(x.low)} to {signed(x.high)}" if math.isfinite(x.low) else "no interval yet"
        made.append(f"look {each.number}, {each.at[:10]}: {signed(x.value)} ({ends}; n {x.n:,}): {each.verdict_says}")
    at = {each.number: each.verdict_says for each in e.looks}
    for d in e.decisions:
        held = at.get(d.look, "no look")
        made.append(f"decision {d.number}, {d.at[:10]}: {d.says}, by {d.by} at look {d.look} ({held}): {d.why}")
    return [*made, *(f"! {note}" for note in e.notes)]


def _look(each: Look, level: float) -> LookView:
    n, value, se = each.batch
    alone = limits(Estimate(value, se, value, value, n, "this batch alone, by t, for one look", level, max(n - 1.0, 1.0)))
    said = each.facts.get("control")
    control = Estimate(**said) if said else None
    return LookView(
        number=each.number,
        at=f"{each.at:%Y-%m-%d %H:%M} UTC",
        estimate=each.estimate,
        caveat=each.caveat,
        verdict=each.verdict,
        verdict_says=_verdict(each),
        passes=each.verdict in PASSES,
        batch=replace(alone, df=None),
        control=control,
        repeated=int(each.facts.get("repeated", 0)),
        note=str(each.facts.get("note", "")),
        warnings=[str(x) for x in each.facts.get("warnings", ())],
        overrides=[str(x) for x in each.facts.get("overrides", ())],
        overridden=_overridden(each),
        inputs=[dict(x) for x in each.facts.get("inputs", ())],
        actor=each.actor,
    )


def _overridden(each: Look) -> list[str]:
    return [str(x) for x in each.facts.get("overridden", ())]


def _verdict(each: Look) -> str:
    return insisted(len(_overridden(each))) + each.verdict


def _decision(d: Decision) -> DecisionView:
    says = words.DECIDED[d.kind]
    return DecisionView(d.number, d.kind, says, d.by, d.why, d.look, d.verdict, f"{d.at:%Y-%m-%d %H:%M} UTC", d.actor)


def _notes(found: Found) -> list[str]:
    """What a reader must know beside the verdict."""
    made = []
    if found.looks and (planned := found.terms.planned) and found.looks[-1].estimate.n >= planned:
        made.append(f"the {planned:,} queries that were planned are reached")
    shipped = [d for d in found.decisions if d.kind == "ship" and d.verdict not in PASSES]
    made += [
        f"decision {d.number} was to ship although the guardrail had not passed ({d.verdict or 'no look'})" for d in shipped
    ]
    if found.looks and (repeated := int(found.looks[-1].facts.get("repeated", 0))):
        made.append(f"queries that come in several looks count as one each ({repeated:,} repeats so far)")
    passed = [each.number for each in found.looks if each.verdict in PASSES]
    if passed and found.looks[-1].verdict not in PASSES:
        made.append(
            f"the guardrail passed at look {passed[0]} and does not at the last one: the interval moved, so ask whether the "
            "effect is the same as then"
        )
    overridden = sum(bool(each.facts.get("overrides")) for each in found.looks)
    made += [f"{overridden} of {len(found.looks)} looks insisted past a refusal: the table says which"] if overridden else []
    return made
