"""Calibration, decisions and the model card of a trained judge."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from germane.judges.folder import About, trained_on
from germane.judges.saying import decide, probabilities
from germane.scales import get
from germane.training import finishing
from germane.training.examples import Examples
from germane.training.running import History, Settings
from germane.types import InputError

RNG = np.random.default_rng(4)


def test_the_temperature_finds_how_overconfident_the_logits_are():
    truth = RNG.normal(size=(4000, 4)) * 1.5
    grade = np.array([RNG.choice(4, p=p) for p in probabilities(truth)])
    assert finishing.calibrate(truth * 3, grade) == pytest.approx(3, rel=0.1)
    assert finishing.calibrate(truth / 2, grade) == pytest.approx(0.5, rel=0.1)


def test_a_judge_without_numbers_is_a_failed_training():
    with pytest.raises(InputError, match="gave no number"):
        finishing.calibrate(np.full((3, 2), np.nan), [0, 1, 1])


def test_macro_f1_is_that_of_scikit_learn():
    for _ in range(20):
        a, b = RNG.integers(0, 4, 30), RNG.integers(0, 4, 30)
        assert finishing.macro_f1(a, b, 4) == pytest.approx(f1_score(a, b, average="macro"))


def test_decision_weights_raise_macro_f1_where_a_grade_is_rare():
    prior = np.log([0.6, 0.3, 0.07, 0.03])
    truth = RNG.normal(size=(6000, 4)) + prior
    probs = probabilities(truth)
    grade = np.array([RNG.choice(4, p=p) for p in probs])
    weights = finishing.decision_weights(probs[:3000], grade[:3000])
    plain, weighted = (finishing.macro_f1(grade[3000:], decide(probs[3000:], w), 4) for w in ((), weights))
    assert weighted > plain + 0.02
    assert max(weights) == 1
    assert weights[0] < weights[3]


def test_the_model_card_says_what_it_learned_from_and_holds_no_query(tmp_path):
    about = About("cross-encoder", "mini `x`\n# hostile", get("esci"), "some/base", 128, taught_by=("the teacher",))
    data = Examples(
        ("q1", "q2"), ("a", "b"), ("secret shoes", "blue chair"), ("t", "u"), np.array([0, 3]), np.eye(4)[[0, 3]], get("esci")
    )
    history = History(10, (1.0,), (0.5,), 0.5, 1.0, 10.0, None)
    found = {"macro F1": 0.5, "exact": 0.5, "log loss": 1.0, "pairs": 2.0}
    finishing.write_training(tmp_path, about, Settings(), data, data, history, found, finishing.NOBODY, ["cut at\n128"])
    card, said = (tmp_path / "README.md").read_text(), json.loads((tmp_path / "training.json").read_text())
    assert "secret" not in card + json.dumps(said)
    assert len(said["queries"]) == 2
    assert trained_on(tmp_path) == tuple(said["queries"])
    assert "\n# hostile" not in card
    assert "`the teacher`" in card
    assert trained_on(tmp_path / "none") == ()


def test_a_pupil_is_calibrated_to_its_teachers_probabilities_and_not_to_its_likeliest_grade():
    teacher = probabilities(RNG.normal(size=(3000, 4)))
    logits = np.log(teacher) * 2
    assert finishing.calibrate(logits, teacher) == pytest.approx(2, rel=0.05)
    assert finishing.calibrate(logits, teacher.argmax(axis=1)) < 0.6
