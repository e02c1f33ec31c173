"""Two runs, judgments and a design to a report: is the treatment more relevant, for which queries, and by how much?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from germane import cards, metrics, store
from germane.experiment import arms, audits, describe, effects, frame, guards, headline, pool, segments, words
from germane.experiment.audits import Audited
from germane.experiment.guards import ALLOW
from germane.stats.means import MINIMUM_NONZERO
from germane.types import Estimate, Input, InputError, JudgeCard, Report, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("germane")

__all__ = ["ALLOW", "Audited", "Choices", "compare"]


MULTIPLE = {
    "bh": "Benjamini-Hochberg",
    "by": "Benjamini-Yekutieli",
    "hierarchical": "Benjamini-Hochberg, inside dimensions whose segments differ,",
}


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
    metric = guards.headline(metrics.Metric.parse(choices.metric), scale)
    allow = guards.known(choices.allow)
    kinds = store.kinds_of(judgments)
    overrides = list(cards.gate(kinds, card, scale=scale, allow=allow & set(cards.ALLOW)))
    overrides += guards.lineage(kinds, card, treatment, control, allow)
    overrides += guards.guide(kinds, scale, allow)
    log.info("pooling both arms", extra={"done": 1, "total": 3})
    both = arms.read(control, treatment, judgments, gains=scale.gains)
    framed = frame.build(both, design, allow | ({"one-armed"} if choices.unpaired else set()))
    about, whole, shown = _shown(both, framed, metric, choices)
    k = metric.k or int(max(shown.control_rank.max(), shown.treatment_rank.max()))
    log.info("measuring", extra={"done": 2, "total": 3})
    judged = pool.judged_of(both, about.queries) if metric.name == "nDCG" else None
    del both  # the rows of both runs and all grades
    linear = pool.linear_parts(metric, scale, k)
    likeliest = effects.per_query(shown, metric, scale, judged, k)
    found = _per_query(shown, likeliest, linear, choices)
    level, least = choices.level, choices.minimum_nonzero
    plain = effects.difference_of(about, found.difference, level=level, minimum_nonzero=least)
    overrides += list(about.overrides) + list(guards.depth(whole, metric.k, (control.name, treatment.name), allow))
    if choices.condensed:
        before = effects.per_query(whole, metric, scale, judged, k)
        unjudged = effects.unjudged_of(about, whole, before, level=level, mode="condensed")
        overrides += guards.condensed(about, shown, plain, metric.k, allow)
    else:
        unjudged = effects.unjudged_of(about, shown, found, level=level, mode=_mode(shown, found))
        overrides += guards.unjudged(about, shown, found, plain, unjudged, allow)
    if audit is None:
        head = headline.of(about, shown, found, plain, design, choices)
    else:
        answers, insisted = audits.read(about, shown, audit, gains=_gains(linear, metric), card=card, allow=allow)
        overrides += insisted
        head = headline.corrected(about, shown, found, answers, linear, choices)
    beside = headline.other_gains(about, shown, found, likeliest, linear, choices)
    delta, by_people = head.delta, _all_human(kinds)
    lift = effects.lift_of(about, found, level=level) if delta is plain else None
    judges = _judges(kinds)
    winners, losers = describe.extremes(about, shown, found, queries, docs)
    warnings = guards.warnings_of(judges, by_people, _simulated(control, treatment), card, delta, head.audit)
    warnings += guards.ties((control.name, treatment.name), whole.ties)
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
        metric=str(metric),
        k=k,
        scale=scale.name,
        labels=scale.labels,
        judge=judges,
        by_people=by_people,
        card=card,
        control_name=control.name,
        treatment_name=treatment.name,
        control=_level(about, found, found.control, level),
        treatment=_level(about, found, found.treatment, level),
        delta=delta,
        lift=lift,
        mde=words.mde_of(delta),
        tipping_bias=words.tipping_bias(head.audit.judge_only if head.audit else delta),
        warnings=(*warnings, *words.unjudged_warning(unjudged), *about.warnings, *guards.guide_notes(kinds, scale)),
        overrides=tuple(overrides),
        by_segment=parts.effects,
        interactions=parts.interactions,
        unjudged=unjudged,
        grades=describe.grades(about, shown, scale, level=level),
        differences=describe.histogram(found.difference),
        winners=winners,
        losers=losers,
        exposure=_exposure(about, shown, docs, choices),
        variance=describe.variance(about, shown, found, None if linear is None else linear[1]),
        design=about.design,
        notes=(*about.notes, *head.notes),
        inputs=inputs,
        parameters=_parameters(choices, str(metric)),
        version=_version(),
        audit=head.audit,
        alternatives=(*head.alternatives, *beside),
        calibration=head.calibration,
    )


def _shown(
    both: arms.Arms, about: frame.Frame, metric: metrics.Metric, choices: Choices
) -> tuple[frame.Frame, pool.Pool, pool.Pool]:
    """The frame, its pool, and the pool to measure on: the same, or condensed.

    Condensed lists say nothing of a query without judged documents: it is left out of all three.
    """
    whole = pool.build(both, about.queries, k=metric.k)
    if not len(whole.query):
        raise InputError("neither run shows a document for any query of the experiment: are these runs of the same queries?")
    if not choices.condensed:
        return about, whole, whole
    guards.worth_condensing(whole)
    keep = (whole.per_query(~whole.unjudged) > 0) | (np.diff(whole.offsets) == 0)
    about = frame.restrict(about, keep, "none of their documents is judged, so a condensed list says nothing.")
    if not keep.all():
        whole = pool.build(both, about.queries, k=metric.k)
    closed = pool.build(both, about.queries, k=metric.k, condensed=True)
    short = words.short_lists(closed.shown("control"), closed.shown("treatment"), metric.k)
    return replace(about, warnings=(*about.warnings, *short)), whole, closed


def _level(about: frame.Frame, found: effects.PerQuery, values: pool.Floats, level: float) -> Estimate:
    """An arm's level; where documents are unjudged it is a least value, and says so."""
    estimate = effects.level_of(about, values, level=level)
    return estimate if found.level_known else replace(estimate, caveat="at least: unjudged documents count as not relevant")


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
    if choices.multiple not in MULTIPLE:
        raise InputError(f"multiple {choices.multiple!r}: expected one of {', '.join(MULTIPLE)}")
    asked = headline.one_at_a_time(choices, audit=audited)
    if asked in ("unpaired", "audit") and choices.condensed:
        raise InputError(f"condensed lists and {asked} do not go together: have the missing documents judged")


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


def _per_query(
    shown: pool.Pool, likeliest: effects.PerQuery, linear: tuple[pool.Floats, pool.Floats] | None, choices: Choices
) -> effects.PerQuery:
    """The metric per query by the judge's likeliest grades, or by its expected gains where the user asks for these."""
    if not choices.expected:
        return likeliest
    found = None if linear is None else headline.expected_of(shown, likeliest, linear[0])
    if found is None:
        why = "the metric is no sum over ranks" if linear is None else "not every judgment has probabilities"
        raise InputError(f"expected gains cannot be computed: {why}; leave --expected out")
    return found


def _mode(shown: pool.Pool, found: effects.PerQuery) -> str:
    if not shown.unjudged.any():
        return "complete"
    return "as zero" if found.can_change.any() else "complete where it counts"


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
        "multiple comparisons": f"{MULTIPLE[choices.multiple]} over all segments of all dimensions",
    }


def _version() -> str:
    from germane import __version__

    return __version__
