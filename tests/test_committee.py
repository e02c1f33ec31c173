"""Several judges as one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_encoders as tiny

from germane.judges import folder, loading
from germane.judges.committee import Committee, convene
from germane.judges.saying import probabilities
from germane.training.cross_encoder import CrossEncoderRecipe, train
from germane.training.running import Settings
from germane.types import InputError


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    place = tmp_path_factory.mktemp("members")
    found = []
    for seed, name in enumerate(("one", "two")):
        base = tiny.model(place / f"base-{name}", "bert")
        recipe = CrossEncoderRecipe(
            base=str(base), max_length=32, decision="prior", settings=Settings(max_steps=3, seed=seed, device="cpu")
        )
        train(tiny.examples(seed=seed), None, place / name, recipe=recipe)
        found.append(place / name)
    return found


def test_a_committee_says_the_mean_of_its_members_log_probabilities(members, tmp_path):
    about = convene(members, tmp_path / "both")
    judge = loading.load(tmp_path / "both", device="cpu")
    assert isinstance(judge, Committee)
    asked = tiny.examples(seed=9)
    said = np.array([j.probs for j in judge(tiny.pairs(asked))])
    each = [loading.load(m, device="cpu") for m in members]
    mean = np.mean([np.log(probabilities(m.score(asked.query, asked.text), m.about.temperature)) for m in each], axis=0)
    assert said == pytest.approx(probabilities(mean), abs=1e-9)
    assert judge.fingerprint == about.fingerprint
    assert about.weights[0] == pytest.approx(float(np.sqrt(np.prod([folder.read(m).weights[0] for m in members]))), rel=0.3)


def test_a_committee_learned_from_all_that_its_members_did(members, tmp_path):
    convene(members, tmp_path / "both")
    queries = {q for m in members for q in folder.trained_on(m)}
    assert set(folder.trained_on(tmp_path / "both")) == queries


def test_a_committee_needs_two_different_judges_on_one_scale(members, tmp_path):
    with pytest.raises(InputError, match="name two judges or more"):
        convene(members[:1], tmp_path / "x")
    with pytest.raises(InputError, match="named twice"):
        convene([members[0], members[0]], tmp_path / "x")
    about = folder.read(members[1])
    other = replace(about, scale=replace(about.scale, guide="another guide"))
    with folder.writing(tmp_path / "other", other) as part:
        (part / "weights").write_text("x")
    with pytest.raises(InputError, match="another guide or other grades"):
        convene([members[0], tmp_path / "other"], tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_command_convenes_once_and_never_over_a_member(members, tmp_path):
    from typer.testing import CliRunner

    from germane.cli import app

    asked = ["train", "committee", *map(str, members), "--out", str(tmp_path / "both"), "--output", "json"]
    first, again = (json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).stdout) for _ in range(2))
    assert (first["made"], again["made"]) == (True, False)
    assert first["fingerprint"] == again["fingerprint"] == folder.read(tmp_path / "both").fingerprint
    for out in (members[0], members[0] / "inside"):
        with pytest.raises(InputError, match="one of the members, or lies inside one"):
            convene(members, out)
