"""The student's own vectors as an engine: the documents nearest to a query, all of them compared."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from germane.engines.results import NOTHING, Failure, Found, as_run, asked, best, pools
from germane.inference import vector_store
from germane.inference.encoding import Vectors as Floats
from germane.inference.nearest import TOGETHER, nearest, products
from germane.judges.loading import locate
from germane.judges.two_tower import FILES, TwoTower
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("germane")


class Vectors:
    """Documents by the cosine of a student's vectors of query and document, rounded as the folder stores them.

    vectors: a folder that `germane encode` made with this student. docs: only these ids are searched; by default all that
    the folder names. rescore: the best so many by cosine are ranked by the expected gain that the student's head gives them.
    Ties go as the ranking rule says, and the same queries give the same run, whatever the processor's threads do. An empty
    query has no results. After a search, `failures` are the queries of which the tower made no number.

    Raises: InputError for vectors of another student, and none of the documents with a vector.
    """

    def __init__(
        self,
        student: TwoTower | str | Path,
        vectors: str | Path,
        *,
        docs: Iterable[str] | None = None,
        rescore: int = 0,
        name: str | None = None,
    ) -> None:
        vector_store.about(vectors)  # an engine makes no folder
        if rescore < 0:
            raise InputError(f"rescore is {rescore}: expected how many of the best are ranked by expected gain, or 0 for none")
        self.student = student if isinstance(student, TwoTower) else fitting(student, vectors)
        self.store = self.student.store(vectors)
        self.rescore = rescore
        kind = f"expected gain of the {rescore} nearest" if rescore else "nearest vectors"
        self.name = name or f"{kind} of {self.student.name}"
        self.failures: tuple[Failure, ...] = ()
        self._searched(docs)

    @property
    def origin(self) -> Mapping[str, Any]:
        about = self.store.about
        return {
            "engine": "embedded vectors",
            "student": self.student.name,
            "models": [self.student.fingerprint, *self.student.about.lineage],
            "tower": about.tower,
            "dimension": about.dimension,
            "store": about.store,
            "encoder": self.student.engine,
            "score": f"expected gain of the {self.rescore} nearest" if self.rescore else "cosine",
            "documents": self.documents,
            "without_vector": self.without,
        }

    def search(self, queries: pa.Table, *, k: int = 100, candidates: pa.Table | None = None) -> pa.Table:
        """A run of at most k documents a query, in the order of the queries. candidates: rank each query's pairs there alone.

        Raises: InputError for a candidate without a vector, a query_id that comes twice, and k above `rescore`.
        """
        ids, texts = asked(queries, k)
        if self.rescore and k > self.rescore and candidates is None:
            raise InputError(f"rescore={self.rescore} is less than k = {k}: score at least as many as the page shows")
        pool = pools(ids, candidates) if candidates is not None else None
        found: list[Found] = []
        failures: list[Failure] = []
        for start in range(0, len(ids), TOGETHER):
            log.info("searching", extra={"done": start, "total": len(ids)})
            some = slice(start, start + TOGETHER)
            found += self._some(ids[some], texts[some], k, pool, failures)
        self.failures = tuple(failures)
        return as_run(ids, found)

    def _searched(self, docs: Iterable[str] | None) -> None:
        """Which documents each row stands for."""
        at, rows = self.store.places() if docs is None else self.store.places(named := list(dict.fromkeys(docs)))
        self.without = int((at < 0).sum())
        at, rows = at[at >= 0], rows[at >= 0]
        if not len(at):
            whose = f"none of the {len(named):,} documents" if docs is not None else "no document"
            raise InputError(f"{whose} has a vector in {self.store.folder}: `germane encode` makes them")
        order = np.argsort(rows, kind="stable")
        self.documents, self._at, self._rows = len(at), at[order], rows[order]
        self._among = np.zeros(len(self.store), dtype=np.bool_)
        self._among[self._rows] = True

    def _some(
        self,
        ids: Sequence[str],
        texts: Sequence[str],
        k: int,
        pool: Mapping[str, list[str]] | None,
        failures: list[Failure],
    ) -> list[Found]:
        told = [i for i, text in enumerate(texts) if text.strip()]
        made = self.student.encode_queries([texts[i].strip() for i in told])
        finite = np.asarray(np.isfinite(made).all(axis=1))
        failures += [Failure(ids[told[n]], "the tower made no number of it") for n in np.flatnonzero(~finite)]
        told, made = [told[n] for n in np.flatnonzero(finite)], made[finite]
        if pool is None:
            deep = max(k, self.rescore)
            near = nearest(made, self.store, deep, among=self._among)
            lists = [self._documents(one.rows, one.scores, deep) for one in near]
        else:
            lists = [self._ranked(vector, ids[i], pool[ids[i]]) for i, vector in zip(told, made, strict=True)]
        found = [NOTHING] * len(ids)
        for i, one in zip(told, lists, strict=True):
            found[i] = self._rescored(texts[i], one, k) if self.rescore else Found(one.doc_ids[:k], one.scores[:k])
        return found

    def _documents(self, rows: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], most: int) -> Found:
        """The best documents among those that stand for these rows."""
        first, last = np.searchsorted(self._rows, rows), np.searchsorted(self._rows, rows, side="right")
        at = np.concatenate([self._at[a:b] for a, b in zip(first, last, strict=True)]) if len(rows) else self._at[:0]
        return best(self.store.ids(at), np.repeat(scores, last - first), most)

    def _ranked(self, vector: Floats, query_id: str, doc_ids: list[str]) -> Found:
        """A query's candidates, all of them."""
        rows = self.store.rows(doc_ids)
        if len(missing := np.flatnonzero(rows < 0)):
            raise InputError(
                f"candidate {doc_ids[missing[0]]!r} of query {query_id!r} has no vector in {self.store.folder}: encode the "
                "whole catalogue (a document without text has none: leave it out of the candidates)"
            )
        return best(doc_ids, products(vector, self.store, rows), len(doc_ids))

    def _rescored(self, query: str, near: Found, k: int) -> Found:
        """The nearest by their expected gain; one of which the head gives no number is no result."""
        said = self.student.score_docs(query, near.doc_ids, self.store)
        known = [int(i) for i in np.flatnonzero(np.isfinite(said.gains))]
        return best([near.doc_ids[i] for i in known], said.gains[known], k)


def fitting(student: str | Path, vectors: str | Path) -> TwoTower:
    """The student in a folder, with the engine whose vectors a folder holds: ONNX where it was exported, else torch.

    Raises: InputError where the folder holds vectors of another student.
    """
    where, engines = locate(student), _engines(student)
    for engine in engines:
        judge = TwoTower(where, engine=engine)
        try:
            judge.store(vectors)
        except InputError:
            if engine == engines[-1]:
                raise
        else:
            return judge
    raise AssertionError("there is always an engine")


def made_by(student: TwoTower | str | Path, tower: str, where: str) -> TwoTower:
    """The student, encoding queries as those vectors were made that lie elsewhere. tower: their digest, "" if nobody said.

    Raises: InputError where it is another tower's.
    """
    kinds = [None] if isinstance(student, TwoTower) else _engines(student)
    for engine in kinds:
        judge = student if isinstance(student, TwoTower) else TwoTower(locate(student), engine=str(engine))
        if tower in ("", judge.tower):
            return judge
    raise InputError(f"{where} holds vectors of another student or engine (tower {tower}): export this student's vectors to it")


def _engines(student: str | Path) -> list[str]:
    """What can encode with a student's folder, the quickest start first."""
    where = Path(locate(student))
    return [engine for engine, file in FILES.items() if any(where.glob(f"*/{file}"))] or ["torch"]
