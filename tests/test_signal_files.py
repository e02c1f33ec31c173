"""Policy files: they come back as they were written; what is hostile, changed or of another judge is refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_signals import FINGERPRINT, changed, policy

from germane.signal import Adaptive, Boost, Filter, files, load, read, write
from germane.signal.boost import BoostRule, Curve
from germane.signal.filter import Rule
from germane.types import Estimate, InputError, Policy

PLAIN = Filter((Rule(0, 0.9, {"": 0.7, "tail": None}),), 4, 3, ("I", "C", "S", "E"))
LIFT = Boost(Curve((0.0, 1.0), (-0.5, 0.5)), 2.0, (BoostRule("demote", 0, 0.8, 1.0),), 4, None)
FOUND = {"precision": Estimate(0.95, 0.01, 0.93, 0.97, 100, "share")}
ONE = {"segment": "", "probs": [[0.8, 0.0, 0.1, 0.1]], "gain": [0.11], "known": [True]}


def boost_policy():
    return policy(PLAIN, kind="boost", name="boost", parameters=LIFT.parameters())


def adaptive_policy(**changes):
    parts = {"strong": {"kind": "boost", "parameters": LIFT.parameters()}}
    said = {"choice": {"head": "strong", "tail": "control"}, "by": ["segment"], "parts": parts} | changes
    return policy(PLAIN, kind="adaptive", name="adaptive", parameters=said)


@pytest.mark.parametrize(("said", "made"), [(policy(PLAIN, found=FOUND, notes=("a note",)), PLAIN), (boost_policy(), LIFT)])
def test_a_policy_comes_back_as_it_was_written(tmp_path, said, made):
    path = write(said, tmp_path / "policy.json")
    assert read(path) == said
    assert load(path, fingerprint=FINGERPRINT, scale="esci") == made


def test_an_adaptive_policy_does_to_each_type_what_was_chosen_for_it(tmp_path):
    found = load(write(adaptive_policy(), tmp_path / "policy.json"))
    assert isinstance(found, Adaptive)
    assert found.decide(**ONE | {"segment": "head"}) == LIFT.decide(**ONE)
    for segment in ("tail", "a type that nobody tried"):
        said = found.decide(**ONE | {"segment": segment})
        assert said.keep.all() and not said.boost.any()  # noqa: PT018


def test_a_treatment_without_its_policy_is_an_error_where_it_is_asked_for():
    found = Adaptive({"head": "new engine"}, ("segment",), 4)
    with pytest.raises(InputError, match="named without its policy"):
        found.decide(**ONE | {"segment": "head"})


def test_the_digest_is_of_what_a_policy_does_and_not_of_what_is_said_of_it():
    one = policy(PLAIN)
    assert files.digest(one) == files.digest(replace(one, notes=("x",), found=FOUND))
    for other in (policy(replace(PLAIN, floor=4)), replace(one, fingerprint="x"), replace(one, scale="trec")):
        assert files.digest(one) != files.digest(other)


def test_another_judge_or_scale_is_refused(tmp_path):
    path = write(policy(PLAIN), tmp_path / "policy.json")
    with pytest.raises(InputError, match="was chosen for judge 'student'"):
        load(path, fingerprint="other")
    with pytest.raises(InputError, match="on scale 'esci', and the predictions are on 'trec'"):
        load(path, scale="trec")


def test_a_file_that_was_changed_is_refused(tmp_path):
    path = write(policy(PLAIN), tmp_path / "policy.json")
    path.write_text(path.read_text().replace('"floor": 3', '"floor": 0'))
    with pytest.raises(InputError, match="was changed after it was written"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b'"x"', b"null", b"{}", b'{"schema": 1, "hash": "", "kind": "filter"}', b"[" * 100_000,
     b'{"schema": 2, "hash": "", "kind": "filter"}', b'{"schema": 1, "hash": "", "kind": "virus"}', b"NaN", b'{"a": Infinity}',
     b'{"schema": 1, "hash": "", "kind": ["filter"]}'],
)  # fmt: skip
def test_what_is_no_policy_is_one_line(tmp_path, content):
    path = tmp_path / "policy.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as problem:
        read(path)
    assert "\n" not in str(problem.value)
    assert len(str(problem.value)) < 400


def test_a_huge_file_is_not_even_read(tmp_path):
    path = tmp_path / "policy.json"
    with path.open("wb") as file:
        file.truncate(files.LARGEST + 1)
    with pytest.raises(InputError, match="no policy is so large"):
        read(path)


@pytest.mark.parametrize(
    "parameters",
    [
        {}, {"rules": [], "floor": 0}, {"rules": "x", "floor": 0}, {"rules": [{}], "floor": 0}, {"rules": [1], "floor": 0},
        {"rules": [{"grade": 3, "precision": 0.9, "thresholds": {"": 0.5}}], "floor": 0},
        {"rules": [{"grade": True, "precision": 0.9, "thresholds": {"": 0.5}}], "floor": 0},
        {"rules": [{"grade": 0, "precision": 9, "thresholds": {"": 0.5}}], "floor": 0},
        {"rules": [{"grade": 0, "precision": 0.9, "thresholds": {}}], "floor": 0},
        {"rules": [{"grade": 0, "precision": 0.9, "thresholds": {"": "0.5"}}], "floor": 0},
        {"rules": [{"grade": 0, "precision": 0.9, "thresholds": {"": 2}}], "floor": 0},
        {"rules": [{"grade": 0, "precision": 0.9, "thresholds": {"": 0.5}}], "floor": -1},
        {"rules": [{"grade": 0, "precision": 0.9, "thresholds": {"": 0.5}}], "floor": 1.5},
        {"rules": [{"grade": 0, "precision": 0.9, "thresholds": {"": 0.5}}], "floor": 0, "labels": "IC"},
    ],
)  # fmt: skip
def test_a_filter_with_a_fitting_digest_and_senseless_content_is_refused(tmp_path, parameters):
    path = write(policy(PLAIN), tmp_path / "policy.json")
    with pytest.raises(InputError):
        read(changed(path, parameters=parameters))


@pytest.mark.parametrize(
    "changes",
    [
        {"curve": None}, {"curve": {"gain": [0, 1], "value": [1, 0]}}, {"curve": {"gain": [1, 0], "value": [0, 1]}},
        {"curve": {"gain": [0], "value": [0, 1]}}, {"curve": {"gain": ["0"], "value": [0]}}, {"strength": -1},
        {"strength": "2"},
        {"most": -1}, {"most": 2.5}, {"most": True}, {"rules": "x"}, {"rules": [{}]}, {"labels": [1]},
        {"rules": [{"kind": "lift", "grade": 0, "at": 0.5, "by": 1}]},
        {"rules": [{"kind": "pin", "grade": "0", "at": 0.5, "by": 1}]},
    ],
)  # fmt: skip
def test_a_boost_with_senseless_content_is_refused(tmp_path, changes):
    path = write(boost_policy(), tmp_path / "policy.json")
    with pytest.raises(InputError):
        read(changed(path, parameters=LIFT.parameters() | changes))


@pytest.mark.parametrize(
    "changes",
    [{"choice": []}, {"choice": {"a": 1}}, {"by": "segment"}, {"parts": []},
     {"parts": {"x": {"kind": "adaptive", "parameters": {}}}}, {"parts": {"x": {"kind": "boost", "parameters": {}}}}],
)  # fmt: skip
def test_an_adaptive_policy_with_senseless_content_is_refused(tmp_path, changes):
    path = write(adaptive_policy(), tmp_path / "policy.json")
    said = json.loads(path.read_text())["parameters"]
    with pytest.raises(InputError):
        read(changed(path, parameters=said | changes))


@pytest.mark.parametrize(
    "changes",
    [{"lineage": "t"}, {"lineage": [1]}, {"grades": -1}, {"grades": "4"}, {"judge": 3}, {"found": []}, {"notes": [{}]}],
)
def test_a_policy_whose_own_fields_are_senseless_is_refused(tmp_path, changes):
    path = write(policy(PLAIN), tmp_path / "policy.json")
    said = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(said))
    with pytest.raises(InputError, match="is not a policy"):
        read(path)


plain = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5)


@given(st.recursive(plain, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3)))
def test_whatever_the_parameters_are_nothing_but_an_input_error_comes_out(tmp_path_factory, value):
    path = write(policy(PLAIN), tmp_path_factory.mktemp("p") / "policy.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parameters": {"rules": value, "floor": 0}}))
    with pytest.raises(InputError):
        read(path)


def test_a_number_that_is_none_is_not_written(tmp_path):
    bad = Policy("filter", "f", "j", "f", (), "esci", 4, "", PLAIN.parameters() | {"floor": float("nan")})
    with pytest.raises(InputError, match="a number that is none"):
        write(bad, tmp_path / "policy.json")
    assert not list(tmp_path.iterdir())


def test_decisions_are_arrays_of_the_request_s_length():
    said = LIFT.decide(segment="", probs=np.full((3, 4), 0.25), gain=[0.1, 0.2, 0.3], known=[True, False, True])
    assert (said.keep.dtype, said.boost.shape, len(said.reason)) == (bool, (3,), 3)
