"""Items: what they are, what their sellers say of them, and who sells them at what price."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from germane.simulate.vocabulary import LANGUAGES, Vocabulary
from germane.simulate.wording import Shown, describe

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SELLER_KINDS = ("established", "small", "new")
SELLER_SHARES = (0.15, 0.6, 0.25)  # of sellers
# How often each kind of seller puts a fact into the title, and into the attributes.
IN_TITLE = (0.8, 0.6, 0.65)
IN_ATTRIBUTES = (0.92, 0.6, 0.5)
IN_DESCRIPTION = 0.55
NO_PEOPLE = 0.15  # share of items for everybody, where people matter
HAS, LACKS = 0.4, 0.2  # share of features that an item has and says so, and says that it lacks


@dataclass(frozen=True)
class Catalogue:
    """Items by number. A fact that no text states is -1 (measures: NaN; features: 0, 1 = has, -1 = lacks).

    The text states everything that is here: hidden effects live in relevance.py.
    """

    kind: Ints
    language: Ints
    brand: Ints
    colour: Ints
    material: Ints
    measure: Floats
    people: Ints
    features: NDArray[np.int8]
    price: Floats
    seller: Ints
    seller_kind: Ints
    popularity: Floats
    sellers: tuple[str, ...]
    table: pa.Table

    def __len__(self) -> int:
        return len(self.kind)


def build(words: Vocabulary, items: int, *, seed: int) -> Catalogue:
    """A catalogue of so many items, half of them of the types that sell most."""
    import pyarrow as pa

    rng = np.random.default_rng([seed, 1])
    kinds = words.kinds
    weight = popularity_of_kinds(words, seed=seed) ** 0.5
    kind = rng.choice(len(kinds), items, p=weight / weight.sum())
    language = (rng.random(items) < 0.45).astype(np.int64)
    sellers, seller, seller_kind = _sellers(words, items, rng)
    brand = _brands(words, kind, rng)
    facts = _facts(words, kind, rng)
    said = _said(seller_kind, rng)
    price = np.array([k.price for k in kinds])[kind] * np.exp(rng.normal(0, 0.28, items)) * _tier(words, seed)[brand]
    price = np.maximum(np.round(price * np.where(price < 100, 10, 1)) / np.where(price < 100, 10, 1) - 0.1, 0.9)
    seen = np.asarray(said.any(axis=2))
    colour, material, people = (np.where(seen[:, i], facts[i], -1) for i in range(3))
    measure = np.where(seen[:, 3], _measures(words, kind, rng), np.nan)
    features, shown = _features(words, kind, rng)
    columns = describe(words, kind, language, brand, (colour, material, people, measure), said, shown, Random(f"{seed} text"))
    names = np.array(sellers, dtype=object)
    table = pa.table(
        {
            "doc_id": [f"i{i:06d}" for i in range(items)],
            "title": columns["title"],
            "brand": [words.brands[b] for b in brand],
            "attributes": columns["attributes"],
            "description": columns["description"],
            "price": [f"EUR {p:.2f}" for p in price],
            "language": [LANGUAGES[i] for i in language],
            "seller": names[seller].tolist(),
            "seller_kind": [SELLER_KINDS[i] for i in seller_kind],
        }
    )
    popularity = np.exp(rng.normal(0, 1, items) + np.array([0.6, 0.0, -0.8])[seller_kind])
    known = colour, material, measure, people, features
    return Catalogue(kind, language, brand, *known, price, seller, seller_kind, popularity, sellers, table)


def popularity_of_kinds(words: Vocabulary, *, seed: int) -> Floats:
    """How much each type is asked for: a Zipf curve over the types in a seeded order."""
    rank = np.random.default_rng([seed, 2]).permutation(len(words.kinds))
    share = 1.0 / (rank + 8.0)
    return np.asarray(share / share.sum(), dtype=np.float64)


def _sellers(words: Vocabulary, items: int, rng: np.random.Generator) -> tuple[tuple[str, ...], Ints, Ints]:
    count = max(items // 12, 3)
    first = [brand.split()[0] for brand in words.brands] + words.sellers["places"]
    names = [f"{first[rng.integers(len(first))]} {words.sellers['kinds'][rng.integers(10)]}" for _ in range(count)]
    numbered = {}
    for i, name in enumerate(names):
        numbered[i] = name if name not in names[:i] else f"{name} {i}"
    kind = rng.choice(3, count, p=SELLER_SHARES)
    size = rng.pareto(1.3, count) + 0.2
    size *= np.array([6.0, 1.0, 0.5])[kind]
    seller = rng.choice(count, items, p=size / size.sum())
    return tuple(numbered.values()), seller, kind[seller]


def _brands(words: Vocabulary, kind: Ints, rng: np.random.Generator) -> Ints:
    """A brand of the item's department, the first ones more often; now and then one that strayed from another."""
    brand = np.empty(len(kind), dtype=np.int64)
    department = words.department_of[kind]
    for d in range(len(words.departments)):
        own = np.flatnonzero(words.brand_department == d)
        weight = 1.0 / (np.arange(len(own)) + 3.0)
        rows = np.flatnonzero(department == d)
        brand[rows] = rng.choice(own, len(rows), p=weight / weight.sum())
    strayed = rng.random(len(kind)) < 0.03
    brand[strayed] = rng.integers(len(words.brands), size=int(strayed.sum()))
    return brand


def _tier(words: Vocabulary, seed: int) -> Floats:
    tier: Floats = np.exp(np.random.default_rng([seed, 3]).normal(0, 0.3, len(words.brands)))
    return tier


def _facts(words: Vocabulary, kind: Ints, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Colour, material and people of each item, -1 where its type has none."""
    colourful = ~np.array([k.colourless for k in words.kinds])[kind]
    weight = 1.0 / (np.arange(len(words.colours)) + 4.0)
    colour = np.where(colourful, rng.choice(len(words.colours), len(kind), p=weight / weight.sum()), -1)
    material = _one_of([k.materials for k in words.kinds], kind, rng)
    people = _one_of([k.people for k in words.kinds], kind, rng)
    return colour, material, np.where(rng.random(len(kind)) < NO_PEOPLE, -1, people)


def _one_of(options: list[tuple[int, ...]], kind: Ints, rng: np.random.Generator) -> Ints:
    width = max(map(len, options))
    padded = np.array([list(row) + [-1] * (width - len(row)) for row in options])
    count = np.array([max(len(row), 1) for row in options])[kind]
    chosen: Ints = padded[kind, (rng.random(len(kind)) * count).astype(np.int64)]
    return chosen


def _measures(words: Vocabulary, kind: Ints, rng: np.random.Generator) -> Floats:
    width = max(len(k.steps) for k in words.kinds)
    padded = np.array([list(k.steps) + [0.0] * (width - len(k.steps)) for k in words.kinds])
    count = np.array([len(k.steps) for k in words.kinds])[kind]
    chosen: Floats = padded[kind, np.minimum((rng.beta(2, 2, len(kind)) * count).astype(np.int64), count - 1)]
    return chosen


def _said(seller_kind: Ints, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whether (item, fact, place) is stated: colour, material, people, measure; in title, attributes, description."""
    n = len(seller_kind)
    odds = np.empty((n, 4, 3))
    odds[:, :, 0] = np.array(IN_TITLE)[seller_kind][:, None]
    odds[:, :, 1] = np.array(IN_ATTRIBUTES)[seller_kind][:, None]
    odds[:, :, 2] = IN_DESCRIPTION
    said: NDArray[np.bool_] = rng.random((n, 4, 3)) < odds
    return said


def _features(words: Vocabulary, kind: Ints, rng: np.random.Generator) -> tuple[NDArray[np.int8], Shown]:
    """What each item has (1) and lacks (-1), and the same as lists for its text."""
    n = len(kind)
    draws = rng.random((n, max(len(k.features) for k in words.kinds))).tolist()
    kinds = kind.tolist()
    state = np.zeros((n, len(words.features)), dtype=np.int8)
    shown: Shown = []
    for i in range(n):
        features = words.kinds[kinds[i]].features
        has = [f for f, u in zip(features, draws[i], strict=False) if u < HAS]
        lacks = [f for f, u in zip(features, draws[i], strict=False) if HAS <= u < HAS + LACKS]
        shown.append((has, lacks))
    for value, part in ((1, 0), (-1, 1)):
        rows = np.repeat(np.arange(n), [len(pair[part]) for pair in shown])
        state[rows, [f for pair in shown for f in pair[part]]] = value
    return state, shown
