"""Queries made up from listings, with grades by rule: what a team can have for nothing, as many as it likes.

The rule of the guide needs no label: every part met is the best grade, a part that is wrong costs one grade, one that is not
stated half of one. It knows nothing of substitutes and complements, so it only grades items of the same type, and random
ones. Once people have labelled pairs, `learned` counts from them what each fault costs and what types are to each other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from germane.simulate import costs
from germane.simulate.labelled import judgments_of, table_of
from germane.simulate.listings import Listing, beginning, read
from germane.simulate.marketplace import Marketplace
from germane.simulate.shelf import Shelf
from germane.text import query_digest
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

RULE = "rule of listings (simulated)"
DOCUMENTS = 6  # of each made-up query: all but one or two of its type
CONSTRAINTS = (0, 1, 1, 2, 2, 3)
TYPOS = 0.03
ABOUT = 3  # the best usual grade of another type
PLAIN = 0.5  # from which a query's asker counts as one who judges as most do


class Learned(NamedTuple):
    """What people's labels say besides grades. plain: query -> how likely its asker is neither strict nor mild.

    akin: the usual grade of another type that the same brands make, or that they do not. forms: (language, what, value) ->
    how people write it, and how often.
    """

    costs: costs.Costs
    plain: Mapping[str, float]
    akin: Mapping[bool, int]
    forms: Mapping[tuple[str, str, str], Counter[str]]


def shelf_of(market: Marketplace) -> Shelf:
    """The marketplace's listings, read and sorted by type."""
    return Shelf(read(market.docs), [str(text or "") for text in market.docs["description"].to_pylist()])


def learned(shelf: Shelf, pairs: pa.Table, labels: pa.Table) -> Learned:
    """What can be counted from people's labels of pairs, of the queries of which every word is known.

    Raises: InputError where there are none.
    """
    queries = [str(query) for query in pairs["query"].to_pylist()]
    items = [int(str(doc_id)[1:]) for doc_id in pairs["doc_id"].to_pylist()]
    asked = {query: shelf.asked(query) for query in dict.fromkeys(queries)}
    number = {query: i for i, query in enumerate(asked)}
    rows = list(zip(queries, items, map(int, labels["relevance"].to_numpy()), strict=True))
    same, other = list[tuple[list[str], int, int]](), list[tuple[str, str, str, int]]()
    for query, i, grade in rows:
        if (said := asked[query]) is None or not shelf.kind[i]:
            continue
        if shelf.kind[i] == said.kind:
            same.append((shelf.faults(said.kind, said.wish, shelf.listings[i]), grade, number[query]))
        else:
            other.append((query, said.kind, shelf.kind[i], grade))
    if not same:
        raise InputError("no labelled query can be read: costs cannot be counted from so few pairs")
    faults, grades, of = (list(column) for column in zip(*same, strict=True))
    found, posterior = costs.fitted(faults, grades, of, 4)
    plain = {query: float(posterior[i]) for query, i in number.items() if i in set(of)}
    usual = [(a, b, grade) for query, a, b, grade in other if plain.get(query, 0.0) > PLAIN]
    akin = {kind: [grade for a, b, grade in usual if shelf.akin(a, b) == kind and a[:2] == b[:2]] for kind in (False, True)}
    forms: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for said in asked.values():
        for (what, value), form in (said.forms if said else {}).items():
            forms[said.kind[:2] if said else "", what, value][form] += 1
    between = found._replace(between=costs.usual(usual))
    return Learned(between, plain, {kind: int(np.median(each)) for kind, each in akin.items() if each}, forms)


def made_up(
    market: Marketplace,
    n: int,
    *,
    without: pa.Table,
    seed: int,
    people: Learned | None = None,
    shelf: Shelf | None = None,
    fields: Sequence[str] = Marketplace.fields,
) -> tuple[pa.Table, pa.Table]:
    """About n pairs of made-up queries with listings, as a pairs table and as judgments by rule.

    without: queries whose words must not come up, such as those of validation. people: what their labels taught the rule.
    Raises: InputError where the listings have too little in common.
    """
    shelf = shelf or shelf_of(market)
    rng, known = Random(f"{seed} made up"), {query_digest(str(q)) for q in without["query"].to_pylist()}
    named = [i for items in shelf.items.values() if len(items) >= DOCUMENTS for i in items]
    if not named:
        raise InputError("no name is shared by enough listings: queries cannot be made up from so small a catalogue")
    related = defaultdict(list)
    for a, b in people.costs.between if people else ():
        related[a].append(b)
    queries: dict[str, str] = {}
    rows: list[tuple[str, str, int, int]] = []
    for _ in range(4 * n):
        if len(rows) >= n:
            break
        at = rng.choice(named)
        item, kind = shelf.listings[at], shelf.kind[at]
        wish = _wish(item, rng)
        text = _worded(item, wish, shelf, kind, people, rng)
        if text in queries or query_digest(text) in known:
            continue
        queries[text] = f"m{len(queries):06d}"
        same = shelf.items[kind]
        some = {i: _grade(shelf, kind, wish, i, people) for i in rng.sample(same, min(3 * DOCUMENTS, len(same)))}
        first = list(some)[:2]
        chosen = {i: some[i] for i in [*sorted(some, key=lambda i: -(some[i] or 0))[:3], *first]}  # as an engine would show
        if related[kind]:
            i = rng.choice(shelf.items[rng.choice(related[kind])])
            chosen[i] = _grade(shelf, kind, wish, i, people)
        i = rng.randrange(len(shelf.listings))
        chosen[i] = _grade(shelf, kind, wish, i, people)
        rows += [(queries[text], text, i, grade) for i, grade in sorted(chosen.items()) if grade is not None]
    ids, texts, items, grades = (list(column) for column in zip(*rows[:n], strict=True))
    pairs = table_of(market, ids, texts, np.array(items), fields)
    return pairs, judgments_of(market, pairs, np.array(grades), None, RULE, f"rule:listings-{2 if people else 1}")


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


def _worded(item: Listing, wish: dict[str, str], shelf: Shelf, kind: str, people: Learned | None, rng: Random) -> str:
    """The wish as somebody may type it: values in people's own forms where those are known, and now and then a typo."""
    german = item.language == "de"
    with_, without, for_, under = ("mit", "ohne", "für", "bis") if german else ("with", "without", "for", "under")
    forms = people.forms if people else {}

    def said(what: str) -> str:
        value = wish.get(what, "")
        known = forms.get((item.language, what, value))
        return rng.choices(list(known), list(known.values()))[0] if known else value

    names = shelf.names[kind]
    name = item.name if rng.random() < 0.8 else rng.choices(list(names), list(names.values()))[0]
    before = [wish.get("brand", "") if rng.random() < 0.65 else ""]
    after = [wish.get("brand", "") if not before[0] else ""]
    aside = [said("colour"), said("material")]
    if aside[1] and german and rng.random() < 0.4:
        aside[1] = f"aus {aside[1]}"
    early = rng.random() < (0.4 if german else 0.9)
    whom = said("people")
    first = bool(whom) and rng.random() < 0.5
    tail = [f"{for_} {wish['people']}" if whom and not first else "", f"{with_} {wish['with']}" if "with" in wish else ""]
    tail += [f"{without} {wish['without']}" if "without" in wish else "", wish.get("measure", "")]
    tail += [*after, f"{under} {wish['under']} euro" if "under" in wish else ""]
    head = [*before, whom if first and not german else "", *(aside if early else []), name, *([] if early else aside)]
    words = [word for word in (*head, whom if first and german else "", *tail) if word]
    return " ".join(_mistyped(" ".join(words).split(" "), rng) if rng.random() < TYPOS else words)


def _mistyped(words: list[str], rng: Random) -> list[str]:
    """One letter of the longest word is lost, or twice there, or changes places with the next."""
    at = max(range(len(words)), key=lambda i: len(words[i]))
    word = words[at]
    if len(word) < 5:
        return words
    i = rng.randrange(1, len(word) - 2)
    begins, a, b, ends = word[:i], word[i], word[i + 1], word[i + 2 :]
    wrong = rng.choice((begins + b + ends, begins + a + a + b + ends, begins + b + a + ends))
    return [*words[:at], wrong, *words[at + 1 :]]


def _grade(shelf: Shelf, kind: str, wish: dict[str, str], i: int, people: Learned | None) -> int | None:
    """The grade of an item by rule, None where the rule does not know."""
    other = shelf.kind[i]
    if other == kind:
        item = shelf.listings[i]
        return _of_type(wish, item) if people is None else people.costs.grade(shelf.faults(kind, wish, item))
    if not other:
        return None
    if people is None:
        return None if set(kind[3:].split()) & set(other[3:].split()) else 0
    if (usual := people.costs.between.get((kind, other))) is not None:
        return None if usual > ABOUT else usual  # the same thing in another language: what is wrong with it is not read
    akin = shelf.akin(kind, other)
    return None if akin and kind[:2] != other[:2] else people.akin.get(akin)


def _of_type(wish: dict[str, str], other: Listing) -> int:
    """By the guide's rule, of an item of the type asked for."""
    fault = 0.0
    for kind, value in wish.items():
        if kind == "brand":
            fault += other.brand != value
        elif kind == "under":
            fault += other.price > float(value)
        elif kind in ("with", "without"):
            right, wrong = (other.has, other.lacks) if kind == "with" else (other.lacks, other.has)
            feature = beginning(value)
            fault += 0.0 if feature in right else (1.0 if kind == "with" else 1.5) if feature in wrong else 0.4
        else:
            stated = other.facts.get(kind)
            fault += 0.4 if stated is None else float(stated != value)
    return max(4 - int(fault + 0.5), 2)
