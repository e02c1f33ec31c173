"""Two runs, judgments and a design to a report: is the treatment more relevant, for which queries, and by how much?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from germane import cards, metrics
from germane.experiment import audits, describe, effects, frame, guards, headline, pool, segments, words
from germane.experiment.audits import Audited
from germane.experiment.guards import ALLOW
from germane.experiment.measured import Measured, measure
from germane.stats.means import MINIMUM_NONZERO
from germane.types import Estimate, Input, InputError, JudgeCard, Report, Run, Scale, VarianceParts

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("germane")

__all__ = ["ALLOW", "Audited", "Choices", "compare"]


@dataclass(frozen=True)
class Choices:
    """What the user decided about a comparison, all of it printed in the report.

    condensed: leave unjudged documents out of both lists. allow: refusals to insist past, names of `ALLOW`.
    groups: the column of the documents whose exposure is shown. minimum_nonzero: fewer nonzero differences than this and
    an estimate is called not reliable. by: "queries" (each counts once) or "traffic", "" = as the design was drawn. adjust: a
    column of the design, known before, that the difference is regressed on. clusters: a column of the design that says
    which queries belong together. unpaired: two live arms that each answered their own queries. poststratified: the design's
    strata were made after a simple random draw. expected: the judge's expected gains instead of its likeliest grades.
    multiple: how p-values of segments are adjusted: "bh", "by" or "hierarchical" (a dimension must differ inside first).
    finite: the target is the log's own queries, not queries to come; off, since a decision is about the latter.
    """

    metric: str = "sDCG@25"
    level: float = 0.95
    condensed: bool = False
    allow: Sequence[str] = ()
    groups: str | None = None
    question: str | None = None
    minimum_nonzero: int = MINIMUM_NONZERO
    by: str = ""
    adjust: str | None = None
    clusters: str | None = None
    unpaired: bool = False
    poststratified: bool = False
    expected: bool = False
    multiple: str = "bh"
    finite: bool = False


def compare(
    control: Run,
    treatment: Run,
    judgments: pa.Table,
    *,
    scale: Scale,
    choices: Choices = Choices(),
    design: pa.Table | None = None,
    queries: pa.Table | None = None,
    docs: pa.Table | None = None,
    card: JudgeCard | None = None,
    audit: Audited | None = None,
    inputs: tuple[Input, ...] = (),
) -> Report:
    """The report on the same queries ranked twice, in units of the metric; `delta` is treatment minus control.

    audit: people's blind sample of this experiment's documents; with one, delta is people's, and the judge only helps.
    design: the sampled queries with stratum, population and inclusion probability; without one the judged queries count
    as a simple random sample, and the report says so. queries, docs: for texts and titles of the lists that are shown.

    Raises: Refusal where a number could be wrong and look right, naming the flag that insists; InputError for bad input.
    """
    _check(choices, audit is not None)
    m = measure(
        control, treatment, judgments, scale=scale, choices=choices, design=design, card=card, audited=audit is not None
    )
    about, shown, found, level, overrides = m.about, m.shown, m.found, choices.level, list(m.overrides)
    if audit is None:
        head = headline.of(about, shown, found, m.plain, design, choices)
    else:
        answers, insisted = audits.read(
            about,
            shown,
            audit,
            gains=_gains(m.linear, m.metric),
            card=card,
            allow=guards.known(choices.allow),
            expected=choices.expected,
            kinds=m.kinds,
        )
        overrides += insisted
        head = headline.corrected(about, shown, found, answers, m.linear, choices)
    beside = headline.other_gains(about, shown, found, m.likeliest, m.linear, choices)
    delta, by_people = head.delta, _all_human(m.kinds)
    lift = effects.lift_of(about, found, level=level) if delta is m.plain else None
    judges = _judges(m.kinds)
    winners, losers = ((), ()) if choices.unpaired else describe.extremes(about, shown, found, queries, docs)
    levels = head.levels or tuple(effects.level_of(about, arm, level=level) for arm in (found.control, found.treatment))
    control_level, treatment_level = (_level(found, estimate, audited=head.audit is not None) for estimate in levels)
    warnings = guards.warnings_of(judges, by_people, _simulated(control, treatment), card, delta, head.audit)
    warnings += guards.ties((control.name, treatment.name), m.whole.ties)
    if audit is not None:
        warnings += guards.kinship_notes(m.kinds, card, treatment, control)
    parts = segments.Parts() if choices.unpaired else _segments(about, found, choices)
    return Report(
        question=choices.question or f"Is {treatment.name} more relevant than {control.name}?",
        answer=words.answer(
            delta,
            lift,
            choices.metric.strip(),
            (control.name, treatment.name),
            head.over or about.design,
            overrides,
            words.source(by_people, head.audit),
        ),
        verdict=words.verdict_of(delta),
        metric=str(m.metric),
        k=m.k,
        scale=scale.name,
        labels=scale.labels,
        judge=judges,
        by_people=by_people,
        card=card,
        control_name=control.name,
        treatment_name=treatment.name,
        control=control_level,
        treatment=treatment_level,
        delta=delta,
        lift=lift,
        mde=words.mde_of(delta),
        tipping_bias=words.tipping_bias(head.audit.judge_only if head.audit else delta),
        warnings=(*warnings, *words.unjudged_warning(m.unjudged), *about.warnings, *guards.guide_notes(m.kinds, scale)),
        overrides=tuple(overrides),
        by_segment=parts.effects,
        interactions=parts.interactions,
        unjudged=m.unjudged,
        grades=() if choices.unpaired else describe.grades(about, shown, scale, level=level),
        differences=None if choices.unpaired else describe.histogram(found.difference),
        winners=winners,
        losers=losers,
        exposure=() if choices.unpaired else _exposure(about, shown, docs, choices),
        variance=_variance(m) if not choices.unpaired else None,
        design=about.design,
        notes=(*about.notes, *head.notes),
        inputs=inputs,
        parameters=_parameters(choices, str(m.metric)),
        version=_version(),
        audit=head.audit,
        alternatives=(*head.alternatives, *beside),
        calibration=head.calibration,
    )


def _level(found: effects.PerQuery, estimate: Estimate, *, audited: bool) -> Estimate:
    """An arm's level; it says so where documents are unjudged (a least value), and where only the difference is audited."""
    if not found.level_known:
        return replace(estimate, caveat="at least: unjudged documents count as not relevant")
    return replace(estimate, caveat="by the judge, not corrected") if audited else estimate


def _exposure(about: frame.Frame, shown: pool.Pool, docs: pa.Table | None, choices: Choices) -> tuple[Any, ...]:
    if choices.groups is None:
        return ()
    if docs is None:
        raise InputError(f"--groups {choices.groups} needs the documents: pass them with --docs")
    return describe.exposure(about, shown, docs, choices.groups, level=choices.level)


def _check(choices: Choices, audited: bool) -> None:
    """Raises: InputError for choices that are unknown or exclude each other."""
    if not 0 < choices.level < 1:
        raise InputError(f"level {choices.level:g} is not between 0 and 1: pass 0.95 for a 95 % interval")
    if choices.by not in ("", "queries", "traffic"):
        raise InputError(f"by {choices.by!r}: expected queries (each counts once) or traffic")
    if choices.multiple not in segments.MULTIPLE:
        raise InputError(f"multiple {choices.multiple!r}: expected one of {', '.join(segments.MULTIPLE)}")
    asked = headline.one_at_a_time(choices, audit=audited)
    if asked in ("unpaired", "audit") and choices.condensed:
        raise InputError(f"condensed lists and {asked} do not go together: have the missing documents judged")


def _variance(m: Measured) -> VarianceParts:
    return describe.variance(m.about, m.shown, m.found, None if m.linear is None else m.linear[1])


def _segments(about: frame.Frame, found: effects.PerQuery, choices: Choices) -> segments.Parts:
    least = choices.minimum_nonzero
    return segments.segments(about, found, level=choices.level, minimum_nonzero=least, multiple=choices.multiple)


def _gains(linear: tuple[pool.Floats, pool.Floats] | None, metric: metrics.Metric) -> pool.Floats:
    """The gain of each relevance. Raises: InputError for a metric that is no sum over documents."""
    if linear is None:
        raise InputError(
            f"{metric} is no sum over documents, so neither an audit nor expected gains fit it: compare by sDCG or P"
        )
    return linear[1]


def _judges(judgments: pa.Table) -> str:
    import pyarrow.compute as pc

    return ", ".join(sorted(str(name) for name in pc.unique(judgments["judge"]).to_pylist()))


def _all_human(judgments: pa.Table) -> bool:
    pairs = judgments.select(["judge", "fingerprint"]).group_by(["judge", "fingerprint"]).aggregate([]).to_pylist()
    return all(cards.is_human(row["judge"] or "", row["fingerprint"] or "") for row in pairs)


def _simulated(control: Run, treatment: Run) -> bool:
    return any(bool(run.origin.get("simulated")) for run in (control, treatment))


def _parameters(choices: Choices, metric: str) -> dict[str, Any]:
    return {
        "metric": metric,
        "level": choices.level,
        "condensed": choices.condensed,
        "allow": sorted(choices.allow),
        "groups": choices.groups,
        "minimum_nonzero": choices.minimum_nonzero,
        "estimand": (choices.by or "as drawn")
        + (", unpaired" if choices.unpaired else "")
        + (", finite" if choices.finite else ""),
        "gains": "expected" if choices.expected else "of the likeliest grade",
        "adjust": choices.adjust,
        "clusters": choices.clusters,
        "multiple comparisons": segments.MULTIPLE[choices.multiple],
    }


def _version() -> str:
    from germane import __version__

    return __version__
