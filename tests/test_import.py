"""`germane import`: what comes in as any format goes out as a checked table, or as another format."""

import pandas as pd
import pytest

from germane import store
from germane.pipeline.import_ import KINDS, import_
from germane.types import InputError

TABLES = {
    "queries": "query_id,query\nq1,red shoes\nq2,hat\n",
    "docs": "doc_id,title\nd1,shoes\nd2,a hat\n",
    "run": "query_id,doc_id,score\nq1,d1,2.5\nq2,d2,1\n",
    "judgments": "query_id,doc_id,relevance\nq1,d1,2\nq2,d2,0\n",
    "pairs": "query_id,query,doc_id,text\nq1,red shoes,d1,shoes\nq2,hat,d2,a hat\n",
    "design": "query_id,stratum,inclusion_probability,population\nq1,a,0.5,2\nq2,b,0.5,2\n",
}


@pytest.fixture
def source(tmp_path):
    def write(kind):
        path = tmp_path / f"{kind}.csv"
        path.write_text(TABLES[kind], encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_table_of_its_kind_with_a_manifest(kind, source, tmp_path):
    made = import_(kind, source(kind), tmp_path / "out.parquet")
    assert (made.kind, made.rows, made.made) == (kind, 2, True)
    manifest = store.read_manifest(tmp_path / "out.parquet")
    assert manifest is not None
    assert (manifest.verb, [i.path for i in manifest.inputs]) == ("import", [source(kind).as_posix()])
    assert store.read_table(tmp_path / "out.parquet", manifest.schema.split()[0]).num_rows == 2


def test_the_same_source_again_is_nothing_to_do_and_another_one_is(source, tmp_path):
    path, out = source("run"), tmp_path / "out.parquet"
    assert import_("run", path, out).made
    assert not import_("run", path, out).made
    path.write_text(TABLES["run"] + "q3,d1,1\n", encoding="utf-8")
    assert import_("run", path, out) == (str(out), True, "run", 3, "")


def test_another_scale_or_judge_is_another_table(source, tmp_path):
    path, out = source("judgments"), tmp_path / "out.parquet"
    for options in ({}, {"scale": "trec"}, {"scale": "trec", "judge": "human:team"}):
        assert import_("judgments", path, out, **options).made
    found = store.read_table(out, "judgments").to_pandas()
    assert set(found["scale"]) == {"trec"}
    assert set(found["judge"]) == {"human:team"}


def test_plurals_and_spellings_of_a_kind_are_understood(source, tmp_path):
    assert import_("runs", source("run"), tmp_path / "a.parquet").kind == "run"
    assert import_("designs", source("design"), tmp_path / "b.parquet").kind == "design"
    with pytest.raises(InputError, match="did you mean 'judgments'"):
        import_("judgements", source("judgments"), tmp_path / "c.parquet")


@pytest.mark.parametrize(
    ("kind", "name"), [("run", "a.run"), ("run", "a.jsonl"), ("judgments", "a.qrels"), ("judgments", "a.csv")]
)
def test_runs_and_judgments_go_to_other_formats_and_back(kind, name, source, tmp_path):
    import_(kind, source(kind), tmp_path / "a.parquet")
    import_(kind, tmp_path / "a.parquet", tmp_path / name)
    import_(kind, tmp_path / name, tmp_path / "b.parquet")
    columns = ["query_id", "doc_id", "score" if kind == "run" else "relevance"]
    first, second = (pd.read_parquet(tmp_path / f"{x}.parquet")[columns] for x in "ab")
    pd.testing.assert_frame_equal(first, second)


def test_a_table_goes_to_standard_output_as_csv(source, capfdbinary):
    import_("queries", source("queries"), "-")
    assert capfdbinary.readouterr().out.splitlines()[1] == b'"q1","red shoes"'


@pytest.mark.parametrize(
    ("kind", "out", "options", "complaint"),
    [
        ("queries", None, {}, "where to"),
        ("queries", "x.csv", {}, "is a .parquet file"),
        ("run", "x.odd", {}, "unknown suffix '.odd'"),
        ("run", "x.parquet", {"judge": "me"}, "--judge"),
        ("judgments", "x.parquet", {"scale": "esc"}, "esci"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(kind, out, options, complaint, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = source(kind)
    with pytest.raises(InputError, match=complaint):
        import_(kind, path, out, **options)
    assert list(tmp_path.iterdir()) == [path]
