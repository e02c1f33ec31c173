"""A judge that reads nothing: grades by hash, for tests, benchmarks and dry runs. Never evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from germane.types import Judgment, Pair, Scale


class Fake:
    """A grade for each pair from a hash of its words: the same pair, the same grade, and no sense in it.

    Every judgment says so: the judge is "fake" and the fingerprint begins with "fake:".

    >>> from germane.scales import get
    >>> from germane.types import Doc, Query
    >>> pair = Pair(Query("q1", "blue chair"), Doc("d1", {"title": "Chair"}))
    >>> [j.relevance for j in Fake(get("esci"))([pair, pair])]
    [0, 0]
    """

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
