"""Queries made up from listings alone, with grades by rule: what a team can have for nothing before anybody labels a pair.

Only the docs table is read, as a real shop has it: titles, the attributes that sellers fill in, prices. No grade, query or
hidden number of the simulator is used. The rule is that of the guide: every part met is the best grade, a part that is wrong
costs one grade, one that is not stated half of one. It knows nothing of synonyms, substitutes and complements, so it only
grades items of the same name, and random ones.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from germane.simulate.labelled import judgments_of, table_of
from germane.simulate.marketplace import Marketplace
from germane.text import query_digest
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

RULE = "rule of listings (simulated)"
LABELS = {
    "colour": "colour", "Farbe": "colour", "material": "material", "Material": "material", "contains": "material",
    "enthält": "material", "for": "people", "für": "people", "size": "measure", "Maß": "measure", "fit": "measure",
    "Passform": "measure", "with": "with", "mit": "with", "without": "without", "ohne": "without",
}  # fmt: skip
VALUES = ("colour", "material", "people", "measure")
LINKS = {"en": {"with", "for", "without", "in", "of"}, "de": {"mit", "für", "ohne", "aus", "in"}}
SEVERAL = 10  # titles that share a name before it counts as one
DOCUMENTS = 6  # of each made-up query: all but one of its name
CONSTRAINTS = (1, 1, 2, 2, 3)


class Listing(NamedTuple):
    """What can be read of one item. facts: colour, material, people, measure; has, lacks: beginnings of features' words."""

    language: str
    name: str
    brand: str
    facts: dict[str, str]
    has: dict[str, str]
    lacks: dict[str, str]
    price: float


def made_up(market: Marketplace, n: int, *, without: pa.Table, seed: int) -> tuple[pa.Table, pa.Table]:
    """About n pairs of made-up queries with listings, as a pairs table and as judgments by rule.

    without: queries whose words must not come up, such as those of validation.
    Raises: InputError where the listings have too little in common.
    """
    listings = read(market.docs)
    rng, known = Random(f"{seed} made up"), {query_digest(str(q)) for q in without["query"].to_pylist()}
    of_name: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, listing in enumerate(listings):
        if listing.name:
            of_name[listing.language, listing.name].append(i)
    named = [i for same in of_name.values() if len(same) >= DOCUMENTS for i in same]
    if not named:
        raise InputError("no name is shared by enough listings: queries cannot be made up from so small a catalogue")
    queries: dict[str, str] = {}
    rows: list[tuple[str, str, int, int]] = []
    for _ in range(4 * n):
        if len(rows) >= n:
            break
        item = listings[rng.choice(named)]
        wish = _wish(item, rng)
        text = _worded(item, wish, rng)
        if text in queries or query_digest(text) in known:
            continue
        queries[text] = f"m{len(queries):06d}"
        same = of_name[item.language, item.name]
        drawn = rng.sample(same, min(3 * DOCUMENTS, len(same)))
        drawn = sorted(drawn[1:], key=lambda i: -_grade(item, wish, listings[i]))[:3] + drawn[:1]  # as an engine would show
        for i in sorted({*drawn, *rng.sample(same, 1), rng.randrange(len(listings))}):
            other = listings[i]
            if (other.language, other.name) == (item.language, item.name):
                rows.append((queries[text], text, i, _grade(item, wish, other)))
            elif other.name and not set(other.name.split()) & set(item.name.split()):
                rows.append((queries[text], text, i, 0))
    ids, texts, items, grades = (list(column) for column in zip(*rows[:n], strict=True))
    pairs = table_of(market, ids, texts, np.array(items), market.fields)
    return pairs, judgments_of(market, pairs, np.array(grades), None, RULE, "rule:listings-1")


def read(docs: pa.Table) -> list[Listing]:
    """What each listing says. A value that attributes leave out is looked for in title and description."""
    columns = [docs[name].to_pylist() for name in ("title", "brand", "attributes", "description", "price", "language")]
    rows = list(zip(*columns, strict=True))
    stated = [_stated(str(row[2] or "")) for row in rows]
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    features: dict[str, set[str]] = defaultdict(set)
    for row, (facts, has, lacks) in zip(rows, stated, strict=True):
        for key, value in facts.items():
            values[row[5], key].add(value)
        features[row[5]] |= {*has.values(), *lacks.values()}
    search = {key: _any_of(found) for key, found in values.items()}
    of_features = {language: _any_of(found, "(?:with|without|mit|ohne) ") for language, found in features.items()}
    listings = []
    for (title, brand, _, description, price, language), (facts, has, lacks) in zip(rows, stated, strict=True):
        title, description = str(title).lower(), str(description or "").lower()
        for key in VALUES:
            if key not in facts and (language, key) in search:
                hit = search[language, key].search(title) or search[language, key].search(description)
                facts |= {key: hit[0]} if hit else {}
        name = title.replace(str(brand).lower(), " ")
        for pattern in (of_features.get(language), *(search[k] for k in search if k[0] == language)):
            name = pattern.sub(" ", name) if pattern else name
        words = [w for w in re.findall(r"[^\W\d_][\w-]*", name) if w not in LINKS.get(str(language), ())]
        amount = re.search(r"\d+(?:\.\d+)?", str(price or ""))
        cost = float(amount[0]) if amount else float("nan")
        listings.append(Listing(str(language), " ".join(words), str(brand).lower(), facts, has, lacks, cost))
    counts = Counter((each.language, each.name) for each in listings)
    return [each if counts[each.language, each.name] >= SEVERAL else each._replace(name="") for each in listings]


def _stated(attributes: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Values, features that it has, and features that it lacks, of an attributes field."""
    facts: dict[str, str] = {}
    has: dict[str, str] = {}
    lacks: dict[str, str] = {}
    for part in attributes.lower().split("; "):
        label, _, value = part.partition(": ")
        key = _KEYS.get(label)
        if key in ("with", "without"):
            kept = has if key == "with" else lacks
            kept.update({_beginning(feature): feature for feature in value.split(", ")})
        elif key and value:
            facts[key] = value
    return facts, has, lacks


_KEYS = {label.lower(): key for label, key in LABELS.items()}


def _any_of(found: set[str], after: str = "") -> re.Pattern[str]:
    """Finds any of these as whole words, the longest first. after: what has to stand before it, and is found too."""
    longest = sorted(map(re.escape, found), key=len, reverse=True)
    return re.compile(rf"(?<!\w){after}(?:{'|'.join(longest)})(?!\w)")


def _beginning(feature: str) -> str:
    """Of a feature's words: "armlehne" and "armlehnen" are one."""
    return " ".join(word[:5] for word in feature.split())


def _wish(item: Listing, rng: Random) -> dict[str, str]:
    """Some of what an item is, as somebody may ask for it; what somebody denies is what it lacks."""
    kinds = [*item.facts, *(["brand"] if item.brand else []), *(["with"] if item.has else [])]
    kinds += ["without"] if item.lacks else []
    kinds += ["under"] if item.price == item.price and rng.random() < 0.3 else []
    wish: dict[str, str] = {}
    for kind in rng.sample(kinds, min(rng.choice(CONSTRAINTS), len(kinds))):
        if kind in ("with", "without"):
            wish[kind] = rng.choice(sorted((item.has if kind == "with" else item.lacks).values()))
        elif kind == "under":
            wish[kind] = str(max(5, round(item.price * 1.15 / 5) * 5))
        else:
            wish[kind] = item.brand if kind == "brand" else item.facts[kind]
    return wish


def _worded(item: Listing, wish: dict[str, str], rng: Random) -> str:
    """The wish as somebody may type it."""
    german = item.language == "de"
    with_, without, for_, under = ("mit", "ohne", "für", "bis") if german else ("with", "without", "for", "under")
    before = [wish.get("brand", "") if rng.random() < 0.65 else ""]
    after = [wish.get("brand", "") if not before[0] else ""]
    aside = [wish.get("colour", ""), wish.get("material", "")]
    early = rng.random() < (0.4 if german else 0.9)
    tail = [f"{for_} {wish['people']}" if "people" in wish else "", f"{with_} {wish['with']}" if "with" in wish else ""]
    tail += [f"{without} {wish['without']}" if "without" in wish else "", wish.get("measure", "")]
    tail += [*after, f"{under} {wish['under']} euro" if "under" in wish else ""]
    words = [*before, *(aside if early else []), item.name, *([] if early else aside), *tail]
    return " ".join(word for word in words if word)


def _grade(item: Listing, wish: dict[str, str], other: Listing) -> int:
    """By the guide's rule, of an item of the same name."""
    fault = 0.0
    for kind, value in wish.items():
        if kind == "brand":
            fault += other.brand != value
        elif kind == "under":
            fault += other.price > float(value)
        elif kind in ("with", "without"):
            right, wrong = (other.has, other.lacks) if kind == "with" else (other.lacks, other.has)
            feature = _beginning(value)
            fault += 0.0 if feature in right else (1.0 if kind == "with" else 1.5) if feature in wrong else 0.4
        else:
            stated = other.facts.get(kind)
            fault += 0.4 if stated is None else float(stated != value)
    return max(4 - int(fault + 0.5), 2)
