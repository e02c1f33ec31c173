"""The best use of a budget for labels: how many queries a judge grades, how many of these people grade too, and where."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from numpy.typing import ArrayLike

from germane.stats.allocation import Floats, Ints, amounts, apportion, counts, neyman
from germane.types import InputError

FACTORS = (0.1, 0.12, 0.15, 0.18, 0.22, 0.27, 0.33, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0)


@dataclass(frozen=True)
class Prices:
    """What one query costs. documents: to be graded a query. raters: people a document. *_money: of one label. rate: labels
    that one person gives in an hour, None if unknown."""

    documents: float
    people_money: float = 0.0
    judge_money: float = 0.0
    rate: float | None = None
    raters: int = 1

    @property
    def labels(self) -> float:
        """People's labels of one query."""
        return self.documents * self.raters


@dataclass(frozen=True)
class Budget:
    """What may be spent, None = not limited. labels, hours: of people. money: on both. judge_labels: of the judge."""

    labels: float | None = None
    hours: float | None = None
    money: float | None = None
    judge_labels: float | None = None

    def times(self, factor: float) -> Budget:
        """Every budget by a factor."""
        parts = {name: getattr(self, name) for name in ("labels", "hours", "money", "judge_labels")}
        return Budget(**{name: None if value is None else value * factor for name, value in parts.items()})


@dataclass(frozen=True)
class Choice:
    """A way to spend a budget: `judged` queries by the judge, `audited` of these (or, without a judge, all) by people.

    se: of the estimate, in units of the SDs.
    """

    judged: int
    audited: int
    se: float

    @property
    def share(self) -> float:
        """Of the judged queries that people grade too."""
        return self.audited / self.judged if self.judged else 1.0


@dataclass(frozen=True)
class Choices:
    """The best way to spend a budget, and what people alone and the judge alone would have given; None where they cannot.

    The judge alone estimates its own difference, not people's, with the same SDs: no n makes that the same question.
    """

    best: Choice
    people_only: Choice
    judge_only: Choice | None


@dataclass(frozen=True)
class Strata:
    """What a plan needs of the strata, each (H,): queries, SD of people's difference, least sample and audit."""

    populations: Ints
    sds: Floats
    least: Ints
    minimum: Ints

    @classmethod
    def of(cls, populations: ArrayLike, sds: ArrayLike, *, least: ArrayLike | None = None, minimum: int = 2) -> Strata:
        """least: of each stratum's sample, such as `floors_met` gives; `minimum` counts for the audit as well.

        Raises: InputError for negative or unequal input.
        """
        size = counts("populations", populations)
        low = np.minimum(size, minimum)
        sample = low if least is None else np.maximum(counts("least", least), low)
        return cls(size, amounts("sds", sds, size.size), sample, low)

    @property
    def shares(self) -> Floats:
        """W_h S_h."""
        return np.asarray(self.populations / self.populations.sum() * self.sds)


def best_choices(
    strata: Strata, budget: Budget, prices: Prices, *, rho: float | None = None, least_audited: int = 30
) -> Choices:
    """How many queries to judge and to audit for the smallest standard error, under all budgets at once.

    rho: correlation of the judge's and people's paired differences inside strata, None without a judge. least_audited: people
    grade at least that many, since an interval that rests on fewer is not reliable. Every pair of whole numbers is
    compared, so that the answer is exact, and a larger budget never has a larger se.

    Source: variance sum W_h^2 S_h^2 ((1 - rho^2) / n_h + rho^2 / m_h), both allocated by Neyman; without bounds the best
    share is `correction.best_audit_share`. `variances` is by equal proportions, Wright (2012).
    Raises: InputError for a budget that is too small (with the least that is enough), a negative cost, or rho outside (-1, 1).

    >>> strata = Strata.of([2000, 8000], [0.08, 0.06])
    >>> found = best_choices(strata, Budget(money=3000), Prices(10, people_money=0.5, judge_money=0.01), rho=0.8)
    >>> found.best.judged, found.best.audited, round(found.best.se / found.people_only.se, 2)
    (4750, 505, 0.71)
    """
    _check(budget, prices, rho)
    total, fewest = int(strata.populations.sum()), int(strata.least.sum())
    start = min(max(fewest, least_audited), total)
    per_query, per_judged = prices.labels * prices.people_money, prices.documents * prices.judge_money
    most = _most_people(budget, prices, total)
    alone = most if budget.money is None or not per_query else min(most, int(budget.money / per_query * (1 + 1e-12)))
    if alone < start:
        raise InputError(_too_small(start, len(strata.populations), budget, prices))
    judge_most = total if budget.judge_labels is None else min(total, int(budget.judge_labels / prices.documents * (1 + 1e-12)))
    of_all = variances(strata.shares, low=strata.least, high=strata.populations)
    of_audit = variances(strata.shares, low=strata.minimum, high=strata.populations)
    people = Choice(0, alone, sqrt(of_all[alone - fewest]))
    if rho is None:
        return Choices(people, people, None)

    def affordable(people_queries: Ints) -> Ints:  # by the judge, once people were paid
        if budget.money is None or per_judged == 0:
            return np.full(people_queries.shape, judge_most)
        left = np.floor((budget.money - people_queries * per_query) / per_judged * (1 + 1e-12))
        return np.asarray(np.minimum(left, judge_most), dtype=np.int64)

    low_judge = int(affordable(np.array([0]))[0])
    judge = Choice(low_judge, 0, sqrt(of_all[low_judge - fewest])) if low_judge >= fewest else None
    n = np.arange(start, alone + 1)
    m = affordable(n)
    n, m = n[m >= n], m[m >= n]
    if not n.size:
        return Choices(people, people, judge)
    variance = (1 - rho**2) * of_audit[n - int(strata.minimum.sum())] + rho**2 * of_all[m - fewest]
    at = int(variance.argmin())
    best = Choice(int(m[at]), int(n[at]), sqrt(variance[at]))
    return Choices(best if best.se < people.se * (1 - 1e-12) else people, people, judge)


def allocated(strata: Strata, choice: Choice) -> tuple[Ints, Ints]:
    """(queries in the sample, queries that people grade) of each stratum, both (H,).

    >>> strata = Strata.of([2000, 8000], [0.08, 0.06])
    >>> [part.tolist() for part in allocated(strata, Choice(400, 100, 0.0))]
    [[100, 300], [25, 75]]
    """
    sample = neyman(strata.populations, strata.sds, choice.judged or choice.audited, minimum=strata.least)
    if not choice.judged:
        return sample, sample
    shares = strata.shares if strata.shares.any() else strata.populations.astype(float)
    return sample, apportion(shares, choice.audited, low=np.minimum(strata.minimum, sample), high=sample)


def variances(shares: ArrayLike, *, low: ArrayLike, high: ArrayLike) -> Floats:
    """sum(shares^2 / m) of the best allocation of every n from sum(low) to sum(high), shape (sum(high) - sum(low) + 1,).

    Source: `apportion`'s argument: the next query goes where it is worth most, and each one's worth is known beforehand.

    >>> variances([1.0, 2.0], low=[2, 2], high=[3, 4]).round(3).tolist()
    [2.5, 1.833, 1.5, 1.333]
    """
    lows, highs = counts("low", low), counts("high", high)
    size = amounts("shares", shares, highs.size)
    worth = [share**2 / (m * (m + 1.0)) for share, m in zip(size, map(np.arange, lows, highs), strict=True)]
    spent = np.concatenate([[0.0], np.cumsum(np.sort(np.concatenate(worth))[::-1])])
    return np.maximum(float((size**2 / np.maximum(lows, 1)).sum()) - spent, 0.0)


def curve(
    strata: Strata,
    budget: Budget,
    prices: Prices,
    *,
    rho: float | None = None,
    least_audited: int = 30,
    factors: ArrayLike = FACTORS,
) -> tuple[tuple[float, Choices], ...]:
    """(factor, choices) for this budget times each factor; factors too small for any plan are left out."""
    found = []
    for factor in np.asarray(factors, dtype=float).tolist():
        try:
            found.append((factor, best_choices(strata, budget.times(factor), prices, rho=rho, least_audited=least_audited)))
        except InputError:
            continue
    return tuple(found)


def rho_of_confusion(confusion: ArrayLike, gains: ArrayLike) -> float:
    """The correlation of people's and a judge's gains over pairs, from a confusion matrix (people by row, judge by column).

    It is that of paired differences too where documents are alike and the judge's errors independent of each other, since a
    difference is a weighted sum of gains. Errors that documents of a query share make the real one smaller or larger.

    Raises: InputError for shapes that differ, and where one of the two gives the same gain to all.

    >>> round(rho_of_confusion([[40, 10], [10, 40]], [0.0, 1.0]), 3)
    0.6
    """
    table, gain = np.asarray(confusion, dtype=float), np.asarray(gains, dtype=float)
    if table.shape != (gain.size, gain.size) or not table.sum() > 0:
        raise InputError(f"a confusion matrix of shape {table.shape} for {gain.size} grades: is it of another scale?")
    odds = table / table.sum()
    people, judge = odds.sum(axis=1), odds.sum(axis=0)
    spread = sqrt(float((people @ gain**2 - (people @ gain) ** 2) * (judge @ gain**2 - (judge @ gain) ** 2)))
    if not spread > 0:
        raise InputError("people, or the judge, gave the same gain to all pairs: nothing can be said of their correlation")
    return float((gain @ odds @ gain - (people @ gain) * (judge @ gain)) / spread)


def _most_people(budget: Budget, prices: Prices, total: int) -> int:
    """Queries that people can grade within labels and hours."""
    limits = [float(total)]
    if budget.labels is not None:
        limits.append(budget.labels / prices.labels)
    if budget.hours is not None:
        limits.append(budget.hours * (prices.rate or 0.0) / prices.labels)
    return int(min(limits) * (1 + 1e-12))


def _too_small(start: int, strata: int, budget: Budget, prices: Prices) -> str:
    labels = start * prices.labels
    least = {"labels": labels, "hours": labels / (prices.rate or 1), "money": labels * prices.people_money}
    wanting = [
        f"{name} {np.ceil(need * 100) / 100:,.10g}" for name, need in least.items() if _short(getattr(budget, name), need)
    ]
    return (
        f"the budget is too small: people must grade at least {start} queries (two in each of {strata} strata, the floors, and "
        f"enough for an interval to rest on); the least budget is {', '.join(wanting)}"
    )


def _short(given: float | None, need: float) -> bool:
    return given is not None and given * (1 + 1e-12) < need


def _check(budget: Budget, prices: Prices, rho: float | None) -> None:
    if rho is not None and not -1 < rho < 1:
        raise InputError(f"rho is {rho}: expected a correlation above -1 and below 1")
    if budget == Budget() or budget == Budget(judge_labels=budget.judge_labels):
        raise InputError("no budget for people: give labels, hours or money, one at least")
    given = {"labels": budget.labels, "hours": budget.hours, "money": budget.money, "judge labels": budget.judge_labels}
    for name, value in given.items():
        if value is not None and not (isfinite(value) and value >= 0):
            raise InputError(f"a budget of {value} {name}: expected a finite number, 0 or more")
    costs = {"people's label": prices.people_money, "judge's label": prices.judge_money}
    for name, cost in costs.items():
        if not (isfinite(cost) and cost >= 0):
            raise InputError(f"the cost of a {name} is {cost}: expected a finite number, 0 or more")
    if not (isfinite(prices.documents) and prices.documents > 0) or prices.raters < 1:
        raise InputError(
            f"{prices.documents} documents a query for {prices.raters} raters: expected more than 0, and 1 or more"
        )
    if prices.rate is not None and not (isfinite(prices.rate) and prices.rate > 0):
        raise InputError(f"{prices.rate} labels an hour: expected a number above 0")
    if budget.hours is not None and prices.rate is None:
        raise InputError("a budget of hours needs the labels that one person gives in an hour")
    if budget.money is not None and not prices.people_money > 0:
        raise InputError("a budget of money needs the cost of a people's label")
