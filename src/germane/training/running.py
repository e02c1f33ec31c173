"""Training by transformers' Trainer: how long, how fast, when to stop; and going on after a kill."""

from __future__ import annotations

import gc
import hashlib
import inspect
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane.extras import device, needs
from germane.judges.loading import contents
from germane.types import InputError

if TYPE_CHECKING:
    import torch

    from germane.training.examples import Examples

Batch = dict[str, Any]
Loss = Callable[["torch.nn.Module", Batch], "torch.Tensor"]


@dataclass(frozen=True)
class Settings:
    """How a model is fitted. batch: rows a step and device; with `accumulate` steps to one update.

    warmup: share of the steps. precision: "auto" is bf16 where the device has it, else fp32; or "fp32", "bf16", "fp16".
    patience: epochs without a better score after which training ends; None runs them all. The best epoch is kept either
    way, if there is a score. device: None is the best there is; "cpu".
    """

    epochs: float = 4
    batch: int = 32
    learning_rate: float = 2e-5
    accumulate: int = 1
    warmup: float = 0.1
    weight_decay: float = 0.01
    precision: str = "auto"
    gradient_checkpointing: bool = False
    patience: int | None = None
    max_steps: int = -1
    seed: int = 0
    device: str | None = None


class History(NamedTuple):
    """What training did. losses: mean of each epoch. scores: of each epoch, where there is a score. seconds: of this call.

    rows_per_s: read in training, this call. memory_mb: the most that the GPU held, None on a CPU.
    """

    steps: int
    losses: tuple[float, ...]
    scores: tuple[float, ...]
    best: float | None
    seconds: float
    rows_per_s: float
    memory_mb: float | None


def fit(
    model: torch.nn.Module,
    rows: Sequence[Any],
    *,
    collate: Callable[[list[Any]], Batch],
    loss: Loss,
    folder: Path,
    settings: Settings,
    score: Callable[[], float] | None = None,
) -> History:
    """Fits a model in place on rows, and leaves it as it was after its best epoch, in evaluation mode.

    loss: of the model on a batch that `collate` made of some rows. score: of the model as it stands, larger is better, read
    after each epoch; without it the last epoch stands. folder: checkpoints, one an epoch; a call with the same folder goes
    on after the last whole one. It is the caller's to remove once the judge is saved.

    Raises: InputError for a loss that is no number, for too little memory, and for a disk that is full: each says what to do.
    """
    needs("train", "torch", "transformers", "accelerate", by="training")
    import torch
    from transformers import EarlyStoppingCallback, Trainer, set_seed
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    device_of(settings)
    set_seed(settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    last = _last_whole(folder, settings)

    class Fitting(Trainer):
        """The Trainer with a loss and a score of our own; everything else is its own."""

        def compute_loss(self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            found = loss(model, inputs)
            if not torch.isfinite(found):
                raise InputError(
                    f"the loss became {found.item()} at step {self.state.global_step + 1}: try a lower --learning-rate "
                    "or --precision fp32; checkpoints stay"
                )
            return (found, {}) if return_outputs else found

        def evaluate(self, *given: Any, **more: Any) -> dict[str, float]:
            assert score is not None
            model.eval()
            with torch.no_grad():
                found = {"eval_score": float(score())}
            model.train()
            self.log(found)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
            return found

    trainer = Fitting(
        model=model,
        args=_arguments(folder, settings, scored=score is not None),
        train_dataset=rows,
        eval_dataset=rows[:1] if score is not None else None,  # only `score` is read
        data_collator=collate,
    )
    trainer.model_accepts_loss_kwargs = False  # the loss is a mean: it is divided by the steps of one update, for every model
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_said())
    if settings.patience is not None and score is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    began, cuda = time.perf_counter(), torch.cuda.is_available() and settings.device != "cpu"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    gc.freeze()  # millions of rows that stay: they are not looked through for cycles meanwhile
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    except (RuntimeError, OSError, MemoryError) as problem:  # torch's lack of memory is a RuntimeError
        raise _said_plainly(problem, settings, folder) from problem
    finally:
        gc.unfreeze()
    seconds, state = time.perf_counter() - began, trainer.state
    model.eval()
    steps = state.global_step - (int(last.name.rpartition("-")[2]) if last else 0)
    return History(
        steps=state.global_step,
        losses=tuple(float(said["loss"]) for said in state.log_history if "loss" in said),
        scores=tuple(float(said["eval_score"]) for said in state.log_history if "eval_score" in said),
        best=None if state.best_metric is None else float(state.best_metric),
        seconds=seconds,
        rows_per_s=steps * settings.batch * settings.accumulate * trainer.args.world_size / max(seconds, 1e-9),
        memory_mb=torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
    )


def device_of(settings: Settings) -> str:
    """Where the model will be: "cuda", "mps" or "cpu". Raises: InputError for a device that is not there."""
    return device(settings.device)


def _arguments(folder: Path, settings: Settings, *, scored: bool) -> Any:
    from transformers import TrainingArguments

    precision = settings.precision
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise InputError(f"precision {precision!r}: expected auto, fp32, bf16 or fp16")
    if precision == "auto":
        import torch

        sixteen = device_of(settings).startswith("cuda") and torch.cuda.is_bf16_supported()
        precision = "bf16" if sixteen else "fp32"
    new = "activation_checkpointing" in inspect.signature(TrainingArguments).parameters  # renamed within transformers 5
    name = "activation_checkpointing" if new else "gradient_checkpointing"
    checkpointing: dict[str, Any] = (
        {name: True, f"{name}_kwargs": {"use_reentrant": False}} if settings.gradient_checkpointing else {}
    )
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        **checkpointing,
        seed=settings.seed,
        use_cpu=device_of(settings) == "cpu",
        eval_strategy="epoch" if scored else "no",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=scored,
        metric_for_best_model="eval_score" if scored else None,
        greater_is_better=True if scored else None,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one process uses one GPU: DataParallel would scatter packed rows; several need accelerate launch
    return arguments


def _last_whole(folder: Path, settings: Settings) -> Path | None:
    """The newest checkpoint that was written to its end, of the same settings; others are removed."""
    made = folder / "settings.json"
    asked = json.dumps(asdict(settings), sort_keys=True)
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    same = made.is_file() and made.read_text(encoding="utf-8") == asked
    whole = [path for path in found if same and _is_whole(path)]
    if is_first_process():
        for path in set(found) - set(whole):
            shutil.rmtree(path, ignore_errors=True)
        if not same:  # others may be reading it
            made.write_text(asked, encoding="utf-8")
    return whole[-1] if whole else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # the last thing that Trainer writes
    except (OSError, ValueError):
        return False
    return True


def _said() -> Any:
    """A callback that tells whoever listens (the command line's progress bar) how far training is."""
    from transformers import TrainerCallback

    class Said(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            told = {"done": state.global_step, "total": state.max_steps}
            logging.getLogger("germane").info(f"training, epoch {state.epoch:.1f}", extra=told)

    return Said()


def _said_plainly(problem: Exception, settings: Settings, folder: Path) -> Exception:
    """A full disk and too little memory as one line with advice; anything else as it is."""
    text = str(problem).lower()
    if (
        isinstance(problem, MemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
        or "not enough memory" in text
    ):
        half = max(settings.batch // 2, 1)
        tries = [f"--batch {half} --accumulate {settings.accumulate * 2}"] if settings.batch > 1 else []
        tries += [] if settings.gradient_checkpointing else ["--gradient-checkpointing"]
        tries += ["shorter texts (--max-length, --max-text)", "a smaller --base, or LoRA where there is --lora"]
        return InputError(f"out of memory with batches of {settings.batch}: try {', then '.join(tries)}")
    full = getattr(problem, "errno", None) == 28 or "no space left" in text or "enforce fail at inline_container" in text
    if full or isinstance(problem, OSError):
        last = sorted((p.name for p in folder.glob("checkpoint-*") if _is_whole(p)), key=lambda n: int(n.rpartition("-")[2]))
        kept = f"the last whole checkpoint is {last[-1]}" if last else "no checkpoint was whole yet"
        why = "the disk is full" if full else str(problem)
        return InputError(
            f"a checkpoint in {folder} could not be written: {why}; {kept}; make room and run the same command again"
        )
    return problem


def is_first_process() -> bool:
    """True for the process that writes files, where several train together (accelerate launch)."""
    return os.environ.get("RANK", "0") == "0"


def all_here() -> None:
    """Waits for the other processes, where several train together."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def identity(recipe: Any, *several: Examples, more: Any = None) -> str:
    """12 hex digits of exactly this training (recipe, base, texts, targets), so that no other goes on from its checkpoints."""
    found = hashlib.sha256(json.dumps([asdict(recipe), contents(recipe.base), more], sort_keys=True).encode())
    for examples in several:
        found.update(json.dumps([examples.query, examples.text, examples.scale.labels]).encode())
        found.update(examples.target.tobytes())
    return found.hexdigest()[:12]
