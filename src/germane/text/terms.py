"""The words of a text, and digests that name a query or a pair by its words."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256

WORD = re.compile(r"\w+")
_SYMBOL = re.compile(r"[$+<=>^`|~]")  # of ASCII, what Unicode calls symbols (S)


def words(text: str) -> list[str]:
    """The words of a text, case folded, in any language that puts marks between words.

    Composed first (NFKC), so that one word typed in two ways is one word. No stop words, no stemming.

    >>> words("Größe 42, BLUE-green")
    ['grösse', '42', 'blue', 'green']
    """
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def query_digest(text: str) -> str:
    """16 hex digits that name a query by its words: to find it in another set whose texts are not kept.

    Sha256 of the words, so that case and marks between words do not hide a query that was seen before. Vowel signs belong to
    their word, and symbols (+, $, emoji) are words of their own: they are all that tells some queries apart.

    >>> query_digest("Blue CHAIR!") == query_digest(" blue chair")
    True
    >>> query_digest("c++") == query_digest("c"), query_digest("किला") == query_digest("केला")
    (False, False)
    """
    return sha256(" ".join(_named(text)).encode()).hexdigest()[:16]


def _named(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    if plain.isascii() and not _SYMBOL.search(plain):
        return WORD.findall(plain)
    kinds = (unicodedata.category(letter)[0] for letter in plain)
    marked = "".join(
        f" {letter} " if kind == "S" else letter if kind in "LMN" or letter == "_" else " "
        for letter, kind in zip(plain, kinds, strict=True)
    )
    return marked.split() or [plain.strip()]


def pair_digest(query: str, text: str) -> str:
    """16 hex digits that name a query with a document's text by their words; no query runs over into the text.

    >>> pair_digest("blue chair", "of wood") == pair_digest("Blue chair", "Of wood.")
    True
    >>> pair_digest("blue", "chair of wood") == pair_digest("blue chair", "of wood")
    False
    """
    both = (" ".join(_named(part)) for part in (query, text))
    return sha256("\n".join(both).encode()).hexdigest()[:16]
