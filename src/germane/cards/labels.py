"""The level of labels: agreement of single grades, probabilities, and the ceiling that people set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.cards.gold import Pairs
from germane.stats import agreement, calibration, clustered, ranks
from germane.stats.clustered import Undefined, share
from germane.types import Ceiling, Estimate, Reliability, Scale

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.bool_]
Statistic = tuple[str, Callable[..., Estimate], dict[str, Any]]


def threshold(scale: Scale) -> int:
    """The lowest grade with more than half of the top gain."""
    return next(grade for grade, gain in enumerate(scale.gains) if gain > scale.gains[-1] / 2)


def found(
    pairs: Pairs, rows: Rows, scale: Scale, *, relevant: int, level: float, by_grade: bool = True
) -> tuple[dict[str, Estimate], list[str]]:
    """Every statistic of labels over these gold pairs, by name, and the names of those that have no value on them."""
    both = rows & (pairs.other >= 0)
    coverage = share(both[rows], method="share of gold pairs answered", **_options(pairs, rows, level))
    estimates = {"coverage": coverage}
    a, b, options = pairs.gold[both], pairs.other[both], _options(pairs, both, level)
    empty = []
    for name, statistic, more in statistics(scale, relevant, by_grade=by_grade):
        try:
            estimates[name] = statistic(a, b, **options, **more)
        except Undefined:
            empty.append(name)
    return estimates, empty


def statistics(scale: Scale, relevant: int, *, by_grade: bool) -> Iterator[Statistic]:
    """(name on the card, function, its options) in the order of the card. Two grades have no "within one"."""
    yield "exact", agreement.exact_agreement, {}
    if len(scale.labels) > 2:
        yield "within one", agreement.agreement_within, {}
    yield from _symmetric()
    yield "false relevant", agreement.false_relevant_rate, {"threshold": relevant}
    yield "specificity", agreement.specificity, {"threshold": relevant}
    yield "gain error", gain_error, {"scale": scale}
    for grade, label in enumerate(scale.labels if by_grade else ()):
        yield f"precision of {label}", agreement.precision, {"grade": grade}
        yield f"recall of {label}", agreement.recall, {"grade": grade}
        yield f"F1 of {label}", agreement.f1, {"grade": grade}


def _symmetric() -> Iterator[Statistic]:
    """Those beside exact agreement that treat both raters alike: they are a ceiling's too."""
    yield "kappa", agreement.cohen_kappa, {}
    yield "linear kappa", agreement.cohen_kappa, {"distance": "linear"}
    yield "quadratic kappa", agreement.cohen_kappa, {"distance": "quadratic"}
    yield "alpha", _alpha, {"difference": "ordinal"}
    yield "macro F1", agreement.macro_f1, {}
    yield "tau-b", ranks.kendall_tau_b, {}
    yield "rho", ranks.spearman_rho, {}


def _alpha(a: Any, b: Any, **options: Any) -> Estimate:
    return agreement.krippendorff_alpha(np.column_stack([a, b]), **options)


def gain_error(gold: Any, other: Any, *, scale: Scale, **options: Any) -> Estimate:
    """Mean of the judge's gain minus people's, in units of the top gain: a judge that is too kind is above 0."""
    gains = np.asarray(scale.gains) / scale.gains[-1]
    return clustered.mean(gains[other] - gains[gold], bounds=(-1.0, 1.0), method="judge's gain minus people's", **options)


def probabilities(
    pairs: Pairs, rows: Rows, scale: Scale, *, level: float
) -> tuple[dict[str, Estimate], tuple[Reliability, ...], list[str]]:
    """Calibration of the judge's probabilities over these pairs, reliability by grade, and what is to be said."""
    if pairs.probs is None or not (given := rows & (pairs.other >= 0) & ~np.isnan(pairs.probs).any(1)).any():
        return {}, (), []
    p, y, options = pairs.probs[given], pairs.gold[given], _options(pairs, given, level)
    notes = []
    if without := int((rows & (pairs.other >= 0)).sum() - given.sum()):
        notes.append(f"{without:,} answers have no probabilities: calibration is of the others")
    if off := int((p.argmax(1) != pairs.other[given]).sum()):
        notes.append(f"{off:,} answers are not the grade of the highest probability")
    estimates = {}
    kinds: tuple[Statistic, ...] = (
        ("calibration error", calibration.calibration_error, {}),
        ("expected gain error", calibration.expected_gain_error, {"gains": scale.gains}),
        ("Brier score", calibration.brier, {}),
    )
    for name, statistic, more in kinds:
        try:
            estimates[name] = statistic(p, y, **options, **more)
        except Undefined:
            notes.append(f"{name} has no value on these pairs")
    table = [Reliability(scale.labels[r.grade], r.expected, r.seen) for r in calibration.reliability(p, y, **options)]
    return estimates, tuple(table), notes


def ceiling(gold: pa.Table, pairs: Pairs, *, level: float) -> tuple[tuple[Ceiling, ...], list[str]]:
    """How people agree with each other, over gold's random part before it was adjudicated, and the judge with each of them.

    gold: several rows a pair. pairs: the same, one row a pair; their grades are not used.
    """
    raters, votes = votes_of(gold, pairs)
    votes = np.where(pairs.targeted[:, None], np.nan, votes)
    if len(raters) < 2 or not ((~np.isnan(votes)).sum(1) > 1).any():
        return (), []
    judge = np.where(pairs.other >= 0, pairs.other, np.nan)
    between, single, pairs_of = {}, {}, 0
    columns = list(combinations(range(len(raters)), 2))
    kinds: list[Statistic] = [("exact", agreement.exact_agreement, {}), ("within one", agreement.agreement_within, {})]
    for name, statistic, more in (*kinds, *_symmetric()):
        each = [_pair(statistic, more, votes[:, i], votes[:, j], pairs, level) for i, j in columns]
        with_judge = [_pair(statistic, more, votes[:, i], judge, pairs, level) for i in range(len(raters))]
        between[name], single[name] = _average(each, name), _average(with_judge, name)
        pairs_of = max(pairs_of, sum(e is not None for e in each))
    try:
        everyone = np.ones(len(votes), bool)
        between["alpha"] = agreement.krippendorff_alpha(votes, difference="ordinal", **_options(pairs, everyone, level))
    except Undefined:
        between["alpha"] = None
    note = f"the ceiling averages {pairs_of} pairs among {len(raters)} raters; its intervals are wide rather than narrow"
    return tuple(Ceiling(name, e, single[name]) for name, e in between.items() if e is not None), [note]


def votes_of(gold: pa.Table, pairs: Pairs) -> tuple[list[str], NDArray[np.float64]]:
    """The raters, and each one's grade of each pair (n, raters), NaN where there is none."""
    names = [str(name) for name in gold["judge"].to_pylist()]
    raters = sorted(set(names))
    column = {name: at for at, name in enumerate(raters)}
    ids = zip(pairs.query_ids[pairs.query].tolist(), pairs.doc_ids.tolist(), strict=True)
    row = {pair: at for at, pair in enumerate(ids)}
    votes = np.full((len(row), len(raters)), np.nan)
    grades = zip(gold["query_id"].to_pylist(), gold["doc_id"].to_pylist(), names, gold["relevance"].to_pylist(), strict=True)
    for query, doc, name, grade in grades:
        if grade is not None and (at := row.get((query, doc))) is not None:
            votes[at, column[name]] = grade
    return raters, votes


def _pair(
    statistic: Callable[..., Estimate], more: dict[str, Any], a: Any, b: Any, pairs: Pairs, level: float
) -> Estimate | None:
    """A statistic of two raters over the pairs that both judged; None where it has no value on them."""
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        return None
    try:
        return statistic(a[both].astype(np.int64), b[both].astype(np.int64), **_options(pairs, both, level), **more)
    except Undefined:
        return None


def _average(each: list[Estimate | None], name: str) -> Estimate | None:
    """The mean over pairs of raters; se and limits are averaged too, as if all rose and fell together: none is wider."""
    there = [e for e in each if e is not None]
    if not there:
        return None
    value, se, low, high = (float(np.mean([getattr(e, part) for e in there])) for part in ("value", "se", "low", "high"))
    n, caveat = max(e.n for e in there), next((e.caveat for e in there if e.caveat), "")
    method = f"{name}, average over {len(there)} pairs of raters"
    return replace(there[0], value=value, se=se, low=low, high=high, n=n, method=method, caveat=caveat)


def _options(pairs: Pairs, rows: Rows, level: float) -> dict[str, Any]:
    return {"clusters": pairs.query[rows], "weights": None if pairs.weight is None else pairs.weight[rows], "level": level}
