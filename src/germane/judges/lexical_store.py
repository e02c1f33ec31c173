"""What `lexical` reads of documents, read before: arrays beside their vectors, so that a search reads no text.

A folder `read` inside a folder of vectors has a row for each of its rows. Words are numbers of one vocabulary, which grows
with the catalogue. Of a text's 3-grams the common ones are bits, the others a list. `lexical_many` makes features of these.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.inference.hashes import Index, Rows, hashed
from germane.inference.journal import Journal, locked
from germane.inference.vector_store import VectorStore
from germane.judges import lexical
from germane.judges.lexical_counts import Arrays
from germane.types import InputError

FOLDER, VERSION = "read", 1
COMMON = 4096
"""3-grams that have a bit in every row: of English product texts all but 5 of 400 a text."""

TITLE = 96
"""Common 3-grams of a title that have room; titles of English products have 73."""

NONE = np.uint32(0xFFFFFFFF)
_TOGETHER = 8192  # texts that are read and put on disk together
_TAIL = 1 << 16  # words that may be unsorted
_WORD = np.dtype([("key", "<u8"), ("other", "<u8"), ("end", "<i8"), ("beginning", "<u4")])
_LISTS = ("words", "rare", "numbers", "denied")  # of each, where a row's end and how many there are
_COUNTS = (*_LISTS, "rare_title", "title_at", "title_words", "title_different")
_ROW = np.dtype(
    [
        ("key", "<u8"),
        *((f"{name}_end", "<i8") for name in _LISTS),
        *((name, "<u4") for name in _COUNTS),
        *((name, "<f4") for name in ("log_words", "log_title")),
    ]
)
_NUMBER = np.dtype([("value", "<f8"), ("before", "<u4"), ("after", "<u4")])
_DENIED = np.dtype([("word", "<u4"), ("times", "<u4")])
_FILES = ("vocabulary", "spelled", "common", "rows", "bits", "words", "title_grams", "rare", "numbers", "denied")


class LexicalStore:
    """The arrays beside a folder of vectors. It may lag behind them, or be of an older generation: what lacks is read anew.

    Raises: InputError for files that are not what was written, or of other texts than the vectors.
    """

    def __init__(self, vectors: VectorStore, *, verify: bool = True) -> None:
        self._open(vectors, verify)

    @staticmethod
    def of(vectors: VectorStore, *, verify: bool = True) -> LexicalStore | None:
        """The arrays of these vectors; None where none were made."""
        there = (vectors.folder / FOLDER / f"log-{vectors.generation}.jsonl").is_file()
        return LexicalStore(vectors, verify=verify) if there else None

    @staticmethod
    def fill(vectors: VectorStore) -> int:
        """Reads the texts that have no row here yet, and says how many these were. Killed, the next call goes on."""
        with locked(vectors.folder / FOLDER):
            store = LexicalStore.of(vectors) or LexicalStore._begun(vectors)
            store._journal.refresh()
            store._see()
            begin = len(store)
            for start in range(begin, len(vectors), _TOGETHER):
                rows = range(start, min(start + _TOGETHER, len(vectors)))
                store._add(vectors.texts(rows), vectors.keys[rows.start : rows.stop])
        return len(vectors) - begin

    def __len__(self) -> int:
        return len(self._rows)

    def later(self, vectors: VectorStore) -> LexicalStore | None:
        """The arrays of vectors that grew, or were compacted; this object stays as it is."""
        if vectors.generation != self._journal.generation:
            return LexicalStore.of(vectors)
        made = copy.copy(self)
        made._journal = copy.copy(self._journal)
        made._index = self._index.beside(lambda rows: made._vocabulary.take(rows)["other"])
        if made._journal.refresh():
            made._see()
        made._check(vectors)
        return made

    @property
    def generation(self) -> int:
        """That of the vectors."""
        return self._journal.generation

    def ids(self, words: Sequence[str]) -> list[int]:
        """The number of each word; -1 for one that no document has."""
        return list(self._index.find(hashed(words)).tolist()) if words else []

    def begun(self, beginning: str) -> Rows:
        """The words that begin so, with four letters or more."""
        return self._begun_with(beginning)

    def common(self, grams: Sequence[int]) -> list[int]:
        """The bit of each 3-gram; -1 for a rare one."""
        return [self.bit_of.get(gram, -1) for gram in grams]

    # --- inside -------------------------------------------------------------------------------------------------------

    @classmethod
    def _begun(cls, vectors: VectorStore) -> LexicalStore:
        for path in (vectors.folder / FOLDER).iterdir():  # of older generations
            if path.suffix in (".bin", ".jsonl"):
                path.unlink(missing_ok=True)
        _journal(vectors, True, new=True)
        return cls(vectors)

    def _open(self, vectors: VectorStore, verify: bool) -> None:
        self._journal = _journal(vectors, verify)
        self._vocabulary: NDArray[Any] = np.zeros(0, dtype=_WORD)
        self._order: Rows = np.zeros(0, dtype=np.int64)
        self._beginnings: NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        self._index = Index(lambda rows: self._vocabulary.take(rows)["other"])
        self._see()
        self._check(vectors)

    def _check(self, vectors: VectorStore) -> None:
        n = min(len(self), len(vectors))
        if not np.array_equal(self._rows["key"][:n], vectors.keys[:n]):
            raise InputError(
                f"{vectors.folder / FOLDER} was read of other texts than {vectors.folder} holds: remove it, and run "
                "`germane encode`, which makes it again"
            )

    def _see(self) -> None:
        mapped, known = self._journal.mapped, len(self._vocabulary)
        self._rows, words = mapped("rows", _ROW), mapped("words", "<u4")
        bits, title_grams = mapped("bits", "u1", COMMON // 8), mapped("title_grams", "<u2", TITLE)
        few = mapped("rare", "<u8"), mapped("numbers", _NUMBER), mapped("denied", _DENIED)
        self.arrays = Arrays(*map(_fixed, (self._rows, words, bits, title_grams, *few)))
        self._vocabulary, self._spelled = mapped("vocabulary", _WORD), mapped("spelled", "u1")
        self._index.add(self._vocabulary["key"][known:], known)
        self.common_grams: list[int] = mapped("common", "<u8").tolist()
        self.bit_of = {gram: i for i, gram in enumerate(self.common_grams)}
        self.size = len(self._vocabulary)  # words
        if self.size - len(self._order) > _TAIL or not len(self._order):
            self._order = np.argsort(self._vocabulary["beginning"], kind="stable")
            self._beginnings = self._vocabulary["beginning"][self._order]
        self._begun_with = lru_cache(65_536)(self._begun_words)

    def _begun_words(self, beginning: str) -> Rows:
        (first,) = self.ids([beginning[:4]])
        if first < 0:
            return np.zeros(0, dtype=np.int64)
        low, high = np.searchsorted(self._beginnings, [first, first + 1])
        known = len(self._order)
        found = np.concatenate([self._order[low:high], known + np.flatnonzero(self._vocabulary["beginning"][known:] == first)])
        if len(beginning) == 4:
            return np.asarray(found)
        ends, begin = self._vocabulary["end"], beginning.encode("utf-8", "surrogatepass")
        spelled = [bytes(self._spelled[ends[i - 1] if i else 0 : ends[i]][: len(begin)]) for i in found.tolist()]
        return np.asarray(found[[word == begin for word in spelled]])

    def _add(self, texts: Sequence[str], keys: NDArray[np.uint64]) -> None:
        common = self.common_grams
        if not common:
            counts = Counter(gram for text in texts for gram in grams(lexical.read(text).text))
            common = [gram for gram, _ in counts.most_common(COMMON)]
            self.bit_of = {gram: i for i, gram in enumerate(common)}
        block = _Block(self, common)
        for text in texts:
            block.take(text)
        self._journal.append(block.parts(keys, self._journal.sizes))
        self._see()


class _Block:
    """Texts on their way into a store."""

    def __init__(self, store: LexicalStore, common: Sequence[int]) -> None:
        self.store, self.common = store, common
        self.rows: list[dict[str, Any]] = []
        self.bits: list[bytes] = []
        self.lists: dict[str, list[Any]] = {name: [] for name in ("words", "title_grams", "rare", "values", "sides", "denied")}
        self.times: list[int] = []
        self.grams = lru_cache(1 << 15)(self._grams)

    def _grams(self, word: str) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """Of a word's 3-grams, the common ones as bits of a number and as their places, and the rare ones."""
        bit_of, of = self.store.bit_of, grams_of(word)
        common = tuple(bit_of[gram] for gram in of if gram in bit_of)
        return sum(1 << bit for bit in set(common)), common, tuple(gram for gram in of if gram not in bit_of)

    def take(self, text: str) -> None:
        read = lexical.read(text)
        words, title = read.text.split(), read.title.split()
        said, titled = [self.grams(word) for word in set(words)], [self.grams(word) for word in set(title)]
        bits = 0
        for mask, _, _ in said:
            bits |= mask
        title_grams = sorted(set[int]().union(*(common for _, common, _ in titled)))
        first = set[int]().union(*(few for _, _, few in titled))
        rest = set[int]().union(*(few for _, _, few in said)) - first
        first |= {self.common[place] for place in title_grams[TITLE:]}
        rare = [*sorted(first), *sorted(rest)]
        numbers = lexical.numbers(read.raw)
        for name, items in (("words", words), ("rare", rare), ("denied", read.denied)):
            self.lists[name].extend(items)
        self.lists["title_grams"] += (title_grams + [COMMON] * TITLE)[:TITLE]
        self.lists["values"] += [value for value, _ in numbers]
        self.lists["sides"] += [side for _, units in numbers for side in (*sorted(units), "", "")[:2]]
        self.times += read.denied.values()
        row: dict[str, Any] = {"words": len(words), "rare": len(rare)}
        row |= {"numbers": len(numbers), "denied": len(read.denied), "rare_title": len(first)}
        row |= {"title_at": int(read.raw.startswith("title: ")), "title_words": len(title)}
        row |= {"title_different": read.title_words, "log_words": log1p(read.words), "log_title": log1p(read.title_words)}
        self.rows.append(row)
        self.bits.append(bits.to_bytes(COMMON // 8, "little"))

    def parts(self, keys: NDArray[np.uint64], sizes: Mapping[str, int]) -> dict[str, bytes]:
        """The bytes for each file."""
        words, vocabulary, spelled = self._numbered(sizes["spelled"])
        numbers = np.zeros(len(self.lists["values"]), dtype=_NUMBER)
        numbers["value"] = self.lists["values"]
        sides = [words.get(side, int(NONE)) for side in self.lists["sides"]]
        numbers["before"], numbers["after"] = sides[::2], sides[1::2]
        denied = np.zeros(len(self.times), dtype=_DENIED)
        denied["word"], denied["times"] = [words[word] for word in self.lists["denied"]], self.times
        lists: dict[str, NDArray[Any]] = {"numbers": numbers, "denied": denied}
        lists["words"] = np.array([words[word] for word in self.lists["words"]], dtype="<u4")
        lists["rare"] = np.array(self.lists["rare"], dtype="<u8")
        rows = np.zeros(len(self.rows), dtype=_ROW)
        rows["key"] = keys
        for name in self.rows[0]:
            rows[name] = [row[name] for row in self.rows]
        for name, items in lists.items():
            rows[f"{name}_end"] = sizes[name] // items.itemsize + np.cumsum(rows[name], dtype=np.int64)
        made = {name: items.tobytes() for name, items in lists.items()} | {"rows": rows.tobytes(), "bits": b"".join(self.bits)}
        made["title_grams"] = np.array(self.lists["title_grams"], dtype="<u2").tobytes()
        common = np.array(self.common, dtype="<u8").tobytes() if not self.store.common_grams else b""
        return made | {"vocabulary": vocabulary.tobytes(), "spelled": spelled, "common": common}

    def _numbered(self, at: int) -> tuple[dict[str, int], NDArray[Any], bytes]:
        """The number of each word of the block; of the new ones, what is put into the vocabulary, and their letters."""
        said = dict.fromkeys([*self.lists["words"], *self.lists["denied"], *filter(None, self.lists["sides"])])
        said |= dict.fromkeys([word[:4] for word in said])  # by these, words are found that begin alike
        words = list(said)
        there = self.store.ids(words)
        new = [word for word, number in zip(words, there, strict=True) if number < 0]
        numbers = dict(zip(words, there, strict=True)) | {word: self.store.size + i for i, word in enumerate(new)}
        rows = np.zeros(len(new), dtype=_WORD)
        spelled = [word.encode("utf-8", "surrogatepass") for word in new]
        if new:
            halves = hashed(new)
            rows["key"], rows["other"] = halves[:, 0], halves[:, 1]
            rows["end"] = at + np.cumsum([len(word) for word in spelled])
            rows["beginning"] = [numbers[word[:4]] if len(word) >= 4 else NONE for word in new]
        return numbers, rows, b"".join(spelled)


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """An array that nobody writes, mapped or not: a compiler takes it for one kind."""
    found = array.view()
    found.setflags(write=False)
    return found


def grams(text: str) -> set[int]:
    """The different 3-grams of words with one space around each, as numbers: each letter has 21 bits."""
    return set[int]().union(*map(grams_of, set(text.split())))


@lru_cache(1 << 17)
def grams_of(word: str) -> tuple[int, ...]:
    """Those of one word."""
    padded = f" {word} "
    return tuple(gram_of(padded[i : i + 3]) for i in range(len(word)))


@lru_cache(1 << 15)
def gram_of(letters: str) -> int:
    """Three letters as a number."""
    a, b, c = map(ord, letters)
    return (a << 42) | (b << 21) | c


def _journal(vectors: VectorStore, verify: bool, *, new: bool = False) -> Journal:
    about = f"read {VERSION} {lexical.NAMES} {vectors.about}"
    return Journal(vectors.folder / FOLDER, _FILES, generation=vectors.generation, about=about, verify=verify, new=new)
