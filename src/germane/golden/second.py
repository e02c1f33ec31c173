"""A second opinion on the votes: Dawid and Skene's model, and where it and the rule do not say the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from germane.golden.results import Differs, SecondOpinion
from germane.golden.tally import by_rule
from germane.golden.votes import Votes
from germane.stats import clustered
from germane.stats.clustered import Undefined
from germane.stats.dawid_skene import dawid_skene
from germane.types import Estimate, Scale

SHOWN = 200
FEWEST = 2  # raters: one rater's errors cannot be told from the truth


def second_opinion(
    asked: Votes, unit: NDArray[np.int64], rule: str, scale: Scale, level: float
) -> tuple[SecondOpinion | None, dict[str, Estimate]]:
    """(the model, None for fewer than two raters; each rater's probability to be right by it).

    unit: (votes,) pair and guide version of each vote. The intervals take the model for true, and are too narrow so far.
    """
    there = asked.grade >= 0
    held, rater = np.unique(asked.rater[there], return_inverse=True)
    if len(held) < FEWEST:
        return None, {}
    u, g, size = unit[there], asked.grade[there], len(scale.labels)
    found = dawid_skene(u, rater, g, grades=size)
    units = int(unit.max()) + 1
    probs = np.zeros((units, size))
    probs[: len(found.probs)] = found.probs
    ruled = by_rule(unit, asked.grade, rule=rule, grades=size)
    voted = np.bincount(u, minlength=units) > 0
    first = np.unique(unit, return_index=True)[1]
    likely = probs.argmax(1)
    both = voted & (ruled >= 0)
    query = asked.query[first]
    method = "pairs with a grade by the rule that the model grades alike"
    agrees = clustered.share(likely == ruled, among=both, clusters=query, level=level, method=method) if both.any() else None
    other = np.flatnonzero(voted & (likely != ruled))
    surest = other[np.argsort(-probs[other, likely[other]], kind="stable")][:SHOWN]
    ids = asked.pairs
    differs = tuple(
        Differs(
            str(ids[0][asked.pair[first[i]]]),
            str(ids[1][asked.pair[first[i]]]),
            None if ruled[i] < 0 else int(ruled[i]),
            int(likely[i]),
            round(float(probs[i, likely[i]]), 6),
        )
        for i in surest.tolist()
    )
    confusion = {asked.raters[number]: _rows(found.confusion[at]) for at, number in enumerate(held.tolist())}
    opinion = SecondOpinion(confusion, tuple(found.prior.tolist()), agrees, len(other), differs, found.rounds, found.settled)
    return opinion, _right(asked, there, probs[u, g], rater, held, level)


def _rows(table: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(x), 6) for x in row) for row in table)


def _right(
    asked: Votes,
    there: NDArray[np.bool_],
    chance: NDArray[np.float64],
    rater: NDArray[np.int64],
    held: NDArray[np.int64],
    level: float,
) -> dict[str, Estimate]:
    query = asked.query[there]
    out = {}
    method = "probability of the own grade by Dawid and Skene's model, taken for true"
    for at, number in enumerate(held.tolist()):
        rows = rater == at
        try:
            out[asked.raters[number]] = clustered.mean(
                chance[rows], clusters=query[rows], bounds=(0.0, 1.0), level=level, method=method
            )
        except Undefined:
            continue
    return out
