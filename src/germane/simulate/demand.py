"""Queries: what people want, how they word it in two languages, and how many of them ask."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.simulate.catalogue import Catalogue, popularity_of_kinds
from germane.simulate.vocabulary import DE, EN, LANGUAGES, Kind, Vocabulary, choose
from germane.text.normal import query_id
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GERMAN = 0.4  # share of queries
BROAD, BRAND_ALONE = 0.006, 0.008  # share of queries that name no type
PARTS = (0.16, 0.4, 0.3, 0.14)  # how many constraints a query has: 0, 1, 2, 3
# How often each constraint is the one that a query has, where its type allows it.
WISHES = {"colour": 4.0, "material": 3.0, "measure": 2.2, "people": 4.0, "brand": 2.0, "with": 1.4, "without": 1.2}
WISHES["price"] = 1.2
OUT_OF_THE_BLUE = 0.25  # share of queries that ask for what no item in mind has
FIRST_NAME = 0.85  # share of queries that call a type by its most usual name
TYPOS = 0.03
TYPO_COUNTS = 2  # a typo makes a query as rare as two more constraints
RARER = 1.2  # log of how much rarer one more constraint makes a query
ZIPF = 0.85  # users of a query ~ 1 / rank^0.85
MOST_TRIES = 300
ONCE = 0.62  # rank, as a share of all queries, from which a query has one user


class Wish(NamedTuple):
    """What one query asks for. -1, NaN and 0 mean: says nothing of it."""

    kind: int
    broad: int
    brand: int
    colour: int
    material: int
    measure: float
    people: int
    with_: int
    without: int
    ceiling: float
    language: int
    text: str
    constraints: int
    typo: bool


@dataclass(frozen=True)
class Demand:
    """Queries by number, most popular first, as arrays of their wishes, with `users` of each."""

    kind: Ints
    broad: Ints
    brand: Ints
    colour: Ints
    material: Ints
    measure: Floats
    people: Ints
    with_: Ints
    without: Ints
    ceiling: Floats
    language: Ints
    constraints: Ints
    department: Ints
    users: Ints
    texts: tuple[str, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


def build(words: Vocabulary, catalogue: Catalogue, queries: int, *, seed: int) -> Demand:
    """So many distinct queries: a shopper thinks of an item, and says some of what it is.

    Raises: InputError if the catalogue is too small for so many distinct queries.
    """
    rng = Random(f"{seed} queries")
    kinds = popularity_of_kinds(words, seed=seed)
    by_kind = [np.flatnonzero(catalogue.kind == i).tolist() for i in range(len(words.kinds))]
    odds = np.cumsum(kinds)
    wishes: dict[str, Wish] = {}
    tried = 0  # in a row, without a new query
    while len(wishes) < queries:
        wish = _wish(words, catalogue, by_kind, int(np.searchsorted(odds, rng.random() * odds[-1])), rng)
        tried = tried + 1 if wish.text in wishes else 0
        wishes.setdefault(wish.text, wish)
        if tried == MOST_TRIES:
            raise InputError(f"only {len(wishes)} distinct queries came up for {len(catalogue)} items: ask for fewer queries")
    found = list(wishes.values())
    noise = np.random.default_rng([seed, 4]).gumbel(size=queries)
    liked = np.array([np.log(kinds[w.kind]) if w.kind >= 0 else np.log(kinds.max()) for w in found])
    order = np.argsort(
        -(0.8 * liked - RARER * np.array([w.constraints + TYPO_COUNTS * w.typo for w in found]) + noise), kind="stable"
    )
    found = [found[i] for i in order]
    users = np.maximum(2 * (ONCE * queries / np.arange(1, queries + 1)) ** ZIPF, 1).astype(np.int64)
    return _demand(words, found, users)


def table(words: Vocabulary, demand: Demand, users: Ints, impressions: Ints) -> pa.Table:
    """Queries with language, distinct users, impressions (searches), and the department as their interest."""
    import pyarrow as pa

    return pa.table(
        {
            "query_id": list(demand.ids),
            "query": list(demand.texts),
            "language": [LANGUAGES[i] for i in demand.language],
            "users": pa.array(users),
            "impressions": pa.array(impressions),
            "interest": [words.departments[i] for i in demand.department],
        }
    )


def _demand(words: Vocabulary, found: list[Wish], users: Ints) -> Demand:
    columns = dict(zip(Wish._fields, zip(*found, strict=True), strict=True))
    arrays: dict[str, Any] = {
        name: np.array(columns[name], dtype=np.float64 if name in ("measure", "ceiling") else np.int64)
        for name in Wish._fields
        if name not in ("text", "typo")
    }
    department = np.where(
        arrays["kind"] >= 0,
        words.department_of[arrays["kind"]],
        np.where(
            arrays["broad"] >= 0,
            np.array([b.department for b in words.broad])[arrays["broad"]],
            words.brand_department[arrays["brand"]],
        ),
    )
    texts = tuple(w.text for w in found)
    ids = tuple(query_id(w.text, LANGUAGES[w.language]) for w in found)
    return Demand(**arrays, department=department, users=users, texts=texts, ids=ids)


def _wish(words: Vocabulary, catalogue: Catalogue, by_kind: list[list[int]], kind: int, rng: Random) -> Wish:
    language = DE if rng.random() < GERMAN else EN
    blank = Wish(-1, -1, -1, -1, -1, np.nan, -1, -1, -1, np.nan, language, "", 0, False)
    which = rng.random()
    if which < BROAD:
        broad = int(rng.random() * len(words.broad))
        return blank._replace(broad=broad, text=words.broad[broad].names[language].lower())
    if which < BROAD + BRAND_ALONE:
        brand = int(rng.random() * len(words.brands))
        return blank._replace(brand=brand, text=words.brands[brand].lower())
    item = choose(rng, by_kind[kind]) if by_kind[kind] else -1
    if item < 0 or rng.random() < OUT_OF_THE_BLUE:
        item = -1
    wish = _facts(words, catalogue, blank._replace(kind=kind), item, rng.choices(range(len(PARTS)), PARTS)[0], rng)
    text = _worded(words, wish, rng)
    if rng.random() < TYPOS:
        return wish._replace(text=_typo(text, rng), typo=True)
    return wish._replace(text=text)


def _facts(words: Vocabulary, catalogue: Catalogue, wish: Wish, item: int, parts: int, rng: Random) -> Wish:
    """The wish with so many constraints, taken from the item in mind, or made up where there is none."""
    kind = words.kinds[wish.kind]
    odds = {k: w for k, w in WISHES.items() if _possible(kind, k)}
    for _ in range(parts):
        asked = rng.choices(list(odds), list(odds.values()))[0]
        del odds[asked]
        wish = _asked(words, catalogue, wish, asked, item, rng)._replace(constraints=wish.constraints + 1)
        if asked in ("with", "without"):
            odds = {k: w for k, w in odds.items() if k not in ("with", "without")}
    return wish


def _possible(kind: Kind, asked: str) -> bool:
    have = {"colour": not kind.colourless, "people": len(kind.people) > 1, "material": bool(kind.materials)}
    return have.get(asked, bool(kind.features) if asked in ("with", "without") else True)


def _asked(words: Vocabulary, catalogue: Catalogue, wish: Wish, asked: str, item: int, rng: Random) -> Wish:
    kind = words.kinds[wish.kind]

    def known(values: NDArray[np.generic]) -> bool:
        return item >= 0 and values[item] == values[item] and values[item] != -1

    if asked == "colour":
        made_up = min(int(rng.expovariate(0.2)), len(words.colours) - 1)
        return wish._replace(colour=int(catalogue.colour[item]) if known(catalogue.colour) else made_up)
    if asked == "material":
        seen = known(catalogue.material)
        return wish._replace(material=int(catalogue.material[item]) if seen else choose(rng, kind.materials))
    if asked == "people":
        return wish._replace(people=int(catalogue.people[item]) if known(catalogue.people) else choose(rng, kind.people))
    if asked == "measure":
        return wish._replace(measure=float(catalogue.measure[item]) if known(catalogue.measure) else choose(rng, kind.steps))
    if asked == "brand":
        own = np.flatnonzero(words.brand_department == kind.department).tolist()
        return wish._replace(brand=int(catalogue.brand[item]) if item >= 0 else choose(rng, own))
    if asked == "price":
        around = float(catalogue.price[item]) if item >= 0 else kind.price
        digits = 10 ** max(len(str(int(around))) - 1, 0)
        return wish._replace(ceiling=float(max(np.ceil(around * 1.1 / digits * 2) / 2 * digits, 5)))
    return wish._replace(**{"with_" if asked == "with" else "without": choose(rng, kind.features)})


def _worded(words: Vocabulary, wish: Wish, rng: Random) -> str:
    """The wish as somebody types it: in lower case, without much grammar."""
    return (_german if wish.language == DE else _english)(words, wish, rng).lower()


def _english(words: Vocabulary, wish: Wish, rng: Random) -> str:
    kind = words.kinds[wish.kind]
    name = kind.names[EN][0] if rng.random() < FIRST_NAME else choose(rng, kind.names[EN])
    brand = words.brands[wish.brand] if wish.brand >= 0 else ""
    in_front = rng.random() < 0.7
    material = words.materials[wish.material][EN] if wish.material >= 0 else ""
    contained = wish.material in words.ingredients
    people = words.people[wish.people][EN] if wish.people >= 0 else ""
    before = {"women": "womens", "men": "mens"}.get(people, people) if rng.random() < 0.5 else ""
    return " ".join(
        part
        for part in (
            brand if in_front else "",
            before,
            words.colours[wish.colour][EN] if wish.colour >= 0 else "",
            "" if contained else material,
            name,
            f"with {material}" if contained else "",
            f"for {people}" if people and not before else "",
            f"with {words.feature(wish.with_, EN)}" if wish.with_ >= 0 else "",
            f"without {words.feature(wish.without, EN)}" if wish.without >= 0 else "",
            words.amount(kind, wish.measure, EN) if wish.measure == wish.measure else "",
            "" if in_front else brand,
            f"under {wish.ceiling:g} euro" if wish.ceiling == wish.ceiling else "",
        )
        if part
    )


def _german(words: Vocabulary, wish: Wish, rng: Random) -> str:
    kind = words.kinds[wish.kind]
    which = 0 if rng.random() < FIRST_NAME else int(rng.random() * len(kind.names[DE]))
    name, gender = kind.names[DE][which], kind.genders[which]
    brand = words.brands[wish.brand] if wish.brand >= 0 else ""
    in_front = rng.random() < 0.6
    declined = rng.random() < 0.45
    colour = "" if wish.colour < 0 else words.colour(wish.colour, DE, gender if declined else "")
    material = words.materials[wish.material][DE] if wish.material >= 0 else ""
    if material:
        link = "mit" if wish.material in words.ingredients else "aus"
        material = f"{link} {material}" if rng.random() < 0.5 else material
    people = words.people[wish.people][DE] if wish.people >= 0 else ""
    return " ".join(
        part
        for part in (
            brand if in_front else "",
            colour if declined else "",
            name,
            "" if declined else colour,
            material,
            f"für {people}" if people and rng.random() < 0.4 else people,
            f"mit {words.feature(wish.with_, DE, dative=True)}" if wish.with_ >= 0 else "",
            f"ohne {words.feature(wish.without, DE)}" if wish.without >= 0 else "",
            words.amount(kind, wish.measure, DE) if wish.measure == wish.measure else "",
            "" if in_front else brand,
            f"bis {wish.ceiling:g} euro" if wish.ceiling == wish.ceiling else "",
        )
        if part
    )


def _typo(text: str, rng: Random) -> str:
    """One letter lost, doubled, or swapped with the next, inside the longest word."""
    longest = max(text.split(" "), key=len)
    if len(longest) < 5 or not longest.isalpha():
        return text
    i = 1 + int(rng.random() * (len(longest) - 3))
    wrong = choose(
        rng,
        (
            longest[:i] + longest[i + 1 :],
            longest[:i] + longest[i] + longest[i:],
            longest[:i] + longest[i + 1] + longest[i] + longest[i + 2 :],
        ),
    )
    return text.replace(longest, wrong, 1)
