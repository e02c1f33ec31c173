"""Listings by type, and what their words make of a query: its type and its wish. Only what a shop itself knows is read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from germane.simulate.costs import OVER, number
from germane.simulate.listings import LINKS, VALUES, Listing, any_of, beginning

SYNONYM = 0.05  # share of a name's listings that begin their description by another name, from which both mean the same
GOES_WITH = 0.015  # share of a type's listings whose description names another type, from which sellers offer both together
SHORT = 5  # letters: a shorter word is not looked for with a typo
SAME_BRANDS = 0.4  # cosine of brands' counts of two types, from which they are of one department
ENDING = "(?:er|es|e|s|n)?"  # blue: blaue; women: womens


class Asked(NamedTuple):
    """What a query says. kind: "" of a brand alone. wish: by what is asked for, as `Listing.facts`, with "brand", "with",
    "without" and "under". forms: (what, value) -> how the query writes it.
    """

    kind: str
    wish: dict[str, str]
    forms: dict[tuple[str, str], str]


class Shelf:
    """Listings by type. A type is called by the most usual of its names, after its language: "en:sofa"."""

    def __init__(self, listings: Sequence[Listing], descriptions: Sequence[str]) -> None:
        self.listings = listings
        self.kind_of = kinds(listings, descriptions)
        self.kind = [self.kind_of.get((each.language, each.name), "") for each in listings]
        self.items: dict[str, list[int]] = defaultdict(list)
        self.names: dict[str, Counter[str]] = defaultdict(Counter)
        steps: dict[str, set[float]] = defaultdict(set)
        for i, (each, kind) in enumerate(zip(listings, self.kind, strict=True)):
            if kind:
                self.items[kind].append(i)
                self.names[kind][each.name] += 1
                steps[kind].add(number(each.facts.get("measure", "")))
        self.steps = {kind: sorted(x for x in found if x == x) for kind, found in steps.items()}
        self.brands = sorted({each.brand for each in listings if each.brand})
        self._patterns = {language: _patterns(listings, self.kind_of, language) for language in LINKS}
        self._brand = any_of(set(self.brands)) if self.brands else None
        self._sold = self._brands_of_kinds()
        self._told = self._types_told_of(descriptions)
        self._meant = {language: _mistypings(_words_of(listings, self.brands, language)) for language in LINKS}

    def faults(self, kind: str, wish: Mapping[str, str], other: Listing) -> list[str]:
        """What of a wish an item of the type does not meet, each by what is wrong with it."""
        found = []
        for what, value in wish.items():
            if what == "brand":
                found += ["brand wrong"] if other.brand != value else []
            elif what == "under":
                over = other.price / float(value)
                found += [f"price over {sum(over > step for step in OVER)}"] if over > 1 else []
            elif what in ("with", "without"):
                right, wrong = (other.has, other.lacks) if what == "with" else (other.lacks, other.has)
                feature = beginning(value)
                found += [] if feature in right else [f"{what} wrong" if feature in wrong else f"{what} unstated"]
            elif (stated := other.facts.get(what)) is None:
                found.append(f"{what} unstated")
            elif stated != value and not (what == "measure" and number(stated) == number(value)):
                which = self._gap(kind, value, stated) if what == "measure" else f"{what} {'~'.join(sorted((value, stated)))}"
                found += [f"{what} wrong", which]
        return found

    def asked(self, query: str) -> Asked | None:
        """What a query says, also with a typo in one word; None where not all of its words are known."""
        text = query.lower()
        for language in LINKS:
            found = self._asked(text, language)
            if found is not None:
                return found
        for language, meant in self._meant.items():
            words = text.split(" ")
            for i, word in enumerate(words):
                for other in meant.get(word, ()):
                    found = self._asked(" ".join([*words[:i], other, *words[i + 1 :]]), language)
                    if found is not None:
                        return found
        return None

    def akin(self, kind: str, other: str) -> bool:
        """True where the same brands make both types."""
        return float(self._sold[kind] @ self._sold[other]) > SAME_BRANDS

    def relation(self, asked: Asked, i: int) -> list[str]:
        """What an item of another type is to a query: do the same brands make both, do sellers name both, are names alike.

        To a query of a brand alone: is it of this brand, or of a type that this brand makes.
        """
        if not asked.kind:
            brand, at = asked.wish["brand"], self.brands.index(asked.wish["brand"])
            made = self.listings[i].brand == brand
            return [f"brand alone, {'its own' if made else 'akin' if self._sold[self.kind[i]][at] > 0 else 'strange'}"]
        kind, other = asked.kind, self.kind[i]
        a, b = sorted((kind, other))
        found = [f"types {a}~{b}", "akin" if self.akin(kind, other) else "strange"]
        found += ["goes with"] if self._told[kind, other] or self._told[other, kind] else []
        (la, na), (lb, nb) = a.split(":", 1), b.split(":", 1)
        found += ["other language"] if la != lb else []
        return found + (["alike"] if set(na.split()) & set(nb.split()) or (la == lb == "de" and na[-4:] == nb[-4:]) else [])

    def _types_told_of(self, descriptions: Sequence[str]) -> dict[tuple[str, str], bool]:
        """(type, other type) -> True where sellers of the one name the other, after their first sentence."""
        names = {language: any_of({name for of, name in self.kind_of if of == language}) for language, _ in self.kind_of}
        seen: Counter[tuple[str, str]] = Counter()
        for each, kind, description in zip(self.listings, self.kind, descriptions, strict=True):
            if kind:
                rest = " ".join(re.split(r"(?<=[.?!]) ", description.lower())[1:])
                others = {self.kind_of[each.language, name] for name in names[each.language].findall(rest)} - {kind}
                seen.update((kind, other) for other in others)
        told = {pair: count >= 2 and count > GOES_WITH * len(self.items[pair[0]]) for pair, count in seen.items()}
        return defaultdict(bool, told)

    def _gap(self, kind: str, value: str, stated: str) -> str:
        asked, given = number(value), number(stated)
        between = sum(min(asked, given) < step <= max(asked, given) for step in self.steps.get(kind, ()))
        return "measure next" if between == 1 else "measure far"

    def _asked(self, text: str, language: str) -> Asked | None:
        wish: dict[str, str] = {}
        forms: dict[tuple[str, str], str] = {}
        if (hit := re.search(r"\b(?:under|bis) (\d+(?:\.\d+)?) euro\b", text)) is not None:
            wish["under"], text = hit[1], text.replace(hit[0], " ")
        if self._brand is not None and (hit := self._brand.search(text)) is not None:
            wish["brand"], text = hit[0], text.replace(hit[0], " ", 1)
        kind = ""
        for what, pattern in self._patterns[language].items():
            if (hit := pattern.search(text)) is None:
                continue
            if what == "name":
                kind = self.kind_of[language, hit[1]]
            else:
                wish[what], forms[what, hit[1]] = hit[1], hit[0]
            text = text[: hit.start()] + " " + text[hit.end() :]
        left = set(re.findall(r"[^\W_]+", text)) - LINKS[language]
        known = kind or wish.keys() == {"brand"}  # a query of a brand alone
        return Asked(kind, wish, forms) if known and not left else None

    def _brands_of_kinds(self) -> dict[str, np.ndarray]:
        at, found = {brand: i for i, brand in enumerate(self.brands)}, {}
        for kind, items in self.items.items():
            count = np.bincount([at[self.listings[i].brand] for i in items if self.listings[i].brand], minlength=len(at))
            found[kind] = count / max(float(np.linalg.norm(count)), 1e-9)
        return found


def _words_of(listings: Iterable[Listing], brands: Iterable[str], language: str) -> set[str]:
    """All words that a query of a language may be made of."""
    found = {word for brand in brands for word in brand.split(" ")}
    for each in listings:
        if each.language == language:
            texts = [each.name, *each.has.values(), *each.lacks.values()]
            found |= {word for text in texts for word in text.split(" ")}
            values = [word for what, value in each.facts.items() if what != "measure" for word in value.split(" ")]
            found |= {value + end for value in values for end in ("", "er", "es", "e", "s", "n")}
    return found


def _mistypings(words: Iterable[str]) -> dict[str, list[str]]:
    """A word with one letter lost, doubled, or swapped with the next -> the words that may be meant."""
    found: dict[str, list[str]] = defaultdict(list)
    for word in sorted(words):
        if len(word) >= SHORT:
            for i in range(1, len(word) - 1):
                begins, a, b, ends = word[:i], word[i], word[i + 1], word[i + 2 :]
                for wrong in {begins + b + ends, begins + a + a + b + ends, begins + b + a + ends} - {word}:
                    found[wrong].append(word)
    return dict(found)


def kinds(listings: Sequence[Listing], descriptions: Sequence[str]) -> dict[tuple[str, str], str]:
    """(language, name) -> type. Names mean the same type where descriptions of the one often begin by the other."""
    names = Counter((each.language, each.name) for each in listings if each.name)
    search = {language: any_of({name for of, name in names if of == language}) for language, _ in names}
    seen: Counter[tuple[str, str, str]] = Counter()
    for each, description in zip(listings, descriptions, strict=True):
        if each.name:
            first = re.split(r"(?<=[.?!]) ", description.lower())[0].replace(each.brand or "\n", " ")
            seen.update((each.language, each.name, other) for other in {*search[each.language].findall(first)} - {each.name})
    found = {key: key for key in names}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        while found[key] != key:
            key = found[key]
        return key

    for (language, name, other), count in seen.items():
        if count >= 3 and count > SYNONYM * names[language, name]:
            a, b = sorted((root((language, name)), root((language, other))), key=lambda key: (names[key], key))
            found[a] = b
    return {key: ":".join(root(key)) for key in names}


def _patterns(listings: Iterable[Listing], kind_of: Mapping[tuple[str, str], str], language: str) -> dict[str, re.Pattern[str]]:
    """What is looked for in a query, in order: features, measures, names, then single values."""
    values: dict[str, set[str]] = defaultdict(set)
    features: set[str] = set()
    for each in listings:
        if each.language == language:
            features |= {*each.has.values(), *each.lacks.values()}
            for what, value in each.facts.items():
                values[what].add(value)
    with_, without = ("mit", "ohne") if language == "de" else ("with", "without")
    found = {}
    if features:
        found = {"with": _captured(features, f"{with_} "), "without": _captured(features, f"{without} ")}
    if "measure" in values:
        found["measure"] = _captured(values["measure"])
    names = {name for of, name in kind_of if of == language}
    found |= {"name": _captured(names)} if names else {}
    return found | {what: _captured(values[what], after=ENDING) for what in VALUES if what in values and what != "measure"}


def _captured(found: set[str], before: str = "", after: str = "") -> re.Pattern[str]:
    longest = sorted(map(re.escape, found), key=len, reverse=True)
    return re.compile(rf"(?<!\w){before}({'|'.join(longest)}){after}(?!\w)")
