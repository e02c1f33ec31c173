"""`collect`: queries through an engine, on files."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import sources, store
from germane.engines import BM25
from germane.pipeline.collect import collect
from germane.types import InputError

QUERIES = {"query_id": ["1", "2", "3"], "query": ["red shoes", "oak table", "zzz"]}
DOCS = {
    "doc_id": ["a", "b", "c", "d"],
    "title": ["red shoes", "blue shoes", "table", "lamp"],
    "description": ["leather", "like red ones", "solid oak", "oak foot"],
}


@pytest.fixture
def files(tmp_path):
    pq.write_table(pa.table(QUERIES), tmp_path / "queries.parquet")
    pq.write_table(pa.table(DOCS), tmp_path / "docs.parquet")
    return tmp_path / "queries.parquet", tmp_path / "docs.parquet"


def ranked(path):
    found = {}
    for row in store.read_table(path, "runs").to_pylist():
        found.setdefault(row["query_id"], []).append(row["doc_id"])
    return found


def test_a_run_holds_what_the_engine_found_and_says_which_engine(files, tmp_path):
    out = tmp_path / "title.parquet"
    made = collect(*files, out)
    assert ranked(out) == {"1": ["a", "b"], "2": ["c"]}
    assert (made.engine, made.queries, made.unanswered, made.results, made.made) == ("BM25 on title", 3, 1, 3, True)
    assert made.notes == ("queries without a result: 1 of 3",)
    manifest = store.read_manifest(out)
    assert manifest.verb == "collect"
    assert [i.sha256 for i in manifest.inputs] == [store.sha256(path) for path in files]
    assert (manifest.extra["engine"], manifest.extra["k1"], manifest.extra["fields"]) == ("embedded BM25", 1.5, ["title"])
    run = sources.read_run(out)
    assert (run.name, run.origin["engine"], run.origin["ranked"]) == ("title", "embedded BM25", "all documents")


def test_it_is_the_engines_own_run(files, tmp_path):
    collect(*files, tmp_path / "r.parquet", fields=None, options={"k1": 0.9, "b": 0.4}, k=2)
    expected = BM25(pa.table(DOCS), fields=None, k1=0.9, b=0.4).search(pa.table(QUERIES), k=2)
    assert store.read_table(tmp_path / "r.parquet", "runs").to_pylist() == expected.to_pylist()


@pytest.mark.parametrize(
    "options", [{"k": 1}, {"fields": None}, {"fields": ["description"]}, {"options": {"k1": 0.1}}, {"options": {"b": 0.0}}]
)
def test_every_option_changes_the_run(files, tmp_path, options):
    out = tmp_path / "r.parquet"
    collect(*files, out)
    before = store.sha256(out)
    assert collect(*files, out, **options).made
    assert store.sha256(out) != before


def test_a_second_run_does_nothing_and_says_the_same(files, tmp_path):
    out = tmp_path / "r.parquet"
    first = collect(*files, out)
    before = out.stat().st_mtime_ns
    assert collect(*files, out) == first._replace(made=False)
    assert out.stat().st_mtime_ns == before
    pq.write_table(pa.table({**DOCS, "title": ["x"] * 3 + ["red"]}), files[1])
    assert collect(*files, out).made


def design(*query_ids):
    size = len(query_ids)
    columns = {"query_id": list(query_ids), "stratum": ["all"] * size, "inclusion_probability": [size / 9] * size}
    return pa.table({**columns, "population": [9] * size})


def test_only_sampled_queries_are_asked(files, tmp_path):
    pq.write_table(design("2", "3"), tmp_path / "design.parquet")
    made = collect(*files, tmp_path / "r.parquet", design=tmp_path / "design.parquet")
    assert ranked(tmp_path / "r.parquet") == {"2": ["c"]}
    assert (made.queries, made.unanswered) == (2, 1)


def test_a_design_of_other_queries_is_an_error(files, tmp_path):
    pq.write_table(design("2", "77", "78"), tmp_path / "design.parquet")
    with pytest.raises(InputError, match="names 2 queries that are not among the queries, such as '77'"):
        collect(*files, tmp_path / "r.parquet", design=tmp_path / "design.parquet")
    assert not (tmp_path / "r.parquet").exists()


@pytest.mark.parametrize("kind", ["judgments.csv", "judgments.qrels", "pairs.parquet", "esci.parquet", "imported.parquet"])
def test_only_candidates_are_ranked(files, tmp_path, kind):
    path = tmp_path / kind
    if kind == "judgments.csv":
        path.write_text("query_id,doc_id,label\n1,b,S\n1,d,I\n2,c,E\n")
    elif kind == "judgments.qrels":
        path.write_text("1 0 b 1\n1 0 d 0\n2 0 c 3\n")
    elif kind == "imported.parquet":
        judged = sources.read_judgments({"1": {"b": 1, "d": 0}, "2": {"c": 3}})
        store.write_table(judged, path, "judgments", verb="import", parameters={})
    else:
        doc = "product_id" if kind == "esci.parquet" else "doc_id"
        columns = (
            {"query_id": [1, 1, 2], doc: ["b", "d", "c"]}
            if kind == "esci.parquet"
            else {"query_id": ["1", "1", "2"], doc: ["b", "d", "c"]}
        )
        pq.write_table(pa.table({**columns, "esci_label": ["E", "I", "S"]}), path)
    made = collect(*files, tmp_path / "r.parquet", candidates=path)
    assert ranked(tmp_path / "r.parquet") == {"1": ["b", "d"], "2": ["c"]}  # all of them, those without a match last
    assert made.results == 3
    assert sources.read_run(tmp_path / "r.parquet").origin["ranked"] == "candidates only"


def test_a_candidate_that_nobody_sells_is_an_error(files, tmp_path):
    (tmp_path / "c.csv").write_text("query_id,doc_id,label\n1,nowhere,1\n")
    with pytest.raises(InputError, match="candidate 'nowhere' of query '1' is not among the 4 documents"):
        collect(*files, tmp_path / "r.parquet", candidates=tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "lucene"}, "engine 'lucene' is unknown: expected one of bm25"),
        ({"fields": ["colour"]}, "docs have no field 'colour'"),
        ({"options": {"k2": 1.0}}, "bm25 has no option 'k2': expected k1, b"),
        ({"options": {"fields": 1.0}}, "bm25 has no option 'fields'"),
        ({"options": {"k1": "high"}}, "bm25's k1 is 'high': expected a number"),
        ({"options": {"b": 1.5}}, "bm25's b is 1.5: expected a number from 0 to 1"),
        ({"options": {"k1": float("nan")}}, "bm25's k1 is nan"),
        ({"options": {"stopwords": "klingon"}}, "klingon"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_what_the_engine_does_not_know_is_an_error(files, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        collect(*files, tmp_path / "r.parquet", **options)
    assert not (tmp_path / "r.parquet").exists()


def test_a_run_in_which_nothing_was_found_is_an_error(files, tmp_path):
    pq.write_table(pa.table({"query_id": ["1"], "query": ["zzz"]}), files[0])
    with pytest.raises(InputError, match=r"no query of .* has a result"):
        collect(*files, tmp_path / "r.parquet")


def test_esci_carries_its_licence_into_the_run(data, tmp_path):
    folder = data("esci_us_120")
    made = collect(
        folder / "queries.parquet", folder / "products.parquet", tmp_path / "r.parquet", candidates=folder / "judgments.parquet"
    )
    assert made.queries == 120
    assert "Apache-2.0" in sources.read_run(tmp_path / "r.parquet").origin["attribution"]
