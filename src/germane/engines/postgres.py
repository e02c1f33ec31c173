"""PostgreSQL as an engine: full text search of a table, or the nearest of the student's vectors in it (pgvector).

A query's text is always a bound parameter, and a name is always a quoted identifier. All queries are asked in one read-only
transaction that sees one state of the table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane.engines.results import NOTHING, Failure, Found, as_run, asked, best, pools
from germane.extras import needs
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg import Connection
    from psycopg.sql import Composed, Identifier

    from germane.judges.two_tower import TwoTower

log = logging.getLogger("germane")

ASKS = ("websearch", "plain", "any")
"""How a text becomes a tsquery: with the operators of websearch_to_tsquery, all of its words, or any of them."""

MOST = 1000
"""The largest hnsw.ef_search that pgvector takes."""


@dataclass(frozen=True)
class Asking:
    """How PostgreSQL is asked. id: the column of doc_ids. language: a text search configuration. ask: see ASKS.

    weights: of the fields, first to fourth (A to D; later ones D). normalization: of ts_rank_cd by length, 0 for none.
    column: a tsvector that is stored, in place of the fields. vector: the column of vectors; then the student's are searched.
    exact: compare all vectors, past any index. timeout: seconds a query.
    """

    id: str = "doc_id"
    language: str = "english"
    ask: str = "websearch"
    weights: tuple[float, ...] = (1.0, 0.4, 0.2, 0.1)
    normalization: int = 0
    column: str = ""
    vector: str = ""
    exact: bool = False
    timeout: float = 30.0


class Postgres:
    """Documents of a table by ts_rank_cd, or by the cosine of the student's vectors. url: of the server; it is shown nowhere.

    table: its name, or SCHEMA.NAME. fields: its columns that are searched, None for all of text. student: whose query tower
    is asked, where `how` names a column of vectors. After a search, `failures` are queries that the server did not answer.

    Raises: InputError for a server that does not answer, a table or column that is not there, and vectors of another
    dimension or student.
    """

    def __init__(
        self,
        url: str,
        table: str,
        *,
        fields: Sequence[str] | None = ("title",),
        how: Asking | None = None,
        student: TwoTower | str | Path | None = None,
        name: str | None = None,
    ) -> None:
        needs("postgres", "psycopg", by="the engine postgres")
        self.how, self._url, self.table = how or Asking(), url, table
        if self.how.ask not in ASKS:
            raise InputError(f"postgres's ask is {self.how.ask!r}: expected {', '.join(ASKS)}")
        if bool(self.how.vector) != bool(student):
            raise InputError("a search of vectors needs both a student and the column of its vectors (--option vector=COLUMN)")
        self.failures: tuple[Failure, ...] = ()
        with self._reading() as connection:
            self.server = f"PostgreSQL {connection.info.parameter_status('server_version')}"
            types = columns(connection, table)
        self.fields = tuple(_text_fields(types, self.how.id) if fields is None else fields)
        used = [self.how.vector] if student else [self.how.column] if self.how.column else self.fields
        for column in (self.how.id, *used):
            if column not in types:
                raise InputError(f"table {table!r} has no column {column!r}: its columns are {', '.join(types)}")
        if not used:
            raise InputError(f"table {table!r} has no column of text: name --fields")
        self._student = None if student is None else _asker(student, table, self.how.vector, *types[self.how.vector])
        self._vector_type = types[self.how.vector][0].partition("(")[0] if student else ""
        whose = f"nearest vectors of {self._student.name}" if self._student else f"full text of {', '.join(used)}"
        self.name = name or f"PostgreSQL, {whose}"

    @property
    def origin(self) -> Mapping[str, Any]:
        how = self.how
        facts: dict[str, Any] = {"engine": "postgres", "server": self.server, "table": self.table, "id": how.id}
        if self._student is not None:
            models = [self._student.fingerprint, *self._student.about.lineage]
            facts |= {"student": self._student.name, "models": models, "vector": how.vector, "exact": how.exact}
            return facts | {"score": "cosine"}
        facts |= {"fields": list(self.fields)} if not how.column else {"column": how.column}
        facts |= {"score": "ts_rank_cd", "language": how.language, "ask": how.ask, "weights": list(how.weights)}
        return facts | {"normalization": how.normalization}

    def search(self, queries: pa.Table, *, k: int = 100, candidates: pa.Table | None = None) -> pa.Table:
        """A run of at most k documents a query, in the order of the queries. candidates: rank each query's pairs there alone.

        Raises: InputError where the server goes away, for a candidate that is not in the table, and a doc_id that comes twice.
        """
        import psycopg

        ids, texts = asked(queries, k)
        pool = pools(ids, candidates) if candidates is not None else None
        found, failures = [], []
        with self._reading() as connection:
            ask = self._statement(connection, k, pool is not None)
            for at, (query_id, text) in enumerate(zip(ids, texts, strict=True)):
                log.info("searching", extra={"done": at, "total": len(ids)})
                allowed = None if pool is None else pool[query_id]
                if not text.strip() or allowed == []:
                    found.append(NOTHING)
                    continue
                try:
                    with connection.transaction():  # a savepoint: one query's failure is not the next one's
                        rows = ask(text, allowed)
                except psycopg.Error as problem:
                    if connection.broken:
                        raise
                    failures.append(Failure(query_id, self._why(problem)))
                    found.append(NOTHING)
                else:
                    found.append(self._found(query_id, rows, allowed, k))
        self.failures = tuple(failures)
        return as_run(ids, found)

    @contextmanager
    def _reading(self) -> Iterator[Connection[Any]]:
        """A connection in a read-only transaction with a time limit for each statement."""
        import psycopg

        if not self._url.startswith(("postgresql://", "postgres://")):
            raise InputError("the address of PostgreSQL is not a URL: expected postgresql://USER@HOST/DATABASE")
        try:
            with psycopg.connect(self._url, connect_timeout=10) as connection:
                connection.read_only, connection.isolation_level = True, psycopg.IsolationLevel.REPEATABLE_READ
                connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(self.how.timeout * 1000)}ms"])
                yield connection
        except psycopg.OperationalError as problem:
            raise InputError(f"PostgreSQL does not answer: {self._why(problem)}") from None
        except psycopg.Error as problem:
            raise InputError(f"PostgreSQL: {self._why(problem)}") from None

    def _why(self, problem: Exception) -> str:
        """What the server complains of, in one line, without a password."""
        from psycopg.errors import QueryCanceled

        return f"no answer in {self.how.timeout:g} s" if isinstance(problem, QueryCanceled) else said(problem, self._url)

    def _found(self, query_id: str, rows: Sequence[tuple[str, float]], allowed: list[str] | None, k: int) -> Found:
        doc_ids = [doc_id for doc_id, _ in rows]
        if len(set(doc_ids)) < len(doc_ids):
            twice = next(doc_id for doc_id in doc_ids if doc_ids.count(doc_id) > 1)
            raise InputError(f"{self.how.id} {twice!r} is in table {self.table!r} twice: each document needs its own")
        if allowed is not None and (missing := [doc_id for doc_id in allowed if doc_id not in set(doc_ids)]):
            raise InputError(
                f"candidate {missing[0]!r} of query {query_id!r} is not in table {self.table!r}, or has no vector there"
            )
        return best(doc_ids, [score for _, score in rows], k)

    def _statement(
        self, connection: Connection[Any], k: int, pooled: bool
    ) -> Callable[[str, list[str] | None], list[tuple[str, float]]]:
        """What asks one query: a function of its text and its candidates."""
        student = self._student
        statement = self._full_text(pooled) if student is None else self._nearest(connection, k, pooled)

        def ask(text: str, allowed: list[str] | None) -> list[tuple[str, float]]:
            bound: dict[str, Any] = {"text": _plain(text), "k": k, "ids": [_plain(doc_id) for doc_id in allowed or ()]}
            if student is not None:
                bound["vector"] = "[" + ",".join(f"{x:.9g}" for x in student.encode_queries([text.strip()])[0].tolist()) + "]"
            return [(str(doc_id), float(score)) for doc_id, score in connection.execute(statement, bound).fetchall()]

        return ask

    def _full_text(self, pooled: bool) -> Composed:
        from psycopg import sql

        how, language = self.how, sql.SQL("{}::regconfig").format(sql.Literal(self.how.language))
        forms = {
            "websearch": "websearch_to_tsquery({}, %(text)s::text)",
            "plain": "plainto_tsquery({}, %(text)s::text)",
            "any": "replace(plainto_tsquery({}, %(text)s::text)::text, ' & ', ' | ')::tsquery",
        }
        query = sql.SQL(forms[how.ask]).format(language)
        parts = [
            sql.SQL("setweight(to_tsvector({}, coalesce(d.{}::text, '')), {})").format(
                language, sql.Identifier(field), sql.Literal("ABCD"[min(at, 3)])
            )
            for at, field in enumerate(self.fields)
        ]
        document = sql.SQL("d.{}").format(sql.Identifier(how.column)) if how.column else sql.SQL(" || ").join(parts)
        a, b, c, d = (*how.weights, *[how.weights[-1]] * 3)[:4]
        rank = sql.SQL("ts_rank_cd({}::float4[], {}, asked.q, {})").format(
            sql.Literal([d, c, b, a]), document, sql.Literal(how.normalization)
        )
        start = sql.SQL("WITH asked AS (SELECT {} AS q) SELECT d.{}::text, ").format(query, sql.Identifier(how.id))
        where = sql.SQL(" FROM {} AS d CROSS JOIN asked WHERE ").format(name_of(self.table))
        if pooled:
            score = sql.SQL("CASE WHEN {} @@ asked.q THEN {} ELSE 0 END").format(document, rank)
            return start + score + where + sql.SQL("d.{}::text = ANY(%(ids)s)").format(sql.Identifier(how.id))
        matches = sql.SQL("{} @@ asked.q AND d.{} IS NOT NULL").format(document, sql.Identifier(how.id))
        order = sql.SQL(' ORDER BY 2 DESC, d.{}::text COLLATE "C" DESC LIMIT %(k)s').format(sql.Identifier(how.id))
        return start + rank + where + matches + order

    def _nearest(self, connection: Connection[Any], k: int, pooled: bool) -> Composed:
        from psycopg import sql

        # An index of pgvector finds ef_search documents at most, and 40 unless told otherwise.
        for setting, value in (("hnsw.ef_search", str(min(max(k, 40), MOST))), ("hnsw.iterative_scan", "strict_order")):
            connection.execute("SELECT set_config(%s, %s, true)", [setting, value])
        if self.how.exact:
            connection.execute("SELECT set_config('enable_indexscan', 'off', true)")
        distance = sql.SQL("d.{} <=> %(vector)s::{}").format(
            sql.Identifier(self.how.vector), sql.SQL("halfvec" if self._vector_type == "halfvec" else "vector")
        )
        start = sql.SQL("SELECT d.{}::text, (1 - ({}))::float4 FROM {} AS d WHERE d.{} IS NOT NULL").format(
            sql.Identifier(self.how.id), distance, name_of(self.table), sql.Identifier(self.how.vector)
        )
        if pooled:
            return start + sql.SQL(" AND d.{}::text = ANY(%(ids)s)").format(sql.Identifier(self.how.id))
        tied = sql.SQL(', d.{}::text COLLATE "C" DESC').format(sql.Identifier(self.how.id)) if self.how.exact else sql.SQL("")
        return start + sql.SQL(" ORDER BY {}{} LIMIT %(k)s").format(distance, tied)


def name_of(table: str) -> Identifier:
    """A table's name, to be quoted: NAME or SCHEMA.NAME."""
    from psycopg import sql

    return sql.Identifier(*table.split(".", 1))


def quoted(name: str, *, whole: bool = False) -> str:
    """A table's name as SQL; whole: a name in which a dot means nothing.

    Raises: InputError for an empty name, and one that PostgreSQL cannot hold.
    """
    parts = [name] if whole else name.split(".", 1)
    if not all(parts) or "\x00" in name:
        raise InputError(f"{name!r} is no name of a table or column: expected NAME, or SCHEMA.NAME of a table")
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def said(problem: Exception, url: str) -> str:
    """What a server complains of, in one line, without the password of its address."""
    from urllib.parse import unquote, urlsplit

    try:
        secret = urlsplit(url).password or ""
    except ValueError:
        return "its URL cannot be read"
    text = " ".join(str(problem).split())[:200]
    for form in filter(None, {secret, unquote(secret)}):
        text = text.replace(form, "***")
    return text or type(problem).__name__


def _plain(text: str) -> str:
    """The text without the one character that PostgreSQL cannot hold, NUL."""
    return text.replace("\x00", " ")


def columns(connection: Connection[Any], table: str) -> dict[str, tuple[str, str]]:
    """The columns of a table: the type of each, and its comment.

    Raises: InputError for a table that is not there.
    """
    if not table or "\x00" in table:
        raise InputError(f"table {table!r}: expected the name of a table, or SCHEMA.NAME")
    found = connection.execute(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), coalesce(col_description(a.attrelid, a.attnum), '') "
        "FROM pg_attribute a WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        [name_of(table).as_string(connection)],
    ).fetchall()
    if not found:
        raise InputError(f"there is no table {table!r} that this login may see: expected the name of one, or SCHEMA.NAME")
    return {column: (kind, comment) for column, kind, comment in found}


def _text_fields(types: Mapping[str, tuple[str, str]], id: str) -> list[str]:
    return [c for c, (kind, _) in types.items() if c != id and kind.startswith(("text", "character", "citext"))]


def _asker(student: TwoTower | str | Path, table: str, column: str, kind: str, comment: str) -> TwoTower:
    """The student that encodes queries for a column of vectors.

    Raises: InputError for a column that holds no vectors, or those of another dimension or student.
    """
    from germane.engines.vectors import made_by

    if not kind.startswith(("vector", "halfvec")):
        raise InputError(
            f"column {column!r} of table {table!r} is of type {kind}: expected vector or halfvec of the extension pgvector, as "
            "`germane export vectors --to pgvector` makes it"
        )
    judge = made_by(student, comment.removeprefix(TOWER) if comment.startswith(TOWER) else "", f"table {table!r}")
    size = kind.partition("(")[2].rstrip(")")
    if size and int(size) != judge.dimension:
        raise InputError(
            f"column {column!r} of table {table!r} holds vectors of {size} numbers, {judge.name} makes {judge.dimension}"
        )
    return judge


TOWER = "germane tower "
"""The comment on a column of vectors begins so, and says which tower made them."""
