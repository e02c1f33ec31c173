"""The normal form of a query, which stands for all its spellings, and an id that says what was asked."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from hashlib import sha256

from germane.types import InputError

STEPS = ("unicode", "case", "space")
NORMAL = "unicode+case+space"
# A text without any of this is in normal form already. No backslashes and ASCII only: every warehouse reads it alike.
MAY_CHANGE = "[^ !-@[-~]|  |^ | $"


def normal_form(text: str, normalise: str = NORMAL) -> str:
    """The text that stands for all its spellings: "" if it is blank.

    normalise: steps joined by "+", or "none". unicode: NFKC, so that "ﬁ" is "fi". case: lower case, as Python has it in
    every language ("ß" stays). space: one space between words, none around them. Applying it twice changes nothing.

    >>> normal_form("  Ｔシャツ  Größe L "), normal_form("LOR", "space"), normal_form(" \\t")
    ('tシャツ größe l', 'LOR', '')
    """
    return normal(text, steps_of(normalise))


def query_id(text: str, language: str | None = None) -> str:
    """An id that says what was asked: "q", so that no tool reads a number, and 64 bits of SHA-256 of the text and language.

    Among 5 million queries, some two share an id with a chance under one in a million.

    >>> query_id("red shoes"), query_id("red shoes", "en")
    ('q7819de65174af0f8', 'qb208257be45f7311')
    """
    return "q" + sha256(f"{language or ''}\x1f{text}".encode()).hexdigest()[:16]


def steps_of(normalise: str) -> tuple[str, ...]:
    """The steps that a name joins, in the order in which they are taken. Raises: InputError for an unknown one."""
    asked = [] if normalise == "none" else normalise.split("+")
    for wrong in [step for step in asked if step not in STEPS]:
        raise InputError(f"normalisation {wrong!r} is unknown: expected none, or some of {', '.join(STEPS)} joined by +")
    return tuple(step for step in STEPS if step in asked)


def normal(text: str, steps: Collection[str]) -> str:
    """The normal form by these steps."""
    if "unicode" in steps:
        text = unicodedata.normalize("NFKC", text)
    if "case" in steps:
        text = text.lower()
        if "unicode" in steps:
            text = unicodedata.normalize("NFKC", text)
    words = text.split()
    return (" ".join(words) if "space" in steps else text) if words else ""
