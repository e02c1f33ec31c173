"""Features and weights: the same numbers for a table and for a request, in forms that other tools read."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_signals import ESCI, World
from sklearn.datasets import load_svmlight_file

from germane.scales import get
from germane.signal import applying, evidence, features, weights
from germane.sources import read_run
from germane.types import InputError, Scale

NAMES = features.names(ESCI)


def made(world, grades=None):
    predicted = evidence.predictions(world.judgments(), ESCI)[0]
    run = read_run(world.run()).table
    said = {}
    for query, (docs, _) in applying.pages(run).items():
        probs, _, known = predicted.of(query, docs)
        said[query] = (probs, known)
    return features.table(run, said, ESCI, grades=grades), run


def truth(world):
    return {pair: int(g) for pair, g in zip(zip(world.query, world.doc, strict=True), world.grade, strict=True)}


def test_a_request_gets_the_numbers_that_the_table_has_to_the_last_bit():
    """The table's probabilities went through a parquet column of single precision; the request's come from the model."""
    world = World(8)
    table, run = made(world)
    by_pair = {pair: row for pair, row in zip(zip(world.query, world.doc, strict=True), world.probs, strict=True)}
    for query, (docs, _) in applying.pages(run).items():
        online = features.of_request(np.array([by_pair[query, doc] for doc in docs]), np.ones(len(docs), bool), ESCI)
        rows = table.filter(pa.compute.equal(table["query_id"], query))
        offline = np.column_stack([rows[name].to_numpy() for name in NAMES])
        assert np.array_equal(online, offline)


def test_by_hand():
    rows = features.of_request([[0, 0, 0, 1], [0.5, 0, 0.5, 0], [0.5, 0, 0.5, 0], [9, 9, 9, 9]], [1, 1, 1, 0], ESCI)
    of = dict(zip(NAMES, rows.T, strict=True))
    assert of["signal_known"].tolist() == [1, 1, 1, 0]
    assert of["signal_gain"][:3] == pytest.approx([1.0, 0.05, 0.05])
    assert of["signal_entropy"][:3].tolist() == [0, 1, 1]
    assert of["signal_rank"][:3] == pytest.approx([1 / 3, 2.5 / 3, 2.5 / 3])
    assert of["signal_behind"][:3] == pytest.approx([0, 0.95, 0.95])
    assert all(np.isnan(of[name][3]) for name in NAMES if name != "signal_known")


def test_nothing_known_and_nothing_shown_are_no_fault():
    assert features.of_request(np.empty((0, 4)), [], ESCI).shape == (0, len(NAMES))
    assert np.isnan(features.of_request(np.full((2, 4), np.nan), [False, False], ESCI)[:, 1:]).all()


@given(st.permutations(range(6)))
def test_the_order_of_a_request_does_not_change_a_document_s_features(place):
    rng = np.random.default_rng(2)
    probs = rng.dirichlet(np.ones(4), 6)
    one, other = features.of_request(probs, np.ones(6), ESCI), features.of_request(probs[list(place)], np.ones(6), ESCI)
    assert np.array_equal(one[list(place)], other)


def test_labels_of_any_writing_make_names():
    odd = Scale("odd", ("schlecht!", "schlecht?"), (0.0, 1.0), "")
    assert features.names(odd)[2:4] == ("signal_p_0", "signal_p_1")
    assert "signal_p_highly_relevant" in features.names(get("five-level"))


def test_ranklib_lines_are_read_back_by_scikit_learn():
    world = World(6)
    table, _ = made(world, truth(world))
    found = features.matrices(table)
    text = features.ranklib(found)
    x, y, qid = load_svmlight_file(io.BytesIO(text.encode()), query_id=True, n_features=len(found.names))
    assert np.allclose(x.toarray(), np.nan_to_num(found.x), rtol=1e-6)
    assert y.tolist() == found.y.tolist()
    assert np.bincount(qid)[1:].tolist() == found.group.tolist()


def test_an_id_cannot_end_a_line_of_ranklib():
    nasty = 'q\n3 qid:9 1:1 # "x'
    table = pa.table({"query_id": [nasty], "doc_id": ["d # \r\n"], "relevance": [1], "signal_gain": [0.5]})
    lines = features.ranklib(features.matrices(table)).splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0].partition(" # ")[2]) == [nasty, "d # \r\n"]


def test_unlabelled_rows_are_no_training_data_and_groups_are_of_what_is_left():
    world = World(6)
    grades = {pair: g for pair, g in truth(world).items() if pair[0] != "q002" and pair[1] != "d03"}
    found = features.matrices(made(world, grades)[0])
    assert (found.y >= 0).all()
    assert found.group.tolist() == [19] * 5
    assert sum(found.group) == len(found.x)
    with np.load(io.BytesIO(features.arrays(found)), allow_pickle=False) as held:
        assert held["names"].tolist() == list(found.names)
        assert np.array_equal(held["x"], found.x, equal_nan=True)


def test_matrices_refuse_what_would_train_wrongly():
    table = pa.table({"query_id": ["a", "b", "a"], "doc_id": ["1", "2", "3"], "relevance": [0, 1, 1], "f": [0.0, 1.0, 2.0]})
    with pytest.raises(InputError, match="do not stand together"):
        features.matrices(table)
    with pytest.raises(InputError, match="expected a finite number"):
        features.matrices(pa.table({"query_id": ["a"], "doc_id": ["1"], "relevance": [0], "f": [np.inf]}))
    with pytest.raises(InputError, match="no row of the features has a grade"):
        features.matrices(pa.table({"query_id": ["a"], "doc_id": ["1"], "relevance": pa.array([None], pa.int16()), "f": [1.0]}))


@pytest.mark.parametrize("field", [None, "signal"])
def test_a_feature_set_has_the_documented_shape(field):
    body = features.feature_set(ESCI, name="germane", field=field)
    assert json.loads(json.dumps(body)) == body
    assert body["featureset"]["name"] == "germane"
    assert [feature["name"] for feature in body["featureset"]["features"]] == list(NAMES)
    for feature in body["featureset"]["features"]:
        assert set(feature) == {"name", "params", "template_language", "template"}
        assert feature["template_language"] == ("mustache" if field else "script_feature")
        assert all(name in json.dumps(feature["template"]) for name in feature["params"])


@pytest.mark.parametrize("field", ["a.b", '"}', "", "ß", "a" * 80])
def test_a_field_that_would_end_the_template_is_refused(field):
    with pytest.raises(InputError, match="expected letters"):
        features.feature_set(ESCI, field=field)


# --- weights ------------------------------------------------------------------------------------------------------------

gains = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(gains, st.floats(0, 1), st.floats(1, 10), st.floats(0.01, 1), st.floats(0.2, 4))
def test_weights_keep_their_bounds_have_mean_1_and_rise_with_the_gain(gain, floor, ceiling, base, power):
    how = weights.Weighing(base, power, floor, ceiling)
    found = weights.weights(gain, np.ones(len(gain)), how)
    assert floor - 1e-9 <= found.min()
    assert found.max() <= ceiling + 1e-9
    assert found.mean() == pytest.approx(1, abs=1e-6)
    assert (np.diff(found[np.argsort(gain)]) >= -1e-9).all()


def test_rows_that_are_not_known_weigh_1_and_so_do_those_without_a_click():
    found = weights.weights([0.0, 1.0, 0.3, 0.9], [1, 1, 0, 1], clicked=[1, 1, 1, 0])
    assert found[2] == found[3] == 1
    assert found[0] < 1 < found[1]


def test_opposite_negatives_weigh_the_irrelevant_more_where_nobody_clicked():
    how = weights.Weighing(negatives="opposite")
    found = weights.weights([0.0, 1.0, 0.0, 1.0], [1] * 4, how, clicked=[1, 1, 0, 0])
    assert found[0] < found[1]
    assert found[2] > found[3]


@given(gains, st.sampled_from(["linear", "cosine", "none"]), st.integers(0, 30))
def test_a_schedule_goes_from_1_to_the_weight_and_keeps_the_mean(gain, ramp, step):
    full = weights.weights(gain, np.ones(len(gain)))
    now = weights.at_step(full, step, 20, ramp)
    assert now.mean() == pytest.approx(1, abs=1e-6)
    assert (abs(now - 1) <= abs(full - 1) + 1e-12).all()
    if step == 0 and ramp != "none":
        assert now == pytest.approx(1)
    if step >= 20:
        assert now == pytest.approx(full)


@pytest.mark.parametrize(
    "how",
    [weights.Weighing(base=0), weights.Weighing(power=0), weights.Weighing(floor=1.1), weights.Weighing(ceiling=0.9),
     weights.Weighing(negatives="none"), weights.Weighing(ceiling=np.inf)],
)  # fmt: skip
def test_weights_that_cannot_be_are_an_error(how):
    with pytest.raises(InputError):
        weights.weights([0.5], [True], how)


def test_gains_outside_0_to_1_and_unknown_ramps_are_an_error():
    with pytest.raises(InputError, match="row 0 has a gain of 2"):
        weights.weights([2.0], [True])
    with pytest.raises(InputError, match="expected none, linear or cosine"):
        weights.at_step([1.0], 1, 2, "square")


def test_lightgbm_takes_matrices_and_weights_as_they_are():
    lightgbm = pytest.importorskip("lightgbm")
    world = World(20)
    found = features.matrices(made(world, truth(world))[0])
    gain = found.x[:, found.names.index("signal_gain")]
    data = lightgbm.Dataset(
        found.x, found.y, group=found.group, weight=weights.weights(gain, np.ones(gain.size)), feature_name=list(found.names)
    )
    told = {"objective": "lambdarank", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    ranker = lightgbm.train(told, data, 5)
    assert ranker.feature_name() == list(found.names)
    assert np.corrcoef(ranker.predict(found.x), found.y)[0, 1] > 0.5
