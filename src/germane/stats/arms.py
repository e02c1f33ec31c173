"""Two live arms that each answered their own requests: two independent samples, and what joining them would lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from germane.stats.clusters import by_stratum, columns
from germane.stats.means import MINIMUM_DF, Moments, stratified_mean
from germane.types import Estimate, InputError


def unpaired_difference(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    strata_control: ArrayLike,
    strata_treatment: ArrayLike,
    populations: Mapping[str, float],
    level: float = 0.95,
) -> Estimate:
    """Treatment's stratified mean minus control's, two independent samples, in units of the metric.

    control: (n_C,), treatment: (n_T,), with their strata. populations: stratum -> its number of queries, the same for both
    arms. Welch's t: each arm's strata keep their own variance, and Satterthwaite's degrees of freedom run over the strata of
    both arms. The SD of a level is several times that of a paired difference: replaying the sampled queries through both arms
    needs far fewer labels.

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
    # One stratified mean over both arms' strata, each of half the weight: twice the values make it their difference.
    parts = {f"{name} ({arm})": m for arm, side in sides.items() for name, m in side.items()}
    sizes = {f"{name} ({arm})": populations.get(name, 0) for arm, side in sides.items() for name in side}
    found = stratified_mean(parts, sizes, level=level)
    caveat = found.caveat
    if not caveat and found.df is not None and found.df < MINIMUM_DF:
        caveat = f"not reliable: the variance rests on few queries of large strata ({found.df:.1f} degrees of freedom)"
    method = "unpaired difference, Welch" if len(sides["control"]) == 1 else "stratified unpaired difference, Welch"
    return replace(found, method=method, caveat=caveat)


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
