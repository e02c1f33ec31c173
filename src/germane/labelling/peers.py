"""The same pairs through sentence-transformers, as its own documentation calls it: what a judge's speed is compared with."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane.extras import quietly
from germane.judges.folder import About
from germane.labelling.rates import Ask
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("cross-encoder", "two-tower")
"""Judges whose folder it loads, and computes the same with."""

DEFAULT = 32
"""Its batch, if none is said."""

SETTINGS = {"cuda": ((256, True), (64, True)), "cpu": ((8, False), (16, False), (64, False), (8, True))}
"""(batch, in bf16) of the settings besides its default that are tried, by device."""


class Peer(NamedTuple):
    """A way of calling it. ask: None where it cannot; why: then the reason. numbers: that it multiplies."""

    named: str
    ask: Ask | None
    why: str = ""
    numbers: str = "float32"


def peers(folder: Path, about: About, device: str) -> list[Peer]:
    """sentence-transformers at its default, then at other settings, on the model in a judge's folder; [] of another kind."""
    if about.kind not in KINDS:
        return []
    if find_spec("sentence_transformers") is None:
        return [Peer("sentence-transformers", None, "it is not installed: pip install 'germane[train]'")]
    import sentence_transformers

    version = sentence_transformers.__version__
    settings = ((DEFAULT, False), *SETTINGS["cuda" if device.startswith("cuda") else "cpu"])
    made: dict[bool, Any] = {}
    found: list[Peer] = []
    for batch, half in settings:
        told = "as it comes" if (batch, half) == (DEFAULT, False) else f"{'bf16' if half else 'fp32'}, {batch} at once"
        named = f"sentence-transformers {version}, {told}"
        try:
            if half not in made:
                made[half] = _loaded(folder, about, device, half=half)
        except (InputError, OSError, ValueError, RuntimeError, KeyError) as problem:
            return [*found, Peer(named, None, " ".join(str(problem).split())[:200])]
        found.append(Peer(named, _asking(made[half], about, batch), numbers="bfloat16" if half else "float32"))
    return found


def _loaded(folder: Path, about: About, device: str, *, half: bool) -> Any:
    import sentence_transformers
    import torch

    kwargs = {"torch_dtype": torch.bfloat16 if half else torch.float32}
    with quietly():
        if about.kind == "cross-encoder":
            named = str(folder / "model")
            return sentence_transformers.CrossEncoder(named, device=device, max_length=about.max_length, model_kwargs=kwargs)
        if about.settings["separate"]:
            raise InputError("two different towers are no model of sentence-transformers")
        model = sentence_transformers.SentenceTransformer(str(folder / "tower"), device=device, model_kwargs=kwargs)
        model.max_seq_length = about.max_length
        return model


def _asking(model: Any, about: About, batch: int) -> Ask:
    before = tuple(about.settings.get("prefixes") or ("", ""))

    def work(pairs: pa.Table) -> Any:
        queries, texts = (
            [first + (text or "") for text in pairs[name].to_pylist()]
            for first, name in zip(before, ("query", "text"), strict=True)
        )
        how = {"batch_size": batch, "show_progress_bar": False}
        if about.kind == "cross-encoder":
            return model.predict(list(zip(queries, texts, strict=True)), **how)
        asked, given = (list(dict.fromkeys(side)) for side in (queries, texts))
        return model.encode(asked, **how), model.encode(given, **how)

    return work
