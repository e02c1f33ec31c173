"""Audits of whole queries: people judged every document that moved, on some of the queries that the judge judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.correction.core import Found, Tuned, estimate, limits, mean, tuned
from germane.stats.correction.layout import Codes, Layout, Numbers, codes, layout, totals
from germane.stats.means import MINIMUM_DF, MINIMUM_NONZERO, stratified_difference
from germane.stats.moments import Moments
from germane.types import Estimate, InputError

ROUNDING = 1e-12
"""Differences smaller than this are rounding, and count as 0."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """People's paired difference with its parts.

    estimate: of people's difference, the judge used as far as it helps. judge_only: what the judge alone would say.
    people_only: the audited queries alone. bias: judge minus people on the audited queries, stratified; positive
    favours the treatment. lam: how much of the judge's answer is used (0 = people only). rho: correlation of the judge's
    and people's differences inside strata, None where it has no value. notes: what was merged or could not be estimated.
    """

    estimate: Estimate
    judge_only: Estimate
    people_only: Estimate
    bias: Estimate
    lam: float
    rho: float | None
    notes: tuple[str, ...]


def corrected(
    judge: ArrayLike,
    people: ArrayLike,
    *,
    strata: ArrayLike,
    populations: Mapping[str, float],
    audit_strata: ArrayLike | None = None,
    nested: bool = True,
    lam: float | Literal["pooled", "shrunken"] | None = None,
    folds: ArrayLike | None = None,
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    finite: bool = False,
) -> Corrected:
    """People's mean paired difference in the population, in units of the metric, from many judged and some audited queries.

    judge: (m,) the judge's difference of each query. people: (m,) people's, NaN where not audited. strata: (m,) names.
    populations: stratum -> its number of queries. audit_strata: (m,) inside which the audited queries were drawn at random
    (default: the strata); those with fewer than 2 audited queries are merged, and notes say so.
    nested: True, the audited queries are a random part of the judged ones; False, they are a sample of their own, and
    the judge's mean is taken over the rows without people.
    lam: a number; None or "pooled", power-tuned over all strata; "shrunken", a stratum with 20 audited queries has its
    own, drawn to the pooled one. Always cross-fitted: a query's lam comes from the others. folds: (m,) labels; lam of a
    fold comes from the other folds (None: each query is a fold). finite: the target is people's answer over exactly these
    populations, instead of over queries like them.

    Source: Angelopoulos et al. (2023) 2301.09633; Angelopoulos, Duchi, Zrnic (2023) 2311.01453; Fisch et al. (2024)
    2406.04291; the nested variance is two-phase sampling's, Cochran (1977), eq. 12.67.
    Raises: InputError for fewer than 2 audited queries, values that are not finite, a stratum without a population.

    >>> judge = [0.3, 0.1, -0.1, 0.2, 0.0, 0.4, 0.1, 0.2]
    >>> people = [0.2, 0.1, -0.2, 0.1] + 4 * [float("nan")]
    >>> c = corrected(judge, people, strata=8 * ["all"], populations={"all": 100}, lam=1.0)
    >>> round(c.estimate.value, 3), round(c.estimate.se, 4), round(c.bias.value, 3)
    (0.075, 0.0637, 0.075)
    """
    f, y = _values(judge, people)
    audited = ~np.isnan(y)
    plan = layout(strata, audited, populations, audit_strata=audit_strata, nested=nested, finite=finite)
    people_, judge_, rest = y[plan.audited], f[plan.audited], f[plan.rest]
    fit, notes = _lam(people_, judge_, rest, plan, lam, folds, nested)
    found = estimate(people_, judge_, rest, plan, fit.each, nested=nested)
    alone = estimate(people_, judge_, rest, plan, np.zeros_like(fit.each), nested=nested)
    off = mean(judge_ - people_, plan, plan.bias_term, plan.by_bias)
    nonzero, n = int((np.abs(people_) > ROUNDING).sum()), people_.size
    counted = f"{nonzero} of {n} audited differences are not zero"
    kind = "nested" if nested else "disjoint"
    checks = Checks(nonzero, counted, minimum_nonzero, plan.design_df)
    names, code = codes(strata, f.size, "strata")
    own = np.ones(f.size, bool) if nested else ~audited
    return Corrected(
        estimate=as_estimate(found, f.size, f"prediction-powered difference, {kind} audit", level, checks),
        judge_only=judge_alone(f[own], names, code[own], populations, level, minimum_nonzero),
        people_only=as_estimate(alone, n, "people's difference, audited queries", level, checks),
        bias=as_estimate(off, n, "judge minus people, audited queries", level),
        lam=float(fit.lam),
        rho=float(fit.rho) if np.isfinite(fit.rho) else None,
        notes=(*plan.notes, *notes),
    )


class Checks(NamedTuple):
    """What decides whether an answer is called reliable: people's differences that are not 0 (and in words), and the df."""

    nonzero: int
    counted: str
    minimum: int
    design_df: float


def as_estimate(
    found: Found,
    n: int,
    method: str,
    level: float,
    checks: Checks | None = None,
) -> Estimate:
    """The interval, with the caveats that few nonzero differences and few degrees of freedom bring.

    Whether an answer is called reliable depends on the design, not on the variance that was found: to keep only the
    experiments that look steady would keep those that are lucky.
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}: give one between 0 and 1, as 0.95")
    value, se, df = float(found.value), sqrt(float(found.variance)), float(found.df)
    low, high = limits(found, level)
    caveat = ""
    if checks and checks.nonzero < checks.minimum:
        caveat = f"not reliable: {checks.counted}, {checks.minimum} are needed"
    elif se == 0:
        caveat = "nothing varied: every audited query has the same value"
    elif checks and checks.minimum and checks.design_df < MINIMUM_DF:
        caveat = f"not reliable: few audited queries stand for large strata ({checks.design_df:.1f} degrees of freedom)"
    return Estimate(value, se, float(low), float(high), n, method, level, df, caveat)


def _values(judge: ArrayLike, people: ArrayLike) -> tuple[Numbers, Numbers]:
    f, y = np.asarray(judge, np.float64).ravel(), np.asarray(people, np.float64).ravel()
    if f.size != y.size:
        raise InputError(
            f"{f.size} differences by the judge and {y.size} by people: give one each a query, NaN where not audited"
        )
    if not np.isfinite(f).all():
        row = int(np.flatnonzero(~np.isfinite(f))[0])
        raise InputError(f"the judge's difference at row {row} is {f[row]}: leave out queries that the judge did not judge")
    if np.isinf(y).any():
        raise InputError(f"people's difference at row {int(np.flatnonzero(np.isinf(y))[0])} is infinite: NaN says not audited")
    return f, y


def _lam(
    people: Numbers, judge: Numbers, rest: Numbers, plan: Layout, lam: float | str | None, folds: ArrayLike | None, nested: bool
) -> tuple[Tuned, tuple[str, ...]]:
    """lam for each audited query, and what has to be said about it."""
    if isinstance(lam, str) and lam not in ("pooled", "shrunken"):
        raise InputError(f"lam is {lam!r}: give a number, 'pooled' or 'shrunken'")
    fit = tuned(people, judge, plan, **weights(plan, nested), rest=rest, folds=_folds(folds, plan), shrunken=lam == "shrunken")
    notes: tuple[str, ...] = ()
    if nested and not plan.rest.size:
        notes = ("every judged query was audited: the judge adds nothing, and the answer is people's alone",)
    elif np.ptp(judge) <= ROUNDING:
        notes = ("the judge's differences are all equal on the audited queries: lam = 0, the answer is people's alone",)
        fit = fit._replace(rho=np.asarray(np.nan))
    elif np.ptp(people) <= ROUNDING:
        fit = fit._replace(rho=np.asarray(np.nan))
    if lam is not None and not isinstance(lam, str):
        if not np.isfinite(lam):
            raise InputError(f"lam is {lam}: give a number, or None to have it estimated")
        fit = fit._replace(lam=np.asarray(float(lam)), each=np.full(people.shape, float(lam)))
    elif lam == "shrunken":
        fit = fit._replace(lam=np.asarray((plan.p * plan.groups.spread(plan.share) * fit.each).sum(-1)))
    return fit, notes


def weights(plan: Layout, nested: bool) -> dict[str, Numbers]:
    """(G,) each: by which covariances and variances enter the lam that minimises the variance of the estimate."""
    if nested:
        return {"gain": plan.second, "cost": plan.second}
    strata = plan.rest_strata
    group_of = np.zeros(strata.size, np.int64)
    group_of[strata.codes] = plan.rest_groups.codes
    judged = totals(group_of, plan.judged_term, plan.share.size)
    return {"gain": plan.second, "cost": plan.second + judged}


def _folds(folds: ArrayLike | None, plan: Layout) -> Codes | None:
    if folds is None:
        return None
    given = np.asarray(folds).ravel()
    size = plan.audited.size + plan.rest.size
    if given.size != size:
        raise InputError(f"{given.size} folds for {size} queries: give one label for each")
    _, code = np.unique(given[plan.audited].astype(str), return_inverse=True)
    if code.max() == 0:
        raise InputError("the audited queries are all in one fold: lam of a fold comes from the others, so two are needed")
    return code.astype(np.int64)


def judge_alone(
    f: Numbers, names: NDArray[np.str_], code: Codes, populations: Mapping[str, float], level: float, minimum_nonzero: int
) -> Estimate:
    """What the judge says by itself, about queries like these: its interval knows nothing of its error."""
    order = np.argsort(code, kind="stable")
    parts = np.split(f[order], np.cumsum(np.bincount(code, minlength=names.size))[:-1])
    moments = {str(name): Moments.of(part) for name, part in zip(names, parts, strict=True)}
    return stratified_difference(moments, populations, level=level, minimum_nonzero=minimum_nonzero, lone="borrow")
