"""Files that come in and go out: every format gives the same table, and every wrong one is named with its line."""

import gzip
import io
import json
import os
import sys
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from germane import scales, sources
from germane.sources import tabular, trec
from germane.types import InputError, Judgment, Outcome

SUFFIXES = {"run": (".run", ".csv", ".tsv", ".jsonl", ".parquet"), "judgments": (".csv", ".tsv", ".jsonl", ".parquet")}
RUN = {"q1": {"a": 2.0, "b": 1 / 3, "007": -1e-30}, "q2": {"a": 5.0}}


def lists(run):
    """{query_id: [doc_id, ...]} by rank."""
    found = {}
    for row in run.table.to_pylist():
        found.setdefault(row["query_id"], []).append(row["doc_id"])
        assert row["rank"] == len(found[row["query_id"]])
    return found


# --- round trips ----------------------------------------------------------------------------------------------------

plain = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=6)
wild = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=6)
numbers = st.floats(-3e38, 3e38, allow_nan=False)


def runs_of(ids):
    return st.dictionaries(ids, st.dictionaries(ids, numbers, min_size=1, max_size=4), min_size=1, max_size=3)


@pytest.mark.parametrize("suffix", SUFFIXES["run"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(drawn=st.data())
def test_a_run_comes_back_from_every_format_as_it_went(tmp_path, suffix, drawn):
    """Ids of any letters, but for white space in TREC's format; scores to the last bit."""
    run = sources.read_run(drawn.draw(runs_of(plain if suffix == ".run" else wild)), name="control")
    again = sources.read_run(sources.write_run(run, tmp_path / f"control{suffix}"))
    assert again.table.equals(run.table)
    assert again.name == "control"


@pytest.mark.parametrize("suffix", SUFFIXES["judgments"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(drawn=st.data())
def test_judgments_come_back_from_every_format_as_they_went(tmp_path, suffix, drawn):
    note = st.one_of(st.just(""), wild)
    label = st.tuples(st.integers(0, 3), st.just("label"))
    none = st.tuples(st.none(), st.sampled_from([str(o) for o in Outcome if o != "label"]))
    probs = st.one_of(st.none(), st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
    pairs = drawn.draw(st.lists(st.tuples(wild, wild), min_size=1, max_size=4, unique=True))
    rows = []
    for query_id, doc_id in pairs:
        relevance, outcome = drawn.draw(st.one_of(label, none))
        rows.append(
            Judgment(query_id, doc_id, relevance, drawn.draw(probs), "llm", "f1", "esci", "g1", outcome, drawn.draw(note))
        )
    judgments = sources.read_judgments(rows)
    path = sources.write_judgments(judgments, tmp_path / f"llm{suffix}")
    assert sources.read_judgments(path).to_pylist() == judgments.to_pylist()
    assert sources.read_judgments(path, scale=scales.ESCI).to_pylist() == judgments.to_pylist()


def test_trec_lines_are_those_of_trec_eval(tmp_path):
    run = sources.read_run(RUN, name="my engine")
    path = sources.write_run(run, tmp_path / "control.run")
    assert path.read_text().splitlines() == [
        "q1 Q0 a 1 2 my_engine",
        "q1 Q0 b 2 0.3333333333333333 my_engine",
        "q1 Q0 007 3 -1e-30 my_engine",
        "q2 Q0 a 1 5 my_engine",
    ]
    ir_measures = pytest.importorskip("ir_measures")
    assert [tuple(row) for row in ir_measures.read_trec_run(str(path))] == [
        (q, d, s) for q, docs in RUN.items() for d, s in sorted(docs.items(), key=lambda kv: -kv[1])
    ]


def test_qrels_hold_labels_only_and_an_answer_without_a_label_is_not_written_as_zero(tmp_path):
    judgments = sources.read_judgments({"q": {"a": 2, "b": None, "c": 0}}, scale=scales.TREC)
    path = sources.write_judgments(judgments, tmp_path / "gold.qrels")
    assert path.read_text() == "q 0 a 2\nq 0 c 0\n"
    again = sources.read_judgments(path)
    assert again.select(["query_id", "doc_id", "relevance"]).to_pylist() == [
        {"query_id": "q", "doc_id": "a", "relevance": 2},
        {"query_id": "q", "doc_id": "c", "relevance": 0},
    ]
    assert set(again["judge"].to_pylist()) == {"human:gold"}


@pytest.mark.parametrize("bad", ["two words", "tab\tbed", "wide\u00a0space", "line\nfeed"])
def test_an_id_with_white_space_has_no_place_in_trec_files(tmp_path, bad):
    with pytest.raises(InputError, match=r"doc_id .* holds white space, .*: write \.csv, \.jsonl or \.parquet"):
        sources.write_run(sources.read_run({"q": {bad: 1.0}}), tmp_path / "r.run")
    with pytest.raises(InputError, match=r"query_id .* holds white space"):
        sources.write_judgments(sources.read_judgments({bad: {"a": 1}}), tmp_path / "r.qrels")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".xlsx", ".txt", ".qrels"])
def test_an_unknown_suffix_is_named_before_anything_is_written(tmp_path, suffix):
    with pytest.raises(InputError, match=r"unknown suffix .*; expected \.run, \.csv, \.tsv, \.jsonl or \.parquet"):
        sources.write_run(sources.read_run(RUN), tmp_path / f"r{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_dash_writes_to_standard_output(capfdbinary):
    sources.write_run(sources.read_run({"q": {"a": 1.0}}, name="x"), "-")
    sources.write_judgments(sources.read_judgments({"q": {"a": 1}}), "-")
    assert capfdbinary.readouterr().out == b"q Q0 a 1 1 x\nq 0 a 1\n"


@pytest.mark.parametrize("suffix", SUFFIXES["run"])
def test_a_file_is_read_alike_from_disk_from_a_gzip_and_from_a_pipe(tmp_path, monkeypatch, suffix):
    run = sources.read_run(RUN)
    path = sources.write_run(run, tmp_path / f"r{suffix}")
    zipped = tmp_path / f"z{suffix}.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert sources.read_run(zipped).table.equals(run.table)
    assert sources.read_run(zipped).name == "z"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    piped = sources.read_run("-")
    assert piped.table.equals(run.table)
    assert piped.name == "stdin"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.run")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe.run").write_text("q Q0 a 1 2.5 x\n"))
    writer.start()
    assert lists(sources.read_run(tmp_path / "pipe.run")) == {"q": ["a"]}
    writer.join()


# --- wrong files ----------------------------------------------------------------------------------------------------

HEAD = "query_id,doc_id,score\n"
WRONG_RUNS = [
    ("empty.run", "", "empty.run is empty: expected at least one row"),
    ("blank.csv", "\n \n", "blank.csv is empty: expected at least one row"),
    ("header.csv", HEAD, "header.csv holds no rows; expected at least one result"),
    (
        "twice.run",
        "q Q0 a 1 2 t\n\nq Q0 a 2 1 t\n",
        r"twice.run: line 1 and line 3 both hold query_id 'q', doc_id 'a' \(score 2.0",
    ),
    ("nan.run", "q Q0 b 1 1 t\nq Q0 a 1 NaN t\n", "nan.run, line 2, column 'score': found nan for query 'q', document 'a'"),
    ("inf.csv", f"{HEAD}q,a,inf\n", "inf.csv, line 2, column 'score': found inf"),
    (
        "five.run",
        "q Q0 a 1 2 t\nq Q0 b 1 2\n",
        "five.run, line 2: found 5 fields .*; expected 6: query_id Q0 doc_id rank score tag",
    ),
    ("qrels.run", "q 0 a 1\n", "qrels.run, line 1: found 4 fields"),
    ("word.run", "q  Q0 a 1 two t\n", "word.run, line 1, column 'score': found 'two'; expected a number"),
    ("latin.run", b"q Q0 a\xe9 1 2 t\n", r"latin.run, line 1: found byte 0xe9 at position 7; expected UTF-8 text"),
    ("latin.csv", HEAD.encode() + b"q,a,1\nq,caf\xe9,2\n", "latin.csv, line 3: found byte 0xe9 at position 6; expected UTF-8"),
    ("latin.jsonl", b'{"query_id":"q\xe9"}\n', "latin.jsonl, line 1: found byte 0xe9"),
    ("utf16.csv", (HEAD + "q,a,1\n").encode("utf-16"), "utf16.csv is UTF-16; expected UTF-8 text: save it as UTF-8"),
    ("binary.txt", b"\x7fELF\0\0\0", "binary.txt holds zero bytes and is no text; expected UTF-8 text or parquet"),
    ("short.csv", f"{HEAD}q,a,1\nq,b\n", "short.csv, line 3: found 2 fields; expected 3: 'query_id, doc_id, score'"),
    ("long.csv", f"{HEAD}q,a,1,2\n", "long.csv, line 2: found 4 fields; expected 3"),
    (
        "quotes.csv",
        f'{HEAD}"q\n1",a,1\n\nq,"b,x',
        r"quotes.csv, line 5: unexpected end of data; expected fields quoted as in RFC",
    ),
    ("number.csv", f'{HEAD}"q\n1",a,1\n\nq,b,x\n', "number.csv, line 5, column 'score': found 'x'; expected a number"),
    ("blank_id.csv", f"{HEAD}q,a,1\nq,,1\n", "blank_id.csv, line 3, column 'doc_id': empty"),
    ("blank_score.csv", f"{HEAD}q,a,\n", "blank_score.csv, line 2, column 'score': empty; expected a number"),
    ("bool.csv", f"{HEAD}q,a,True\n", "bool.csv, line 2, column 'score': found 'True'; expected a number"),
    (
        "same.csv",
        "query_id,doc_id,doc_id\nq,a,b\n",
        "same.csv, line 1: found columns 'query_id, doc_id, doc_id'; expected a header",
    ),
    (
        "unnamed.csv",
        "query_id,,score\nq,a,1\n",
        "unnamed.csv, line 1: found columns 'query_id, , score'; expected a header line",
    ),
    (
        "columns.csv",
        "query_id,item,score\nq,a,1\n",
        "columns.csv: no column for doc_id: found query_id, item, score; expected doc_id",
    ),
    (
        "scoreless.csv",
        "query_id,doc_id\nq,a\n",
        "scoreless.csv: no column for score: found query_id, doc_id; expected score or rank",
    ),
    (
        "cut.jsonl",
        '{"query_id":"q","doc_id":"a","score":1}\n{"query_id":\n',
        "cut.jsonl, line 2: no JSON .*; expected one object",
    ),
    ("list.jsonl", "[1, 2]\n", r"list.jsonl, line 1: found \[1, 2\]; expected an object"),
    (
        "mixed.jsonl",
        '{"query_id":"q","doc_id":"a","score":1}\n\n{"query_id":"q","doc_id":"b","score":"x"}\n',
        "mixed.jsonl, line 3, c",
    ),
    ("true.jsonl", '{"query_id":"q","doc_id":"a","score":true}\n', "true.jsonl: column 'score' has type bool; expected double"),
    ("nan.jsonl", '{"query_id":"q","doc_id":"a","score":NaN}\n', "nan.jsonl, line 1, column 'score': found nan"),
    ("null.jsonl", '{"query_id":"q","doc_id":null,"score":1}\n', "null.jsonl, line 1, column 'doc_id': empty"),
    ("lone.jsonl", '{"query_id":"q","d\\ud800":1}\n', r"lone.jsonl: found a column named 'd\\ud800'; expected a name"),
    ("deep.jsonl", "[" * 100_000, "deep.jsonl, line 1: no JSON"),
    ("words.txt", "hello there\n", "words.txt, line 1: found 'hello there'; expected a header line that names columns, JSON"),
    ("cut.parquet", b"PAR1half", "cut.parquet is not a whole parquet file"),
    ("text.parquet", HEAD, "text.parquet is not a whole parquet file"),
    ("cut.csv.gz", gzip.compress(b"x" * 1000)[:20], "cut.csv.gz is not a whole gzip"),
    ("plain.csv.gz", HEAD, "plain.csv.gz is no gzip"),
    (
        "wide.run",
        f"q Q0 {'a' * 10_001} 1 1 t\n",
        "wide.run, line 1, column 'doc_id': 10,001 characters; expected at most 10,000",
    ),
    ("array.json", "[1]", r"the run given, row 1: found 1; expected a named tuple or a dict of columns"),
    ("flat.json", '{"q": 1}', "the run given: 'q' holds 1; expected a dict of doc_id to score"),
    ("cut.json", '{"q": ', r"cut.json: no JSON .*; for one object a line name it .jsonl"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG_RUNS, ids=[name for name, *_ in WRONG_RUNS])
def test_a_wrong_run_is_one_line_that_names_file_line_and_column(file, name, content, message):
    with pytest.raises(InputError, match=message) as raised:
        sources.read_run(file(name, content))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "message"), [("none.run", "there is no such file: check the path"), (".", "it is a folder")])
def test_a_path_that_is_no_file_is_named(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        sources.read_run(tmp_path / name)


def test_a_query_of_200_000_characters_is_one_clear_line_and_a_document_may_be_that_long(file):
    long = "x" * 200_000
    for name, content in (
        ("q.csv", f"query_id,query\n1,short\n2,{long}\n"),
        ("q.tsv", f"query_id\tquery\n1\tshort\n2\t{long}\n"),
        ("q.jsonl", f'{{"query_id":"1","query":"short"}}\n{{"query_id":"2","query":"{long}"}}\n'),
    ):
        where = "line 2" if name == "q.jsonl" else "line 3"
        message = f"{name}, {where}, column 'query': 200,000 characters; expected at most 10,000: is a document's text in this"
        with pytest.raises(InputError, match=message):
            sources.read_queries(file(name, content))
    huge = "x" * 20_000_000  # larger than a block of the fast reader
    assert len(sources.read_docs(file("d.csv", f"doc_id,title\n1,{huge}\n"))["title"][0].as_py()) == 20_000_000


valid = {
    "r.run": b"q1 Q0 a 1 2.5 t\nq1 Q0 b 2 1.5 t\r\nq2 Q0 a 1 9 t\n",
    "j.qrels": b"q1 0 a 1\nq1 0 b 0\n",
    "r.csv": b'\xef\xbb\xbfquery_id,doc_id,score,relevance\n"q ""1""",a,1,2\nq,"b\nc",2,0\n',
    "r.tsv": b"query_id\tdoc_id\tscore\trelevance\nq\ta\t1\t2\n",
    "r.jsonl": b'{"query_id":"q","doc_id":"a","score":1,"relevance":0,"query":"x"}\n',
    "r.json": b'{"q":{"a":1}}',
    "r.txt": b"q1 Q0 a 1 2.5 t\n",
}


def parquet_bytes():
    out = io.BytesIO()
    pq.write_table(sources.read_run(RUN).table.append_column("relevance", pa.array([1, 2, 3, 0])), out)
    return out.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=250)
@given(drawn=st.data())
def test_damaged_files_give_a_table_or_one_clear_line(tmp_path, drawn):
    """Cut, spliced, and with bytes changed, each reader raises InputError or nothing at all."""
    name = drawn.draw(st.sampled_from([*valid, "r.parquet"]))
    content = bytearray(valid.get(name) or parquet_bytes())
    for _ in range(drawn.draw(st.integers(0, 4))):
        at = drawn.draw(st.integers(0, len(content)))
        what = drawn.draw(
            st.one_of(
                st.binary(max_size=3), st.sampled_from([b'"', b"\n", b",", b"\t", b" ", b"\r", b"\0", b"NaN", b"{", b"\xff"])
            )
        )
        content[at : at + drawn.draw(st.integers(0, 3))] = what
    path = tmp_path / name
    path.write_bytes(content)
    for read in (sources.read_run, sources.read_judgments, sources.read_queries, sources.read_docs, sources.read_design):
        try:
            read(path)
        except InputError as error:
            message = str(error)
        else:
            message = ""
        assert "\n" not in message


# --- what is easily read wrong --------------------------------------------------------------------------------------


def test_ids_that_look_like_numbers_blanks_or_missing_values_stay_as_written(file):
    ids = ["007", "1e5", "null", "NA", "None", "nan", "true", "-0", "1.0", "2020-01-01"]
    run = sources.read_run(file("r.csv", HEAD + "".join(f"{i},{i},1\n" for i in ids)))
    assert sorted(run.table["query_id"].to_pylist()) == sorted(ids)
    lines = "".join(json.dumps({"query_id": i, "doc_id": i, "score": 1}) + "\n" for i in ids)
    assert sources.read_run(file("r.jsonl", lines)).table.equals(run.table)
    assert sources.read_run(file("r.run", "".join(f"{i} Q0 {i} 1 1 t\n" for i in ids))).table.equals(run.table)


def test_whole_number_ids_of_any_size_become_their_digits(file):
    big = 12345678901234567890123
    lines = "".join(json.dumps({"query_id": i, "doc_id": i, "score": 1}) + "\n" for i in (7, big))
    assert sources.read_run(file("r.jsonl", lines)).table["doc_id"].to_pylist() == [str(big), "7"]
    assert lists(sources.read_run({1: {2: 1.0, 3: 2.0}})) == {"1": ["3", "2"]}


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffquery_id,doc_id,score\r\nq,a,1\r\nq,b,2\r\n",
        'query_id,doc_id,score\n\nq,a,1\n\n"q",b,2',
        " query_id , doc_id,score \nq,a, 1 \nq,b,2\n",
        "score,extra,doc_id,query_id\n1,x,a,q\n2,,b,q\n",
        "Query ID,Doc-ID,SCORE\nq,a,1\nq,b,2\n",
        "qid,docno,score\nq,a,1.0\nq,b,2e0\n",
    ],
)
def test_spreadsheets_have_their_ways_and_are_read_all_the_same(file, content):
    assert lists(sources.read_run(file("r.csv", content))) == {"q": ["b", "a"]}
    assert lists(sources.read_run(file("r.txt", content.replace(",", "\t")))) == {"q": ["b", "a"]}


@pytest.mark.parametrize(
    "content",
    [
        "q Q0 a 1 1 t\nq Q0 b 2 2 t\n",
        "\ufeffq\tQ0\ta\t1\t1\tt\r\nq\tQ0\tb\t2\t2\tt\r\n",
        "  q  Q0 a   1 1.0   t  \n\n\nq\tQ0 b 2 \t2 t",
        'q Q0 a 1 1 "t\nq Q0 b 2 2 t"\n',
        "q Q0 a 1 1 t\rq Q0 b 2 2 t\r",
    ],
)
@pytest.mark.parametrize("name", ["r.run", "r.txt", "r"])
def test_trec_columns_are_set_apart_by_any_white_space(file, content, name):
    assert lists(sources.read_run(file(name, content))) == {"q": ["b", "a"]}


@pytest.mark.parametrize("suffix", [".run", ".csv", ".jsonl"])
def test_the_fast_reader_and_the_slow_one_read_alike(file, monkeypatch, suffix):
    path = sources.write_run(sources.read_run(RUN), file("r", "").with_name(f"r{suffix}"))
    fast = sources.read_run(path)
    for module, function in ((trec, "_fast"), (tabular, "_fast_csv"), (tabular, "_fast_jsonl")):
        monkeypatch.setattr(module, function, lambda *_: None)
    assert sources.read_run(path).table.equals(fast.table)


def test_a_table_without_scores_is_ordered_by_its_ranks(file):
    run = sources.read_run(file("r.csv", "query_id,doc_id,rank\nq,a,2\nq,b,1\nq,c,10\n"))
    assert lists(run) == {"q": ["b", "a", "c"]}
    assert run.table["score"].to_pylist() == [-1.0, -2.0, -10.0]
    with pytest.raises(InputError, match="line 3, column 'rank': found 'x'"):
        sources.read_run(file("x.csv", "query_id,doc_id,rank\nq,a,2\nq,b,x\n"))


def test_ranks_are_made_from_scores_whatever_the_file_says():
    run = sources.read_run(pa.table({"query_id": ["q"] * 3, "doc_id": ["a", "b", "c"], "score": [1, 3, 1], "rank": [1, 2, 3]}))
    assert lists(run) == {"q": ["b", "c", "a"]}
