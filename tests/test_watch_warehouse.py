"""A log in a database: the same sample as from files, by expressions that every warehouse reads; what is wrong, in a line."""

import json
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import watched
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ibis.config import Config
from registries import new_database, postgres

from germane.pipeline import watch
from germane.registry import database as registries
from germane.settings import Settings, Watch
from germane.types import InputError
from germane.watching import drawing, files, plan, reading, requests, sources, warehouse

DAY = date(2026, 3, 2)
HOSTILE = 'it\'s a "table"; DROP TABLE x; -- `\\'
COLUMN = "se'g\"; --\\"


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield new_database(url, "logs")


def planned(folder, log, **said):
    watch = Watch(**{"log": log, "docs": "docs.parquet", "judge": "fake", "sample": 60, "segments": (COLUMN,), **said})
    return plan.of(Settings(scale="esci", watch=watch, path=folder / "germane.toml"))


def drawn(of, *paths, day=DAY):
    with reading.opened(of, day, list(paths)) as log:
        counts = (log.rows, log.empty, log.overlong, log.queries)
        if not log.queries:
            return pa.table({}), (), counts, log.moved
        found = drawing.draw(log, day)
        return found.table, found.strata, counts, log.moved


def in_duckdb(path, table, *, name="requests"):
    """The rows as a table of a DuckDB file, by its URL."""
    import duckdb

    path.unlink(missing_ok=True)
    with duckdb.connect(path) as connection:
        connection.register("rows", table)
        connection.execute(f"CREATE TABLE {sources.named(name)} AS SELECT * FROM rows")
    return f"duckdb://{path.name}"


def in_postgres(url, table, kinds, *, name="requests"):
    """The rows as a table of a PostgreSQL database."""
    import psycopg

    listed = ", ".join(f"{sources.named(column)} {kind}" for column, kind in zip(table.column_names, kinds, strict=True))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {sources.named(name)}")
        connection.execute(f"CREATE TABLE {sources.named(name)} ({listed})")
        rows = [tuple(row.values()) for row in table.to_pylist()]
        if rows:
            marks = ", ".join(["%s"] * len(kinds))
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {sources.named(name)} VALUES ({marks})", rows)
    return url


# --- the same sample ----------------------------------------------------------------------------------------------------

words = st.sampled_from(
    ["red shoes", "Red  Shoes", "ＲＥＤ shoes", "hat", "HAT ", "größe", "", " ", "it's", 'a"b', "a\\b", "x" * 1001]
)
times = st.integers(-3600, 90_000).map(lambda s: datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=s))
lists = st.lists(st.sampled_from(["d1", "d2", "d'3", "d\\4", "", "ä"]), max_size=4)
rows = st.lists(st.tuples(times, words | st.none(), lists | st.none(), st.sampled_from(["de", "EN", "", None])), max_size=60)


def as_table(given_rows):
    kinds = {"time": pa.timestamp("us", tz="UTC"), "query": pa.string(), "shown": pa.list_(pa.string()), COLUMN: pa.string()}
    columns = zip(*given_rows, strict=True) if given_rows else ([],) * 4
    table = pa.table({name: pa.array(list(c), kind) for (name, kind), c in zip(kinds.items(), columns, strict=True)})
    return table.append_column("id", pa.array([f"id {i % 7}" for i in range(table.num_rows)], pa.string()))


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(rows)
def test_a_log_gives_the_same_sample_as_files_and_as_a_table_of_either_database(server, tmp_path, monkeypatch, found):
    table = as_table(found)
    pq.write_table(table, tmp_path / "log.parquet")
    said = {"query_id": "id", "log_env": ""}
    whole = drawn(planned(tmp_path, "log.parquet", **said), tmp_path / "log.parquet")
    monkeypatch.setenv("DUCK", in_duckdb(tmp_path / "log.duckdb", table, name=HOSTILE))
    kinds = ["timestamptz", "text", "text[]", "varchar(300)", "text"]
    monkeypatch.setenv("POSTGRES", in_postgres(server, table, kinds, name=HOSTILE))
    name = "table:" + sources.named(HOSTILE)
    for variable in ("DUCK", "POSTGRES"):
        other = drawn(planned(tmp_path, name, query_id="id", log_env=variable))
        assert other[0].equals(whole[0]), variable
        assert other[1:3] == whole[1:3], variable


def big(n=20_000, queries=400, *, zone="UTC"):
    rng = np.random.default_rng(3)
    asked = rng.zipf(1.3, n) % queries
    begin = datetime(2026, 3, 2, tzinfo=UTC)
    return pa.table(
        {
            "time": pa.array([begin + timedelta(seconds=int(s)) for s in rng.integers(0, 86_400, n)], pa.timestamp("us", zone)),
            "query": [f"Query {q}" for q in asked],
            "shown": [[f"d{q}", f"d{(q + r) % 50}"] for q, r in zip(asked, rng.integers(0, 3, n), strict=True)],
            COLUMN: [f"l{q % 3}" for q in asked],
        }
    )


def test_only_counts_and_the_drawn_lists_cross_the_line(tmp_path, monkeypatch):
    monkeypatch.setenv("DUCK", in_duckdb(tmp_path / "log.duckdb", big()))
    table, _, counts, moved = drawn(planned(tmp_path, "table:requests", log_env="DUCK"))
    assert counts[0] == 20_000
    assert moved == counts[3] + 2 * table.num_rows


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("timestamptz", "text[]"),
        ("timestamp", "varchar(9)[]"),
        ("bigint", "text"),
        ("double precision", "jsonb"),
        ("date", "int[]"),
    ],
)
def test_times_and_lists_of_any_type_of_postgresql_are_read_as_in_files(server, tmp_path, monkeypatch, kind, shown):
    table = big(600)
    values = {"int[]": [[1, 2, q] for q in range(600)], "jsonb": None}.get(shown) or table["shown"].to_pylist()
    if shown == "text":
        values = [",".join(v) for v in values]
    moments = table["time"].to_pylist()
    made = {
        "timestamptz": (moments, pa.timestamp("us", "UTC")),
        "timestamp": ([m.replace(tzinfo=None) for m in moments], pa.timestamp("us")),
        "bigint": ([int(m.timestamp() * 1000) for m in moments], pa.int64()),
        "double precision": ([m.timestamp() for m in moments], pa.float64()),
        "date": ([m.date() for m in moments], pa.date32()),
    }[kind]
    table = table.set_column(0, "time", pa.array(*made)).set_column(2, "shown", pa.array(values))
    said = {"zone": "Europe/Berlin", "log_zone": "America/New_York"} if kind == "timestamp" else {}
    pq.write_table(table, tmp_path / "log.parquet")
    put = table
    if shown == "jsonb":
        put = table.set_column(2, "shown", pa.array([json.dumps(v) for v in values]))
        table = table.set_column(2, "shown", pa.array([json.dumps(v) for v in values]))
        pq.write_table(table, tmp_path / "log.parquet")
    monkeypatch.setenv("URL", in_postgres(server, put, [kind, "text", shown, "text"]))
    whole = drawn(planned(tmp_path, "log.parquet", **said), tmp_path / "log.parquet")
    other = drawn(planned(tmp_path, "table:public.requests", log_env="URL", **said))
    assert other[0].equals(whole[0])
    assert whole[2][0] > 0
    assert all(2 <= len(docs) <= 3 or docs[0] == docs[-1] for docs in other[0]["shown"].to_pylist())


def test_a_database_that_sorts_otherwise_gives_the_same_query_ids(tmp_path):
    """The smallest MD5, not the smallest text."""
    import hashlib

    table = as_table([(datetime(2026, 3, 2, 9, tzinfo=UTC), "hat", ["d"], "de")] * 20)
    pq.write_table(table, tmp_path / "log.parquet")
    found = drawn(planned(tmp_path, "log.parquet", query_id="id"), tmp_path / "log.parquet")[0]
    least = min(set(table["id"].to_pylist()), key=lambda text: hashlib.md5(text.encode()).hexdigest())
    assert found["log_query_id"].to_pylist() == [least]


# --- every warehouse ------------------------------------------------------------------------------------------------------


class Spark(Config):
    treat_nan_as_null: bool = False


NASTY = ["it's", 'a"b', "back\\slash", "a\\'; DROP TABLE x; --", "line\nbreak", "`tick`", "größe", "%s {date} :x", "\\"]


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "bigquery", "snowflake", "databricks", "pyspark"])
@pytest.mark.parametrize("kind", ["timestamp('UTC')", "timestamp", "date", "int64", "float64"])
@pytest.mark.parametrize("shown", ["array<string>", "string", "json"])
def test_the_expressions_are_sql_of_every_warehouse_and_texts_stay_texts(tmp_path, monkeypatch, dialect, kind, shown):
    import ibis
    import sqlglot
    from sqlglot import exp

    if ibis.options.pyspark is None:  # which Ibis sets once Spark is there
        monkeypatch.setattr(ibis.options, "pyspark", Spark())

    column = "seg-ment"  # BigQuery has no other names
    of = planned(tmp_path, f"table:{sources.named(HOSTILE)}", log_env="X", segments=(column,), query_id="id")
    schema = {"time": kind, "query": "string", "shown": shown, column: "int64", "id": "int64"}
    table = ibis.table(schema, name=HOSTILE, database="shop")
    asked = requests.of_day(table, of, DAY, name="log", dialect=dialect, parses=False)
    span, later = requests.span_of(table, of, DAY, name="log")
    every = [
        requests.written(asked),
        requests.raced(asked, NASTY, seed=1, day=DAY),
        requests.chosen(asked, NASTY, ["0" * 32]),
        span,
        later,
    ]
    for expression in every:
        text = ibis.to_sql(expression, dialect=dialect)
        (read,) = sqlglot.parse(text, dialect={"pyspark": "spark"}.get(dialect, dialect))  # one statement, and that is whole
        assert isinstance(read, exp.Select)
        (name,) = {found.name for found in read.find_all(exp.Table) if found.db == "shop"}
        assert name == HOSTILE
        if expression in every[1:3]:
            texts = {found.this for found in read.find_all(exp.Literal) if found.is_string}
            assert set(NASTY) <= texts


def test_numbers_are_those_of_python_in_every_digit(tmp_path):
    """The draw by hand: exponential times from MD5, the least wins."""
    import hashlib
    import math

    rows = [(datetime(2026, 3, 2, 9), f"q{i % 30}", [f"d{i % 7}"], "de") for i in range(500)]
    pq.write_table(as_table([(t.replace(tzinfo=UTC), *rest) for t, *rest in rows]), tmp_path / "log.parquet")
    found = drawn(planned(tmp_path, "log.parquet", sample=50), tmp_path / "log.parquet")[0]
    for query, docs in zip(found["query"].to_pylist(), found["shown"].to_pylist(), strict=True):
        times = {}
        for doc in {shown[0] for _, q, shown, _ in rows if q == query}:
            n = sum(q == query and shown == [doc] for _, q, shown, _ in rows)
            said = f"1 list 2026-03-02 {hashlib.md5(doc.encode()).hexdigest()} {query}"
            digits = hashlib.md5(said.encode()).hexdigest()[: requests.DIGITS]
            times[doc] = -math.log((int(digits, 16) + 0.5) / 16.0**requests.DIGITS) / n
        assert docs == [min(times, key=times.__getitem__)]


# --- days ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["duckdb", "postgresql"])
@pytest.mark.parametrize("kind", ["aware", "naive", "seconds"])
def test_a_day_is_loaded_once_a_later_request_is_there_or_the_last_is_near_its_end(
    request, tmp_path, monkeypatch, database, kind
):
    kinds = {"aware": pa.timestamp("us", "UTC"), "naive": pa.timestamp("us"), "seconds": pa.int64()}
    in_sql = {"aware": "timestamptz", "naive": "timestamp", "seconds": "bigint"}[kind]

    def loaded(*moments):
        as_said = [m if kind == "aware" else m.replace(tzinfo=None) if kind == "naive" else int(m.timestamp()) for m in moments]
        n = len(moments)
        table = pa.table({"time": pa.array(as_said, kinds[kind]), "query": ["q"] * n, "shown": [["d"]] * n, COLUMN: ["x"] * n})
        table = table.cast(
            pa.schema([("time", kinds[kind]), ("query", pa.string()), ("shown", pa.list_(pa.string())), (COLUMN, pa.string())])
        )
        if database == "duckdb":
            url = in_duckdb(tmp_path / "log.duckdb", table)
        else:
            url = in_postgres(request.getfixturevalue("server"), table, [in_sql, "text", "text[]", "text"])
        monkeypatch.setenv("URL", url)
        of = planned(tmp_path, "table:requests", log_env="URL")
        return files.has_log(of, DAY), warehouse.state(of, DAY)[1]

    morning, evening, after = (datetime(2026, 3, 2, tzinfo=UTC) + timedelta(hours=h) for h in (9, 23.5, 24))
    assert loaded() == (False, "0")
    assert loaded(morning) == (False, "1")
    assert loaded(morning, evening) == (True, "2")
    assert loaded(morning, after) == (True, "1")
    assert loaded(after) == (True, "0")


@pytest.mark.parametrize("database", ["duckdb", "postgresql"])
def test_the_whole_job_on_a_table_says_what_it_says_on_files(request, tmp_path, monkeypatch, database):
    moment = [datetime(2026, 3, 5, 9, tzinfo=UTC)]
    monkeypatch.setattr(registries, "open_registry", partial(registries.open_registry, clock=lambda: moment[0]))
    whole = watched.project(tmp_path / "files", days=3)
    watch.run(whole)
    folder = watched.project(tmp_path / "table")
    text = (folder / "germane.toml").read_text()
    said = 'log = "table:requests"\nlog_env = "URL"'
    (folder / "germane.toml").write_text(text.replace('log = "logs/{date}.parquet"', said))
    logs = [pq.read_table(whole / f"logs/2026-03-0{day}.parquet") for day in (2, 3, 4)]

    def load(count):
        table = pa.concat_tables(logs[:count])
        if database == "duckdb":
            monkeypatch.setenv("URL", in_duckdb(folder / "log.duckdb", table))
        else:
            kinds = ["timestamptz", "text", "text[]", "text"]
            monkeypatch.setenv("URL", in_postgres(request.getfixturevalue("server"), table, kinds))

    load(2)
    stopped = watch.run(folder).stopped
    assert "the log of 2026-03-04 is not there: no request of requests is later" in stopped
    assert "\n" not in stopped
    load(3)
    watch.run(folder)
    found, wanted = watch.history(folder), watch.history(whole)
    assert len(found) > 3
    assert found == wanted
    moment[0] = datetime(2026, 3, 7, 9, tzinfo=UTC)
    late = watched.day_log(date(2026, 3, 6))
    logs.append(late)
    load(4)
    assert [(day.date, day.state) for day in watch.run(folder).days] == [("2026-03-05", "gap"), ("2026-03-06", "done")]


# --- what is wrong --------------------------------------------------------------------------------------------------------


def complaint(of, day=DAY):
    with pytest.raises(InputError) as caught:
        drawn(of, day=day)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_wrong_is_one_line_without_the_url(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DUCK", in_duckdb(tmp_path / "log.duckdb", big(50)))
    monkeypatch.setenv("POSTGRES", in_postgres(server, big(50), ["timestamptz", "text", "text[]", "text"]))
    for variable in ("DUCK", "POSTGRES"):
        asked = {"log_env": variable}
        assert "the table nowhere is not in the database of" in complaint(planned(tmp_path, "table:nowhere", **asked))
        assert "the table no.where is not in the database of" in complaint(planned(tmp_path, "table:no.where", **asked))
        assert "no column 'when': found time" in complaint(planned(tmp_path, "table:requests", time="when", **asked))
        assert "'query' is of type string: expected a timestamp" in complaint(
            planned(tmp_path, "table:requests", time="query", query="time", **asked)
        )
        assert "no column 'list'" in complaint(planned(tmp_path, "table:requests", shown="list", **asked))
    of = planned(tmp_path, "table:requests", log_env="NOWHERE")
    assert "NOWHERE, which is not set" in complaint(of)
    urls = {
        "mysql://u:hunter22@h/d": "the log's URL is none that is known",
        "hunter22": "the log's URL is none that is known",
        "duckdb://hunter22": "is no file",
        "bigquery://project/data?api_key=hunter22": "needs its driver",
        "postgresql://u:hunter22@127.0.0.1:1/d": "cannot be read",
        "postgresql://u:hunter22@127.0.0.1:x/d": "cannot be read",
    }
    for url, says in urls.items():
        monkeypatch.setenv("NOWHERE", url)
        told = complaint(of)
        assert says in told, told
        assert "hunter22" not in told or url.startswith("duckdb"), told


@pytest.mark.parametrize("content", [b"", b"no database"])
def test_a_damaged_database_is_one_line(tmp_path, monkeypatch, content):
    (tmp_path / "log.duckdb").write_bytes(content)
    monkeypatch.setenv("DUCK", "duckdb://log.duckdb")
    complaint(planned(tmp_path, "table:requests", log_env="DUCK"))


def test_a_connection_that_breaks_is_one_line(server, tmp_path, monkeypatch):
    import psycopg

    monkeypatch.setenv("URL", in_postgres(server, big(50), ["timestamptz", "text", "text[]", "text"]))
    real = requests.raced

    def broken(*given, **said):
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'logs'"
            )
        return real(*given, **said)

    monkeypatch.setattr(requests, "raced", broken)
    assert "the table requests cannot be read" in complaint(planned(tmp_path, "table:requests", log_env="URL"))


def test_a_log_in_postgresql_is_read_in_one_state_and_never_written(server, tmp_path, monkeypatch):
    import psycopg

    monkeypatch.setenv("URL", in_postgres(server, big(300), ["timestamptz", "text", "text[]", "text"]))
    of = planned(tmp_path, "table:requests", log_env="URL")
    before = drawn(of)
    real = requests.raced

    def emptied(*given, **said):
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DELETE FROM requests")
        return real(*given, **said)

    monkeypatch.setattr(requests, "raced", emptied)
    assert drawn(of)[0].equals(before[0])
    monkeypatch.setattr(requests, "raced", real)
    with warehouse.opened(of, None) as table, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        table.backend.raw_sql("CREATE TABLE x (y int)")


def test_a_table_that_is_emptied_while_it_is_read_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("DUCK", in_duckdb(tmp_path / "log.duckdb", big(300)))
    real = requests.raced
    monkeypatch.setattr(requests, "raced", lambda *given, **said: real(*given, **said).limit(0))
    assert "changed while it was read" in complaint(planned(tmp_path, "table:requests", log_env="DUCK"))


@pytest.mark.parametrize("name", ["", ".", "a.", "a.b.c.d", 'a"b', '"a'])
def test_a_name_that_is_none_is_one_line(name):
    with pytest.raises(InputError, match="no table's name"):
        warehouse.parts(name)


def test_log_and_log_env_go_together(tmp_path):
    for log, variable in (("table:x", ""), ("x.parquet", "URL")):
        with pytest.raises(InputError, match="go together"):
            planned(tmp_path, log, log_env=variable)


def test_texts_fit_into_statements():
    assert requests.texts([]) == []
    assert requests.texts(["aa", "b", "c"], most=2) == [["aa", "b"], ["c"]]
    assert requests.texts(["aa", "b", "ccc"], characters=3) == [["aa", "b"], ["ccc"]]
