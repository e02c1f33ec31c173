"""The student's vectors in the forms of other engines: every form is read back."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import registries

from germane import store
from germane.cli import main
from germane.engines import loading
from germane.inference.vector_store import About, VectorStore
from germane.judges.head import floats
from germane.pipeline import export_vectors as exporting
from germane.pipeline.export_vectors import export_vectors
from germane.types import InputError

D = 12
IDS = ["plain", "tab\there", "line\nbreak", 'quote"', "back\\slash\\n", "'; DROP TABLE x; --", "🪑", "\\.", "", "ünïcode"]


@pytest.fixture(params=["int8", "fp16", "fp32"])
def vectors(request, tmp_path):
    return made(tmp_path / "vectors", request.param)


def made(folder, how="fp16", ids=IDS, tower="0123456789abcdef"):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(len(ids), D)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kept = VectorStore.create(folder, About(tower, D, how))
    texts = [f"text {i}" for i in range(len(ids))]
    kept.add(texts, x, dict(zip(ids, texts, strict=True)))
    return folder


def expected(folder):
    kept = VectorStore(folder)
    ids = kept.ids()
    return dict(zip(ids, floats(kept.take(kept.rows(ids))), strict=True))


def same(found, folder):
    there = expected(folder)
    assert list(found) == list(there)
    for doc_id, vector in there.items():
        np.testing.assert_array_equal(np.asarray(found[doc_id], dtype=np.float32), vector)


def test_parquet_holds_the_vectors_as_they_are_stored(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "TOGETHER", 3)
    found = export_vectors(vectors, tmp_path / "v.parquet", to="parquet")
    assert (found.documents, found.dimension, found.without, found.beside) == (len(IDS), D, 0, ())
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.types == [pa.string(), pa.list_(pa.float32())]
    same(dict(zip(table["doc_id"].to_pylist(), table["vector"].to_pylist(), strict=True)), vectors)
    assert not export_vectors(vectors, tmp_path / "v.parquet", to="parquet").made
    assert export_vectors(vectors, tmp_path / "v.parquet", to="parquet", field="v").made


@pytest.mark.parametrize("action", ["update", "index"])
def test_bulk_lines_are_json_that_opensearch_reads(vectors, tmp_path, action):
    export_vectors(vectors, tmp_path / "v.ndjson", to="opensearch", action=action, field='odd "name"')
    lines = (tmp_path / "v.ndjson").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    heads, bodies = [json.loads(line) for line in lines[::2]], [json.loads(line) for line in lines[1::2]]
    held = [body["doc"] if action == "update" else body for body in bodies]
    same({head[action]["_id"]: body['odd "name"'] for head, body in zip(heads, held, strict=True)}, vectors)


@pytest.mark.parametrize(
    ("to", "field"),
    [
        ("opensearch", {"type": "knn_vector", "dimension": D, "space_type": "cosinesimil"}),
        ("elasticsearch", {"type": "dense_vector", "dims": D, "index": True, "similarity": "cosine"}),
    ],
)
def test_a_mapping_stands_beside_and_says_whose_vectors_they_are(tmp_path, to, field):
    found = export_vectors(made(tmp_path / "vectors"), tmp_path / "v.ndjson", to=to)
    assert found.beside == (str(tmp_path / "v.mapping.json"),)
    mapping = json.loads((tmp_path / "v.mapping.json").read_text())
    assert mapping["mappings"] == {"_meta": {"germane_tower": "0123456789abcdef"}, "properties": {"vector": field}}
    assert ("settings" in mapping) == (to == "opensearch")


def test_only_documents_of_the_catalogue_and_those_without_a_vector_are_counted(tmp_path):
    folder = made(tmp_path / "vectors")
    pq.write_table(pa.table({"doc_id": ["plain", "sold out", "🪑"], "title": ["x"] * 3}), tmp_path / "docs.parquet")
    found = export_vectors(folder, tmp_path / "v.parquet", to="parquet", docs=tmp_path / "docs.parquet")
    assert (found.documents, found.without) == (2, 1)
    assert pq.read_table(tmp_path / "v.parquet")["doc_id"].to_pylist() == ["plain", "🪑"]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"to": "solr"}, "--to solr: there is no such form"),
        ({"out": "v.csv"}, r"expected a name that ends in \.parquet"),
        ({"out": None}, r"expected a name that ends in \.parquet"),
        ({"numbers": "bit"}, "--numbers bit: expected vector or halfvec"),
        ({"action": "delete"}, "--action delete: expected update or index"),
        ({"url_env": "X"}, "it is for --to pgvector"),
        ({"url_env": "X", "to": "pgvector"}, "leave --out out"),
    ],
)
def test_what_cannot_be_exported_is_said_and_nothing_is_written(tmp_path, more, complaint):
    folder = made(tmp_path / "vectors")
    asked = {"out": "v.parquet", "to": "parquet"} | more
    out = asked.pop("out")
    with pytest.raises(InputError, match=complaint):
        export_vectors(folder, out and tmp_path / out, **asked)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def test_a_folder_without_vectors_is_said(tmp_path):
    with pytest.raises(InputError, match="is no folder of vectors"):
        export_vectors(tmp_path / "none", tmp_path / "v.parquet", to="parquet")
    VectorStore.create(tmp_path / "empty", About("t", D))
    with pytest.raises(InputError, match="no document has a vector"):
        export_vectors(tmp_path / "empty", tmp_path / "v.parquet", to="parquet")


def test_a_kill_leaves_nothing_half_written(tmp_path):
    folder = made(tmp_path / "vectors", ids=[f"d{i}" for i in range(200)])
    code = f"""
import time
from pathlib import Path
from germane.pipeline import export_vectors as exporting
exporting.TOGETHER = 2
whole = exporting._bulk
def slow(*args):
    print("written", flush=True)
    time.sleep(0.05)
    return whole(*args)
exporting._bulk = slow
exporting.export_vectors(Path({str(folder)!r}), Path({str(tmp_path / "v.ndjson")!r}), to="opensearch")
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    for _ in range(5):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not (tmp_path / "v.ndjson").exists()
    assert export_vectors(folder, tmp_path / "v.ndjson", to="opensearch").made
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_the_command_line_exports_vectors_or_results_and_not_both(tmp_path, capsys, monkeypatch):
    made(tmp_path / "vectors")
    monkeypatch.chdir(tmp_path)

    def germane(*arguments):
        monkeypatch.setattr(sys, "argv", ["germane", "export", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capsys.readouterr()

    code, said = germane("--vectors", "vectors", "--to", "pgvector", "--out", "v.copy")
    assert (code or 0) == 0
    assert "beside: v.sql" in said.out
    for arguments in (["--vectors", "vectors", "--control", "r.run"], [], ["--control", "a", "--treatment", "b"]):
        code, said = germane(*arguments)
        assert code == 2
        assert len(said.err.strip().splitlines()) == 1


# --- PostgreSQL -------------------------------------------------------------------------------------------------------

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'germane[postgres]'")


@pytest.fixture(scope="module")
def server():
    with registries.postgres() as url:
        yield url


@pytest.fixture
def url(server):
    """A new database; skips where the server has no pgvector."""
    where = registries.new_database(server, f"v{time.monotonic_ns()}")
    with psycopg.connect(where, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone():
            pytest.skip("the server has no extension pgvector: install it (GERMANE_PG_BIN names another server's programs)")
    return where


def rows(url, table="product_vectors"):
    with psycopg.connect(url) as connection:
        said = connection.execute(f"SELECT doc_id, vector::text FROM {loading.quoted(table)}").fetchall()
    return {doc_id: json.loads(vector) for doc_id, vector in said}


def test_lines_of_copy_are_read_by_the_server_as_they_were(server, vectors, tmp_path):
    """With text in place of vectors, so that any server can read them."""
    export_vectors(vectors, tmp_path / "v.copy", to="pgvector")
    with psycopg.connect(server) as connection:
        connection.execute("CREATE TEMP TABLE t (doc_id text, vector text)")
        with connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
            copy.write((tmp_path / "v.copy").read_bytes())
        found = connection.execute("SELECT doc_id, vector FROM t").fetchall()
    same({doc_id: json.loads(vector) for doc_id, vector in found}, vectors)


def test_the_statements_make_the_table(tmp_path):
    folder = made(tmp_path / "vectors")
    export_vectors(folder, tmp_path / "v.copy", to="pgvector", numbers="halfvec", table='shop.my "t"', field="the vector")
    assert (tmp_path / "v.sql").read_text().splitlines() == [
        "CREATE EXTENSION IF NOT EXISTS vector;",
        f'CREATE TABLE "shop"."my ""t""" (doc_id text PRIMARY KEY, "the vector" halfvec({D}) NOT NULL);',
        'COMMENT ON COLUMN "shop"."my ""t"""."the vector" IS \'germane tower 0123456789abcdef\';',
        '\\copy "shop"."my ""t""" (doc_id, "the vector") FROM \'v.copy\'',
        'CREATE INDEX ON "shop"."my ""t""" USING hnsw ("the vector" halfvec_cosine_ops);',
    ]
    assert "takes 2,000 dimensions at most, and these have 3,000" in loading.statements("t", "v", "vector", 3000, "t", "f")


def test_an_id_that_postgresql_cannot_hold_is_said(tmp_path):
    folder = made(tmp_path / "vectors", ids=["a\x00b"])
    with pytest.raises(InputError, match="has a NUL in its id"):
        export_vectors(folder, tmp_path / "v.copy", to="pgvector")
    assert not (tmp_path / "v.copy").exists()


def test_psql_runs_the_statements(url, tmp_path):
    folder = made(tmp_path / "vectors", "int8")
    export_vectors(folder, tmp_path / "v.copy", to="pgvector")
    subprocess.run(["psql", "-v", "ON_ERROR_STOP=1", "-q", "-f", "v.sql", url], cwd=tmp_path, check=True, capture_output=True)
    same(rows(url), folder)


@pytest.mark.parametrize("numbers", ["vector", "halfvec"])
def test_vectors_are_loaded_into_a_table_and_again_with_what_changed(url, tmp_path, monkeypatch, numbers):
    monkeypatch.setenv("SHOP", url)
    folder = made(tmp_path / "vectors", "fp16")
    asked = {"to": "pgvector", "url_env": "SHOP", "numbers": numbers}
    found = export_vectors(folder, None, **asked)
    assert (found.out, found.documents) == ("table product_vectors", len(IDS))
    if numbers == "vector":
        same(rows(url), folder)
    made(folder, "fp16", ids=["new", "plain"])
    export_vectors(folder, None, **asked)
    assert len(rows(url)) == len(IDS) + 1
    other = made(tmp_path / "other", "fp16", tower="another")
    with pytest.raises(InputError, match="holds other vectors"):
        export_vectors(other, None, **asked)
    with pytest.raises(InputError, match=r"is (vector|halfvec)\(12\), and these are"):
        export_vectors(folder, None, **asked | {"numbers": "halfvec" if numbers == "vector" else "vector"})
    assert len(rows(url)) == len(IDS) + 1


def test_what_fails_on_the_way_leaves_no_table(url, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP", url)
    folder = made(tmp_path / "vectors", ids=["a", "b\x00"])
    with pytest.raises(InputError, match="has a NUL"):
        export_vectors(folder, None, to="pgvector", url_env="SHOP")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('product_vectors')").fetchone() == (None,)


def test_a_server_without_the_extension_or_without_anybody_is_said(server, tmp_path, monkeypatch):
    folder = made(tmp_path / "vectors")
    monkeypatch.setenv("SHOP", "postgresql://ana:s3cret@127.0.0.1:1/none")
    with pytest.raises(InputError, match="took none of the vectors") as said:
        export_vectors(folder, None, to="pgvector", url_env="SHOP")
    assert "s3cret" not in str(said.value)
    monkeypatch.delenv("SHOP")
    with pytest.raises(InputError, match="should be in the environment variable SHOP"):
        export_vectors(folder, None, to="pgvector", url_env="SHOP")
    with psycopg.connect(server) as connection:
        there = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
    if there is None:
        monkeypatch.setenv("SHOP", server)
        with pytest.raises(InputError, match="has no extension pgvector"):
            export_vectors(folder, None, to="pgvector", url_env="SHOP")


def test_the_manifest_says_whose_vectors_they_are(tmp_path):
    export_vectors(made(tmp_path / "vectors"), tmp_path / "v.parquet", to="parquet")
    manifest = store.read_manifest(tmp_path / "v.parquet")
    assert (manifest.rows, manifest.extra["exported"]["tower"]) == (len(IDS), "0123456789abcdef")
