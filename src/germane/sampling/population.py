"""A population of queries in its strata, and how a sample is divided among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from germane.sampling.pilots import Pilot
from germane.sampling.strata import cells_of, merged, name_of, position, segments_with_floors, strata_columns
from germane.sampling.unequal import odds_by_size
from germane.stats.allocation import (
    Floats,
    Ints,
    floors_met,
    least_for_floors,
    neyman,
    stratified_se,
)
from germane.stats.power import least_sample, mde
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

ALLOCATIONS = ("neyman", "proportional", "equal", "power")


@dataclass(frozen=True)
class Allocation:
    """How a sample is divided among strata. method: one of ALLOCATIONS; exponent: of "power", 1 = Neyman, 0 = equal precision.

    sd: of the paired difference, one for all, by stratum or from a pilot (None = equal); cost: of one query, by stratum
    (None = as the pilot says, or equal); minimum: of every stratum; floors: segment -> the least number of queries over its
    strata.
    """

    method: str = "neyman"
    sd: Pilot | Mapping[str, float] | float | None = None
    cost: Mapping[str, float] | None = None
    minimum: int = 2
    floors: Mapping[str, float] = field(default_factory=dict)
    exponent: float = 0.5

    @property
    def costs(self) -> Mapping[str, float] | None:
        return self.cost or (self.sd.cost if isinstance(self.sd, Pilot) else None)


@dataclass(frozen=True)
class Population:
    """Queries in their strata, with all that an allocation needs: names, sizes, weights in the mean, SDs, costs, floors."""

    columns: list[str]
    names: list[str]
    stratum: Ints  # (queries,): the stratum of each
    sizes: Ints
    weights: Floats
    sd: list[float] | None
    cost: list[float] | None
    floors: list[tuple[list[int], int]]
    how: Allocation
    notes: tuple[str, ...]
    traffic: Ints | None = None  # (queries,): where that is what counts

    @classmethod
    def of(
        cls, queries: pa.Table, strata: Sequence[str] | None, n: int | None, how: Allocation, traffic: Ints | None = None
    ) -> Population:
        """The strata of a table of queries, merged where they are too small for a sample of n (None: of any size).

        traffic: of each query, where that is what counts.
        """
        if not queries.num_rows:
            raise InputError("there are no queries to sample: the table is empty")
        _check_method(how)
        columns = strata_columns(queries, strata)
        cells, code = cells_of(queries, columns)
        groups, notes = merged(cells, np.bincount(code, minlength=len(cells)).tolist(), n)
        names = [name_of([cells[c] for c in group]) for group in groups]
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise InputError(f"two strata have one name, {twice!r}: take ' / ' and ' + ' out of their values")
        stratum = position(groups, len(cells))[code]
        sizes = np.bincount(stratum, minlength=len(groups))
        weights = sizes.astype(float) if traffic is None else np.bincount(stratum, traffic, len(groups)).astype(float)
        floors = segments_with_floors(how.floors, columns, cells, groups, sizes)
        known: Mapping[str, float] | None
        if isinstance(how.sd, Pilot):
            known, said = how.sd.in_strata(names, stratum, [str(i) for i in queries["query_id"].to_pylist()])
            notes += said
        else:
            known = dict.fromkeys(names, float(how.sd)) if isinstance(how.sd, int | float) else how.sd
        sd, cost = _by_name("sd", known, names), _by_name("cost", how.costs, names)
        return cls(columns, names, stratum, sizes, weights, sd, cost, floors, how, tuple(notes), traffic)

    def allocate(self, n: int) -> Ints:
        """The sample of each stratum: bounds and floors first, then by the method."""
        weights, sd, cost = self._by_method()
        return neyman(self.sizes, sd, n, costs=cost, minimum=self.least(n), weights=weights)

    def least(self, n: int | None = None) -> Ints:
        """The smallest sample of each stratum that its minimum and the floors allow, if n is to hold them."""
        low = np.minimum(self.sizes, self.how.minimum)
        if n is not None and n < low.sum():
            raise InputError(
                f"n = {n} cannot give {len(self.names)} strata {self.how.minimum} queries each: pass n = {low.sum()} or more, "
                "or a lower minimum"
            )
        if not self.floors:
            return low
        weights, sd, _ = self._by_method()
        shares = weights * (np.ones(len(self.names)) if sd is None else np.array(sd))
        met = floors_met(shares, self.floors, low=low, high=self.sizes)
        if n is None or met.sum() <= n:
            return met
        fewest = least_for_floors(self.floors, low=low, high=self.sizes)
        if fewest.sum() > n:
            raise InputError(
                f"n = {n} cannot meet the floors: they need n = {fewest.sum()} or more; ask for that, or lower one"
            )
        return fewest

    def sample_for(self, effect: float, *, level: float = 0.95, power: float = 0.8) -> int:
        """The least n with an MDE of `effect`.

        Raises: InputError without SDs, and where even a census does not reach it.
        """
        if self.sd is None:
            raise InputError("an MDE needs the SD of the paired difference: give one for all (--sd 0.06), or a --pilot")

        def reached(n: int) -> float:
            return mde(self.se(self.allocate(n)), level=level, power=power)

        return least_sample(reached, effect, few=int(self.least().sum()), many=int(self.sizes.sum()))

    def effective(self, sample: Ints) -> Floats:
        """How many queries that count the same each stratum's sample is worth, shape (H,): the sample itself, by queries.

        By traffic, queries that are certain count by their traffic, which is uneven: sum(t)^2 / sum(t^2 / odds).
        """
        if self.traffic is None:
            return sample.astype(float)
        parts = [self.traffic[self.stratum == h].astype(float) for h in range(len(self.names))]
        return np.array([t.sum() ** 2 / (t**2 / odds_by_size(t, int(m))).sum() for t, m in zip(parts, sample, strict=True)])

    def se(self, sample: Ints) -> float:
        """The standard error of the mean difference under this sample, in units of the SDs (1 each if unknown)."""
        sd = np.ones(len(self.names)) if self.sd is None else self.sd
        return stratified_se(self.sizes, sd, self.effective(sample), weights=self.weights)

    def design_effect(self, sample: Ints) -> float | None:
        """The variance of this sample over that of a simple random sample of as many units; None where nothing varies."""
        sd = np.ones(len(self.names)) if self.sd is None else np.array(self.sd)
        simple = float((self.weights * sd**2).sum() / self.weights.sum())
        return self.se(sample) ** 2 * float(sample.sum()) / simple if simple > 0 else None

    def _by_method(self) -> tuple[Floats, list[float] | None, list[float] | None]:
        """What the sample is proportional to: weights, SDs, costs."""
        method = self.how.method
        if method == "equal":
            return np.ones(len(self.names)), None, None
        if method == "power":
            return self.weights**self.how.exponent, self.sd, None
        return self.weights, self.sd if method == "neyman" else None, self.cost


def _check_method(how: Allocation) -> None:
    if how.method not in ALLOCATIONS:
        raise InputError(f"allocation {how.method!r} is unknown: expected one of {', '.join(ALLOCATIONS)}")
    if how.method != "neyman" and how.costs:
        raise InputError(f"allocation {how.method!r} uses no cost: ask for neyman, or leave it out")
    if not 0 <= how.exponent <= 1:
        raise InputError(f"an exponent of {how.exponent}: expected 0 (equally precise strata) to 1 (the best mean of all)")


def _by_name(what: str, given: Mapping[str, float] | None, names: list[str]) -> list[float] | None:
    if given is None:
        return None
    for wrong in [name for name in names if name not in given]:
        raise InputError(f"no {what} for stratum {wrong!r}: the strata are {', '.join(map(repr, names))}")
    for wrong in [name for name in given if name not in names]:
        raise InputError(f"{what} names {wrong!r}, which is no stratum: the strata are {', '.join(map(repr, names))}")
    found = [float(given[name]) for name in names]
    if not all(np.isfinite(value) and value >= 0 for value in found):
        raise InputError(f"{what} must be finite and not negative; found {found}")
    return found
