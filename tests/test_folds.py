"""Judgments out of fold: no judge has seen the query, finished folds are kept, and what a judge costs is measured."""

import json

import counted_judges
import numpy as np
import pytest

from germane.training.folds import Cost, by_name, digest, loads, out_of_fold, parameters
from germane.types import InputError


@pytest.fixture(scope="module")
def rows():
    return counted_judges.whole(*counted_judges.world())


def run(rows, folder, trainer=None, **options):
    made = trainer or counted_judges.trainer()
    return out_of_fold(rows, made, name="counted", folder=folder, load=counted_judges.load, **options)


def test_each_pair_is_judged_once_in_order_by_a_judge_that_never_saw_its_query(rows, tmp_path):
    log = []
    found = run(rows, tmp_path, counted_judges.trainer(log=log), k=5)
    assert found.judgments["doc_id"].to_pylist() == list(rows.doc_id)
    assert len(log) == 5
    learnt = [set(ids) for ids in log]
    for query in set(rows.query_id):
        assert sum(query in ids for ids in learnt) == 4


def test_five_folds_are_one_judge(rows, tmp_path):
    table = run(rows, tmp_path).judgments
    assert set(table["judge"].to_pylist()) == {"counted"}
    (fingerprint,) = set(table["fingerprint"].to_pylist())
    assert fingerprint.startswith("folds:")
    other = run(rows, tmp_path / "other", counted_judges.trainer(noise=0.9)).judgments
    assert other["fingerprint"][0].as_py() != fingerprint


def test_one_judge_of_random_weights_among_the_folds_makes_all_of_them_random(rows, tmp_path):
    def load(folder):
        judge = counted_judges.load(folder)
        return RandomWeights(judge.about, judge.table) if folder.name == "fold-2" else judge

    found = out_of_fold(rows, counted_judges.trainer(), name="counted", folder=tmp_path, load=load)
    assert found.judgments["fingerprint"][0].as_py().startswith("random:folds:")


class RandomWeights(counted_judges.Counted):
    fingerprint = "random:1"


def test_a_run_that_was_killed_goes_on_after_the_last_whole_fold(rows, tmp_path):
    log, count = [], 0
    inner = counted_judges.trainer(log=log)

    def fails(examples, out):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return inner(examples, out)

    with pytest.raises(KeyboardInterrupt):
        run(rows, tmp_path, fails)
    found = run(rows, tmp_path, fails)
    assert len(log) == 5
    assert found.judgments.equals(run(rows, tmp_path / "other").judgments)


def test_finished_folds_are_not_trained_again_unless_something_changed(rows, tmp_path):
    log = []
    made = counted_judges.trainer(log=log)
    for options in ({}, {}, {"recipe": {"epochs": 2}}, {"seed": 1}, {"k": 3}, {"k": 3}):
        run(rows, tmp_path, made, **options)
    assert len(log) == 5 + 5 + 5 + 3
    shorter = rows.take(np.arange(len(rows) - 12))
    run(shorter, tmp_path, made, k=3)
    assert len(log) == 18 + 3


def test_judges_are_kept_where_they_are_asked_for(rows, tmp_path):
    assert run(rows, tmp_path).judges == ()
    assert not list(tmp_path.rglob("counts.json"))
    kept = run(rows, tmp_path, keep=True)
    assert [judge.is_dir() for judge in kept.judges] == [True] * 5


def test_what_a_judge_costs_is_measured(rows, tmp_path):
    cost = run(rows, tmp_path).cost
    assert cost.rows_per_s > 0
    assert cost.latency_ms > 0
    assert cost.training_s == 0.01
    assert "processor" in cost.machine
    assert cost.parameters is None
    assert run(rows, tmp_path).notes == ("a note",)


def test_parameters_are_counted_in_the_heads_of_safetensors(tmp_path):
    head = json.dumps({"a": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}, "__metadata__": {}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(48))
    assert parameters(tmp_path) == 12


def test_more_folds_than_queries_are_refused(rows, tmp_path):
    with pytest.raises(InputError, match="31 folds of 30 queries"):
        run(rows, tmp_path, k=31)


def test_the_digest_of_examples_is_that_of_their_words_and_grades(rows):
    assert digest(rows) == digest(rows.take(np.arange(len(rows))))
    assert digest(rows) != digest(rows.take(np.arange(len(rows) - 1)))


def test_folders_of_contestants_are_told_apart():
    assert by_name({"org/model a": 0, "org/model-a": 0, "b": 0}) == {
        "org/model a": "org-model-a-0",
        "org/model-a": "org-model-a-1",
        "b": "b",
    }
    assert Cost().rows_per_s is None


def test_judges_are_asked_on_the_device_that_they_were_trained_on():
    assert loads({"epochs": 1}) == {}
    assert loads({"device": "cpu"})["load"].keywords == {"device": "cpu"}
