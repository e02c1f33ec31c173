"""Training of cross-encoders: every named architecture, every loss, on the CPU, with nothing from the network."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_encoders as tiny

pytest.importorskip("torch", reason="training needs torch: pip install 'germane[train]'")

from germane.judges import encoder, folder
from germane.judges.encoder import CrossEncoder
from germane.judges.loading import load, models_folder
from germane.scales import get
from germane.training.cross_encoder import CrossEncoderRecipe, _built, _groups, _Start, tau_of_sdcg, train
from germane.training.examples import Examples
from germane.training.finishing import Lineage
from germane.training.running import Settings
from germane.types import InputError, Scale

torch = pytest.importorskip("torch")
TESTS = Path(__file__).parent
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


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny.model(tmp_path_factory.mktemp("models") / "bert", "bert")


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


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_trained_model_learned_something_in_every_architecture(kind, tmp_path):
    """Adapters and whole weights, merged or not: what is saved is not the base that it started from."""
    base = tiny.model(tmp_path / "base", kind)
    given = tiny.examples()
    settings = replace(STEPS, learning_rate=1e-2)
    for name, steps in (("one", 1), ("more", 8)):
        train(given, None, tmp_path / name, recipe=recipe(base, lora=4, settings=replace(settings, max_steps=steps)))
    one, more = (CrossEncoder(tmp_path / name, device="cpu").score(given.query, given.text) for name in ("one", "more"))
    assert np.abs(one - more).max() > 1e-3


@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind != "mpnet"])
def test_gradient_checkpointing_changes_memory_and_nothing_else(kind, tmp_path):
    base = tiny.model(tmp_path / "base", kind)
    given = tiny.examples(6)
    for name, switch in (("without", False), ("with", True)):
        settings = replace(STEPS, gradient_checkpointing=switch)
        train(given, None, tmp_path / name, recipe=recipe(base, settings=settings, **ARCHITECTURES[kind]))
    one, other = (CrossEncoder(tmp_path / name, device="cpu").score(given.query, given.text) for name in ("without", "with"))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_base_that_cannot_checkpoint_gradients_says_so(tmp_path):
    base = tiny.model(tmp_path / "base", "mpnet")
    given = recipe(base, settings=replace(STEPS, gradient_checkpointing=True))
    with pytest.raises(InputError, match="leave --gradient-checkpointing out"):
        train(tiny.examples(), None, tmp_path / "judge", recipe=given)


# --- what it learns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross-entropy", "ordinal", "soft", "pairwise"])
def test_every_loss_is_minimised_and_teaches_the_grades(loss, bert, tmp_path):
    settings = Settings(batch=16, epochs=3, learning_rate=1e-2, device="cpu")
    found = train(tiny.easy(), None, tmp_path / "judge", recipe=recipe(bert, loss=loss, settings=settings))
    assert found.history.losses[-1] < 0.7 * found.history.losses[0]
    assert found.dev["exact"] > 0.9
    assert len(found.history.scores) == 3


def test_a_small_encoder_learns_simulated_pairs_and_answers_as_it_did_when_it_was_saved(tmp_path):
    """MiniLM, 200 pairs of the words that query and document share."""
    if not (models_folder() / "all-MiniLM-L6-v2").is_dir():
        pytest.skip("all-MiniLM-L6-v2 is not under GERMANE_MODELS")
    given, dev, new = tiny.examples(34), tiny.examples(12, seed=1), tiny.examples(8, seed=2)
    settings = Settings(batch=16, epochs=2, learning_rate=2e-4, device="cpu")
    found = train(
        given, dev, tmp_path / "judge", recipe=CrossEncoderRecipe("all-MiniLM-L6-v2", max_length=32, settings=settings)
    )
    assert found.history.losses[-1] < found.history.losses[0]
    assert found.dev["exact"] > 0.35  # four grades, drawn evenly
    judge, again = (load(tmp_path / "judge", device="cpu") for _ in range(2))
    said = list(judge(tiny.pairs(new)))
    assert said == list(again(tiny.pairs(new)))
    assert np.mean([j.relevance == grade for j, grade in zip(said, new.grade, strict=True)]) > 0.35


def test_soft_labels_are_learned_by_the_soft_loss_alone(bert, tmp_path):
    """Labels that say two grades are equally likely: the soft loss learns the halves, cross-entropy one of them."""
    given = tiny.easy()
    halves = np.tile([0.5, 0.5, 0.0, 0.0], (len(given), 1))
    given = replace(given, grade=np.zeros(len(given), dtype=np.int64), target=halves)
    settings = Settings(batch=8, epochs=1, learning_rate=5e-3, device="cpu")
    share = {}
    for loss in ("soft", "cross-entropy"):
        train(given, tiny.easy(4), tmp_path / loss, recipe=recipe(bert, loss=loss, settings=settings))
        logits = CrossEncoder(tmp_path / loss, device="cpu").score(given.query, given.text)
        share[loss] = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))[:, 0].mean()
    assert share["soft"] == pytest.approx(0.5, abs=0.1)
    assert share["cross-entropy"] > 0.8


def test_balanced_grades_raise_the_rare_one(bert, tmp_path):
    given = tiny.examples(20)
    rare = given.take(np.flatnonzero((given.grade != 3) | (np.arange(len(given)) % 8 == 0)))
    settings = Settings(batch=8, epochs=1, learning_rate=5e-3, device="cpu")
    mean = {}
    for name in (None, "balanced"):
        out = tmp_path / str(name)
        train(rare, tiny.examples(4, seed=1), out, recipe=recipe(bert, class_weighting=name, settings=settings))
        logits = CrossEncoder(out, device="cpu").score(given.query, given.text)
        mean[name] = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).mean(axis=0)
    assert mean["balanced"][3] > 1.5 * mean[None][3]


def test_the_decision_by_macro_f1_is_recorded_and_taken(bert, tmp_path):
    train(tiny.examples(20), None, tmp_path / "judge", recipe=recipe(bert, decision="macro F1"))
    judge = load(tmp_path / "judge", device="cpu")
    assert len(judge.about.weights) == 4
    assert max(judge.about.weights) == 1
    said = list(judge(tiny.pairs(tiny.examples(4, seed=3))))
    assert [j.relevance for j in said] == [int(np.argmax(np.array(j.probs) * judge.about.weights)) for j in said]


def test_the_decision_by_prior_lifts_rare_grades_by_the_labels(bert, tmp_path):
    given = tiny.examples(20)
    rare = given.take(np.flatnonzero((given.grade != 3) | (np.arange(len(given)) % 8 == 0)))
    train(rare, tiny.examples(4, seed=1), tmp_path / "judge", recipe=recipe(bert, decision="prior"))
    weights = folder.read(tmp_path / "judge").weights
    assert weights[3] == max(weights) == 1
    assert max(weights[:3]) < 1


def test_the_last_epoch_stands_where_none_is_chosen(bert, tmp_path):
    found = train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(bert, stop_on="last"))
    assert (found.history.scores, found.history.best) == ((), None)


def test_the_share_of_queries_that_calibrates_is_asked_for(bert, tmp_path):
    found = train(tiny.examples(10), None, tmp_path / "judge", recipe=recipe(bert, held_out=0.5))
    assert found.dev["pairs"] == 30


def test_temperature_and_scores_on_dev_are_recorded(bert, tmp_path):
    found = train(tiny.examples(20), None, tmp_path / "judge", recipe=recipe(bert, stop_on="tau"))
    assert load(tmp_path / "judge", device="cpu").about.temperature != 1
    assert set(found.dev) == {"macro F1", "exact", "log loss", "pairs", "tau of sDCG@25"}
    assert found.history.best == max(found.history.scores)
    made = json.loads((tmp_path / "judge" / "training.json").read_text())
    assert made["recipe"]["stop_on"] == "tau"
    assert made["labels"] == [["human:ann", ""]]


def test_evidence_is_read_by_the_judge_that_was_trained_with_it(bert, tmp_path):
    train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(bert, evidence=True))
    judge = CrossEncoder(tmp_path / "judge", device="cpu")
    assert judge.about.settings["evidence"] is True
    assert judge._reader.evidence


def test_marks_are_read_by_the_judge_that_was_trained_with_them(bert, tmp_path):
    train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(bert, marks=True))
    judge = CrossEncoder(tmp_path / "judge", device="cpu")
    assert judge.about.settings["marks"] is True
    assert judge._reader.marks
    assert judge._model.config.type_vocab_size == encoder.KINDS


def test_what_is_learned_first_has_a_rate_of_its_own(bert, tmp_path, monkeypatch):
    import germane.training.cross_encoder as module

    rates, fit = [], module.fit
    monkeypatch.setattr(
        module, "fit", lambda *given, **more: rates.append(more["settings"].learning_rate) or fit(*given, **more)
    )
    found = recipe(bert, before_rate=0.5)
    train(tiny.examples(), None, tmp_path / "judge", recipe=found, before=(tiny.examples(),))
    assert rates == [0.5, found.settings.learning_rate]


def test_lineage_is_kept(bert, tmp_path):
    lineage = Lineage(("llm",), ("llm:1", "older:2"))
    train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(bert, name="mine"), lineage=lineage)
    about = folder.read(tmp_path / "judge")
    assert (about.name, about.taught_by, about.lineage) == ("mine", ("llm",), ("llm:1", "older:2"))


def test_tau_of_sdcg_is_1_for_a_judge_that_knows_and_minus_1_for_its_opposite():
    """Of queries whose documents are all of one grade, each grade once."""
    rows = [
        (f"q{i}", f"d{i}{j}", f"{word} lamp", "red lamp", i)
        for i, word in enumerate(("red", "oak", "blue", "steel"))
        for j in range(3)
    ]
    query_id, doc_id, query, text, grade = zip(*rows, strict=True)
    hot = np.eye(4)[list(grade)]
    given = Examples(query_id, doc_id, query, text, np.array(grade), hot, get("esci"))
    assert tau_of_sdcg(hot, given) == pytest.approx(1)
    assert tau_of_sdcg(hot[::-1], given) == pytest.approx(-1)
    assert tau_of_sdcg(np.full((12, 4), 0.25), given) == 0


def test_the_rows_of_a_group_are_of_one_query_and_none_is_lost():
    asked = np.repeat([0, 1, 2], [20, 3, 1])
    groups = _groups(asked, seed=0)
    assert sorted(i for group in groups for i in group) == list(range(24))
    assert all(len(set(asked[group])) == 1 and len(group) <= 8 for group in groups)
    assert len(groups) == 3 + 1 + 1


# --- intermediate training ------------------------------------------------------------------------------------------


def test_intermediate_training_on_another_scale_reaches_the_judge(bert, tmp_path):
    before, yes_no = tiny.examples(20, seed=5), Scale("yes-no", ("no", "yes"), (0.0, 1.0), "Is it what was asked for?")
    two = replace(before, grade=(before.grade > 1) * 1, target=np.eye(2)[(before.grade > 1) * 1], scale=yes_no)
    given = tiny.examples()
    for name, stages in (("with", (two,)), ("without", ())):
        train(given, None, tmp_path / name, recipe=recipe(bert), before=stages)
    one, other = (CrossEncoder(tmp_path / name, device="cpu") for name in ("with", "without"))
    assert one.scale.name == "esci"
    assert one.score(given.query, given.text).shape == (len(given), 4)
    assert np.abs(one.score(given.query, given.text) - other.score(given.query, given.text)).max() > 1e-3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["with", "without"]


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "t5", "modernbert"])
def test_a_head_of_another_scale_is_replaced_and_one_of_the_same_scale_is_kept(kind, tmp_path):
    """As many grades, with other names: what was learned of them means nothing."""
    given = tiny.easy(4)
    other = replace(given, scale=Scale("other", ("a", "b", "c", "d"), (0.0, 1.0, 2.0, 3.0), "Which one?"))
    asked = recipe(tiny.model(tmp_path / "base", kind))
    train(given, None, tmp_path / "judge", recipe=asked)
    start = _Start(str(tmp_path / "judge" / "model"), random=False, scale=given.scale.labels)

    def head_and_body(examples):
        model, _, _ = _built(start, examples, asked)
        head = torch.cat([p.flatten() for name, p in model.named_parameters() if name.startswith("classifier")])
        return head, next(model.get_input_embeddings().parameters())

    (kept, body), (new, same) = head_and_body(given), head_and_body(other)
    saved = CrossEncoder(tmp_path / "judge", device="cpu")._model
    assert torch.equal(kept, torch.cat([p.flatten() for name, p in saved.named_parameters() if name.startswith("classifier")]))
    assert not torch.isclose(kept, new).any()
    assert torch.equal(body, same)


def test_intermediate_training_works_with_adapters(tmp_path):
    base = tiny.model(tmp_path / "base", "llama")
    train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(base, lora=4), before=(tiny.examples(seed=3),))
    judge = CrossEncoder(tmp_path / "judge", device="cpu")
    assert judge.about.base == str(base)
    assert judge.score(["red chair"], ["title: red chair"]).shape == (1, 4)


# --- bases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clip", "vit"])
def test_a_base_that_is_no_encoder_of_text_is_refused_in_one_line(kind, tmp_path):
    base = tiny.model(tmp_path / "base", kind)
    with pytest.raises(InputError, match="no encoder of text") as raised:
        train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(base))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "judge").exists()


def test_a_folder_that_is_no_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "no such thing"}')
    for name in ("empty", "odd"):
        with pytest.raises(InputError, match="could not be read") as raised:
            train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(tmp_path / name))
        assert "\n" not in str(raised.value)


def test_a_model_without_a_tokenizer_is_refused_in_one_line(tmp_path):
    base = tiny.model(tmp_path / "base", "bert")
    for path in base.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match="tokenizer") as raised:
        train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(base))
    assert "\n" not in str(raised.value)


def test_weights_of_another_model_are_refused(tmp_path):
    base = tiny.model(tmp_path / "base", "bert")
    other = tiny.model(tmp_path / "other", "t5")
    (base / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="not of its configuration"):
        train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(base))


def test_a_base_without_weights_makes_a_judge_that_is_marked(tmp_path):
    base = tiny.model(tmp_path / "base", "bert", weights=False)
    found = train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(base), before=(tiny.examples(seed=1),))
    judge = load(tmp_path / "judge", device="cpu")
    assert judge.about.random_weights
    assert any("has no weights" in note for note in found.notes)
    assert {j.note for j in judge(tiny.pairs(tiny.examples(2)))} == {"random weights: its grades mean nothing"}


def test_more_tokens_than_a_base_reads_are_cut_and_said(bert, tmp_path):
    found = train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(bert, max_length=512))
    assert load(tmp_path / "judge", device="cpu").about.max_length == 64
    assert any("reads 64 tokens at most, not 512" in note for note in found.notes)


def test_four_bit_weights_without_a_gpu_are_one_line(bert, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match=r"bitsandbytes|4-bit weights need a CUDA GPU"):
        train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(bert, lora=4, quantised=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "mse"}, "loss 'mse': expected one of cross-entropy, ordinal, soft, pairwise"),
        ({"decision": "best"}, "decision 'best'"),
        ({"stop_on": "loss"}, "stop_on 'loss'"),
        ({"class_weighting": "some"}, "class_weighting 'some'"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0"),
        ({"held_out": 1.0}, "held_out 1.0"),
        ({"max_length": 4}, "max_length 4"),
        ({"lora": 0}, "lora 0"),
        ({"quantised": True}, "give a rank of adapters too"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        CrossEncoderRecipe("any", **changes)


RECORDED = {  # millions of parameters of body and head of four grades, as their model cards have them
    "google-bert/bert-base-multilingual-cased": (177.9, "BertForSequenceClassification"),
    "google-t5/t5-base": (109.6, "T5ForTokenClassification"),  # the encoder alone
    "microsoft/mdeberta-v3-base": (278.8, "DebertaV2ForSequenceClassification"),
    "FacebookAI/xlm-roberta-large": (559.9, "XLMRobertaForSequenceClassification"),
    "meta-llama/Meta-Llama-3-8B": (7505, "LlamaForSequenceClassification"),  # 8,030 with the 525 that write words
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_hub_name_loads_through_its_recorded_configuration(name, monkeypatch):
    monkeypatch.setenv("GERMANE_MODELS", str(TESTS / "configs"))
    config = encoder.graded(encoder.config_of(name), get("esci"), pad=0)
    with torch.device("meta"):
        model, random = encoder.opened(str(TESTS / "configs" / name.rpartition("/")[2]), config, torch.float32)
    millions, kind = RECORDED[name]
    assert type(model).__name__ == kind
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.002)
    assert random
    assert config.label2id["E"] == 3


def test_llama_3_has_8_billion_parameters_with_the_head_that_writes_words(monkeypatch):
    from transformers import AutoModelForCausalLM

    monkeypatch.setenv("GERMANE_MODELS", str(TESTS / "configs"))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(encoder.config_of("meta-llama/Meta-Llama-3-8B"))
    assert sum(p.numel() for p in model.parameters()) == 8_030_261_248


# --- several processes, and kills -----------------------------------------------------------------------------------

SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import tiny_encoders as tiny
from germane.training import cross_encoder
from germane.training.running import Settings

if sys.argv[3] == "kill":
    stands, calls = cross_encoder._stands, []
    def killed(*given):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return stands(*given)
    cross_encoder._stands = killed
settings = Settings(batch=8, epochs=4, learning_rate=1e-3, device="cpu")
recipe = cross_encoder.CrossEncoderRecipe(sys.argv[1], max_length=32, settings=settings, name="judge")
found = cross_encoder.train(tiny.examples(), None, Path(sys.argv[2]), recipe=recipe, before=(tiny.examples(seed=1),))
os.write(1, f"{{found.fingerprint}} {{found.history.steps}}\\n".encode())  # in one piece: two processes write here
"""


def child(*given):
    script = SCRIPT.format(tests=str(TESTS))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", script, *map(str, given)], capture_output=True, text=True, env=environment)


def test_training_that_was_killed_goes_on_and_ends_with_the_judge_it_would_have_been(bert, tmp_path, monkeypatch):
    import torch

    threads = torch.get_num_threads()  # sums of one thread are the same to the last bit in every process
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    try:
        _killed_and_anew(bert, tmp_path)
    finally:
        torch.set_num_threads(threads)


def _killed_and_anew(bert, tmp_path):
    killed = child(bert, tmp_path / "judge", "kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "judge").exists()
    (whole,) = (tmp_path / ".judge.checkpoints").iterdir()
    assert (whole / "before-0" / "done" / "model").is_dir()
    assert sorted(path.name for path in (whole / "last").glob("checkpoint-*"))
    settings = Settings(batch=8, epochs=4, learning_rate=1e-3, device="cpu")
    given = recipe(bert, settings=settings, name="judge")
    on, anew = (
        train(tiny.examples(), None, tmp_path / name, recipe=given, before=(tiny.examples(seed=1),))
        for name in ("judge", "anew")
    )
    assert len(on.history.scores) == 4
    assert on.fingerprint == anew.fingerprint
    assert not (tmp_path / ".judge.checkpoints").exists()


def test_a_full_disk_in_mid_save_keeps_the_judge_that_stood_there_and_what_was_learned(bert, tmp_path, monkeypatch):
    from transformers import PreTrainedModel

    old = train(tiny.examples(), None, tmp_path / "judge", recipe=recipe(bert)).fingerprint
    save = PreTrainedModel.save_pretrained

    def full(model, where, *given, **named):
        if ".part" in str(where):
            raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
        return save(model, where, *given, **named)

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    other = recipe(bert, settings=replace(STEPS, learning_rate=1e-2))
    with pytest.raises(InputError, match=r"could not be written \(No space left on device\): what stood there"):
        train(tiny.examples(), None, tmp_path / "judge", recipe=other)
    assert folder.read(tmp_path / "judge").fingerprint == old
    assert list((tmp_path / ".judge.checkpoints").glob("*/last/checkpoint-3"))
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", save)
    assert train(tiny.examples(), None, tmp_path / "judge", recipe=other).fingerprint != old
    assert [path.name for path in tmp_path.iterdir()] == ["judge"]


def test_two_processes_train_one_judge_together(bert, tmp_path):
    script = tmp_path / "together.py"
    script.write_text(SCRIPT.format(tests=str(TESTS)))
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    ended = subprocess.run(
        [*launched, str(bert), str(tmp_path / "judge"), "live"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.split()
    assert said == [folder.read(tmp_path / "judge").fingerprint, "16"] * 2  # 63 pairs, 4 epochs, 2 x 8 at once
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judge", "together.py"]
