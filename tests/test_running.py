"""How any judge is fitted: it goes on after a kill, keeps the best epoch, and says plainly what went wrong."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'germane[train]'")

from germane.training import running  # noqa: E402
from germane.training.running import Settings, device_of, fit, is_first_process  # noqa: E402
from germane.types import InputError  # noqa: E402

SETTINGS = Settings(epochs=4, batch=8, learning_rate=0.05, device="cpu")


class Line(torch.nn.Module):
    """y = w x + b, which has to find w = 3 and b = 1; dropout, so that a lost random state would show."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = torch.nn.Linear(1, 1)
        self.dropout = torch.nn.Dropout(0.1)

    def forward(self, x):
        return self.dropout(self.line(x))


ROWS = [(x, 3 * x + 1) for x in np.linspace(-1, 1, 32).tolist()]


def collate(rows):
    x, y = zip(*rows, strict=True)
    return {"x": torch.tensor(x)[:, None], "y": torch.tensor(y)[:, None]}


def loss(model, batch):
    return ((model(batch["x"]) - batch["y"]) ** 2).mean()


def fitted(folder, model=None, *, settings=SETTINGS, loss=loss, score=None, rows=ROWS):
    model = model or Line()
    return model, fit(model, rows, collate=collate, loss=loss, folder=folder, settings=settings, score=score)


def weights(model):
    return [float(p.detach().sum()) for p in model.parameters()]


def after(n, error):
    """A loss that fails at its n-th call."""
    calls = []

    def failing(model, batch):
        calls.append(1)
        if len(calls) == n:
            raise error
        return loss(model, batch)

    return failing


def checkpoints(folder):
    return sorted(path.name for path in folder.glob("checkpoint-*"))


def test_the_loss_falls_and_everything_is_told(tmp_path):
    _, told = fitted(tmp_path)
    assert told.steps == 16
    assert len(told.losses) == 4
    assert told.losses[-1] < told.losses[0]
    assert (told.scores, told.best, told.memory_mb) == ((), None, None)
    assert told.rows_per_s > 0


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(tmp_path):
    one, two = (weights(fitted(tmp_path / name)[0]) for name in ("one", "two"))
    assert one == two
    assert weights(fitted(tmp_path / "other", settings=replace(SETTINGS, seed=1))[0]) != one


def test_the_best_epoch_stands(tmp_path):
    scores, seen = iter([0.1, 0.9, 0.3, 0.2]), []
    model = Line()

    def score():
        seen.append(weights(model))
        return next(scores)

    _, told = fitted(tmp_path, model, score=score)
    assert (told.scores, told.best) == ((0.1, 0.9, 0.3, 0.2), 0.9)
    assert weights(model) == seen[1]
    assert not model.training


def test_patience_ends_training_early(tmp_path):
    scores = iter([0.5, 0.4, 0.3, 0.2])
    _, told = fitted(tmp_path, settings=replace(SETTINGS, patience=1), score=lambda: next(scores))
    assert told.scores == (0.5, 0.4)


# --- kills ----------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_running as t

calls = []
def killing(model, batch):
    calls.append(1)
    if len(calls) == 11:
        os.kill(os.getpid(), signal.SIGKILL)
    return t.loss(model, batch)

t.fitted(Path({folder!r}), loss=killing)
"""


def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    script = SCRIPT.format(tests=os.path.dirname(__file__), folder=str(tmp_path / "killed"))
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert checkpoints(tmp_path / "killed") == ["checkpoint-4", "checkpoint-8"]
    on, told = fitted(tmp_path / "killed")
    assert len(told.losses) == 4
    assert weights(on) == weights(fitted(tmp_path / "anew")[0])


def test_training_that_had_ended_is_not_done_again(tmp_path):
    one, _ = fitted(tmp_path)
    two, told = fitted(tmp_path, loss=after(1, AssertionError("no step was left to do")))
    assert weights(one) == weights(two)
    assert told.steps == 16


def test_a_checkpoint_that_was_half_written_is_not_gone_on_from(tmp_path):
    half = tmp_path / "checkpoint-8"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"\x00" * 10)
    (half / "trainer_state.json").write_text('{"global_step": 8, ')
    model, told = fitted(tmp_path)
    assert told.steps == 16
    assert weights(model) == weights(fitted(tmp_path.parent / "anew")[0])


def test_checkpoints_of_other_settings_are_not_gone_on_from(tmp_path):
    fitted(tmp_path)
    faster = replace(SETTINGS, learning_rate=0.1)
    assert weights(fitted(tmp_path, settings=faster)[0]) == weights(fitted(tmp_path.parent / "anew", settings=faster)[0])


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_training_and_says_what_to_try(value, tmp_path):
    calls = []

    def broken(model, batch):
        calls.append(1)
        return loss(model, batch) * (value if len(calls) == 6 else 1)

    with pytest.raises(InputError, match=rf"the loss became {value} at step 6: try a lower --learning-rate"):
        fitted(tmp_path, loss=broken)
    assert checkpoints(tmp_path) == ["checkpoint-4"]


def test_out_of_memory_gives_advice_and_no_trace(tmp_path):
    problem = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with pytest.raises(InputError) as raised:
        fitted(tmp_path, loss=after(1, problem))
    said = str(raised.value)
    assert said.startswith("out of memory with batches of 8: try --batch 4 --accumulate 2, then --gradient-checkpointing")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("problem", "settings", "advice", "absent"),
    [
        (MemoryError(), SETTINGS, "--batch 4", "no such"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), SETTINGS, "--batch 4", "no such"),
        (MemoryError(), replace(SETTINGS, batch=1), "--gradient-checkpointing", "--batch"),
    ],
)
def test_advice_is_only_what_is_left_to_try(problem, settings, advice, absent, tmp_path):
    with pytest.raises(InputError) as raised:
        fitted(tmp_path, settings=settings, loss=after(1, problem))
    assert advice in str(raised.value)
    assert absent not in str(raised.value)


def test_an_error_of_another_kind_is_not_dressed_up(tmp_path):
    with pytest.raises(RuntimeError, match="shapes do not match"):
        fitted(tmp_path, loss=after(1, RuntimeError("shapes do not match")))


@pytest.mark.parametrize(
    "problem",
    [OSError(28, "No space left on device"), RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos")],
    ids=["the system", "torch"],
)
def test_a_full_disk_in_mid_save_keeps_the_last_good_checkpoint(problem, tmp_path, monkeypatch):
    save, calls = torch.save, []

    def full(given, file, *more, **named):
        calls.append(str(file))
        if "checkpoint-8" in str(file):
            raise problem
        return save(given, file, *more, **named)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="the disk is full; the last whole checkpoint is checkpoint-4; make room and run"):
        fitted(tmp_path / "full")
    assert calls
    monkeypatch.setattr(torch, "save", save)
    on, told = fitted(tmp_path / "full")
    assert told.steps == 16
    assert weights(on) == weights(fitted(tmp_path / "anew")[0])


def test_a_full_disk_before_the_first_checkpoint_is_whole_says_so(tmp_path, monkeypatch):
    def full(*given, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="no checkpoint was whole yet"):
        fitted(tmp_path)


def test_a_precision_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(InputError, match="precision 'int8': expected auto, fp32, bf16 or fp16"):
        fitted(tmp_path, settings=replace(SETTINGS, precision="int8"))


# --- switches -------------------------------------------------------------------------------------------------------


def test_every_setting_reaches_the_trainer(tmp_path):
    settings = Settings(
        epochs=2, batch=3, learning_rate=0.1, accumulate=5, warmup=0.3, weight_decay=0.2, max_steps=7, seed=11, device="cpu"
    )
    found = running._arguments(tmp_path, replace(settings, precision="fp32", gradient_checkpointing=True), scored=True)
    assert (found.num_train_epochs, found.per_device_train_batch_size, found.gradient_accumulation_steps) == (2, 3, 5)
    assert (found.learning_rate, found.warmup_steps, found.weight_decay) == (0.1, 0.3, 0.2)
    assert (found.max_steps, found.seed, found.bf16, found.use_cpu) == (7, 11, False, True)
    assert found.load_best_model_at_end
    assert getattr(found, "activation_checkpointing", None) or found.gradient_checkpointing


def test_rows_are_read_at_random_batches_and_accumulation(tmp_path):
    seen = []

    def watched(model, batch):
        seen.append(batch["x"].shape[0])
        return loss(model, batch)

    _, told = fitted(tmp_path, settings=replace(SETTINGS, batch=4, accumulate=2, epochs=1), loss=watched)
    assert seen == [4] * 8
    assert told.steps == 4


def test_the_first_process_writes(monkeypatch):
    assert is_first_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()
    assert device_of(SETTINGS) == "cpu"
