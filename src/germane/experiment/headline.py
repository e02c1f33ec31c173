"""The headline: which estimator answers the question, and the same question answered otherwise, to be read beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from germane.experiment import audits
from germane.experiment.audits import Answers
from germane.experiment.effects import PerQuery, difference_of, moments
from germane.experiment.frame import Frame, Names
from germane.experiment.pool import Floats, Pool
from germane.sampling import UNIT
from germane.stats.adjustment import adjusted
from germane.stats.arms import join_loss, unpaired_difference
from germane.stats.clusters import clustered_difference, poststratified_difference
from germane.stats.means import stratified_difference, stratified_mean
from germane.stats.moments import Moments
from germane.stats.ratios import weighted_mean
from germane.stats.traffic import traffic_difference
from germane.types import Alternative, Audit, Calibration, Design, Estimate, InputError, Stratum

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.experiment import Choices

Parts = tuple[Floats, Floats]  # weight of each rank, gain of each relevance

MINIMUM_EVEN = 100
"""A sample drawn for another estimand must weigh like so many equal queries.

Source: our simulation on the marketplace, drawn by queries and read by traffic: intervals hold the truth in 77 % at 39 equal
queries, 91 % at 66, 97 % from 100 on. An effect that grows with traffic is held in 92 to 94 % there: draw by traffic.
"""

OUTCOME = 0.01
"""A covariate that leaves less than this part of the variance is the outcome itself."""

FAR = 6.0
"""Standard errors between a covariate's means in sample and population, above which one of them is wrong."""

BUCKETS = ((1, 3), (4, 10), (11, 1000))
"""Ranks whose gains are compared with people's together."""

UNITS = {"queries": UNIT, "traffic": "searches"}

EXCLUSIVE = ("by", "adjust", "clusters", "unpaired", "post-stratification", "audit")
"""Each of these is another estimator of delta: one at a time."""


@dataclass(frozen=True)
class Headline:
    """delta: what answers the question. alternatives: beside it. notes: what was done that a reader must know."""

    delta: Estimate
    alternatives: tuple[Alternative, ...] = ()
    notes: tuple[str, ...] = ()
    audit: Audit | None = None
    calibration: tuple[Calibration, ...] = ()
    over: Design | None = None  # what delta stands for, where that is not what the design was drawn for
    levels: tuple[Estimate, Estimate] | None = None  # of unpaired arms, each over the queries that it answered


def of(about: Frame, shown: Pool, found: PerQuery, plain: Estimate, design: pa.Table | None, choices: Choices) -> Headline:
    """The estimate that the choices ask for; `plain`, the stratified paired difference of distinct queries, stands beside it.

    Raises: InputError for a column that the design lacks, values that are missing in it, and two estimators at once.
    """
    asked = one_at_a_time(choices)
    if about.design.unit not in ("queries", UNIT) and (asked in ("adjust", "post-stratification") or choices.finite):
        raise InputError(
            f"this design was drawn by {about.design.unit}: {asked or '--finite'} is for one that was drawn by distinct queries"
        )
    common: dict[str, Any] = {"strata": about.strata, "level": choices.level, "lone": "borrow"}
    common["minimum_nonzero"] = choices.minimum_nonzero
    values = found.difference
    if asked == "by":
        return _by(about, found, plain, design, choices)
    if asked == "adjust":
        return _adjusted(about, values, design, choices, common)
    if asked == "unpaired":
        return unpaired(about, shown, found, choices)
    if asked == "clusters":
        (clusters,) = _columns(about, design, [str(choices.clusters)], "--clusters").values()
        delta = clustered_difference(values, populations=about.populations, clusters=clusters, **common)
        return Headline(delta, (Alternative("as if queries were independent", plain),))
    if asked == "post-stratification":
        delta = poststratified_difference(
            values, about.strata, about.populations, **{k: common[k] for k in common if k != "strata"}
        )
        return Headline(delta, (Alternative("without post-stratification", _unweighted(about, values, choices)),))
    if choices.finite:
        return _finite(about, values, plain, choices)
    return Headline(plain)


def _finite(about: Frame, values: Floats, plain: Estimate, choices: Choices) -> Headline:
    """The difference over exactly the queries that the design stands for: what was judged is not in doubt."""
    parts, sizes = moments(values, about.strata), about.populations
    if any(m.n > sizes[name] for name, m in parts.items()) or about.design.origin.endswith("(assumed: no design was given)"):
        raise InputError("--finite needs a design that says how many queries there are: pass --design")
    delta = stratified_difference(
        parts, sizes, level=choices.level, minimum_nonzero=choices.minimum_nonzero, lone="borrow", finite=True
    )
    note = "a decision about search is about these: the headline is about the log's queries and no others"
    return Headline(delta, (Alternative("for queries to come", plain, note),))


def one_at_a_time(choices: Choices, *, audit: bool = False) -> str:
    """Which of `EXCLUSIVE` is asked for, "" if none. Raises: InputError for two at once."""
    given = (bool(choices.by), bool(choices.adjust), bool(choices.clusters), choices.unpaired, choices.poststratified, audit)
    asked = [name for name, yes in zip(EXCLUSIVE, given, strict=True) if yes]
    if choices.finite and asked:
        raise InputError(f"--finite goes with the plain difference, not with {asked[0]}")
    if len(asked) > 1:
        raise InputError(f"{asked[0]} and {asked[1]} are two estimators of the same difference: ask for one at a time")
    return asked[0] if asked else ""


def corrected(about: Frame, shown: Pool, found: PerQuery, answers: Answers, linear: Parts | None, choices: Choices) -> Headline:
    """People's paired difference, the judge used as far as it helps; what either would have said alone stands beside it."""
    if linear is None:
        raise InputError("the metric is no sum over documents, so an audit cannot correct it: compare by sDCG or P")
    done, audit = audits.correct(
        about, shown, found, answers, weights=linear[0], level=choices.level, minimum_nonzero=choices.minimum_nonzero
    )
    beside = (
        Alternative("by the judge alone", done.judge_only, "its errors are not in the interval"),
        Alternative("by people alone", done.people_only, _audited(audit)),
    )
    notes = (*audit.notes, "Segments, grades and levels are the judge's own; the audit corrects the overall difference.")
    return Headline(done.estimate, beside, notes, audit, calibrated(about, shown, answers, choices))


def _audited(audit: Audit) -> str:
    """What people's own estimate rests on."""
    known = ", and those in which nothing moved" if audit.unit == "queries" else ""
    return f"the {audit.audited:,} {audit.unit} of the audit{known}"


def calibrated(about: Frame, shown: Pool, answers: Answers, choices: Choices) -> tuple[Calibration, ...]:
    """The judge's gains against people's, in each arm and bucket of ranks, over the audited documents (those that moved).

    Each document stands for 1 / chance of its kind in this experiment, and its query for its part of the population.
    """
    per_query = _stands_for(about)
    rows = []
    for arm, ranks in (("control", shown.control_rank), ("treatment", shown.treatment_rank)):
        for low, high in BUCKETS:
            inside = (ranks[answers.row] >= low) & (ranks[answers.row] <= high) & answers.answered
            query = answers.query[inside]
            if len(set(query.tolist())) < 2:
                continue
            weights = per_query[query] / answers.chance[inside]
            judge, people = answers.judge[inside], answers.people[inside]
            gains, said, gap = (
                weighted_mean(x, weights, clusters=query, level=choices.level, method="audited documents")
                for x in (judge, people, judge - people)
            )
            rows.append(Calibration(arm, f"{low}-{high}", gains, said, gap, int(inside.sum())))
    return tuple(rows)


def _stands_for(about: Frame) -> Floats:
    """(Q,) the number of queries of the population that each sampled one stands for."""
    names, code, counts = np.unique(about.strata.astype(str), return_inverse=True, return_counts=True)
    each = np.array([about.populations[str(name)] for name in names], dtype=np.float64) / counts
    return np.asarray(each[code])


def other_gains(
    about: Frame, shown: Pool, found: PerQuery, likeliest: PerQuery, linear: Parts | None, choices: Choices
) -> tuple[Alternative, ...]:
    """The judge's own difference by the other kind of gains than the headline's, where it gave probabilities."""
    other = likeliest if choices.expected else None if linear is None else expected_of(shown, found, linear[0])
    if other is None or choices.unpaired:
        return ()
    delta = difference_of(about, other.difference, level=choices.level, minimum_nonzero=choices.minimum_nonzero)
    if choices.expected:
        return (Alternative("by the judge's likeliest grades", delta, "argmax; blunt where it is unsure"),)
    return (Alternative("by the judge's expected gains", delta, "unbiased only if its probabilities are calibrated"),)


def expected_of(shown: Pool, found: PerQuery, weights: Floats) -> PerQuery | None:
    """The same per query with the judge's expected gains instead of its likeliest grades; None without probabilities."""
    expected = shown.expected
    if expected is None:
        return None
    arms = [shown.per_query(weights[ranks] * expected) for ranks in (shown.control_rank, shown.treatment_rank)]
    weight = weights[shown.treatment_rank] - weights[shown.control_rank]
    difference = shown.per_query(weight * expected)
    difference = np.where(np.abs(difference) < 1e-12, 0.0, difference)
    shift = difference - found.difference
    return replace(
        found, control=arms[0], treatment=arms[1], difference=difference, low=found.low + shift, high=found.high + shift
    )


def unpaired(about: Frame, shown: Pool, found: PerQuery, choices: Choices) -> Headline:
    """Two live arms that each answered their own queries, compared as two samples; and what joining them would lose."""
    answered = [shown.per_query(ranks > 0) > 0 for ranks in (shown.control_rank, shown.treatment_rank)]
    for name, arm in zip(("control", "treatment"), answered, strict=True):
        if arm.sum() < 2:
            raise InputError(f"the {name} answered {int(arm.sum())} queries: 2 are the least for an interval")
    control, treatment = answered
    both = control & treatment
    delta = unpaired_difference(
        found.control[control],
        found.treatment[treatment],
        strata_control=about.strata[control],
        strata_treatment=about.strata[treatment],
        populations=about.populations,
        level=choices.level,
        lone="borrow",
    )
    first, second = (
        stratified_mean(moments(values[arm], about.strata[arm]), about.populations, level=choices.level, lone="borrow")
        for values, arm in ((found.control, control), (found.treatment, treatment))
    )
    loss = join_loss(about.strata[control & ~treatment], about.strata[treatment & ~control], about.strata[both])
    worst = max(loss, key=lambda name: loss[name])
    lost = 1 - both.sum() / (control | treatment).sum()
    note = f"Joining the arms on the query would lose {lost:.0%} of the queries ({loss[worst]:.0%} of {worst})."
    said = "Two live arms, unpaired: replaying the same queries through both needs far fewer labels."
    return Headline(delta, (), (note, said), levels=(first, second))


def _by(about: Frame, found: PerQuery, plain: Estimate, design: pa.Table | None, choices: Choices) -> Headline:
    """The estimand that was asked for, and beside it the other one; `plain` is the one that the design was drawn for."""
    values, arms = found.difference, (found.control, found.treatment)
    drawn_by = "queries" if about.design.unit in ("queries", UNIT) else "traffic"
    columns = _columns(about, design, ["stratum", "inclusion_probability", "population"], f"--by {choices.by}")
    if choices.by == "traffic" or drawn_by == "traffic":
        columns |= _columns(about, design, ["traffic", "stratum_traffic"], f"--by {choices.by}")
    names = {"queries": "by distinct queries", "traffic": "by traffic"}
    if choices.by == drawn_by:
        return Headline(plain)
    size = _numbers(columns["traffic"], "traffic") if choices.by == "traffic" else np.ones(len(values))
    whole = "stratum_traffic" if choices.by == "traffic" else "population"
    total = _numbers(columns[whole], whole)
    totals = dict(zip(columns["stratum"].tolist(), total.tolist(), strict=True))
    for stratum, most in totals.items():
        if (held := float(size[columns["stratum"] == stratum].sum())) > most * (1 + 1e-9):
            raise InputError(f"stratum {stratum!r} has {most:g} in {whole}, and its sampled queries alone have {held:g}")
    given: dict[str, Any] = {"strata": columns["stratum"], "traffic_totals": totals, "level": choices.level, "lone": "borrow"}
    given["chance"] = None if drawn_by == "queries" else columns["inclusion_probability"].astype(np.float64)
    other = traffic_difference(values, size, minimum_nonzero=choices.minimum_nonzero, **given)
    if choices.by == "queries":
        other = replace(other, method=other.method.replace("by traffic", "by distinct queries"))
    given["minimum_nonzero"] = 0
    first, second = (replace(traffic_difference(arm, size, **given), method="level", caveat="") for arm in arms)
    even = _equal_ones(columns, size, totals)
    if even < min(MINIMUM_EVEN, 0.8 * len(values)) and not other.caveat:
        why = f"{names[choices.by]} these {len(values)} queries weigh like {even:.0f} equal ones, and {MINIMUM_EVEN} are needed"
        other = replace(other, caveat=f"not reliable: {why}; draw the sample for it (germane sample --by {choices.by})")
    note = (
        "every query counts once, however often it is asked"
        if drawn_by == "queries"
        else "a query counts as often as it is asked"
    )
    said = f"Segments and grades are {names[drawn_by]}, as the sample was drawn; the headline is {names[choices.by]}."
    sampled = {name: int((columns["stratum"] == name).sum()) for name in totals}
    over = Design(tuple(Stratum(name, round(whole), sampled[name]) for name, whole in totals.items()), unit=UNITS[choices.by])
    return Headline(other, (Alternative(names[drawn_by], plain, note),), (said,), over=over, levels=(first, second))


def _numbers(values: Names, name: str) -> Floats:
    """A column as numbers; text of a CSV is read. Raises: InputError for what is no number."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"column {name!r} of the design must hold numbers") from None


def _drawn_at_random(about: Frame, x: Floats, known: Mapping[str, float], name: str, choices: Choices) -> None:
    """Raises: InputError where the sample's mean of a covariate is nowhere near the population's: one of them is not its."""
    sampled = stratified_mean(moments(x, about.strata), about.populations, level=choices.level, lone="borrow")
    total = sum(about.populations.values())
    truth = sum(about.populations[stratum] / total * known[stratum] for stratum in about.populations)
    if abs(sampled.value - truth) > FAR * sampled.se:
        raise InputError(
            f"--adjust {name}: its mean is {sampled.value:.4g} by the sample (standard error {sampled.se:.2g}) and {truth:.4g} "
            f"by {name}_mean: over {FAR:g} standard errors apart, as no random sample is. Is it the mean over whole strata?"
        )


def _equal_ones(columns: Mapping[str, Names], size: Floats, totals: Mapping[str, float]) -> float:
    """How many queries of equal weight would weigh as evenly. Source: Kish (1965), section 11.7."""
    weights = size / columns["inclusion_probability"].astype(np.float64)
    for name, whole in totals.items():
        rows = columns["stratum"] == name
        weights[rows] *= whole / weights[rows].sum()
    return float(weights.sum() ** 2 / (weights**2).sum())


def _unweighted(about: Frame, values: Floats, choices: Choices) -> Estimate:
    """The plain mean of a simple random sample."""
    least = choices.minimum_nonzero
    return stratified_difference({"all": Moments.of(values)}, {"all": len(values)}, level=choices.level, minimum_nonzero=least)


def _adjusted(about: Frame, values: Floats, design: pa.Table | None, choices: Choices, common: dict[str, Any]) -> Headline:
    name = str(choices.adjust)
    column = f"{name}_mean"
    found_x = _columns(about, design, [name], "--adjust")[name]
    found_mean = _columns(about, design, [column], f"--adjust {name} (its mean over each stratum's whole population)")[column]
    x, mean = _numbers(found_x, name), _numbers(found_mean, column)
    known = dict(zip(about.strata.tolist(), mean.tolist(), strict=True))
    if varies := [str(s) for s, value in zip(about.strata, mean, strict=True) if value != known[s]]:
        raise InputError(f"--adjust {name}: {column} has several values in stratum {varies[0]!r}: expected its one mean there")
    _drawn_at_random(about, x, known, name, choices)
    found = adjusted(values, x, populations=about.populations, covariate_means=known, **common)
    if found.variance_ratio < OUTCOME:
        raise InputError(
            f"--adjust {name}: it explains {1 - found.variance_ratio:.1%} of the difference, as only this experiment's own "
            "outcome could: a covariate must be known before the experiment"
        )
    note = f"adjusting multiplies the variance by {found.variance_ratio:.2f}"
    return Headline(found.estimate, (Alternative(f"without adjusting for {name}", found.unadjusted, note),))


def _columns(about: Frame, design: pa.Table | None, names: Sequence[str], flag: str) -> dict[str, Names]:
    """Columns of the design, in the order of the frame's queries."""
    import pyarrow.compute as pc

    if design is None:
        raise InputError(f"{flag} needs a design with the columns {' and '.join(names)}: pass --design")
    if missing := [name for name in names if name not in design.column_names]:
        raise InputError(f"{flag}: the design has no column {missing[0]!r}; it has {', '.join(design.column_names)}")
    rows = pc.index_in(about.queries, value_set=design["query_id"].combine_chunks())
    found = {}
    for name in names:
        values = design[name].combine_chunks().take(rows)
        if values.null_count:
            query = about.queries.filter(values.is_null())[0].as_py()
            raise InputError(f"{flag}: column {name!r} has no value for query {query!r}: every sampled query needs one")
        found[name] = np.asarray(values.to_numpy(zero_copy_only=False))
    return found
