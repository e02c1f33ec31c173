"""A trained judge as a folder: whole or not at all, and never under a fingerprint that is not its own."""

import json

import numpy as np
import pytest

from germane.judges import folder, loading, saying
from germane.judges.folder import About
from germane.scales import get
from germane.types import Doc, InputError, Outcome, Pair, Query

ABOUT = About("cross-encoder", "mini", get("esci"), "some/base", 128, temperature=1.5, weights=(1.0, 0.5, 1.0, 0.2))


def saved(out, about=ABOUT, weights=b"123"):
    with folder.writing(out, about) as part:
        (part / "model").mkdir()
        (part / "model" / "weights.safetensors").write_bytes(weights)
        (part / "README.md").write_text("card")
    return out


def test_what_was_saved_is_read_again_with_the_same_fingerprint(tmp_path):
    about = folder.read(saved(tmp_path / "judge"))
    assert (about.scale, about.temperature, about.weights) == (ABOUT.scale, 1.5, ABOUT.weights)
    assert about.fingerprint == json.loads((tmp_path / "judge" / "judge.json").read_text())["fingerprint"]
    assert about.fingerprint.startswith("cross-encoder:")


def test_the_fingerprint_is_of_what_decides_a_judgment_and_of_nothing_else(tmp_path):
    first = folder.read(saved(tmp_path / "a")).fingerprint
    assert folder.read(saved(tmp_path / "b")).fingerprint == first
    assert folder.read(saved(tmp_path / "c", weights=b"124")).fingerprint != first
    from dataclasses import replace

    for change in ({"temperature": 1.0}, {"weights": ()}, {"max_length": 64}, {"settings": {"prefixes": ["q: ", ""]}}):
        assert folder.read(saved(tmp_path / "d", replace(ABOUT, **change))).fingerprint != first
    assert folder.read(saved(tmp_path / "e", replace(ABOUT, name="other", lineage=("x",)))).fingerprint == first
    (tmp_path / "a" / "README.md").write_text("another card")
    assert folder.read(tmp_path / "a").fingerprint == first


def test_changed_weights_are_refused(tmp_path):
    out = saved(tmp_path / "judge")
    (out / "model" / "weights.safetensors").write_bytes(b"124")
    with pytest.raises(InputError, match="is not the file that this judge was saved with"):
        folder.read(out)
    (out / "model" / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="lacks model/weights"):
        folder.read(out)


def test_a_failed_save_leaves_the_last_judge_as_it_was(tmp_path):
    out = saved(tmp_path / "judge")
    before = folder.read(out).fingerprint

    def save_on_a_full_disk():
        with folder.writing(out, ABOUT) as part:
            (part / "half").write_text("x")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="what stood there before still does"):
        save_on_a_full_disk()
    assert folder.read(out).fingerprint == before
    assert [p.name for p in tmp_path.iterdir()] == ["judge"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(InputError, match="is there, and is no judge"), folder.writing(tmp_path / "photos", ABOUT):
        pass
    with pytest.raises(InputError, match=r"has no judge\.json"):
        folder.read(tmp_path / "photos")
    with pytest.raises(InputError, match="is a cross-encoder, not a two-tower"):
        folder.read(saved(tmp_path / "judge"), kind="two-tower")


def test_a_model_is_found_by_folder_by_name_and_by_hub_name(tmp_path, monkeypatch):
    (tmp_path / "all-MiniLM-L6-v2").mkdir()
    monkeypatch.setenv("GERMANE_MODELS", str(tmp_path))
    here = str(tmp_path / "all-MiniLM-L6-v2")
    assert loading.locate("all-MiniLM-L6-v2") == loading.locate("sentence-transformers/all-MiniLM-L6-v2") == here
    assert loading.locate(here) == here
    assert loading.locate("google-bert/bert-base-multilingual-cased") == "google-bert/bert-base-multilingual-cased"
    for name in ("../secret", "no such/folder/here", "a b", ""):
        with pytest.raises(InputError):
            loading.locate(name)


def test_a_judge_answers_in_order_and_has_no_answer_for_what_it_cannot_read():
    asked = []

    def score(queries, texts):
        asked.append((list(queries), list(texts)))
        return np.array([[np.nan] * 4 if q == "broken" else [0.0, 0, 0, 3] for q in queries])

    rows = [
        ("q1", "chair", "d1", "a chair"),
        ("q2", " ", "d2", "a chair"),
        ("q3", "chair", "d3", ""),
        ("q4", "broken", "d4", "x"),
    ]
    pairs = [Pair(Query(q, text), Doc(d, {"text": body})) for q, text, d, body in rows]
    found = list(saying.judgments(pairs, ABOUT, score))
    assert [j.doc_id for j in found] == ["d1", "d2", "d3", "d4"]
    assert [j.outcome for j in found] == [Outcome.LABEL, Outcome.ABSTAINED, Outcome.ABSTAINED, Outcome.UNPARSEABLE]
    assert [j.relevance for j in found] == [3, None, None, None]
    assert sum(found[0].probs) == pytest.approx(1)
    assert asked == [(["chair", "broken"], ["a chair", "x"])]
    assert [list(saying.judgments(pairs, ABOUT, score, block=n)) == found for n in (1, 2, 3)] == [True] * 3


def test_fields_are_read_as_a_document_and_a_ready_text_as_it_stands():
    query = Query("q", " chair ")
    assert saying.reads(Pair(query, Doc("d", {"text": "title: x"}))) == ("chair", "title: x")
    assert saying.reads(Pair(query, Doc("d", {"title": "Chair", "brand": "Ilmare"}))) == (
        "chair",
        "title: Chair\nbrand: Ilmare",
    )


def test_a_judge_with_random_weights_has_a_fingerprint_that_says_so(tmp_path):
    from dataclasses import replace

    assert folder.read(saved(tmp_path / "judge", replace(ABOUT, random_weights=True))).fingerprint.startswith("random:")


@pytest.mark.parametrize(
    "change",
    [
        lambda said: None,
        lambda said: [said],
        lambda said: said | {"temperature": 0},
        lambda said: said | {"temperature": -1.5},
        lambda said: said | {"weights": [1.0]},
        lambda said: said | {"kind": "two-tower"},
        lambda said: said | {"files": None},
        lambda said: said | {"max_length": "x"},
        lambda said: {name: value for name, value in said.items() if name != "fingerprint"},
    ],
)
def test_an_edited_judge_is_refused_in_one_line(tmp_path, change):
    place = saved(tmp_path / "judge") / "judge.json"
    place.write_text(json.dumps(change(json.loads(place.read_text()))))
    with pytest.raises(InputError, match="is not as germane wrote it"):
        folder.read(tmp_path / "judge")


def test_what_a_judge_learned_from_cannot_be_emptied(tmp_path):
    with folder.writing(tmp_path / "judge", ABOUT) as part:
        (part / "training.json").write_text(json.dumps({"queries": ["a"]}))
    assert folder.trained_on(tmp_path / "judge") == ("a",)
    for text in ("{}", "[]", '{"queries": null}'):
        (tmp_path / "judge" / "training.json").write_text(text)
        assert folder.trained_on(tmp_path / "judge") == ()
        with pytest.raises(InputError, match="is not the file that this judge was saved with"):
            folder.read(tmp_path / "judge")
