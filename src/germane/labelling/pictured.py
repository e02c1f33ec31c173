"""Pairs whose documents have images: equal texts with different images are different pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from germane.labelling.reading import READ, PairsFile, Piece
from germane.types import Doc, Judge, Judgment, Pair


def _mark(names: Mapping[str, str], doc_id: str) -> str:
    return f"{names.get(doc_id, '')}\n"


@dataclass(frozen=True)
class WithImages(PairsFile):
    """Pairs whose texts begin with a line that names the document's image, so that only those with the same one are equal."""

    names: Mapping[str, str] = field(default_factory=dict)

    def read(self, columns: Sequence[str] = READ) -> Iterator[Piece]:
        import pyarrow as pa

        for piece in super().read(columns):
            if "text" not in columns:
                yield piece
                continue
            rows = zip(piece.table["doc_id"].to_pylist(), piece.table["text"].to_pylist(), strict=True)
            texts: Any = pa.array([f"{_mark(self.names, str(doc_id))}{text or ''}" for doc_id, text in rows], pa.string())
            yield piece._replace(table=piece.table.set_column(piece.table.column_names.index("text"), "text", texts))


class Unmarked:
    """A judge that is asked without the line that `WithImages` put there."""

    def __init__(self, judge: Judge, names: Mapping[str, str]) -> None:
        self.name, self.fingerprint, self.judge = judge.name, judge.fingerprint, judge
        self.scale, self.device = getattr(judge, "scale", None), getattr(judge, "device", None)
        self._names = names

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        return iter(self.judge(self._plain(pair) for pair in pairs))

    def _plain(self, pair: Pair) -> Pair:
        doc_id = pair.doc.doc_id
        return pair._replace(doc=Doc(doc_id, {"text": pair.doc.fields["text"].removeprefix(_mark(self._names, doc_id))}))
