"""A tower of torch to an ONNX file, and that to int8: made at training, so that scoring needs no torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from germane.extras import needs
from germane.inference import fused
from germane.inference.families import Encoder
from germane.inference.sessions import session
from germane.inference.towers import runs
from germane.types import InputError

TOLERANCE = 1e-4
"""Largest difference of a number in a vector of length 1, between torch and ONNX, with which a file is accepted."""


def export(tower: Any, file: Path) -> float:
    """Writes a tower as ONNX in single precision; the largest difference from torch on texts of other lengths than traced.

    Raises: InputError where the two differ by more than TOLERANCE: then no file is left.
    """
    needs("train", "torch", "onnx", "onnxruntime", by="inference/exporting.py")
    import torch

    device, training = next(tower.parameters()).device, tower.training
    tower = tower.to("cpu").eval()
    axes = {0: "texts", 1: "length"}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing; what it could get wrong is compared below
            torch.onnx.export(
                tower,
                _sample(tower, 3, 12),
                str(file),
                input_names=["input_ids", "attention_mask"],
                output_names=["vectors"],
                dynamic_axes={"input_ids": axes, "attention_mask": axes, "vectors": {0: "texts"}},
                dynamo=False,  # takes a seventh of the time, and needs no onnxscript
            )
        off = _apart(tower, file)
    finally:
        tower.to(device).train(training)
    if not off <= TOLERANCE:
        file.unlink()
        raise InputError(f"the ONNX export of this base differs from torch by {off:.2g}: train the student with onnx=False")
    return off


def quantised(tower: Any, file: Path, out: Path) -> None:
    """Writes a tower with int8 weights, a scale for each column; activations are quantised as they come (dynamic).

    A tower of BERT's family as a graph for one text at a time (`fused`), if that graph in single precision computes what torch
    does. Another one as its ONNX `file`, quantised.

    One scale for a whole matrix lost seven times as much: MiniLM's vectors of 200 product titles had a mean cosine of 0.953
    with those of fp32, against 0.993. Weights keep to 7 bits, so that CPUs without VNNI add them up without overflow.
    """
    needs("train", "onnx", "onnxruntime", by="inference/exporting.py")
    import logging

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    if (encoder := fused.fits(tower)) is not None and _fuses(tower, encoder, out):
        fused.write(tower, encoder, out, int8=True)
        return
    model = onnx.load(str(file))
    del model.graph.value_info[:]  # shapes of the fp32 graph, which the quantiser takes for those of its own
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a pre-processing that these graphs do not need
    try:
        quantize_dynamic(model, str(out), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    finally:
        root.setLevel(level)


def _fuses(tower: Any, encoder: Encoder, beside: Path) -> bool:
    """Whether a fused graph says what torch does, in single precision."""
    tried = beside.with_suffix(".fp32")
    try:
        fused.write(tower, encoder, tried, int8=False)
        return _apart(tower, tried, rows=1) <= TOLERANCE
    finally:
        tried.unlink(missing_ok=True)


def _sample(tower: Any, rows: int, length: int) -> tuple[Any, Any]:
    import torch

    drawn = torch.Generator().manual_seed(rows * length)
    ids = torch.randint(0, int(tower.encoder.config.vocab_size), (rows, length), generator=drawn)
    mask = torch.ones_like(ids)
    mask[1:2, length // 2 :] = 0
    ids[mask == 0] = tower.shape.pad
    return ids, mask


def _apart(tower: Any, file: Path, *, rows: int = 5) -> float:
    """The largest difference between torch and ONNX over some lengths and at most so many rows."""
    device = next(tower.parameters()).device
    one, other = runs(tower.to("cpu")), session(file, threads=1)
    longest = min(tower.shape.most, 40)
    shapes = [(1, 1), (min(rows, 2), 7), (rows, longest)]
    samples = [tuple(part.numpy() for part in _sample(tower, *shape)) for shape in shapes]
    try:
        return float(max(np.abs(one(*given) - other(*given)).max() for given in samples))
    finally:
        tower.to(device)
