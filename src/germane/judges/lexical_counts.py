"""What of a query stands in documents that were read before, counted in one pass over their arrays, compiled by numba.

A search counts in several hundred documents at a time: in numpy that takes dozens of steps over arrays that are larger than a
core's cache, each of which holds Python's lock. Compiled, it is one loop without the lock, so that requests count beside
each other, and beside the query's encoder. Where numba is not there the same loop runs as Python: the same counts, slowly.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.inference.compiling import AHEAD, compiled

NEAR = 1 << 13
"""Places of the table that says at once of most words that nobody looks for them; it stays in a core's first cache."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Arrays(NamedTuple):
    """A store's arrays, of all of its documents: see `lexical_store`."""

    rows: NDArray[Any]
    words: NDArray[np.uint32]
    bits: NDArray[np.uint8]
    title_grams: NDArray[np.uint16]
    rare: NDArray[np.uint64]
    numbers: NDArray[Any]
    denied: NDArray[Any]


class Sought(NamedTuple):
    """What a query looks for. ids (m,): words by number, rising; needle[first[k] : first[k + 1]]: what ids[k] is a sign of.

    near (NEAR,): by the last bits of a word, whether it may be one of ids. phrase: its words in their order, none if one of
    them is in no document. byte, bit (c,): its common 3-grams; common: by their place, whether it has it. rare (g,): all of
    its 3-grams, rising; placed: which of these are common. values (v,): its numbers; unit[unit_first[k] : unit_first[k + 1]]:
    words that stand beside them. denied (d,): words that it asks for or negates, -1 for one that no document has.
    """

    ids: Ints
    first: Ints
    needle: Ints
    near: Bools
    phrase: Ints
    byte: Ints
    bit: NDArray[np.uint8]
    common: Bools
    rare: NDArray[np.uint64]
    placed: Bools
    values: NDArray[np.float64]
    unit_first: Ints
    unit: Ints
    denied: Ints


class Counts(NamedTuple):
    """Of n documents. text, title (n, needles): whether a needle is there. grams, title_grams (n,): 3-grams of the query.

    phrase, title_phrase (n,): whether its words stand one after the other. present, conflicting (n,): of its numbers. once,
    only (n, d): whether a document negates a word, and has it in negations only.
    """

    text: Bools
    title: Bools
    grams: Ints
    title_grams: Ints
    phrase: Bools
    title_phrase: Bools
    present: Ints
    conflicting: Ints
    once: Bools
    only: Bools


def counted(arrays: Arrays, at: Ints, sought: Sought, needles: int) -> Counts:
    """The counts of the documents in these rows."""
    n, d = len(at), len(sought.denied)
    text, title = np.zeros((2, n, needles), dtype=np.bool_)
    once, only = np.zeros((2, n, d), dtype=np.bool_)
    grams, title_grams, present, conflicting = np.zeros((4, n), dtype=np.int64)
    phrase, title_phrase = np.zeros((2, n), dtype=np.bool_)
    counts = Counts(text, title, grams, title_grams, phrase, title_phrase, present, conflicting, once, only)
    _loop()(arrays, at, sought, counts)
    return counts


@cache
def _loop() -> Callable[..., None]:
    found = compiled(_count)
    if found is None:
        warnings.warn("numba is not there: features of words are counted slowly (pip install 'germane[serve]')", stacklevel=4)
    return found or _count


def _count(arrays: Arrays, at: Ints, sought: Sought, counts: Counts) -> None:
    """One loop: functions of it would have to be compiled where numba is, and plain where it is not.

    What a document needs lies in seven files, and hardly any of it in a cache: so AHEAD documents are touched, one after the
    other and none waiting for another, before they are counted in.
    """
    words, rare, many = arrays.words, arrays.rare, len(sought.phrase)
    first_of_phrase = sought.phrase[0] if many else -1
    touched = 0
    for i in range(len(at)):
        if i % AHEAD == 0:
            for j in range(i, min(i + AHEAD, len(at))):
                touched += int(arrays.rows[at[j]]["words"]) + int(arrays.bits[at[j], 0]) + int(arrays.title_grams[at[j], 0])
            for j in range(i, min(i + AHEAD, len(at))):
                row = arrays.rows[at[j]]
                end = int(row["words_end"])
                for k in range(end - int(row["words"]), end, 16):
                    touched += int(words[k])
                for k in range(0, arrays.bits.shape[1], 64):
                    touched += int(arrays.bits[at[j], k])
                for k in range(0, arrays.title_grams.shape[1], 32):
                    touched += int(arrays.title_grams[at[j], k])
                if row["rare"]:
                    touched += rare[int(row["rare_end"]) - 1] > 0
            if touched < 0:  # never: so that a compiler does not leave it out
                counts.grams[i] = -1
        row = arrays.rows[at[i]]
        end = int(row["words_end"])
        begin = end - int(row["words"])
        title = begin + int(row["title_at"])
        title_end = title + int(row["title_words"])
        for j in range(begin, end):
            word = int(words[j])
            if sought.near[word & (NEAR - 1)]:
                low, high = 0, len(sought.ids)
                while low < high:
                    middle = (low + high) // 2
                    if sought.ids[middle] < word:
                        low = middle + 1
                    else:
                        high = middle
                if low < len(sought.ids) and sought.ids[low] == word:
                    for k in range(sought.first[low], sought.first[low + 1]):
                        counts.text[i, sought.needle[k]] = True
                        if title <= j < title_end:
                            counts.title[i, sought.needle[k]] = True
            if word == first_of_phrase and j + many <= end:
                same = True
                for k in range(1, many):
                    same = same and int(words[j + k]) == sought.phrase[k]
                if same:
                    counts.phrase[i] = True
                    if title <= j and j + many <= title_end:
                        counts.title_phrase[i] = True
        for k in range(len(sought.byte)):
            counts.grams[i] += (arrays.bits[at[i], sought.byte[k]] >> sought.bit[k]) & 1
        for k in range(arrays.title_grams.shape[1]):
            counts.title_grams[i] += sought.common[arrays.title_grams[at[i], k]]
        end = int(row["rare_end"])
        begin = end - int(row["rare"])
        for j in range(begin, end):
            low, high = 0, len(sought.rare)
            while low < high:
                middle = (low + high) // 2
                if sought.rare[middle] < rare[j]:
                    low = middle + 1
                else:
                    high = middle
            if low < len(sought.rare) and sought.rare[low] == rare[j]:
                counts.title_grams[i] += j - begin < int(row["rare_title"])
                counts.grams[i] += not sought.placed[low]
        end = int(row["numbers_end"])
        begin = end - int(row["numbers"])
        for k in range(len(sought.values)):
            there, beside = False, False
            for j in range(begin, end):
                said = arrays.numbers[j]
                there = there or said["value"] == sought.values[k]
                for unit in sought.unit[sought.unit_first[k] : sought.unit_first[k + 1]]:
                    beside = beside or int(said["before"]) == unit or int(said["after"]) == unit
            counts.present[i] += there
            counts.conflicting[i] += beside and not there
        end = int(row["denied_end"])
        for j in range(end - int(row["denied"]), end):
            for k in range(len(sought.denied)):
                if int(arrays.denied[j]["word"]) != sought.denied[k] or not arrays.denied[j]["times"]:
                    continue
                # A word right after itself shares a space with it: `str.count`, which does not overlap, sees every second one.
                times, before, last = 0, False, int(row["words_end"])
                for at_word in range(last - int(row["words"]), last):
                    before = not before and int(words[at_word]) == sought.denied[k]
                    times += before
                counts.once[i, k] = True
                counts.only[i, k] = times <= int(arrays.denied[j]["times"])
