"""What each pair's grade probably is, if raters err in ways of their own: the model of Dawid and Skene, by EM."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

Floats = NDArray[np.float64]


class DawidSkene(NamedTuple):
    """What the model finds.

    probs: (units, grades) of each unit's true grade. confusion: (raters, grades, grades), true by row, given by column. prior:
    (grades,) shares of the true grades. log_likelihood: of the votes. rounds: of EM. settled: it converged.
    """

    probs: Floats
    confusion: Floats
    prior: Floats
    log_likelihood: float
    rounds: int
    settled: bool


def dawid_skene(
    unit: ArrayLike,
    rater: ArrayLike,
    grade: ArrayLike,
    *,
    grades: int,
    smoothing: float = 0.01,
    rounds: int = 1000,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """Maximum likelihood of true grades and of every rater's confusion matrix, from votes (n,), by EM from the vote shares.

    unit, rater: whole numbers from 0; grade: 0 to grades - 1, answers only. smoothing: pseudo-votes in each cell of a rater's
    matrix (0: plain maximum likelihood), so that a grade that a rater never met gets no certainty. tolerance: of the log
    likelihood, by unit.

    Source: Dawid and Skene (1979), J. R. Statist. Soc. C 28, eq. 2.3 to 2.5. Deviation: the pseudo-votes.
    Raises: InputError for lengths that differ, no votes, and a grade off the scale.

    >>> found = dawid_skene([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 1, 1], grades=2)
    >>> found.probs.argmax(1).tolist(), found.settled
    ([0, 1, 1], True)
    """
    u, r, g = (np.asarray(x, dtype=np.int64).ravel() for x in (unit, rater, grade))
    if not u.size == r.size == g.size or not u.size:
        raise InputError(f"{u.size} units, {r.size} raters and {g.size} grades: give one of each a vote, at least one")
    if g.min() < 0 or g.max() >= grades:
        raise InputError(f"a vote of {g.max() if g.max() >= grades else g.min()}: expected 0 to {grades - 1}, answers only")
    units, raters = int(u.max()) + 1, int(r.max()) + 1
    votes = np.bincount(u * grades + g, minlength=units * grades).reshape(units, grades).astype(np.float64)
    voted = votes.sum(1) > 0
    probs = np.where(voted[:, None], votes / np.maximum(votes.sum(1, keepdims=True), 1), 1 / grades)
    before, likelihood, settled, done = -np.inf, -np.inf, False, 0
    while not settled and done < rounds:
        done += 1
        confusion, prior = _maximised(probs, voted, u, r, g, raters, grades, smoothing)
        probs, likelihood = _expected(confusion, prior, u, r, g, units)
        settled, before = abs(likelihood - before) <= tolerance * max(voted.sum(), 1), likelihood
    return DawidSkene(probs, confusion, prior, likelihood, done, bool(settled))


def _maximised(
    probs: Floats,
    voted: NDArray[np.bool_],
    u: NDArray[np.int64],
    r: NDArray[np.int64],
    g: NDArray[np.int64],
    raters: int,
    grades: int,
    smoothing: float,
) -> tuple[Floats, Floats]:
    """Every rater's matrix and the prior, given the probabilities of the true grades."""
    counts = np.empty((grades, raters * grades))
    for true in range(grades):
        counts[true] = np.bincount(r * grades + g, weights=probs[u, true], minlength=raters * grades)
    table = counts.reshape(grades, raters, grades).transpose(1, 0, 2) + smoothing
    total = table.sum(2, keepdims=True)
    confusion = np.where(total > 0, table / np.where(total > 0, total, 1), 1 / grades)
    return confusion, probs[voted].mean(0)


def _expected(
    confusion: Floats, prior: Floats, u: NDArray[np.int64], r: NDArray[np.int64], g: NDArray[np.int64], units: int
) -> tuple[Floats, float]:
    """(probabilities of each unit's true grade, log likelihood of all votes)."""
    with np.errstate(divide="ignore"):
        logs, log_prior = np.log(np.maximum(confusion, 1e-300)), np.log(np.maximum(prior, 1e-300))
    each = logs[r, :, g]
    joint = np.stack([np.bincount(u, weights=each[:, true], minlength=units) for true in range(len(prior))], axis=1) + log_prior
    top = joint.max(1, keepdims=True)
    weight = np.exp(joint - top)
    total = weight.sum(1, keepdims=True)
    return weight / total, float((np.log(total) + top).sum())
