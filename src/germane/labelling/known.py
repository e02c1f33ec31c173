"""Labels from before: what the judgment store holds of a job's pairs is not asked again, and what is new goes there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.labelling.blocks import Blocks
from germane.store import SCHEMAS, JudgmentStore, document_key, query_key
from germane.store.checks import compute
from germane.types import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

LOOKED_UP = 1 << 20
"""Pairs that are looked up at once, by one reading of the store."""

KEYS = ("query_key", "document_key")


class Known(NamedTuple):
    """The judgment store as one judge on one scale and guide sees it.

    Only for a judge whose fingerprint says all that decides its labels: none that was made up, none with random weights,
    none behind a server that may hold another model, none that was shown images.
    """

    store: JudgmentStore
    fingerprint: str
    scale: str
    guide_version: str

    def answers(self, pieces: Iterator[tuple[NDArray[np.int64], pa.Table]]) -> Iterator[pa.Table]:
        """Tables of number and the columns of a judgment without its ids, for the pairs that are known, by number.

        pieces: numbers, ascending, and the pairs that have them.
        """
        import pyarrow as pa

        held: list[pa.Table] = []
        for numbers, pairs in pieces:
            held.append(keyed(pairs).append_column("number", pa.array(numbers)))
            if sum(table.num_rows for table in held) >= LOOKED_UP:
                yield self._found(pa.concat_tables(held))
                held = []
        if held:
            yield self._found(pa.concat_tables(held))

    def _found(self, keys: pa.Table) -> pa.Table:
        import pyarrow as pa

        asked = {"scale": self.scale, "guide_version": self.guide_version, "fingerprint": self.fingerprint}
        found = self.store.found(keys, **asked)
        schema = pa.schema([field for field in SCHEMAS["judgments"].arrow() if field.name not in ("query_id", "doc_id")])
        said = found.select(schema.names).cast(schema)
        return said.append_column("number", keys["number"].take(found["row"])).combine_chunks()

    def keep(self, blocks: Blocks, count: int, job: str) -> int:
        """Puts the labels of finished blocks into the store, once however often it is called; how many are new there."""
        return self.store.add(self._labels(blocks, count), job=job)

    def _labels(self, blocks: Blocks, count: int) -> Iterator[pa.Table]:
        import pyarrow as pa

        pc = compute()
        for number in range(count):
            table, _ = blocks.read(1, number)
            yield table.filter(pc.equal(table["outcome"].cast(pa.string()), str(Outcome.LABEL)))


def from_before(count: int) -> list[str]:
    """What is to be known of so many labels that the store had."""
    if not count:
        return []
    return [f"labels of {count:,} pairs are from the store: this judge's, whichever engine and machine computed them then"]


def keyed(pairs: pa.Table) -> pa.Table:
    """query_key and document_key of pairs, by which the store finds them."""
    import pyarrow as pa

    asked: Any = pairs["query"].dictionary_encode().combine_chunks()
    queries: Any = pa.array([query_key(text) for text in asked.dictionary.to_pylist()], pa.string()).take(asked.indices)
    texts: Any = pairs["text"].to_pylist()
    return pa.table(dict(zip(KEYS, (queries, pa.array(map(document_key, texts), pa.string())), strict=True)))
