"""The tour at a tiny size: three judges from scratch are trained, labelled and compared, and named as what they are."""

from pathlib import Path

import pytest

from germane import store
from germane.judges import folder
from germane.types import InputError, Leaderboard

pytest.importorskip("torch")

from germane.pipeline.tour import Size, tour
from germane.training import scratch

TINY = Size(
    items=2_000, queries=200, golden=24, pairs=1_000, more=400, made_up=300, taught=120, width=32, layers=1, pieces=1_500,
    epochs=8, rate=4e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Leaderboard]:
    models = tmp_path_factory.mktemp("no-models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GERMANE_MODELS", str(models))
        out = tmp_path_factory.mktemp("tour")
        return out, tour(out, size=TINY)


def test_three_judges_stand_on_the_same_golden_pairs_beside_the_best_that_text_allows(made):
    out, board = made
    assert {judge.facts.kind for judge in board.judges} == {"cross-encoder", "generative", "two-tower"}
    assert board.common == store.read_table(out / "golden.parquet", "pairs").num_rows
    assert board.ceiling is not None
    assert "simulated" in board.ceiling.judge
    for judge in board.judges:
        exact = judge.found["exact"]
        assert exact.low <= exact.value <= exact.high < board.ceiling.found["exact"].value
        assert "exact" in judge.of_ceiling
    assert (out / "leaderboard.html").is_file()


def test_each_judge_is_named_as_what_it_is(made):
    _, board = made
    for judge in board.judges:
        assert "from scratch" in judge.judge
        assert "parameters, simulated" in judge.judge
        assert not judge.facts.random_weights  # it was trained: little, but really


def test_the_student_says_who_taught_it(made):
    out, board = made
    student = next(judge for judge in board.judges if judge.facts.kind == "two-tower")
    assert student.facts.lineage == (folder.read(out / "cross-encoder").fingerprint, "rule:listings-3")
    assert student.retention is not None


def test_a_second_tour_trains_nothing_anew(made):
    out, board = made
    before = {name: (out / name / "judge.json").stat().st_mtime_ns for name in ("cross-encoder", "teacher", "student")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GERMANE_MODELS", str(out / "none"))
        assert tour(out, size=TINY) == board
    assert before == {name: (out / name / "judge.json").stat().st_mtime_ns for name in before}


def test_a_base_that_is_not_there_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        tour(tmp_path, encoder="./not here", size=TINY)


def test_models_from_scratch_are_the_same_for_the_same_texts_and_seed(tmp_path):
    texts = ["a garden chair", "ein blauer Stuhl, 45 cm"] * 20
    for make, name in ((scratch.encoder, "bert"), (scratch.language_model, "llama")):
        counts = {make(tmp_path / f"{name}-{i}", texts, width=32, layers=1, pieces=300) for i in range(2)}
        assert len(counts) == 1
        first, second = (store.sha256(tmp_path / f"{name}-{i}" / "model.safetensors") for i in range(2))
        assert first == second
