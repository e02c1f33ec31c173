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
from germane.simulate.shelf import Asked, Shelf
from germane.text import query_digest
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.engines import BM25

RULE = "rule of listings (simulated)"
DOCUMENTS = 6  # of each made-up query: all but one or two of its type
CONSTRAINTS = (0, 1, 1, 2, 2, 3)
TYPOS = 0.05
BRAND_ALONE = 0.01  # share of queries that are a brand's name
OF_ANOTHER = 0.25  # share of queries whose values are those of another item of the type
ABOVE = (0.9, 1.4)  # times an item's price that somebody may want to pay at most
DEPTH, SHOWN = 25, 7  # of the engines' lists, and how many of them are kept
AT_ONCE = 2_000  # queries that are searched together
NEAR = 2  # usual grade of another type from which it matters what an item's faults are
TOP = 4
VERSION = 3  # of the rule that people's labels teach
PLAIN = 0.5  # from which a query's asker counts as one who judges as most do


class Learned(NamedTuple):
    """What people's labels say besides grades. plain: query -> how likely its asker is neither strict nor mild.

    costs: of an item of the type asked for. types, others: of one of another type, by its type alone, and with its faults.
    forms: (language, what, value) -> how people write it, and how often.
    """

    costs: costs.Costs
    types: costs.Costs
    others: costs.Costs
    plain: Mapping[str, float]
    forms: Mapping[tuple[str, str, str], Counter[str]]

    def grade(self, shelf: Shelf, asked: Asked, i: int) -> int | None:
        """The likeliest grade of an item, None where its type is not known."""
        kind, item = shelf.kind[i], shelf.listings[i]
        if not kind:
            return None
        faults = shelf.faults(asked.kind, asked.wish, item)
        if kind == asked.kind:
            return self.costs.grade(faults)
        relation = shelf.relation(asked, i)
        return self.others.grade(_of_other(relation, faults, self.types.grade(relation)))


def shelf_of(market: Marketplace) -> Shelf:
    """The marketplace's listings, read and sorted by type."""
    return Shelf(read(market.docs), [str(text or "") for text in market.docs["description"].to_pylist()])


def learned(shelf: Shelf, pairs: pa.Table, labels: pa.Table) -> Learned:
    """What can be counted from people's labels of pairs, of the queries of which every word is known.

    Raises: InputError where there are none, or too few to tell grades apart.
    """
    queries = [str(query) for query in pairs["query"].to_pylist()]
    items = [int(str(doc_id)[1:]) for doc_id in pairs["doc_id"].to_pylist()]
    asked = {query: shelf.asked(query) for query in dict.fromkeys(queries)}
    number = {query: i for i, query in enumerate(asked)}
    same, other = list[tuple[list[str], int, int]](), list[tuple[str, list[str], list[str], int]]()
    for query, i, grade in zip(queries, items, map(int, labels["relevance"].to_numpy()), strict=True):
        if (said := asked[query]) is None or not shelf.kind[i]:
            continue
        faults = shelf.faults(said.kind, said.wish, shelf.listings[i])
        if shelf.kind[i] == said.kind:
            same.append((faults, grade, number[query]))
        else:
            other.append((query, shelf.relation(said, i), faults, grade))
    if not same or not other:
        raise InputError("no labelled query can be read: costs cannot be counted from so few pairs")
    grades = [grade for _, grade, _ in same]
    of_type, posterior = costs.fitted([faults for faults, _, _ in same], grades, [of for _, _, of in same], TOP)
    if len(set(grades)) > len({of_type.grade(faults) for faults, _, _ in same}) == 1:
        raise InputError(f"{len(same)} labelled pairs of one type do not tell grades apart: label more, or do without a rule")
    read = {of for _, _, of in same}
    plain = {query: float(posterior[i]) for query, i in number.items() if i in read}
    unknown = {query: 0.0 if said and said.kind else 1.0 for query, said in asked.items()}  # nothing says so of brands alone
    usual = [each for each in other if plain.get(each[0], unknown[each[0]]) > PLAIN]
    if not usual:
        raise InputError("no labelled pair of another type is by an asker known to judge as most do: label more")
    grades = [grade for *_, grade in usual]
    types = costs.agreed([relation for _, relation, _, _ in usual], grades, TOP)
    others = costs.agreed([_of_other(r, faults, types.grade(r)) for _, r, faults, _ in usual], grades, TOP)
    forms: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for said in asked.values():
        for (what, value), form in (said.forms if said else {}).items():
            forms[said.kind[:2] if said else "", what, value][form] += 1
    return Learned(of_type, types, others, plain, forms)


def _of_other(relation: list[str], faults: list[str], usual: int) -> list[str]:
    """What counts of an item of another type: how the types are related, and its faults, by the usual grade of its type."""
    return [*relation, *(f"{usual}: {fault}" for fault in faults)] if usual >= NEAR else relation


def graded(market: Marketplace, pairs: pa.Table, people: Learned, shelf: Shelf) -> tuple[pa.Table, pa.Table]:
    """Those of these pairs that the rule can read, which nobody needs to have labelled, and its judgments of them."""
    import pyarrow as pa

    texts = [str(query) for query in pairs["query"].to_pylist()]
    asked = {text: shelf.asked(text) for text in dict.fromkeys(texts)}
    items = [int(str(doc_id)[1:]) for doc_id in pairs["doc_id"].to_pylist()]
    grades = [people.grade(shelf, said, i) if (said := asked[text]) else None for text, i in zip(texts, items, strict=True)]
    kept = pairs.filter(pa.array([grade is not None for grade in grades]))
    known = np.array([grade for grade in grades if grade is not None])
    return kept, judgments_of(market, kept, known, None, RULE, f"rule:listings-{VERSION}")


def made_up(
    market: Marketplace,
    n: int,
    *,
    without: pa.Table,
    seed: int,
    people: Learned | None = None,
    shelf: Shelf | None = None,
    engines: Sequence[BM25] = (),
    fields: Sequence[str] = Marketplace.fields,
) -> tuple[pa.Table, pa.Table]:
    """About n pairs of made-up queries with listings, as a pairs table and as judgments by rule.

    without: queries whose words must not come up, such as those of validation. people: what their labels taught the rule.
    engines: what finds the listings of a query, as for real ones; by default some of its type are drawn.
    Raises: InputError where the listings have too little in common.
    """
    shelf = shelf or shelf_of(market)
    rng, known = Random(f"{seed} made up"), {query_digest(str(q)) for q in without["query"].to_pylist()}
    named = [i for items in shelf.items.values() if len(items) >= DOCUMENTS for i in items]
    if not named:
        raise InputError("no name is shared by enough listings: queries cannot be made up from so small a catalogue")
    queries: dict[str, Asked] = {}
    rows: list[tuple[str, str, int, int]] = []
    for _ in range(4 * n):
        if len(rows) >= n:
            break
        made: dict[str, Asked] = {}
        for _ in range(AT_ONCE if engines else 1):
            text, asked = _query(shelf, rng.choice(named), people, rng)
            if text not in queries and query_digest(text) not in known:
                made[text] = asked
        shown = _shown(made, engines, shelf, rng)
        for text, asked in made.items():
            queries[text] = asked
            found = {i: _grade(shelf, asked, i, people) for i in sorted({*shown[text], rng.randrange(len(shelf.listings))})}
            rows += [(f"m{len(queries):06d}", text, i, grade) for i, grade in found.items() if grade is not None]
    ids, texts, items, grades = (list(column) for column in zip(*rows[:n], strict=True))
    pairs = table_of(market, ids, texts, np.array(items), fields)
    return pairs, judgments_of(market, pairs, np.array(grades), None, RULE, f"rule:listings-{VERSION if people else 1}")


def _shown(made: Mapping[str, Asked], engines: Sequence[BM25], shelf: Shelf, rng: Random) -> dict[str, list[int]]:
    """Listings of each query: some of what the engines find, or else of its type, the better ones first."""
    import pyarrow as pa

    if not engines:
        return {text: _of_its_type(asked, shelf, rng) for text, asked in made.items()}
    found: dict[str, set[int]] = defaultdict(set)
    for engine in engines:
        run = engine.search(pa.table({"query_id": list(made), "query": list(made)}), k=DEPTH)
        for text, doc_id in zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True):
            found[str(text)].add(int(str(doc_id)[1:]))
    return {text: rng.sample(each, min(SHOWN, len(each))) for text in made for each in [sorted(found[text])]}


def _of_its_type(asked: Asked, shelf: Shelf, rng: Random) -> list[int]:
    same = shelf.items[asked.kind] if asked.kind else range(len(shelf.listings))
    some = rng.sample(same, min(3 * DOCUMENTS, len(same)))
    return [*sorted(some, key=lambda i: -_of_type(asked.wish, shelf.listings[i]))[:3], *some[:2]]


def _query(shelf: Shelf, at: int, people: Learned | None, rng: Random) -> tuple[str, Asked]:
    """What somebody may ask who has an item in mind: its words, and what it says."""
    item, kind = shelf.listings[at], shelf.kind[at]
    if people and item.brand and rng.random() < BRAND_ALONE:
        return item.brand, Asked("", {"brand": item.brand}, {})
    wish = _wish(item, shelf.listings[rng.choice(shelf.items[kind])], rng)
    return _worded(item, wish, shelf, kind, people, rng), Asked(kind, wish, {})


def _wish(item: Listing, other: Listing, rng: Random) -> dict[str, str]:
    """Some of what an item is, or now and then another one of its type, as somebody may ask for it."""
    facts = {**item.facts, **({"brand": item.brand} if item.brand else {})}
    if rng.random() < OF_ANOTHER:
        facts |= {**other.facts, **({"brand": other.brand} if other.brand else {})}
    features = sorted({*item.has.values(), *item.lacks.values(), *other.has.values(), *other.lacks.values()})
    kinds = [*facts, *([rng.choice(("with", "without"))] if features else [])]
    kinds += ["under"] if item.price == item.price and rng.random() < 0.3 else []
    wish: dict[str, str] = {}
    for kind in rng.sample(kinds, min(rng.choice(CONSTRAINTS), len(kinds))):
        if kind in ("with", "without"):
            wish[kind] = rng.choice(features)
        elif kind == "under":
            wish[kind] = f"{max(float(f'{item.price * rng.uniform(*ABOVE):.2g}'), 5):g}"
        else:
            wish[kind] = facts[kind]
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


def _grade(shelf: Shelf, asked: Asked, i: int, people: Learned | None) -> int | None:
    """The grade of an item by rule, None where the rule does not know."""
    if people is not None:
        return people.grade(shelf, asked, i)
    if shelf.kind[i] == asked.kind:
        return _of_type(asked.wish, shelf.listings[i])
    other = shelf.kind[i]
    return None if not other or set(asked.kind[3:].split()) & set(other[3:].split()) else 0


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
