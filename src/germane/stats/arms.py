"""Two live arms that each answered their own requests: two independent samples, and what joining them would lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from germane.stats.clusters import by_stratum, columns
from germane.stats.means import MINIMUM_DF, Lone, check_sizes, limits, stratified_mean
from germane.stats.moments import Moments
from germane.types import Estimate, InputError


def unpaired_difference(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    strata_control: ArrayLike,
    strata_treatment: ArrayLike,
    populations: Mapping[str, float],
    level: float = 0.95,
    lone: Lone = "refuse",
) -> Estimate:
    """Treatment's stratified mean minus control's, two independent samples, in units of the metric.

    control: (n_C,), treatment: (n_T,), with their strata. populations: stratum -> its number of queries, the same for both
    arms. Welch's t: each arm's strata keep their own variance, and Satterthwaite's degrees of freedom run over the strata of
    both arms. The SD of a level is several times that of a paired difference: replaying the sampled queries through both arms
    needs far fewer labels. lone: as in `stratified_mean`; a stratum of one query borrows from its own arm.

    Source: Welch (1947); Cochran, Sampling Techniques (1977), eq. 5.6 and 5.16 for each arm.
    Raises: InputError for a stratum that one arm lacks; as `stratified_mean`.

    >>> a, b = ["head"] * 3, ["head"] * 2
    >>> e = unpaired_difference([0.5, 0.7, 0.6], [0.9, 0.7], strata_control=a, strata_treatment=b, populations={"head": 9})
    >>> round(e.value, 3), round(e.se, 4), round(e.df, 2)
    (0.2, 0.1155, 1.68)
    """
    sides = {}
    for sign, arm, values, strata in (
        (-2.0, "control", control, strata_control),
        (2.0, "treatment", treatment, strata_treatment),
    ):
        x, names = columns(values, strata)
        sides[arm] = {name: Moments.of(sign * x[rows]) for name, rows in by_stratum(names).items()}
    for one, other in (("control", "treatment"), ("treatment", "control")):
        if lacking := sorted(set(sides[one]) - set(sides[other])):
            raise InputError(
                f"stratum {lacking[0]!r} has queries in the {one} and none in the {other}: the arms would stand for other "
                "populations; merge it, or leave it out of both"
            )
    check_sizes(populations, sides["control"])
    # One stratified mean over both arms' strata, each of half the weight: twice the values make it their difference.
    parts = {f"{name} ({arm})": m for arm, side in sides.items() for name, m in side.items()}
    sizes = {f"{name} ({arm})": populations.get(name, 0) for arm, side in sides.items() for name in side}
    if lone == "borrow" and any(m.n < 2 for m in parts.values()):
        found = _borrowing(sides, populations, level)
    else:
        found = stratified_mean(parts, sizes, level=level)
    caveat = found.caveat
    if not caveat and found.df is not None and found.df < MINIMUM_DF:
        caveat = f"not reliable: the variance rests on few queries of large strata ({found.df:.1f} degrees of freedom)"
    method = "unpaired difference, Welch" if len(sides["control"]) == 1 else "stratified unpaired difference, Welch"
    return replace(found, method=method, caveat=caveat)


def _borrowing(sides: Mapping[str, Mapping[str, Moments]], populations: Mapping[str, float], level: float) -> Estimate:
    """The same where a stratum of one query takes the variance pooled over its arm. sides: -2 and 2 times the values."""
    control, treatment = (
        stratified_mean(sides[arm], populations, level=level, lone="borrow") for arm in ("control", "treatment")
    )
    value, variance = (control.value + treatment.value) / 2, (control.se**2 + treatment.se**2) / 4
    n = control.n + treatment.n
    if not variance:
        told = "nothing varied: every sampled query has the same value"
        return replace(control, value=value, low=value, high=value, n=n, caveat=told)
    below = sum(arm.se**4 / 16 / arm.df for arm in (control, treatment) if arm.df)
    found = replace(control, value=value, se=sqrt(variance), low=value, high=value, n=n, df=variance**2 / below, caveat="")
    return limits(found)


def join_loss(control_only: ArrayLike, treatment_only: ArrayLike, both: ArrayLike) -> dict[str, float]:
    """Stratum -> the share (0 to 1) of its observed queries that joining the arms on the query drops.

    control_only, treatment_only, both: the strata of the queries seen in that arm alone, or in both. A query issued by one
    user is in one arm, so a join keeps no singles: what is left stands for head queries, not for the experiment.

    >>> join_loss(["single", "single", "head"], ["single"], ["head", "head", "head"])
    {'head': 0.25, 'single': 1.0}
    """
    lost = np.concatenate([np.asarray(part).ravel().astype(str) for part in (control_only, treatment_only)])
    kept = np.asarray(both).ravel().astype(str)
    found = {}
    for name in np.unique(np.concatenate([lost, kept])):
        gone = int((lost == name).sum())
        found[str(name)] = gone / (gone + int((kept == name).sum()))
    return found
