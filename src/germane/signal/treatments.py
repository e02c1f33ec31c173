"""An adaptive policy learned from experiments: which treatment each type of query gets, so that relevance is highest under a
limit on engagement, and what that is worth on queries that had no part in choosing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.chance import keys, uniform
from germane.signal.adaptive import CONTROL
from germane.signal.deciding import Floats, Ints
from germane.stats.means import p_value, relative_lift, stratified_difference
from germane.stats.moments import Moments, PairedMoments
from germane.stats.multiple import adjusted_p
from germane.stats.segments.dimension import shrunken
from germane.types import Estimate, InputError

LEAST = 30
"""A type of query with fewer queries gets the control: nothing can be shown of it."""

LEAST_IN_ALL = 100
"""Fewer queries in all choose nothing."""

PRICES = (0.0, *np.geomspace(0.01, 100, 25).tolist())
"""What a relative unit of engagement is worth in relevance, tried from nothing to everything: each gives one policy."""

DOMINATES = "dominates"

Names = NDArray[np.str_]


@dataclass(frozen=True)
class Outcomes:
    """What experiments measured: the same queries under the control and under every treatment.

    kind: (Q,) the type of each query. relevance, engagement: (Q, T) treatment minus control. base: (Q,) the control's
    engagement, >= 0. query_ids: (Q,).
    """

    query_ids: tuple[str, ...]
    kind: Names
    treatments: tuple[str, ...]
    relevance: Floats
    engagement: Floats
    base: Floats

    def take(self, rows: NDArray[np.bool_]) -> Outcomes:
        """The same of some queries."""
        ids = tuple(q for q, kept in zip(self.query_ids, rows.tolist(), strict=True) if kept)
        return Outcomes(ids, self.kind[rows], self.treatments, self.relevance[rows], self.engagement[rows], self.base[rows])


@dataclass(frozen=True)
class Limits:
    """What is asked. engagement: the relative change that the low end of the interval must reach, as -0.005.

    shown: a treatment is only for types in which it is shown to raise relevance, at a false discovery rate of 1 - level.
    """

    engagement: float = -0.005
    shown: bool = True
    folds: int = 5
    level: float = 0.95


class Cell(NamedTuple):
    """A treatment on a type of query. relevance, engagement (relative to the control's mean over all queries): its own.

    shrunk: (relevance, engagement) pulled to the treatment's mean over types, which is what is chosen by. q: of relevance,
    adjusted for all cells, None if nothing varied. why: it is not allowed there, "" if it is.
    """

    kind: str
    treatment: str
    queries: int
    relevance: Estimate
    engagement: Estimate
    shrunk: tuple[float, float]
    q: float | None
    why: str

    @property
    def allowed(self) -> bool:
        return not self.why


class Point(NamedTuple):
    """A policy on queries that did not choose it. engagement: the relative change. front: no other point is better in both."""

    name: str
    relevance: Estimate
    engagement: Estimate
    front: bool = False


@dataclass(frozen=True)
class Versus:
    """The adaptive policy minus another, paired by query. engagement: absolute, in units of the control's mean."""

    name: str
    relevance: Estimate
    engagement: Estimate
    verdict: str


@dataclass(frozen=True)
class Learned:
    """choice: type -> treatment, of all queries. cells: what it rests on. points: uniform and adaptive policies, out of fold.

    adaptive: the policy under the limit, out of fold; held: whether its engagement's low end reaches the limit there.
    """

    choice: dict[str, str]
    cells: tuple[Cell, ...]
    points: tuple[Point, ...]
    adaptive: Point
    versus: tuple[Versus, ...]
    held: bool
    notes: tuple[str, ...]

    @property
    def dominates(self) -> bool:
        """True if some uniform treatment is beaten in both objectives, by intervals that allow for all comparisons."""
        return any(v.verdict.startswith(DOMINATES) for v in self.versus)


def learn(outcomes: Outcomes, limits: Limits) -> Learned:
    """The policy under the limit, and its worth on held-out queries beside every uniform treatment.

    Raises: InputError for too few queries, engagement that is 0 everywhere, and limits that cannot be.
    """
    _checked(outcomes, limits)
    chosen, cells = choose(outcomes, limits)
    mine = np.zeros(len(outcomes.query_ids), np.int64)
    for past, here in _splits(outcomes, limits.folds, seed=0):
        mine[here] = _coded(choose(past, limits)[0], outcomes.kind[here], outcomes.treatments)
    level, names = limits.level, outcomes.treatments
    adaptive = value("adaptive, under the limit", outcomes, mine, level)
    uniforms = [value(name, outcomes, np.full(mine.size, at + 1), level) for at, name in enumerate(names)]
    path = _path(_by_price(outcomes, limits, seed=0), outcomes, level)
    control = value(CONTROL, outcomes, np.zeros(mine.size, np.int64), level)
    versus = tuple(_versus(outcomes, mine, at + 1, name, limits) for at, name in enumerate(names))
    held, notes = adaptive.engagement.low >= limits.engagement, []
    if not held:
        e = adaptive.engagement
        what = "is below it" if e.value < limits.engagement else "is within it, and not shown to be"
        notes.append(f"on queries that did not choose the policy the limit is not shown to hold: engagement {what}")
    if all(t == CONTROL for t in chosen.values()):
        notes.append("every type of query gets the control: no treatment is shown to help within the limit")
    points = _fronted([control, *uniforms, *path, adaptive])
    return Learned(chosen, tuple(cells), points, points[-1], versus, held, tuple(notes))


def choose(outcomes: Outcomes, limits: Limits) -> tuple[dict[str, str], list[Cell]]:
    """type -> treatment by all of these queries, and the cells that it rests on.

    Candidates: the adaptive policy at each price of engagement, and one treatment for every type that is not thin. A policy
    that picks treatments by type picks the noise in its favour, so each price is judged out of fold inside these queries; the
    candidate of most relevance whose engagement keeps the limit by its low end is then learned on all of them. Half of the
    error goes to the prices, from the highest to lower ones until one fails; half is shared by the treatments. The control
    keeps every limit.

    Source: fixed sequence testing as in Angelopoulos et al. (2021), arXiv 2110.01052; Bonferroni.
    """
    cells, risk = cells_of(outcomes, limits), (1 - limits.level) / 2
    best, most = dict.fromkeys(sorted(set(outcomes.kind.tolist())), CONTROL), 0.0

    def worth(row: Ints, error: float) -> float | None:
        """Its relevance, None where the limit is not shown to hold. error: of a low end."""
        point = value("", outcomes, row, 1 - 2 * error)
        if point.engagement.low < limits.engagement:
            return None
        return point.relevance.value if point.relevance.low > 0 or not limits.shown else 0.0

    for row, price in reversed(list(zip(_by_price(outcomes, limits, seed=1), PRICES, strict=True))):
        found = worth(row, risk)
        if found is None:
            break
        if found > most:
            best, most = best | _at(cells, price), found
    thick = sorted({cell.kind for cell in cells if cell.queries >= LEAST})
    for name in outcomes.treatments:
        one = dict.fromkeys(thick, name)
        found = worth(_coded(one, outcomes.kind, outcomes.treatments), risk / len(outcomes.treatments))
        if found is not None and found > most:
            best, most = dict.fromkeys(best, CONTROL) | one, found
    return best, cells


def _by_price(outcomes: Outcomes, limits: Limits, *, seed: int) -> Ints:
    """(prices, Q) what the adaptive policy at each price gives to queries that had no part in it."""
    found = np.zeros((len(PRICES), len(outcomes.query_ids)), np.int64)
    for past, here in _splits(outcomes, limits.folds, seed=seed):
        known = cells_of(past, limits)
        for row, price in enumerate(PRICES):
            found[row, here] = _coded(_at(known, price), outcomes.kind[here], outcomes.treatments)
    return found


def _splits(outcomes: Outcomes, folds: int, *, seed: int) -> Iterator[tuple[Outcomes, NDArray[np.bool_]]]:
    """Queries to learn from, and (Q,) which are held out, by the hash of their ids."""
    fold = np.argsort(np.argsort(uniform(seed, keys(outcomes.query_ids)))) % folds
    for at in range(folds):
        yield outcomes.take(fold != at), fold == at


def cells_of(outcomes: Outcomes, limits: Limits) -> list[Cell]:
    """Each treatment on each type: its effects, shrunk, and whether it is allowed there."""
    base, names, level = float(outcomes.base.mean()), outcomes.treatments, limits.level
    places = [(kind, at) for kind in sorted(set(outcomes.kind.tolist())) for at in range(len(names))]
    both = []
    for kind, at in places:
        rows = outcomes.kind == kind
        both.append((_mean(outcomes.relevance[rows, at], level), _mean(outcomes.engagement[rows, at] / base, level)))
    tested = [i for i, (e, _) in enumerate(both) if e.n >= LEAST and e.se > 0]
    q = dict(zip(tested, adjusted_p([p_value(both[i][0]) for i in tested]).tolist(), strict=True)) if tested else {}
    of = [at for _, at in places]
    shrunk = [_shrunk(of, [pair[objective] for pair in both], level) for objective in (0, 1)]
    found = []
    for i, ((kind, at), (relevance, engagement)) in enumerate(zip(places, both, strict=True)):
        why = ""
        if relevance.n < LEAST:
            why = f"{relevance.n} queries, {LEAST} are needed"
        elif limits.shown and (q.get(i, 1.0) > 1 - level or relevance.value <= 0):
            why = "not shown to raise relevance"
        pulled = (shrunk[0][i], shrunk[1][i])
        found.append(Cell(kind, names[at], relevance.n, relevance, engagement, pulled, q.get(i), why))
    return found


def value(name: str, outcomes: Outcomes, chosen: Ints, level: float) -> Point:
    """What a policy does to these queries. chosen: (Q,) 0 for the control, t + 1 for treatment t."""
    relevance, engagement = _gain(outcomes, chosen)
    lift = relative_lift({"all": PairedMoments.of(outcomes.base, outcomes.base + engagement)}, {"all": 1.0}, level=level)
    return Point(name, _mean(relevance, level), lift)


def _gain(outcomes: Outcomes, chosen: Ints) -> tuple[Floats, Floats]:
    """(relevance, engagement), (Q,) each, of what was chosen minus the control."""
    nothing = np.zeros((chosen.size, 1))
    rows = np.arange(chosen.size)
    pick = [np.hstack([nothing, effect])[rows, chosen] for effect in (outcomes.relevance, outcomes.engagement)]
    return pick[0], pick[1]


def _at(cells: Sequence[Cell], price: float) -> dict[str, str]:
    """For each type the allowed treatment with the most relevance + price x engagement, the control where none is above 0."""
    best: dict[str, tuple[float, str]] = {}
    for cell in cells:
        held = best.setdefault(cell.kind, (0.0, CONTROL))
        worth = cell.shrunk[0] + price * cell.shrunk[1]
        if cell.allowed and worth > held[0]:
            best[cell.kind] = (worth, cell.treatment)
    return {kind: treatment for kind, (_, treatment) in best.items()}


def _coded(choice: dict[str, str], kind: Names, treatments: Sequence[str]) -> Ints:
    number = {CONTROL: 0} | {name: at + 1 for at, name in enumerate(treatments)}
    return np.array([number[choice.get(str(k), CONTROL)] for k in kind], dtype=np.int64)


def _path(by_price: Ints, outcomes: Outcomes, level: float) -> list[Point]:
    """The adaptive policies of rising price of engagement, out of fold, each once."""
    found, seen = [], set()
    for row, price in zip(by_price, PRICES, strict=True):
        if row.tobytes() not in seen and row.any():
            seen.add(row.tobytes())
            found.append(value(f"adaptive, engagement at {price:.2g}", outcomes, row, level))
    return found


def _fronted(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points, those marked that no other is better than in one objective and at least as good in the other."""
    xy = [(p.relevance.value, p.engagement.value) for p in points]
    return tuple(
        p._replace(front=not any(a >= x and b >= y and (a > x or b > y) for a, b in xy))
        for p, (x, y) in zip(points, xy, strict=True)
    )


def _versus(outcomes: Outcomes, mine: Ints, other: int, name: str, limits: Limits) -> Versus:
    """The adaptive policy against a uniform one, by intervals that allow for the number of treatments and two objectives."""
    level = 1 - (1 - limits.level) / (2 * len(outcomes.treatments))
    us, them = _gain(outcomes, mine), _gain(outcomes, np.full(mine.size, other))
    base = float(outcomes.base.mean())
    relevance, engagement = _mean(us[0] - them[0], level), _mean((us[1] - them[1]) / base, level)
    return Versus(name, relevance, engagement, _verdict(relevance, engagement))


def _verdict(relevance: Estimate, engagement: Estimate) -> str:
    """What two intervals say of one policy minus another."""

    def side(e: Estimate) -> int:
        return 1 if e.low > 0 else -1 if e.high < 0 else 0

    told = {1: "higher", -1: "lower", 0: "not told apart"}
    r, e = side(relevance), side(engagement)
    how = f"relevance {told[r]}, engagement {told[e]}"
    if (r, e) == (1, 1):
        return f"{DOMINATES}: {how}"
    return f"is dominated: {how}" if (r, e) == (-1, -1) else f"does not dominate: {how}"


def _shrunk(treatment: Sequence[int], effects: Sequence[Estimate], level: float) -> dict[int, float]:
    """Each effect pulled to its treatment's mean over types; its own value where there are too few types.

    Source: Morris (1983), as `stats.segments.dimension.shrunken`.
    """
    found = {i: e.value for i, e in enumerate(effects)}
    for one in set(treatment):
        rows = [i for i, e in enumerate(effects) if treatment[i] == one and e.n >= LEAST and e.se > 0]
        parts = [effects[i] for i in rows]
        numbers = ([e.value for e in parts], [e.se for e in parts], [e.df or 1.0 for e in parts])
        pulled = shrunken(*numbers, level=level) if parts else None
        if pulled is not None:
            found |= dict(zip(rows, pulled.value.tolist(), strict=True))
    return found


def _mean(x: Floats, level: float) -> Estimate:
    if x.size < 2:
        inf, why = float("inf"), "one query says nothing of noise"
        return Estimate(float(x.mean()), inf, -inf, inf, x.size, "one query", level, caveat=why)
    return stratified_difference({"all": Moments.of(x)}, {"all": float(x.size)}, level=level)


def _checked(outcomes: Outcomes, limits: Limits) -> None:
    n = len(outcomes.query_ids)
    if n < LEAST_IN_ALL:
        raise InputError(f"{n} queries have outcomes under every treatment: {LEAST_IN_ALL} are the least to choose by")
    if not outcomes.base.mean() > 0:
        raise InputError("the control has no engagement on any query: a relative change has no value")
    if not -1 < limits.engagement <= 0:
        raise InputError(f"--engagement {limits.engagement:g}: give the relative change that is allowed, as -0.005, 0 at most")
    if not 2 <= limits.folds <= 20:
        raise InputError(f"--folds {limits.folds}: expected 2 to 20")
