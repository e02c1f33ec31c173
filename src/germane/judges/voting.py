"""Several samples of one judge make one answer: a vote, and when it is decided before all were asked. Pure.

A sample without an answer stays in the denominator: a grade needs more than half of all that were to be asked, and the
median more than half of them to have answered. What is not settled so is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import comb, exp, lgamma, log2
from typing import NamedTuple

import numpy as np

from germane.types import InputError

RULES = ("majority", "median")
PRIOR = 0.5
"""Samples that the prior over a pair's grades is worth, spread evenly over them: two samples of such a judge agree on 75 % of
the pairs of a scale with four grades. `prior_of` finds it for a judge.
"""
LEAST, MOST = 0.01, 100.0

Votes = Sequence[int | None]


class Vote(NamedTuple):
    """The answer of n samples. relevance: index on the scale, None for no answer.

    probs: each grade's share of the samples that answered. self_agreement: the share of all n that gave the grade. entropy:
    of the samples that answered over the grades, in bits. Where fewer than n were asked, the last three are what is
    expected of all n. None where there is nothing to count: no grade, or nobody answered.
    """

    relevance: int | None
    probs: tuple[float, ...] | None
    self_agreement: float | None
    entropy: float | None


def vote(votes: Votes, size: int, *, n: int, rule: str = "median", prior: float = PRIOR) -> Vote:
    """The answer of n samples on a scale of `size` grades, of which `votes` were asked so far (None: it gave no answer).

    majority: the grade of more than half of n. median: the middle grade of those that answered, the lower of two (language
    models err towards lenience), if more than half of n answered. prior: see `PRIOR`; it has no part in the grade.

    Samples that were not asked are taken as drawn from Polya's urn: an answer as likely as among those asked, and each grade
    as its votes so far and its part of the prior. So a vote that stopped early is not taken to be surer than a whole one.
    Source: Johnson, Kotz (1977), Urn Models and Their Application, 4.2 (the Dirichlet-multinomial).

    Raises: InputError for a rule, a size, an n, a prior or a vote that cannot be.

    >>> vote([3, 3, 2, None, 3], 4, n=5)
    Vote(relevance=3, probs=(0.0, 0.0, 0.25, 0.75), self_agreement=0.6, entropy=0.8112781244591328)
    >>> stopped = vote([3, 3, 3], 4, n=5)
    >>> stopped.relevance, round(stopped.self_agreement, 3), round(stopped.entropy, 3)
    (3, 0.957, 0.142)
    """
    counts, missing = _counted(votes, size, n, rule)
    if not prior > 0:
        raise InputError(f"a prior of {prior!r} samples: expected a number above 0")
    relevance = _answer(counts, n, rule)
    answered = int(counts.sum())
    if not answered:
        return Vote(None, None, None, None)
    left = n - len(votes)
    future = (counts + prior / size) / (answered + prior) * left * answered / len(votes)
    whole = counts + future
    agreement = None if relevance is None else float(whole[relevance]) / n
    return Vote(relevance, tuple((whole / whole.sum()).tolist()), agreement, _entropy(counts, missing, left, prior))


def prior_of(samples: Iterable[Votes], size: int) -> float:
    """The prior of a judge's votes, in samples, from its votes on many pairs: only such as were asked whatever they said.

    samples: the first wave of each pair. A judge that always agrees with itself has the least, 0.01, one that draws lots the
    most, 100. Source: moments of the Dirichlet-multinomial (Mosimann 1962): two samples agree in (1 + a) / (1 + size a), where
    the prior is size a.

    Raises: InputError where no pair was answered twice.

    >>> round(prior_of([[3, 3, 3], [3, 2, 3], [0, 0, 0], [1, 1, None]], 4), 3)
    0.286
    """
    shares = []
    for votes in samples:
        counts, _ = _counted(votes, size, max(len(votes), 1), "median")
        m = int(counts.sum())
        if m > 1:
            shares.append(float((counts * (counts - 1)).sum()) / (m * (m - 1)))
    if not shares:
        raise InputError("no pair has two samples that answered: how well a judge agrees with itself cannot be known")
    agree = sum(shares) / len(shares)
    return min(max(size * (1 - agree) / (size * agree - 1), LEAST), MOST) if size * agree > 1 else MOST


def decided(votes: Votes, size: int, *, n: int, rule: str = "median") -> bool:
    """Whether the answer stands: none of the samples still to come can change the grade, or make or unmake one.

    >>> decided([3, 3, 3], 4, n=5), decided([3, 3, 2], 4, n=5)
    (True, False)
    """
    counts, _ = _counted(votes, size, n, rule)
    return _decided(counts, n - len(votes), n, rule)


def wave(votes: Votes, size: int, *, n: int, rule: str = "median") -> int:
    """How many samples to send next: the fewest that could decide it; 0 where it is decided.

    Waves of this size ask for no sample that could turn out to be of no use; the first is half of n, rounded up.

    >>> wave([], 4, n=5), wave([3, 3, 2], 4, n=5), wave([3, 3, 3], 4, n=5)
    (3, 1, 0)
    """
    counts, _ = _counted(votes, size, n, rule)
    left = n - len(votes)
    if _decided(counts, left, n, rule):
        return 0
    # Copies of one grade decide on it soonest; samples without an answer, the row of zeros, decide soonest that there is none.
    ways = np.eye(size + 1, size, dtype=np.int64)
    return next((k for k in range(1, left) if any(_decided(counts + k * way, left - k, n, rule) for way in ways)), left)


def _counted(votes: Votes, size: int, n: int, rule: str) -> tuple[np.ndarray, int]:
    """Votes of each grade, shape (size,), and the samples without an answer."""
    if rule not in RULES:
        raise InputError(f"no rule {rule!r} of a vote: expected one of {', '.join(RULES)}")
    if size < 2 or n < 1 or len(votes) > n:
        raise InputError(
            f"{len(votes)} votes of n = {n} on {size} grades: n is at least 1 and at least the votes, grades are 2"
        )
    wrong = [v for v in votes if v is not None and not 0 <= v < size]
    if wrong:
        raise InputError(f"vote {wrong[0]!r} is not on a scale of {size} grades: expected 0 to {size - 1}, or None")
    counts = np.bincount([v for v in votes if v is not None], minlength=size).astype(int)
    return counts, len(votes) - int(counts.sum())


def _answer(counts: np.ndarray, n: int, rule: str) -> int | None:
    answered = int(counts.sum())
    if rule == "majority":
        best = int(counts.argmax())
        return best if 2 * counts[best] > n else None
    return int(np.searchsorted(np.cumsum(counts), (answered + 1) // 2)) if 2 * answered > n else None


def _decided(counts: np.ndarray, left: int, n: int, rule: str) -> bool:
    """Every completion has one answer. The median rises with each vote, so the extremes tell for each number of answers."""
    if left == 0:
        return True
    now = _answer(counts, n, rule)
    if rule == "majority":
        return now is not None or 2 * (int(counts.max()) + left) <= n
    for more in range(1, left + 1):
        for end in (0, len(counts) - 1):
            then = counts.copy()
            then[end] += more
            if _answer(then, n, rule) != now:
                return False
    return True


def _entropy(counts: np.ndarray, missing: int, left: int, prior: float) -> float:
    """The entropy of the samples over the grades in bits, as is expected of all where `left` were not asked."""
    share = prior / len(counts)
    answered = int(counts.sum())
    total = 0.0
    for more in range(left + 1):  # how many of those not asked would have answered
        for c in counts.tolist():
            rest = answered + prior - c - share
            for k in range(more + 1):  # and how many of those with this grade
                p = (c + k) / (answered + more)
                if 0 < p < 1:
                    chance = _beta_binomial(more, left, answered, missing) * _beta_binomial(k, more, c + share, rest)
                    total -= chance * p * log2(p)
    return total


def _beta_binomial(k: int, n: int, a: float, b: float) -> float:
    """The chance of k of n draws from Polya's urn with a of the one and b of the other."""
    if b == 0:
        return float(k == n)

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    return comb(n, k) * exp(log_beta(k + a, n - k + b) - log_beta(a, b))
