"""A judge of two towers: a vector of the query, a vector of the document, and a small head that grades them.

Vectors of documents do not depend on the query: made once and stored, they leave one short text to encode and one small
head to compute for a search. What vectors cannot see, exact words, numbers and negation, the head reads as lexical features.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane import extras
from germane.inference.encoding import Tower, Vectors, distinct, encode
from germane.inference.sessions import session
from germane.inference.tokens import Tokens
from germane.inference.towers import shape_of
from germane.inference.vectors import Int8
from germane.judges import folder as folders
from germane.judges import lexical
from germane.judges.saying import judgments
from germane.types import InputError, Judgment, Pair

Floats = NDArray[np.float64]

KIND = "two-tower"
HEAD, WEIGHTS = "head.npz", "idf.json"
ENGINES = ("torch", "onnx", "onnx-int8")
FILES = {"onnx": "tower.onnx", "onnx-int8": "tower-int8.onnx"}
_BATCH = {"torch": 64, "onnx": 16, "onnx-int8": 1}


class Head(NamedTuple):
    """The head's weights. s = cosine and standardised features; p, a = product and gap of the vectors, number by number.

    logits = relu([p product, a difference, s] hidden + hidden_bias) out + s direct + out_bias, vectors having length sqrt(d).
    """

    product: NDArray[np.float32]
    difference: NDArray[np.float32]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    out: NDArray[np.float32]
    out_bias: NDArray[np.float32]
    direct: NDArray[np.float32]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    def __call__(self, queries: Vectors, texts: Vectors, features: NDArray[np.float32]) -> Floats:
        """Logits (n, grades) of vectors (n, d) of length 1 and features (n, F)."""
        cosine = (queries * texts).sum(axis=1, keepdims=True)
        seen = np.concatenate([cosine, (features - self.mean) / self.spread], axis=1)
        length = np.float32(np.sqrt(queries.shape[1]))
        q, d = queries * length, texts * length
        given = np.concatenate([(q * d) @ self.product, np.abs(q - d) @ self.difference, seen], axis=1)
        hidden = np.maximum(given @ self.hidden + self.hidden_bias, 0.0)
        return np.asarray(hidden @ self.out + seen @ self.direct + self.out_bias, dtype=np.float64)


class TwoTower:
    """The student in a folder. engine: "torch"; "onnx" or "onnx-int8" on the CPU, which load neither torch nor transformers.

    device: as torch names it, for engine "torch" alone. batch: texts encoded at once; of int8 one by default, since its
    activations are scaled by what stands in the batch, and a grade must not depend on a pair's neighbours. int8 changes labels:
    it has a fingerprint of its own.
    threads: of ONNX, as many as there are cores by default.

    Raises: InputError for a folder without such a judge, one trained without ONNX or on other features, a missing package.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str | None = None,
        batch: int | None = None,
        engine: str = "torch",
        threads: int | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise InputError(f"engine {engine!r}: expected {', '.join(ENGINES)}")
        if engine == "onnx-int8" and (batch or 1) > 1:
            raise InputError("engine onnx-int8 encodes one text at a time: its grades would depend on a pair's neighbours")
        self.about = folders.read(folder, kind=KIND)
        if engine == "onnx-int8":  # it changes labels, so it is another judge: it needs a card of its own
            self.about = replace(self.about, settings={**self.about.settings, "engine": engine})
        self.name, self.fingerprint, self.scale = self.about.name, self.about.fingerprint, self.about.scale
        self.engine, self._batch = engine, batch or _BATCH[engine]
        self.lexical = tuple(self.about.settings["lexical"])
        if self.lexical not in ((), lexical.NAMES):
            raise InputError(f"{folder} was trained on lexical features of another version of germane: train it again")
        where = Path(folder)
        parts = [where / name for name in towers_of(self.about.settings)]
        self.dimension = shape_of(parts[0]).dimension
        opened = [_opened(part, engine, device, threads) for part in parts]
        self._query, self._text = opened[0], opened[-1]
        lengths, prefixes = (self.about.settings["max_query"], self.about.max_length), self.about.settings["prefixes"]
        self._query_tokens, self._text_tokens = (
            tokens_of(part, most, prefix) for part, most, prefix in zip((parts[0], parts[-1]), lengths, prefixes, strict=True)
        )
        self._head, self._weights = _head(where), _weights(where)

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        return judgments(pairs, self.about, self.score)

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Floats:
        """The logits of each grade before temperature, shape (n, grades)."""
        asked, of_query = distinct(queries)
        given, of_text = distinct(texts)
        q, d = self.encode_queries(asked), self.encode_texts(given)
        return self.score_vectors(q[of_query], d[of_text], self.features(queries, texts))

    def encode_queries(self, queries: Sequence[str]) -> Vectors:
        """The vectors of queries, (n, dimension), each of length 1."""
        return encode(queries, self._query_tokens, self._query, dimension=self.dimension, batch=self._batch)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """The vectors of documents' texts, (n, dimension), each of length 1: to be stored, as they are or as int8."""
        return encode(texts, self._text_tokens, self._text, dimension=self.dimension, batch=self._batch)

    def features(self, queries: Sequence[str], texts: Sequence[str | lexical.Text]) -> NDArray[np.float32]:
        """The lexical features that the head reads, (n, F), F = 0 for a judge without. texts may be `lexical.read` before."""
        if not self.lexical:
            return np.zeros((len(queries), 0), dtype=np.float32)
        return lexical.features(queries, texts, weights=self._weights)

    def score_vectors(self, queries: ArrayLike, texts: ArrayLike | Int8, features: NDArray[np.float32]) -> Floats:
        """Logits (n, grades) of vectors that were made before. queries: (n, d), or (d,) for one query of n documents.

        Raises: InputError for vectors of another dimension.
        """
        d = texts.floats() if isinstance(texts, Int8) else np.asarray(texts, dtype=np.float32)
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


def _opened(part: Path, engine: str, device: str | None, threads: int | None) -> Tower:
    if engine != "torch":
        return session(part / FILES[engine], threads=threads)
    from germane.inference import towers

    tower = towers.load(part)
    return towers.runs(tower.to(extras.device(device)))


def _head(where: Path) -> Head:
    with np.load(where / HEAD, allow_pickle=False) as saved:
        return Head(**{name: saved[name] for name in Head._fields})


def _weights(where: Path) -> dict[str, float] | None:
    path = where / WEIGHTS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
