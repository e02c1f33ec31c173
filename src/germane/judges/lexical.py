"""What two vectors cannot see of a query and a text, as cheap numbers: exact words, numbers, negation.

A vector of a text is made before the query is known, and blurs what a single word, number or "without" decides. These
features are read from both texts at once, in any language that puts marks between words; where none are put (Japanese,
Chinese), the shares of 3-grams stand in for those of words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress, repeat
from math import ceil, log, log1p
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "words",  # share of the query's words in the text; negators and what they negate are left out of all shares of words
    "words, weighted",  # the same, each word by its weight (idf), if weights are given
    "words in title",  # in the first line
    "stems",  # share found by their beginning, see `stem`
    "stems in title",
    "title words asked",  # share of the first line's words that the query asks for
    "phrase",  # 1 if the query stands in the text word by word
    "phrase in title",
    "3-grams",  # share of the query's 3-grams of letters in the text
    "3-grams in title",
    "numbers",  # how many the query has
    "numbers present",  # share of them that the text has
    "numbers conflicting",  # share of them for which the text has another value beside the same word ("50 ft" for "100 ft")
    "numbers absent",  # share of them of which the text says nothing
    "codes present",  # share of the query's words of letters and digits ("wh1000xm4") that the text has
    "codes absent",
    "negation",  # 1 if the query negates something
    "negated present",  # share of the negated words that the text has, and does not negate
    "negated kept",  # share of the negated words that the text negates too
    "asked denied",  # share of the other words that the text has in negations only
    "query words",  # how many
    "log query letters",  # log(1 + n), as the next two
    "log text words",  # different ones
    "log title words",
)

NEGATORS = frozenset(
    re.findall(r"\w+", "without no not non minus ohne kein keine keinen keiner keinem nicht sin sans senza sem zonder utan bez")
)
"""Words that negate the next one: English, German, Spanish, French, Italian, Portuguese, Dutch, Swedish, Polish."""

AFTERWARDS = frozenset(("free", "frei", "なし", "無し", "不使用"))
"""Words that negate what stands before them, or, as the end of a longer word, its beginning: sugar free, zuckerfrei."""

ARTICLES = frozenset(
    re.findall(r"\w+", "a an any the der die das den dem de des del el la le les los las un una une ein eine einen")
)

_MARKS = NEGATORS | AFTERWARDS
_ENDS = tuple(sorted(AFTERWARDS))
_BETWEEN = re.compile(r"[\W_]")
_NUMBER = re.compile(r"(?<![^\W_])(\d+(?:[.,]\d+)*)")
_BEFORE = re.compile(r"([^\W\d_]+)\W{0,3}$")
_AFTER = re.compile(r"[\s-]{0,2}([^\W\d_]+|[\"”″%])")
_INCHES = {'"': "inch", "”": "inch", "″": "inch"}


class Text(NamedTuple):
    """A text as `features` reads it, to be kept where the same documents meet many queries.

    text, title: words in their order with one space around each. denied: words it negates, how often. raw: folded, for the
    numbers, which are only read if the query has some. words, title_words: how many different ones.
    """

    raw: str
    text: str
    title: str
    denied: Mapping[str, int]
    words: int
    title_words: int


class Query(NamedTuple):
    """A query as `features` reads it.

    words: in their order. asked: different ones that it does not negate. spaced, stems: of these, as they are looked for.
    codes: those of letters and digits. fixed: how many words, and the logarithm of their letters.
    """

    words: tuple[str, ...]
    asked: tuple[str, ...]
    spaced: tuple[str, ...]
    stems: tuple[str, ...]
    codes: tuple[str, ...]
    negated: tuple[str, ...]
    phrase: str
    trigrams: tuple[str, ...]
    numbers: tuple[tuple[float, frozenset[str]], ...]
    fixed: tuple[float, ...]


def fold(text: str) -> str:
    """The text as all of this module compares it: composed (NFKC), case folded, "w/o" as a word."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return folded.replace("w/o", "without") if "w/o" in folded else folded


def stem(word: str) -> str:
    """What a word must begin with to count as another form of this one: 70 % of it, at least four letters.

    A word of fewer than four letters has no stem but itself; "" then.

    >>> stem("running"), stem("chairs"), stem("tv")
    ('runni', 'chair', '')
    """
    return word[: max(4, ceil(0.7 * len(word)))] if len(word) >= 4 else ""


def read(text: str) -> Text:
    """A document's text, made ready for any number of queries. Its first line is the title."""
    raw = fold(text)
    first = raw.partition("\n")[0].removeprefix("title: ")  # as document_text names it
    words, title = _words(raw), _words(first)
    text = f" {' '.join(words)} "
    return Text(raw, text, f" {' '.join(title)} ", _denied(text, words), len(set(words)), len(set(title)))


def features(
    queries: Sequence[str], texts: Sequence[str | Text], *, weights: Mapping[str, float] | None = None
) -> NDArray[np.float32]:
    """The numbers of NAMES for each query with the text in the same place, shape (n, len(NAMES)).

    weights: of words, from `idf`; a word without one weighs the most. A share of nothing is 0.

    >>> found = features(["chair without arms"], ["Chair with arms\\nOak"])
    >>> {name: float(x) for name, x in zip(NAMES, found[0]) if "negat" in name}
    {'negation': 1.0, 'negated present': 1.0, 'negated kept': 0.0}
    """
    ready: dict[str, Text] = {}
    asked: dict[str, tuple[Query, list[float], float]] = {}
    heaviest = max(weights.values(), default=1.0) if weights else 1.0
    found = np.empty((len(queries), len(NAMES)), dtype=np.float32)
    for i, (query, text) in enumerate(zip(queries, texts, strict=True)):
        if isinstance(text, str):
            known = ready.get(text)
            if known is None:
                known = ready[text] = read(text)
            text = known
        if (said := asked.get(query)) is None:
            q = asked_of(query)
            mass = [weights.get(word, heaviest) for word in q.asked] if weights else [1.0] * len(q.asked)
            said = asked[query] = q, mass, sum(mass)
        found[i] = _row(said[0], text, said[1], said[2])
    return found


def idf(texts: Iterable[str], *, most: int = 30_000) -> dict[str, float]:
    """Weights of words for `features`: log(1 + (N - n + 0.5) / (n + 0.5)), n of N texts having the word.

    most: words to keep, those in most texts; what is left out is rare, and weighs as much as the rarest that is kept.

    Source: Robertson and Zaragoza (2009), eq. 3.3, with 1 added as in Lucene, so that no weight is negative.

    >>> weights = idf(["red chair", "blue chair"])
    >>> weights["red"] > weights["chair"]
    True
    """
    counts: Counter[str] = Counter()
    n = 0
    for text in texts:
        counts.update(set(_words(fold(text))))
        n += 1
    return {word: log(1 + (n - c + 0.5) / (c + 0.5)) for word, c in sorted(counts.most_common(most))}


def negations(words: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places of the words that negate, and of the words that are negated.

    >>> negations(["chair", "without", "the", "arms", "sugar", "free"])
    ([1, 5], [3, 4])
    """
    negators, negated = [], []
    for i in [i for i, word in enumerate(words) if word in _MARKS]:
        if words[i] in NEGATORS:
            after = next((j for j in range(i + 1, len(words)) if words[j] not in ARTICLES), None)
            if after is not None and not words[after][0].isdigit() and words[after] not in NEGATORS:  # "no 7" is a name
                negators.append(i)
                negated.append(after)
        elif i and not words[i - 1][0].isdigit():
            negators.append(i)
            negated.append(i - 1)
    return negators, negated


def numbers(text: str) -> list[tuple[float, frozenset[str]]]:
    """Each number of a folded text with what it counts: the beginnings (four letters) of the words right before and after.

    >>> [(value, sorted(units)) for value, units in numbers("hose 100ft, size 7")]
    [(100.0, ['ft', 'hose']), (7.0, ['size'])]
    """
    return [(value, units) for value, units, _ in numbers_at(text)]


def numbers_at(text: str) -> Iterator[tuple[float, frozenset[str], tuple[int, int]]]:
    """As `numbers`, and from where to where each stands in the text."""
    for match in _NUMBER.finditer(text):
        before, after = _BEFORE.search(text, max(match.start() - 24, 0), match.start()), _AFTER.match(text, match.end())
        sides = [before[1]] if before else []
        sides += [_INCHES.get(after[1], after[1])] if after else []
        yield _value(match[1]), frozenset(side[:4] for side in sides if side not in ARTICLES), match.span()


def alike(units: frozenset[str], others: frozenset[str]) -> bool:
    """Whether two numbers have a word beside them in common, or one of three letters that begins the other's: EUR, euro.

    >>> alike(frozenset({"unde", "euro"}), frozenset({"eur"})), alike(frozenset({"m"}), frozenset({"mm"}))
    (True, False)
    """
    return not units.isdisjoint(others) or any(
        len(a) >= 3 and len(b) >= 3 and (a.startswith(b) or b.startswith(a)) for a in units for b in others
    )


def _value(digits: str) -> float:
    """1,000 is a thousand, 3,5 is three and a half; 1.2.3 is its first part and its second."""
    whole, mark, part = digits.partition(",")
    if mark:
        digits = digits.replace(",", "") if len(part.partition(".")[0]) == 3 else f"{whole}.{part.replace(',', '')}"
    return float(".".join(digits.split(".")[:2]))


def _denied(text: str, words: Sequence[str]) -> Mapping[str, int]:
    """Words that a text negates, and how often."""
    ends = any(f"{end} " in text for end in _ENDS)
    if not ends and NEGATORS.isdisjoint(words):
        return {}
    found = Counter(words[i] for i in negations(words)[1])
    found.update(part for word in (words if ends else ()) if word.endswith(_ENDS) and (part := _part(word)))
    return found


def _part(word: str) -> str:
    """What a word negates inside itself: zucker of zuckerfrei; ""."""
    if not word.endswith(_ENDS):
        return ""
    return next(word.removesuffix(end) for end in _ENDS if word.endswith(end)) if len(word) > 5 else ""


class _Spaces(dict[int, str | int]):
    """What `str.translate` puts for a character: itself, or a space between words."""

    def __missing__(self, code: int) -> str | int:
        self[code] = found = code if chr(code).isalnum() or not _BETWEEN.match(chr(code)) else " "
        return found


_SPACES = _Spaces()


def _words(folded: str) -> list[str]:
    return folded.translate(_SPACES).split()


@lru_cache(maxsize=4096)
def asked_of(query: str) -> Query:
    """A query, made ready for any number of documents."""
    raw = fold(query)
    words = tuple(_words(raw))
    negators, places = negations(words)
    inside = {i: part for i, word in enumerate(words) if (part := _part(word))}
    negated = tuple(dict.fromkeys([words[i] for i in places] + list(inside.values())))
    left_out = {*negators, *places, *inside}
    asked = tuple(dict.fromkeys(word for i, word in enumerate(words) if i not in left_out)) or tuple(dict.fromkeys(words))
    trigrams = tuple({padded[i : i + 3] for padded in (f" {word} " for word in asked) for i in range(len(padded) - 2)})
    codes = tuple(w for w in asked if not w.isdigit() and not w.isalpha() and not w[0].isdigit())
    fixed = (float(len(words)), log1p(sum(map(len, words))))
    phrase = f" {' '.join(words)} "
    return Query(
        words,
        asked,
        tuple(f" {word} " for word in asked),
        tuple(f" {beginning}" if (beginning := stem(word)) else "" for word in asked),
        codes,
        negated,
        phrase,
        trigrams,
        tuple(numbers(raw)),
        fixed,
    )


def _row(q: Query, t: Text, mass: Sequence[float], total: float) -> tuple[float, ...]:
    text, title = t.text, t.title
    here, in_title = [word in text for word in q.spaced], [word in title for word in q.spaced]
    hits, title_hits, asked = sum(here), sum(in_title), len(here) or 1
    whole, title_whole = hits == asked, title_hits == asked  # then their stems and 3-grams are there too
    codes = sum(f" {code} " in text for code in q.codes) / len(q.codes) if q.codes else 0.0
    many = len(q.trigrams) or 1
    return (
        hits / asked,
        (sum(compress(mass, here)) if not whole else total) / (total or 1.0),
        title_hits / asked,
        1.0 if whole else sum(map(_begun, here, q.stems, repeat(text))) / asked,
        1.0 if title_whole else sum(map(_begun, in_title, q.stems, repeat(title))) / asked,
        title_hits / (t.title_words or 1),
        float(hits > 0 and q.phrase in text),
        float(title_hits > 0 and q.phrase in title),
        1.0 if whole else sum(map(text.__contains__, q.trigrams)) / many,
        1.0 if title_whole else sum(map(title.__contains__, q.trigrams)) / many,
        *(_of_numbers(q, t) if q.numbers else (0.0, 0.0, 0.0, 0.0)),
        codes,
        1.0 - codes if q.codes else 0.0,
        *_of_negation(q, t, here),
        *q.fixed,
        log1p(t.words),
        log1p(t.title_words),
    )


def _begun(hit: bool, beginning: str, text: str) -> bool:
    return hit or (beginning != "" and beginning in text)


def _of_numbers(q: Query, t: Text) -> tuple[float, float, float, float]:
    there = _numbers_of(t.raw)
    values = {value for value, _ in there}
    present = conflicting = 0
    for value, units in q.numbers:
        if value in values:
            present += 1
        elif any(units & beside for _, beside in there):
            conflicting += 1
    n = len(q.numbers)
    return float(n), present / n, conflicting / n, (n - present - conflicting) / n


def _of_negation(q: Query, t: Text, here: Sequence[bool]) -> tuple[float, float, float, float]:
    if not q.negated and not t.denied:
        return 0.0, 0.0, 0.0, 0.0
    denied = _denial(t)
    kept = sum(word in t.denied for word in q.negated)
    present = sum(not denied(word) and _has(t, word) for word in q.negated)
    n = len(q.negated)
    lost = sum(hit and denied(word) for word, hit in zip(q.asked, here, strict=True)) if t.denied else 0
    return float(n > 0), present / n if n else 0.0, kept / n if n else 0.0, lost / (len(q.asked) or 1)


def _has(t: Text, word: str) -> bool:
    return f" {word} " in t.text or (bool(beginning := stem(word)) and f" {beginning}" in t.text)


def _denial(t: Text) -> Callable[[str], bool]:
    """Whether a text has a word in negations only."""

    def denied(word: str) -> bool:
        times = t.denied.get(word, 0)
        return times > 0 and t.text.count(f" {word} ") <= times

    return denied


_numbers_of = lru_cache(maxsize=16_384)(numbers)  # as many documents as are labelled together
