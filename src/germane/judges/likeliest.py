"""Grades from the likeliest tokens of a reply, as servers tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SURELY = 1e-9  # a probability that is known to be under a bound, and not known, is at least this: its logarithm is a number
LEAST_MASS, MOST_MASS = 0.25, 0.8
"""Probability that the grades' tokens must have together: a model that would rather say something else gave no grade. Under
the second it is said in the note."""


class Graded(NamedTuple):
    """shares: (grades,) probabilities of the symbols, as told. mass: their sum. why: they are no grade, "" if they are."""

    shares: NDArray[np.float64]
    mass: float
    why: str = ""
    note: str = ""


def graded_tokens(top: Mapping[str, float], symbols: Sequence[str], tokens: Sequence[int | None] | None = None) -> Graded:
    """The probabilities of the grades' symbols. top: token -> log-probability. tokens: ids of the symbols' tokens, where
    known: servers that name tokens by id ("token_id:17") tell those of the same letters apart.

    A symbol that is not among the likeliest has less than the least of them, and than is left: it gets that bound.

    >>> graded_tokens({"E": -0.5, "S": -1.2, "x": -3.0}, ("I", "S", "E")).shares.round(3).tolist()
    [0.042, 0.301, 0.607]
    """
    known = {name: float(value) for name, value in top.items() if value is not None}
    shares = np.array([_share(known, s, i) for s, i in zip(symbols, tokens or [None] * len(symbols), strict=True)])
    mass = float(shares.sum())
    if not np.isfinite(mass) or not mass > 0:
        return Graded(np.full(len(shares), np.nan), 0.0, f"it would say {next(iter(known), '')!r}")
    unseen = shares == 0
    bound = min(float(np.exp(min(known.values()))), max(1.0 - float(np.exp(list(known.values())).sum()), 0.0))
    shares[unseen] = max(bound, SURELY)
    names = [s for s, missing in zip(symbols, unseen, strict=True) if missing]
    told = f"not among the {len(known)} likeliest tokens: {', '.join(names)} (each under {max(bound, SURELY):.1g})"
    why = "" if mass >= LEAST_MASS else f"the grades had {mass:.1%} of the probability, under {LEAST_MASS:.0%}"
    little = f"the grades had {mass:.0%} of the probability" if mass < MOST_MASS else ""
    return Graded(shares, mass, why, "; ".join(filter(None, (little, told if names else ""))))


def _share(known: Mapping[str, float], symbol: str, token: int | None) -> float:
    """The probability of a symbol: of its token where tokens are named by id, else of all that read as the symbol."""
    if token is not None and (named := [p for name, p in known.items() if name == f"token_id:{token}"]):
        return float(np.exp(named[0]))
    return float(np.exp([p for name, p in known.items() if name.strip() == symbol]).sum())
