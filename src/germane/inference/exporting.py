"""A tower of torch to an ONNX file, and that to int8: made at training, so that scoring needs no torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from germane.extras import needs
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


def quantised(file: Path, out: Path) -> None:
    """Writes an ONNX tower with int8 weights, a scale for each column; activations are quantised as they come (dynamic).

    One scale for a whole matrix lost seven times as much: MiniLM's vectors of 200 product titles had a mean cosine of 0.953
    with those of fp32, against 0.993. Weights keep to 7 bits, so that CPUs without VNNI add them up without overflow.
    """
    needs("train", "onnx", "onnxruntime", by="inference/exporting.py")
    import logging

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    model = onnx.load(str(file))
    del model.graph.value_info[:]  # shapes of the fp32 graph, which the quantiser takes for those of its own
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a pre-processing that these graphs do not need
    try:
        quantize_dynamic(model, str(out), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    finally:
        root.setLevel(level)


def _sample(tower: Any, rows: int, length: int) -> tuple[Any, Any]:
    import torch

    drawn = torch.Generator().manual_seed(rows * length)
    ids = torch.randint(0, int(tower.encoder.config.vocab_size), (rows, length), generator=drawn)
    mask = torch.ones_like(ids)
    mask[0, length // 2 :] = 0
    ids[mask == 0] = tower.shape.pad
    return ids, mask


def _apart(tower: Any, file: Path) -> float:
    """The largest difference between torch and ONNX over some lengths and numbers of rows."""
    one, other = runs(tower), session(file, threads=1)
    longest = min(tower.shape.most, 40)
    shapes = [(1, 1), (2, 7), (5, longest)]
    samples = [tuple(part.numpy() for part in _sample(tower, rows, length)) for rows, length in shapes]
    return float(max(np.abs(one(*given) - other(*given)).max() for given in samples))
