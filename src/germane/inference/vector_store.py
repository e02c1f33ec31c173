"""A folder of documents' vectors: made once for each text, found by its content, read as mapped memory, and only added to.

What a text is, its hash decides; an id names one of the texts, and may name another one later. So a document whose text did
not change is never encoded again, whatever it is called, and one whose text did is.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.inference.encoding import Vectors, distinct
from germane.inference.hashes import Hashes, Index, Rows, hashed
from germane.inference.journal import Journal, locked
from germane.inference.vectors import Int8, int8
from germane.store.files import create_bytes, unreadable, write_bytes
from germane.types import InputError

ABOUT = "vectors.json"
STORES = ("int8", "fp16", "fp32")
_KINDS: dict[str, np.dtype[Any]] = {"int8": np.dtype("i1"), "fp16": np.dtype("<f2"), "fp32": np.dtype("<f4")}
_CONTENTS = np.dtype([("key", "<u8"), ("other", "<u8"), ("end", "<i8")])  # of a text: its hash, where it ends in the file
_NAMES = np.dtype([("key", "<u8"), ("other", "<u8"), ("row", "<i8"), ("end", "<i8")])  # of an id: the same, and its text
_FILES = ("vectors", "scales", "contents", "texts", "names", "ids")
_BEGUN = ("lock", "log-1.jsonl")  # what a process may have left that was killed before it said whose folder it is
_MOVED = 1 << 14  # rows that are written anew together


@dataclass(frozen=True)
class About:
    """Whose vectors a folder holds. tower: a digest of all that decides a vector. texts: whether they are kept beside them.

    plan: the digest of the plan by which a catalogue's texts are made, "" for texts as they stand, None for not known.
    """

    tower: str
    dimension: int
    store: str = "fp16"
    texts: bool = False
    plan: str | None = None

    def __post_init__(self) -> None:
        if self.store not in STORES:
            raise InputError(f"vectors stored as {self.store!r}: expected {', '.join(STORES)}")


class VectorStore:
    """The vectors in a folder. Several processes may read it and add to it at the same time; see `refresh`.

    verify: every byte is compared with its digest when it is first seen (about a second for a gigabyte).

    Raises: InputError for a folder without vectors, and for files that are not what was written.
    """

    def __init__(self, folder: str | Path, *, verify: bool = True) -> None:
        self.folder, self._verify = Path(folder), verify
        self.about, generation = _read(self.folder)
        try:
            self._open(generation)
        except InputError:
            about, now = _read(self.folder)  # it was compacted in this moment
            if now == generation:
                raise
            self.about = about
            self._open(now)

    @classmethod
    def create(cls, folder: str | Path, about: About, *, verify: bool = True) -> VectorStore:
        """The vectors in a folder, which is made if it is not there.

        Raises: InputError for a folder of another tower, and one that stores in another way.
        """
        place = Path(folder)
        if not (place / ABOUT).is_file():
            if place.exists() and (not place.is_dir() or any(path.name not in _BEGUN for path in place.iterdir())):
                raise InputError(f"{folder} is there, and is no folder of vectors: name a new one")
            with locked(place):
                Journal(place, _FILES, generation=1, about=_owner(about), new=True)
                create_bytes(place / ABOUT, _said(about, 1))
        store = cls(place, verify=verify)
        store.expect(about)
        return store

    def expect(self, about: About) -> None:
        """Raises: InputError where this folder is another student's, or stores vectors or texts in another way."""
        mine = self.about
        if (mine.tower, mine.dimension) != (about.tower, about.dimension):
            raise InputError(
                f"{self.folder} holds vectors of another student or engine (tower {mine.tower}, this one has {about.tower}): "
                "name another folder"
            )
        if mine.store != about.store:
            raise InputError(f"{self.folder} stores vectors as {mine.store}, not {about.store}: name another folder")
        if about.texts and not mine.texts:
            raise InputError(f"{self.folder} holds no texts, which this student's head reads: name another folder")
        if about.plan is not None and mine.plan is not None and about.plan != mine.plan:
            raise InputError(
                f"{self.folder} holds texts of other fields or budgets (plan {mine.plan}, these have {about.plan}): "
                "name another folder"
            )

    def __len__(self) -> int:
        """Texts that have a vector."""
        return len(self._contents)

    def find(self, texts: Sequence[str]) -> Rows:
        """(n,) the row of each text's vector; -1 for one without."""
        return self._by_content.find(hashed(texts))

    def rows(self, doc_ids: Sequence[str]) -> Rows:
        """(n,) the row of each document's vector; -1 for one that is not known."""
        return self._rows_of(self._by_id.find(hashed(doc_ids)))

    def places(self, doc_ids: Iterable[str] | None = None) -> tuple[Rows, Rows]:
        """Where documents stand among all that were named, and the rows of their vectors (n,): of these, or of all there are.

        Both are -1 for a document that is not known.
        """
        at = self._current() if doc_ids is None else self._by_id.find(hashed(doc_ids))
        return at, self._rows_of(at)

    def take(self, rows: Rows | slice) -> Vectors | Int8 | NDArray[np.float16]:
        """The vectors of these rows, as they are stored; those of a slice are not copied."""
        # `take` is many times as quick as [rows]
        vectors = self._vectors[rows] if isinstance(rows, slice) else self._vectors.take(rows, axis=0)
        if self.about.store != "int8":
            return np.asarray(vectors)
        scales = self._scales[rows] if isinstance(rows, slice) else self._scales.take(rows)
        return Int8(vectors, scales[:, None])

    def texts(self, rows: Iterable[int]) -> list[str]:
        """The texts of these rows. Raises: InputError for a folder that keeps none."""
        if not self.about.texts:
            raise InputError(f"{self.folder} holds vectors without their texts")
        return [bytes(self._texts[_slice(self._contents["end"], int(row))]).decode() for row in rows]

    def ids(self, at: Rows | None = None) -> list[str]:
        """The documents that have a vector, as they first came, all read at once; or those at these `places`."""
        some = self._current() if at is None else at
        return [bytes(self._ids[_slice(self._names["end"], int(i))]).decode() for i in some]

    def add(self, texts: Sequence[str], vectors: Vectors, ids: Mapping[str, str] | None = None) -> int:
        """Puts vectors (n, d) of texts on disk, all or none, and says how many of the texts were new.

        ids: document -> its text, one of these or one that is known.

        Raises: InputError for vectors that are not finite or of another dimension, and where the disk is full.
        """
        if vectors.shape != (len(texts), self.about.dimension):
            raise InputError(f"vectors {vectors.shape} of {len(texts)} texts: expected ({len(texts)}, {self.about.dimension})")
        if not np.isfinite(vectors).all():
            raise InputError("vectors to store hold numbers that are not finite: leave those texts out")
        with locked(self.folder):
            self.refresh()
            different, place = distinct(texts)
            first = np.zeros(len(different), dtype=np.int64)
            first[place[::-1]] = np.arange(len(texts))[::-1]
            keys = hashed(different)
            new = np.flatnonzero(self._by_content.find(keys) < 0)
            parts = self._packed([different[i] for i in new], keys[new], vectors[first[new]])
            rows = {different[i]: len(self) + n for n, i in enumerate(new)}
            parts |= self._named(ids or {}, rows)
            if any(parts.values()):
                self._journal.append(parts)
                self._see(self._counts)
        return len(new)

    def name(self, ids: Mapping[str, str]) -> None:
        """Says which text each of these documents has; see `add`."""
        self.add([], np.zeros((0, self.about.dimension), dtype=np.float32), ids)

    def refresh(self) -> None:
        """Takes in what others added since, or that the folder was compacted.

        Raises: InputError as when it is opened.
        """
        about, generation = _read(self.folder)
        if about != self.about:
            raise InputError(f"{self.folder} was replaced by another folder of vectors meanwhile: begin anew")
        if generation != self._journal.generation:
            self._open(generation)
        elif self._journal.refresh():
            self._see(self._counts)

    def later(self) -> VectorStore:
        """These vectors with what others added since, or compacted; this object stays as it is, for whoever reads it now.

        Raises: InputError as when it is opened, and this object stays as it is.
        """
        made = copy.copy(self)
        made._journal = copy.copy(self._journal)
        made._by_content = self._by_content.beside(lambda rows: made._contents.take(rows)["other"])
        made._by_id = self._by_id.beside(lambda rows: made._names.take(rows)["other"])
        made.refresh()
        return made

    @property
    def generation(self) -> int:
        """How often the folder was compacted, plus 1: rows of one generation are no rows of another."""
        return self._journal.generation

    @property
    def keys(self) -> NDArray[np.uint64]:
        """(n,) half of the hash of each row's text: another row is another text."""
        return np.asarray(self._contents["key"])

    def compact(self, keep: Iterable[str]) -> int:
        """Writes the folder anew with these documents alone, and says how many texts went. Killed, it did nothing.

        keep: ids of the documents that stay. Texts that none of them has go, too.
        """
        with locked(self.folder):
            self.refresh()
            stay = np.unique(self._by_id.find(hashed(keep)))
            stay = stay[stay >= 0]
            rows, place = np.unique(self._rows_of(stay), return_inverse=True)
            gone = len(self) - len(rows)
            if not gone and len(stay) == len(self._names):
                return 0
            old, generation = self._journal, self._journal.generation + 1
            self._sweep()
            anew = Journal(self.folder, _FILES, generation=generation, about=_owner(self.about), new=True)
            self._move(anew, rows, stay, place)
            write_bytes(self.folder / ABOUT, _said(self.about, generation))
            old.remove()
            self._open(generation)
        return gone

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _counts(self) -> tuple[int, int]:
        return len(self._contents), len(self._names)

    def _open(self, generation: int) -> None:
        self._journal = Journal(self.folder, _FILES, generation=generation, about=_owner(self.about), verify=self._verify)
        self._by_content = Index(lambda rows: self._contents.take(rows)["other"])
        self._by_id = Index(lambda rows: self._names.take(rows)["other"])
        self._see((0, 0))

    def _see(self, before: tuple[int, int]) -> None:
        """Maps the files as long as they are now, and indexes what is new."""
        mapped, kind = self._journal.mapped, _KINDS[self.about.store]
        self._vectors, self._scales = mapped("vectors", kind, self.about.dimension), mapped("scales", "<f4")
        self._contents, self._names = mapped("contents", _CONTENTS), mapped("names", _NAMES)
        self._texts, self._ids = mapped("texts", "u1"), mapped("ids", "u1")
        self._by_content.add(self._contents["key"][before[0] :], before[0])
        self._by_id.add(self._names["key"][before[1] :], before[1])

    def _packed(self, texts: Sequence[str], keys: Hashes, vectors: Vectors) -> dict[str, bytes]:
        """The bytes of new texts and their vectors, by file."""
        parts: dict[str, bytes] = {}
        if self.about.store == "int8":
            small = int8(vectors)
            parts["vectors"], parts["scales"] = small.codes.tobytes(), small.scales.astype("<f4").tobytes()
        else:
            parts["vectors"] = np.asarray(vectors, dtype=_KINDS[self.about.store]).tobytes()
        written = [text.encode("utf-8", "replace") for text in texts] if self.about.texts else []
        rows = np.zeros(len(texts), dtype=_CONTENTS)
        rows["key"], rows["other"] = keys[:, 0], keys[:, 1]
        rows["end"] = self._journal.sizes["texts"] + (np.cumsum([len(w) for w in written]) if written else 0)
        return parts | {"contents": rows.tobytes(), "texts": b"".join(written)}

    def _named(self, ids: Mapping[str, str], new: Mapping[str, int]) -> dict[str, bytes]:
        """The bytes of ids whose text is another one than was said before."""
        names, texts = list(ids), list(ids.values())
        there = self.find(texts)
        rows = np.array([new.get(text, int(row)) for text, row in zip(texts, there, strict=True)], dtype=np.int64)
        if (rows < 0).any():
            raise InputError(f"document {names[int(np.argmin(rows))]!r} has a text without a vector: encode it first")
        keys = hashed(names)
        at = np.flatnonzero(self._rows_of(self._by_id.find(keys)) != rows)
        written = [names[i].encode("utf-8", "replace") for i in at]
        said = np.zeros(len(at), dtype=_NAMES)
        said["key"], said["other"], said["row"] = keys[at, 0], keys[at, 1], rows[at]
        said["end"] = self._journal.sizes["ids"] + np.cumsum([len(w) for w in written]) if written else 0
        return {"names": said.tobytes(), "ids": b"".join(written)}

    def _sweep(self) -> None:
        """Removes what a compaction that was killed left behind."""
        for path in self.folder.iterdir():
            name, _, rest = path.name.rpartition("-")
            if name in (*_FILES, "log") and rest.partition(".")[0] != str(self._journal.generation):
                path.unlink(missing_ok=True)

    def _rows_of(self, names: Rows) -> Rows:
        found = np.full(len(names), -1, dtype=np.int64)
        found[names >= 0] = self._names.take(names[names >= 0])["row"]
        return found

    def _current(self) -> Rows:
        """Where the ids stand that were not named again."""
        keys = np.stack([self._names["key"], self._names["other"]], axis=1)
        at = np.arange(len(self._names), dtype=np.int64)
        return np.asarray(at[self._by_id.find(keys) == at])

    def _move(self, anew: Journal, rows: Rows, names: Rows, place: Rows) -> None:
        """Writes these rows, and these names of the rows in these places among them, into other files."""
        for start in range(0, max(len(rows), len(names)), _MOVED):
            some, called = rows[start : start + _MOVED], names[start : start + _MOVED]
            contents, said = self._contents[some], self._names[called]
            texts = [bytes(self._texts[_slice(self._contents["end"], int(i))]) for i in some] if self.about.texts else []
            ids = [bytes(self._ids[_slice(self._names["end"], int(i))]) for i in called]
            contents["end"] = anew.sizes["texts"] + (np.cumsum([len(text) for text in texts]) if texts else 0)
            said["row"] = place[start : start + _MOVED]
            said["end"] = anew.sizes["ids"] + np.cumsum([len(name) for name in ids]) if ids else 0
            parts = {"vectors": self._vectors[some].tobytes(), "contents": contents.tobytes(), "texts": b"".join(texts)}
            parts |= {"scales": self._scales[some].tobytes() if len(self._scales) else b""}
            anew.append(parts | {"names": said.tobytes(), "ids": b"".join(ids)})


def _slice(ends: NDArray[np.int64], at: int) -> slice:
    return slice(int(ends[at - 1]) if at else 0, int(ends[at]))


def _owner(about: About) -> str:
    return json.dumps(asdict(about), sort_keys=True)


def _said(about: About, generation: int) -> bytes:
    return (json.dumps({**asdict(about), "generation": generation}, indent=2) + "\n").encode()


def about(folder: str | Path) -> About:
    """Whose vectors a folder holds, and how. Raises: InputError for a folder without any."""
    return _read(Path(folder))[0]


def _read(folder: Path) -> tuple[About, int]:
    place = folder / ABOUT
    try:
        said: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        generation = int(said.pop("generation"))
        return About(**said), generation
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise InputError(f"{folder} is no folder of vectors: `germane encode` makes one") from problem
    except OSError as problem:
        raise InputError(f"cannot read {place}: {unreadable(problem)}") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise InputError(
            f"{place} is not as germane wrote it: copy the folder again, or remove it and encode anew"
        ) from problem
