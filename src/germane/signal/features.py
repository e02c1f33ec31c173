"""A judge's predictions as features of a ranker: one function for the training table and for a request, and the forms that
rankers read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.signal.deciding import Floats, Said
from germane.stats.routing import entropy
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "signal_"


class Matrices(NamedTuple):
    """What LightGBM and XGBoost take. x: (n, features) float32, NaN where nothing is known; y: (n,) grades; group: (queries,)
    rows of each query, in the order of the rows; names: of the features."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    group: NDArray[np.int64]
    names: tuple[str, ...]
    query_ids: tuple[str, ...]
    doc_ids: tuple[str, ...]


def names(scale: Scale) -> tuple[str, ...]:
    """The features, in their order.

    >>> from germane.scales import get
    >>> names(get("three-level"))[:4]
    ('signal_known', 'signal_gain', 'signal_p_irrelevant', 'signal_p_partially_relevant')
    """
    grades = [f"p_{re.sub(r'[^0-9a-z]+', '_', label.casefold()).strip('_') or at}" for at, label in enumerate(scale.labels)]
    if len(set(grades)) < len(grades):
        grades = [f"p_{at}" for at in range(len(scale.labels))]
    return tuple(PREFIX + name for name in ("known", "gain", *grades, "entropy", "sure", "rank", "behind"))


def of_request(probs: ArrayLike, known: ArrayLike, scale: Scale) -> Floats:
    """(n, features) of the documents of one request, in the order given; NaN where nothing is known, but for `known`.

    probs: (n, grades); known: (n,) bool. Features: known (0 or 1); expected gain; probability of each grade; entropy in bits;
    the largest probability; rank of the gain in this request over the number of documents that are known (1 / n for the best;
    of equal gains all have the middle rank); gain behind the request's best. The probabilities are taken in single precision,
    as tables of judgments hold them, so that a request and a table give the same numbers to the last bit.

    Raises: InputError for shapes that do not fit.
    """
    p = np.asarray(np.asarray(probs, dtype=np.float32), dtype=np.float64)
    flags = np.asarray(known, dtype=bool).ravel()
    p = p.reshape(flags.size, len(scale.labels)) if p.size == 0 else p
    said = Said.of(p, np.zeros(flags.size), flags, len(scale.labels))
    there = said.known
    p = np.where(there[:, None], said.probs, np.nan)
    gain = p @ np.asarray(scale.gains)
    rank, behind = np.full(gain.size, np.nan), np.full(gain.size, np.nan)
    if there.any():
        g = gain[there]
        rank[there] = (1 + (g[:, None] < g).sum(axis=1) + ((g[:, None] == g).sum(axis=1) - 1) / 2) / g.size
        behind[there] = g.max() - g
    sure = np.full(gain.size, np.nan)
    sure[there] = p[there].max(axis=1)
    return np.column_stack([there.astype(float), gain, p, entropy(p), sure, rank, behind])


def table(
    run: pa.Table,
    predicted: Mapping[str, tuple[ArrayLike, ArrayLike]],
    scale: Scale,
    *,
    grades: Mapping[tuple[str, str], int] | None = None,
) -> pa.Table:
    """query_id, doc_id, relevance (missing where nobody graded), the ranker's score and rank, and the features, a row a result.

    run: query_id, doc_id, score, rank. predicted: query_id -> (probs (n, grades), known (n,)) of its results in their order.
    grades: of people, for the label.
    """
    import pyarrow as pa

    ids, docs = ([str(x) for x in run[name].to_pylist()] for name in ("query_id", "doc_id"))
    starts = [0, *(i for i in range(1, len(ids)) if ids[i] != ids[i - 1]), len(ids)] if ids else [0]
    parts = [of_request(*predicted[ids[start]], scale) for start in starts[:-1]]
    rows = np.concatenate(parts) if parts else np.empty((0, len(names(scale))))
    label = [None if grades is None else grades.get(pair) for pair in zip(ids, docs, strict=True)]
    columns: dict[str, Any] = {"query_id": ids, "doc_id": docs, "relevance": pa.array(label, pa.int16())}
    columns |= {"ranker_score": run["score"], "ranker_rank": run["rank"]}
    for at, name in enumerate(names(scale)):
        columns[name] = pa.array(rows[:, at], pa.float64(), mask=np.isnan(rows[:, at]))
    return pa.table(columns)


def of_table(features: pa.Table) -> tuple[str, ...]:
    """The columns of a table that are features: its numbers but the label, in their order."""
    import pyarrow as pa

    def number(kind: Any) -> bool:
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))

    return tuple(f.name for f in features.schema if f.name not in ("query_id", "doc_id", "relevance") and number(f.type))


def matrices(features: pa.Table, *, labelled: bool = True) -> Matrices:
    """The arrays of a table of features, queries in the order in which they come. labelled: rows without a grade are left out.

    Raises: InputError for a query whose rows do not stand together, no labelled row, and numbers that are infinite.
    """
    kept = features.filter(features["relevance"].is_valid()) if labelled else features
    if kept.num_rows == 0:
        raise InputError("no row of the features has a grade: give people's judgments of these results with --labels")
    chosen = of_table(kept)
    x = np.column_stack([np.asarray(kept[name].to_numpy(), dtype=np.float64) for name in chosen]).astype(np.float32)
    if np.isinf(x).any():
        row, column = (int(at[0]) for at in np.nonzero(np.isinf(x)))
        raise InputError(f"row {row} of the features has {chosen[column]} {x[row, column]}: expected a finite number")
    ids = [str(q) for q in kept["query_id"].to_pylist()]
    new = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]]
    if len({ids[i] for i in new}) < len(new):
        raise InputError("the rows of a query do not stand together: sort the features by query_id")
    group = np.diff([*new, len(ids)]).astype(np.int64)
    label = np.array([-1 if y is None else int(y) for y in kept["relevance"].to_pylist()], dtype=np.int64)
    return Matrices(x, label, group, chosen, tuple(ids), tuple(map(str, kept["doc_id"].to_pylist())))


def ranklib(found: Matrices) -> str:
    """The lines of RankLib and SVM-rank: `grade qid:1 1:0.25 2:... # query_id doc_id`; queries are numbered from 1.

    A feature that is not known is left out of its line, which these tools read as 0: `signal_known` tells the two apart. Ids
    stand in the comment as JSON, so that no id can end a line.

    Source: RankLib's file format (that of SVM-rank and LETOR): target qid:n feature:value ... # info.
    """
    lines, number, last = [], 0, None
    for row, query, doc, y in zip(found.x.tolist(), found.query_ids, found.doc_ids, found.y.tolist(), strict=True):
        if query != last:
            number, last = number + 1, query
        cells = " ".join(f"{at}:{value:.9g}" for at, value in enumerate(row, 1) if value == value)
        lines.append(f"{y} qid:{number} {cells} # {json.dumps([query, doc])}")
    return "".join(f"{line}\n" for line in lines)


def arrays(found: Matrices) -> bytes:
    """An .npz file of x, y, group, names, query_ids and doc_ids, which needs no pickle to be read."""
    held = io.BytesIO()
    names_, queries, docs = (np.array(texts, dtype=np.str_) for texts in (found.names, found.query_ids, found.doc_ids))
    np.savez(held, x=found.x, y=found.y, group=found.group, names=names_, query_ids=queries, doc_ids=docs)
    return held.getvalue()


def feature_set(scale: Scale, *, name: str = "germane", field: str | None = None) -> dict[str, Any]:
    """The body of `POST _ltr/_featureset/NAME` of the learning-to-rank plugins of OpenSearch and Elasticsearch.

    Without `field` each feature is a script that looks a document up by its keyword field `doc_id` in a map that the request
    brings (`params`: one map a feature, doc_id -> number), since the signal belongs to a pair and not to a document. With
    `field` the numbers were stored in the document, under FIELD.KEY.FEATURE, and a request names the KEY of its query
    (`signal_key`): for the few queries whose answers are made beforehand. A document without a number has 0.

    Source: Elasticsearch Learning to Rank, "Working with Features" and "Feature engineering" (script features); the same
    schema in OpenSearch's documentation of the plugin (2.18). Unverified against a live server.
    Raises: InputError for a name that is none there.

    >>> from germane.scales import get
    >>> feature_set(get("esci"))["featureset"]["features"][0]["template_language"]
    'script_feature'
    """
    for said, what in ((name, "name"), (field, "field")):
        if said is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,60}", said):
            raise InputError(f"{what} {said!r:.80}: expected letters, digits and _, a letter first")
    made = [_stored(feature, field) if field else _scripted(feature) for feature in names(scale)]
    return {"featureset": {"name": name, "features": made}}


def _scripted(feature: str) -> dict[str, Any]:
    source = f"def v = params.{feature}.get(doc['doc_id'].value); return v == null ? 0 : v;"
    template = {"lang": "painless", "source": source, "params": {"extra_script_params": {feature: feature}}}
    return {"name": feature, "params": [feature], "template_language": "script_feature", "template": template}


def _stored(feature: str, field: str | None) -> dict[str, Any]:
    value = {"field": f"{field}.{{{{signal_key}}}}.{feature}", "missing": 0}
    template = {
        "function_score": {"query": {"match_all": {}}, "functions": [{"field_value_factor": value}], "boost_mode": "replace"}
    }
    return {"name": feature, "params": ["signal_key"], "template_language": "mustache", "template": template}


def by_query(run: pa.Table) -> dict[str, Sequence[str]]:
    """query_id -> its documents, in the order of a ranked run."""
    found: dict[str, list[str]] = {}
    for query, doc in zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True):
        found.setdefault(str(query), []).append(str(doc))
    return dict(found)
