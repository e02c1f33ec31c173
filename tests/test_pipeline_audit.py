"""`sample --for audit` as a file: blind, ready to be filled, and never drawn over people's answers."""

import csv

import pytest

from germane import store
from germane.pipeline.audit import audit
from germane.types import InputError


@pytest.fixture
def experiment(file):
    queries = [f"q{i}" for i in range(40)]
    runs = {}
    for name, step in (("control", 1), ("treatment", 3)):
        rows = [f"{q},d{(i * step + j * 7) % 20},{-j}" for i, q in enumerate(queries) for j in range(6)]
        runs[name] = file(f"{name}.csv", "query_id,doc_id,score\n" + "\n".join(rows) + "\n")
    texts = file("queries.csv", "query_id,query\n" + "\n".join(f"{q},=SUM(A1) {q}" for q in queries) + "\n")
    docs = file("docs.csv", "doc_id,title\n" + "\n".join(f"d{i},item {i}" for i in range(20)) + "\n")
    return {"design": texts, "docs": docs, **runs}


def draw(experiment, out, **options):
    given = {"n": 10, "seed": 1, "k": 6} | options
    return audit(experiment["design"], out, **{k: experiment[k] for k in ("control", "treatment", "docs")}, **given)


def test_the_file_is_ready_to_be_filled_and_no_text_is_a_formula(experiment, tmp_path):
    made = draw(experiment, tmp_path / "audit.csv")
    rows = list(csv.DictReader((tmp_path / "audit.csv").read_text().splitlines()))
    assert made.pairs == len(rows)
    assert {row["label"] for row in rows} == {""}
    assert all(row["query"].startswith("'=") for row in rows)
    assert {row["drawn"] for row in rows} == {str(len(rows))}
    assert not {"control_rank", "treatment_rank", "score", "judge"} & set(rows[0])


def test_the_same_again_does_nothing_and_a_filled_file_is_never_drawn_over(experiment, tmp_path):
    out = tmp_path / "audit.csv"
    assert draw(experiment, out).made
    assert not draw(experiment, out).made
    filled = out.read_text().replace('""', '"relevant"')
    out.write_text(filled)
    with pytest.raises(InputError, match="people's answers may be in it"):
        draw(experiment, out)
    with pytest.raises(InputError, match="people's answers may be in it"):
        draw(experiment, out, n=20)
    assert out.read_text() == filled


def test_parquet_keeps_its_kind(experiment, tmp_path):
    draw(experiment, tmp_path / "audit.parquet", unit="documents", n=30)
    assert store.read_table(tmp_path / "audit.parquet", "audits")["unit"].unique().to_pylist() == ["documents"]


def test_a_document_that_the_texts_lack_is_named(experiment, tmp_path, file):
    experiment["docs"] = file("few.csv", "doc_id,title\nd1,one\n")
    with pytest.raises(InputError, match="the documents given lack"):
        draw(experiment, tmp_path / "audit.csv")
    assert not (tmp_path / "audit.csv").exists()
