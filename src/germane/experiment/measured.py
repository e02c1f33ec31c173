"""What is measured before anything is estimated: queries, both arms' documents with their grades, each query's metric."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from germane import cards, metrics, store
from germane.experiment import arms, effects, frame, guards, headline, pool, words
from germane.types import Estimate, InputError, JudgeCard, Refusal, Run, Scale, Unjudged

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.experiment import Choices

log = logging.getLogger("germane")


@dataclass(frozen=True)
class Measured:
    """about: the queries and what they stand for. whole: their pool; shown: the same, or condensed. found: the metric of each
    query, by the gains that were asked for; likeliest: by the likeliest grades. linear: weight of each rank and gain of
    each relevance, None for a metric that is no sum. plain: the stratified paired difference. kinds: who judged.
    """

    about: frame.Frame
    whole: pool.Pool
    shown: pool.Pool
    found: effects.PerQuery
    likeliest: effects.PerQuery
    linear: tuple[pool.Floats, pool.Floats] | None
    metric: metrics.Metric
    k: int
    plain: Estimate
    unjudged: Unjudged
    kinds: pa.Table
    overrides: tuple[str, ...]


def measure(
    control: Run,
    treatment: Run,
    judgments: pa.Table,
    *,
    scale: Scale,
    choices: Choices,
    design: pa.Table | None = None,
    card: JudgeCard | None = None,
    audited: bool = False,
) -> Measured:
    """Both arms on the same queries, under every refusal that does not need an estimate of another kind.

    audited: people corrected the judge inside this experiment.

    Raises: Refusal where a number could be wrong and look right, naming the flag that insists; InputError for bad input.
    """
    metric = guards.headline(metrics.Metric.parse(choices.metric), scale)
    allow = guards.known(choices.allow)
    kinds = store.kinds_of(judgments)
    overrides = list(cards.gate(kinds, card, scale=scale, allow=allow & set(cards.ALLOW)))
    overrides += guards.lineage(kinds, card, treatment, control, allow, audited=audited)
    overrides += guards.guide(kinds, scale, allow)
    log.info("pooling both arms", extra={"done": 1, "total": 3})
    gains = pool.linear_parts(metric, scale, metric.k or 1)
    both = arms.read(control, treatment, judgments, gains=scale.gains if gains is None else gains[1].tolist())
    failed = {str(lost["query_id"]) for run in (control, treatment) for lost in run.origin.get("failed", ())}
    framed = frame.build(both, design, allow, paired=not choices.unpaired, failed=failed)
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
    overrides += guards.learned_strata(about, found, allow)
    overrides += list(about.overrides) + list(guards.depth(whole, metric.k, (control.name, treatment.name), allow))
    if choices.unpaired:
        unjudged = effects.unjudged_of(about, shown, found, level=level, mode=_mode(shown, found))
        overrides += _unpaired(shown, allow)
    elif choices.condensed:
        before = effects.per_query(whole, metric, scale, judged, k)
        unjudged = effects.unjudged_of(about, whole, before, level=level, mode="condensed")
        overrides += guards.condensed(about, shown, plain, metric.k, allow)
    else:
        unjudged = effects.unjudged_of(about, shown, found, level=level, mode=_mode(shown, found))
        overrides += guards.unjudged(about, shown, found, plain, unjudged, allow)
    return Measured(about, whole, shown, found, likeliest, linear, metric, k, plain, unjudged, kinds, tuple(overrides))


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


def _unpaired(shown: pool.Pool, allow: frozenset[str]) -> list[str]:
    """Overrides needed because unjudged documents of two live arms cannot cancel in pairs.

    Raises: Refusal `--allow unjudged`.
    """
    missing = int(shown.unjudged.sum())
    if not missing:
        return []
    said = f"{missing} documents shown have no grade, and in unpaired arms none of them cancels."
    if "unjudged" not in allow:
        raise Refusal(f"{said} Have them judged.", "--allow unjudged, which counts them as not relevant")
    return [f"--allow unjudged: {said} They are counted as not relevant."]
