"""OpenSearch as an engine, and Elasticsearch by the same API: full text by a template, or the student's vectors (kNN).

Written from the documentation of OpenSearch 2.19 and 3.x and of Elasticsearch 8 and 9; tested against exchanges made from it,
not against a live server. A query's text is put into the parsed template as one JSON value, never into its text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from germane.engines import calling
from germane.engines.calling import AGAIN, Calling, Client, Unanswered
from germane.engines.results import NOTHING, Failure, Found, as_run, asked, best, pools
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.judges.two_tower import TwoTower

log = logging.getLogger("germane")

QUERY, DEPTH, VECTOR = "{{query}}", "{{k}}", "{{vector}}"
WINDOW = 10_000
"""Hits that an index gives at most (index.max_result_window)."""

PREFERENCE = "germane"
"""Asks the same copies of each shard every time: copies may differ in their statistics, and so in their scores."""


@dataclass(frozen=True)
class Asking:
    """How an index is asked. template: the body of a search, with {{query}} (and {{k}}, {{vector}}) as whole values; by
    default a match of the fields. id: the field of doc_ids, _id by default. vector: the field of vectors; then the student's
    are searched. product: opensearch or elasticsearch, where the server does not say it.
    """

    template: Mapping[str, Any] | None = None
    id: str = "_id"
    vector: str = ""
    product: str = ""


class OpenSearch:
    """Documents of an index as the server ranks them. url, key_env: see `calling.Client`; what they hold is shown nowhere.

    fields: that are searched, None for the index's default. After a search, `failures` are queries that the server did not
    answer whole: errors, time limits, shards that failed. transport: of httpx, for tests.

    Raises: InputError for a server that does not answer, a template that is none, and vectors of another dimension or student.
    """

    def __init__(
        self,
        url: str,
        index: str,
        *,
        fields: Sequence[str] | None = ("title",),
        how: Asking | None = None,
        student: TwoTower | str | Path | None = None,
        key_env: str = "",
        calls: Calling | None = None,
        transport: Any = None,
        name: str | None = None,
    ) -> None:
        if not index or index.startswith(("_", "-")) or any(c in index for c in '/\\?#"<>| \x00'):
            raise InputError(f"index {index!r}: expected the name of an index or alias")
        self.index, self.how, self.fields = index, how or Asking(), None if fields is None else tuple(fields)
        if bool(self.how.vector) != bool(student):
            raise InputError("a search of vectors needs both a student and the field of its vectors (--option vector=FIELD)")
        self.client = Client(url, key_env=key_env, calling=calls, transport=transport)
        self.product, self.version = self._server()
        self._student = None if student is None else self._asker(student)
        self._template = check_template(self.how.template or self._default())
        self.failures: tuple[Failure, ...] = ()
        whose = f"nearest vectors of {self._student.name}" if self._student else self._what()
        self.name = name or f"{self.product or 'search server'}, {whose}"

    @property
    def origin(self) -> Mapping[str, Any]:
        said: dict[str, Any] = {"engine": self.product or "unknown", "server": self.version, "index": self.index}
        said |= {"id": self.how.id, "template": dict(self._template)}
        if self._student is not None:
            models = [self._student.fingerprint, *self._student.about.lineage]
            said |= {"student": self._student.name, "models": models, "vector": self.how.vector}
        return said

    def search(self, queries: pa.Table, *, k: int = 100, candidates: pa.Table | None = None) -> pa.Table:
        """A run of at most k documents a query, in the order of the queries. candidates: rank each query's pairs there alone.

        Where the last score of a page ties with the next, more is asked for, until the tie can be settled by doc_id.

        Raises: InputError where the server refuses all, for a candidate that is not in the index, and k above 10,000.
        """
        ids, texts = asked(queries, k)
        if k > WINDOW:
            raise InputError(f"k is {k}: an index gives at most {WINDOW:,} hits")
        pool: Mapping[str, list[str] | None] = dict.fromkeys(ids) if candidates is None else pools(ids, candidates)
        found, failures = dict.fromkeys(ids, NOTHING), dict[str, str]()
        waiting = [
            (query_id, text, self._size(k, pool[query_id]))
            for query_id, text in zip(ids, texts, strict=True)
            if text.strip() and pool[query_id] != []
        ]
        total = len(waiting)
        while waiting:
            log.info("searching", extra={"done": total - len(waiting), "total": total})
            batch, waiting = waiting[: self.client.calling.batch], waiting[self.client.calling.batch :]
            bodies = [self._body(text, size, pool[query_id]) for query_id, text, size in batch]
            for (query_id, text, size), reply in zip(batch, self._replies(bodies), strict=True):
                if isinstance(reply, str):
                    failures[query_id] = reply
                elif candidates is None and not self.how.vector and size < WINDOW and _tied(reply, size, k):
                    waiting.append((query_id, text, min(4 * size, WINDOW)))
                else:
                    found[query_id] = self._found(query_id, reply, k, pool[query_id])
        self.failures = tuple(Failure(query_id, failures[query_id]) for query_id in ids if query_id in failures)
        return as_run(ids, [found[query_id] for query_id in ids])

    # --- what is asked ------------------------------------------------------------------------------------------------

    def _size(self, k: int, allowed: list[str] | None) -> int:
        if allowed is not None:
            if len(allowed) > WINDOW:
                raise InputError(f"a query has {len(allowed):,} candidates: an index gives at most {WINDOW:,} hits")
            return len(allowed)
        return k if self.how.vector else min(k + 1, WINDOW)

    def _default(self) -> dict[str, Any]:
        if self.how.vector and self.product == "elasticsearch":
            knn = {"field": self.how.vector, "query_vector": VECTOR, "k": DEPTH, "num_candidates": DEPTH}
            return {"knn": knn}
        if self.how.vector:
            return {"query": {"knn": {self.how.vector: {"vector": VECTOR, "k": DEPTH}}}}
        if self.fields is not None and len(self.fields) == 1:
            return {"query": {"match": {self.fields[0]: {"query": QUERY}}}}
        fields = {} if self.fields is None else {"fields": list(self.fields)}
        return {"query": {"multi_match": {"query": QUERY, **fields}}}

    def _body(self, text: str, size: int, allowed: list[str] | None) -> dict[str, Any]:
        values: dict[str, Any] = {QUERY: text, DEPTH: size}
        if self._student is not None:
            values[VECTOR] = [float(f"{x:.9g}") for x in self._student.encode_queries([text.strip()])[0].tolist()]
        body = filled(self._template, values)
        source: Any = False if self.how.id == "_id" else [self.how.id]
        if allowed is not None:
            body = self._among(body, values, allowed)
        return {**body, "size": size, "_source": source, "track_total_hits": False}

    def _among(self, body: dict[str, Any], values: Mapping[str, Any], allowed: list[str]) -> dict[str, Any]:
        """The same search among these documents alone, all of which are hits; those without a match have the score 0."""
        only = {"ids": {"values": allowed}} if self.how.id == "_id" else {"terms": {self.how.id: allowed}}
        if not self.how.vector:
            return body | {"query": {"bool": {"filter": [only], "should": [body["query"]]}}}
        if self.product == "elasticsearch":
            params = {"field": self.how.vector, "vector": values[VECTOR]}
            script: dict[str, Any] = {"source": "cosineSimilarity(params.vector, params.field) + 1.0", "params": params}
        else:
            params = {"field": self.how.vector, "query_value": values[VECTOR], "space_type": "cosinesimil"}
            script = {"source": "knn_score", "lang": "knn", "params": params}
        return {"query": {"script_score": {"query": {"bool": {"filter": [only]}}, "script": script}}}

    def _replies(self, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any] | str]:
        """What became of each search: its answer, or why there is none. Those that were turned away are asked again."""
        found: list[dict[str, Any] | str] = [""] * len(bodies)
        left, tries = list(range(len(bodies))), self.client.calling.tries
        for tried in range(1, tries + 1):
            try:
                answers = self._msearch([bodies[i] for i in left])
            except Unanswered as problem:
                for i in left:
                    found[i] = str(problem)
                return found
            busy = []
            for i, answer in zip(left, answers, strict=True):
                found[i] = self._whole(answer)
                if isinstance(found[i], str) and answer.get("status") in AGAIN:
                    busy.append(i)
            if not busy or tried == tries:
                return found
            left = busy
            calling.sleep(min(self.client.calling.wait * 2 ** (tried - 1), calling.LONGEST_WAIT))
        return found

    def _msearch(self, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        lines = [json.dumps(part, ensure_ascii=False) for body in bodies for part in ({"preference": PREFERENCE}, body)]
        sent = ("\n".join(lines) + "\n").encode()
        told = self.client.ask("POST", f"/{quote(self.index, safe='')}/_msearch", sent, "application/x-ndjson")
        answers = told.get("responses")
        if not isinstance(answers, list) or len(answers) != len(bodies) or not all(isinstance(a, dict) for a in answers):
            raise InputError(f"{self.client.shown} does not answer as _msearch is documented: is it a search server?")
        return answers

    # --- what comes back ----------------------------------------------------------------------------------------------

    def _whole(self, answer: dict[str, Any]) -> dict[str, Any] | str:
        """The answer, if it is one and whole; else why not.

        Raises: InputError for what no other query would be spared.
        """
        status = answer.get("status", 200)
        if "error" in answer or status != 200:
            said = f"{status} {self.client.said(answer)}".strip()
            if status in (401, 403, 404):
                raise InputError(f"{self.client.shown}, index {self.index!r}: {said}")
            return said
        shards = answer.get("_shards")
        if isinstance(shards, dict) and shards.get("total") == 0:
            raise InputError(f"no index of {self.client.shown} is called {self.index!r}")
        if answer.get("timed_out"):
            return "the server's own time limit cut the search short"
        if isinstance(shards, dict) and shards.get("failed"):
            return f"{shards['failed']} of {shards.get('total')} shards failed"
        hits = answer.get("hits")
        if not isinstance(hits, dict) or not isinstance(hits.get("hits"), list):
            return "the answer has no hits as they are documented"
        return hits

    def _found(self, query_id: str, hits: dict[str, Any], k: int, allowed: list[str] | None) -> Found:
        found = list(self._scored(hits))
        doc_ids = [doc_id for doc_id, _ in found]
        if len(set(doc_ids)) < len(doc_ids):
            twice = next(doc_id for doc_id in doc_ids if doc_ids.count(doc_id) > 1)
            raise InputError(f"document {twice!r} is in index {self.index!r} twice: each document needs its own {self.how.id}")
        if allowed is not None and (missing := [doc_id for doc_id in allowed if doc_id not in set(doc_ids)]):
            raise InputError(f"candidate {missing[0]!r} of query {query_id!r} is not in index {self.index!r}, or has no vector")
        return best(doc_ids, [score for _, score in found], k)

    def _scored(self, hits: dict[str, Any]) -> Iterator[tuple[str, float]]:
        for hit in hits["hits"]:
            try:
                doc_id = hit["_id"] if self.how.id == "_id" else hit["_source"][self.how.id]
                score = float(hit["_score"])
            except (KeyError, TypeError, ValueError):
                doc_id, score = None, float("nan")
            if doc_id is None or not np.isfinite(score):
                raise InputError(
                    f"a hit of index {self.index!r} has no {self.how.id}, or no score: a template must not sort, and ids "
                    "must be stored"
                )
            yield str(doc_id), score

    # --- the server ---------------------------------------------------------------------------------------------------

    def _server(self) -> tuple[str, str]:
        """Which product it is, and its version; "" where it does not say."""
        try:
            version = self.client.get("/").get("version")
        except InputError as problem:
            if " 404" not in str(problem) and " 403" not in str(problem):
                raise
            version = None  # a login that may search, and nothing else
        except Unanswered as problem:
            raise InputError(f"{self.client.shown}: {problem}") from None
        known = version if isinstance(version, dict) else {}
        number, kind = str(known.get("number", "")), str(known.get("distribution", "elasticsearch" if known else ""))
        return self.how.product or kind, number

    def _asker(self, student: TwoTower | str | Path) -> TwoTower:
        """The student that encodes queries for the index's vectors.

        Raises: InputError for a field that holds no vectors, or those of another dimension or student.
        """
        from germane.engines.vectors import made_by

        try:
            told = self.client.get(f"/{quote(self.index, safe='')}/_mapping")
        except Unanswered as problem:
            raise InputError(f"{self.client.shown}: {problem}") from None
        maps = [index["mappings"] for index in told.values() if isinstance(index, dict) and "mappings" in index]
        field: dict[str, Any] = next(
            (m["properties"][self.how.vector] for m in maps if self.how.vector in m.get("properties", {})), {}
        )
        if field.get("type") not in ("knn_vector", "dense_vector"):
            kind = field.get("type", "no field at all")
            raise InputError(f"{self.how.vector!r} of index {self.index!r} is {kind}: expected a knn_vector or dense_vector")
        towers = {str(m.get("_meta", {}).get("germane_tower", "")) for m in maps} - {""}
        judge = made_by(student, next(iter(towers), ""), f"index {self.index!r}")
        size = field.get("dimension", field.get("dims"))
        if size is not None and int(size) != judge.dimension:
            raise InputError(
                f"{self.how.vector!r} of index {self.index!r} has {size} numbers, {judge.name} makes {judge.dimension}"
            )
        return judge

    def _what(self) -> str:
        if self.how.template is not None:
            return "by a template"
        return f"match of {', '.join(self.fields)}" if self.fields else "match of the default fields"


def read_template(path: Path) -> dict[str, Any]:
    """The body of a search in a JSON file. Raises: InputError for what is no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(f"cannot read {path}: {problem.strerror or problem}") from problem
    except ValueError as problem:
        raise InputError(f"{path} is no JSON ({problem}): expected the body of a search, with {QUERY} as a value") from problem
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object: a template is the body of a search, with {QUERY} as a value")
    return found


def check_template(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """The template, if a query can be put into it.

    Raises: InputError for a placeholder inside other text (a query would be read as syntax), for none, and for what would
    hide scores.
    """
    for key, text in _strings(template):
        if any(mark in key or (mark in text and mark != text) for mark in (QUERY, DEPTH, VECTOR)):
            raise InputError(
                f"the template holds a placeholder inside other text ({(key or text)[:60]!r}): it must be a whole value, as "
                f'"query": "{QUERY}", so that no query is read as syntax'
            )
    if not any(text in (QUERY, VECTOR) for _, text in _strings(template)):
        raise InputError(f"the template has no {QUERY} (or {VECTOR}): it would ask the same of every query")
    if "query" not in template and "knn" not in template:
        raise InputError("the template is no body of a search: expected an object with a query")
    for name in ("sort", "from", "collapse"):
        if name in template:
            raise InputError(f"the template has {name!r}: a run is ranked by score, from the first hit")
    return template


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with each placeholder's value in its place.

    >>> filled({"match": {"title": {"query": "{{query}}"}}}, {"{{query}}": 'a" : {}'})
    {'match': {'title': {'query': 'a" : {}'}}}
    """
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    return values.get(template, template) if isinstance(template, str) else template


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    """Every key (with no text) and every text (with no key) of a parsed JSON value."""
    if isinstance(value, Mapping):
        for key, inside in value.items():
            yield str(key), ""
            yield from _strings(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _strings(inside)
    elif isinstance(value, str):
        yield "", value


def _tied(hits: dict[str, Any], size: int, k: int) -> bool:
    """Whether more hits may tie with the k-th: the page is full, and its last score is the k-th's."""
    scores = [hit.get("_score") for hit in hits["hits"] if isinstance(hit, dict)]
    if len(scores) < size or None in scores:
        return False
    single = np.array(scores, dtype=np.float32)
    return bool(single[-1] == single[k - 1])
