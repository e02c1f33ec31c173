"""`enrich`: what a catalogue lacks, on files."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import sources, store
from germane.pipeline.enrich import enrich
from germane.text import document_texts
from germane.types import InputError


@pytest.fixture
def files(tmp_path):
    docs = {"doc_id": list("abc"), "title": ["Oak table", "Desk", "Lamp"], "tags": [["x", "y"], [], None]}
    docs |= {"image": ["a.png", "none.png", None]}
    pq.write_table(pa.table(docs), tmp_path / "docs.parquet")
    rows = ["doc_id,query,user_id"]
    rows += [f"a,{query},{user}" for query in ("oak table", "Table", "desk") for user in "uvw"[: 2 + (query == "Table")]]
    (tmp_path / "clicks.csv").write_text("\n".join([*rows, "b,desk,u", "b,desk,u", "z,gone,u", "z,gone,v"]) + "\n")
    (tmp_path / "golden.csv").write_text("query_id,query\n1,TABLE\n")
    return tmp_path


def made(folder):
    return store.read_table(folder / "out.parquet", "docs").to_pylist()


def test_documents_get_the_queries_they_were_clicked_for(files):
    told = enrich(files / "docs.parquet", files / "out.parquet", engaged=files / "clicks.csv")
    assert [row["engaged_queries"] for row in made(files)] == [["table", "desk", "oak table"], None, None]
    assert (told.made, told.rows, told.engaged, told.columns) == (True, 3, 1, ("engaged_queries",))
    assert "queries of a document left out since fewer users than --least clicked: 1" in told.notes
    assert any(note.startswith("no --held-out") for note in told.notes)
    assert enrich(files / "docs.parquet", files / "out.parquet", engaged=files / "clicks.csv") == told._replace(made=False)
    assert enrich(files / "docs.parquet", files / "out.parquet", engaged=files / "clicks.csv", top=1).made
    assert made(files)[0]["engaged_queries"] == ["table"]


def test_engaged_queries_are_read_as_text_and_cut_between_entries(files):
    enrich(files / "docs.parquet", files / "out.parquet", engaged=files / "clicks.csv")
    texts = document_texts(sources.read_docs(files / "out.parquet"), order=("title", "engaged_queries"))
    assert texts[0].as_py() == "title: Oak table\nengaged_queries: table, desk, oak table"
    short = document_texts(
        sources.read_docs(files / "out.parquet"), order=("engaged_queries",), budgets={"engaged_queries": 14}
    )
    assert short[0].as_py() == "engaged_queries: table, desk …"


def test_a_query_that_is_to_be_judged_never_becomes_text(files):
    given = {"engaged": files / "clicks.csv", "held_out": files / "golden.csv"}
    told = enrich(files / "docs.parquet", files / "out.parquet", **given)
    assert made(files)[0]["engaged_queries"] == ["desk", "oak table"]
    assert "queries of a document left out since they are to be judged: 1" in told.notes
    (files / "golden.csv").write_text("query_id,query\n1,desk\n")
    assert enrich(files / "docs.parquet", files / "out.parquet", **given).made
    assert made(files)[0]["engaged_queries"] == ["table", "oak table"]


@pytest.fixture
def model(monkeypatch):
    """A captioner that says how wide an image is, in place of a model that would have to be loaded."""
    from germane.training import captions

    class Width:
        fingerprint = "captions:width"
        shown = 0

        def __init__(self, name, *, prompt=None):
            if name != "width":
                raise InputError(f"model {name!r}: there is no such folder")

        def __call__(self, images):
            Width.shown += len(images)
            return [f"{image.width} wide" for image in images]

    monkeypatch.setattr(captions, "ImageToText", Width)
    return Width


@pytest.fixture
def images(files):
    image = pytest.importorskip("PIL.Image", reason="captions need the extra train")
    (files / "images").mkdir()
    image.new("RGB", (30, 30)).save(files / "images" / "a.png")
    image.new("RGB", (40, 30)).save(files / "images" / "c.png")
    return files / "images"


def test_documents_get_captions_once_and_never_an_empty_one(files, images, model):
    given = {"captions": "width", "images": images, "image_column": "image"}
    told = enrich(files / "docs.parquet", files / "out.parquet", **given)
    rows = made(files)
    assert [row["caption"] for row in rows] == ["30 wide", None, None]
    assert [row["caption_outcome"] for row in rows] == [
        "caption",
        "missing: its image is not there",
        "missing: no image is named",
    ]
    assert (told.captions, told.asked, model.shown) == ({"missing": 2, "caption": 1}, 1, 1)
    assert "documents without a caption, missing: no image is named: 1" in told.notes
    again = enrich(files / "docs.parquet", files / "out.parquet", **given)
    assert (again.made, again.asked, model.shown) == (False, 0, 1)
    enrich(files / "docs.parquet", files / "other.parquet", **given)
    assert model.shown == 1  # kept beside both
    assert (
        document_texts(sources.read_docs(files / "out.parquet"))[0].as_py() == "title: Oak table\ncaption: 30 wide\ntags: x, y"
    )


def test_images_are_named_by_doc_id_and_a_new_image_is_asked(files, images, model):
    given = {"captions": "width", "images": images, "engaged": files / "clicks.csv"}
    told = enrich(files / "docs.parquet", files / "out.parquet", **given)
    assert [row["caption"] for row in made(files)] == ["30 wide", None, "40 wide"]
    assert told.columns == ("caption", "caption_outcome", "engaged_queries")
    (images / "b.png").write_bytes((images / "c.png").read_bytes())
    told = enrich(files / "docs.parquet", files / "out.parquet", **given)
    assert ([row["caption"] for row in made(files)], told.asked) == (["30 wide", "40 wide", "40 wide"], 0)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "enrich with what"),
        ({"captions": "width"}, "captions of what"),
        ({"captions": "width", "image_column": "photo"}, "has no column 'photo': found doc_id, title"),
        ({"captions": "width", "images": "none"}, "none is not a folder"),
        ({"captions": "./nowhere", "image_column": "image"}, "there is no such folder"),
        ({"engaged": "docs.parquet"}, "no column of the query's text"),
        ({"engaged": "clicks.csv", "top": 0}, "expected 1 or more"),
        ({"engaged": "clicks.csv", "interests": "x"}, "run it twice"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(files, model, monkeypatch, options, complaint):
    from pathlib import Path

    monkeypatch.chdir(files)
    given = {k: Path(v) if k in ("images", "engaged", "interests") else v for k, v in options.items()}
    with pytest.raises(InputError, match=complaint):
        enrich(files / "docs.parquet", files / "out.parquet", **given)
    assert not (files / "out.parquet").exists()


def test_a_column_that_is_there_already_is_not_written_over(files):
    enrich(files / "docs.parquet", files / "out.parquet", engaged=files / "clicks.csv")
    with pytest.raises(InputError, match="has a column 'engaged_queries' already"):
        enrich(files / "out.parquet", files / "more.parquet", engaged=files / "clicks.csv")


def test_the_command_line_says_every_option(files, images, monkeypatch):
    import sys

    from germane import cli
    from germane.pipeline import enrich as stage

    seen = {}
    monkeypatch.setattr(stage, "enrich", lambda table, out, **options: seen.update(options, table=table, out=out) or "done")
    text = "--captions M --images images --image-column image --prompt P --kept k.jsonl --batch 3 --engaged clicks.csv "
    text += "--queries golden.csv --top 2 --least 4 --held-out golden.csv --interests dir --out out.parquet"
    monkeypatch.setattr(sys, "argv", ["germane", "enrich", "docs.parquet", *text.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = {name: str(value) for name, value in seen.items()}
    assert said == {
        "table": "docs.parquet", "out": "out.parquet", "captions": "M", "images": "images", "image_column": "image",
        "prompt": "P", "kept": "k.jsonl", "batch": "3", "engaged": "clicks.csv", "queries": "golden.csv", "top": "2",
        "least": "4", "held_out": "golden.csv", "interests": "dir",
    }  # fmt: skip
