"""A tower as an ONNX file, run by onnxruntime on the CPU: no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from germane.extras import needs
from germane.inference.encoding import Tower, Vectors
from germane.inference.tokens import Ints
from germane.types import InputError


def session(file: Path, *, threads: int = 1) -> Tower:
    """The tower in an ONNX file. threads: of one call.

    Several calls at a time of one thread each take half the processor time of one call that is spread over threads, which
    wait for each other at every layer.

    Raises: InputError for a file that is not there, or no ONNX.
    """
    needs("serve", "onnxruntime", by="inference/sessions.py")
    import onnxruntime  # type: ignore[import-untyped]

    if not file.is_file():
        raise InputError(f"{file} is not there: the judge was trained without ONNX; use engine='torch'")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.intra_op_num_threads = threads
    try:
        opened = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime's errors have no common class but this
        raise InputError(f"{file} could not be opened: {str(problem).splitlines()[0]}") from problem

    def run(ids: Ints, mask: Ints) -> Vectors:
        (found,) = opened.run(["vectors"], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(found, dtype=np.float32)

    return run
