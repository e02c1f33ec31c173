"""Concept drift: the same pair under two versions of the guide, and what of the change is more than raters' own noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.golden.of_raters import defined
from germane.golden.votes import VOTE, Votes
from germane.stats import clustered
from germane.stats.raters import difference_of_means
from germane.types import Estimate, InputError, Scale

Ints = NDArray[np.int64]
SAME = "the same rater under both versions"
OTHER = "different raters under the two versions"


@dataclass(frozen=True)
class Drift:
    """How grades changed from one version to another. how: who is compared. moves: (old grade, new grade) counts.

    found: "changed" (share of the comparisons), "shift" (mean change, in grades; above 0 is more lenient); with data on noise
    "noise" (the share that differs under one version) and "more than noise" (changed minus noise).
    """

    old: str
    new: str
    how: str
    pairs: int
    found: Mapping[str, Estimate]
    moves: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]


def drift(
    votes: Votes,
    scale: Scale,
    *,
    old: str,
    new: str,
    odds: Mapping[tuple[str, str], float] | None = None,
    level: float = 0.95,
) -> Drift:
    """The change in people's grades from version `old` to `new`, with intervals over queries.

    The same rater's two grades of a pair are compared where there are such, and noise is what the same rater says again under
    one version. Else any rater's grade under the one with any other's under the other, and noise is how two raters differ
    under one version. odds: of each pair to be judged again (`guide impact`), so that the figures are of all golden pairs.
    Raises: InputError for a version that no vote has, and where no pair was judged under both.
    """
    now = votes.standing()
    for version in (old, new):
        if version not in now.guides:
            named = ", ".join(guide or "not said" for guide in now.guides)
            raise InputError(f"no vote was made under guide version {version!r}: the votes have {named}")
    graded = np.flatnonzero((now.grade >= 0) & (now.kind == VOTE))
    before, after = (graded[now.guide[graded] == now.guides.index(version)] for version in (old, new))
    one, two = _matched(now, before, after, same=True)
    how = SAME
    if not len(one):
        one, two = _matched(now, before, after, same=False)
        how = OTHER
    if not len(one):
        raise InputError(f"no pair was judged under both {old!r} and {new!r}: germane guide impact draws pairs to judge again")
    weight, notes = _weights(now, one, odds)
    a, b = _noise(votes, now, how, np.unique(now.pair[one]))
    source = votes if how == SAME else now
    noise_weight = _weights(source, a, odds)[0]
    changed = (now.grade[one] != now.grade[two]).astype(float)
    options: dict[str, Any] = {"clusters": now.query[one], "weights": weight, "level": level}
    found = {
        "changed": clustered.share(changed > 0, **options, method=f"pairs with another grade, {how}"),
        "shift": clustered.mean((now.grade[two] - now.grade[one]).astype(float), **options, method=f"mean change, {how}"),
    }
    if not changed.any():  # no spread to learn from: as far as the pairs that may have changed unseen could move it
        most = found["changed"].high * (len(scale.labels) - 1)
        method = f"{found['shift'].method}; none changed: bounded by the share that may have"
        found["shift"] = replace(found["shift"], low=-most, high=most, method=method)
    if len(a):
        differs = (source.grade[a] != source.grade[b]).astype(float)
        said = "the same rater again under one version" if how == SAME else "two raters under one version"
        again: dict[str, Any] = {"clusters": source.query[a], "weights": noise_weight, "level": level}
        both = np.isin(now.pair[one], source.pair[a])  # the same pairs on both sides, each with the same weight
        beside: dict[str, Any] = {"clusters": (now.query[one][both], source.query[a]), "level": level}
        made: dict[str, Callable[[], Estimate]] = {
            "noise": lambda: clustered.share(differs > 0, **again, method=f"differs, {said}"),
            "more than noise": lambda: difference_of_means(
                changed[both], differs, weights=(weight[both], noise_weight), **beside
            ),
        }
        found |= defined(made)
    if "more than noise" not in found:
        notes.append("too few of these pairs were judged twice under one version: how much of the change is noise is not known")
    table = np.zeros((len(scale.labels), len(scale.labels)), dtype=np.int64)
    np.add.at(table, (now.grade[one], now.grade[two]), 1)
    moves = tuple(tuple(row) for row in table.tolist())
    return Drift(old, new, how, len(np.unique(now.pair[one])), found, moves, tuple(notes))


def _matched(now: Votes, before: Ints, after: Ints, *, same: bool) -> tuple[Ints, Ints]:
    """Rows of votes under the old and under the new version, of the same pair, by the same rater or by others."""
    of: dict[int, list[int]] = {}
    for row in after.tolist():
        of.setdefault(int(now.pair[row]), []).append(row)
    pairs = [
        (row, other)
        for row in before.tolist()
        for other in of.get(int(now.pair[row]), ())
        if (now.rater[row] == now.rater[other]) == same
    ]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _noise(votes: Votes, now: Votes, how: str, pairs: Ints) -> tuple[Ints, Ints]:
    """Rows of two grades under one version, of these pairs alone: others may be harder, or easier, than what is compared."""
    if how == SAME:
        a, b = votes.again()
        both = (votes.grade[a] >= 0) & (votes.grade[b] >= 0) & (votes.kind[a] == VOTE) & np.isin(votes.pair[a], pairs)
        return a[both], b[both]
    rows = np.flatnonzero((now.grade >= 0) & (now.kind == VOTE) & np.isin(now.pair, pairs))
    key = now.pair[rows] * len(now.guides) + now.guide[rows]
    order = rows[np.argsort(key, kind="stable")]
    same = np.diff(np.sort(key)) == 0
    return order[:-1][same], order[1:][same]


def _weights(now: Votes, rows: Ints, odds: Mapping[tuple[str, str], float] | None) -> tuple[NDArray[np.float64], list[str]]:
    """(rows,) of each comparison: a pair counts by its odds, or as one, however many comparisons of it there are."""
    _, place, count = np.unique(now.pair[rows], return_inverse=True, return_counts=True)
    share = 1 / count[place]
    if odds is None:
        return share, ["no odds were given: the figures are of the pairs that were judged again, not of all golden pairs"]
    ids = zip(now.pairs[0][now.pair[rows]].tolist(), now.pairs[1][now.pair[rows]].tolist(), strict=True)
    chance = np.array([odds.get(pair, np.nan) for pair in ids])
    if np.isnan(chance).any():
        raise InputError("a pair was judged under both versions and has no odds: give the file that germane guide impact wrote")
    return share / chance, []
