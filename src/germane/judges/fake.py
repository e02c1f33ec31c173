"""A judge that reads nothing: grades by hash, for tests, benchmarks and dry runs. Never evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from germane.types import Judgment, Outcome, Pair, Scale

if TYPE_CHECKING:
    import pyarrow as pa


class Fake:
    """A grade for each pair from a hash of its words: the same pair, the same grade, and no sense in it.

    Every judgment says so: the judge is "fake" and the fingerprint begins with "fake:".

    >>> from germane.scales import get
    >>> from germane.types import Doc, Query
    >>> pair = Pair(Query("q1", "blue chair"), Doc("d1", {"title": "Chair"}))
    >>> [j.relevance for j in Fake(get("esci"))([pair, pair])]
    [0, 0]
    """

    block = 16_384

    def __init__(self, scale: Scale, *, seed: int = 0) -> None:
        self.scale = scale
        self.name = "fake"
        self.fingerprint = f"fake:{seed}:{scale.version}"

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        scale, version = self.scale, self.scale.version
        for query, doc in pairs:
            said = "\x1f".join((self.fingerprint, query.text, *(f"{k}\x1e{v}" for k, v in doc.fields.items())))
            digest = hashlib.blake2b(said.encode(), digest_size=8).digest()
            grade = int.from_bytes(digest) % len(scale.labels)
            yield Judgment(
                query.query_id, doc.doc_id, grade, None, self.name, self.fingerprint, scale.name, version, note="fake"
            )

    def label(self, pairs: pa.Table) -> pa.Table:
        """The same grades of the rows of a pairs table; see `types.Bulk`."""
        import pyarrow as pa

        from germane.store import SCHEMAS

        start, hashed = f"{self.fingerprint}\x1f", hashlib.blake2b
        texts = zip(pairs["query"].to_pylist(), pairs["text"].to_pylist(), strict=True)
        digests = [
            hashed(f"{start}{query or ''}\x1ftext\x1e{text or ''}".encode(), digest_size=8).digest() for query, text in texts
        ]
        grades = np.frombuffer(b"".join(digests), dtype=">u8") % len(self.scale.labels)
        schema = SCHEMAS["judgments"].arrow()
        said: dict[str, Any] = {name: pairs[name] for name in ("query_id", "doc_id")} | {"relevance": grades.astype(np.int16)}
        same = {"judge": self.name, "fingerprint": self.fingerprint, "scale": self.scale.name, "note": "fake"}
        same |= {"guide_version": self.scale.version, "outcome": str(Outcome.LABEL)}
        said |= {name: pa.repeat(text, pairs.num_rows) for name, text in same.items()}
        said |= {field.name: pa.nulls(pairs.num_rows, field.type) for field in schema if field.name not in said}
        return pa.table(said).select(schema.names).cast(schema)
