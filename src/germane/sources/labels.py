"""Judgments from any format: labels as found become indices on a scale, and no label stays no label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from germane.sources.loading import load
from germane.sources.names import DOC_ID, LABEL, QUERY_ID
from germane.sources.raw import Raw, column_of
from germane.sources.reading import whose
from germane.store import Column, attributed, conform
from germane.store.checks import compute, conform_column, short
from germane.types import InputError, Outcome, Scale

if TYPE_CHECKING:
    import pyarrow as pa

_BEIR = {"query_id", "corpus_id", "score"}
_OF_SAMPLES = ("self_agreement", "entropy", "cost")


def read_judgments(obj: Any, *, scale: Scale | None = None, judge: str | None = None, more: Sequence[Column] = ()) -> pa.Table:
    """Judgments: the columns of types.Judgment, relevance an index on the scale; attribution in its schema metadata.

    obj: a path (.qrels .csv .tsv .jsonl .json .parquet, each also .gz, or "-"), an Arrow table, a data frame,
    {query_id: {doc_id: label}}, or rows such as Judgment or ir_measures' Qrel.
    scale: maps labels as found ("E", 100) to their index; None keeps whole numbers as they are. Judgments that name a
    scale already hold indices, and must name this one. judge: of a file that names none; "human:" + its stem by default.
    Bare qrels hold indices too: their whole numbers count grades from 0. more: further columns to keep, where there.
    An empty label is a judgment without an answer, never 0.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    return judgments_of(load(obj, "judgments", "judgments"), scale, judge, more)


def judgments_of(raw: Raw, scale: Scale | None, judge: str | None, more: Sequence[Column] = ()) -> pa.Table:
    """`read_judgments` of a table as found."""
    import pyarrow as pa

    pc, source = compute(), raw.table
    columns: dict[str, Any] = {
        "query_id": source[raw.find((*QUERY_ID, "query")) or raw.require("query_id", QUERY_ID)],
        "doc_id": source[raw.require("doc_id", DOC_ID)],
        "relevance": _relevance(raw, scale),
    }
    if raw.find(["probs"]):
        columns["probs"] = _probs(raw)
    others = _said(raw, "judge") - {judge}
    if judge and others:
        raise InputError(f"{raw.name}: judgments by {', '.join(sorted(others))}; expected {judge}: leave the judge out")
    columns["judge"] = _text(raw, "judge", judge or f"human:{raw.stem or 'given'}")
    columns["fingerprint"] = _text(raw, "fingerprint", "")
    columns["scale"] = _text(raw, "scale", scale.name if scale else "")
    columns["guide_version"] = _text(raw, "guide_version", "")
    answered = pc.if_else(pc.is_valid(columns["relevance"]), str(Outcome.LABEL), str(Outcome.ABSTAINED))
    columns["outcome"] = _text(raw, "outcome", answered)
    columns["note"] = _text(raw, "note", "")
    columns |= {name: source[found] for name in _OF_SAMPLES if (found := raw.find([name]))}
    table = pa.Table.from_arrays(list(columns.values()), list(columns))
    table = conform(table, "judgments", name=raw.name, at=raw.at, parse=raw.text)
    for column in more:
        if column.name not in table.column_names and (found := raw.find([column.name])):
            values = conform_column(raw.table[found], column, name=raw.name, at=raw.at, parse=raw.text)
            table = table.append_column(column.name, values)
    return attributed(table, whose(raw))


def _relevance(raw: Raw, scale: Scale | None) -> Any:
    """The index of each label; whole numbers as they are where no scale is known."""
    import pyarrow as pa

    column = label_column(raw)
    found = raw.table[column]
    made_on = _said(raw, "scale")
    if made_on and scale and made_on != {scale.name}:
        names = ", ".join(sorted(made_on))
        raise InputError(f"{raw.name}: judgments on scale {names}; expected {scale.name}: give that scale, or other judgments")
    labels = found.cast(found.type.value_type) if pa.types.is_dictionary(found.type) else found
    index = {}
    if pa.types.is_nested(labels.type) or pa.types.is_binary(labels.type):
        raise InputError(f"{raw.name}, column {column!r}: has type {labels.type}; expected labels: text or whole numbers")
    for label in labels.unique().to_pylist():
        try:
            index[label] = _index(label, scale, indices=bool(made_on) or raw.form == "TREC qrels")
        except InputError as error:
            row = labels.to_pylist().index(label)
            raise InputError(f"{raw.name}, {raw.at(row)}, column {column!r}: {error}") from None
    return looked_up(labels, index)


def read_raters(obj: Any, raters: Sequence[str], *, scale: Scale | None = None, more: Sequence[Column] = ()) -> pa.Table:
    """Judgments by several people whose labels stand side by side, a column each: a row a pair and rater, human:COLUMN.

    obj, scale, more: as in `read_judgments`. An empty label is a rater without an answer.

    Raises: InputError for a column that is not there, and as `read_judgments`.
    """
    import pyarrow as pa

    raw = load(obj, "judgments", "judgments")
    query_id = raw.find((*QUERY_ID, "query")) or raw.require("query_id", QUERY_ID)
    kept = {"query_id": query_id, "doc_id": raw.require("doc_id", DOC_ID)}
    kept |= {name: found for name in ("guide_version", *(column.name for column in more)) if (found := raw.find([name]))}
    parts = []
    for rater in raters:
        if rater not in raw.table.column_names:
            found = ", ".join(raw.table.column_names)
            raise InputError(f"{raw.name}: no column {rater!r} of a rater's labels: found {found}")
        columns: dict[str, Any] = {name: raw.table[column] for name, column in kept.items()}
        columns |= {"relevance": raw.table[rater], "judge": pa.repeat(f"human:{rater}", raw.table.num_rows)}
        parts.append(judgments_of(raw.with_table(pa.table(columns)), scale, None, more))
    return attributed(pa.concat_tables(parts), whose(raw))


def label_column(raw: Raw) -> str:
    """The column that holds the labels."""
    column = raw.find(LABEL)
    if column is None and {c.lower().replace("-", "_") for c in raw.table.column_names} == _BEIR:
        column = "score"
    return column or raw.require("the label", LABEL)


def looked_up(labels: Any, index: Mapping[Any, int | None]) -> Any:
    """The index of each label, (n,), in one type."""
    import pyarrow as pa

    encoded = (labels if pa.types.is_dictionary(labels.type) else labels.dictionary_encode()).unify_dictionaries()
    if not len(encoded):
        return pa.array([], pa.int16())
    known: Any = pa.array([index.get(label) for label in encoded.chunk(0).dictionary.to_pylist()], pa.int16())
    return pa.chunked_array([known.take(chunk.indices) for chunk in encoded.chunks], pa.int16())


def _index(label: Any, scale: Scale | None, *, indices: bool) -> int | None:
    """The relevance that one label stands for; None for an empty one. indices: the labels are indices already."""
    if label is None or label != label or (isinstance(label, str) and not label.strip()):
        return None
    number = _whole(label)
    if scale and not indices:
        return scale.relevance(label if number is None else number)
    last = len(scale.labels) - 1 if scale else 2**15 - 1
    if number is None or not (0 if scale else -(2**15)) <= number <= last:
        wanted = (
            f"an index on scale {scale.name!r}, 0 to {last}" if scale else "a whole number, or name the scale that it is on"
        )
        raise InputError(f"found {short(label)}; expected {wanted}")
    return number


def _whole(label: Any) -> int | None:
    """The whole number that a label is, "1.0" and 1.0 included; None if it is none."""
    if isinstance(label, bool):
        return None
    try:
        number = float(label)
    except (ValueError, TypeError, OverflowError):
        return None
    return int(number) if number.is_integer() else None


def _said(raw: Raw, column: str) -> set[str]:
    """The values of a text column, without the empty one."""
    found = raw.find([column])
    return {str(v) for v in raw.table[found].unique().to_pylist() if v} if found else set()


def _text(raw: Raw, column: str, default: Any) -> Any:
    """A text column, with a default where it is absent or empty."""
    import pyarrow as pa

    pc = compute()
    found = raw.find([column])
    if found is None or pa.types.is_null(raw.table[found].type):
        return pa.repeat(default, raw.table.num_rows) if isinstance(default, str) else default
    values = raw.table[found]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    values = values.cast(pa.string()) if pa.types.is_large_string(values.type) else values
    if not pa.types.is_string(values.type):
        return values  # conform says what is wrong with it
    return pc.if_else(pc.or_kleene(pc.is_null(values), pc.equal(values, "")), default, values)


def _probs(raw: Raw) -> Any:
    """Probabilities as lists, out of JSON text where the format has no lists."""
    import pyarrow as pa

    values = raw.table[str(raw.find(["probs"]))]
    if not raw.text:
        return values
    lists: list[Any] = []
    for row, text in enumerate(values.to_pylist()):
        try:
            lists.append(json.loads(text) if text else None)
        except ValueError:
            found = f"{raw.name}, {raw.at(row)}, column 'probs': found {short(text)}"
            raise InputError(f"{found}; expected a list such as [0.1, 0.9]") from None
    made = column_of(lists, "probs", raw.name, raw.at)
    return pa.nulls(len(lists), pa.list_(pa.float32())) if pa.types.is_null(made.type) else made
