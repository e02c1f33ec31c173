"""PostgreSQL as an engine, on a server that the tests start."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import registries
from sample_students import furniture, recipe, tiny_bert

from germane import store
from germane.engines import unanswered
from germane.engines.postgres import Asking, Postgres
from germane.pipeline.collect import collect
from germane.types import InputError

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'germane[postgres]'")

NASTY = (
    "'; DROP TABLE products; --",
    "%s %(text)s {} $1",
    '{"match_all": {}}',
    'title:"x" AND (+red -chair) OR [1 TO *] ~2^9 \\ & | ! <-> :*',
    "red\x00chair",
    "🪑🔴",
    "red chair " * 1024,
)
ROWS = [
    ("a", "red chair", "a blue seat"),
    ("b", "blue chair", "it is red"),
    ("c", "green lamp", "for a red chair and a blue one"),
    ("d", "red red lamp", None),
    ("e", None, None),
]


@pytest.fixture(scope="module")
def server():
    with registries.postgres() as url:
        yield url


@pytest.fixture(scope="module")
def url(server):
    """A database with a small catalogue, a table of strange names, one with an id twice, and an empty one."""
    where = registries.new_database(server, "shop")
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute("CREATE TABLE products (doc_id text PRIMARY KEY, title text, description text, price int)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO products VALUES (%s, %s, %s, 1)", ROWS)
        connection.execute('CREATE SCHEMA "Odd"; CREATE TABLE "Odd"."my ""table; DROP" (id int, "the title" text)')
        connection.execute('INSERT INTO "Odd"."my ""table; DROP" VALUES (7, \'red chair\')')
        connection.execute("CREATE TABLE twice (doc_id text, title text); INSERT INTO twice VALUES ('x', 'red'), ('x', 'red')")
        connection.execute("CREATE TABLE nothing (doc_id text, title text)")
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 's3cret/pass'; GRANT SELECT ON products TO reader")
    return where


def queries(*texts: str) -> pa.Table:
    return pa.table({"query_id": [f"q{i}" for i in range(len(texts))], "query": list(texts)})


def ranked(run: pa.Table, query_id: str = "q0") -> list[str]:
    return [row["doc_id"] for row in run.to_pylist() if row["query_id"] == query_id]


def test_documents_with_all_words_are_found_by_weight_of_field(url):
    engine = Postgres(url, "products", fields=("title", "description"))
    run = engine.search(queries("red chair"))
    assert ranked(run) == ["a", "c", "b"]  # both in the title; close together in the description; far apart in both
    assert run.schema.types == [pa.string(), pa.string(), pa.float64(), pa.int32()]
    assert store.rank(run.drop_columns(["rank"])).to_pylist() == run.to_pylist()


def test_scores_are_those_of_the_server_by_hand(url):
    run = Postgres(url, "products", fields=("title",), how=Asking(normalization=1)).search(queries("red"))
    with psycopg.connect(url) as connection:
        said = connection.execute(
            "SELECT doc_id, ts_rank_cd(setweight(to_tsvector('english', title), 'A'), to_tsquery('english', 'red'), 1) AS s "
            "FROM products WHERE title LIKE '%red%' ORDER BY s DESC"
        ).fetchall()
    assert [(d, pytest.approx(s)) for d, s in said] == list(
        zip(run["doc_id"].to_pylist(), run["score"].to_pylist(), strict=True)
    )


def test_how_words_are_asked_decides_what_is_found(url):
    def found(text, **how):
        return set(ranked(Postgres(url, "products", how=Asking(**how)).search(queries(text))))

    assert found("red lamp") == {"d"}
    assert found("red lamp", ask="any") == {"a", "c", "d"}
    assert found("red -chair") == {"d"}
    assert found("red -chair", ask="plain") == {"a"}
    assert found("reds") == {"a", "d"}
    assert found("reds", language="simple") == set()
    with pytest.raises(InputError, match="ask is 'fuzzy': expected websearch"):
        Postgres(url, "products", how=Asking(ask="fuzzy"))


def test_ties_go_to_the_larger_doc_id_also_where_the_page_is_cut(url):
    engine = Postgres(url, "products", how=Asking(ask="any", weights=(1, 1, 1, 1)))
    assert ranked(engine.search(queries("chair"))) == ["b", "a"]
    assert ranked(engine.search(queries("chair"), k=1)) == ["b"]
    assert len(ranked(engine.search(queries("chair"), k=10_000))) == 2


def test_a_query_without_a_match_has_no_rows_and_has_not_failed(url):
    asked = queries("xylophone", "chair", "the", "", "  ")
    engine = Postgres(url, "products")
    run = engine.search(asked)
    assert unanswered(asked, run).to_pylist() == ["q0", "q2", "q3", "q4"]
    assert engine.failures == ()


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("ask", ["websearch", "plain", "any"])
def test_nasty_queries_are_only_text(url, text, ask):
    engine = Postgres(url, "products", how=Asking(ask=ask))
    engine.search(queries(text))
    assert engine.failures == ()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM products").fetchone() == (5,)


def test_names_are_quoted_whatever_they_are(url):
    engine = Postgres(url, 'Odd.my "table; DROP', fields=("the title",), how=Asking(id="id"))
    assert ranked(engine.search(queries("chair"))) == ["7"]
    assert engine.origin["fields"] == ["the title"]


def test_a_stored_tsvector_is_searched_in_place_of_fields(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS indexed")
        connection.execute(
            "CREATE TABLE indexed AS SELECT doc_id, to_tsvector('english', coalesce(description, '')) AS words FROM products"
        )
    assert ranked(Postgres(url, "indexed", how=Asking(column="words")).search(queries("seat"))) == ["a"]


def test_only_the_candidates_of_each_query_are_ranked_all_of_them(url):
    engine = Postgres(url, "products")
    pool = pa.table({"query_id": ["q0", "q0", "q0", "other"], "doc_id": ["c", "a", "e", "b"]})
    run = engine.search(queries("red chair", "lamp"), candidates=pool)
    assert ranked(run) == ["a", "e", "c"]
    assert ranked(engine.search(queries("red chair"), k=2, candidates=pool)) == ["a", "e"]
    assert run["score"].to_pylist()[1:] == [0, 0]
    assert ranked(run, "q1") == []
    with pytest.raises(InputError, match="candidate 'nowhere' of query 'q0' is not in table 'products'"):
        engine.search(queries("red"), candidates=pa.table({"query_id": ["q0"], "doc_id": ["nowhere"]}))


@pytest.mark.parametrize(
    ("table", "more", "complaint"),
    [
        ("nowhere", {}, "there is no table 'nowhere'"),
        ("", {}, "table ''"),
        ("products\x00", {}, "table 'products"),
        ("products", {"fields": ("brand",)}, "has no column 'brand': its columns are doc_id, title, description, price"),
        ("products", {"how": Asking(id="sku")}, "has no column 'sku'"),
        ("products", {"how": Asking(vector="title")}, "needs both a student and the column"),
        ("products", {"how": Asking(language="klingon")}, "klingon"),
        ("twice", {}, "doc_id 'x' is in table 'twice' twice"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(url, table, more, complaint):
    with pytest.raises(InputError, match=complaint) as said:
        _searched(url, table, more)
    assert "\n" not in str(said.value)


def _searched(url, table, more):
    engine = Postgres(url, table, **more)
    engine.search(queries("red"))
    if engine.failures:
        raise InputError(engine.failures[0].why)


def test_an_empty_table_finds_nothing(url):
    assert Postgres(url, "nothing").search(queries("red")).num_rows == 0


def test_a_slow_query_has_failed_and_the_next_is_answered(url, monkeypatch):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP VIEW IF EXISTS slow")
        connection.execute(
            "CREATE VIEW slow AS SELECT doc_id, title, "
            "CASE WHEN pg_sleep(0.3) IS NULL THEN NULL ELSE to_tsvector(title) END AS words FROM products"
        )
    engine = Postgres(url, "slow", how=Asking(column="words", timeout=0.2))
    run = engine.search(queries("red", ""))
    assert [(f.query_id, f.why) for f in engine.failures] == [("q0", "no answer in 0.2 s")]
    assert run.num_rows == 0


def test_nothing_can_be_written_through_it(url):
    engine = Postgres(url, "products")
    with engine._reading() as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("DELETE FROM products")


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("postgresql://germane:s3cret@127.0.0.1:1/none", "PostgreSQL does not answer"),
        ("mysql://germane:s3cret@localhost/none", "is not a URL"),
        ("postgresql://germane:s3cret@localhost:port/none", "PostgreSQL"),
        ("postgresql://[::s3cret", "PostgreSQL"),
    ],
)
def test_no_message_holds_a_password(address, complaint):
    with pytest.raises(InputError, match=complaint) as said:
        Postgres(address, "products")
    assert "s3cret" not in str(said.value)


def test_a_login_that_is_not_let_in_is_said_without_its_password(server):
    with pytest.raises(InputError, match="PostgreSQL does not answer") as said:
        Postgres(server.replace("germane@", "nobody:s3cret%2Fpass@"), "products")
    assert "s3cret" not in str(said.value)


# --- pgvector -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    from germane.training import distil

    where = tmp_path_factory.mktemp("students")
    distil.train(furniture(), None, where / "student", recipe=recipe(tiny_bert(where / "base")))
    return where / "student"


@pytest.fixture(scope="module")
def vectors(server):
    """A database with the extension; skips where the server does not have it."""
    where = registries.new_database(server, "vectors")
    with psycopg.connect(where, autocommit=True) as connection:
        there = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
        if there is None:
            pytest.skip("the server has no extension pgvector: install it (GERMANE_PG_BIN names another server's programs)")
        connection.execute("CREATE EXTENSION vector")
    return where


def test_a_column_of_another_type_holds_no_vectors(url, student):
    with pytest.raises(InputError, match="'title' of table 'products' is of type text: expected vector or halfvec"):
        Postgres(url, "products", how=Asking(vector="title"), student=student)


@pytest.mark.parametrize("kind", ["vector", "halfvec"])
@pytest.mark.parametrize("exact", [True, False])
def test_the_nearest_vectors_are_those_of_the_student(vectors, student, kind, exact):
    from germane.engines.vectors import made_by

    judge = made_by(student, "", "here")
    texts = {"a": "red chair", "b": "blue lamp", "c": "green sofa", "d": "red lamp"}
    made = judge.encode_texts(list(texts.values()))
    with psycopg.connect(vectors, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items")
        connection.execute(f"CREATE TABLE items (doc_id text, title text, v {kind}(32))")
        for (doc_id, text), vector in zip(texts.items(), made, strict=True):
            connection.execute("INSERT INTO items VALUES (%s, %s, %s)", [doc_id, text, str(vector.tolist())])
        connection.execute(f"CREATE INDEX ON items USING hnsw (v {kind}_cosine_ops)")
    engine = Postgres(vectors, "items", how=Asking(vector="v", exact=exact), student=judge)
    run = engine.search(queries("red chair", "x" * 10_000), k=3)
    cosine = made @ judge.encode_queries(["red chair"])[0]
    assert ranked(run) == [list(texts)[i] for i in (-cosine).argsort()[:3]]
    assert run["score"].to_pylist()[:3] == pytest.approx(sorted(cosine, reverse=True)[:3], abs=2e-3)
    pool = pa.table({"query_id": ["q0", "q0"], "doc_id": ["b", "c"]})
    assert set(ranked(engine.search(queries("red"), candidates=pool))) == {"b", "c"}
    assert engine.origin["models"][0] == judge.fingerprint


def test_vectors_of_another_dimension_or_tower_are_refused(vectors, student):
    with psycopg.connect(vectors, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS others; CREATE TABLE others (doc_id text, v vector(7), w vector(32))")
        connection.execute("COMMENT ON COLUMN others.w IS 'germane tower 0123456789abcdef'")
    with pytest.raises(InputError, match="holds vectors of 7 numbers, student makes 32"):
        Postgres(vectors, "others", how=Asking(vector="v"), student=student)
    with pytest.raises(InputError, match="holds vectors of another student"):
        Postgres(vectors, "others", how=Asking(vector="w"), student=student)


def test_the_environment_may_name_another_server(monkeypatch):
    monkeypatch.setenv("GERMANE_PG_BIN", os.sep)
    assert str(registries.binaries()) == os.sep


def test_collect_asks_a_table_and_its_run_fuses_with_others(url, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP_URL", url)
    pq.write_table(queries("red chair", "lamp", "zzz"), tmp_path / "queries.parquet")
    asked = {"engine": "postgres", "server": {"url_env": "SHOP_URL", "name": "products"}}
    for out, how in (("all.parquet", {}), ("any.parquet", {"options": {"ask": "any", "weights": "1,0.5"}})):
        made = collect(tmp_path / "queries.parquet", None, tmp_path / out, fields=["title", "description"], **asked, **how)
        assert made.unanswered == 1
    manifest = store.read_manifest(tmp_path / "any.parquet")
    assert (manifest.extra["ask"], manifest.extra["weights"]) == ("any", [1.0, 0.5])
    assert url not in store.manifest_path(tmp_path / "any.parquet").read_text()
    runs = [tmp_path / "all.parquet", tmp_path / "any.parquet"]
    assert collect(tmp_path / "queries.parquet", None, tmp_path / "both.parquet", engine="hybrid", runs=runs).unanswered == 1
    with pytest.raises(InputError, match="weights=2: expected one to four numbers from 0 to 1"):
        collect(tmp_path / "queries.parquet", None, tmp_path / "r.parquet", options={"weights": "2"}, **asked)


def recipes():
    """The SQL of the page on PostgreSQL, in its order."""
    page = Path(__file__).resolve().parents[1] / "docs" / "engines" / "postgres.md"
    return re.findall(r"```sql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_s_boost_runs_and_an_unknown_gain_filters_nothing(url):
    boost = recipes()[0].replace("$1", "%(query)s")
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE products ADD words tsvector")
        connection.execute("UPDATE products SET words = to_tsvector('english', coalesce(title, ''))")
        connection.execute("CREATE TABLE gains (query text, doc_id text, gain real)")
        connection.execute("INSERT INTO gains VALUES ('red', 'a', 0.9), ('red', 'd', 0.0)")
        found = [row[0] for row in connection.execute(boost, {"query": "Red"}).fetchall()]
        unknown = [row[0] for row in connection.execute(boost, {"query": "chair"}).fetchall()]
        connection.rollback()
    assert found == ["a"]  # d is predicted irrelevant
    assert unknown == ["b", "a"]


def test_the_page_s_blend_with_vectors_runs(vectors):
    blend = recipes()[1].replace("$1", "%(query)s").replace("$2", "%(vector)s::vector")
    with psycopg.connect(vectors) as connection:
        connection.execute(
            "CREATE TABLE products AS SELECT * FROM (VALUES ('a', 'red chair'), ('b', 'red lamp')) AS t (doc_id, t)"
        )
        connection.execute("ALTER TABLE products ADD words tsvector; UPDATE products SET words = to_tsvector('english', t)")
        connection.execute("CREATE TABLE product_vectors (doc_id text, vector vector(2))")
        connection.execute("INSERT INTO product_vectors VALUES ('a', '[0,1]'), ('b', '[1,0]')")
        assert connection.execute(blend, {"query": "red", "vector": "[0,1]"}).fetchall() == [("a",), ("b",)]
        assert connection.execute(blend, {"query": "red", "vector": "[1,0]"}).fetchall() == [("b",), ("a",)]
        connection.rollback()
