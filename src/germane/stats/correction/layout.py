"""Which row stands for what: strata, audit strata, and the weights of judged and audited queries. No outcome is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.correction.merging import merged
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
    (G,) the same for people's variance, of drawing the judged queries. bias_term: (G,) both, for what is known on audited
    queries alone. by_second, by_first, by_bias: (n,) adding to 1 in each group, how much the variance of each row's like
    counts in them: rows of different strata may vary differently. kept: (n,) E (x - mean)^2 of rows that vary alike, of
    their variance. judged_term: (H,) as second, of the judge's own variance in the judged sample (disjoint audits only).
    kish: (G,) sum of p^2. df: (G,) degrees of freedom, 0 for a group of one. lone: (G,) True for a group of one that
    stands for others and so takes their variance (a census inside a stratum stands for itself). cells: (stratum, group,
    weight) of strata that are split over audit groups. census: how much of a finite target was judged, 0 if it is not
    finite. drawn: (G,) the share of that which is audited.
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
    bias_term: Numbers
    by_second: Numbers
    by_first: Numbers
    by_bias: Numbers
    kept: Numbers
    kish: Numbers
    df: Numbers
    lone: NDArray[np.bool_]
    cells: tuple[Codes, Codes, Numbers, Numbers]
    notes: tuple[str, ...]
    census: float
    drawn: Numbers

    @property
    def design_df(self) -> float:
        """Degrees of freedom that the design gives if every group varies alike: it does not depend on what was found."""
        terms = self.share**2 * self.kish
        return float(terms.sum() ** 2 / (terms**2 / np.maximum(self.df, 1)).sum())


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
    g, notes = merged(labels, g, h, audited)
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
    second, first = share**2 * kish * (1 - drawn), totals(cells[1], cells[2] * cells[3], count)
    by_second = p**2 / kish[g[rows]]
    by_first = _shares((outer / m)[h[rows]] if nested else p, g[rows], count)
    both = np.maximum(second + first, 0)
    kept, df = _freedom(p, kish, g[rows])
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
        second=second,
        first=first,
        judged_term=np.zeros(0) if nested else weight**2 / m,
        bias_term=both,
        by_second=by_second,
        by_first=by_first,
        by_bias=_shares(second[g[rows]] * by_second + first[g[rows]] * by_first, g[rows], count),
        kept=kept,
        kish=kish,
        df=df,
        lone=(kish >= 1) & ~((left == 0) & _inside(h, g, count)),
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
    wrong = ~(np.isfinite(sizes) & (sizes > 0))
    if wrong.any():
        name, size = str(names[np.argmax(wrong)]), sizes[np.argmax(wrong)]
        if name not in populations:
            raise InputError(f"stratum {name!r} has queries but no population: add it to the design, or drop its queries")
        raise InputError(f"the population of stratum {name!r} is {size:g}: its number of queries is expected, above 0")
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


def _shares(values: Numbers, code: Codes, size: int) -> Numbers:
    """(n,) each value's share of its group's sum; equal shares where that is 0."""
    total, n = totals(code, values, size)[code], np.bincount(code, minlength=size)[code]
    return np.asarray(np.where(total != 0, values / np.where(total != 0, total, 1.0), 1 / n), np.float64)


def _freedom(p: Numbers, kish: Numbers, code: Codes) -> tuple[Numbers, Numbers]:
    """(kept (n,), df (G,)) of V = sum p_i^2 (x_i - mean)^2 / kept_i, the variance of a mean with unequal weights p.

    With rows that vary alike E (x_i - mean)^2 = s^2 (1 - 2 p_i + sum p^2), so V is unbiased, and Satterthwaite's df of
    this quadratic form are trace^2 / trace of its square. Both are n - 1 over n, and n - 1, where the weights are equal.
    Source: Bell, McCaffrey (2002), Survey Methodology 28(2), whose df these are for a weighted mean.
    """
    k = kish[code]
    kept = np.where(k < 1, (1 - p) ** 2 + np.maximum(k - p**2, 0), 1.0)
    a = p**2 / kept
    zero, one, two = (totals(code, a * p**i, kish.size) for i in (0, 1, 2))
    square = totals(code, a**2 * (1 + 2 * (k - 2 * p)), kish.size)
    square += kish**2 * zero**2 + 2 * zero * two - 4 * kish * zero * one + 2 * one**2
    return kept, np.where(kish < 1, kish**2 / np.where(kish < 1, square, 1.0), 0.0)


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


def _inside(h: Codes, g: Codes, count: int) -> NDArray[np.bool_]:
    """(G,) True for groups all of whose strata are split: the spread between groups holds their share of the variance."""
    pairs = np.unique(np.stack([h, g]), axis=1)
    alone = np.bincount(pairs[0])[pairs[0]] == 1
    return np.asarray(np.bincount(pairs[1], alone, minlength=count) == 0)


def _cells(h: Codes, g: Codes, m: Codes, outer: Numbers) -> tuple[Codes, Codes, Numbers, Numbers]:
    """(stratum, group, share of the stratum's rows, what the stratum's variance is multiplied by), where the two meet."""
    pairs, count = np.unique(np.stack([h, g]), axis=1, return_counts=True)
    return pairs[0], pairs[1], count / m[pairs[0]], outer[pairs[0]]
