"""`germane encode`: the vectors of a catalogue's documents, made once by a student and stored."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import sources
from germane.inference.vector_store import VectorStore
from germane.judges import folder
from germane.judges.loading import locate
from germane.judges.two_tower import CHUNK, TwoTower
from germane.text import TextPlan, compose_table, text_fields

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger("germane")


class Encoding(NamedTuple):
    """What `encode` did. made: False if nothing had changed. documents: in the catalogue.

    new: texts that were encoded now. known: documents whose text had a vector. empty: documents without text, which have
    none. failed: texts of which the tower made no number. removed: texts that left with their documents. total: texts that
    have a vector. store: how a vector is kept. rows_per_s: texts encoded a second, None if none was.
    """

    out: str
    made: bool
    judge: str
    documents: int
    new: int
    known: int
    empty: int
    failed: int
    removed: int
    total: int
    store: str
    rows_per_s: float | None
    notes: tuple[str, ...] = ()


def encode(
    docs: Path,
    judge: str | Path,
    out: Path,
    *,
    engine: str = "torch",
    store: str | None = None,
    device: str | None = None,
    batch: int | None = None,
    prune: bool = False,
) -> Encoding:
    """Encodes the documents whose text has no vector in the folder `out` yet, and says there which text each one has.

    docs: a catalogue; its texts are made by the plan that the judge learned from, those of the one field "text" stand as
    they are. store: "int8", "fp16" (of a new folder) or "fp32". prune: documents that are not in `docs` leave the folder.
    Texts are put on disk 1,024 at a time: killed at any moment, the same call goes on.

    Raises: InputError for a folder of another student, a catalogue that cannot be read, and where the disk is full.
    """
    student = TwoTower(locate(judge), engine=engine, device=device, batch=batch)
    total, pieces = sources.docs_in_pieces(docs)
    work = _Work(student, out, store, _plan(judge), total)
    for piece in pieces:
        work.take(piece)
    work.finish()
    kept = work.store
    removed = kept.compact(_ids(docs)) if prune else 0
    read = student.read(kept)  # of a folder of an older version, or of one that was written anew
    rate = work.encoded / work.seconds if work.encoded else None
    notes = (
        [f"{work.failed:,} texts gave no number, such as that of {work.example!r}: they have no vector"] if work.failed else []
    )
    return Encoding(
        str(out),
        bool(work.encoded or work.renamed or removed or read),
        student.about.name,
        total,
        work.encoded,
        work.known,
        work.empty,
        work.failed,
        removed,
        len(kept),
        kept.about.store,
        rate,
        tuple(notes),
    )


class _Work:
    """A catalogue on its way into a folder of vectors, CHUNK new texts at a time, in its order."""

    def __init__(self, student: TwoTower, out: Path, how: str | None, plan: TextPlan, total: int) -> None:
        self.student, self.plan, self.total = student, plan, total
        self._out, self._how = out, how
        self._store: VectorStore | None = None
        self._waiting: dict[str, list[str]] = {}  # text -> its documents
        self.done = self.encoded = self.known = self.empty = self.failed = self.renamed = 0
        self.example, self.seconds = "", 0.0
        self._began = self._told = time.perf_counter()

    @property
    def store(self) -> VectorStore:
        assert self._store is not None  # a catalogue has a row
        return self._store

    def take(self, piece: pa.Table) -> None:
        """The documents of a piece: those with a known text are named, new texts wait for their turn."""
        texts, digest = _texts(piece, self.plan)
        if self._store is None:
            self._store = self.student.store(self._out, store=self._how, plan=digest)
        rows, ids = self.store.find(texts), _ids_of(piece)
        there = self.store.rows(ids)
        moved: dict[str, str] = {}
        for doc_id, text, row, before in zip(ids, texts, rows.tolist(), there.tolist(), strict=True):
            if not text:
                self.empty += 1
            elif row < 0:
                self.known += text in self._waiting
                self._waiting.setdefault(text, []).append(doc_id)
            else:
                self.known += 1
                if row != before:
                    moved[doc_id] = text
        self._name(moved)
        self.done += len(ids)
        while len(self._waiting) >= CHUNK:
            self._encode()
        self._tell(now=False)

    def finish(self) -> None:
        while self._waiting:
            self._encode()
        self._tell(now=True)

    def _name(self, moved: Mapping[str, str]) -> None:
        if moved:
            self.store.name(moved)
            self.renamed += len(moved)

    def _encode(self) -> None:
        some = {text: self._waiting.pop(text) for text in list(islice(self._waiting, CHUNK))}
        began = time.perf_counter()
        without = self.student.add(self.store, list(some), {doc_id: text for text, ids in some.items() for doc_id in ids})
        self.seconds += time.perf_counter() - began
        self.encoded += len(some) - len(without)
        if without:
            self.failed, self.example = self.failed + len(without), self.example or some[without[0]][0]
        self._tell(now=False)

    def _tell(self, *, now: bool) -> None:
        """How far it is, at most twice a second."""
        clock = time.perf_counter()
        if not now and clock - self._told < 0.5:
            return
        self._told = clock
        done = self.done - len(self._waiting)
        left = (self.total - done) * (clock - self._began) / max(done, 1)
        parts = [f"{done:,} of {self.total:,} documents", f"{self.encoded:,} texts encoded"]
        parts += [f"{self.encoded / self.seconds:,.0f} a second"] if self.encoded else []
        parts += [f"{left / 60:,.0f} min left"] if left >= 90 else []
        _LOG.info(", ".join(parts), extra={"done": done, "total": self.total})


def _plan(judge: str | Path) -> TextPlan:
    """The plan of the texts that a judge learned from; the usual one where it is not known."""
    said: Any = folder.learned_plan(locate(judge))
    return TextPlan() if said is None else said


def _texts(piece: pa.Table, plan: TextPlan) -> tuple[list[str], str]:
    """The text of each document as the tower reads it, and the digest of how it was made, "" for as it stands."""
    if text_fields(piece) == ["text"]:
        return [str(text or "").strip() for text in piece["text"].to_pylist()], ""
    made = compose_table(piece, plan)
    return [str(text).strip() for text in made.text.to_pylist()], made.plan.digest


def _ids(docs: Path) -> Iterator[str]:
    for piece in sources.docs_in_pieces(docs)[1]:
        yield from _ids_of(piece)


def _ids_of(piece: pa.Table) -> list[str]:
    return [str(doc_id) for doc_id in piece["doc_id"].to_pylist()]
