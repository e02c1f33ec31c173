"""Labels, objects of a notebook, and data sets known by their columns: read under our names, with whose data it is."""

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from germane import scales, sources, store
from germane.sources import tabular
from germane.types import Doc, InputError, Judgment, Outcome, Query, Run, ScoredDoc

HEAD = "query_id,doc_id,score\n"
RUN = {"q1": {"a": 2.0, "b": 1 / 3, "007": -1e-30}, "q2": {"a": 5.0}}

# --- labels ---------------------------------------------------------------------------------------------------------


def test_bare_qrels_keep_their_integers(file):
    judgments = sources.read_judgments(file("nist.qrels", "q 0 a 4\nq 0 b -2\nq 0 c 0\n"))
    assert judgments["relevance"].to_pylist() == [4, -2, 0]
    assert judgments.drop_columns(["query_id", "doc_id", "relevance"]).to_pylist()[0] == {
        "judge": "human:nist",
        "fingerprint": "",
        "scale": "",
        "guide_version": "",
        "outcome": "label",
        "note": "",
    }
    assert sources.read_judgments(file("x.qrels", "q 0 a 4\n"), judge="human:ann")["judge"].to_pylist() == ["human:ann"]


@pytest.mark.parametrize(
    "labels",
    [["E", "S", "C", "I"], ["exact", "Substitute", "COMPLEMENT", "irrelevant"], ["100", "10.0", "1", "0"], [100, 10, 1, 0]],
)
def test_a_scale_maps_labels_as_found_to_their_index(labels, file):
    judgments = sources.read_judgments({"q": dict(zip("abcd", labels, strict=True))}, scale=scales.ESCI)
    assert judgments["relevance"].to_pylist() == [3, 2, 1, 0]
    assert set(judgments["scale"].to_pylist()) == {"esci"}
    text = file("j.csv", "qid,docid,grade\n" + "".join(f"q,{d},{label}\n" for d, label in zip("abcd", labels, strict=True)))
    assert sources.read_judgments(text, scale=scales.ESCI)["relevance"].to_pylist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("name", "content", "scale", "message"),
    [
        (
            "j.csv",
            "query_id,doc_id,label\nq,a,E\nq,b,X\n",
            scales.ESCI,
            r"j.csv, line 3, column 'label': label 'X' is not on sc.* I, C, S, E",
        ),
        (
            "j.qrels",
            "q 0 a 1\n\nq 0 b 9\n",
            scales.TREC,
            "j.qrels, line 3, column 'relevance': found '9'; expected an index on scale 'trec', 0 to 3",
        ),
        (
            "j.csv",
            "query_id,doc_id,label\nq,a,E\n",
            None,
            "line 2, column 'label': found 'E'; expected a whole number, or name the scale",
        ),
        ("j.csv", "query_id,doc_id,label\nq,a,1.5\n", None, "line 2, column 'label': found '1.5'; expected a whole number"),
        ("j.csv", "query_id,doc_id,label\nq,a,99999\n", None, "line 2, column 'label': found '99999'"),
        (
            "j.jsonl",
            '{"query_id":"q","doc_id":"a","label":true}\n',
            scales.TREC,
            "line 1, column 'label': label True is not on scale",
        ),
        ("j.jsonl", '{"query_id":"q","doc_id":"a","label":[1]}\n', scales.TREC, r"column 'label'"),
        (
            "j.csv",
            "query_id,doc_id,label,scale\nq,a,3,esci\n",
            scales.TREC,
            "judgments on scale esci; expected trec: give that scale",
        ),
        (
            "j.csv",
            "query_id,doc_id,label,scale\nq,a,4,esci\n",
            scales.ESCI,
            "found '4'; expected an index on scale 'esci', 0 to 3",
        ),
        ("j.csv", "query_id,doc_id,label,outcome\nq,a,1,refused\n", None, "line 2: found relevance 1 with outcome 'refused'"),
        ("j.csv", "query_id,doc_id,label,outcome\nq,a,,label\n", None, "line 2: found relevance None with outcome 'label'"),
        (
            "j.csv",
            "query_id,doc_id,label,probs\nq,a,1,[0.5\n",
            None,
            r"line 2, column 'probs': found '\[0.5'; expected a list such as",
        ),
        (
            "j.csv",
            "query_id,doc_id,label\nq,a,1\nq,a,2\n",
            None,
            r"line 2 and line 3 both hold query_id 'q', doc_id 'a', judge 'human:j' \(re",
        ),
        (
            "j.csv",
            "query_id,doc_id,verdict\nq,a,1\n",
            None,
            "no column for the label: found query_id, doc_id, verdict; expected relevance",
        ),
    ],
)
def test_a_wrong_label_is_named_with_its_row_and_what_the_scale_has(file, name, content, scale, message):
    with pytest.raises(InputError, match=message):
        sources.read_judgments(file(name, content), scale=scale)


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_label_is_no_answer_and_not_zero(file, empty):
    judgments = sources.read_judgments(file("quepid.csv", f"query,docid,rating\nred shoes,a,{empty}\nred shoes,b,0\n"))
    assert judgments["relevance"].to_pylist() == [None, 0]
    assert judgments["outcome"].to_pylist() == ["abstained", "label"]
    frame = pd.DataFrame({"query_id": ["q", "q"], "doc_id": ["a", "b"], "relevance": [float("nan"), 0.0]})
    assert sources.read_judgments(frame)["relevance"].to_pylist() == [None, 0]


def test_who_judged_is_read_from_the_file_and_only_filled_in_where_it_is_silent(file):
    path = file("j.csv", "query_id,doc_id,label,judge\nq,a,1,human:ann\nq,b,1,\n")
    assert sources.read_judgments(path)["judge"].to_pylist() == ["human:ann", "human:j"]
    assert sources.read_judgments(path, judge="human:ann")["judge"].to_pylist() == ["human:ann", "human:ann"]
    with pytest.raises(InputError, match="judgments by human:ann; expected llm: leave the judge out"):
        sources.read_judgments(path, judge="llm")


# --- objects --------------------------------------------------------------------------------------------------------


class Qrel(NamedTuple):
    query_id: str
    doc_id: str
    relevance: int
    iteration: str = "0"


@dataclass
class Hit:
    query_id: str
    doc_id: str
    score: float


ROWS = [("q1", "a", 2.0), ("q1", "b", 1 / 3), ("q2", "a", 5.0)]
COLUMNS = {"query_id": [r[0] for r in ROWS], "doc_id": [r[1] for r in ROWS], "score": [r[2] for r in ROWS]}


@pytest.mark.parametrize(
    "given_run",
    [
        {"q1": {"a": 2.0, "b": 1 / 3}, "q2": {"a": 5}},
        {"q1": {"a": np.float64(2), "b": np.float64(1 / 3)}, "q2": {"a": np.float64(5)}},
        ROWS,
        iter(ROWS),
        [ScoredDoc(*row) for row in ROWS],
        [Hit(*row) for row in ROWS],
        [dict(zip(COLUMNS, row, strict=True)) for row in ROWS],
        pa.table(COLUMNS),
        pa.table(COLUMNS).to_batches()[0],
        pa.table(COLUMNS).to_reader(),
        pd.DataFrame(COLUMNS),
        pd.DataFrame(COLUMNS).astype({"query_id": "category"}),
        pd.DataFrame(COLUMNS).set_index(["query_id", "doc_id"]),
        pd.DataFrame(COLUMNS).sample(frac=1, random_state=1),
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_what_a_notebook_holds_is_a_run(given_run):
    run = sources.read_run(given_run, name="control")
    assert run.name == "control"
    assert run.table.equals(sources.read_run(pa.table(COLUMNS)).table)
    assert run.origin["rows"] == 3
    assert len(run.origin["sha256"]) == 64
    assert sources.read_run(run).table.equals(run.table)
    assert sources.read_run(run).name == "control"


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({}, "the run given holds no rows; expected at least one result"),
        ([], "the run given holds no rows"),
        (pa.table({"query_id": pa.array([], pa.string())}), "the run given holds no rows"),
        (7, "the run given is a int; expected a path, an Arrow table, a data frame, a dict or a list of rows"),
        (None, "the run given is a NoneType"),
        ({"q": {"a": "x"}}, "column 'score' has type string; expected double"),
        ({"q": {"a": None}}, "row 1, column 'score': empty"),
        ({"q": {"a": 1.0, "b": True}}, r"row 2, column 'score': found True \(bool\); expected float as in the rows before"),
        ({"q": {"a": 1.0, "b": "x"}}, r"row 2, column 'score': found 'x' \(str\); expected float"),
        ({"q": {"a": 1.0, "b": math.nan}}, "row 2, column 'score': found nan for query 'q', document 'b'"),
        ({"q": {"a": object()}}, "row 1, column 'score': found <object"),
        ({"q": {"\ud800": 1.0}}, "row 1, column 'doc_id': found"),
        ([("q", "a")], r"row 1: found \('q', 'a'\); expected a named tuple or a dict of columns"),
        ({"q": ["a", "b"]}, r"'q' holds \['a', 'b'\]; expected a dict of doc_id to score"),
        (pd.DataFrame({"query_id": ["q", 1], "doc_id": ["a", "b"], "score": [1, 2]}), "a column holds values of several types"),
        (
            pd.DataFrame({"query_id": [1.5], "doc_id": ["b"], "score": [1]}),
            "column 'query_id' has type double; expected string",
        ),
        (pd.DataFrame({"query_id": ["q"], "doc_id": ["b"], "score": [float("nan")]}), "row 1, column 'score': "),
    ],
)
def test_an_object_that_is_no_run_is_one_clear_line(obj, message):
    with pytest.raises(InputError, match=message) as raised:
        sources.read_run(obj)
    assert "\n" not in str(raised.value)


def test_named_tuples_of_every_noun_are_read():
    qrels = sources.read_judgments([Qrel("q", "a", 2)])
    assert qrels["relevance"].to_pylist() == [2]
    said = Judgment("q", "a", None, None, "llm", "f", "esci", "g", Outcome.TIMEOUT, "slow")
    assert sources.read_judgments([said])["outcome"].to_pylist() == ["timeout"]
    queries = sources.read_queries([Query("1", "red shoes", "en", "head")])
    assert queries.to_pylist() == [
        {"query_id": "1", "query": "red shoes", "language": "en", "stratum": "head", "context": None}
    ]
    docs = sources.read_docs([Doc("a", {"title": "Shoes"}), Doc("b", {"title": "Boots", "brand": "ACME"})])
    assert docs.to_pylist() == [
        {"doc_id": "a", "title": "Shoes", "brand": None},
        {"doc_id": "b", "title": "Boots", "brand": "ACME"},
    ]
    assert sources.read_queries({"1": "red shoes"}).to_pylist() == [{"query_id": "1", "query": "red shoes"}]
    assert sources.read_docs({"a": {"title": "Shoes"}, "b": {"title": "x"}})["title"].to_pylist() == ["Shoes", "x"]
    assert sources.read_docs({"a": "Shoes"})["text"].to_pylist() == ["Shoes"]


def test_decimals_of_a_database_are_scores():
    assert sources.read_run([("q", "a", Decimal("1.5"))]).table["score"].to_pylist() == [1.5]


# --- whose data it is -----------------------------------------------------------------------------------------------


def test_a_run_says_where_it_comes_from(tmp_path, file):
    path = sources.write_run(
        Run("bm25", sources.read_run(RUN).table, {"engine": "bm25", "attribution": "ACME, CC BY 4.0"}),
        tmp_path / "control.csv",
        verb="collect",
        inputs=[file("queries.csv", "x")],
        parameters={"k": 25},
        seed=7,
    )
    manifest = store.read_manifest(path)
    assert (manifest.verb, manifest.parameters, manifest.seed, manifest.schema) == ("collect", {"k": 25}, 7, "runs 1")
    assert [Path(i.path).name for i in manifest.inputs] == ["queries.csv"]
    run = sources.read_run(path)
    assert run.origin == {
        "engine": "bm25",
        "attribution": "ACME, CC BY 4.0",
        "verb": "collect",
        "path": str(path),
        "sha256": store.sha256(path),
        "rows": 4,
        "format": "CSV",
    }
    assert store.attribution(run.table) == "ACME, CC BY 4.0"
    path.write_text(HEAD + "q,a,1\n")
    assert sources.read_run(path).origin.get("engine") is None  # another file by that name


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".qrels"])
def test_the_attribution_of_judgments_travels_with_them(tmp_path, suffix):
    esci = pa.table({"query_id": [1], "product_id": ["a"], "product_locale": ["us"], "esci_label": ["E"]})
    judgments = sources.read_judgments(esci, scale=scales.ESCI)
    assert store.attribution(judgments) == "Amazon Shopping Queries (ESCI), Apache-2.0"
    made = {"verb": "import", "inputs": [], "parameters": {"scale": "esci"}, "seed": 3}
    path = sources.write_judgments(judgments, tmp_path / f"j{suffix}", **made)
    assert store.up_to_date(path, **made)
    assert store.attribution(path) == "Amazon Shopping Queries (ESCI), Apache-2.0"
    assert store.attribution(sources.read_judgments(path)) == "Amazon Shopping Queries (ESCI), Apache-2.0"


# --- known sources --------------------------------------------------------------------------------------------------

PUBLISHED = pa.table(
    {
        "example_id": [0, 1, 2],
        "query": ["red shoes", "red shoes", "zapatos"],
        "query_id": [10, 10, 11],
        "product_id": ["B1", "B2", "B1"],
        "product_locale": ["us", "us", "es"],
        "esci_label": ["E", "I", "S"],
        "small_version": [1, 1, 0],
        "large_version": [1, 1, 1],
        "split": ["train", "train", "test"],
    }
)
PRODUCTS = pa.table(
    {
        "product_id": ["B1", "B2"],
        "product_title": ["Shoes", None],
        "product_description": ["<p>x", ""],
        "product_bullet_point": ["a\nb", ""],
        "product_brand": ["ACME", ""],
        "product_color": ["red", ""],
        "product_locale": ["us", "us"],
    }
)


def test_esci_as_published_is_read_under_our_names():
    judgments = sources.read_judgments(PUBLISHED, scale=scales.ESCI)
    assert judgments.select(["query_id", "doc_id", "relevance"]).to_pylist() == [
        {"query_id": "10", "doc_id": "B1", "relevance": 3},
        {"query_id": "10", "doc_id": "B2", "relevance": 0},
        {"query_id": "11", "doc_id": "B1", "relevance": 2},
    ]
    assert sources.read_queries(PUBLISHED).to_pylist() == [
        {"query_id": "10", "query": "red shoes", "language": "en"},
        {"query_id": "11", "query": "zapatos", "language": "es"},
    ]
    assert sources.read_docs(PRODUCTS).column_names == [
        "doc_id",
        "title",
        "description",
        "bullet_points",
        "brand",
        "color",
        "locale",
    ]


def test_nothing_in_a_document_gives_its_label_away():
    """Examples merged with products, and samples that list the queries each product was judged for."""
    merged = PUBLISHED.join(PRODUCTS.drop_columns(["product_locale"]), "product_id", join_type="inner").filter(
        pc.equal(pc.field("product_locale"), "us")
    )
    docs = sources.read_docs(merged)
    assert docs.num_rows == 2
    sample = pa.table(
        {"product_id": ["B1"], "title": ["Shoes"], "category": [["a", "b"]], "esci_query_ids": [[1, 2]], "price": [9.5]}
    )
    found = sources.read_docs(sample)
    assert found.to_pylist() == [{"doc_id": "B1", "title": "Shoes", "category": "a, b", "price": 9.5}]
    leaks = {"esci_label", "esci_query_ids", "query", "query_id", "split"}
    assert not leaks & {*docs.column_names, *found.column_names}


def test_products_of_several_shops_under_one_id_are_refused_by_name():
    two = pa.concat_tables([PRODUCTS, PRODUCTS])
    with pytest.raises(InputError, match="row 1 and row 3 both hold doc_id 'B1'"):
        sources.read_docs(two)


def test_real_esci_is_read_whole(data):
    folder = data("esci_us_120")
    judgments = sources.read_judgments(folder / "judgments.parquet", scale=scales.ESCI)
    counts = judgments.group_by("relevance").aggregate([([], "count_all")]).sort_by("relevance")["count_all"].to_pylist()
    assert counts == [862, 237, 1520, 2698]
    queries = sources.read_queries(folder / "queries.parquet")
    assert queries.column_names == ["query_id", "query", "query_source", "n_judged"]
    assert sorted(sources.read_queries(folder / "judgments.parquet")["query_id"].to_pylist()) == sorted(
        queries["query_id"].to_pylist()
    )
    docs = sources.read_docs(folder / "products.parquet")
    assert docs.num_rows == 5642
    assert "esci_query_ids" not in docs.column_names
    assert {f.name for f in docs.schema if pa.types.is_string(f.type)} == {
        "doc_id",
        "title",
        "description",
        "bullet_points",
        "brand",
        "color",
        "category",
        "image_url",
    }
    assert store.attribution(docs) == store.attribution(judgments) == "Amazon Shopping Queries (ESCI), Apache-2.0"


def test_quepid_names_a_query_by_its_text(file):
    path = file("case.csv", 'query,docid,rating\n"red, shoes",8,3\n"red, shoes",9,0\nboots,8,1\n')
    judgments = sources.read_judgments(path, scale=scales.TREC)
    assert judgments.select(["query_id", "doc_id", "relevance"]).to_pylist()[0] == {
        "query_id": "red, shoes",
        "doc_id": "8",
        "relevance": 3,
    }
    assert sources.read_queries(path).to_pylist() == [{"query_id": t, "query": t} for t in ("red, shoes", "boots")]


def test_requests_of_ubi_are_counted_by_text():
    requests = pa.table(
        {
            "query_id": ["r1", "r2", "r2", "r3", "r4"],
            "client_id": ["c1", "c1", "c2", "c2", None],
            "user_query": ["shoes", " shoes", "shoes", "boots", ""],
            "timestamp": ["2024-12-10T00:00:01Z"] * 5,
        }
    )
    assert sources.read_queries(requests).to_pylist() == [
        {"query_id": "boots", "query": "boots", "users": 1, "impressions": 1},
        {"query_id": "shoes", "query": "shoes", "users": 2, "impressions": 3},
    ]


def test_real_ubi_queries_are_read(data):
    queries = sources.read_queries(data("ubi_esci_simulated") / "ubi_queries.parquet")
    assert queries.num_rows > 100
    assert sum(queries["impressions"].to_pylist()) <= 473


def test_beir_files_are_read(file):
    qrels = file("test.tsv", "query-id\tcorpus-id\tscore\n1\td1\t2\n")
    assert sources.read_judgments(qrels).select(["query_id", "doc_id", "relevance"]).to_pylist() == [
        {"query_id": "1", "doc_id": "d1", "relevance": 2}
    ]
    corpus = file("corpus.jsonl", '{"_id": "d1", "title": "T", "text": "x", "metadata": {}}\n')
    assert sources.read_docs(corpus).select(["doc_id", "title", "text"]).to_pylist() == [
        {"doc_id": "d1", "title": "T", "text": "x"}
    ]
    queries = file("queries.jsonl", '{"_id": "1", "text": "red shoes"}\n')
    assert sources.read_queries(queries).to_pylist() == [{"query_id": "1", "query": "red shoes"}]


def test_queries_with_two_texts_are_named_by_their_first_rows(file):
    path = file("p.csv", "query_id,query,doc_id,label\nq,red,a,1\nq,red,b,1\nq,blue,c,1\n")
    with pytest.raises(InputError, match=r"p.csv: line 2 and line 4 both hold query_id 'q' \(query 'red' and 'blue'\)"):
        sources.read_queries(path)


def test_further_columns_of_queries_pairs_and_designs_are_kept(file):
    queries = sources.read_queries(file("q.csv", "query_id,query,users,query_source\n1,red,,negations\n2,blue,3,other\n"))
    assert queries.to_pylist() == [
        {"query_id": "1", "query": "red", "users": None, "query_source": "negations"},
        {"query_id": "2", "query": "blue", "users": 3, "query_source": "other"},
    ]
    design = file("d.csv", "query_id,stratum,inclusion_probability,population,segment\n1,home / tail,0.25,8,tail\n")
    assert sources.read_design(design).to_pylist() == [
        {"query_id": "1", "stratum": "home / tail", "inclusion_probability": 0.25, "population": 8, "segment": "tail"}
    ]
    pairs = file("p.jsonl", '{"query_id": "1", "query": "red", "doc_id": "a", "text": "title: A", "value": 0.5}\n')
    assert sources.read_pairs(pairs)["value"].to_pylist() == [0.5]


def test_a_table_of_another_kind_is_named(tmp_path):
    made = {"verb": "collect", "inputs": [], "parameters": {}}
    path = store.write_table(sources.read_run(RUN).table, tmp_path / "r.parquet", "runs", **made)
    for read in (sources.read_docs, sources.read_judgments, sources.read_pairs, sources.read_design):
        with pytest.raises(InputError, match="is a table of runs; expected"):
            read(path)
    assert Path(path).exists()


@pytest.mark.parametrize("fast", [True, False])
def test_columns_that_nothing_is_read_from_may_hold_anything(file, monkeypatch, fast):
    """As an export of an index does, with its action lines and attributes of every shape."""
    if not fast:
        monkeypatch.setattr(tabular, "_fast_jsonl", lambda _: None)
    first = {
        "query_id": "r1",
        "user_query": "shoes",
        "client_id": "c1",
        "attributes": {"a": 1},
        "page": 1,
        "when": "2024-12-10",
    }
    other = {"query_id": "r2", "user_query": "shoes", "client_id": "c2", "attributes": [{"b": 2}], "page": "two"}
    lines = [{"index": {"_index": "ubi_queries"}}, first, other]
    path = file("ubi.ndjson", "".join(json.dumps(line) + "\n" for line in lines))
    assert sources.read_queries(path).to_pylist() == [{"query_id": "shoes", "query": "shoes", "users": 2, "impressions": 2}]
    rows = [{"query_id": "q", "doc_id": str(i), "score": s} for i, s in ((1, 1), (2, 1.5), (3, "two"))]
    wrong = file("r.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="line 3, column 'score': found 'two'"):
        sources.read_run(wrong)
