"""Which row stands for what: strata, audit strata, and the weights of judged and audited queries. No outcome is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]


class Segments:
    """Sums over runs of equal codes, along the last axis: of one experiment (n,) or of many at once (E, n)."""

    def __init__(self, codes: Codes, size: int) -> None:
        """codes: (n,) each below size, equal ones side by side; a code may be missing."""
        self.codes, self.size = codes, size
        self._starts = np.flatnonzero(np.diff(codes, prepend=-1))
        self._there = codes[self._starts]

    def sums(self, x: Numbers) -> Numbers:
        """(..., n) to (..., size); a code that is missing has 0."""
        out = np.zeros((*x.shape[:-1], self.size))
        if self._there.size:
            out[..., self._there] = np.add.reduceat(x, self._starts, axis=-1)
        return out

    def spread(self, values: Numbers) -> Numbers:
        """(..., size) to (..., n)."""
        return values[..., self.codes]


@dataclass(frozen=True, slots=True)
class Layout:
    """The rows of an experiment with an audit, in the order that the sums need.

    audited, rest: row numbers, by audit group, of those that people judged and of the others. groups: of the audited
    rows; strata: of the rest. share: (G,) of the population. p: (n,) weights inside the group, adding to 1 in each. left:
    (G,) the share of a group's weight that lies on judged rows without people (1 if the audit is a sample of its own).
    rest_weights: (u,) adding to 1 in each group. second: (G,) what the residual's variance is multiplied by. first:
    (G,) the same for people's variance, of drawing the judged queries. judged_term: (H,) the same for the judge's own
    variance in the judged sample (disjoint audits only). kish: (G,) sum of p^2. cells: (stratum, group, weight) of strata
    that are split over audit groups. census: how much of a finite target was judged, 0 if it is not finite. drawn: (G,) the
    share of that which is audited.
    """

    audited: Codes
    rest: Codes
    groups: Segments
    rest_groups: Segments
    rest_strata: Segments
    share: Numbers
    p: Numbers
    left: Numbers
    rest_weights: Numbers
    rest_omega: Numbers
    second: Numbers
    first: Numbers
    judged_term: Numbers
    kish: Numbers
    bias_term: Numbers
    cells: tuple[Codes, Codes, Numbers, Numbers]
    notes: tuple[str, ...]
    census: float
    drawn: Numbers

    @property
    def df(self) -> Numbers:
        """(G,) degrees of freedom inside each group; with unequal weights, of the effective number of queries."""
        return 1 / self.kish - 1

    @property
    def design_df(self) -> float:
        """Degrees of freedom that the design gives if every group varies alike: it does not depend on what was found."""
        terms = self.share**2 * self.kish
        return float(terms.sum() ** 2 / (terms**2 / self.df).sum())


def layout(
    strata: ArrayLike,
    audited: NDArray[np.bool_],
    populations: Mapping[str, float],
    *,
    audit_strata: ArrayLike | None = None,
    nested: bool = True,
    finite: bool = False,
) -> Layout:
    """Rows, groups and weights of an experiment with an audit.

    strata: (m,) names. audited: (m,) bool. The rest as in `corrected`.
    Raises: InputError where fewer than two queries are audited, a stratum has no population, or the audit's strata cut
    across those of a disjoint sample.
    Longer than our functions are: each line is one of the weights that `Layout` explains.
    """
    names, h = codes(strata, audited.size, "strata")
    sizes = _sizes(names, populations)
    weight = sizes / sizes.sum()
    m = _judged(names, h, np.ones(audited.size, bool) if nested else ~audited, sizes if finite else None)
    labels, g = (names, h) if audit_strata is None else codes(audit_strata, audited.size, "audit_strata")
    g, notes = _merged(labels, g, audited)
    count = int(g.max()) + 1
    omega = weight[h] / m[h]

    rows, rest = _by(np.flatnonzero(audited), g), _by(np.flatnonzero(~audited), h, g)
    n = np.bincount(g[rows], minlength=count)
    if nested:
        share = totals(g, omega, count)
        own = totals(g[rows], omega[rows], count)
        p = omega[rows] / own[g[rows]]
        whole = n == np.bincount(g, minlength=count)
        left = np.where(whole, 0.0, 1 - own / share)
        drawn = n / np.bincount(g, minlength=count)
    else:
        group_of = _union(names, h, g)
        share = totals(group_of, weight, count)
        p, left, drawn = 1 / n[g[rows]], np.ones(count), np.zeros(count)
    rest_share = totals(g[rest], omega[rest], count)
    kish = totals(g[rows], p**2, count)
    outer = weight**2 / m * (1 - m / sizes if finite else 1.0)
    cells = _cells(h, g, m, outer) if nested else _cells(h, g, np.bincount(h), -(weight**2) / sizes if finite else 0 * weight)
    seen = totals(cells[1], sizes[cells[0]] * cells[2], count)
    return Layout(
        audited=rows,
        rest=rest,
        groups=Segments(g[rows], count),
        rest_groups=Segments(g[rest], count),
        rest_strata=Segments(h[rest], names.size) if not nested else Segments(np.zeros(rest.size, np.int64), 1),
        share=share,
        p=p,
        left=left,
        rest_weights=omega[rest] / rest_share[g[rest]],
        rest_omega=omega[rest],
        second=share**2 * kish * (1 - drawn),
        first=totals(cells[1], cells[2] * cells[3], count),
        judged_term=np.zeros(0) if nested else weight**2 / m,
        kish=kish,
        bias_term=np.asarray(share**2 * kish * (np.maximum(1 - n / seen, 0) if finite else 1.0), np.float64),
        cells=cells,
        notes=notes,
        census=min(float(audited.size / sizes.sum()), 1.0) if finite else 0.0,
        drawn=np.asarray(n / (np.bincount(g, minlength=count) if nested else seen), np.float64),
    )


def totals(code: Codes, values: Numbers, size: int) -> Numbers:
    """(n,) values summed by code to (size,)."""
    return np.asarray(np.bincount(code, values, minlength=size), np.float64)


def codes(names: ArrayLike, size: int, what: str) -> tuple[NDArray[np.str_], Codes]:
    """The different names, sorted, and each row's place among them. Raises: InputError unless there is one a row."""
    given = np.asarray(names)
    if given.shape != (size,):
        raise InputError(f"{what} has {given.size} names for {size} queries: give one for each")
    rows = [str(name) for name in given.tolist()]
    found = sorted(set(rows))  # a set is much faster than sorting a million names
    place = {name: i for i, name in enumerate(found)}
    return np.array(found), np.fromiter((place[name] for name in rows), np.int64, size)


def _sizes(names: NDArray[np.str_], populations: Mapping[str, float]) -> Numbers:
    sizes = np.array([float(populations.get(str(name), 0)) for name in names])
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        name = str(names[np.argmin(np.isfinite(sizes) & (sizes > 0))])
        raise InputError(f"stratum {name!r} has queries but no population: add it to the design, or drop its queries")
    return sizes


def _judged(names: NDArray[np.str_], h: Codes, judged: NDArray[np.bool_], sizes: Numbers | None) -> Codes:
    """(H,) the judge's own queries in each stratum; sizes: of a finite target."""
    m = np.bincount(h[judged], minlength=names.size)
    if (m == 0).any():
        name = str(names[np.argmin(m)])
        raise InputError(f"stratum {name!r} has audited queries and none that only the judge saw: a disjoint audit needs both")
    if sizes is not None and (sizes < np.bincount(h)).any():
        name = str(names[np.argmax(np.bincount(h) - sizes)])
        raise InputError(f"stratum {name!r} has more queries than its population: a finite target holds every judged query")
    return m


def _merged(labels: NDArray[np.str_], g: Codes, audited: NDArray[np.bool_]) -> tuple[Codes, tuple[str, ...]]:
    """Groups with at least two audited queries: those with fewer become one, joined by the smallest other if need be."""
    n, m = np.bincount(g[audited], minlength=labels.size), np.bincount(g, minlength=labels.size)
    if n.sum() < 2:
        raise InputError(f"{n.sum()} audited queries: people's answer on at least 2 is needed, and on 30 to rely on it")
    few = n < 2
    if not few.any():
        return g, ()
    joined = few.copy()
    if n[few].sum() < 2:
        others = np.flatnonzero(~few)
        joined[others[np.argmin(m[others])]] = True
    place = np.where(joined, 0, np.cumsum(~joined))
    named = [str(name) for name in labels[few]]
    shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    with_ = [str(name) for name in labels[joined & ~few]]
    into = f"with {with_[0]}" if with_ else "as one"
    note = f"audit strata with fewer than 2 audited queries: {shown}; their judge's error is estimated together, {into}"
    return place[g].astype(np.int64), (note,)


def _by(rows: Codes, *keys: Codes) -> Codes:
    """Rows sorted by the last key, then the one before."""
    return rows[np.lexsort([key[rows] for key in keys])]


def _union(names: NDArray[np.str_], h: Codes, g: Codes) -> Codes:
    """The audit group of each stratum."""
    pairs = np.unique(np.stack([h, g]), axis=1)
    split = np.flatnonzero(np.bincount(pairs[0]) > 1)
    if split.size:
        raise InputError(
            f"stratum {str(names[split[0]])!r} is split over audit strata: an audit that is a sample of its own is drawn inside"
            " the strata, or inside unions of them"
        )
    return np.asarray(pairs[1], np.int64)


def _cells(h: Codes, g: Codes, m: Codes, outer: Numbers) -> tuple[Codes, Codes, Numbers, Numbers]:
    """(stratum, group, share of the stratum's rows, what the stratum's variance is multiplied by), where the two meet."""
    pairs, count = np.unique(np.stack([h, g]), axis=1, return_counts=True)
    return pairs[0], pairs[1], count / m[pairs[0]], outer[pairs[0]]
