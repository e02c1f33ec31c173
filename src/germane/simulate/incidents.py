"""Days of a watched search with what was shown, and an incident whose cause is known: for what a change is made of.

Each query has a pool of documents with gains and a ranking that wavers from day to day. From the incident's day on the search
ranks worse, documents leave the catalogue, traffic moves to queries that search serves badly, or a judge grades harder under
an unchanged name. The drop is reached exactly in expectation, by as many queries as it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.simulate.years import Incident, Market, members_of, traffic_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POOL, SHOWN, STEPS = 14, 10, 3
"""Documents of a query, those shown, and grades above 0."""

WAVERS = 3.6
"""SD of a document's daily rank noise, in ranks, where a query is not quiet: day over day sDCG@10 differs with SD 0.05."""

ANCHORS = 400


class ShownDay(NamedTuple):
    """A day of n queries. names: (n,). requests: (n,). segments: column -> (n,). docs: (n, k) ids, -1 for none. gains: (n, k)
    by that day's judge. anchors: (m,) gains of the fixed pairs by that day's judge. gone: ids that left the catalogue.
    arrived: ids that came into it. fresh: (n, k) True where the label was made that day, past or beside a store.
    """

    names: NDArray[np.str_]
    requests: Floats
    segments: dict[str, NDArray[np.str_]]
    docs: Ints
    gains: Floats
    anchors: Floats
    gone: frozenset[int]
    arrived: frozenset[int] = frozenset()
    fresh: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Trouble:
    """What else makes an incident hard to name. also: incidents beside the first, on its day. churn: share of all documents
    that give way to new ones on that day, no better and no worse. anchors: how many there are. alike: False if a judge that
    changed in one segment moves that segment's share of the anchors only.
    """

    also: tuple[Incident, ...] = ()
    churn: float = 0.0
    anchors: int = ANCHORS
    alike: bool = True


def shown_days(
    market: Market | None,
    incident: Incident | None,
    *,
    days: int,
    seed: int,
    store: bool = False,
    trouble: Trouble | None = None,
) -> Iterator[ShownDay]:
    """Days one after the other, fixed by the seed. store: labels are made once, so that a judge's change shows in new pairs
    and in the anchors alone.

    Source: a design of ours, in the constants above. A simulation, never a measurement.

    >>> days = list(shown_days(Market(queries=100), Incident(2, "catalogue", "all", 0.05), days=4, seed=1))
    >>> len(days), days[0].docs.shape, len(days[1].gone), len(days[2].gone) > 0
    (4, (100, 10), 0, True)
    """
    market, trouble = replace(market or Market(), between=0.2), trouble or Trouble()
    rng = np.random.default_rng(seed)
    names, member = members_of(market, rng)
    n = market.queries
    columns = {
        column: np.array([next(v for v in values if member[q, names.index(f"{column}={v}")]) for q in range(n)])
        for column, values in market.segments.items()
    }
    spread = market.level * (1 - market.level) / market.between**2 - 1
    mean = rng.beta(market.level * spread, (1 - market.level) * spread, n)
    grade = rng.binomial(STEPS, np.clip(mean[:, None] + rng.normal(0, 0.15, (n, POOL)), 0.02, 0.98))
    w = traffic_of(market, names, member, days, rng)
    there = np.ones((n, POOL), np.bool_)
    demoted = np.zeros((n, POOL))
    harder = np.zeros((n, POOL), np.int64)
    anchor = rng.binomial(STEPS, rng.beta(market.level * spread, (1 - market.level) * spread, trouble.anchors))
    seen = np.zeros((n, POOL), np.bool_)
    gone, arrived = frozenset[int](), frozenset[int]()
    number = np.arange(POOL) + POOL * np.arange(n)[:, None]
    for t in range(days):
        for each in (incident, *trouble.also) if incident and t == incident.day else ():
            inside = member[:, names.index(each.segment)]
            target = each.drop * _level(grade, w[:t].mean(0), inside)
            if each.cause == "traffic":
                _draw_traffic(w, t, grade, inside, target)
            elif each.cause == "judge":
                p = target / (_discounted((grade[:, :SHOWN] > 0) / STEPS)[inside] @ w[0][inside] / w[0][inside].sum())
                harder = ((rng.random((n, POOL)) < p) & inside[:, None] & (grade > 0)).astype(np.int64)
                moved = np.arange(anchor.size) < anchor.size * (1.0 if trouble.alike else inside.mean())
                anchor = anchor - ((rng.random(anchor.size) < p) & (anchor > 0) & moved)
            else:
                _strike(each.cause, target, inside, grade, w[:t].mean(0), there, demoted, rng)
                gone |= frozenset(number[~there].tolist())
        if trouble.churn and incident and t == incident.day:
            new = (rng.random((n, POOL)) < trouble.churn) & there
            gone |= frozenset(number[new].tolist())
            grade = np.where(
                new, rng.binomial(STEPS, np.clip(mean[:, None] + rng.normal(0, 0.15, (n, POOL)), 0.02, 0.98)), grade
            )
            number = np.where(new, number + n * POOL, number)
            seen[new], arrived = False, frozenset(number[new].tolist())
        loud = rng.random(n) >= market.quiet
        noise = np.where(loud[:, None], rng.normal(0, WAVERS, (n, POOL)), 0.0)
        order = np.argsort(np.where(there, np.arange(POOL) + demoted + noise, np.inf), axis=1, kind="stable")[:, :SHOWN]
        here = np.take_along_axis(there, order, 1)
        now = np.maximum(grade - np.where(seen, 0, harder), 0) if store else np.maximum(grade - harder, 0)
        made = ~np.take_along_axis(seen, order, 1) if store else np.ones(order.shape, np.bool_)
        if not (incident and t >= incident.day):
            np.put_along_axis(seen, order, True, 1)
        gains = np.take_along_axis(now, order, 1) / STEPS
        ids = np.take_along_axis(number, order, 1)
        texts = np.array([f"q{q}" for q in range(n)])
        said = np.where(here, gains, 0.0)
        yield ShownDay(texts, w[t], columns, np.where(here, ids, -1), said, anchor / STEPS, gone, arrived, made)


def _discounted(gains: Floats) -> Floats:
    """(n,) sDCG of the documents shown."""
    discount = 1 / np.log2(np.arange(SHOWN) + 2.0)
    return np.asarray(gains[:, :SHOWN] @ discount / discount.sum())


def _level(grade: Ints, weight: Floats, inside: NDArray[np.bool_]) -> float:
    return float(_discounted(grade / STEPS)[inside] @ weight[inside] / weight[inside].sum())


def _draw_traffic(w: Floats, t: int, grade: Ints, inside: NDArray[np.bool_], target: float) -> None:
    """From day t on, queries that search serves badly are asked so much more that the level falls by the target."""
    value, weight = _discounted(grade / STEPS), w[:t].mean(0)
    low = inside & (value < np.median(value[inside]))
    rest = inside & ~low
    a, b = (float(value[g] @ weight[g] / weight[g].sum()) for g in (low, rest))
    level = float(value[inside] @ weight[inside] / weight[inside].sum())
    wanted = max(level - target, a + 1e-3)
    w[t:, low] *= weight[rest].sum() * (b - wanted) / (weight[low].sum() * (wanted - a))


def _strike(
    cause: str,
    target: float,
    inside: NDArray[np.bool_],
    grade: Ints,
    weight: Floats,
    there: NDArray[np.bool_],
    demoted: Floats,
    rng: np.random.Generator,
) -> None:
    """Query by query, in random order, until the level fell by the target: its best documents leave, or rank last."""
    was, share = _discounted(grade / STEPS), weight / weight[inside].sum()
    fallen = 0.0
    for q in rng.permutation(np.flatnonzero(inside)).tolist():
        if fallen >= target:
            break
        best = np.argsort(-grade[q, :SHOWN], kind="stable")[:2]
        if cause == "catalogue":
            there[q, best] = False
        else:
            demoted[q, best] = POOL
        order = np.argsort(np.where(there[q], np.arange(POOL) + demoted[q], np.inf), kind="stable")[:SHOWN]
        fallen += share[q] * (was[q] - float(_discounted((grade[q, order] * there[q, order] / STEPS)[None])[0]))


def metrics_of(days: Sequence[ShownDay]) -> list[Floats]:
    """(n,) sDCG of each day's lists, a day a row: to look at, or to check the constants by.

    >>> [a, b] = metrics_of(list(shown_days(Market(queries=2000), None, days=2, seed=1)))
    >>> 0.04 < float((b - a).std()) < 0.06
    True
    """
    return [_discounted(day.gains) for day in days]
