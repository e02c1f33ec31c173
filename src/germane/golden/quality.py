"""How good people's votes are: agreement, who is apart from the others, controls, pace, drift, and a second opinion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.golden import votes as columns
from germane.golden.of_raters import defined, every_rater, rater_pairs
from germane.golden.results import Part, Quality
from germane.golden.second import second_opinion
from germane.golden.votes import ADJUDICATION, CONTROL, VOTE, Votes
from germane.stats import agreement, clustered
from germane.stats.raters import side_by_side
from germane.types import Estimate, InputError, Scale, Vote

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]
PERIODS = {"day": "D", "week": "W", "month": "M"}


def quality(
    votes: Sequence[Vote] | pa.Table | Votes,
    scale: Scale,
    *,
    pairs: pa.Table | None = None,
    controls: Mapping[tuple[str, str], int] | None = None,
    rule: str = "majority",
    period: str = "week",
    least: int = 20,
    too_fast: float = 2.0,
    level: float = 0.95,
) -> Quality:
    """Everything that votes say of the raters and of the task, each figure with an interval over queries.

    votes: all rows, changed and withdrawn ones included; of each rater and pair the one that stands counts. pairs: with
    inclusion_probability and part, as `sample --for golden` writes them: figures over all are then of the random part,
    weighted, and targeted pairs stand apart. controls: known grades of the hidden pairs; without them, what an adjudicator
    said of such a pair. period: day, week or month, of tables over time. least: pairs that two raters, or one rater, must have
    for figures of their own. too_fast: seconds. More parameters than our seven: each changes a table.

    Source: docs/statistics/quality.md has the formula of each figure.
    Raises: InputError for votes that cannot be read, and an unknown period or rule.
    """
    if period not in PERIODS:
        raise InputError(f"period {period!r}: expected one of {', '.join(PERIODS)}")
    if least < 2:
        raise InputError(f"least is {least}: two pairs are the fewest that have an interval")
    everything = votes if isinstance(votes, Votes) else columns.read(votes, scale)
    now = everything.standing()
    asked = now.take(np.flatnonzero(now.kind == VOTE))
    if not len(asked):
        raise InputError("no vote stands: all are withdrawn, controls or adjudications")
    units = Units(asked, pairs)
    notes = list(units.notes)
    overall = _agreement(units, units.random, level)
    drawn = asked.take(np.flatnonzero(units.random[units.unit]))  # targeted pairs stand for nothing but themselves
    weight = None if units.weight is None else units.weight[units.unit][units.random[units.unit]]
    if len(drawn):
        options: dict[str, Any] = {"clusters": drawn.query, "weights": weight, "level": level}
        overall["cannot judge"] = clustered.share(drawn.grade < 0, **options, method="cannot judge")
    known = _known(now, controls)
    hidden = now.take(np.flatnonzero(now.kind == CONTROL))
    if len(hidden) and not (known[hidden.pair] >= 0).any():
        notes.append(f"{len(hidden):,} votes on hidden controls, whose grades are not known: give them with --controls")
    overall |= _controls(hidden, known, level)
    overall |= _again(everything, level)
    if weight is not None:
        notes.append(
            "figures of raters, one by one, two by two and again, carry no odds; those of one alone hold targeted pairs too"
        )
    two = rater_pairs(drawn, least=least, level=level)
    overall |= _averages(two)
    if not two:
        notes.append(f"no two raters have {least} pairs in common: kappas of pairs of raters are left out")
    people, more = every_rater(asked, hidden, known, least=least, too_fast=too_fast, level=level)
    second, opinion = second_opinion(asked, units.unit, rule, scale, level)
    people = tuple(replace(who, found={**who.found, **_one(opinion, who.name)}) for who in people)
    return Quality(
        scale.name,
        scale.labels,
        rule,
        len(asked),
        len(np.unique(asked.pair)),
        len(np.unique(asked.rater)),
        overall,
        two,
        people,
        (*_parts(units, period, level),),
        second,
        tuple([*notes, *more]),
        level,
    )


def _one(opinion: Mapping[str, Estimate], name: str) -> dict[str, Estimate]:
    return {"right by Dawid-Skene": opinion[name]} if name in opinion else {}


class Units:
    """The pairs as raters' agreement counts them: a pair under one guide version is a unit, of its raters' grades.

    unit: (votes,) number of each vote's unit. random: (units,) True where the unit counts in figures over all.
    """

    def __init__(self, asked: Votes, pairs: pa.Table | None) -> None:
        key = asked.pair * max(len(asked.guides), 1) + asked.guide
        first, self.unit = np.unique(key, return_index=True, return_inverse=True)[1:]
        self.query, self.guide = asked.query[first], asked.guide[first]
        self.stratum = asked.stratum[first]
        self.names = {"stratum": asked.strata, "guide version": asked.guides}
        there = asked.grade >= 0
        held = np.bincount(self.unit[there], minlength=len(first))
        matrix = side_by_side(np.append(self.unit[there], len(first)), np.append(asked.grade[there], 0))[:-1]
        self.grades, self.several = matrix, held >= 2
        latest = np.full(len(first), np.datetime64("NaT"), dtype="datetime64[us]")
        timed = ~np.isnat(asked.at)
        if timed.any():
            moments = np.full(len(first), np.iinfo(np.int64).min)
            np.maximum.at(moments, self.unit[timed], asked.at[timed].astype(np.int64))
            latest = moments.view("datetime64[us]")
        self.at = latest
        self.weight: NDArray[np.float64] | None = None
        self.targeted = np.zeros(len(first), dtype=bool)
        self.notes: list[str] = []
        if pairs is not None:
            self._weighed(asked, first, pairs)

    def _weighed(self, asked: Votes, first: NDArray[Any], pairs: pa.Table) -> None:
        odds = _odds(pairs)
        ids = zip(asked.pairs[0][asked.pair[first]].tolist(), asked.pairs[1][asked.pair[first]].tolist(), strict=True)
        names = list(ids)
        if missing := [pair for pair in names if pair not in odds]:
            raise InputError(
                f"{len(missing):,} judged pairs are not in the pairs, such as query {missing[0][0]!r}, document "
                f"{missing[0][1]!r}: their odds are not known; give the pairs that people judged"
            )
        found = [odds[pair] for pair in names]
        chance = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
        self.targeted = np.isnan(chance)
        self.weight = np.where(self.targeted, 1.0, 1 / np.where(self.targeted, 1.0, chance))
        if self.targeted.any():
            self.notes.append(
                f"{int(self.targeted.sum()):,} pairs were targeted, not drawn: they are left out of figures over all"
            )

    @property
    def random(self) -> Mask:
        return ~self.targeted


def _odds(pairs: pa.Table) -> dict[tuple[str, str], float | None]:
    if "inclusion_probability" not in pairs.column_names:
        raise InputError("the pairs have no column 'inclusion_probability': give what `germane sample --for golden` wrote")
    chance = pairs["inclusion_probability"].to_pylist()
    part = pairs["part"].to_pylist() if "part" in pairs.column_names else ["random"] * len(chance)
    ids = zip(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True)
    found: dict[tuple[str, str], float | None] = {}
    for (q, d), p, of in zip(ids, chance, part, strict=True):
        pair = str(q), str(d)
        drawn = None if of == "targeted" or p is None else float(p)
        if drawn is not None and not 0 < drawn <= 1:
            raise InputError(f"pair {pair[0]!r}, {pair[1]!r} has inclusion probability {drawn:g}: expected above 0 and up to 1")
        found[pair] = drawn
    return found


def _agreement(units: Units, rows: Mask, level: float) -> dict[str, Estimate]:
    """Disagreement, full and pairwise agreement, and alphas of these units; what has no value is left out."""
    kept = rows & units.several
    if not kept.any():
        return {}
    weights = None if units.weight is None else units.weight[kept]
    options: dict[str, Any] = {"clusters": units.query[kept], "weights": weights, "level": level}
    x = units.grades[kept]
    same = np.nanmax(x, 1) == np.nanmin(x, 1)
    made: dict[str, Callable[[], Estimate]] = {
        "row-level disagreement": lambda: clustered.share(~same, **options, method="pairs whose raters differ"),
        "full agreement": lambda: clustered.share(same, **options, method="pairs whose raters all agree"),
        "alpha (ordinal)": lambda: agreement.krippendorff_alpha(x, difference="ordinal", **options),
        "alpha (nominal)": lambda: agreement.krippendorff_alpha(x, difference="nominal", **options),
        "alpha (interval)": lambda: agreement.krippendorff_alpha(x, difference="interval", **options),
    }
    return defined(made)


def _averages(two: Sequence[Any]) -> dict[str, Estimate]:
    """Kappas averaged over pairs of raters; se and limits are averaged too, as if all rose and fell together: none is wider."""
    found = {}
    for name in dict.fromkeys(name for pair in two for name in pair.found):
        each = [pair.found[name] for pair in two if name in pair.found]
        value, se, low, high = (float(np.mean([getattr(e, part) for e in each])) for part in ("value", "se", "low", "high"))
        method = f"{name}, average over {len(each)} pairs of raters"
        found[name] = replace(each[0], value=value, se=se, low=low, high=high, n=sum(e.n for e in each), method=method)
    return found


def _known(now: Votes, controls: Mapping[tuple[str, str], int] | None) -> NDArray[np.int64]:
    """(pairs,) the known grade of each pair, -1 where there is none."""
    known = np.full(len(now.pairs[0]), -1, dtype=np.int64)
    above = now.kind == ADJUDICATION
    known[now.pair[above]] = now.grade[above]
    if controls:
        ids = zip(now.pairs[0].tolist(), now.pairs[1].tolist(), strict=True)
        given = np.array([controls.get(pair, -1) for pair in ids], dtype=np.int64)
        known = np.where(given >= 0, given, known)
    return known


def _controls(hidden: Votes, known: NDArray[np.int64], level: float) -> dict[str, Estimate]:
    if not len(hidden):
        return {}
    there = known[hidden.pair] >= 0
    hit = hidden.grade == known[hidden.pair]
    near = (hidden.grade >= 0) & (abs(hidden.grade - known[hidden.pair]) <= 1)
    options: dict[str, Any] = {"among": there, "clusters": hidden.query, "level": level}
    return defined(
        {
            "controls passed": lambda: clustered.share(hit, **options, method="hidden controls judged as known"),
            "controls within one": lambda: clustered.share(near, **options, method="hidden controls within one grade"),
        }
    )


def _again(votes: Votes, level: float) -> dict[str, Estimate]:
    one, two = votes.again()
    if not len(one):
        return {}
    same = votes.grade[one] == votes.grade[two]
    method = "the same rater again, the same grade"
    return {"same grade again": clustered.share(same, clusters=votes.query[one], level=level, method=method)}


def _parts(units: Units, period: str, level: float) -> list[Part]:
    """Agreement by part of the sample, period, stratum and guide version, where there is more than one of it."""
    found = []
    if units.targeted.any() and units.random.any():
        for name, rows in (("random", units.random), ("targeted", units.targeted)):
            found.append(_part(units, "part", name, rows, level))
    timed = ~np.isnat(units.at)
    if timed.any():
        days = units.at.astype("datetime64[D]")
        weeks = days - (days.astype(np.int64) + 3) % 7  # from Monday; NumPy's begin on Thursday, as 1970 did
        of = weeks if period == "week" else days.astype(f"datetime64[{PERIODS[period]}]")
        for start in np.unique(of[timed]):
            name = str(start.astype("datetime64[M]" if period == "month" else "datetime64[D]"))
            found.append(_part(units, period, name, timed & (of == start) & units.random, level))
    for dimension, code in (("stratum", units.stratum), ("guide version", units.guide)):
        different = np.unique(code)
        if len(different) < 2:
            continue
        for number in sorted(different.tolist(), key=lambda number: units.names[dimension][number]):
            name = units.names[dimension][number] or "not said"
            found.append(_part(units, dimension, name, (code == number) & units.random, level))
    return [part for part in found if part.found]


def _part(units: Units, dimension: str, name: str, rows: Mask, level: float) -> Part:
    return Part(dimension, name, int((rows & units.several).sum()), _agreement(units, rows, level))
