"""From which predicted probability on a result is left out: chosen on golden pairs for a stated precision of what is removed.

Argmax asks which grade is likeliest, and says nothing of what a removal costs. Here the threshold is the lowest whose removals
people call bad at least as often as was asked for, by the lower end of an interval over queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.chance import keys, uniform
from germane.signal.deciding import ALL, Flags, Floats
from germane.signal.evidence import Evidence
from germane.signal.filter import Filter, Rule, badness
from germane.stats.clustered import Undefined, share
from germane.types import Estimate, InputError

START = 0.25
"""Where on the list of thresholds the walk to lower ones begins. Higher up too few pairs are removed to show anything, and each
further start would cost certainty: with one, the error is spent once. Source: our simulations (docs/verbs/signal.md)."""

STEPS = 60
"""Thresholds that are looked at, at most: even ratios of the numbers of pairs that they remove."""

THIN_PAIRS, THIN_QUERIES = 100, 20
"""A segment with fewer golden pairs, or of fewer queries, takes the threshold of all queries."""

LEAST_PAIRS, LEAST_QUERIES = 30, 10
"""Fewer golden pairs in all, or of fewer queries, promise nothing."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a filter. precisions: grade -> share of what its rule removes that people call this bad or worse.

    relevant: the lowest grade whose loss is counted. floor: results left at least. bound: by the lower end of the interval,
    which holds in `level` of all golden sets; else by the share as it was found.
    """

    precisions: tuple[tuple[int, float], ...]
    relevant: int
    floor: int = 10
    bound: bool = True
    level: float = 0.95
    folds: int = 5


class Step(NamedTuple):
    """A threshold in a segment, on golden pairs. precision: of what it removes, with a one-sided interval, None if nothing."""

    segment: str
    grade: int
    threshold: float | None
    precision: Estimate | None
    pairs: int
    queries: int
    note: str = ""


@dataclass(frozen=True)
class Chosen:
    """A filter, what it rests on, and what it does to golden pairs that had no part in choosing it.

    steps: thresholds, all queries first. found: name -> Estimate, out of fold: "precision", "removed" (share of all pairs),
    "relevant lost" (share of the relevant ones), "bad removed" (share of the bad ones), "bad before", "bad after" (shares of
    what is shown).
    """

    filter: Filter
    steps: tuple[Step, ...]
    found: dict[str, Estimate]
    notes: tuple[str, ...]


def choose(golden: Evidence, wanted: Wanted, labels: Sequence[str]) -> Chosen:
    """The filter that removes most at the precision asked for, and its expected loss, out of fold.

    Raises: InputError for a precision or grade that cannot be asked, and for too few golden pairs.
    """
    _checked(golden, wanted, labels)
    steps = _steps(golden, wanted)
    made = _filter(steps, wanted, labels)
    found, notes = _out_of_fold(golden, wanted, labels)
    notes += [step.note for step in steps if step.note]
    if all(step.threshold is None for step in steps):
        notes.insert(0, "no threshold is shown to reach the precision that was asked for: this filter removes nothing")
    return Chosen(made, tuple(steps), found, tuple(dict.fromkeys([*notes, *golden.notes])))


def lowest(
    bad: Floats, hit: Flags, query: NDArray[np.int64], target: float, *, weights: Floats | None, bound: bool, level: float
) -> tuple[float | None, Estimate | None]:
    """The lowest threshold whose removals are hits in `target` of all cases, and the precision there; None if none is shown.

    bad: (n,) the score; hit: (n,) bool, people's word; query: (n,). The list of thresholds is made by the scores alone. From
    `START` the walk goes to lower ones while the low end of the interval (one-sided, at `level`) is at least the target: the
    chance that the precision of the chosen one is below the target is at most 1 - level. bound False: the lowest at which the
    share found reaches it, which promises nothing.

    Source: Angelopoulos et al. (2021), Learn then Test, arXiv 2110.01052, fixed sequence testing; interval of
    `stats.clustered.share`.
    """
    removals = _removals(bad, target if bound else 0.0, level)
    best: tuple[float | None, Estimate | None] = None, None
    for threshold in removals[round(START * (len(removals) - 1)) if bound and removals else 0 :]:
        e = _precision(bad >= threshold, hit, query, weights, level)
        shown = e is not None and (e.low if bound else e.value) >= target
        if shown:
            best = threshold, e
        elif bound:
            break
    return best


def _removals(bad: Floats, target: float, level: float) -> list[float]:
    """Thresholds from the highest that could be shown to do to the lowest, by the scores alone."""
    from scipy.special import ndtri

    values = np.sort(bad)[::-1]
    # Wilson's low end at a share of 1 is n / (n + z^2)
    least = max(1, int(np.ceil(float(ndtri(level)) ** 2 * target / (1 - target))))
    if least > bad.size:
        return []
    places = np.unique(np.geomspace(least, bad.size, STEPS).round().astype(int))
    return [float(v) for v in dict.fromkeys(values[places - 1].tolist()) if v > 0]


def _precision(removed: Flags, hit: Flags, query: NDArray[np.int64], weights: Floats | None, level: float) -> Estimate | None:
    """The share of the removed that are hits; its low end holds in `level` of all cases. None where nothing is removed."""
    try:
        return share(
            hit, among=removed, clusters=query, weights=weights, level=2 * level - 1, method="precision of the removal"
        )
    except Undefined:
        return None


def _steps(golden: Evidence, wanted: Wanted) -> list[Step]:
    """Each rule's threshold for all queries, then for each segment."""
    found: list[Step] = []
    for grade, target in wanted.precisions:
        overall = _step(golden, grade, target, ALL, wanted)
        found.append(overall)
        for segment in sorted({str(s) for s in golden.segment} - {ALL}):
            found.append(_of_segment(golden, grade, target, segment, wanted, overall))
    return found


def _step(golden: Evidence, grade: int, target: float, segment: str, wanted: Wanted) -> Step:
    bad, hit = badness(golden.probs, grade), golden.grade <= grade
    options: dict[str, Any] = {"weights": golden.weights, "bound": wanted.bound, "level": wanted.level}
    threshold, e = lowest(bad, hit, golden.query, target, **options)
    return Step(segment, grade, threshold, e, bad.size, golden.queries)


def _of_segment(golden: Evidence, grade: int, target: float, segment: str, wanted: Wanted, overall: Step) -> Step:
    """A segment's own threshold; that of all queries where it has few pairs, or shows no other and does not contradict that."""
    inside = golden.take(golden.segment == segment)
    pairs, queries = inside.grade.size, inside.queries
    if pairs < THIN_PAIRS or queries < THIN_QUERIES:
        said = (
            f"segment {segment!r} has {pairs:,} golden pairs of {queries:,} queries ({THIN_PAIRS} of {THIN_QUERIES} are "
            "needed): it takes the threshold of all queries"
        )
        return Step(segment, grade, overall.threshold, None, pairs, queries, said)
    own = _step(inside, grade, target, segment, wanted)
    if own.threshold is not None or overall.threshold is None:
        return own
    gone = badness(inside.probs, grade) >= overall.threshold
    e = _precision(gone, inside.grade <= grade, inside.query, inside.weights, wanted.level)
    if e is not None and e.high < target:
        said = f"in segment {segment!r} the threshold of all queries misses the precision: nothing is left out there"
        return own._replace(precision=e, note=said)
    said = f"segment {segment!r} is too small to show a threshold of its own: it takes that of all queries"
    return Step(segment, grade, overall.threshold, e, pairs, queries, said)


def _filter(steps: Sequence[Step], wanted: Wanted, labels: Sequence[str]) -> Filter:
    rules = []
    for grade, target in wanted.precisions:
        thresholds = {s.segment: s.threshold for s in steps if s.grade == grade and (not s.note or s.threshold is None)}
        rules.append(Rule(grade, target, thresholds))
    return Filter(tuple(rules), len(labels), wanted.floor, tuple(labels))


def removed(made: Filter, probs: Floats, segment: NDArray[np.object_]) -> Flags:
    """(n,) the pairs that the rules leave out, before the floor brings any back."""
    out = np.zeros(len(probs), bool)
    for rule in made.rules:
        limits = {s: rule.of(s) for s in {str(s) for s in segment}}
        at = np.array([np.inf if (t := limits[str(s)]) is None else t for s in segment], dtype=np.float64)
        out |= badness(probs, rule.grade) >= at
    return out


def _out_of_fold(golden: Evidence, wanted: Wanted, labels: Sequence[str]) -> tuple[dict[str, Estimate], list[str]]:
    """What filters chosen on the other folds do to each fold's pairs: folds by query, so that no pair chose its own."""
    fold = _folds(golden, wanted.folds)
    gone = np.zeros(golden.grade.size, bool)
    for at in sorted(set(fold.tolist())):
        learnt = golden.take(fold != at)
        held = golden.take(fold == at)
        made = _filter(_steps(learnt, wanted), wanted, labels)
        gone[fold == at] = removed(made, held.probs, held.segment)
    worst = max(grade for grade, _ in wanted.precisions)
    return measured(golden, gone, bad=worst, relevant=wanted.relevant, level=wanted.level)


def measured(golden: Evidence, gone: Flags, *, bad: int, relevant: int, level: float) -> tuple[dict[str, Estimate], list[str]]:
    """What removing these pairs does, with intervals over queries, and notes on what has no value."""
    options = {"clusters": golden.query, "weights": golden.weights, "level": level}
    good, wrong = golden.grade >= relevant, golden.grade <= bad
    found: dict[str, Estimate] = {"removed": share(gone, method="share removed", **options)}  # type: ignore[arg-type]
    notes = []
    for name, hit, among in (
        ("precision", wrong, gone),
        ("relevant lost", gone, good),
        ("bad removed", gone, wrong),
        ("bad before", wrong, np.ones(gone.size, bool)),
        ("bad after", wrong, ~gone),
    ):
        try:
            found[name] = share(hit, among=among, method=name, **options)  # type: ignore[arg-type]
        except Undefined:
            notes.append(f"{name} has no value out of fold: there is no such golden pair")
    return found, notes


def _folds(golden: Evidence, folds: int) -> NDArray[np.int64]:
    """The fold of each pair, by its query's id: the same in any order of rows."""
    chance = uniform(0, keys(golden.query_ids))
    place = np.argsort(np.argsort(chance, kind="stable"), kind="stable") % folds
    return np.asarray(place[golden.query], dtype=np.int64)


def _checked(golden: Evidence, wanted: Wanted, labels: Sequence[str]) -> None:
    """Raises: InputError for what cannot be asked, or not answered."""
    for grade, precision in wanted.precisions:
        if not 0 <= grade < len(labels) - 1:
            raise InputError(f"grade {grade} cannot be filtered: expected one below the best, {labels[-1]!r}")
        if not 0 < precision < 1:
            raise InputError(f"--precision {precision:g}: give the share of what is removed that people call bad, as 0.9")
    if wanted.floor < 0:
        raise InputError(f"--floor {wanted.floor}: give the results that are left at least, 0 or more")
    pairs, queries = golden.grade.size, golden.queries
    if pairs < LEAST_PAIRS or queries < LEAST_QUERIES:
        raise InputError(
            f"{pairs} golden pairs of {queries} queries have a prediction, which promises nothing: {LEAST_PAIRS} pairs of "
            f"{LEAST_QUERIES} queries are the least"
        )
