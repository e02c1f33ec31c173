"""Which audit strata are estimated together because they hold too few audited queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from germane.types import InputError

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


def merged(labels: NDArray[np.str_], g: Codes, h: Codes, audited: Mask) -> tuple[Codes, tuple[str, ...]]:
    """(audit group of each row, notes): groups with fewer than two audited queries become one, with another if need be.

    labels: (G,) names of the audit strata. g, h: (m,) audit stratum and stratum of each row.
    A census, a group in which every judged query was audited, is never merged with a sample: its judge's error is known,
    and says nothing of others. Several of one query each are taken together for their variance, as a census of them all.

    Raises: InputError for fewer than 2 audited queries.
    """
    n, m = np.bincount(g[audited], minlength=labels.size), np.bincount(g, minlength=labels.size)
    if n.sum() < 2:
        raise InputError(f"{n.sum()} audited queries: people's answer on at least 2 is needed, and on 30 to rely on it")
    whole, few = n == m, n < 2
    if not few.any():
        return g, ()
    split = _split(g, h, labels.size)
    place, notes = np.arange(labels.size), []
    sampled, lone = few & ~whole, few & whole & ~split
    if sampled.any():
        others = ~few & ~whole
        if n[sampled].sum() == 0 and not others.any():
            others = ~sampled  # nothing else is known of them
        joined = sampled | _smallest(others, m, n[sampled].sum() < 2)
        place[joined] = place[joined].min()
        said = "audit strata with fewer than 2 audited queries: {}; their judge's error is estimated together, {}"
        notes.append(_note(said, labels, sampled, joined, place, n))
    if lone.any():
        joined = lone | _smallest(whole & ~few & ~split, m, n[lone].sum() < 2)
        place[joined] = place[joined].min()
        said = "audit strata of 1 query, which was audited: {}; their variance is estimated together, {}"
        notes.append(_note(said, labels, lone, joined, place, n))
    if np.bincount(place, n).max() < 2:
        place[:] = 0
        everyone = np.ones(labels.size, bool)
        said = "audit strata with fewer than 2 audited queries: {}; their judge's error is estimated together, {}"
        notes = [_note(said, labels, everyone, everyone, place, n)]
    _, place = np.unique(place, return_inverse=True)
    return place[g].astype(np.int64), tuple(notes)


def _smallest(others: Mask, m: Codes, needed: bool) -> Mask:
    """True for the smallest of the others, if one is needed."""
    found = np.zeros(others.size, bool)
    if needed and others.any():
        where = np.flatnonzero(others)
        found[where[np.argmin(m[where])]] = True
    return found


def _split(g: Codes, h: Codes, size: int) -> Mask:
    """(G,) groups with a stratum that other groups share: its spread between groups is counted there."""
    pairs = np.unique(np.stack([h, g]), axis=1)
    shared = np.bincount(pairs[0])[pairs[0]] > 1
    return np.bincount(pairs[1], shared, minlength=size) > 0


def _note(said: str, labels: NDArray[np.str_], few: Mask, joined: Mask, place: Codes, n: Codes) -> str:
    named = [str(name) for name in labels[few]]
    shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    with_ = [str(name) for name in labels[joined & ~few]]
    if not with_ and n[joined].sum() < 2:
        return said.format(shown, "with the variance of the others")
    return said.format(shown, f"with {with_[0]}" if with_ else "as one")
