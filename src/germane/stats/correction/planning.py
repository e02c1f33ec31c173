"""What an audit will give before it is made: the variance of the corrected difference, and the best share to audit."""

from __future__ import annotations

from math import sqrt

from germane.types import InputError


def best_audit_share(rho: float, *, judge_cost: float, people_cost: float) -> float:
    """The share n/m of judged queries to audit for the smallest variance at a given cost, at most 1 (audit every one).

    rho: correlation of the judge's and people's paired differences inside strata. judge_cost, people_cost: of one query.
    sqrt(c_f (1 - rho^2) / (c_Y rho^2)): from minimising s^2 ((1 - rho^2)/n + rho^2/m) at m c_f + n c_Y fixed.

    Source: Cochran (1977), eq. 12.69 (double sampling with regression).
    Raises: InputError for costs that are not above 0, or a rho outside -1 to 1.

    >>> round(best_audit_share(0.8, judge_cost=0.01, people_cost=1.0), 3)
    0.075
    """
    _correlation(rho)
    if not (judge_cost > 0 and people_cost > 0):
        raise InputError(f"costs are {judge_cost} a judged and {people_cost} an audited query: both must be above 0")
    if rho == 0:
        return 1.0
    return min(1.0, sqrt(judge_cost * (1 - rho**2) / (people_cost * rho**2)))


def corrected_variance(sd_people: float, rho: float, *, n: float, m: float, nested: bool = True) -> float:
    """The variance of the corrected mean difference of one stratum, in squared units of the metric, at the best lam.

    sd_people: SD of people's paired differences. n: audited queries, m: judged ones (without the audited, where disjoint).
    Nested: s^2 ((1 - rho^2)/n + rho^2/m). Disjoint: s^2/n (1 - rho^2 / (1 + n/m)).

    Source: Cochran (1977), eq. 12.67; Angelopoulos, Duchi, Zrnic (2023), 2311.01453, section 6.
    Raises: InputError for n < 1, m < n where nested, and a rho outside -1 to 1.

    >>> round(corrected_variance(0.1, 0.8, n=100, m=1000) / corrected_variance(0.1, 0.0, n=100, m=1000), 3)
    0.424
    """
    _correlation(rho)
    if not (n >= 1 and m >= (n if nested else 1)) or sd_people < 0:
        raise InputError(f"{n} audited of {m} judged queries at SD {sd_people}: n is 1 or more, and at most m where nested")
    if nested:
        return sd_people**2 * ((1 - rho**2) / n + rho**2 / m)
    return sd_people**2 / n * (1 - rho**2 / (1 + n / m))


def corrected_se(sd_people: float, rho: float, *, n: float, m: float, nested: bool = True) -> float:
    """The standard error of the corrected mean difference, the root of `corrected_variance`.

    >>> round(corrected_se(0.1, 0.8, n=100, m=1000), 5)
    0.00651
    """
    return sqrt(corrected_variance(sd_people, rho, n=n, m=m, nested=nested))


def _correlation(rho: float) -> None:
    if not -1 <= rho <= 1:
        raise InputError(f"rho is {rho}: a correlation lies between -1 and 1")
