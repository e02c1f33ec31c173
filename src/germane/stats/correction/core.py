"""The estimate itself, for one experiment or many at once: every array may have leading axes, one entry an experiment."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.stats.correction.layout import Codes, Layout, Numbers, Segments

SHRINK = 20
"""Audited queries of a stratum at which its own lam and the pooled one count alike. A stratum with fewer has no own one."""

FEW = 5
"""Audited queries of a group; with fewer, its skewness is taken together with that of the other such groups."""

MOST_SKEW = 0.4
"""Skewness of an estimate (third moment / se^3) beyond which Hall's transformation is not followed: no limit is good there."""

ALONE = 0.2
"""Where the others hold less than this share of the judge's variance, one query stands alone, and lam is that of all."""

LEAST = 0.02
"""If the judge varies less on the audited queries than this share of its variance on the others, that share is taken."""

MOST_OF_ALL = 0.25
"""A group whose values are all equal borrows the pooled variance if that would be more than this share of the whole."""


class Found(NamedTuple):
    """value, variance, third (central moment) of an estimator, and Satterthwaite's df; (...,) each."""

    value: Numbers
    variance: Numbers
    third: Numbers
    df: Numbers


def limits(found: Found, level: float) -> tuple[Numbers, Numbers]:
    """(low, high), (...,) each: t limits, lengthened where the values are skewed, never shortened.

    A t interval of skewed differences misses mostly on one side: the long tail was not drawn. Two repairs, g being the
    estimate's skewness, third / se^3. Its quantile t becomes t (1 + g^2 (t^2 + 3)(t^2 - 1)/18), the part of the error that
    skewness has in both tails together. Hall's transformation of the statistic then moves the long side outwards; it
    would shorten the other side, which zero-inflated data do not forgive, so each side keeps the further of the two
    ends. Where nothing varied, both limits are the value.

    Source: Hall (1992), The Bootstrap and Edgeworth Expansion, section 2.6 (q_2); Hall (1992), On the removal of skewness
    by transformation, JRSS B 54. The further of two ends is ours: docs/statistics/correction.md has its coverage.
    """
    from scipy.special import stdtrit

    se = np.sqrt(found.variance)
    t = stdtrit(found.df, (1 + level) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        skew = np.clip(np.where(se > 0, found.third / se**3, 0.0), -MOST_SKEW, MOST_SKEW)
    t = t * (1 + np.maximum(skew**2 * (t**2 + 3) * (t**2 - 1) / 18, 0))
    small = np.abs(skew) < 1e-6
    a = np.where(small, 1.0, skew)
    above, below = (np.where(small, x, 3 / a * (np.cbrt(1 + a * (x - a / 6)) - 1)) for x in (t, -t))
    return found.value - se * np.maximum(t, above), found.value + se * np.maximum(t, -below)


class Tuned(NamedTuple):
    """lam (...,): on all audited queries. each: (..., n) for every one of them, from the others. rho: inside groups."""

    lam: Numbers
    each: Numbers
    rho: Numbers


def tuned(
    people: Numbers,
    judge: Numbers,
    plan: Layout,
    *,
    gain: Numbers,
    cost: Numbers,
    rest: Numbers | None = None,
    folds: Codes | None = None,
    shrunken: bool = False,
) -> Tuned:
    """lam = sum gain_G Cov_G(Y, f) / sum cost_G Var_G(f), and the same from every query's others.

    people, judge: (..., n) of the audited queries, in the layout's order. gain, cost: (G,), by which lam minimises the
    variance of the estimate. rest: (..., u) the judge's on the other rows: where the audited ones hardly vary beside them,
    lam is kept from exploding (LEAST). folds: (n,): lam of a fold comes from the other folds; None = every query is its
    own fold.
    The mean over queries of lam_{-i} (f_i - mean of the unaudited) has expectation 0, so the estimate stays unbiased.

    Source: Angelopoulos, Duchi, Zrnic (2023), eq. 6 and prop. 2 (power tuning); Wu, Gagnon-Bartsch (2018) (leave one out).
    """
    groups, p = plan.groups, plan.p
    v = plan.by_second / plan.kept  # as in the residual's variance, which lam is to make small
    dx = judge - groups.spread(groups.sums(p * judge))
    dy = people - groups.spread(groups.sums(p * people))
    xy, xx, yy = groups.sums(v * dx * dy), groups.sums(v * dx * dx), groups.sums(v * dy * dy)
    top, below = (gain * xy).sum(-1), (cost * xx).sum(-1)
    size = 1e-12 * np.abs(judge).max(-1)
    least = cost.sum() * size**2  # less than this is rounding: the judge's differences are equal
    floor = np.zeros_like(below)
    if rest is not None and rest.shape[-1]:
        off = rest - plan.rest_groups.spread(plan.rest_groups.sums(plan.rest_weights * rest))
        floor = LEAST * (cost * plan.rest_groups.sums(plan.rest_weights * off * off)).sum(-1)
    lam = _ratio(top, np.where(below > least, np.maximum(below, floor), 0.0), least)
    joint = np.sqrt((gain * xx).sum(-1) * (gain * yy).sum(-1))
    rho = _ratio(top, joint, np.sqrt(gain.sum() * size**2 * (gain * yy).sum(-1)))
    if folds is None:
        xy_i, xx_i = _gone(dx, dy, v, plan), _gone(dx, dx, v, plan)
        tops, belows = top[..., None] - groups.spread(gain) * xy_i, below[..., None] - groups.spread(cost) * xx_i
        enough = np.maximum(least, ALONE * below)[..., None]
        each = _ratio(tops, np.where(belows > enough, np.maximum(belows, floor[..., None]), 0.0), enough, lam[..., None])
        if shrunken:
            own_top, own_below = groups.spread(xy) - xy_i, groups.spread(xx) - xx_i
            each = _towards(each, own_top, own_below, plan, gain, cost)
    else:
        each = np.empty_like(dx)
        for fold in np.unique(folds):
            there = folds != fold
            kept = Segments(groups.codes[there], groups.size)
            xy_k, xx_k = _products(people[..., there], judge[..., there], p[there], v[there], kept)
            enough = np.maximum(least, ALONE * below * p[there].sum() / groups.size)
            one = _ratio((gain * xy_k).sum(-1), (cost * xx_k).sum(-1), enough, lam)[..., None]
            if shrunken:
                inside = groups.codes[~there]
                one = _towards(one, xy_k[..., inside], xx_k[..., inside], plan, gain, cost, inside)
            each[..., ~there] = one
    return Tuned(lam, each, rho)


def estimate(
    people: Numbers,
    judge: Numbers,
    rest: Numbers,
    plan: Layout,
    lam: Numbers,
    *,
    nested: bool,
) -> Found:
    """Prediction-powered stratified mean with its variance, third moment and degrees of freedom.

    people, judge: (..., n) audited. rest: (..., u) the judge's on the other rows. lam: (..., n).

    Source: docs/statistics/correction.md, nested and disjoint; Angelopoulos et al. (2301.09633), Fisch et al. (2406.04291).
    """
    groups, p = plan.groups, plan.p
    centre = plan.rest_groups.sums(plan.rest_weights * rest)
    gap = judge - groups.spread(centre)
    within = groups.sums(p * people) - plan.left * groups.sums(p * lam * gap)
    value = (plan.share * within).sum(-1)

    # The judge's mean over all judged rows, audited ones included: what the residual is measured from.
    whole = (1 - plan.left) * groups.sums(p * judge) + plan.left * centre
    left = people - lam * (judge - groups.spread(whole))
    s_left, s_people = _variance(left, plan, plan.by_second), _variance(people, plan, plan.by_first)
    second, borrowed = _borrow(s_left, plan.second, plan)
    first, also = _borrow(s_people, plan.first, plan)
    terms = second + first + _between(people, plan)
    spare = plan.df.sum()
    df = np.where(borrowed | also | (plan.df == 0), spare, plan.df)
    third = _third(people - groups.spread(plan.left) * lam * gap, plan)
    below = (terms**2 / (df + 2)).sum(-1)
    least = np.where(terms > 0, df, np.inf).min(-1)
    total = terms.sum(-1)
    if not nested and rest.shape[-1]:
        mean_lam = lam.mean(-1)
        own, own_df = _judged(rest, plan)
        total = total + mean_lam**2 * own.sum(-1)
        below = below + mean_lam**4 * (own**2 / (own_df + 2)).sum(-1)
    off = rest - plan.rest_groups.spread(centre)
    third = third + lam.mean(-1) ** 3 * _cubes(plan.rest_omega * off).sum(-1)
    if plan.census:  # of a finite target's skewness only that of the residual remains, as far as all of it was judged
        third = plan.census * _third(left, plan, plan.drawn) + (1 - plan.census) * third
    return Found(value, np.maximum(total, 0), third, _df(total, below, least))


def mean(values: Numbers, plan: Layout, factor: Numbers, by: Numbers | None = None) -> Found:
    """The stratified mean of what is known on audited queries alone, as the judge's bias. factor: (G,) of its variance.

    by: (n,) how much each row's variance counts in it (None: as in the variance of the mean with weights p).
    """
    groups, p = plan.groups, plan.p
    value = (plan.share * groups.sums(p * values)).sum(-1)
    terms, borrowed = _borrow(_variance(values, plan, plan.by_second if by is None else by), factor, plan)
    df = np.where(borrowed | (plan.df == 0), plan.df.sum(), plan.df)
    below, least = (terms**2 / (df + 2)).sum(-1), np.where(terms > 0, df, np.inf).min(-1)
    total = terms.sum(-1)
    return Found(value, total, _third(values, plan, plan.census * plan.drawn), _df(total, below, least))


def _df(total: Numbers, below: Numbers, least: Numbers) -> Numbers:
    """Welch's form of Satterthwaite's df, free of the bias that many strata of two queries have; never below the least.

    Source: Welch (1947), Biometrika 34: V^2 / sum(a^2 / (df + 2)) - 2.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(below > 0, total**2 / below - 2, least)
    return np.maximum(found, np.where(np.isfinite(least), least, 1.0))


def _variance(x: Numbers, plan: Layout, by: Numbers) -> Numbers:
    """(..., G) variance inside each group, as `by` (n,) counts its rows; 0 where all values are equal up to rounding.

    Not one s^2 for all rows of a group: where rows with large weights vary more, that would be too small for their mean.
    """
    groups, p = plan.groups, plan.p
    off = x - groups.spread(groups.sums(p * x))
    found = groups.sums(by / plan.kept * off**2)
    size = np.abs(x).max(-1, keepdims=True)
    return np.where(found > (1e-12 * size) ** 2, found, 0.0)


def _borrow(variance: Numbers, factor: Numbers, plan: Layout) -> tuple[Numbers, NDArray[np.bool_]]:
    """(terms of the variance (..., G), which of them are borrowed).

    Values that are all equal have no variance by luck. Where one group's luck would matter (`MOST_OF_ALL`) it takes the
    variance pooled over all groups. Small shares are left alone: to replace only the zeros of many small groups would
    overstate the whole, which is unbiased as it is. One query has no variance of its own, and always takes it.
    """
    terms = factor * variance
    pooled = (plan.df * variance).sum(-1) / plan.df.sum()
    would = factor * pooled[..., None]
    takes = plan.lone | ((variance == 0) & (would > MOST_OF_ALL * (terms.sum(-1)[..., None] + would)))
    return np.where(takes, would, terms), takes


def _between(people: Numbers, plan: Layout) -> Numbers:
    """(..., G) what the spread between audit groups of one stratum adds to people's variance of the first phase."""
    stratum, group, weight, outer = plan.cells
    if stratum.size == np.unique(stratum).size:
        return np.zeros(plan.share.size)
    at = plan.groups.sums(plan.p * people)[..., group]
    cells = Segments(stratum, int(stratum.max()) + 1)
    off = at - cells.spread(cells.sums(weight * at))
    order = np.argsort(group, kind="stable")
    return Segments(group[order], plan.share.size).sums((outer * weight * off**2)[..., order])


def _judged(rest: Numbers, plan: Layout) -> tuple[Numbers, Numbers]:
    """(..., H) terms of the judge's own variance in a disjoint sample, and their df; a stratum of one row borrows."""
    strata = plan.rest_strata
    m = np.bincount(strata.codes, minlength=strata.size)
    centred = strata.sums((rest - strata.spread(strata.sums(rest) / m)) ** 2)
    spare = max(int((m - 1).sum()), 1)
    pooled = centred.sum(-1, keepdims=True) / spare
    found = np.where(m > 1, centred / np.maximum(m - 1, 1), pooled)
    return plan.judged_term * found, np.where(m > 1, m - 1, spare)


def _third(x: Numbers, plan: Layout, drawn: Numbers | float = 0.0) -> Numbers:
    """The third central moment of sum share_G sum_i p_i x_i, each group's estimated without bias if its weights are equal.

    Two queries have no skewness of their own: groups with fewer than FEW are taken from their common mean. drawn: (G,) the
    share of a finite group that was drawn, (1 - f)(1 - 2f) of the moment being left. Source: Cochran (1977), section 2.15.
    """
    groups, p = plan.groups, plan.p
    n = 1 / plan.kish
    few = n < FEW - 1e-9
    inside = few[groups.codes]
    weight = np.where(inside, groups.spread(plan.share) * p, 0.0)
    common = (weight * x).sum(-1, keepdims=True) / max(float(weight.sum()), 1e-300)
    off = x - np.where(inside, common, groups.spread(groups.sums(p * x)))
    factor = np.where(few, 1.0, n**2 / np.maximum((n - 1) * (n - 2), 1.0)) * (1 - drawn) * (1 - 2 * drawn)
    return np.asarray((plan.share**3 * factor * groups.sums(_cubes(p * off))).sum(-1), np.float64)


def _cubes(x: Numbers) -> Numbers:
    return x * x * x  # a power of numpy takes ten times as long


def _gone(dx: Numbers, dy: Numbers, v: Numbers, plan: Layout) -> Numbers:
    """(..., n) what sum v dx dy of a group loses with each query: its product, and the others' change of mean."""
    groups, p = plan.groups, plan.p
    g = np.where(p < 1, p / np.where(p < 1, 1 - p, 1.0), 0.0)
    a, b, all_ = (groups.spread(groups.sums(x)) for x in (v * dx, v * dy, v))
    return dx * dy * (v + 2 * g * v - g * g * (all_ - v)) - g * (dx * b + dy * a)


def _products(people: Numbers, judge: Numbers, p: Numbers, v: Numbers, groups: Segments) -> tuple[Numbers, Numbers]:
    total = groups.sums(p)
    q = p / groups.spread(np.where(total > 0, total, 1.0))
    dx = judge - groups.spread(groups.sums(q * judge))
    dy = people - groups.spread(groups.sums(q * people))
    return groups.sums(v * dx * dy), groups.sums(v * dx * dx)


def _towards(
    pooled: Numbers, top: Numbers, below: Numbers, plan: Layout, gain: Numbers, cost: Numbers, inside: Codes | None = None
) -> Numbers:
    """Each group's own lam, where it has SHRINK audited queries, drawn to the pooled one: n to SHRINK."""
    code = plan.groups.codes if inside is None else inside
    n = 1 / plan.kish
    share = np.where(n >= SHRINK - 1e-9, n / (n + SHRINK), 0.0)[code]
    own = _ratio(gain[code] * top, cost[code] * below, 1e-9 * (cost[code] * below).max(-1, keepdims=True), pooled)
    return share * own + (1 - share) * pooled


def _ratio(top: Numbers, below: Numbers, least: Numbers, other: Numbers | float = 0.0) -> Numbers:
    """top / below, and `other` where too little is left below. 0 is people only, which is still unbiased."""
    there = below > least
    return np.where(there, top / np.where(there, below, 1.0), other)
