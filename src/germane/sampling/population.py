"""A population of queries in its strata, and how a sample is divided among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from germane.sampling.strata import cells_of, merged, name_of, position, segments_with_floors, strata_columns
from germane.stats.allocation import (
    Floats,
    Ints,
    design_effect,
    floors_met,
    kish_effect,
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

    sd: of the paired difference, one for all or by stratum (None = equal); cost: of one query, by stratum; minimum: of every
    stratum; floors: segment -> the least number of queries over its strata.
    """

    method: str = "neyman"
    sd: Mapping[str, float] | float | None = None
    cost: Mapping[str, float] | None = None
    minimum: int = 2
    floors: Mapping[str, float] = field(default_factory=dict)
    exponent: float = 0.5


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
        single = dict.fromkeys(names, how.sd) if isinstance(how.sd, int | float) else how.sd
        sd, cost = _by_name("sd", single, names), _by_name("cost", how.cost, names)
        return cls(columns, names, stratum, sizes, weights, sd, cost, floors, how, tuple(notes))

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

    def se(self, sample: Ints) -> float:
        """The standard error of the mean difference under this sample, in units of the SDs (1 each if unknown)."""
        sd = np.ones(len(self.names)) if self.sd is None else self.sd
        return stratified_se(self.sizes, sd, sample, weights=self.weights)

    def facts(self, sample: Ints, *, level: float, power: float) -> dict[str, float]:
        """What this sample costs and finds: see `Drawn`."""
        sd = np.ones(len(self.names)) if self.sd is None else self.sd
        weights = np.repeat(self.weights / sample, sample)
        found = {"weights_effect": kish_effect(weights)}
        if np.any(sd):
            found["design_effect"] = design_effect(self.sizes, sd, sample, weights=self.weights)
        return found if self.sd is None else found | {"mde": mde(self.se(sample), level=level, power=power)}

    def _by_method(self) -> tuple[Floats, list[float] | None, list[float] | None]:
        """What the sample is proportional to: weights, SDs, costs."""
        method = self.how.method
        if method == "equal":
            return np.ones(len(self.names)), None, None
        if method == "power":
            return self.weights**self.how.exponent, self.sd, None
        return self.weights, self.sd if method == "neyman" else None, self.cost if method == "neyman" else None


def _check_method(how: Allocation) -> None:
    if how.method not in ALLOCATIONS:
        raise InputError(f"allocation {how.method!r} is unknown: expected one of {', '.join(ALLOCATIONS)}")
    if how.method in ("equal", "proportional") and how.cost:
        raise InputError(f"allocation {how.method!r} uses no cost: ask for neyman, or leave it out")
    if how.method == "power" and how.cost:
        raise InputError("allocation 'power' uses no cost: ask for neyman, or leave it out")
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
