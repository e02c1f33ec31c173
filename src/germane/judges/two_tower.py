"""A judge of two towers: a vector of the query, a vector of the document, and a small head that grades them.

Vectors of documents do not depend on the query: made once and stored, they leave one short text to encode and one small
head to compute for a search. What vectors cannot see, exact words, numbers and negation, the head reads as lexical features.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane import extras
from germane.inference import vector_store
from germane.inference.encoding import Tower, Vectors, distinct, encode
from germane.inference.operations import Read
from germane.inference.sessions import Session, session
from germane.inference.tokens import Tokens
from germane.inference.towers import shape_of
from germane.inference.vector_store import VectorStore
from germane.inference.vectors import Int8
from germane.judges import folder as folders
from germane.judges import lexical, lexical_many
from germane.judges.documents import Documents
from germane.judges.head import Floats, Head, Stored, floats
from germane.judges.lexical_store import LexicalStore
from germane.judges.saying import DocScores, answers, judgments, probabilities
from germane.types import InputError, Judgment, Pair

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "two-tower"
HEAD, WEIGHTS = "head.npz", "idf.json"
ENGINES = ("torch", "onnx", "onnx-int8")
FILES = {"onnx": "tower.onnx", "onnx-int8": "tower-int8.onnx"}
_BATCH = {"torch": 64, "onnx": 64, "onnx-int8": 1}
_BUDGET = {"onnx": 512}  # tokens at once, which fit a processor's cache
_KEPT = 50_000  # documents' texts that are kept as read, some 3 KB each

CHUNK = 1024
"""Texts that are encoded and put into a folder of vectors together: what a kill loses at most."""


class TwoTower:
    """The student in a folder. engine: "torch"; "onnx" or "onnx-int8" on the CPU, which load neither torch nor transformers.

    device: as torch names it, for engine "torch" alone. batch: texts encoded at once; of int8 one by default, since its
    activations are scaled by what stands in the batch, and a grade must not depend on a pair's neighbours. threads: of ONNX,
    as many as there are cores by default, each with texts of its own. vectors: a folder that documents' vectors are taken
    from; one that is not there is encoded and added. int8 weights, and vectors stored as fp16 or int8, change labels: then
    the judge has a fingerprint of its own.

    Raises: InputError for a folder without such a judge, one trained without ONNX or on other features, a missing package;
    for vectors of another student.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str | None = None,
        batch: int | None = None,
        engine: str = "torch",
        threads: int | None = None,
        vectors: str | Path | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise InputError(f"engine {engine!r}: expected {', '.join(ENGINES)}")
        if engine == "onnx-int8" and (batch or 1) > 1:
            raise InputError("engine onnx-int8 encodes one text at a time: its grades would depend on a pair's neighbours")
        self.about = folders.read(folder, kind=KIND)
        if engine == "onnx-int8":  # it changes labels, so it is another judge: it needs a card of its own
            self.about = replace(self.about, settings={**self.about.settings, "engine": engine})
        self.engine, self._batch, self._budget = engine, batch or _BATCH[engine], None if batch else _BUDGET.get(engine)
        self._workers = 1 if engine == "torch" else threads or cores()
        self.lexical = tuple(self.about.settings["lexical"])
        if self.lexical not in ((), lexical.NAMES):
            raise InputError(f"{folder} was trained on lexical features of another version of germane: train it again")
        where = Path(folder)
        parts = [where / name for name in towers_of(self.about.settings)]
        self.dimension = shape_of(parts[0]).dimension
        opened = [_opened(part, engine, device) for part in parts]
        self._query, self._text = opened[0], opened[-1]
        lengths, prefixes = (self.about.settings["max_query"], self.about.max_length), self.about.settings["prefixes"]
        self._query_tokens, self._text_tokens = (
            tokens_of(part, most, prefix) for part, most, prefix in zip((parts[0], parts[-1]), lengths, prefixes, strict=True)
        )
        self._configs = [json.loads((part / "config.json").read_text(encoding="utf-8")) for part in (parts[0], parts[-1])]
        self._head, self._weights = _head(where), _weights(where)
        self._tower = _digest(self.about, towers_of(self.about.settings)[-1], engine)
        self._read = lru_cache(_KEPT)(lexical.read)
        self.vectors = None if vectors is None else self.store(vectors)
        self.block = CHUNK if vectors is None else 16 * CHUNK  # pairs that are best given at once: seconds of its work
        if self.vectors is not None and self.vectors.about.store != "fp32":
            self.about = replace(self.about, settings={**self.about.settings, "vectors": self.vectors.about.store})
        self.name, self.fingerprint, self.scale = self.about.name, self.about.fingerprint, self.about.scale

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        return judgments(pairs, self.about, self.score)

    def label(self, pairs: pa.Table) -> pa.Table:
        """The same answers to the rows of a pairs table, as a judgments table in their order; no object is made of a pair."""
        return answers(pairs, self.about, self.score)

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Floats:
        """The logits of each grade before temperature, shape (n, grades). Each query and each text is encoded once.

        With a folder of vectors, documents' vectors are those that are stored there, rounded as they are, new ones too: so a
        job that was killed and goes on gives the labels that it would have given.
        """
        asked, of_query = distinct(queries)
        given, of_text = distinct(texts)
        q = self.encode_queries(asked)
        d = self.encode_texts(given) if self.vectors is None else self.stored(self.vectors, given)
        ready: list[str | lexical.Text] = [self._read(text) for text in given] if self.lexical else []
        features = self.features(queries, [ready[i] for i in of_text] if self.lexical else texts)
        return self._head.pairs(q, of_query, d, of_text, features)

    def encode_queries(self, queries: Sequence[str]) -> Vectors:
        """The vectors of queries, (n, dimension), each of length 1."""
        return self._encoded(queries, self._query_tokens, self._query)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """The vectors of documents' texts, (n, dimension), each of length 1: to be stored, as they are or as int8."""
        return self._encoded(texts, self._text_tokens, self._text)

    def reads(self, queries: Sequence[str], texts: Sequence[str]) -> list[Read]:
        """What its towers read of these pairs: each different query, and each different text that has no stored vector."""
        given = distinct(texts)[0]
        if self.vectors is not None:
            given = [text for text, row in zip(given, self.vectors.find(given).tolist(), strict=True) if row < 0]
        sides = (distinct(queries)[0], self._query_tokens), (given, self._text_tokens)
        lengths = [np.array([len(row) for row in tokens(side)] if side else [], dtype=np.int64) for side, tokens in sides]
        numbers = "int8" if self.engine == "onnx-int8" else "float32"
        return [Read(config, of, numbers) for config, of in zip(self._configs, lengths, strict=True)]

    def _encoded(self, texts: Sequence[str], tokens: Tokens, tower: Tower) -> Vectors:
        return encode(
            texts,
            tokens,
            tower,
            dimension=self.dimension,
            batch=self._batch,
            budget=self._budget,
            workers=self._workers,
        )

    # --- documents whose vectors are stored -----------------------------------------------------------------------------

    def store(self, folder: str | Path, *, store: str | None = None, plan: str | None = None) -> VectorStore:
        """The folder of this judge's document vectors, made if it is not there. Texts are kept too if the head reads them.

        store: "int8", "fp16" or "fp32"; by default as the folder stores them, fp16 in a new one. plan: of the texts, if known.

        Raises: InputError for a folder of another student or engine, or of another way to store.
        """
        if store is None:
            there = (Path(folder) / vector_store.ABOUT).is_file()
            store = vector_store.about(folder).store if there else "fp16"
        return VectorStore.create(folder, replace(self._mine, store=store, plan=plan))

    def stored(self, vectors: VectorStore, texts: Sequence[str]) -> Stored:
        """The vectors of texts (n,) as a folder stores them. What it lacks is encoded and added, CHUNK texts at a time.

        A text of which the tower makes no number is not stored, and its vector is not a number.
        """
        rows = vectors.find(texts)
        missing = list(dict.fromkeys(text for text, row in zip(texts, rows, strict=True) if row < 0))
        for start in range(0, len(missing), CHUNK):
            self.add(vectors, missing[start : start + CHUNK])
        return taken(vectors, vectors.find(texts) if missing else rows)

    def add(self, vectors: VectorStore, texts: Sequence[str], ids: Mapping[str, str] | None = None) -> list[str]:
        """Encodes these texts and puts them into a folder at once; the texts of which the tower makes no number, left out.

        ids: documents that have one of these texts, or one that is there.
        """
        made = self.encode_texts(texts)
        sound = np.flatnonzero(np.isfinite(made).all(axis=1))
        kept = [texts[int(i)] for i in sound]
        without = set(texts).difference(kept)
        vectors.add(kept, made[sound], {name: text for name, text in (ids or {}).items() if text not in without})
        self.read(vectors)
        return sorted(without)

    def score_docs(
        self,
        query: str,
        doc_ids: Sequence[str],
        documents: VectorStore | Documents,
        *,
        vector: Callable[[], Vectors] | None = None,
    ) -> DocScores:
        """What this judge says of a query and documents whose vectors are stored, in their order. Nothing is stored.

        A document that the folder does not know has no probabilities, and is said not to be `known`. vector: gives the
        query's vector (d,), where somebody else encodes it meanwhile; by default it is encoded beside, while this thread reads
        the documents.

        Raises: InputError for vectors of another student.
        """
        docs = self.documents(documents) if isinstance(documents, VectorStore) else documents
        vectors = docs.vectors
        vectors.expect(replace(self._mine, store=vectors.about.store))
        asked = query.strip()
        if asked and vector is None:
            vector = self.begin_query(asked)
        rows = vectors.rows(doc_ids)
        known = rows >= 0
        probs = np.full((len(rows), len(self.scale.labels)), np.nan)
        if asked and vector is not None and known.any():
            there = rows if known.all() else rows[known]
            stored, features = taken(vectors, there), self._features_of(asked, there, docs)
            probs[known] = probabilities(self._head.one(vector(), stored, features), self.about.temperature)
        return DocScores(tuple(doc_ids), known, probs, probs @ np.asarray(self.scale.gains))

    def begin_query(self, query: str) -> Callable[[], Vectors]:
        """What waits for a query's vector (d,), which is being encoded beside."""
        if isinstance(self._query, Session) and cores() > 1:
            waits = self._query.begin(*self._query_tokens.padded(self._query_tokens([query])))
            return lambda: waits()[0]
        return self._aside.submit(lambda: self.encode_queries([query])[0]).result

    def documents(self, vectors: VectorStore | str | Path) -> Documents:
        """A folder of vectors as a search reads it: with what the head reads of texts, where `germane encode` has read them.

        Raises: InputError for a folder without vectors, or of another student.
        """
        vectors = vectors if isinstance(vectors, VectorStore) else VectorStore(vectors)
        vectors.expect(replace(self._mine, store=vectors.about.store))
        docs = Documents(vectors, self._opened.get(vectors))
        if not self.lexical or (docs.words is not None and not docs.lacks()):
            return docs
        words = LexicalStore.of(vectors) if docs.words is None else docs.words.later(vectors)
        if words is not None:
            self._opened[vectors] = words
            lexical_many.features("a", vectors.rows(["a"])[:0], words)  # what is compiled is so before the first search
        return Documents(vectors, words)

    def read(self, vectors: VectorStore) -> int:
        """Reads the texts of a folder that were not read yet, for searches to come, and says how many these were."""
        return LexicalStore.fill(vectors) if self.lexical else 0

    def _features_of(self, query: str, rows: NDArray[np.int64], docs: Documents) -> NDArray[np.float32]:
        """The features of one query and the documents of these rows, of their texts where these were not read before."""
        if not self.lexical:
            return np.zeros((len(rows), 0), dtype=np.float32)
        words = docs.words
        ready = rows < (0 if words is None else len(words))
        if words is not None and ready.all():
            return lexical_many.features(query, rows, words, weights=self._weights, heaviest=self._heaviest)
        texts = [self._read(text) for text in docs.vectors.texts(rows[~ready])]
        found = np.empty((len(rows), len(self.lexical)), dtype=np.float32)
        found[~ready] = self.features([query] * len(texts), texts)
        if words is not None and ready.any():
            found[ready] = self._features_of(query, rows[ready], docs)
        return found

    @cached_property
    def _heaviest(self) -> float:
        return max(self._weights.values(), default=1.0) if self._weights else 1.0

    @cached_property
    def _aside(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max(cores() - 1, 1), "germane-query")

    @cached_property
    def _opened(self) -> WeakKeyDictionary[VectorStore, LexicalStore]:
        return WeakKeyDictionary()

    @property
    def tower(self) -> str:
        """16 hex digits of all that decides a document's vector: folders of vectors have them, so that no other student reads
        them."""
        return self._tower

    @property
    def _mine(self) -> vector_store.About:
        return vector_store.About(self._tower, self.dimension, texts=bool(self.lexical))

    def features(self, queries: Sequence[str], texts: Sequence[str | lexical.Text]) -> NDArray[np.float32]:
        """The lexical features that the head reads, (n, F), F = 0 for a judge without. texts may be `lexical.read` before."""
        if not self.lexical:
            return np.zeros((len(queries), 0), dtype=np.float32)
        return lexical.features(queries, texts, weights=self._weights)

    def score_query(self, query: Vectors, texts: Stored, features: NDArray[np.float32]) -> Floats:
        """Logits (n, grades) of one query's vector (d,) and n documents: as `score_vectors`, for a search."""
        return self._head.one(query, texts, features)

    def score_vectors(self, queries: ArrayLike, texts: ArrayLike | Stored, features: NDArray[np.float32]) -> Floats:
        """Logits (n, grades) of vectors that were made before. queries: (n, d), or (d,) for one query of n documents.

        Raises: InputError for vectors of another dimension.
        """
        d = floats(texts if isinstance(texts, Int8) else np.asarray(texts))
        q = np.broadcast_to(np.asarray(queries, dtype=np.float32), d.shape) if np.ndim(queries) == 1 else queries
        q = np.asarray(q, dtype=np.float32)
        if q.shape != d.shape or d.shape[1] != self.dimension or features.shape != (len(d), len(self.lexical)):
            raise InputError(
                f"vectors {q.shape} and {d.shape} with features {features.shape}: {self.name} takes (n, {self.dimension}) of "
                f"both, and (n, {len(self.lexical)})"
            )
        return self._head(q, d, features)


def towers_of(settings: Mapping[str, object]) -> tuple[str, ...]:
    """The folders of the towers inside the judge's, the query's first."""
    return ("query", "document") if settings["separate"] else ("tower",)


def tokens_of(part: Path, most: int, prefix: str) -> Tokens:
    """What cuts texts for a saved tower."""
    saved = (part / "tokenizer.json").read_text(encoding="utf-8")
    return Tokens(saved, max_length=most, pad=shape_of(part).pad, prefix=prefix)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def taken(vectors: VectorStore, rows: NDArray[np.int64]) -> Stored:
    """The vectors of these rows as they are stored, of row -1 no numbers."""
    if not (rows < 0).any():
        return vectors.take(rows)
    if not len(vectors):
        return np.full((len(rows), vectors.about.dimension), np.nan, dtype=np.float32)
    found = vectors.take(np.maximum(rows, 0))
    (found.scales if isinstance(found, Int8) else found)[rows < 0] = np.nan
    return found


def _digest(about: folders.About, part: str, engine: str) -> str:
    """16 hex digits of all that decides a document's vector. Torch and ONNX in fp32 make the same ones, to 1e-4."""
    int8 = engine == "onnx-int8"
    files = [(name, said) for name, said in sorted(about.files.items()) if name.startswith(f"{part}/")]
    files = [(name, said) for name, said in files if not name.endswith(".onnx") or (int8 and name.endswith(FILES[engine]))]
    decides = [files, about.max_length, about.settings["prefixes"][-1], int8]
    return hashlib.sha256(json.dumps(decides, ensure_ascii=False).encode()).hexdigest()[:16]


def _opened(part: Path, engine: str, device: str | None) -> Tower:
    if engine != "torch":
        return session(part / FILES[engine])
    from germane.inference import towers

    tower = towers.load(part)
    return towers.runs(tower.to(extras.device(device)))


def _head(where: Path) -> Head:
    with np.load(where / HEAD, allow_pickle=False) as saved:
        return Head(**{name: saved[name] for name in Head._fields})


def _weights(where: Path) -> dict[str, float] | None:
    path = where / WEIGHTS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
