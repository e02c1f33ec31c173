"""Training of cross-encoders: every named architecture, every loss, on the CPU, with nothing from the network."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_encoders as tiny

from germane.judges import folder
from germane.judges.encoder import CrossEncoder
from germane.judges.loading import load
from germane.training.cross_encoder import CrossEncoderRecipe, train
from germane.training.running import Settings
from germane.types import InputError

STEPS = Settings(batch=8, max_steps=3, learning_rate=1e-3, device="cpu")
ARCHITECTURES = {
    "bert": {},
    "xlm-roberta": {},
    "deberta-v2": {},
    "mpnet": {},
    "modernbert": {},
    "t5": {},
    "llama": {"lora": 4},
}


def recipe(base, **changes):
    return replace(CrossEncoderRecipe(str(base), max_length=32, settings=STEPS), **changes)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_trains_is_saved_and_says_the_same_again(kind, tmp_path, capfd):
    base = tiny.model(tmp_path / "base", kind)
    given = tiny.examples()
    found = train(given, None, tmp_path / "judge", recipe=recipe(base, **ARCHITECTURES[kind]))
    judge, again = (CrossEncoder(tmp_path / "judge", device="cpu") for _ in range(2))
    said = judge.score(given.query, given.text)
    assert said.shape == (len(given), 4)
    np.testing.assert_array_equal(said, again.score(given.query, given.text))
    assert [j.relevance for j in load(tmp_path / "judge", device="cpu")(tiny.pairs(given))] == said.argmax(axis=1).tolist()
    assert found.fingerprint == judge.fingerprint
    assert found.history.steps == 3
    assert not judge.about.random_weights
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "judge"]  # no checkpoints, nothing half-written
    assert capfd.readouterr().err == ""
