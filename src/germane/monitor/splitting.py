"""What a change is made of: search, traffic, catalogue and judge, in parts that add up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.monitor.changes import MIX, PAIRED
from germane.monitor.counterfactual import Anchors, Listed, Shown, rejudged, shown
from germane.monitor.days import ALL, Day, Lists, Seen
from germane.stats.means import t_quantile
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]
CAUSES = ("search", "traffic", "catalogue", "judge")
ABLE = {"": (0, 1, 2, 3), PAIRED: (0, 2, 3), MIX: (1,)}
"""Which causes can show in which part of a change: of the same queries, traffic does not."""

EXAMPLES = 5
MAIN = 0.6
"""The least share of the total that a named cause accounts for."""

GROUPS = 20
"""Groups of anchors that are left out in turn, for what the judge's map may be wrong by."""


class Example(NamedTuple):
    """A query that carries the change: what it adds to it, in units of the metric, and both result lists."""

    query: str
    part: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """A change in its four parts, in units of the metric; they add up to the total exactly.

    cause: the part that the intervals support as the main one, "" where none is: it and the change that the alert is of
    exclude 0 on the same side, it is `MAIN` of that change or more, and it exceeds the next one clearly.
    """

    search: Estimate
    traffic: Estimate
    catalogue: Estimate
    judge: Estimate
    total: Estimate
    cause: str
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()


def split(
    before: Seen | Sequence[Seen],
    after: Seen | Sequence[Seen],
    *,
    anchors: Anchors | None = None,
    arrived: Collection[str] = (),
    gone: Collection[str] = (),
    segment: str = ALL,
    part: str = "",
    k: int = 25,
    level: float = 0.95,
) -> Split:
    """The change of sDCG@k from before to after, over the panel's queries of a segment, in four parts with intervals.

    before, after: a day and its lists, or as many days on both sides: then each is split from the one in its place, and the
    parts are averaged, which steadies them. Take the same weekdays, a week apart, so that no weekday's mix is read as a
    change. anchors: fixed pairs judged on both days past the store. arrived, gone: ids that came into
    the catalogue, or left it, between. A part is Shapley's: what its factor changes, averaged over all orders in which the
    four may change. Search is order and choice among documents there on both days. Queries asked on one day only count as
    traffic; a document without an answer takes its answer of the other day, else its query is left out, and it is said.
    part: of the alert, "same queries" or "mix of queries": the cause is then sought where such an alert can have one, search,
    catalogue and judge or traffic, and weighed against their sum; "" takes all four.
    Source: Shapley (1953); for changes over time: Shorrocks (2013), J. Economic Inequality 11; docs/statistics/split.md.
    Raises: InputError for unequal numbers of days, days whose lists are of other queries, and where no query has an answer.
    """
    befores, afters = ([s] if isinstance(s, Seen) else list(s) for s in (before, after))
    if not befores or len(befores) != len(afters):
        raise InputError(f"{len(befores)} days before and {len(afters)} after: give as many of each, one at least")
    pairs = [_Pair.of(old, new, set(arrived), set(gone), segment, k) for old, new in zip(befores, afters, strict=True)]
    judged = anchors or Anchors(np.empty(0), np.empty(0))
    parts, influence = _averaged(pairs, judged)
    variance = _of_anchors(pairs, judged, parts)
    strata = {q: str(s) for pair in pairs for q, s in zip(pair.query.tolist(), pair.strata.tolist(), strict=True)}
    queries, u = list(influence), np.array(list(influence.values()))
    code = np.unique([strata[q] for q in queries], return_inverse=True)[1]

    def se(weights: Sequence[float]) -> float:
        w = np.array(weights)
        return float(np.sqrt(_variance(u @ w, code) + w @ variance @ w))

    def told(weights: Sequence[float], what: str, at: float) -> Estimate:
        value, spread = float(np.dot(weights, parts)), se(weights)
        margin = t_quantile((1 + at) / 2, max(len(queries) - 1, 1)) * spread
        return Estimate(value, spread, value - margin, value + margin, len(queries), f"{what}, Shapley", at)

    unit = np.eye(4).tolist()
    each = [told(unit[i], CAUSES[i], level) for i in range(4)]
    total = told([1.0] * 4, "change of the panel's level", level)
    strict, able = 1 - (1 - level) / 4, ABLE[part]
    whole = told([float(i in able) for i in range(4)], "change that the alert is of", level)
    candidates = {i: told(unit[i], CAUSES[i], strict) for i in able}

    def ahead(i: int, j: int) -> Estimate:
        return told((np.array(unit[i]) - np.array(unit[j])).tolist(), "difference of two parts", level)

    cause = _cause(candidates, whole, ahead)
    notes = [*dict.fromkeys(note for pair in pairs for note in pair.notes)]
    if anchors is None:
        notes.append("no anchors: the judge's part is only what documents of both days show")
    return Split(each[0], each[1], each[2], each[3], total, cause, _examples(pairs[0]), tuple(notes))


class _Pair(NamedTuple):
    """Two days, row for row the same queries: lists under each counterfactual, and traffic."""

    query: NDArray[np.str_]
    strata: NDArray[np.str_]
    w: Floats  # (2, n)
    lists: Shown
    k: int
    shown: list[tuple[tuple[str, ...], tuple[str, ...]]]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, old: Seen, new: Seen, arrived: set[str], gone: set[str], segment: str, k: int) -> _Pair:
        for day, lists in (old, new):
            if day.query.tolist() != lists.query.tolist():
                raise InputError(f"day {day.date}: its lists are of other queries, or in another order: give one row each")
        one, two = _rows_of(old.day, segment), _rows_of(new.day, segment)
        names = [*two, *(q for q in one if q not in two)]
        under = shown([(_list(old.lists, one.get(q)), _list(new.lists, two.get(q))) for q in names], arrived, gone, k)
        w = np.array(
            [
                [old.day.weights[one[q]] if q in one else 0.0 for q in names],
                [new.day.weights[two[q]] if q in two else 0.0 for q in names],
            ]
        ).reshape(2, -1)
        keep = under.complete & (w.sum(0) > 0)
        left = int((~under.complete).sum())
        if not (w[0, keep].sum() > 0 and w[1, keep].sum() > 0):
            raise InputError(
                f"{old.day.date} to {new.day.date}, {segment}: no query of the panel has all its answers on both days"
            )
        strata = np.array([new.day.stratum[two[q]] if q in two else old.day.stratum[one[q]] for q in names])
        both = [
            (tuple(old.lists.docs[one[q]]) if q in one else (), tuple(new.lists.docs[two[q]]) if q in two else ())
            for q, kept in zip(names, keep, strict=True)
            if kept
        ]
        notes = (f"{left} of {len(names)} queries are left out: a document has no answer on either day",) if left else ()
        return cls(np.array(names)[keep], strata[keep], w[:, keep], under.of(keep), k, both, notes)

    def values(self, anchors: Anchors) -> Floats:
        """(n, 2, 2, 2) the metric of each query by search, catalogue and judge, each as before or as after."""
        gains = np.stack(rejudged(self.lists, anchors))  # (2, documents + 1), the last one no document
        x = self.lists.rows  # (n, 2, 2, k) which document stands there
        discount = 1 / np.log2(np.arange(self.k) + 2.0)
        return np.asarray(np.moveaxis(gains[:, x] @ discount, 0, -1) / discount.sum())

    def parts(self, anchors: Anchors) -> tuple[Floats, Floats]:
        """(4,) Shapley parts, and (n, 4) each query's influence on them."""
        x = self.values(anchors)
        share = self.w / self.w.sum(1, keepdims=True)
        level: dict[tuple[int, ...], float] = {}
        u: dict[tuple[int, ...], Floats] = {}
        for t, s, c, j in product((0, 1), repeat=4):
            v = float(share[t] @ x[:, s, c, j])
            level[s, t, c, j], u[s, t, c, j] = v, share[t] * (x[:, s, c, j] - v)
        parts, influence = np.zeros(4), np.zeros((len(x), 4))
        for i in range(4):
            for rest in product((0, 1), repeat=3):
                size = sum(rest)
                weight = factorial(size) * factorial(3 - size) / factorial(4)
                low, high = ((*rest[:i], value, *rest[i:]) for value in (0, 1))
                parts[i] += weight * (level[high] - level[low])
                influence[:, i] += weight * (u[high] - u[low])
        return parts, influence


def _averaged(pairs: Sequence[_Pair], anchors: Anchors) -> tuple[Floats, dict[str, Floats]]:
    """(4,) the parts over all pairs of days, and each query's influence on them."""
    total = np.zeros(4)
    influence: dict[str, Floats] = {}
    for pair in pairs:
        parts, u = pair.parts(anchors)
        total += parts / len(pairs)
        for query, row in zip(pair.query.tolist(), u / len(pairs), strict=True):
            influence[query] = influence[query] + row if query in influence else row
    return total, influence


def _of_anchors(pairs: Sequence[_Pair], anchors: Anchors, parts: Floats) -> Floats:
    """(4, 4) what the judge's map, learned on some anchors, adds to the variance: groups of them left out in turn.

    Where none of m anchors moved, nothing would be left to vary, and still 3 in m may move unseen: then as if one of them had
    moved to the next value.
    """
    said = np.isfinite(anchors.before) & np.isfinite(anchors.after)
    then, now = anchors.before[said], anchors.after[said]
    if not then.size:
        return np.zeros((4, 4))
    if np.array_equal(then, now):  # none moved: of so few, one might have
        off = _averaged(pairs, Anchors(then, then - _least_move(then) / then.size))[0] - parts
        return np.asarray(np.outer(off, off), np.float64)
    m, groups = then.size, min(GROUPS, then.size)
    if groups < 2:
        return np.zeros((4, 4))
    moved = []
    for g in range(groups):
        kept = np.arange(m) % groups != g
        moved.append(_averaged(pairs, Anchors(then[kept], now[kept]))[0])
    off = np.array(moved) - parts
    return np.asarray((groups - 1) / groups * off.T @ off)


def _least_move(gains: Floats) -> float:
    """From a gain to the next: the smallest difference that anchors have, the whole scale where they have one gain only."""
    values = np.unique(gains)
    return float(np.diff(values).min()) if values.size > 1 else 1.0


def _variance(u: Floats, code: NDArray[np.int64]) -> float:
    """Of a sum of influences over a stratified draw; a stratum of one query adds its square."""
    size = np.bincount(code).astype(np.float64)
    sums, squares = np.bincount(code, weights=u), np.bincount(code, weights=u**2)
    several = size > 1
    spread = np.where(several, (squares - sums**2 / size) * size / np.maximum(size - 1, 1), squares)
    return float(np.maximum(spread, 0).sum())


def _cause(candidates: Mapping[int, Estimate], whole: Estimate, ahead: Callable[[int, int], Estimate]) -> str:
    """The main part, "" if the intervals do not support one."""
    sign = 1.0 if whole.value > 0 else -1.0

    def clear(e: Estimate) -> bool:
        return e.low > 0 if sign > 0 else e.high < 0

    order = sorted(candidates, key=lambda i: -sign * candidates[i].value)
    first = order[0]
    named = clear(whole) and clear(candidates[first]) and sign * candidates[first].value >= MAIN * abs(whole.value)
    return CAUSES[first] if named and all(clear(ahead(first, other)) for other in order[1:2]) else ""


def _examples(pair: _Pair) -> tuple[Example, ...]:
    """Queries that add most to the change, each by its traffic and its lists."""
    x = pair.values(Anchors(np.empty(0), np.empty(0)))
    share = pair.w / pair.w.sum(1, keepdims=True)
    was, now = x[:, 0, 0, 0], x[:, 1, 1, 1]
    middle = (share[0] @ was + share[1] @ now) / 2
    adds = share[1] * (now - middle) - share[0] * (was - middle)
    total = adds.sum()
    order = np.argsort(-adds * np.sign(total if total else 1.0), kind="stable")[:EXAMPLES]
    return tuple(Example(str(pair.query[i]), float(adds[i]), *pair.shown[i]) for i in order if adds[i] * total > 0)


def _rows_of(day: Day, segment: str) -> dict[str, int]:
    """Query -> row, of the panel's queries in a segment; of all where the day has no panel."""
    inside = day.panel if day.panel.any() else np.ones(len(day), np.bool_)
    members = day.members()
    inside = inside & members.get(segment, np.zeros(len(day), np.bool_))
    return {str(day.query[i]): int(i) for i in np.flatnonzero(inside)}


def _list(lists: Lists, row: int | None) -> Listed | None:
    if row is None:
        return None
    gains = np.asarray(lists.gains[row], np.float64)
    fresh = np.ones(gains.size, np.bool_) if lists.fresh is None else np.asarray(lists.fresh[row], np.bool_)
    return Listed(tuple(lists.docs[row]), gains, fresh)
