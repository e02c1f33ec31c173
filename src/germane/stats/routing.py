"""Which labels of a judge to accept, and which to send to people: what any number of people's labels buys, as estimates.

A judge says how sure it is of each grade. Pairs stand in *levels* of uncertainty, 0 the most certain; a `Cut` accepts the
judge's grades up to a level and sends the rest to people. Golden pairs, which people have graded too, say how good the
accepted part is. How many pairs a cut accepts is counted in the table that is routed, and is no estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats import clustered
from germane.stats.agreement import kappa_of, macro_f1_of
from germane.stats.clustered import Numbers, Tables
from germane.stats.means import t_quantile
from germane.types import Estimate, InputError

Codes = NDArray[np.int64]
Measure = Literal["exact", "within-one", "quadratic kappa", "macro F1"]
STEPS = 100
"""Cuts in which people's part grows, between none and all: a budget and a target are met to one part in so many."""


class Cut(NamedTuple):
    """A rule: accept the judge's grades of all levels below `level`, a part of that level drawn at random, and none above.

    accepted, labels: pairs of the table that the judge's grade is kept of, and that go to people.
    """

    level: int
    part: float
    accepted: int
    labels: int

    @property
    def share(self) -> float:
        """The accepted share of the table, 0 to 1."""
        return self.accepted / (self.accepted + self.labels)


class Golden(NamedTuple):
    """Golden pairs, a row each.

    gold, other: (n,) grades of people and judge. level: (n,) of the judge's uncertainty; -1 for no answer, where `other` is
    ignored. people: (n, grades) chance that people who are sent the pair give each grade (`blurred`, `left_votes`). query:
    (n,). weights: (n,) 1 / inclusion probability, or None.
    """

    gold: Codes
    other: Codes
    level: Codes
    people: Numbers
    query: NDArray[Any]
    weights: Numbers | None = None

    def accepted(self, cut: Cut) -> Numbers:
        """(n,) the chance that a cut accepts each pair: 1, 0, or its part where it divides the pair's level."""
        inside = (self.level >= 0) & (self.level < cut.level)
        return np.where(inside, 1.0, np.where(self.level == cut.level, cut.part, 0.0))


def entropy(probs: ArrayLike) -> Numbers:
    """(n,) entropy in bits of (n, grades) probabilities, NaN where a row is. Source: Shannon (1948), sec. 6.

    >>> entropy([[0.5, 0.5], [1.0, 0.0]]).tolist()
    [1.0, 0.0]
    """
    p = np.asarray(probs, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(abs(np.where(p > 0, p * np.log2(p), np.where(np.isnan(p), np.nan, 0.0)).sum(-1)))


def blurred(gold: ArrayLike, accuracy: float, grades: int) -> Numbers:
    """(n, grades) chance of people's grades who are right at a rate, and otherwise off by one, either way alike.

    >>> blurred([0, 1], 0.8, 3).round(2).tolist()
    [[0.8, 0.2, 0.0], [0.1, 0.8, 0.1]]
    """
    if not 0 < accuracy <= 1:
        raise InputError(f"people's accuracy is {accuracy}: give the share of their labels that is gold's, above 0 and up to 1")
    near = (abs(np.subtract.outer(np.arange(grades), np.arange(grades))) == 1).astype(float)
    table = accuracy * np.eye(grades) + (1 - accuracy) * near / near.sum(1, keepdims=True)
    return np.asarray(table[np.asarray(gold, dtype=np.int64)])


def left_votes(gold: ArrayLike, votes: ArrayLike, grades: int) -> Numbers:
    """(n, grades) chance of one more person's grade: the votes that made gold, less one for it, since that is why it is gold.

    votes: (n, raters) grades, NaN where a rater gave none. A pair with one vote takes the average of its grade's pairs.
    Source: ours; leaving out the vote that is conditioned on, as in a jackknife. It still flatters a little: gold is what
    most of the same few people said.
    Raises: InputError where no pair has two votes.

    >>> left_votes([1, 0], [[1, 1, 0], [0, 0, 0]], 2).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    a, v = np.asarray(gold, dtype=np.int64), np.asarray(votes, dtype=np.float64)
    counts = (v[:, :, None] == np.arange(grades)).sum(1).astype(float) - (np.arange(grades) == a[:, None])
    several = (counts.sum(1) > 0) & (counts >= 0).all(1)
    if not several.any():
        raise InputError("no golden pair has two people's grades: say how right people are, as 0.9, in place of their votes")
    found = np.where(several[:, None], counts / np.maximum(counts.sum(1, keepdims=True), 1), 0.0)
    for grade in np.unique(a[~several]):
        alike = several & (a == grade)
        found[~several & (a == grade)] = found[alike].mean(0) if alike.any() else np.eye(grades)[grade]
    return found


def cuts(counts: ArrayLike, unanswered: int, *, steps: int = STEPS) -> tuple[Cut, ...]:
    """Cuts from all pairs to people to the fewest: at every whole level if these are few, and at each of `steps` even shares.

    counts: (levels,) pairs of the table in each level, the most certain first. unanswered: pairs that only people can grade.
    They depend on the judge's uncertainty alone, never on gold.

    >>> [(cut.accepted, cut.level, cut.part) for cut in cuts([2, 2], 0, steps=4)]
    [(0, 0, 0.0), (1, 0, 0.5), (2, 0, 1.0), (3, 1, 0.5), (4, 1, 1.0)]
    """
    upto = np.cumsum(np.asarray(counts, dtype=np.int64))
    total = int(upto[-1]) if upto.size else 0
    wanted = {round(total * step / steps) for step in range(steps + 1)}
    wanted |= set(upto.tolist()) if upto.size <= steps else set()
    return tuple(cut_at(counts, unanswered, accepted) for accepted in sorted(wanted))


def cut_at(counts: ArrayLike, unanswered: int, accepted: int) -> Cut:
    """The cut that accepts so many pairs of the table, the most certain first.

    >>> cut_at([2, 4], 1, 3)
    Cut(level=1, part=0.25, accepted=3, labels=4)
    """
    sizes = np.asarray(counts, dtype=np.int64)
    upto = np.cumsum(sizes)
    total = int(upto[-1]) if upto.size else 0
    last = max(upto.size - 1, 0)
    level = last if accepted == total else int(np.searchsorted(upto, accepted))
    before = int(upto[level - 1]) if level else 0
    part = float(accepted > 0) if accepted in (0, total) else (accepted - before) / int(sizes[level])
    return Cut(level, part, accepted, total - accepted + unanswered)


def quality(golden: Golden, cut: Cut, *, measure: Measure = "exact", level: float = 0.95) -> Estimate | None:
    """How well a table's grades agree with people, if the judge's are kept up to a cut and people grade the rest.

    The mean of two parts, weighted by their shares of the table, which are known. exact, within-one: the accepted part's
    Wilson interval and the mean chance of people's grades on the part that is sent, put together by the method of variance
    estimates recovery with the correlation of the two over queries. quadratic kappa, macro F1: a jackknife over queries of
    the two parts' tables, put together first. None: fewer than two queries among the golden pairs that the cut accepts.

    Source: Cochran (1977), sec. 5A.9 (post-stratification); Zou and Donner (2008), whose parts are independent; ours are not.

    >>> golden = Golden(*map(np.array, ([0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0])), blurred([0, 1, 1, 0], 1.0, 2), np.arange(4))
    >>> quality(golden, cut_at([75, 25], 0, 75)).value
    1.0
    """
    if measure not in get_args(Measure):
        raise InputError(f"measure {measure!r}: expected one of {', '.join(get_args(Measure))}")
    return _quality(golden, golden.accepted(cut), cut.share, measure, level)


def at_random(golden: Golden, cut: Cut, *, measure: Measure = "exact", level: float = 0.95) -> Estimate | None:
    """The same quality, if as many of the answered pairs go to people, drawn at random: what a useless signal would give."""
    answered = (golden.level >= 0).astype(float)
    kept = cut.share / max(1e-12, float(np.average(answered, weights=golden.weights)))
    return _quality(golden, answered * min(1.0, kept), cut.share, measure, level)


def fewest(cuts: Sequence[Cut], target: float, find: Callable[[Cut], Estimate | None]) -> tuple[Cut, Estimate] | None:
    """The cut with the fewest labels of people that keeps a target, with its quality; None where no cut is shown to.

    cuts: from all to people to the fewest. find: the quality at a cut. From the safe end on, each cut is tested by the low
    end of its interval, and the first that misses the target ends the search: as the order never saw gold, the whole search
    is wrong no more often than one test is, (1 - level) / 2. Where people alone miss it, the judge alone is tested.

    Source: fixed-sequence testing: Bauer (1991); for a rule that is chosen by the data it is tested on: Angelopoulos, Bates,
    Candes, Jordan, Lei (2021), Learn then Test.

    >>> flat = Estimate(0.9, 0.01, 0.88, 0.92, 100, "share")
    >>> fewest(cuts([10], 0, steps=2), 0.85, lambda cut: flat)[0].labels
    0
    """
    first = find(cuts[0])
    if first is None or first.low < target:
        alone = find(cuts[-1])
        return (cuts[-1], alone) if alone is not None and alone.low >= target else None
    best = (cuts[0], first)
    for cut in cuts[1:]:
        found = find(cut)
        if found is None:
            continue
        if found.low < target:
            break
        best = (cut, found)
    return best


def parts(
    golden: Golden, kept: ArrayLike, statistics: Iterable[tuple[str, Callable[..., Estimate], dict[str, Any]]], *, level: float
) -> dict[str, Estimate]:
    """Statistics of gold against the judge on a part of the golden pairs; those without a value are left out.

    kept: (n,) 0 to 1, how much of each pair is in the part. statistics: name, function of two raters, its options.
    """
    share = np.asarray(kept, dtype=np.float64)
    rows = (share > 0) & (golden.level >= 0)
    whole = golden.weights is None and bool((share[rows] == 1).all())
    weights = None if whole else (share if golden.weights is None else share * golden.weights)[rows]
    found = {}
    for name, statistic, more in statistics:
        try:
            options = {"clusters": golden.query[rows], "weights": weights, "level": level}
            found[name] = statistic(golden.gold[rows], golden.other[rows], **options, **more)
        except clustered.Undefined:
            continue
    return found


def _quality(golden: Golden, kept: Numbers, share: float, measure: Measure, level: float) -> Estimate | None:
    """`quality` of any rule that keeps each golden pair with a chance (n,), and a share of the table."""
    weights = np.ones(len(kept)) if golden.weights is None else golden.weights
    inside, outside = kept > 0, kept < 1
    if share > 0 and np.unique(golden.query[inside]).size < 2:
        return None
    sent = np.where(outside, 1 - kept, 0.0) if outside.any() else np.ones(len(kept))
    own, sizes = clustered.codes(golden.query, len(kept))
    if measure in ("exact", "within-one"):
        return _of_shares(golden, weights * kept, weights * sent, (own, sizes), share, int(measure == "within-one"), level)
    return _of_tables(golden, weights * kept, weights * sent, (own, sizes), share, measure, level)


def _of_shares(
    golden: Golden, kept: Numbers, sent: Numbers, queries: tuple[Codes, int], share: float, steps: int, level: float
) -> Estimate:
    """Shares of pairs right to within `steps`. kept, sent: (n,) how much of each pair is in either part, weights included."""
    hit = (abs(golden.gold - golden.other) <= steps).astype(float)
    grades = np.arange(golden.people.shape[1])
    by_people = (golden.people * (abs(grades - golden.gold[:, None]) <= steps)).sum(1)
    name = "agreement within 1 of accepted and sent pairs" if steps else "exact agreement of accepted and sent pairs"
    people = _people(by_people, sent, golden.query, level)
    if share == 0:
        return replace(people, method=f"{name}: all are sent")
    judge = replace(_right(golden, kept, steps, level), method=name)
    apart = _errors(hit, kept, queries), _errors(by_people, sent, queries)
    lengths = [sqrt(float((errors**2).sum())) for errors in apart]
    rho = float(apart[0] @ apart[1]) / (lengths[0] * lengths[1]) if min(lengths) > 1e-12 else 0.0

    def together(a: float, b: float) -> float:
        a, b = share * a, (1 - share) * b
        return sqrt(max(0.0, a**2 + b**2 + 2 * rho * a * b))

    value = share * judge.value + (1 - share) * people.value
    low = value - together(judge.value - judge.low, people.value - people.low)
    high = value + together(judge.high - judge.value, people.high - people.value)
    return replace(judge, value=value, se=together(judge.se, people.se), low=max(0.0, low), high=min(1.0, high), n=len(kept))


def _of_tables(
    golden: Golden, kept: Numbers, sent: Numbers, queries: tuple[Codes, int], share: float, measure: Measure, level: float
) -> Estimate:
    """Statistics of the table of gold's grades against the final ones: the judge's where kept, people's where sent."""
    (own, held), size = queries, golden.people.shape[1]
    cell = (own * 2 * size + golden.gold) * size
    counts = np.bincount(cell + np.maximum(golden.other, 0), weights=kept, minlength=held * 2 * size * size)
    for grade in range(size):
        place = cell + size * size + grade
        counts += np.bincount(place, weights=sent * golden.people[:, grade], minlength=len(counts))
    cells = np.asarray(counts, np.float64).reshape(held, 2, size, size)
    tables = Tables(cells, np.ones(held, np.int64), len(kept), True, golden.weights is not None)
    one = macro_f1_of if measure == "macro F1" else lambda table: kappa_of(table, "quadratic")

    def statistic(table: Numbers) -> Numbers:
        totals = table.sum((-1, -2), keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            of = np.where(totals > 0, table / totals, 0.0 if share == 0 else np.nan)
        return one(share * of[..., 0, :, :] + (1 - share) * of[..., 1, :, :])

    lowest = 0.0 if measure == "macro F1" else -1.0
    name = f"{measure} of accepted and sent pairs"
    found = clustered.jackknife(statistic, tables, lowest=lowest, level=level, method=name)
    if found.value > 1 - 1e-12:  # nothing was seen to differ, and what is sent cannot
        unseen = 1 - _right(golden, kept, 0, level).low if share else 0.0
        return replace(found, low=max(found.low, 1 - share * unseen))
    return found


def _right(golden: Golden, kept: Numbers, steps: int, level: float) -> Estimate:
    """The share of the judge's accepted grades that are right to within `steps`: `clustered.share`, careful about rare errors.

    A few errors in a few queries say little of how alike a query's errors are, and none says nothing. The likeness among all
    answers, where errors are many, stands in for their own where that makes the interval wider. kept: (n,) weights.
    Source: Kish (1965), sec. 8.2: 1 + (pairs a query - 1) x likeness; Korn and Graubard (1998), effective size with t / z.
    """
    rows, answered = kept > 0, golden.level >= 0
    hit = abs(golden.gold - golden.other) <= steps
    flat = golden.weights is None and bool((kept[rows] == 1).all())
    options: dict[str, Any] = {"clusters": golden.query[rows], "weights": None if flat else kept[rows], "level": level}
    own = clustered.share(hit[rows], **options)
    weights = None if golden.weights is None else golden.weights[answered]
    whole = clustered.share(hit[answered], clusters=golden.query[answered], weights=weights, level=level)
    if whole.se == 0 or own.df is None:
        return own
    n, a_query = _spread(golden.query[answered], np.ones(int(answered.sum())) if weights is None else weights)
    effect = max(1.0, n * whole.se**2 / (whole.value * (1 - whole.value)))
    m, of_these = _spread(golden.query[rows], kept[rows])
    likeness = (effect - 1) / (a_query - 1) if a_query > 1 else 0.0
    p, size = own.value, m / (1 + max(0.0, of_these - 1) * likeness)
    if own.se > 0 and size >= (1 - 1e-9) * min(p * (1 - p) / own.se**2, own.n):
        return own
    low, high = clustered.wilson(p, size, t_quantile((1 + level) / 2, own.df))
    return replace(own, se=sqrt(p * (1 - p) / size), low=low, high=high)


def _spread(query: NDArray[Any], weights: Numbers) -> tuple[float, float]:
    """The effective number of pairs, and of pairs a query. Source: Kish (1965), sec. 11.7."""
    own, held = clustered.codes(query, len(weights))
    masses = np.asarray(np.bincount(own, weights=weights, minlength=held), np.float64)
    pairs = clustered.effective(weights)
    return pairs, pairs / clustered.effective(masses)


def _people(right: Numbers, sent: Numbers, query: NDArray[Any], level: float) -> Estimate:
    """The mean chance that people are right on what is sent to them; a fixed one has no interval."""
    rows = sent > 0
    right, sent, query = right[rows], sent[rows], query[rows]
    value, n = float(np.average(right, weights=sent)), len(right)
    if np.ptp(right) < 1e-12 or np.unique(query).size < 2:
        return Estimate(value, 0.0, value, value, n, "people's accuracy", level)
    return clustered.mean(right, clusters=query, weights=sent, bounds=(0.0, 1.0), level=level, method="people's accuracy")


def _errors(values: Numbers, weights: Numbers, queries: tuple[Codes, int]) -> Numbers:
    """(queries,) each one's weighted error around the mean: what the variance of the mean is made of."""
    own, held = queries
    mean = float(np.average(values, weights=weights))
    return np.asarray(np.bincount(own, weights=weights * (values - mean), minlength=held) / weights.sum())
