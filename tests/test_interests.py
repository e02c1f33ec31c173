"""Interests of queries: calibrated, and "other" where the classifier does not know. The encoders here are random."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import store
from germane.engagement import interests_from_catalogue
from germane.pipeline.enrich import enrich
from germane.pipeline.interests import train_interests
from germane.training import answering
from germane.types import InputError

pytest.importorskip("torch", reason="interests need the extra train")

from tiny_encoders import model

from germane.training.interests import OTHER, Recipe, predict, read, train
from germane.training.running import Settings

NOUNS, COLOURS = (
    ("chair", "table", "lamp", "sofa"),
    ("red", "blue", "green", "oak", "steel", "glass", "cotton", "small", "large"),
)
CPU = Settings(epochs=2, batch=16, learning_rate=1e-4, device="cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return model(tmp_path_factory.mktemp("base"), "bert")


def labelled(nouns=NOUNS, rare=()):
    rows = [(f"{colour} {noun}", noun) for noun in nouns for colour in COLOURS] + list(rare)
    texts, labels = zip(*rows, strict=True)
    return pa.table({"query_id": [f"q{i}" for i in range(len(rows))], "query": list(texts), "interest": list(labels)})


@pytest.mark.parametrize("method", ["vectors", "fine-tuned"])
def test_a_classifier_learns_saves_and_says_the_same_when_it_is_read_back(base, tmp_path, method):
    recipe = Recipe(method=method, folds=3, precision=0.7, settings=CPU)
    trained = train(labelled(), tmp_path / "out", base=base, recipe=recipe)
    assert trained.interests == tuple(sorted(NOUNS))
    assert trained.measured["likeliest"].value > 0.8
    assert trained.measured["likeliest"].n == 36
    asked = pa.table({"query": ["round chair", "garden lamp", "garden garden"], "language": ["en"] * 3})
    found = predict(tmp_path / "out", asked)
    assert found.column_names == ["query", "language", "interest", "interest_probability"]
    assert found["interest"].to_pylist()[:2] == ["chair", "lamp"]
    assert all(0 <= p <= 1 for p in found["interest_probability"].to_pylist())
    assert predict(tmp_path / "out", asked).equals(found)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_rare_interest_is_other_and_is_not_taken_for_another(base, tmp_path):
    queries = labelled(rare=[("round shelf", "shelf"), ("garden shelf", "shelf")])
    trained = train(queries, tmp_path / "out", base=base, recipe=Recipe(folds=3, precision=0.6))
    assert ("shelf" in trained.interests, trained.rare) == (False, 2)
    about = read(tmp_path / "out")
    assert about.rare == ("shelf",)
    assert predict(tmp_path / "out", pa.table({"query": ["shelf"]}))["interest"].to_pylist() == [OTHER]
    kept = train(queries, tmp_path / "other", base=base, recipe=Recipe(folds=3, precision=0.6, least=2))
    assert "shelf" in kept.interests


def test_a_query_without_an_interest_teaches_when_to_say_nothing(base, tmp_path):
    rows = [(f"{a} {b}", [None, "", "other"][i % 3]) for i, (a, b) in enumerate(pairwise(COLOURS))]
    trained = train(labelled(rare=rows), tmp_path / "out", base=base, recipe=Recipe(folds=3))
    assert (trained.queries, trained.rare, OTHER in trained.interests) == (44, 8, False)
    sure, unsure = predict(tmp_path / "out", pa.table({"query": ["red chair", "red blue"]}))["interest_probability"].to_pylist()
    assert sure > unsure


@pytest.mark.parametrize(
    ("table", "options", "complaint"),
    [
        (labelled().drop_columns(["interest"]), {}, "no column 'interest': found query_id, query"),
        (labelled(nouns=("chair",)), {}, "1 of 1 interests have 3 queries or more: two are needed"),
        (labelled(), {"least": 10}, "0 of 4 interests have 10 queries or more"),
        (pa.table({"query": [" ", "?"], "interest": ["a", "b"]}), {}, "no query has text"),
        (labelled(), {"folds": 99}, "36 different queries in 99 folds"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused(base, tmp_path, table, options, complaint):
    with pytest.raises(InputError, match=complaint):
        train(table, tmp_path / "out", base=base, recipe=Recipe(**options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"method": "magic"}, {"least": 0}, {"folds": 1}, {"precision": 0.0}])
def test_recipes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        Recipe(**wrong)


def test_a_folder_that_was_changed_or_holds_something_else_is_refused(base, tmp_path):
    with pytest.raises(InputError, match="holds no interests"):
        predict(tmp_path, labelled())
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is there, and is no classifier of interests"):
        train(labelled(), tmp_path / "taken", base=base, recipe=Recipe(folds=2))
    train(labelled(), tmp_path / "out", base=base, recipe=Recipe(folds=2))
    with (tmp_path / "out" / "head.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"head\.npz is not the file that it was saved with"):
        predict(tmp_path / "out", labelled())


# --- calibration ----------------------------------------------------------------------------------------------------


def held_out(n, *, seed=3):
    """Logits of six classes and what is true: as likely as a softmax of half of them, and for a third of the rows none."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (n, 6))
    probs = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    codes = np.array([rng.choice(6, p=p) for p in probs])
    return logits, np.where(rng.random(n) < 1 / 3, 6, codes)


def test_the_probability_is_that_of_being_right_among_rows_that_may_be_of_no_class():
    logits, codes = held_out(4000)
    every = np.ones(6, dtype=bool)
    tuning = answering.tuned_on(logits, codes, every, 0.6)
    fresh, truth = held_out(4000, seed=4)
    best, right = answering.calibrated(fresh, tuning.slope, tuning.offset), fresh.argmax(axis=1) == truth
    for low, high in ((0.0, 0.4), (0.4, 0.55), (0.55, 1.0)):
        inside = (best >= low) & (best < high)
        assert best[inside].mean() == pytest.approx(right[inside].mean(), abs=4 * np.sqrt(0.25 / inside.sum()))
    assert tuning.reached
    answered = best >= tuning.threshold
    assert right[answered].mean() == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / answered.sum()))


def test_a_precision_that_is_out_of_reach_takes_the_best_threshold_and_says_so():
    logits, codes = held_out(300)
    tuning = answering.tuned_on(logits, codes, np.ones(6, dtype=bool), 1.0)
    assert not tuning.reached
    nothing = answering.tuned_on(logits, codes, np.zeros(6, dtype=bool), 0.5)
    assert (nothing.threshold, nothing.reached) == (1.0, False)


# --- from a catalogue -----------------------------------------------------------------------------------------------


def test_the_interest_of_a_query_is_the_category_that_most_of_its_documents_share():
    docs = pa.table({"doc_id": list("abcd"), "category": ["Home > Desks", "Home > Desks", "Home > Lamps", None]})
    good = pa.table({"query": ["q"] * 4 + ["r", "r", "s"], "doc_id": list("abcdacd")})
    assert interests_from_catalogue(good, docs).to_pylist() == [
        {"query": "q", "interest": "Home, Desks"},
        {"query": "r", "interest": "Home, Desks"},  # half and half: the first by name
        {"query": "s", "interest": None},
    ]
    assert interests_from_catalogue(good, docs, share=0.6)["interest"].to_pylist() == ["Home, Desks", None, None]
    assert interests_from_catalogue(good, docs, share=1.0, depth=1)["interest"].to_pylist() == ["Home", "Home", None]
    paths = pa.table({"doc_id": ["a", "c"], "category": [["Shoes, Bags", "Boots"], ["Shoes, Bags", "Belts"]]})
    assert interests_from_catalogue(good, paths, depth=1)["interest"][0].as_py() == "Shoes, Bags"
    weighted = good.append_column("weight", pa.array([1, 1, 9, 1, 1, 1, 1]))
    assert interests_from_catalogue(weighted, docs)["interest"][0].as_py() == "Home, Lamps"
    with pytest.raises(InputError, match="docs have no column 'kind'"):
        interests_from_catalogue(good, docs, "kind")
    with pytest.raises(InputError, match="no query has 5 documents with a category"):
        interests_from_catalogue(good, docs, least=5)


# --- as stages ------------------------------------------------------------------------------------------------------


def test_queries_get_their_interests_from_files_to_files(base, tmp_path):
    pq.write_table(labelled(), tmp_path / "labelled.parquet")
    options = {"folds": 3, "precision": 0.6, "device": "cpu"}
    told = train_interests(tmp_path / "labelled.parquet", tmp_path / "interests", base=str(base), options=options)
    assert (told.made, told.queries, told.interests, told.rare) == (True, 36, 4, 0)
    again = train_interests(tmp_path / "labelled.parquet", tmp_path / "interests", base=str(base), options=options)
    assert again == told._replace(made=False)
    manifest = store.read_manifest(tmp_path / "interests")
    assert (manifest.verb, manifest.parameters["recipe"]["folds"]) == ("train interests", 3)
    pq.write_table(pa.table({"query_id": ["1", "2"], "query": ["round chair", "garden lamp"]}), tmp_path / "q.parquet")
    made = enrich(tmp_path / "q.parquet", tmp_path / "out.parquet", interests=tmp_path / "interests")
    rows = store.read_table(tmp_path / "out.parquet", "queries").to_pylist()
    assert [row["interest"] for row in rows] == ["chair", "lamp"]
    assert (made.interests, made.columns) == ({"chair": 1, "lamp": 1}, ("interest", "interest_probability"))
    assert not enrich(tmp_path / "q.parquet", tmp_path / "out.parquet", interests=tmp_path / "interests").made
    with pytest.raises(InputError, match="has a column 'interest' already"):
        enrich(tmp_path / "out.parquet", tmp_path / "more.parquet", interests=tmp_path / "interests")


def test_interests_come_from_a_catalogue_through_judgments_or_clicks(base, tmp_path):
    queries = labelled().drop_columns(["interest"])
    pq.write_table(queries, tmp_path / "queries.parquet")
    docs = {"doc_id": [f"{noun}{i}" for noun in NOUNS for i in range(2)], "kind": [n for n in NOUNS for _ in range(2)]}
    pq.write_table(pa.table(docs), tmp_path / "docs.parquet")
    lines, clicks = ["query_id,doc_id,label"], ["query_id,doc_id,user_id"]
    for row in queries.to_pylist():
        noun = row["query"].split()[1]
        lines += [f"{row['query_id']},{noun}{i},E" for i in range(2)] + [f"{row['query_id']},sofa0,I"] * (noun != "sofa")
        clicks += [f"{row['query_id']},{noun}{i},u{i}" for i in range(2)]
    (tmp_path / "judgments.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "clicks.csv").write_text("\n".join(clicks) + "\n")
    given = {"base": str(base), "docs": tmp_path / "docs.parquet", "category": "kind", "options": {"folds": 2}}
    for extra in ({"judgments": tmp_path / "judgments.csv", "scale": "esci"}, {"clicks": tmp_path / "clicks.csv"}):
        told = train_interests(tmp_path / "queries.parquet", tmp_path / "out", **given, **extra)
        assert (told.queries, told.interests) == (36, 4)
        assert told.notes[0] == "queries with an interest from the catalogue: 36 of 36 with documents"
    with pytest.raises(InputError, match="give --judgments or --clicks"):
        train_interests(tmp_path / "queries.parquet", tmp_path / "out", **given)
    with pytest.raises(InputError, match="give --docs too"):
        train_interests(tmp_path / "queries.parquet", tmp_path / "out", base=str(base), clicks=tmp_path / "clicks.csv")
    with pytest.raises(InputError, match="say which with --column"):
        train_interests(tmp_path / "queries.parquet", tmp_path / "out", base=str(base))
    with pytest.raises(InputError, match="know no option 'magic'"):
        train_interests(tmp_path / "queries.parquet", tmp_path / "out", base=str(base), options={"magic": 1})


def test_what_is_said_of_a_classifier_is_read_back_with_its_intervals(base, tmp_path):
    train(labelled(), tmp_path / "out", base=base, recipe=Recipe(folds=2))
    about = read(tmp_path / "out")
    said = json.loads((tmp_path / "out" / "interests.json").read_text())
    assert about.measured["accuracy"].low == said["measured"]["accuracy"]["low"]
    assert set(about.measured) >= {"accuracy", "likeliest", "answered", "macro F1", "calibration error"}
    assert about.recipe.folds == 2
