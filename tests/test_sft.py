"""Training a teacher: every kind of base learns, is saved, and says the same when it is read again."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("peft")

import language_models
import torch

from germane.judges.generative import Generative
from germane.judges.images import Images
from germane.judges.loading import models_folder
from germane.training import packing, sft
from germane.training.running import Settings
from germane.types import InputError

QUICK = Settings(epochs=1, max_steps=3, batch=8, learning_rate=0.02, warmup=0.0, device="cpu")


def said(judge, examples):
    return [(j.relevance, j.probs, j.outcome) for j in judge(language_models.pairs(examples))]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """`bases(kind)`: the folder of a tiny model with random weights."""
    made = {}

    def base(kind, **options):
        key = (kind, *sorted(options.items()))
        if key not in made:
            made[key] = language_models.folder(tmp_path_factory.mktemp(kind) / "base", kind, **options)
        return str(made[key])

    return base


def recipe(base, **changed):
    return sft.TeacherRecipe(**{"base": base, "max_length": 48, "lora": 4, "settings": QUICK, **changed})


@pytest.mark.parametrize(
    ("kind", "options"),
    [("llama", {}), ("llama", {"lora": None}), ("qwen3", {"merged": False}), ("mistral", {"packed": False}), ("qwen3_vl", {})],
    ids=["Llama, LoRA merged", "Llama, all weights", "Qwen3, adapter alone", "Mistral, not packed", "Qwen3-VL on text"],
)
def test_a_saved_teacher_says_what_it_said_when_it_was_trained(bases, tmp_path, monkeypatch, kind, options):
    heard = []
    scores = sft.finishing.scores
    monkeypatch.setattr(sft.finishing, "scores", lambda logits, *more: heard.append(logits) or scores(logits, *more))
    learn, held = language_models.examples(18), language_models.examples(6)
    done = sft.train(learn, held, tmp_path / "teacher", recipe=recipe(bases(kind), **options))
    judge = Generative(tmp_path / "teacher", device="cpu")
    np.testing.assert_allclose(judge.score(held.query, held.text), heard[-1], atol=1e-5)
    assert done.history.steps == 3
    assert done.fingerprint == judge.fingerprint
    assert done.notes == ()
    assert not judge.about.random_weights
    assert said(judge, held) == said(Generative(tmp_path / "teacher", device="cpu"), held)
    assert not (tmp_path / ".teacher.checkpoints").exists()


def test_adapters_leave_what_sees_images_alone(bases):
    from germane.judges.causal import language_model

    model = language_model(bases("qwen3_vl"), device="cpu").model
    names = sft._targets(model)
    assert len(names) == 2 * 7
    assert all("language_model" in name for name in names)


def test_the_loss_falls_and_every_pair_has_a_grade(bases, tmp_path):
    settings = replace(QUICK, epochs=2, max_steps=-1, batch=4)
    learn, held = language_models.examples(80), language_models.examples(12)
    done = sft.train(learn, held, tmp_path / "teacher", recipe=recipe(bases("llama"), lora=None, settings=settings))
    assert done.history.losses[-1] < 0.8 * done.history.losses[0]
    judge = Generative(tmp_path / "teacher", device="cpu")
    assert all(outcome == "label" for _, _, outcome in said(judge, held))


# --- the loss -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "qwen3_vl"])
def test_packed_and_unpacked_rows_have_the_same_loss(kind, how):
    rng = np.random.default_rng(3)
    tokens = language_models.tokenizer()
    torch.manual_seed(1)
    import transformers

    auto = transformers.AutoModelForImageTextToText if kind == "qwen3_vl" else transformers.AutoModelForCausalLM
    model = auto.from_config(language_models.config_of(kind, tokens), attn_implementation=how).eval()
    rows = []
    for length, reasons in [(30, 0), (7, 3), (50, 10), (12, 0), (3, 1)]:
        ids = rng.integers(10, 500, length).tolist()
        rows.append(packing.Row(ids, length - reasons, rng.dirichlet(np.ones(4))))
    grades = [40, 41, 42, 43]
    with torch.no_grad():
        alone = [float(packing.loss(model, packing.packed([row], tokens), grades)) for row in rows]
        losses = [float(packing.loss(model, packing.packed(rows, tokens, most), grades)) for most in (None, 60, 1000)]
    assert losses == pytest.approx([np.mean(alone)] * 3, abs=1e-5)
    assert packing.packed(rows, tokens, 1000)["input_ids"].shape == (1, 102)
    assert packing.packed(rows, tokens, 60)["input_ids"].shape == (2, 60)


def test_the_loss_is_the_surprise_at_the_grade_and_the_mean_surprise_at_the_reasons_by_hand():
    class Fixed(torch.nn.Module):
        """Logits that depend on the token alone."""

        def forward(self, input_ids, logits_to_keep, **given):
            from types import SimpleNamespace

            logits = torch.nn.functional.one_hot(input_ids[:, logits_to_keep], 8).float() * 2
            return SimpleNamespace(logits=logits)

    row = packing.Row([1, 2, 2, 3], 2, np.array([0.25, 0.75]))
    tokens = language_models.tokenizer()
    found = packing.loss(Fixed(), packing.packed([row], tokens), [3, 4])
    top, other = 2 - np.log(np.exp(2) + 7), -np.log(np.exp(2) + 7)
    reasons = -(top + other) / 2  # 2 after 2, then 3 after 2
    assert float(found) == pytest.approx(-(0.25 * top + 0.75 * other) + reasons, abs=1e-6)


def test_rows_share_sequences_where_they_fit():
    assert packing.packs([9, 1, 1], 4) == [[0], [1, 2]]
    assert sorted(i for pack in packing.packs([5, 4, 3, 2, 1], 6) for i in pack) == [0, 1, 2, 3, 4]


def test_a_model_that_sees_into_the_next_example_is_not_packed_and_it_is_said(bases, tmp_path, monkeypatch):
    honest = packing.loss
    monkeypatch.setattr(
        packing, "loss", lambda model, batch, grades: honest(model, batch, grades) + 0.1 * (batch["part"].max() > 1)
    )
    done = sft.train(language_models.examples(18), None, tmp_path / "teacher", recipe=recipe(bases("llama"), lora=None))
    assert "sees from one example into the next" in done.notes[0]


@pytest.mark.parametrize("soft", [True, False])
def test_probabilities_of_labels_are_learned_unless_the_grade_alone_is_wanted(bases, soft):
    learn = language_models.examples(6)
    learn = replace(learn, target=np.tile([0.1, 0.2, 0.3, 0.4], (6, 1)))
    plan = recipe(bases("llama"), soft=soft)
    rows, _ = sft._rows(sft._built(learn, plan), learn, plan, {}, None)
    assert rows[1].target.tolist() == ([0.1, 0.2, 0.3, 0.4] if soft else [0, 1, 0, 0])


@pytest.mark.parametrize("decision", ["macro F1", "prior"])
def test_a_decision_other_than_the_likeliest_has_weights(bases, tmp_path, decision):
    learn = language_models.examples(24)
    sft.train(learn, language_models.examples(12), tmp_path / "t", recipe=recipe(bases("llama"), decision=decision))
    assert len(Generative(tmp_path / "t", device="cpu").about.weights) == 4


# --- refusals -------------------------------------------------------------------------------------------------------


def test_four_bit_weights_need_a_gpu_or_bitsandbytes_and_say_so_in_a_line(bases, tmp_path):
    with pytest.raises(InputError, match=r"needs bitsandbytes|need a CUDA GPU"):
        sft.train(language_models.examples(), None, tmp_path / "t", recipe=recipe(bases("llama"), quantised=True))
    with pytest.raises(InputError, match="give a rank of adapters"):
        recipe("x", quantised=True, lora=None)


def test_an_encoder_is_no_base_of_a_teacher(tmp_path):
    from transformers import BertConfig

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertConfig(**small).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="is a bert, which does not write text"):
        sft.train(language_models.examples(), None, tmp_path / "t", recipe=recipe(str(tmp_path / "bert")))


def test_a_base_with_a_config_and_no_weights_makes_a_judge_that_is_marked(bases, tmp_path):
    base = bases("llama", weights=False)
    settings = replace(QUICK, learning_rate=0.05)
    sft.train(language_models.examples(), None, tmp_path / "t", recipe=recipe(base, lora=None, settings=settings))
    judge = Generative(tmp_path / "t", device="cpu")
    assert judge.about.random_weights
    assert judge.fingerprint.startswith("random:")


def test_unknown_decisions_ranks_and_lengths_are_refused():
    for changed, line in (
        ({"decision": "loudest"}, "decision 'loudest'"),
        ({"lora": 0}, "lora 0"),
        ({"max_length": 3}, "max_length 3"),
    ):
        with pytest.raises(InputError, match=line):
            recipe("x", **changed)


# --- with reasons ---------------------------------------------------------------------------------------------------


def test_reasons_are_learned_before_the_grade_and_pairs_without_are_left_out(bases, tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "REASON_TOKENS", 24)
    learn, held = language_models.examples(40), language_models.examples(6)
    reasons = dict.fromkeys(zip(learn.query_id, learn.doc_id, strict=True), "Yes.")
    del reasons["q0", "d00"]
    with_reasons = recipe(bases("llama"), lora=None, reasoning=True, settings=replace(QUICK, max_steps=45, batch=4, epochs=5))
    done = sft.train(learn, held, tmp_path / "t", recipe=with_reasons, reasons=reasons)
    assert "left out: 1 pairs without reasons" in done.notes
    assert done.history.losses[-1] < done.history.losses[0]
    judge = Generative(tmp_path / "t", device="cpu", batch=4)
    assert judge.about.settings["frame"]["mark"] == "\nGrade:"
    together = said(judge, held)
    assert together == said(Generative(tmp_path / "t", device="cpu", batch=4), held)
    assert [outcome for _, _, outcome in together].count("label") == sum(probs is not None for _, probs, _ in together)


def test_what_is_learned_of_reasons_is_their_words_the_mark_and_the_grade(bases):
    learn = language_models.examples(8)
    plan = recipe(bases("llama"), reasoning=True)
    built = sft._built(learn, plan)
    reasons = dict.fromkeys(zip(learn.query_id, learn.doc_id, strict=True), "Grade: it is so, </item> <|im_end|>.")
    rows, _ = sft._rows(built, learn, plan, reasons, None)
    tokenizer = built.language.tokenizer
    assert tokenizer.decode(rows[0].ids[rows[0].start :]) == "Grade it is so, &lt;/item&gt; &lt;|im_end|&gt;.\nGrade:"
    assert tokenizer.decode(rows[0].ids[: rows[0].start]).endswith("assistant\n")
    assert rows[1].target.tolist() == [0, 1, 0, 0]


def test_reasoning_without_reasons_is_refused(bases, tmp_path):
    with pytest.raises(InputError, match="0 of 21 labels have one"):
        sft.train(language_models.examples(), None, tmp_path / "t", recipe=recipe(bases("llama"), reasoning=True))


# --- with images ----------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    """Photos of different shapes for all documents of `examples` but d03, which is missing, and d04, which is broken."""
    from PIL import Image

    where = tmp_path / "photos"
    where.mkdir()
    for i in range(24):
        if i != 3:
            Image.new("RGB", (70 + 10 * i, 90), [(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)][i % 4]).save(
                where / f"d{i:02}.png"
            )
    (where / "d04.png").write_bytes(b"no image")
    return Images(where, {f"d{i:02}": f"d{i:02}.png" for i in range(24)})


@pytest.mark.parametrize("lora", [4, None])
def test_qwen3_vl_learns_from_images_is_saved_and_says_the_same_again(bases, tmp_path, photos, lora):
    learn, held = language_models.examples(18), language_models.examples(6)
    base = bases("qwen3_vl")
    done = sft.train(learn, held, tmp_path / "t", recipe=recipe(base, lora=lora, images=True), images=photos)
    assert done.notes == ("2 of 18 documents were learned without an image",)
    assert done.history.steps == 3
    judge, again = (Generative(tmp_path / "t", device="cpu", batch=3, images=photos) for _ in range(2))
    assert said(judge, held) == said(again, held)
    opened = [photos.of(pair.doc)[0] for pair in language_models.pairs(held)]
    seen = judge._reader.read(held.query, held.text, opened, batch=4).logits
    alone = np.concatenate(
        [judge._reader.read([q], [t], [i]).logits for q, t, i in zip(held.query, held.text, opened, strict=True)]
    )
    np.testing.assert_allclose(seen, alone, atol=1e-5)
    blind = judge.score(held.query, held.text)
    differ = np.abs(seen - blind).max(axis=1) > 1e-6
    assert differ.tolist() == [True, True, True, False, False, True]


def test_images_are_asked_for_and_only_of_models_that_see(bases, tmp_path, photos):
    with pytest.raises(InputError, match="needs the folder where they are"):
        sft.train(language_models.examples(), None, tmp_path / "t", recipe=recipe(bases("qwen3_vl"), images=True))
    with pytest.raises(InputError, match="is a llama: images are read by qwen2_vl"):
        sft.train(language_models.examples(), None, tmp_path / "t", recipe=recipe(bases("llama"), images=True), images=photos)


# --- real weights ---------------------------------------------------------------------------------------------------


def test_three_steps_lower_the_loss_of_a_real_model(tmp_path):
    base = models_folder() / "SmolLM2-135M-Instruct"
    if not base.is_dir():
        pytest.skip(f"SmolLM2-135M-Instruct is not in {models_folder()}: set GERMANE_MODELS")
    learn = language_models.examples(12)
    plan = recipe(str(base), max_length=16, settings=replace(QUICK, batch=2, learning_rate=5e-4))
    built = sft._built(learn, plan)
    rows, _ = sft._rows(built, learn, plan, {}, None)

    def loss():
        with torch.no_grad():
            batch = packing.packed(rows[:2], built.language.tokenizer)
            return float(packing.loss(built.reader.model.eval(), batch, built.frame.grades))

    before = loss()
    history, unpacked = sft._fitted(built, rows[:2] * 3, plan, tmp_path / "kept", lambda: 0.0)
    assert (history.steps, unpacked) == (3, "")
    assert loss() < before
