"""The words of the marketplace: types.csv and words.toml as arrays that items and queries index."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
LANGUAGES = ("en", "de")
EN, DE = 0, 1


class Kind(NamedTuple):
    """One type of product. Numbers are indexes into the vocabulary's lists; names are (English, German)."""

    key: str
    department: int
    family: str
    goes_with: tuple[str, ...]
    names: tuple[tuple[str, ...], tuple[str, ...]]
    genders: tuple[str, ...]
    measure: str
    steps: tuple[float, ...]
    materials: tuple[int, ...]
    features: tuple[int, ...]
    people: tuple[int, ...]
    price: float
    colourless: bool


class Broad(NamedTuple):
    """A query that names no type: its words in each language, its department, and the types that answer it."""

    names: tuple[str, str]
    department: int
    kinds: tuple[int, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Everything that can be said, in two languages."""

    kinds: tuple[Kind, ...]
    departments: tuple[str, ...]
    colours: tuple[tuple[str, ...], ...]
    colour_group: NDArray[np.int64]
    colours_fixed: frozenset[int]
    materials: tuple[tuple[str, ...], ...]
    ingredients: frozenset[int]
    features: tuple[tuple[str, ...], ...]
    measures: dict[str, tuple[str, str]]
    people: tuple[tuple[str, ...], ...]
    brands: tuple[str, ...]
    brand_department: NDArray[np.int64]
    broad: tuple[Broad, ...]
    sellers: dict[str, list[str]]
    sentences: dict[str, list[list[str]]]

    @cached_property
    def measure_codes(self) -> NDArray[np.int64]:
        """The measure of each type, as a number: sizes in other measures cannot be compared."""
        names = list(self.measures)
        return np.array([names.index(kind.measure) for kind in self.kinds])

    @cached_property
    def department_of(self) -> NDArray[np.int64]:
        return np.array([kind.department for kind in self.kinds])

    def amount(self, kind: Kind, value: float, language: int) -> str:
        """A number as it is written, "1,5 l" in German."""
        number = f"{value:g}"
        return self.measures[kind.measure][language].replace("{n}", number.replace(".", ",") if language == DE else number)

    def colour(self, colour: int, language: int, gender: str = "") -> str:
        """A colour as it is written; before a German noun with its ending: blauer Stuhl, blaue Vase."""
        word = self.colours[colour][language]
        if language == EN or not gender or colour in self.colours_fixed:
            return word
        return word + {"m": "er", "f": "e", "n": "es", "p": "e"}[gender]

    def feature(self, feature: int, language: int, *, dative: bool = False) -> str:
        words = self.features[feature]
        return words[2] if dative and language == DE and len(words) > 2 else words[language]


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """The vocabulary, read once."""
    words = tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))
    with (HERE / "types.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    departments = tuple(words["brands"])
    groups, fixed = words["colours"].pop("groups"), words["colours"].pop("fixed")
    colours = list(words["colours"])
    stuff = words["materials"] | words["ingredients"]
    order = {name: list(words[name]) for name in ("features", "people")}
    kinds = tuple(_kind(row, departments, list(stuff), order, set(words["colourless"])) for row in rows)
    return Vocabulary(
        kinds=kinds,
        departments=departments,
        colours=tuple(tuple(words["colours"][name]) for name in colours),
        colour_group=np.array([next(i for i, group in enumerate(groups) if name in group) for name in colours]),
        colours_fixed=frozenset(colours.index(name) for name in fixed),
        materials=tuple(tuple(pair) for pair in stuff.values()),
        ingredients=frozenset(i for i, name in enumerate(stuff) if name in words["ingredients"]),
        features=tuple(tuple(pair) for pair in words["features"].values()),
        measures={name: (pair[0], pair[1]) for name, pair in words["measures"].items()},
        people=tuple(tuple(pair) for pair in words["people"].values()),
        brands=tuple(name for names in words["brands"].values() for name in names),
        brand_department=np.array([departments.index(d) for d, names in words["brands"].items() for _ in names]),
        broad=tuple(_broad(row, departments.index(name), kinds) for name, rows in words["broad"].items() for row in rows),
        sellers=words["sellers"],
        sentences=words["sentences"],
    )


def _kind(
    row: dict[str, str], departments: tuple[str, ...], stuff: list[str], order: dict[str, list[str]], colourless: set[str]
) -> Kind:
    german = [name.split(":") for name in row["german"].split(";")]
    low, high, step = (float(row[name]) for name in ("low", "high", "step"))
    return Kind(
        key=row["type"],
        department=departments.index(row["department"]),
        family=row["family"],
        goes_with=_parts(row["goes_with"]),
        names=(tuple(row["english"].split(";")), tuple(name for name, _ in german)),
        genders=tuple(gender for _, gender in german),
        measure=row["measure"],
        steps=tuple(np.arange(low, high + step / 2, step).tolist()),
        materials=tuple(stuff.index(name) for name in _parts(row["materials"])),
        features=tuple(order["features"].index(name) for name in _parts(row["features"])),
        people=tuple(order["people"].index(name) for name in _parts(row["people"])),
        price=float(row["price"]),
        colourless=row["family"] in colourless,
    )


def _broad(row: list[str], department: int, kinds: tuple[Kind, ...]) -> Broad:
    families = row[2].split()
    members = tuple(i for i, kind in enumerate(kinds) if kind.department == department and kind.family in families)
    return Broad((row[0], row[1]), department, members)


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(part for part in cell.split(";") if part)


def choose(rng: Random, options: Sequence[Any]) -> Any:
    """One of a list, each as likely."""
    return options[int(rng.random() * len(options))]
