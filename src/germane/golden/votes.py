"""Votes as columns: from rows, a table or a file to the votes that stand, in numbers that a million rows fit in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import sources
from germane.sources.loading import load
from germane.store import Column
from germane.store.tables import explained_parquet
from germane.types import InputError, Scale, Vote, VoteKind

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
KINDS = tuple(str(kind) for kind in VoteKind)
VOTE, CONTROL, ADJUDICATION = range(3)
_OWN = {"rater", "relevance", "guide_version"}
TASK = b"germane.task"
"""The key of a parquet file's metadata under which votes say how they were asked for."""
QUEUED = Column("queued", "bool", "a third person decides, even if people agree", nullable=True)


@dataclass(frozen=True)
class Votes:
    """Votes, flat, (n,) each. grade: -1 = could not judge. at: NaT where not known. seconds: NaN where not known.

    pair, query, rater, guide, stratum: numbers into the names. pairs: (query_id, doc_id) of each pair number. kind: of KINDS.
    """

    pair: Ints
    query: Ints
    rater: Ints
    guide: Ints
    stratum: Ints
    kind: Ints
    grade: Ints
    at: NDArray[np.datetime64]
    seconds: NDArray[np.float64]
    withdrawn: NDArray[np.bool_]
    queued: NDArray[np.bool_]
    pairs: tuple[NDArray[np.object_], NDArray[np.object_]]
    queries: tuple[str, ...]
    raters: tuple[str, ...]
    guides: tuple[str, ...]
    strata: tuple[str, ...]
    texts: Mapping[str, NDArray[np.object_]]

    def __len__(self) -> int:
        return len(self.pair)

    def take(self, rows: NDArray[Any]) -> Votes:
        """Some of the rows, with the same names."""
        flat = {f.name: getattr(self, f.name)[rows] for f in fields(self)[:11]}
        return replace(self, **flat, texts={name: values[rows] for name, values in self.texts.items()})

    def standing(self) -> Votes:
        """The votes that count, as `rules.standing` has them: the latest of each rater, pair, guide version and role."""
        role = (self.kind == ADJUDICATION).astype(np.int64)
        key = ((self.pair * len(self.raters) + self.rater) * max(len(self.guides), 1) + self.guide) * 2 + role
        order = np.lexsort((np.arange(len(self)), self.at, key))
        last = np.append(np.diff(key[order]) != 0, True)
        kept = np.sort(order[last])
        return self.take(kept[~self.withdrawn[kept]])

    def again(self, apart: float = 3600.0) -> tuple[NDArray[Any], NDArray[Any]]:
        """(rows, rows): a rater's vote, and that rater's next one on the same pair under the same guide.

        Neither withdrawn, at least `apart` seconds later: sooner, it is a slip that was mended and not a second judgment.
        """
        votes = np.flatnonzero((self.kind != ADJUDICATION) & ~np.isnat(self.at))
        key = (self.pair * len(self.raters) + self.rater) * max(len(self.guides), 1) + self.guide
        order = votes[np.lexsort((votes, self.at[votes], key[votes]))]
        one, two = order[:-1], order[1:]
        gap = (self.at[two] - self.at[one]) / np.timedelta64(1, "s")
        same = (key[one] == key[two]) & ~self.withdrawn[one] & ~self.withdrawn[two] & (gap >= apart)
        return one[same], two[same]

    def rows(self) -> list[Vote]:
        """The same as rows; a time that is not known is the first of all times."""
        never = datetime(1, 1, 1, tzinfo=UTC)
        moments = [
            never if moment is None else moment.replace(tzinfo=UTC) for moment in self.at.astype("datetime64[us]").tolist()
        ]
        columns = (self.pair, self.rater, self.grade, self.guide, self.kind, self.seconds, self.stratum)
        reason, note = self.texts["reason"].tolist(), self.texts["note"].tolist()
        found = []
        for i, (pair, rater, grade, guide, kind, seconds, stratum) in enumerate(zip(*columns, strict=True)):
            found.append(
                Vote(
                    str(self.pairs[0][pair]),
                    str(self.pairs[1][pair]),
                    self.raters[rater],
                    None if grade < 0 else int(grade),
                    self.guides[guide],
                    moments[i],
                    VoteKind(KINDS[kind]),
                    reason[i],
                    note[i],
                    None if np.isnan(seconds) else float(seconds),
                    self.strata[stratum],
                    bool(self.withdrawn[i]),
                    bool(self.queued[i]),
                )
            )
        return found


def read(source: Any, scale: Scale, raters: Sequence[str] = ()) -> Votes:
    """Votes from rows of `Vote`, an Arrow table with its columns, or a file or several: a votes table, or judgments by people.

    Judgments (of judge human:NAME) are votes whose time is not known. raters: columns of the file with a rater's labels each.
    Raises: InputError for a machine's judgments, a grade outside the scale, and times or kinds that are none.
    """
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | Path):
        import pyarrow as pa

        tables = [_read(each, scale, raters)[0] for each in source]
        name = ", ".join(map(str, source))
        try:
            return _coded(pa.concat_tables(tables, promote_options="permissive"), scale, name)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as problem:
            raise InputError(f"{name} are not of one form ({problem}): give them as `germane votes` wrote them") from problem
    return _coded(*_read(source, scale, raters))


def _read(source: Any, scale: Scale, raters: Sequence[str]) -> tuple[pa.Table, Scale, str]:
    name = str(source) if isinstance(source, str | Path) else "votes"
    if raters:
        table = _of_judgments(sources.read_raters(source, raters, scale=scale), name)
    elif isinstance(source, str | Path):
        raw = load(source, "judgments", "candidates")
        own = {column.lower() for column in raw.table.column_names} >= _OWN
        table = raw.table if own else _of_judgments(sources.read_judgments(source, scale=scale, more=(QUEUED,)), name)
    elif hasattr(source, "column_names"):
        own = set(source.column_names) >= _OWN
        table = source if own else _of_judgments(sources.read_judgments(source, scale=scale, more=(QUEUED,)), name)
    else:
        table = _of_rows(source)
    return table, scale, name


def known_controls(source: Path) -> dict[tuple[str, str], int] | None:
    """The known grades of hidden controls, where a parquet file of votes has them (column `known`); None where it has not."""
    import pyarrow.parquet as pq

    if source.suffix != ".parquet" or not source.is_file():
        return None
    with explained_parquet(source):
        if "known" not in pq.read_schema(source).names:
            return None
        table = pq.read_table(source, columns=["query_id", "doc_id", "known"])
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    return {(str(q), str(d)): int(grade) for q, d, grade in rows if grade is not None} or None


def asked_of(source: Path) -> dict[str, Any]:
    """How the task of a file of votes was asked (raters, adjudicate, columns of its pairs); {} where the file does not say.

    A parquet file says it itself, so that one that was moved without its manifest still does.
    """
    from germane.store import read_manifest

    manifest = read_manifest(source)
    if manifest is not None and "task" in manifest.extra:
        return dict(manifest.extra["task"])
    if source.suffix != ".parquet":
        return {}
    import pyarrow.parquet as pq

    with explained_parquet(source):
        schema = pq.read_schema(source)
    found = (schema.metadata or {}).get(TASK)
    said = {} if found is None else json.loads(found)
    if "inclusion_probability" in schema.names:
        said["columns"] = sorted({*said.get("columns", ()), "inclusion_probability"})
    return dict(said)


def _of_rows(rows: Sequence[Vote]) -> pa.Table:
    import pyarrow as pa

    names = Vote._fields
    columns: dict[str, Any] = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    columns["kind"] = [str(kind) for kind in columns["kind"]]
    kinds: dict[str, Any] = {"relevance": pa.int16(), "seconds": pa.float64(), "withdrawn": pa.bool_(), "queued": pa.bool_()}
    moments = [at if at.tzinfo else at.replace(tzinfo=UTC) for at in columns["at"]]
    columns["at"] = pa.array(moments, pa.timestamp("us", tz="UTC"))
    return pa.table({n: c if n == "at" else pa.array(c, kinds.get(n, pa.string())) for n, c in columns.items()})


def _of_judgments(table: pa.Table, name: str) -> pa.Table:
    """Judgments by people as a votes table."""
    import pyarrow as pa

    judges = [str(judge) for judge in table["judge"].to_pylist()]
    for judge, fingerprint in zip(judges, table["fingerprint"].to_pylist(), strict=True):
        if fingerprint or not judge.startswith("human:"):
            raise InputError(f"{name}: judgments of {judge!r}, a machine: votes are people's, of judges named human:NAME")
    names = ("query_id", "doc_id", "relevance", "guide_version", "note", "queued")
    kept = table.select([name for name in names if name in table.column_names])
    return kept.append_column("rater", pa.array([judge.removeprefix("human:") for judge in judges], pa.string()))


def _coded(table: pa.Table, scale: Scale, name: str) -> Votes:
    import pyarrow as pa

    if not table.num_rows:
        raise InputError(f"{name} holds no votes; expected at least one")
    for column in ("query_id", "doc_id", "rater", "relevance"):
        if column not in table.column_names:
            raise InputError(f"{name}: column {column!r} is missing: found {', '.join(table.column_names)}")
    n = table.num_rows

    def text(column: str, default: str = "") -> Any:
        if column not in table.column_names:
            return pa.repeat(default, n)
        filled: Any = table[column].cast(pa.string())
        return filled.fill_null(default)

    query, queries = _codes(text("query_id"))
    doc, docs = _codes(text("doc_id"))
    both, pair = np.unique(query * len(docs) + doc, return_inverse=True)
    rater, raters = _codes(text("rater"))
    if "" in raters:
        raise InputError(f"{name}: a vote has no rater: expected the name of who gave it")
    guide, guides = _codes(text("guide_version"))
    stratum, strata = _codes(text("stratum"))
    kind, kinds = _codes(text("kind", "vote"))
    if wrong := [found for found in kinds if found not in KINDS and found != ""]:
        raise InputError(f"{name}: a vote of kind {wrong[0]!r}: expected one of {', '.join(KINDS)}")
    place = np.array([KINDS.index(found) if found else 0 for found in kinds], dtype=np.int64)
    names_q, names_d = np.array(queries, dtype=object), np.array(docs, dtype=object)
    texts = {column: np.asarray(text(column).to_pylist(), dtype=object) for column in ("reason", "note")}
    return Votes(
        pair.astype(np.int64),
        query,
        rater,
        guide,
        stratum,
        place[kind],
        _grades(table["relevance"], scale, name),
        _moments(table["at"] if "at" in table.column_names else None, n, name),
        _numbers(table["seconds"] if "seconds" in table.column_names else None, n, name),
        _truths(table["withdrawn"] if "withdrawn" in table.column_names else None, n),
        _truths(table["queued"] if "queued" in table.column_names else None, n),
        (names_q[both // len(docs)], names_d[both % len(docs)]),
        tuple(queries),
        tuple(raters),
        tuple(guides),
        tuple(strata),
        texts,
    )


def _codes(values: Any) -> tuple[Ints, list[str]]:
    encoded = values.combine_chunks() if hasattr(values, "combine_chunks") else values
    encoded = encoded.dictionary_encode()
    if hasattr(encoded, "chunks"):
        encoded = encoded.unify_dictionaries().combine_chunks()
    return encoded.indices.to_numpy().astype(np.int64), [str(name) for name in encoded.dictionary.to_pylist()]


def _grades(values: Any, scale: Scale, name: str) -> Ints:
    number = _numbers(values, len(values), name, "relevance")
    top = len(scale.labels) - 1
    bad = ~np.isnan(number) & ~((number >= 0) & (number <= top) & (number == np.floor(number)))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{name}, row {row + 1:,}: a vote of {number[row]:g}: scale {scale.name!r} has 0 to {top}")
    return np.where(np.isnan(number), -1, number).astype(np.int64)


def _numbers(values: Any, n: int, name: str, column: str = "seconds") -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if values is None:
        return np.full(n, np.nan)
    try:
        if pa.types.is_string(values.type):
            values = pc.if_else(pc.equal(values, pa.scalar("", values.type)), None, values)
        found = values.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise InputError(f"{name}: column {column!r}: {error}: expected numbers, or nothing") from error
    return np.asarray(found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy(), np.float64)


def _truths(values: Any, n: int) -> NDArray[np.bool_]:
    import pyarrow as pa

    if values is None:
        return np.zeros(n, dtype=bool)
    if pa.types.is_boolean(values.type):
        return np.asarray(values.fill_null(False).to_numpy(), dtype=bool)
    return np.array([str(value).strip().lower() in ("true", "1", "yes") for value in values.to_pylist()], dtype=bool)


def _moments(values: Any, n: int, name: str) -> NDArray[np.datetime64]:
    import pyarrow as pa

    if values is None:
        return np.full(n, np.datetime64("NaT"), dtype="datetime64[us]")
    if pa.types.is_timestamp(values.type):
        plain = values.cast(pa.timestamp("us", tz=values.type.tz)).cast(pa.int64())
        found = plain.fill_null(np.iinfo(np.int64).min).to_numpy()
        return np.asarray(found, dtype=np.int64).view("datetime64[us]")
    out = np.full(n, np.datetime64("NaT"), dtype="datetime64[us]")
    for row, value in enumerate(values.to_pylist()):
        if value in (None, ""):
            continue
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise InputError(
                f"{name}, row {row + 1:,}: at {str(value)[:40]!r} is no time: expected ISO 8601, as 2026-05-04T10:00:00Z"
            ) from None
        out[row] = np.datetime64((moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None), "us")
    return out
