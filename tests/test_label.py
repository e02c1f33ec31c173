"""`germane label`: files in, a table of judgments out, idempotent, with what the judge is in its manifest."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import germane.cli.label  # noqa: F401  (its command joins the app)
from germane import cli, store
from germane.judges import folder, loading
from germane.judges.folder import About, writing
from germane.judges.pictures import Pictures
from germane.judges.saying import judgments
from germane.pipeline import label as stage
from germane.pipeline.label import Server, label
from germane.scales import get
from germane.training.running import Settings
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

        def __init__(self, folder, *, device=None, batch=32, images=None):
            self.images = images
            self.about = loading.folder.read(folder)
            self.name, self.fingerprint, self.scale = self.about.name, self.about.fingerprint, self.about.scale

        def __call__(self, pairs):
            def score(queries, texts):
                return np.array([[len(text) % 4 == grade for grade in range(4)] for text in texts], float)

            if self.images is None:
                return judgments(pairs, self.about, score)
            return self.judgments_by_colour(list(pairs))

        def judgments_by_colour(self, pairs):
            """Grade 3 of a document whose image is red."""
            for pair, judgment in zip(pairs, judgments(pairs, self.about, lambda q, t: np.zeros((len(q), 4))), strict=True):
                image, why = self.images.of(pair.doc)
                red = image is not None and image.getpixel((0, 0))[0] > 200
                note = f"{pair.doc.fields['text']} {why}".strip()
                yield judgment._replace(relevance=3 if red else 0, note=note)

    def made(name="judge", kind="by-length", **more):
        about = About(kind, name, ESCI, base="nothing", max_length=8, **more)
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


@pytest.mark.parametrize("content", ["# no table\n", "query_id,query,doc_id\nq,a,d\n", "query_id,query,doc_id,text\n"])
def test_what_is_refused_leaves_nothing(tmp_path, content):
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(InputError):
        label("fake", tmp_path / "pairs.csv", tmp_path / "j.parquet", scale="esci")
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


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


def run(*arguments):
    return CliRunner().invoke(cli.app, ["label", *map(str, arguments)])


def one_line(result):
    """What a command says that ends with exit code 2: `main` prints an InputError as one line."""
    assert isinstance(result.exception, InputError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


# --- engines ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A tiny judge of two towers, with its ONNX files."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from sample_students import furniture, recipe, tiny_bert

    from germane.training import distil

    place = tmp_path_factory.mktemp("student")
    settings = Settings(max_steps=2, batch=8, device="cpu")
    return distil.train(furniture(4), None, place / "student", recipe=recipe(tiny_bert(place / "base"), settings=settings)).out


@pytest.mark.parametrize("engine", ["onnx", "onnx-int8"])
def test_the_command_takes_an_engine_and_it_stands_in_the_manifest(student, pairs, tmp_path, engine):
    out = tmp_path / "j.parquet"
    told = run("--judge", student, "--pairs", pairs, "--out", out, "--engine", engine, "--coverage", 0.5)
    assert told.exit_code == 0, told.exception
    manifest = store.read_manifest(out)
    said = manifest.extra["judge"]
    assert said["engine"] == engine
    assert said["machine"]
    assert set(store.read_table(out, "judgments")["fingerprint"].to_pylist()) == {said["fingerprint"]}
    same = said["fingerprint"] == folder.read(student).fingerprint
    assert same == (engine == "onnx")  # int8 changes labels: a judge of its own, taught by the folder's
    assert same or said["lineage"][0] == folder.read(student).fingerprint
    assert manifest.parameters["engine"] == engine


def test_another_engine_is_another_job_and_torch_is_the_one_that_is_not_named(student, pairs, tmp_path):
    out = tmp_path / "j.parquet"
    assert label(student, pairs, out, device="cpu").made
    assert store.read_manifest(out).extra["judge"]["engine"] == "torch"
    assert not label(student, pairs, out, device="cpu", engine="torch").made
    assert label(student, pairs, out, device="cpu", engine="onnx").made


def test_a_cross_encoder_is_computed_without_padding_and_its_engine_stands_in_the_manifest(pairs, tmp_path):
    pytest.importorskip("torch")
    import tiny_encoders as tiny

    from germane.training.cross_encoder import CrossEncoderRecipe, train

    folder, out = tmp_path / "judge", tmp_path / "j.parquet"
    settings = Settings(batch=8, max_steps=2, device="cpu")
    train(
        tiny.examples(),
        None,
        folder,
        recipe=CrossEncoderRecipe(str(tiny.model(tmp_path / "bert", "bert")), 32, settings=settings),
    )
    assert label(folder, pairs, out, device="cpu").made
    said = store.read_manifest(out).extra["judge"]
    assert said["engine"] == "packed"
    assert "float" in said["engine_version"]
    assert ", torch " in said["engine_version"]
    packed = store.read_table(out, "judgments")
    assert label(folder, pairs, out, device="cpu", engine="torch").made
    said = store.read_manifest(out)
    assert said.extra["judge"]["engine"] == said.parameters["engine"] == "torch"
    plain = store.read_table(out, "judgments")
    assert packed.drop_columns(["probs"]).equals(plain.drop_columns(["probs"]))


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    """Documents a and b of the same text, with a red image and a blue one; d's is missing, and e has none."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "photos"
    folder.mkdir()
    image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "red.png")
    image.new("RGB", (8, 8), (0, 0, 255)).save(folder / "blue.png")
    ids = ["a", "b", "c", "d", "e"]
    columns = {"query_id": ["q"] * 5, "query": ["chair"] * 5, "doc_id": ids, "text": ["oak chair"] * 5}
    pq.write_table(pa.table(columns), tmp_path / "seen.parquet")
    named = {"doc_id": ids, "title": ["oak chair"] * 5, "photo": ["red.png", "blue.png", "red.png", "gone.png", None]}
    pq.write_table(pa.table(named), tmp_path / "docs.parquet")
    return Pictures(folder, tmp_path / "docs.parquet", "photo")


def test_equal_texts_with_different_images_are_different_pairs(photos, trained, tmp_path):
    folder = trained(kind="generative", settings={"images": True})
    found = label(folder, tmp_path / "seen.parquet", tmp_path / "j.parquet", pictures=photos)
    rows = store.read_table(tmp_path / "j.parquet", "judgments").to_pylist()
    assert [row["relevance"] for row in rows] == [3, 0, 3, 0, 0]
    assert found.deduplicated == 1  # a and c: the same words and the same image
    assert [row["note"] for row in rows] == [*["oak chair"] * 3, "oak chair its image is not there", "oak chair"]
    assert store.read_manifest(tmp_path / "j.parquet").extra["judge"]["images"] is True


def test_another_image_is_another_job(photos, trained, tmp_path):
    folder, out = trained(kind="generative", settings={"images": True}), tmp_path / "j.parquet"
    label(folder, tmp_path / "seen.parquet", out, pictures=photos)
    assert not label(folder, tmp_path / "seen.parquet", out, pictures=photos).made
    (photos.folder / "unread.png").write_bytes(b"an image of no document here")
    assert not label(folder, tmp_path / "seen.parquet", out, pictures=photos).made
    (photos.folder / "red.png").write_bytes((photos.folder / "blue.png").read_bytes())
    again = label(folder, tmp_path / "seen.parquet", out, pictures=photos)
    assert again.made
    assert store.read_table(out, "judgments")["relevance"].to_pylist() == [0] * 5


def test_a_judge_of_images_that_is_shown_none_says_so(photos, trained, tmp_path):
    folder = trained(kind="generative", settings={"images": True})
    assert "shown none" in label(folder, tmp_path / "seen.parquet", tmp_path / "j.parquet").notes[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"folder": "nowhere"}, "is none"),
        ({"folder": "."}, "holds no image of these documents"),
        ({"column": "picture"}, "has no column 'picture' of images: it has doc_id, title, photo"),
    ],
)
def test_images_that_cannot_be_found_are_said_before_any_work(photos, trained, tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    folder = trained(kind="generative", settings={"images": True})
    given = {"folder": photos.folder, "column": "photo"} | change
    images = ("--images", given["folder"], "--docs", photos.docs, "--image-column", given["column"])
    told = run("--judge", folder, "--pairs", tmp_path / "seen.parquet", "--out", "j.parquet", *images)
    assert said in one_line(told)
    assert not list(tmp_path.glob("*j.parquet*"))


# --- a served teacher -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The folder of a tiny teacher; a server answers for it."""
    pytest.importorskip("torch")
    pytest.importorskip("httpx")
    import language_models

    from germane.training import sft

    place = tmp_path_factory.mktemp("teacher")
    settings = Settings(max_steps=2, batch=4, device="cpu")
    recipe = sft.TeacherRecipe(base=str(language_models.folder(place / "base")), max_length=48, lora=None, settings=settings)
    return sft.train(language_models.examples(12), None, place / "teacher", recipe=recipe).out


def answering(symbol):
    """A server's answer: the token of this grade, surely."""

    def answer(path, request, number):
        top = {symbol: -0.01}
        logprobs = {"tokens": ["x"], "top_logprobs": [top]}
        return 200, {}, {"model": "tiny-v2", "choices": [{"text": "x", "logprobs": logprobs}]}

    return answer


def test_a_served_teacher_answers_and_its_key_is_nowhere(teacher, pairs, tmp_path, monkeypatch):
    from test_served import server

    monkeypatch.setenv("THE_KEY", "sk-very-secret")
    out = tmp_path / "j.parquet"
    best = folder.read(teacher).settings["frame"]["symbols"][-1]
    with server(answering(best)) as (url, asked):
        options = ("--judge", teacher, "--pairs", pairs, "--out", out, "--model", "tiny", "--coverage", 0.5)
        told = run(*options, "--url", url, "--key-env", "THE_KEY", "--batch", 2)
    assert told.exit_code == 0, told.exception
    assert all(headers["Authorization"] == "Bearer sk-very-secret" for *_, headers in asked)
    assert {request["model"] for _, request, _ in asked} == {"tiny"}
    assert store.read_table(out, "judgments")["relevance"].to_pylist() == [3, 3, 3, None]
    said = store.read_manifest(out).extra["judge"]
    assert (said["engine"], said["url"], said["model"]) == ("served", url.removesuffix("/v1"), "tiny")
    assert said["server"]["model"] == "tiny-v2"
    assert said["machine"] == f"server at {url.removesuffix('/v1')}"
    written = store.manifest_path(out).read_text() + told.output
    assert "sk-very-secret" not in written


def test_a_login_in_the_address_is_nowhere(teacher, pairs, tmp_path):
    from test_served import server

    out = tmp_path / "j.parquet"
    with server(answering(folder.read(teacher).settings["frame"]["symbols"][0])) as (url, asked):
        found = label(teacher, pairs, out, server=Server(url.replace("http://", "http://me:hidden@"), "tiny"))
    assert asked
    assert store.read_manifest(out).extra["judge"]["url"] == url.removesuffix("/v1")
    assert "hidden" not in store.manifest_path(out).read_text() + str(found)


def test_the_address_of_a_server_is_no_other_job_and_its_model_is(teacher, pairs, tmp_path):
    from test_served import server

    out = tmp_path / "j.parquet"
    best = folder.read(teacher).settings["frame"]["symbols"][-1]
    with server(answering(best)) as (url, _):
        assert label(teacher, pairs, out, server=Server(url, "tiny")).made
        assert not label(teacher, pairs, out, server=Server("http://elsewhere:1/v1", "tiny")).made
        assert label(teacher, pairs, out, server=Server(url, "other")).made
    assert label(teacher, pairs, out, device="cpu").made


# --- what does not go together ----------------------------------------------------------------------------------------

URL = ("--url", "http://localhost:1/v1", "--model", "m")


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("two-tower", ("--engine", "tensorrt"), "expected torch, onnx, onnx-int8"),
        ("two-tower", ("--engine", "onnx", "--device", "cuda"), "runs on the CPU"),
        ("cross-encoder", ("--engine", "onnx"), "is a cross-encoder, expected packed, torch"),
        ("two-tower", ("--engine", "packed"), "expected torch, onnx, onnx-int8"),
        ("fake", ("--engine", "onnx"), "fake is a fake, which has none"),
        ("generative", ("--images", "."), "go together"),
        ("generative", ("--docs", "d.parquet"), "go together"),
        ("generative", ("--image-column", "photo"), "go together"),
        ("generative", ("--images", ".", "--docs", "d.parquet"), "never learned from images"),
        ("cross-encoder", ("--images", ".", "--docs", "d.parquet"), "never learned from images"),
        ("fake", ("--images", ".", "--docs", "d.parquet"), "never learned from images"),
        ("generative", ("--url", "http://localhost:1/v1"), "--url and --model go together"),
        ("generative", ("--model", "m"), "--url and --model go together"),
        ("generative", ("--key-env", "KEY"), "--url and --model go together"),
        ("generative", ("--url", "localhost:8000", "--model", "m"), "no address of a server"),
        ("generative", ("--url", "http://[::1/v1", "--model", "m"), "no address of a server"),
        ("generative", ("--url", "http://h:port/v1", "--model", "m"), "no address of a server"),
        ("generative", ("--url", "http://h/v1?key=hidden", "--model", "m"), "no address of a server"),
        ("generative", ("--url", "http://me:x@h/v1", "--model", "m", "--key-env", "KEY"), "only one can be sent"),
        ("generative", (*URL, "--device", "cpu"), "leave it out with --url"),
        ("generative", (*URL, "--engine", "torch"), "is a generative, which has none"),
        ("generative", (*URL, "--key-env", "NO_SUCH_VARIABLE_HERE"), "NO_SUCH_VARIABLE_HERE"),
        ("two-tower", URL, "is for a teacher"),
        ("fake", URL, "is for a teacher"),
    ],
)
def test_options_that_do_not_go_together_are_one_line_and_leave_nothing(
    kind, options, said, pairs, trained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    judge = ("fake", "--scale", "esci") if kind == "fake" else (trained(kind=kind, settings={"images": False}),)
    told = run("--judge", *judge, "--pairs", pairs, "--out", "j.parquet", *options)
    assert said in one_line(told)
    assert not (tmp_path / "j.parquet").exists()


# --- labels from before -----------------------------------------------------------------------------------------------


def test_a_project_has_a_store_of_labels_and_an_option_leaves_it_out(pairs, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judge = trained()
    options = ("--judge", judge, "--pairs", pairs, "--coverage", 0.5)
    run(*options, "--out", "without.parquet")
    assert not (tmp_path / "labels").exists()
    (tmp_path / "germane.toml").write_text("")
    run(*options, "--out", "out.parquet", "--no-store")
    assert not (tmp_path / "labels").exists()
    run(*options, "--out", "first.parquet")
    assert len(store.JudgmentStore(tmp_path / "labels")) == 2  # the third text is empty: no answer is no label
    told = run(*options, "--out", "second.parquet")
    assert "known: 2" in told.output
    assert (tmp_path / "second.parquet").read_bytes() == (tmp_path / "without.parquet").read_bytes()
    run(*options, "--out", "third.parquet", "--store", "elsewhere")
    assert (tmp_path / "elsewhere").is_dir()
    assert "give one of them" in one_line(run(*options, "--out", "j.parquet", "--store", "a", "--no-store"))


def test_a_model_behind_a_server_and_one_that_was_shown_images_keep_no_labels(photos, trained, tmp_path):
    judge = trained(kind="generative", settings={"images": True})
    label(judge, tmp_path / "seen.parquet", tmp_path / "j.parquet", pictures=photos, labels=tmp_path / "labels")
    assert not (tmp_path / "labels").exists()


def test_a_server_is_asked_by_query(teacher, tmp_path):
    from test_served import server

    columns = {"query_id": list("abab"), "query": ["chair", "desk"] * 2, "doc_id": list("1234")}
    pq.write_table(pa.table(columns | {"text": ["oak chair", "oak", "chair", "a desk of oak"]}), tmp_path / "mixed.parquet")
    symbols = folder.read(teacher).settings["frame"]["symbols"]
    with server(answering(symbols[0])) as (url, asked):
        label(teacher, tmp_path / "mixed.parquet", tmp_path / "j.parquet", server=Server(url, "tiny"), batch=1)
    prompts = [request["prompt"] for _, request, _ in asked[:4]]
    alike = [next((i for i, (a, b) in enumerate(zip(*two, strict=False)) if a != b), 0) for two in itertools.pairwise(prompts)]
    assert alike[0] > alike[1] < alike[2], "guide and query are those of the pair before, but for the first of the other query"


def test_ray_is_for_judges_that_compute_and_for_teachers(pairs, tmp_path):
    options = ("--pairs", pairs, "--out", tmp_path / "j.parquet", "--engine", "ray")
    assert "a language model's server does" in one_line(run("--judge", "llm:openai/o3", "--scale", "esci", *options))
