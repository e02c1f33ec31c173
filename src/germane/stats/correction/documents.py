"""Audits of single documents with known odds, inside a metric that is a sum over documents."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from germane.stats.correction.core import Found, mean, tuned
from germane.stats.correction.layout import Codes, Layout, Numbers, codes, layout, totals
from germane.stats.correction.queries import ROUNDING, Checks, Corrected, as_estimate, judge_alone
from germane.stats.means import MINIMUM_NONZERO
from germane.types import InputError


def corrected_documents(
    judge: ArrayLike,
    *,
    query: ArrayLike,
    weight: ArrayLike,
    judge_gain: ArrayLike,
    people_gain: ArrayLike,
    chance: ArrayLike,
    strata: ArrayLike,
    populations: Mapping[str, float],
    lam: float | None = None,
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    finite: bool = False,
) -> Corrected:
    """People's mean paired difference in the population, in units of the metric, from single audited documents.

    judge: (m,) f_q, each judged query's difference: the sum of weight times the judge's gain over all its documents.
    Flat over audited documents (a,): query, the row of its query in `judge`; weight w_j, its discount in the treatment
    minus that in the control; judge_gain f_j and people_gain Y_j; chance, with which it was drawn, above 0 and up to 1.
    u_q = lam f_q + sum_j w_j (Y_j - lam f_j) / chance_j has people's d_q as its expectation, and its stratified mean is the
    estimate. Every document that moved needs a chance above 0. The variance assumes Poisson sampling (each document
    drawn by itself); with a fixed number of documents a stratum it errs on the large side. lam: a number, or None:
    power-tuned over all strata, each query's from the others. finite: the target is people's answer over exactly
    these populations. populations, level, minimum_nonzero (queries): as in `corrected`.

    Source: Horvitz, Thompson (1952); the difference estimator of Saerndal, Swensson, Wretman (1992), eq. 6.3.3 and 6.3.6.
    Raises: InputError for a chance outside (0, 1], a query row that does not exist, values that are not finite.

    >>> c = corrected_documents([0.3, 0.0, 0.1, -0.2], query=[0, 1, 3], weight=[0.5, 0.5, -0.5], judge_gain=[1, 0, 1],
    ...     people_gain=[1, 1, 1], chance=[0.5, 0.5, 1], strata=4 * ["all"], populations={"all": 4}, lam=1.0)
    >>> round(c.estimate.value, 3), round(c.bias.value, 3)
    (0.3, -0.25)
    """
    f = np.asarray(judge, np.float64).ravel()
    if not np.isfinite(f).all():
        row = int(np.flatnonzero(~np.isfinite(f))[0])
        raise InputError(f"the judge's difference at row {row} is {f[row]}: leave out queries that the judge did not judge")
    rows, w, g, y, pi = _documents(f.size, query, weight, judge_gain, people_gain, chance)
    names, h = codes(strata, f.size, "strata")
    plan = layout(strata, np.ones(f.size, bool), populations)
    people = totals(rows, w * y / pi, f.size)[plan.audited]
    said = totals(rows, w * g / pi, f.size)[plan.audited]
    factor = plan.share**2 * plan.kish
    fit = tuned(people, said - f[plan.audited], plan, gain=factor, cost=factor)
    notes = plan.notes
    if lam is not None:
        if not np.isfinite(lam):
            raise InputError(f"lam is {lam}: give a number, or None to have it estimated")
        fit = fit._replace(lam=np.asarray(float(lam)), each=np.full(f.size, float(lam)))
    elif np.ptp(said - f[plan.audited]) <= ROUNDING:
        fit = fit._replace(lam=np.asarray(0.0), each=np.zeros(f.size))  # nothing but rounding is left to tune by
        notes = (*notes, "the audited documents hold the judge's whole answer: lam = 0, the answer is people's alone")
    u = people - fit.each * (said - f[plan.audited])
    lam_of = np.empty(f.size)
    lam_of[plan.audited] = fit.each
    found, alone = mean(u, plan, factor), mean(people, plan, factor)
    off = mean(said - people, plan, factor)
    if finite:
        sizes = np.array([float(populations[str(name)]) for name in names])
        found = _finite(found, w * (y - lam_of[rows] * g), pi, rows, plan, h, sizes, u)
        alone = _finite(alone, w * y, pi, rows, plan, h, sizes, people)
        off = _finite(off, w * (g - y), pi, rows, plan, h, sizes, said - people)
    nonzero = int((np.abs(people) > ROUNDING).sum())
    counted = f"people's difference is not zero in {nonzero} of {f.size} queries"
    checks = Checks(nonzero, counted, minimum_nonzero, plan.design_df)
    return Corrected(
        estimate=as_estimate(found, f.size, "prediction-powered difference, audited documents", level, checks),
        judge_only=judge_alone(f, names, h, populations, level, minimum_nonzero),
        people_only=as_estimate(alone, f.size, "people's difference, audited documents", level, checks),
        bias=as_estimate(off, f.size, "judge minus people, audited documents", level),
        lam=float(fit.lam),
        rho=None,
        notes=notes,
    )


def _documents(
    size: int, query: ArrayLike, weight: ArrayLike, judge_gain: ArrayLike, people_gain: ArrayLike, chance: ArrayLike
) -> tuple[Codes, Numbers, Numbers, Numbers, Numbers]:
    """The audited documents' query rows, weights, gains and chances, checked."""
    rows = np.asarray(query).ravel()
    named = {"weight": weight, "judge_gain": judge_gain, "people_gain": people_gain, "chance": chance}
    given = {name: np.asarray(x, np.float64).ravel() for name, x in named.items()}
    if rows.size == 0:
        raise InputError("no audited documents: people's answer on at least 2 is needed")
    for name, x in given.items():
        if x.size != rows.size:
            raise InputError(f"{name} has {x.size} values for {rows.size} audited documents: give one for each")
        if not np.isfinite(x).all():
            raise InputError(f"{name} of audited document {int(np.argmin(np.isfinite(x)))} is not a finite number")
    pi = given["chance"]
    outside = ~((pi > 0) & (pi <= 1))
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(f"chance of audited document {row} is {pi[row]:g}: the odds it was drawn with are above 0, up to 1")
    if not (np.issubdtype(rows.dtype, np.integer) and (rows >= 0).all() and (rows < size).all()):
        raise InputError(
            f"query of an audited document is no row of the judge's {size} queries: whole numbers from 0 are expected"
        )
    return rows.astype(np.int64), given["weight"], given["judge_gain"], given["people_gain"], pi


def _finite(found: Found, left: Numbers, pi: Numbers, rows: Codes, plan: Layout, h: Codes, sizes: Numbers, u: Numbers) -> Found:
    """The variance for a finite target: drawing queries counts only as far as they are not all of the population.

    left: (a,) what people said beyond lam times the judge, of each audited document; its part of Var(u_q) remains even
    where every query was judged. Source: Saerndal, Swensson, Wretman (1992), eq. 3.5.2 (Poisson sampling) and 4.3.12.
    """
    inside = totals(rows, left**2 * (1 - pi) / pi**2, u.size)[plan.audited]
    weight = sizes / sizes.sum()
    stratum = h[plan.audited]
    groups = plan.groups
    off = u - groups.spread(groups.sums(plan.p * u))
    size_of = np.bincount(stratum, minlength=sizes.size)
    each = (weight**2 / sizes / size_of)[stratum]
    gone = np.maximum(groups.sums(each * (off**2 / plan.kept - inside)), 0).sum(-1)
    cubes = totals(rows, left**3 * (1 - pi) * (1 - 2 * pi) / pi**3, u.size)[plan.audited]
    census = min(u.size / float(sizes.sum()), 1.0)
    third = census * ((groups.spread(plan.share) * plan.p) ** 3 * cubes).sum(-1) + (1 - census) * found.third
    return found._replace(variance=np.maximum(found.variance - gone, 0), third=third)
