"""Judgments by judges that never saw the query: a judge a fold, trained on the others; and what such a judge costs."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import store
from germane.judges import as_table, loading
from germane.labelling.speed import FEW, PeakMemory, latency_ms, machine
from germane.store.manifests import plain
from germane.training.examples import Examples, folds
from germane.training.finishing import Trained
from germane.training.running import Settings
from germane.types import Doc, InputError, Judge, Pair, Query, decode

if TYPE_CHECKING:
    import pyarrow as pa

Trainer = Callable[[Examples, Path], Trained]
"""Learns from examples, splitting off its own to stop and calibrate by, and saves the judge in a folder."""

Load = Callable[[Path], Judge]
WARM = 32
"""Pairs that a judge is asked before its speed is measured."""


@dataclass(frozen=True)
class Cost:
    """What a judge costs. rows_per_s: pairs that it labels in a second, warm. latency_ms: of one pair alone.

    memory_mib: the most that labelling took, of the GPU or of the whole process. parameters: of the saved weights.
    training_s: to train one judge; training_mib: the most that took of the GPU. per_million: money for a million pairs, as
    paid or by the price of an hour of the machine. None: not known.
    """

    rows_per_s: float | None = None
    latency_ms: float | None = None
    memory_mib: float | None = None
    parameters: int | None = None
    training_s: float | None = None
    training_mib: float | None = None
    machine: str = ""
    per_million: float | None = None


class OutOfFold(NamedTuple):
    """Judgments of all examples, in their order, as one judge's; what one such judge costs; the judges' folders, if kept."""

    judgments: pa.Table
    cost: Cost
    judges: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def out_of_fold(
    examples: Examples,
    trainer: Trainer,
    *,
    name: str,
    folder: Path,
    recipe: Any = None,
    k: int = 5,
    seed: int = 0,
    keep: bool = False,
    load: Load = loading.load,
) -> OutOfFold:
    """Each example judged by a judge that was trained without its query, k judges in all.

    name: of the recipe; it is the judge's name, and its fingerprint is a digest of the k judges', which says so where one of
    them has random weights. recipe: whatever decides
    what the trainer makes (a mapping, a dataclass), so that finished folds are used again by the same recipe only. folder:
    for finished folds; a call that was killed goes on after the last one. keep: the judges' folders too. load: from the
    folder to the judge. More parameters than our seven: each changes what is kept, or where.

    Raises: InputError for fewer queries than folds.
    """
    asked = {"recipe": plain({"recipe": recipe}), "examples": digest(examples), "k": k, "seed": seed}
    place = folder / hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    parts, order = [], []
    for number, (learnt, held) in enumerate(folds(examples, k, seed=seed)):
        logging.getLogger("germane").info(f"{name}, fold {number + 1} of {k}", extra={"done": number, "total": k})
        at = place / f"fold-{number}"
        part = _kept(at, keep=keep)
        parts.append(part or _fold(examples, learnt, held, trainer, at, keep=keep, load=load, name=name))
        order.append(held)
    return _joined(parts, np.concatenate(order), name, keep=keep)


def digest(examples: Examples) -> str:
    """16 hex digits of ids, words, grades and targets."""
    rows = zip(examples.query_id, examples.doc_id, examples.query, examples.text, examples.target.tolist(), strict=True)
    said = json.dumps([examples.scale.labels, [list(row) for row in rows]], ensure_ascii=False)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def pairs(examples: Examples) -> list[Pair]:
    """The examples as a judge is asked them."""
    rows = zip(examples.query_id, examples.query, examples.doc_id, examples.text, strict=True)
    return [Pair(Query(query_id, query), Doc(doc_id, {"text": text})) for query_id, query, doc_id, text in rows]


def parameters(folder: Path) -> int | None:
    """Numbers in a judge's weights, by the heads of its safetensors files; None where there are none."""
    total = 0
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(int(np.prod(said["shape"])) for name, said in head.items() if name != "__metadata__")
    return total or None


class _Part(NamedTuple):
    judgments: pa.Table
    cost: Cost
    fingerprint: str
    folder: Path
    notes: tuple[str, ...]


def _kept(at: Path, *, keep: bool) -> _Part | None:
    """A finished fold, if it is there whole."""
    path = at.with_suffix(".parquet")
    manifest = store.read_manifest(path) if path.is_file() else None
    if manifest is None or (keep and not at.is_dir()):
        return None
    said = manifest.extra
    cost: Cost = decode(Cost, said["cost"])
    return _Part(store.read_table(path, "judgments"), cost, said["fingerprint"], at, tuple(said["notes"]))


def _fold(
    examples: Examples,
    learnt: NDArray[Any],
    held: NDArray[Any],
    trainer: Trainer,
    at: Path,
    *,
    keep: bool,
    load: Load,
    name: str,
) -> _Part:
    """Trains a judge on one side of a split, lets it judge the other, and puts that on disk."""
    trained = trainer(examples.take(learnt), at)
    judge, cost, table = _measured(trained, pairs(examples.take(held)), load)
    extra = {"cost": asdict(cost), "fingerprint": judge.fingerprint, "notes": list(trained.notes)}
    store.write_table(table, at.with_suffix(".parquet"), "judgments", verb="fold", parameters={"name": name}, extra=extra)
    if not keep:
        shutil.rmtree(trained.out, ignore_errors=True)
    return _Part(table, cost, judge.fingerprint, at, trained.notes)


def _measured(trained: Trained, asked: list[Pair], load: Load) -> tuple[Judge, Cost, pa.Table]:
    """The judge's answers, with what it took to get them."""
    memory = PeakMemory()
    judge = load(trained.out)
    list(judge(asked[:WARM]))
    began = time.perf_counter()
    table = as_table(judge(asked))
    seconds = time.perf_counter() - began
    some = [asked[i] for i in np.linspace(0, len(asked) - 1, min(FEW, len(asked))).astype(int)]
    history, on = trained.history, getattr(judge, "device", None)
    device = None if on is None else str(on)
    cost = Cost(
        len(asked) / max(seconds, 1e-9),
        latency_ms(judge, some),
        memory.mib(device),
        parameters(trained.out),
        history.seconds,
        history.memory_mb,
        machine(device),
    )
    return judge, cost, table


def _joined(parts: list[_Part], order: NDArray[np.int64], name: str, *, keep: bool) -> OutOfFold:
    import pyarrow as pa

    prints = [part.fingerprint for part in parts]
    kind = "random:folds" if any(text.startswith(("random:", "fake:")) for text in prints) else "folds"
    fingerprint = f"{kind}:{hashlib.sha256(json.dumps(prints).encode()).hexdigest()[:16]}"
    table = pa.concat_tables([part.judgments for part in parts]).take(np.argsort(order))
    for column, value in (("judge", name), ("fingerprint", fingerprint)):
        at = table.column_names.index(column)
        table = table.set_column(at, column, pa.repeat(value, table.num_rows).cast(pa.string()))
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return OutOfFold(table, _mean(parts), tuple(part.folder for part in parts) if keep else (), notes)


def _mean(parts: list[_Part]) -> Cost:
    """Of one judge: medians over the folds, the highest memory."""

    def known(field: str) -> list[float]:
        return [value for part in parts if (value := getattr(part.cost, field)) is not None]

    def middle(field: str) -> float | None:
        return float(np.median(found)) if (found := known(field)) else None

    def most(field: str) -> float | None:
        return max(known(field), default=None)

    size, machines = most("parameters"), dict.fromkeys(part.cost.machine for part in parts)
    return Cost(
        middle("rows_per_s"),
        middle("latency_ms"),
        most("memory_mib"),
        None if size is None else int(size),
        middle("training_s"),
        most("training_mib"),
        "; ".join(machines),
    )


def recipe(kind: Any, options: Mapping[str, Any]) -> Any:
    """A recipe of this kind with these options, each given to it or to its settings; the rest as they are by default.

    Raises: InputError for an option that neither has.
    """
    own, of_settings = {f.name for f in fields(kind)}, {f.name for f in fields(Settings)}
    if unknown := sorted(set(options) - own - of_settings):
        raise InputError(f"{kind.__name__} has no option {unknown[0]!r}")
    default = kind(**{name: value for name, value in options.items() if name not in of_settings})
    changed = {name: value for name, value in options.items() if name in of_settings}
    return replace(default, settings=replace(default.settings, **changed))


def loads(options: Mapping[str, Any] | None) -> dict[str, Load]:
    """How judges are loaded where training was told its device: there too. For `out_of_fold` as keyword arguments."""
    device = (options or {}).get("device")
    return {} if device is None else {"load": partial(loading.load, device=device)}


def by_name(contestants: Mapping[str, Any]) -> dict[str, str]:
    """A folder's name for each contestant, safe on every file system and unlike the others'."""
    made = {name: "".join(c if c.isalnum() or c in "-._" else "-" for c in name)[:60].strip("-.") for name in contestants}
    return {
        name: short if list(made.values()).count(short) == 1 and short else f"{short or 'recipe'}-{at}"
        for at, (name, short) in enumerate(made.items())
    }
