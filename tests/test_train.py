"""`germane train cross-encoder|teacher|student`: files in, the folder of a judge out, and every option arrives."""

import json
from dataclasses import replace
from pathlib import Path

import language_models
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_encoders as tiny
from typer.main import get_command
from typer.testing import CliRunner

import germane.cli.train  # noqa: F401  (its commands join the app)
from germane import cli, scales, store
from germane.judges import folder
from germane.judges.loading import load
from germane.pipeline import train as stage
from germane.pipeline.train import Given
from germane.training import cross_encoder, distil, sft
from germane.training.examples import Examples
from germane.training.finishing import NOBODY, Trained
from germane.training.running import History
from germane.types import InputError

TRAINERS = {"cross-encoder": cross_encoder, "teacher": sft, "student": distil}
QUICK = ("--max-steps", "2", "--batch", "8", "--device", "cpu")
SMALL = tiny.examples(4, docs=4)


def write(place: Path, name: str, of: Examples = SMALL, **labels) -> tuple[Path, Path]:
    """The pairs and the labels of examples, as files. labels: columns to add, or to put in another's place."""
    pairs, said = place / f"{name}.parquet", place / f"{name}-labels.parquet"
    ids = {"query_id": list(of.query_id), "doc_id": list(of.doc_id)}
    pq.write_table(pa.table({**ids, "query": list(of.query), "text": list(of.text)}), pairs)
    n = len(of)
    whole = {**ids, "relevance": of.grade, "judge": ["human:ann"] * n, "fingerprint": [""] * n, "scale": [of.scale.name] * n}
    pq.write_table(pa.table(whole | labels), said)
    return pairs, said


@pytest.fixture
def files(tmp_path, monkeypatch):
    """pairs.parquet and its labels, in the folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    return write(tmp_path, "pairs")


@pytest.fixture
def trained(monkeypatch):
    """Trainers that train nothing: what each was called with, the last call last."""
    calls = []

    def train(rows, dev, out, *, recipe, **more):
        calls.append({"rows": rows, "dev": dev, "recipe": recipe, **more})
        with folder.writing(out, folder.About("by-hand", out.name, rows.scale, "none", 8)) as part:
            (part / "weights.txt").write_text(repr(recipe))
        return Trained(out, folder.read(out).fingerprint, History(2, (0.5,), (), None, 1.0, 9.0, None), {"macro F1": 0.5})

    for module in TRAINERS.values():
        monkeypatch.setattr(module, "train", train)
    return calls


def run(kind, *options, out="judge", base="base", scale="esci", files=("pairs.parquet", "pairs-labels.parquet")):
    whole = ["train", kind, *map(str, files), "--scale", scale, "--base", str(base), "--out", str(out), *map(str, options)]
    return CliRunner().invoke(cli.app, whole)


def refused(result, new="judge"):
    """The line that a command says which ends with exit code 2 (`main` prints an InputError so) and leaves nothing."""
    assert isinstance(result.exception, InputError), result.output or result.exception
    assert "\n" not in str(result.exception)
    left = [path.name for path in Path().iterdir() if path.name == new or path.suffix in (".part", ".checkpoints", ".old")]
    assert left == []
    return str(result.exception)


# --- from files to a judge ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    pytest.importorskip("torch")
    place = tmp_path_factory.mktemp("bases")
    made = {kind: tiny.model(place / kind, kind) for kind in ("bert", "vit")}
    return made | {"llama": language_models.folder(place / "llama")}


@pytest.mark.parametrize(
    ("kind", "base", "options"),
    [
        ("cross-encoder", "bert", ("--max-length", "32")),
        ("teacher", "llama", ("--max-length", "32", "--lora", "0")),
        ("student", "bert", ("--no-onnx", "--max-text", "32")),
    ],
)
def test_files_become_a_judge_that_knows_its_teachers_and_the_same_command_does_nothing(kind, base, options, bases, files):
    write(Path(), "taught", judge=["llm"] * 16, fingerprint=["llm:1"] * 16)
    said = {"judge": {"fingerprint": "llm:1", "lineage": ["llm:0"], "taught_by": ["elder"]}}
    store.write_manifest("taught-labels.parquet", verb="label", inputs=[], parameters={}, extra=said)
    of = {"base": bases[base], "files": ("taught.parquet", "taught-labels.parquet")}
    first = run(kind, *QUICK, *options, **of)
    assert first.exit_code == 0, first.exception
    about = folder.read("judge")
    assert about.lineage == ("llm:1", "llm:0")
    assert about.taught_by == ("llm", "elder")
    assert f"fingerprint: {about.fingerprint}" in first.output
    assert sum(judgment.relevance is not None for judgment in load("judge", device="cpu")(tiny.pairs(SMALL))) >= 0
    before = Path("judge/judge.json").stat().st_mtime_ns
    again = run(kind, *QUICK, *options, **of)
    assert again.exit_code == 0
    assert "nothing had changed" in again.output
    assert Path("judge/judge.json").stat().st_mtime_ns == before
    assert not list(Path().glob(".judge*"))


def test_people_have_no_lineage_and_a_machine_of_an_earlier_task_has(files, trained, tmp_path):
    run("cross-encoder")
    assert trained[-1]["lineage"][:2] == NOBODY[:2]
    write(tmp_path, "first", judge=["llm"] * 16, fingerprint=["llm:1"] * 16)
    run("cross-encoder", "--before", "first.parquet,first-labels.parquet,esci")
    assert trained[-1]["lineage"].fingerprints == ("llm:1",)


def test_what_a_manifest_says_of_another_judge_is_no_lineage(files, trained, tmp_path):
    _, labels = write(tmp_path, "pairs", judge=["llm"] * 16, fingerprint=["llm:1"] * 16)
    said = {"judge": {"fingerprint": "llm:other", "lineage": ["llm:0"], "taught_by": ["elder"]}}
    store.write_manifest(labels, verb="label", inputs=[], parameters={}, extra=said)
    run("cross-encoder")
    assert trained[-1]["lineage"].fingerprints == ("llm:1",)


# --- what it must not learn from --------------------------------------------------------------------------------------


def test_queries_of_the_sealed_set_are_refused_by_their_words_and_dropped_where_asked(files, trained, tmp_path):
    sealed = {"query_id": ["other"], "query": [SMALL.query[0].upper() + "!"]}
    pq.write_table(pa.table(sealed), "sealed.parquet")
    told = refused(run("cross-encoder", "--sealed", "sealed.parquet"))
    assert "4 pairs of queries that are in the sealed set" in told
    assert "--drop-sealed" in told
    assert not trained
    found = run("cross-encoder", "--sealed", "sealed.parquet", "--drop-sealed")
    assert found.exit_code == 0
    assert SMALL.query[0] not in trained[-1]["rows"].query
    assert len(trained[-1]["rows"]) == 12
    assert "left out of pairs.parquet: 4 pairs" in found.output


def test_pairs_in_nearly_the_words_of_the_sealed_set_are_refused_and_dropped(files, trained, tmp_path):
    long = "title: " + " ".join(f"word{i}" for i in range(40))
    given = replace(SMALL, text=(long, *SMALL.text[1:]))
    write(tmp_path, "pairs", given)
    sealed = {"query_id": ["s"], "query": [f"one {given.query[0]}"], "doc_id": ["s"], "text": [long]}
    pq.write_table(pa.table(sealed), "sealed.parquet")
    assert "0 pairs of queries that are in the sealed set, and 1 more" in refused(run("student", "--sealed", "sealed.parquet"))
    assert run("student", "--sealed", "sealed.parquet", "--drop-sealed").exit_code == 0
    assert long not in trained[-1]["rows"].text
    assert len(trained[-1]["rows"]) == 15


@pytest.mark.parametrize("where", ["dev", "before"])
def test_dev_and_earlier_tasks_are_held_against_the_sealed_set_too(where, files, trained, tmp_path):
    other = tiny.examples(4, docs=4, seed=9)
    other = replace(other, query_id=tuple(f"other-{i}" for i in other.query_id))
    write(tmp_path, "other", other)
    pq.write_table(pa.table({"query_id": ["s"], "query": [other.query[0]]}), "sealed.parquet")
    dev = ("--dev-pairs", "other.parquet", "--dev-labels", "other-labels.parquet")
    more = dev if where == "dev" else ("--before", "other.parquet,other-labels.parquet,esci")
    assert "other.parquet holds 4 pairs" in refused(run("cross-encoder", *more, "--sealed", "sealed.parquet"))
    found = run("cross-encoder", *more, "--sealed", "sealed.parquet", "--drop-sealed")
    assert found.exit_code == 0, found.exception
    last = trained[-1]
    assert other.query[0] not in (last["dev"] if where == "dev" else last["before"][0]).query
    assert "left out of other.parquet" in found.output


def test_a_sealed_set_that_is_everything_leaves_nothing_to_learn_from(files, trained):
    told = refused(run("cross-encoder", "--sealed", "pairs.parquet", "--drop-sealed"))
    assert "nothing is left" in told


def test_dev_is_given_to_the_trainer_and_shares_no_query(files, trained, tmp_path):
    other = tiny.examples(3, docs=4, seed=9)
    write(tmp_path, "dev", other)
    dev = ("--dev-pairs", "dev.parquet", "--dev-labels", "dev-labels.parquet")
    assert run("teacher", *dev).exit_code == 0
    assert set(trained[-1]["dev"].query) == set(other.query)
    shared = refused(run("teacher", "--dev-pairs", "pairs.parquet", "--dev-labels", "pairs-labels.parquet", out="new"), "new")
    assert "4 queries are in the training pairs and in dev" in shared


# --- what is learned first --------------------------------------------------------------------------------------------


def test_a_catalogue_and_earlier_tasks_are_learned_first_each_on_its_scale(files, trained, tmp_path):
    rng = np.random.default_rng(0)
    words = [f"word{i:02}" for i in range(300)]
    titles = [" ".join(rng.choice(words, 5, replace=False)) for _ in range(80)]
    pq.write_table(pa.table({"doc_id": [f"d{i}" for i in range(80)], "title": titles}), "docs.parquet")
    trec = replace(tiny.examples(3, seed=5), scale=scales.get("trec"))
    write(tmp_path, "first", trec)
    write(tmp_path, "second", tiny.examples(3, seed=6))
    tasks = ("--before", "first.parquet,first-labels.parquet,trec", "--before", "second.parquet,second-labels.parquet,esci")
    found = run("cross-encoder", *tasks, "--catalogue", "docs.parquet")
    assert found.exit_code == 0, found.exception
    made, first, second = trained[-1]["before"]
    assert made.judges[0][0].startswith("catalogue")
    assert (first.scale.name, second.scale.name) == ("trec", "esci")
    assert set(first.query) == set(trec.query)
    pq.write_table(pa.table({"query_id": ["s"], "query": [made.query[0]]}), "sealed.parquet")
    run("cross-encoder", *tasks, "--catalogue", "docs.parquet", "--sealed", "sealed.parquet")
    assert made.query[0] not in trained[-1]["before"][0].query


def test_the_same_files_for_another_purpose_or_on_another_scale_are_other_work(files, trained, tmp_path):
    pairs, labels = write(tmp_path, "first", tiny.examples(3, seed=5), scale=["mine"] * 18)
    for name in ("strict", "lenient"):
        Path(f"{name}.toml").write_text(f'name = "mine"\nlabels = ["a", "b", "c", "d"]\nguide = "Be {name}."\n')
    given = Given(*files, "esci", before=((pairs, labels, "strict.toml"),))
    assert stage.cross_encoder(given, Path("judge"), options={"base": "b"}).made
    assert not stage.cross_encoder(given, Path("judge"), options={"base": "b"}).made
    other = replace(given, before=((pairs, labels, "lenient.toml"),))
    assert stage.cross_encoder(other, Path("judge"), options={"base": "b"}).made
    assert len(trained) == 2
    pq.write_table(pa.table({"query_id": ["s"], "query": ["x"], "doc_id": ["d"], "title": ["x"]}), "both.parquet")
    one, other = ({"sealed": Path("both.parquet")}, {"catalogue": Path("both.parquet")})
    assert stage._more(Given(*files, "esci", **one)) != stage._more(Given(*files, "esci", **other))


# --- a teacher's images and reasons -----------------------------------------------------------------------------------


@pytest.fixture
def photos(files):
    image = pytest.importorskip("PIL.Image")
    Path("photos").mkdir()
    image.new("RGB", (8, 8), (255, 0, 0)).save("photos/red.png")
    pq.write_table(pa.table({"doc_id": [SMALL.doc_id[0], "x"], "photo": ["red.png", None]}), "docs.parquet")
    return ("--images", "photos", "--docs", "docs.parquet", "--image-column", "photo")


def test_images_reach_a_teacher_and_other_images_are_other_work(photos, trained):
    found = run("teacher", *photos)
    assert found.exit_code == 0, found.exception
    assert trained[-1]["recipe"].images is True
    assert trained[-1]["images"].names == {SMALL.doc_id[0]: "red.png"}
    run("teacher", *photos)
    assert len(trained) == 1
    Path("photos/red.png").write_bytes(b"another")
    run("teacher", *photos)
    assert len(trained) == 2
    run("teacher")
    assert trained[-1]["recipe"].images is False
    assert "images" not in trained[-1]


def test_a_teacher_that_sees_is_trained_and_labels_with_the_same_images(photos, tmp_path):
    pytest.importorskip("torch")
    base = language_models.folder(tmp_path / "base", "qwen3_vl")
    found = run("teacher", *QUICK, "--lora", "0", "--max-length", "32", *photos, base=base)
    assert found.exit_code == 0, found.exception
    assert folder.read("judge").settings["images"] is True
    assert "were learned without an image" in found.output
    said = ["label", "--judge", "judge", "--pairs", "pairs.parquet", "--out", "j.parquet", "--coverage", "0", "--device", "cpu"]
    assert CliRunner().invoke(cli.app, [*said, *photos]).exit_code == 0
    assert store.read_manifest("j.parquet").extra["judge"]["images"] is True


@pytest.mark.parametrize("given", [("--images", "photos"), ("--docs", "docs.parquet"), ("--image-column", "photo")])
def test_images_need_their_folder_and_who_they_are_of(photos, trained, given):
    assert "go together" in refused(run("teacher", *given))


def test_notes_of_labels_are_the_reasons_that_a_teacher_learns(files, trained, tmp_path):
    grades = [None, *SMALL.grade.tolist()[1:]]
    write(tmp_path, "pairs", note=["no answer", "it is red", " ", *[""] * 13], relevance=pa.array(grades, pa.int16()))
    assert run("teacher", "--reasoning").exit_code == 0
    assert trained[-1]["reasons"] == {(SMALL.query_id[1], SMALL.doc_id[1]): "it is red"}
    assert trained[-1]["recipe"].reasoning is True
    run("teacher")
    assert "reasons" not in trained[-1]


# --- every option arrives ---------------------------------------------------------------------------------------------

SHARED = [
    ("--epochs 2.5", {"epochs": 2.5}),
    ("--max-steps 7", {"max_steps": 7}),
    ("--batch 3", {"batch": 3}),
    ("--accumulate 2", {"accumulate": 2}),
    ("--learning-rate 0.5", {"learning_rate": 0.5}),
    ("--precision fp32", {"precision": "fp32"}),
    ("--gradient-checkpointing", {"gradient_checkpointing": True}),
    ("--patience 2", {"patience": 2}),
    ("--device cpu", {"device": "cpu"}),
    ("--seed 5", {"seed": 5}),
    ("--decision macro_F1", {"decision": "macro F1"}),
    ("--name anna", {"name": "anna"}),
    ("--base other", {"base": "other"}),
]
OWN = {
    "cross-encoder": [
        ("--before-epochs 2", {"before_epochs": 2.0}),
        ("--held-out 0.4", {"held_out": 0.4}),
        ("--loss pairwise", {"loss": "pairwise"}),
        ("--class-weighting balanced", {"class_weighting": "balanced"}),
        ("--label-smoothing 0.1", {"label_smoothing": 0.1}),
        ("--before-rate 0.01", {"before_rate": 0.01}),
        ("--evidence", {"evidence": True}),
        ("--marks", {"marks": True}),
        ("--stop-on tau", {"stop_on": "tau"}),
        ("--lora 4", {"lora": 4}),
        ("--quantised --lora 4", {"quantised": True}),
        ("--max-length 99", {"max_length": 99}),
    ],
    "teacher": [
        ("--reasoning", {"reasoning": True}),
        ("--no-soft", {"soft": False}),
        ("--unpacked", {"packed": False}),
        ("--lora 4", {"lora": 4}),
        ("--lora 0", {"lora": None}),
        ("--quantised", {"quantised": True}),
        ("--max-length 99", {"max_length": 99}),
    ],
    "student": [
        ("--separate", {"separate": True}),
        ("--dimension 16", {"dimension": 16}),
        ("--no-lexical", {"lexical": False}),
        ("--margin 0.5", {"margin": 0.5}),
        ("--margin 0", {"margin": 0.0}),
        ("--hard 3", {"hard": 3}),
        ("--hard 3 --mined-by vectors", {"mined_by": "vectors"}),
        ("--max-query 9", {"max_query": 9}),
        ("--max-text 9", {"max_text": 9}),
        ("--head-rate 0.5", {"head_rate": 0.5}),
        ("--stop-on macro_F1", {"stop_on": "macro F1"}),
        ("--no-onnx", {"onnx": False}),
    ],
}
CASES = [(kind, *case) for kind in TRAINERS for case in SHARED + OWN[kind]]
FILES = {"pairs", "labels", "scale", "out", "dev_pairs", "dev_labels", "sealed", "drop_sealed", "output"}
FILES |= {"before", "catalogue", "images", "docs", "image_column"}


@pytest.mark.parametrize(("kind", "options", "expected"), CASES, ids=[f"{kind} {options}" for kind, options, _ in CASES])
def test_an_option_reaches_the_recipe(kind, options, expected, files, trained):
    assert run(kind).exit_code == 0
    found = run(kind, *(word.replace("_F1", " F1") for word in options.split()))
    assert found.exit_code == 0, found.exception
    default, recipe = (call["recipe"] for call in trained)
    for name, value in expected.items():
        of, before = (recipe, default) if hasattr(recipe, name) else (recipe.settings, default.settings)
        assert getattr(of, name) == value
        assert getattr(before, name) != value


@pytest.mark.parametrize("kind", TRAINERS)
def test_every_option_of_the_command_has_a_test(kind):
    there = {p.name for p in get_command(cli.app).commands["train"].commands[kind].params}
    tested = {word[2:].replace("-", "_") for options, _ in SHARED + OWN[kind] for word in options.split() if word[:2] == "--"}
    assert there - FILES <= tested


def test_a_recipe_that_learns_probabilities_gets_them(files, trained, tmp_path):
    probs = [[0.1, 0.2, 0.3, 0.4]] * 16
    write(tmp_path, "pairs", probs=pa.array(probs, pa.list_(pa.float32())))
    for kind, options, soft in (
        ("student", (), True),
        ("teacher", (), True),
        ("teacher", ("--no-soft",), False),
        ("cross-encoder", (), False),
        ("cross-encoder", ("--loss", "soft"), True),
    ):
        assert run(kind, *options).exit_code == 0
        assert bool(np.allclose(trained[-1]["rows"].target, probs)) is soft


# --- wrong input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRAINERS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": ["trec"] * 16}, "on scale trec; expected esci"),
        ({"relevance": [4] * 16, "scale": [""] * 16}, "4"),
        ({"relevance": [1] * 16}, "at least two grades"),
        ({"relevance": pa.array([None] * 16, pa.int16())}, "has an answer"),
        ({"doc_id": ["elsewhere"] * 16, "query_id": [f"e{i}" for i in range(16)]}, "no pair has a label"),
    ],
)
def test_labels_that_teach_nothing_are_one_line(kind, change, said, files, tmp_path):
    write(tmp_path, "pairs", **change)
    assert said in refused(run(kind))


@pytest.mark.parametrize("kind", TRAINERS)
def test_texts_that_are_empty_are_one_line(kind, files, tmp_path):
    write(tmp_path, "pairs", replace(SMALL, text=("",) * 16))
    assert "empty query or document" in refused(run(kind))


@pytest.mark.parametrize(
    ("kind", "base"),
    [("cross-encoder", "vit"), ("teacher", "bert"), ("student", "vit"), ("student", "nothing"), ("cross-encoder", "./nothing")],
)
def test_a_base_that_cannot_learn_this_is_one_line(kind, base, bases, files):
    assert str(bases.get(base, base)) in refused(run(kind, *QUICK, base=bases.get(base, f"./{base}")))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("cross-encoder", ("--dev-pairs", "pairs.parquet"), "go together"),
        ("cross-encoder", ("--before", "pairs.parquet"), "expected PAIRS,LABELS,SCALE"),
        ("cross-encoder", ("--loss", "hinge"), "loss 'hinge'"),
        ("cross-encoder", ("--drop-sealed",), "give that file too"),
        ("teacher", ("--lora", "0", "--quantised"), "4-bit"),
        ("teacher", ("--decision", "best"), "decision 'best'"),
        ("student", ("--mined-by", "bm25"), "give --hard too"),
        ("student", ("--hard", "2", "--mined-by", "luck"), "mined_by 'luck'"),
        ("student", ("--stop-on", "tau"), "stop_on 'tau'"),
    ],
)
def test_options_that_make_no_sense_are_one_line(kind, options, said, files, trained):
    assert said in refused(run(kind, *options))
    assert not trained


def test_a_folder_that_holds_something_else_is_left_alone_before_any_training(files, trained):
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("all my work")
    assert "is no judge" in refused(run("student", out="thesis"))
    assert not trained
    assert [path.name for path in Path("thesis").iterdir()] == ["chapter.txt"]


def test_a_judge_that_stands_there_is_kept_where_the_next_training_fails(files, trained, monkeypatch):
    assert run("student").exit_code == 0
    before = json.loads(Path("judge/judge.json").read_text())

    def fails(*given, **more):
        raise InputError("the loss became nan")

    monkeypatch.setattr(distil, "train", fails)
    assert isinstance(run("student", "--epochs", "9").exception, InputError)
    assert json.loads(Path("judge/judge.json").read_text()) == before
    assert run("student").exit_code == 0  # nothing to do: it is still whole
