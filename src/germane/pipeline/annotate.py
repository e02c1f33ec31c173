"""`germane annotate`: pairs from files into a task that people judge on the screens."""

from __future__ import annotations

import getpass
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import scales, sources
from germane.golden import folder
from germane.sources.loading import load as load_file
from germane.sources.names import DOC_ID, LABEL, QUERY_ID
from germane.store import SCHEMAS
from germane.text import fields_of, text_fields
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.registry.database import Registry
    from germane.registry.tasks import Asked, Loaded, NewPair, TaskKind

AUDIT = ("unit", "audit_stratum", "inclusion_probability", "drawn")
IMAGES = ("image", "image_url", "image_path", "main_image", "picture")
SHOWN_NUMBERS = ("price",)
SWAYING = ("rating", "ratings", "rating_count", "reviews", "popularity", "rank", "position", "score", "sales")  # not relevance
_OURS = {column.name for column in SCHEMAS["judgments"].columns} | {
    "query",
    "text",
    "cut",
    "label",
    "rating",
    "entropy",
    "context",
}


class Annotation(NamedTuple):
    """What `annotate` made ready. new: pairs that were not in the task; known: that were. accounts: who may log in."""

    registry: str
    task: str
    kind: str
    scale: str
    guide: str
    new: int
    known: int
    controls: int
    accounts: int
    notes: tuple[str, ...]


class Files(NamedTuple):
    """Where the pairs and what they are shown with lie."""

    pairs: Path
    docs: Path | None = None
    queries: Path | None = None
    controls: Path | None = None
    used: tuple[Path, ...] = ()
    image_column: str | None = None


def annotate(
    registry: Registry,
    given_files: Files | tuple[Any, ...],
    *,
    scale: str,
    asked: Asked,
    guide: Path | None = None,
    task: str | None = None,
    kind: str | None = None,
    allow: Sequence[str] = (),
) -> Annotation:
    """The task with these pairs; named after the pairs' file by default, an audit if it has the columns of one.

    given_files: as `Files` names them. guide: Markdown in place of the scale's own. A second call with the same files changes
    nothing; new pairs are added.

    Raises: InputError naming what is missing; Refusal `--allow golden-audit` where golden and audit pairs meet.
    """
    from germane.registry import accounts, tasks
    from germane.registry.tasks import TaskKind

    files = Files(*given_files)
    of = shown_scale(scale, guide)
    given, columns = read_new_pairs(files.pairs, files.docs, files.queries, image_column=files.image_column)
    found = TaskKind.AUDIT if all(name in columns for name in AUDIT) else TaskKind.GOLDEN
    wanted: TaskKind = found if kind is None else TaskKind(kind)
    if wanted == TaskKind.AUDIT and found != TaskKind.AUDIT:
        raise InputError(f"{files.pairs} is no audit: it lacks {', '.join(AUDIT)}; draw one (germane sample --for audit)")
    if asked.entropy_bar is not None and all(pair.entropy is None for pair in given):
        raise InputError(
            f"--entropy {asked.entropy_bar:g}: no pair of {files.pairs} has an entropy: a column 'entropy', as `sample --for "
            "golden` and `route` write it of a judge that was asked several times or gave probabilities"
        )
    controls = [] if files.controls is None else read_controls(files.controls, files, of)
    if controls and wanted == TaskKind.AUDIT:
        raise InputError("--controls are known, golden pairs, and an audit holds none: leave them out")
    loaded = tasks.load(
        registry,
        task or files.pairs.stem,
        wanted,
        of,
        [*given, *controls],
        asked,
        columns=columns,
        used=[folder.words_of(path) for path in files.used],
        allow=allow,
        actor=f"command line ({_me()})",
    )
    people = [account for account in accounts.listed(registry) if not account.disabled]
    notes = [*loaded.overrides, *_judged_before(loaded)]
    notes += [] if people else ["there is no account yet: germane account add NAME --role owner"]
    known = loaded.task.scale
    counts = (loaded.new, loaded.known, len(controls), len(people))
    return Annotation(registry.name, loaded.task.name, wanted, known.name, known.version, *counts, tuple(notes))


def _judged_before(loaded: Loaded) -> list[str]:
    if not loaded.new_guide or not loaded.known:
        return []
    return [
        f"{loaded.known:,} pairs were in the task before: their votes stand, under the guide that they were made with. To have "
        "them judged again under this one, give them a --task of their own (see guide impact and guide drift)"
    ]


def shown_scale(name: str, guide: Path | None) -> Scale:
    """The scale with the guide that people are shown. Raises: InputError for a guide that cannot be read, or is empty."""
    of = scales.get(name)
    if guide is None:
        return of
    try:
        text = guide.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"--guide {guide}: {problem}") from problem
    if not text.strip():
        raise InputError(f"--guide {guide} is empty: write the rubric that people are shown")
    return replace(of, guide=text)


def read_new_pairs(
    path: Path, docs: Path | None = None, queries: Path | None = None, *, image_column: str | None = None
) -> tuple[list[NewPair], dict[str, str]]:
    """The pairs of a file (pairs, an audit, or a route's people.parquet), and the Arrow types of its further columns.

    docs, queries: where the file has no texts, and for whole fields and images. What a rater must not know (ranks, scores,
    odds) is kept with the pair and never shown.

    Raises: InputError for texts that no file has, and for ids that are not in the files.
    """
    from germane.registry.tasks import NewPair

    table = _table(path)
    asked = _query_texts(table, path, queries)
    fields, images = _doc_fields(table, path, docs, image_column)
    kept = _more(table)
    columns = {name: str(values.type) for name, values in kept.items()}
    more = {name: values.to_pylist() for name, values in kept.items()}
    context, entropy = (_column(table, name) for name in ("context", "entropy"))
    stratum = _column(table, "stratum") if "stratum" in table.column_names else _column(table, "audit_stratum")
    made = []
    for row, (query_id, doc_id) in enumerate(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True)):
        own = {name: _finite(values[row]) for name, values in more.items()}
        unsure = _finite(entropy[row])
        made.append(
            NewPair(
                str(query_id),
                str(doc_id),
                str(asked[row]),
                fields[row],
                context=str(context[row] or ""),
                image=images[row],
                stratum=str(stratum[row] or ""),
                entropy=None if unsure in (None, "") else float(unsure),
                more=own,
            )
        )
    return made, columns


def read_controls(path: Path, files: Files, scale: Scale) -> list[NewPair]:
    """Hidden pairs with a known grade: a file of pairs with a label, or judgments whose texts are in docs and queries.

    Raises: InputError for a label that is not on the scale, and as `read_new_pairs`.
    """
    raw = load_file(path, "judgments", "candidates")
    raw.require("the known grade", LABEL)
    said = sources.read_judgments(path, scale=scale)
    known = dict(
        zip(
            zip(said["query_id"].to_pylist(), said["doc_id"].to_pylist(), strict=True),
            said["relevance"].to_pylist(),
            strict=True,
        )
    )
    given, _ = read_new_pairs(path, files.docs, files.queries, image_column=files.image_column)
    return [
        replace(pair, control=grade, more={})
        for pair in given
        if (grade := known.get((pair.query_id, pair.doc_id))) is not None
    ]


def _table(path: Path) -> pa.Table:
    """The file's rows, with query_id and doc_id under these names, each pair once."""
    raw = load_file(path, "pairs", "candidates")
    kind = "audits" if all(raw.find([name]) for name in AUDIT) else None
    names = {raw.require("query_id", QUERY_ID): "query_id", raw.require("doc_id", DOC_ID): "doc_id"}
    renamed = raw.table.rename_columns([names.get(c, c) for c in raw.table.column_names])
    if kind:
        from germane.store import conform

        return conform(renamed, kind, name=raw.name, at=raw.at, parse=raw.text)
    import pyarrow as pa

    ids = [renamed[name].cast(pa.string()).to_pylist() for name in ("query_id", "doc_id")]
    seen: dict[tuple[Any, Any], int] = {}
    for row, pair in enumerate(zip(*ids, strict=True)):
        if None in pair or "" in pair:
            raise InputError(f"{raw.name}, {raw.at(row)}: a pair without an id; expected query_id and doc_id")
        if pair in seen:
            raise InputError(
                f"{raw.name}, {raw.at(row)}: query {pair[0]!r} document {pair[1]!r} is there twice; expected each pair once"
            )
        seen[pair] = row
    for name, values in zip(("query_id", "doc_id"), ids, strict=True):
        renamed = renamed.set_column(renamed.column_names.index(name), name, pa.array(values, pa.string()))
    return renamed


def _query_texts(table: pa.Table, path: Path, queries: Path | None) -> list[Any]:
    if queries is None:
        if "query" not in table.column_names:
            raise InputError(f"{path} has no column 'query': give the queries' text with --queries")
        return table["query"].to_pylist()
    known = sources.read_queries(queries)
    texts = dict(zip(known["query_id"].to_pylist(), known["query"].to_pylist(), strict=True))
    return [_found(texts, query_id, queries, "query") for query_id in table["query_id"].to_pylist()]


def _doc_fields(
    table: pa.Table, path: Path, docs: Path | None, image_column: str | None
) -> tuple[list[list[tuple[str, str]]], list[str]]:
    """(fields, image) of each row: from the documents, or out of the text that judges read."""
    if docs is None:
        if "text" not in table.column_names:
            raise InputError(f"{path} has no column 'text': give the documents with --docs")
        images = [str(name or "") for name in _column(table, _image_column(table, image_column, path))]
        return [fields_of(str(text or "")) for text in table["text"].to_pylist()], images
    known = sources.read_docs(docs)
    image = _image_column(known, image_column, docs)
    names = [name for name in text_fields(known) if name not in (*IMAGES, *SWAYING)]
    names += [name for name in SHOWN_NUMBERS if name in known.column_names and name not in names]
    place = {doc_id: row for row, doc_id in enumerate(known["doc_id"].to_pylist())}
    rows = [_found(place, doc_id, docs, "document") for doc_id in table["doc_id"].to_pylist()]
    taken = known.take(rows)
    columns = [(name, taken[name].to_pylist()) for name in names]
    fields = [
        [(name, str(values[row])) for name, values in columns if values[row] not in (None, "")] for row in range(len(rows))
    ]
    return fields, [str(name or "") for name in _column(taken, image)]


def _image_column(table: pa.Table, named: str | None, path: Path) -> str:
    if named is not None and named not in table.column_names:
        raise InputError(f"{path} has no column {named!r} of images: it has {', '.join(table.column_names)}")
    return named or next((name for name in IMAGES if name in table.column_names), "")


def _more(table: pa.Table) -> dict[str, Any]:
    """What came with the pairs besides ids and texts, as JSON can keep it."""
    import pyarrow as pa

    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    kept = {}
    for name in table.column_names:
        if name in _OURS or name in IMAGES:
            continue
        values = table[name]
        if name == "inclusion_probability" and pa.types.is_string(values.type):  # of a file without types
            try:
                values = values.cast(pa.float64())
            except pa.ArrowInvalid as problem:
                raise InputError(f"column {name!r}: {str(problem)[:80]}; expected numbers above 0 and up to 1") from None
        if not any(is_kind(values.type) for is_kind in kinds):
            try:
                values = values.cast(pa.string())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                continue  # a nested column, which no table of judgments has
        kept[name] = values
    return kept


def _column(table: pa.Table, name: str) -> list[Any]:
    return table[name].to_pylist() if name in table.column_names else [None] * table.num_rows


def _found(known: Mapping[Any, Any], key: Any, path: Path, what: str) -> Any:
    if key not in known:
        raise InputError(f"{path} lacks {what} {key!r}, which is to be judged: give the file that the pairs were made from")
    return known[key]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
