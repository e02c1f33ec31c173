"""Which base, which recipe, and how many tiers: quality, speed, memory and cost side by side, on the same folds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations, pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from germane.judges import loading
from germane.stats.clustered import FEW
from germane.stats.equivalence import equivalence
from germane.training.beside import Field, board, coverage, differences, priced
from germane.training.examples import Examples
from germane.training.folds import Cost, Load, OutOfFold, Trainer, by_name, out_of_fold
from germane.types import Equivalence, Estimate, InputError, JudgeFacts, Leaderboard, Standing, decode

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = ("macro F1", "exact", "quadratic kappa", "score tau-b", "expected score tau-b", "coverage")
"""Statistics that stand side by side; the board holds the others."""

QUALITY = ("macro F1", "exact")
DECIDING = (*QUALITY, "coverage")
"""Statistics in which a cheaper tier must be shown to be no worse: a tier that answers the easy pairs alone replaces none."""

CLOSE = 1.1
"""A judge that is less than so many times as fast as another is hardly faster: speed is measured once, on this machine."""

MERGE, WORTH, UNCLEAR = "can be merged", "worth its cost", "unclear"


@dataclass(frozen=True)
class Contestant:
    """One way to make a judge. found: of all folds together. to_best: minus the best by macro F1, paired; {} for that one.

    on_front: no other is at least as good and at least as fast, and better in one of the two.
    """

    name: str
    found: Mapping[str, Estimate]
    to_best: Mapping[str, Estimate]
    cost: Cost
    on_front: bool


@dataclass(frozen=True)
class Shootout:
    """Contestants, best first by macro F1; the whole board of them; how many folds; what to know."""

    contestants: tuple[Contestant, ...]
    board: Leaderboard
    folds: int
    notes: tuple[str, ...] = ()

    @property
    def front(self) -> tuple[str, ...]:
        """The Pareto front of macro F1 and speed, best first."""
        return tuple(each.name for each in self.contestants if each.on_front)

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "front": self.front}, indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        said = json.loads(text)
        said.pop("front", None)
        return cast("Self", decode(cls, said))


@dataclass(frozen=True)
class TierPair:
    """Two tiers. difference: cheap minus dear, 90 % intervals. tests: of it against the margin. verdict: in words.

    "coverage" is of gold's random pairs, the other differences of those that both answered.

    faster: pairs a second of the cheap over those of the dear; quicker: latency of the dear over that of the cheap; saved:
    share of the dear one's cost. None: not known. needed: queries that would show it if there is no difference.
    """

    dear: str
    cheap: str
    difference: Mapping[str, Estimate]
    tests: Mapping[str, Equivalence]
    verdict: str
    why: str
    faster: float | None = None
    quicker: float | None = None
    saved: float | None = None
    needed: int | None = None


@dataclass(frozen=True)
class Tiers:
    """Judges as tiers, best first by macro F1, and each pair of them: which can be merged."""

    tiers: tuple[Contestant, ...]
    pairs: tuple[TierPair, ...]
    board: Leaderboard
    margin: float
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cast("Self", decode(cls, json.loads(text)))


def shootout(
    examples: Examples,
    contestants: Mapping[str, Trainer],
    on: Field,
    *,
    folder: Path,
    recipes: Mapping[str, Any] | None = None,
    k: int = 5,
    seed: int = 0,
    keep: bool = False,
    hour_price: float | None = None,
    load: Load = loading.load,
) -> Shootout:
    """Each contestant trained and measured on the same k folds by query.

    contestants: name -> trainer. recipes: name -> what decides what it makes (see `out_of_fold`). hour_price: money for an
    hour of this machine. More parameters than our seven: they are those of `out_of_fold`.

    Raises: InputError for no contestants, and as `out_of_fold`.
    """
    if not contestants:
        raise InputError("no contestants: name at least one base to train")
    judged: dict[str, OutOfFold] = {}
    places = by_name(contestants)
    for name, trainer in contestants.items():
        options: dict[str, Any] = {"name": name, "recipe": (recipes or {}).get(name), "folder": folder / places[name]}
        judged[name] = out_of_fold(examples, trainer, k=k, seed=seed, keep=keep, load=load, **options)
    tables = {name: each.judgments for name, each in judged.items()}
    costs = {name: priced(each.cost, hour_price) for name, each in judged.items()}
    found = board(on, {name: (tables[name], costs[name], JudgeFacts("folds")) for name in tables})
    stood = contested(on, found, tables, costs)
    notes = [f"{name}: {note}" for name, each in judged.items() for note in each.notes]
    return Shootout(stood, found, k, tuple([*_noise(on, stood, tables), *notes]))


def contested(
    on: Field, found: Leaderboard, tables: Mapping[str, pa.Table], costs: Mapping[str, Cost]
) -> tuple[Contestant, ...]:
    """The board's judges with what they cost, each beside the best, and whether it lies on the Pareto front."""
    best = found.judges[0].name
    on_front = front({s.name: (s.found["macro F1"].value, costs[s.name].rows_per_s) for s in found.judges})
    made = []
    for standing in found.judges:
        name = standing.name
        to_best = {} if name == best else differences(on, tables[name], tables[best])
        made.append(Contestant(name, shown(standing), to_best, costs[name], name in on_front))
    return tuple(made)


def shown(standing: Standing) -> dict[str, Estimate]:
    """The statistics that stand side by side: on the pairs that all answered, and the share of gold's that this one did."""
    return {name: standing.found[name] for name in SHOWN if name in standing.found} | {"coverage": standing.coverage}


def front(both: Mapping[str, tuple[float, float | None]]) -> set[str]:
    """Names that no other beats: at least as good in both quality and speed, and better in one. Unknown speed is slowest.

    >>> sorted(front({"large": (0.5, 10.0), "small": (0.4, 90.0), "odd": (0.4, 20.0)}))
    ['large', 'small']
    """
    known = {name: (quality, speed or 0.0) for name, (quality, speed) in both.items()}
    return {
        name
        for name, mine in known.items()
        if not any(theirs != mine and theirs[0] >= mine[0] and theirs[1] >= mine[1] for theirs in known.values())
    }


def tiers(on: Field, judged: Mapping[str, tuple[pa.Table, Cost, JudgeFacts]], *, margin: float = 0.02) -> Tiers:
    """Each pair of tiers in quality, cost and latency: may the cheaper one do the other's work?

    margin: the largest loss in macro F1, in exact agreement and in coverage (share of gold's pairs answered) that would not
    matter. A tier can be merged into a cheaper one where all three losses are shown to be smaller (a one-sided test at 5 %
    each, over queries); it is worth its cost where a larger loss is shown; otherwise the pairs are too few to say.
    judged: name -> judgments, what they cost, who judged; the dearest first, where costs are not known.

    Source: Schuirmann (1987) for the two one-sided tests; of these, non-inferiority asks one.
    Raises: InputError for fewer than two tiers that judge, and a margin that is not above 0.
    """
    if len(judged) < 2:
        raise InputError(f"{len(judged)} tier: two or more are needed to merge any")
    if not 0 < margin < 1:
        raise InputError(f"margin {margin}: give the largest loss of macro F1 that would not matter, as 0.02")
    found = board(on, judged)
    tables = {name: table for name, (table, _, _) in judged.items()}
    costs = {name: cost for name, (_, cost, _) in judged.items()}
    real = [name for name in judged if any(s.name == name for s in found.judges)]
    if len(real) < 2:
        raise InputError("fakes and judges with random weights are no tiers: give two files of judges that learned something")
    shares = {s.name: s.coverage.value for s in found.judges}
    pairs = tuple(_pair(on, tables, costs, shares, one, other, margin) for one, other in combinations(real, 2))
    notes = [f"{s.name} is {s.why}: it is no tier" for s in found.speed_only]
    machines = {cost.machine for cost in costs.values() if cost.rows_per_s}
    if len(machines) > 1:
        notes.append(f"speeds are of different machines ({', '.join(sorted(machines))}): compare costs with care")
    if len(pairs) > 1:
        notes.append("each pair is tested by itself: nothing is corrected for looking at several")
    return Tiers(contested(on, found, tables, costs), pairs, found, margin, tuple(notes))


def _pair(
    on: Field,
    tables: Mapping[str, pa.Table],
    costs: Mapping[str, Cost],
    shares: Mapping[str, float],
    one: str,
    other: str,
    margin: float,
) -> TierPair:
    """`one` stands before `other`: it counts as the dearer where costs do not say. shares: of gold's pairs answered."""
    cheaper = _cheaper(costs[one], costs[other])
    dear, cheap = (other, one) if cheaper is True else (one, other)
    found = differences(on, tables[cheap], tables[dear], level=0.9)
    gap = coverage(on, tables[cheap], tables[dear], level=0.9)
    found |= {} if gap is None else {"coverage": gap}
    tests = {name: equivalence(found[name], margin) for name in DECIDING if name in found}
    few = {name for name in tests if found[name].df is not None and float(found[name].df or 0) + 1 < FEW}
    less = f"{cheap} answers only {shares[cheap]:.1%} of the pairs, {dear} {shares[dear]:.1%}"
    less = less if gap is not None and gap.value < -margin else ""
    a, b = costs[dear], costs[cheap]
    faster = b.rows_per_s / a.rows_per_s if a.rows_per_s and b.rows_per_s else None
    quicker = a.latency_ms / b.latency_ms if a.latency_ms and b.latency_ms else None
    saved = 1 - b.per_million / a.per_million if a.per_million and b.per_million is not None else None
    verdict, why = _verdict(tests, margin, few, known=cheaper is not None, cheap=cheap, less=less)
    needed = _needed(found, tests) if verdict == UNCLEAR else None
    return TierPair(dear, cheap, found, tests, verdict, why, faster, quicker, saved, needed)


def _cheaper(one: Cost, other: Cost) -> bool | None:
    """True if the first costs less than the second, by money, else by speed; None if that is not known."""
    if one.per_million is not None and other.per_million is not None:
        return one.per_million < other.per_million
    if one.rows_per_s and other.rows_per_s:
        return one.rows_per_s > other.rows_per_s
    return None


def _verdict(
    tests: Mapping[str, Equivalence], margin: float, few: set[str], *, known: bool, cheap: str, less: str
) -> tuple[str, str]:
    """Verdict and reason. few: tests of too few queries. less: what is to be said if the cheap one answers too few pairs."""
    lost = [name for name, test in tests.items() if name not in few and test.high < -margin]
    worse = [name for name in lost if name in QUALITY and not few & set(QUALITY)]
    reasons = [f"{cheap} loses more than {margin:g} in {' and '.join(worse)}"] if worse else []
    reasons += [less] if "coverage" in lost else []
    if reasons:
        return WORTH, "; ".join(reasons)
    if less or few or len(tests) < len(DECIDING) or not all(test.low > -margin for test in tests.values()):
        return UNCLEAR, f"n too small; {less}" if less else "n too small"
    return MERGE, f"no worse by more than {margin:g}" + (" and cheaper" if known else "; what each costs is not known")


def _needed(found: Mapping[str, Estimate], tests: Mapping[str, Equivalence]) -> int | None:
    """Queries for a power of 0.8, if there is no difference; tests count pairs."""
    sizes = [
        test.needed / found[name].n * (float(found[name].df or 0) + 1)
        for name, test in tests.items()
        if test.needed is not None and found[name].df is not None
    ]
    return ceil(max(sizes)) if sizes else None


def _noise(on: Field, stood: tuple[Contestant, ...], tables: Mapping[str, pa.Table]) -> list[str]:
    """Where the front rests on a difference in quality that could be chance."""
    notes = []
    ahead = [each for each in stood if each.on_front]
    for better, next_ in pairwise(ahead):
        gap = differences(on, tables[better.name], tables[next_.name]).get("macro F1")
        if gap is not None and gap.low <= 0:
            notes.append(f"{better.name} is slower than {next_.name}, and not shown to be better: {_said(gap)}")
    for each in stood:
        by = [a for a in ahead if a.found["macro F1"].value >= each.found["macro F1"].value and _no_slower(a, each)]
        if each.on_front or not by:
            continue
        gap = differences(on, tables[by[0].name], tables[each.name]).get("macro F1")
        if gap is not None and gap.low <= 0:
            alike = (by[0].cost.rows_per_s or 0.0) < CLOSE * (each.cost.rows_per_s or 0.0)
            speed = ", and is hardly faster" if alike else ""
            notes.append(f"{by[0].name} beats {each.name} in both, but in quality within noise: {_said(gap)}{speed}")
    return notes


def _no_slower(one: Contestant, other: Contestant) -> bool:
    return (one.cost.rows_per_s or 0.0) >= (other.cost.rows_per_s or 0.0)


def _said(gap: Estimate) -> str:
    return f"macro F1 {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
