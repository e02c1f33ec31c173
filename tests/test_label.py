"""`germane label`: files in, a table of judgments out, idempotent, with what the judge is in its manifest."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import germane.cli.label  # noqa: F401  (its command joins the app)
from germane import cli, store
from germane.judges import loading
from germane.judges.folder import About, writing
from germane.judges.saying import judgments
from germane.pipeline import label as stage
from germane.pipeline.label import label
from germane.scales import get
from germane.types import InputError

ESCI = get("esci")


@pytest.fixture
def pairs(tmp_path):
    columns = {"query_id": ["q1", "q1", "q2", "q3"], "query": ["chair", "chair", "chair", "desk"]}
    columns |= {"doc_id": ["a", "b", "a", "c"], "text": ["oak chair", "elm", "oak chair", ""]}
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The folder of a trained judge that grades by the length of the text."""

    class ByLength:
        device = "cpu"

        def __init__(self, folder, *, device=None, batch=32):
            self.about = loading.folder.read(folder)
            self.name, self.fingerprint, self.scale = self.about.name, self.about.fingerprint, self.about.scale

        def __call__(self, pairs):
            import numpy as np

            def score(queries, texts):
                return np.array([[len(text) % 4 == grade for grade in range(4)] for text in texts], float)

            return judgments(pairs, self.about, score)

    def made(name="judge", **more):
        about = About("by-length", name, ESCI, base="nothing", max_length=8, **more)
        with writing(tmp_path / name, about) as part:
            (part / "weights.txt").write_text(name)
            (part / "training.json").write_text(json.dumps({"queries": ["0123456789abcdef"]}))
        return tmp_path / name

    monkeypatch.setattr(stage, "load", lambda folder, **options: ByLength(folder, **options))
    return made


def test_a_fake_labels_and_says_that_it_is_one(pairs, tmp_path):
    out = tmp_path / "j.parquet"
    found = label("fake", pairs, out, scale="esci")
    assert (found.made, found.rows, found.deduplicated, found.coverage) == (True, 4, 1, 1.0)
    assert found.notes[0].startswith("fake:")
    assert found.fingerprint.startswith("fake:")
    assert sum(found.outcomes.values()) == 4
    rows = store.read_table(out, "judgments").to_pylist()
    assert rows[0]["relevance"] == rows[2]["relevance"]
    assert not (tmp_path / ".j.parquet.parts").exists()


def test_the_same_work_is_not_done_twice_and_other_work_is(pairs, tmp_path):
    out = tmp_path / "j.parquet"
    first = label("fake", pairs, out, scale="esci")
    before = store.manifest_path(out).read_bytes()
    again = label("fake", pairs, out, scale="esci")
    assert not again.made
    assert again == first._replace(made=False)
    assert store.manifest_path(out).read_bytes() == before
    assert label("fake", pairs, out, scale="esci", limit=2).rows == 2
    assert label("fake", pairs, out, scale="trec").made


def test_a_trained_judge_is_named_in_the_manifest_with_what_it_learned_from(pairs, trained, tmp_path):
    folder = trained(lineage=("generative:1",), taught_by=("teacher",))
    found = label(folder, pairs, tmp_path / "j.parquet")
    said = store.read_manifest(tmp_path / "j.parquet").extra["judge"]
    assert said["kind"] == "by-length"
    assert said["base"] == "nothing"
    assert said["fingerprint"] == found.fingerprint
    assert said["lineage"] == ["generative:1"]
    assert said["taught_by"] == ["teacher"]
    assert said["random_weights"] is False
    assert said["training_queries"] == ["0123456789abcdef"]
    assert said["rows"] == 3
    assert said["rows_per_s"] > 0
    assert "processor" in said["machine"]
    assert found.outcomes == {"label": 3, "abstained": 1}
    assert found.coverage == 0.75


def test_random_weights_are_said(pairs, trained, tmp_path):
    found = label(trained(random_weights=True), pairs, tmp_path / "j.parquet")
    assert found.notes[0].startswith("random weights")
    notes = store.read_table(tmp_path / "j.parquet", "judgments")["note"].to_pylist()
    assert sum(note.startswith("random weights") for note in notes) == 3


def test_batch_and_device_reach_the_judge(pairs, tmp_path, trained, monkeypatch):
    given, inner = {}, stage.load
    monkeypatch.setattr(stage, "load", lambda folder, **options: given.update(options) or inner(folder, **options))
    label(trained(), pairs, tmp_path / "j.parquet", device="cpu", batch=7)
    assert given == {"device": "cpu", "batch": 7}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judge": "fake"}, "needs --scale"),
        ({"judge": "nowhere"}, "no judge|no such folder"),
        ({"judge": "fake", "scale": "esci", "limit": 0}, "at least one row"),
        ({"judge": "fake", "scale": "esci", "out": "j.csv"}, "is a .parquet file"),
    ],
)
def test_wrong_input_is_said(pairs, tmp_path, options, said):
    given = {"judge": "fake", "pairs": pairs, "out": "j.parquet"} | options
    with pytest.raises(InputError, match=said):
        label(given.pop("judge"), given.pop("pairs"), tmp_path / given.pop("out"), **given)


def test_a_judge_of_another_scale_is_refused(pairs, trained, tmp_path):
    with pytest.raises(InputError, match="judges on scale 'esci'"):
        label(trained(), pairs, tmp_path / "j.parquet", scale="trec")


def test_the_command_exits_1_where_too_few_pairs_have_a_grade(pairs, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, command = trained(), CliRunner()

    def run(*more):
        return command.invoke(cli.app, ["label", "--judge", str(folder), "--pairs", str(pairs), "--out", "j.parquet", *more])

    assert run().exit_code == 1
    told = run("--coverage", "0.7")
    assert told.exit_code == 0
    assert "label 3, abstained 1" in told.output
    assert isinstance(run("--scale", "trec").exception, InputError)
