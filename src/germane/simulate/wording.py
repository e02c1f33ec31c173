"""Facts of an item as its seller writes them: title, attributes and description, in the seller's language."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.simulate.vocabulary import DE, EN, Kind, Vocabulary, choose

Ints = NDArray[np.int64]
Said = list[bool]
Shown = list[tuple[list[int], list[int]]]  # of each item the features that it has, and that it lacks
TITLE, ATTRIBUTES, DESCRIPTION = 0, 1, 2
BRAND_IN_TITLE = 0.85
OTHER_NAME = 0.2  # share of titles that use another name of the type than the first
WITH_PARTNER = 0.33  # share of descriptions that name another type of product
SMALL = {"by", "for", "from", "in", "of", "the", "with", "without", "and"}


class Facts(NamedTuple):
    """What one item's text may say, as words; "" where there is nothing to say."""

    words: Vocabulary
    kind: Kind
    language: int
    brand: str
    name: str
    gender: str
    other: str
    values: tuple[str, str, str, str]  # colour, material, people, measure
    has: list[int]
    lacks: list[int]
    ingredient: bool

    def feature(self, number: int, *, dative: bool = False) -> str:
        return self.words.feature(number, self.language, dative=dative)


def describe(
    words: Vocabulary,
    kind: Ints,
    language: Ints,
    brand: Ints,
    values: tuple[Ints, Ints, Ints, NDArray[np.float64]],
    said: NDArray[np.bool_],
    shown: Shown,
    rng: Random,
) -> dict[str, list[str]]:
    """Title, attributes and description of each item; said: which of its values stand in which of the three.

    A fact that is known stands in at least one of them, and each feature that an item has or lacks is in the attributes.
    """
    columns: dict[str, list[str]] = {"title": [], "attributes": [], "description": []}
    colour, material, people, measure = (array.tolist() for array in values)
    partners = partners_of(words)
    kinds, languages, brands, places = kind.tolist(), language.tolist(), brand.tolist(), said.transpose(2, 0, 1).tolist()
    for i, (has, lacks) in enumerate(shown):
        item, spoken = words.kinds[kinds[i]], languages[i]
        first = 0 if rng.random() > OTHER_NAME else int(rng.random() * len(item.names[spoken]))
        other = choose(rng, item.names[spoken])
        said_of = (
            words.colours[colour[i]][spoken] if colour[i] >= 0 else "",
            words.materials[material[i]][spoken] if material[i] >= 0 else "",
            words.people[people[i]][spoken] if people[i] >= 0 else "",
            words.amount(item, measure[i], spoken) if measure[i] == measure[i] else "",
        )
        facts = Facts(
            words,
            item,
            spoken,
            words.brands[brands[i]],
            item.names[spoken][first],
            item.genders[min(first, len(item.genders) - 1)] if spoken == DE else "",
            other,
            said_of,
            has,
            lacks,
            material[i] in words.ingredients,
        )
        columns["title"].append(title(facts, places[TITLE][i], rng))
        columns["attributes"].append(attributes(facts, places[ATTRIBUTES][i]))
        partner = words.kinds[choose(rng, partners[kinds[i]])].names[spoken][0]
        columns["description"].append(description(facts, places[DESCRIPTION][i], partner, rng))
    return columns


def partners_of(words: Vocabulary) -> list[list[int]]:
    """For each type, those that its sellers like to mention: what goes with it, or else anything of its department."""
    return [
        [j for j, other in enumerate(words.kinds) if other.key in kind.goes_with or kind.key in other.goes_with]
        or [j for j, other in enumerate(words.kinds) if other.department == kind.department and other.key != kind.key]
        for kind in words.kinds
    ]


def title(facts: Facts, said: Said, rng: Random) -> str:
    """The seller's headline: English in title case, German with its nouns."""
    colour, material, people, measure = (v if s else "" for v, s in zip(facts.values, said, strict=True))
    named = facts.brand if rng.random() < BRAND_IN_TITLE else ""
    with_, for_, without = (("with", "for", "without"), ("mit", "für", "ohne"))[facts.language]
    extra = ""
    if facts.has and rng.random() < 0.3:
        extra = f"{with_} {facts.feature(facts.has[0], dative=True)}"
    elif facts.lacks and rng.random() < 0.3:
        extra = f"{without} {facts.feature(facts.lacks[0])}"
    people = f"{for_} {people}" if people else ""
    made = f"{with_} {material}" if material and facts.ingredient else ""
    material = "" if facts.ingredient else material
    if rng.random() < 0.6:
        if facts.language == EN:
            head = " ".join(part for part in (named, colour, material, facts.name, people, made, extra) if part)
            return _english(", ".join(part for part in (head, measure) if part))
        material = f"aus {material}" if material else ""
        head = " ".join(part for part in (named, facts.name, material, people, made, extra) if part)
        return ", ".join(part for part in (head, colour, measure) if part)
    tail = ", ".join(part for part in (colour, material, measure, made or extra) if part)
    head = " ".join(part for part in (facts.name, people) if part)
    text = f"{head} – {tail}" if tail else head
    text = f"{text} | {named}" if named else text
    return _english(text) if facts.language == EN else text[0].upper() + text[1:]


def attributes(facts: Facts, said: Said) -> str:
    """Facts as a shop lists them: "colour: blue; material: oak; with: drawers"."""
    labels = (("colour", "material", "for", "size", "with", "without"), ("Farbe", "Material", "für", "Maß", "mit", "ohne"))
    colour, material, people, measure, with_, without = labels[facts.language]
    if facts.ingredient:
        material = ("contains", "enthält")[facts.language]
    if facts.kind.measure == "size":
        measure = ("fit", "Passform")[facts.language]
    rows = [
        f"{label}: {value}"
        for label, value, is_said in zip((colour, material, people, measure), facts.values, said, strict=True)
        if value and is_said
    ]
    if facts.has:
        rows.append(f"{with_}: " + ", ".join(facts.feature(f, dative=True) for f in facts.has))
    if facts.lacks:
        rows.append(f"{without}: " + ", ".join(facts.feature(f) for f in facts.lacks))
    return "; ".join(rows)


def description(facts: Facts, said: Said, partner: str, rng: Random) -> str:
    """A few sentences: some facts, another name of the thing, what it goes with, and what sellers always write."""
    sentences = facts.words.sentences

    def sentence(topic: str, x: str = "") -> str:
        text: str = choose(rng, sentences[topic])[facts.language]
        text = text.replace("{type}", facts.name).replace("{other}", facts.other).replace("{brand}", facts.brand)
        text = text.replace("{x}", x)
        return text[0].upper() + text[1:]

    parts = [sentence("opening")]
    topics = ("colour", "ingredient" if facts.ingredient else "material", "people", "measure")
    parts += [sentence(topic, v) for topic, v, s in zip(topics, facts.values, said, strict=True) if v and s]
    if facts.has and rng.random() < 0.5:
        parts.append(sentence("with", facts.feature(choose(rng, facts.has), dative=True)))
    if facts.lacks and rng.random() < 0.5:
        parts.append(sentence("without", facts.feature(choose(rng, facts.lacks))))
    if rng.random() < WITH_PARTNER:
        parts.append(sentence("partner", partner))
    parts.append(sentence("closing"))
    return " ".join(parts)


def _english(text: str) -> str:
    """Title case that leaves small words, units and names alone."""
    parts = text.split(" ")
    small = [i > 0 and (part in SMALL or parts[i - 1][:1].isdigit()) for i, part in enumerate(parts)]
    return " ".join(part if kept or not part else part[0].upper() + part[1:] for part, kept in zip(parts, small, strict=True))
