"""A tower as an ONNX file, run by onnxruntime on the CPU: no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from germane.extras import needs
from germane.inference.encoding import Vectors
from germane.inference.tokens import Ints
from germane.types import InputError


def session(file: Path, *, threads: int = 1) -> Session:
    """The tower in an ONNX file. threads: of one call.

    Several calls at a time of one thread each take half the processor time of one call that is spread over threads, which
    wait for each other at every layer.

    Raises: InputError for a file that is not there, or no ONNX.
    """
    return Session(file, threads)


class Session:
    """A tower as arrays in, arrays out: (n, length) of tokens and of 1 where they are, to vectors (n, d)."""

    def __init__(self, file: Path, threads: int = 1) -> None:
        self._file = file
        self._opened = _opened(file, threads)
        self._names = [each.name for each in self._opened.get_inputs()]

    def __call__(self, ids: Ints, mask: Ints) -> Vectors:
        (found,) = self._opened.run(["vectors"], self._given(ids, mask))
        return np.asarray(found, dtype=np.float32)

    def begin(self, ids: Ints, mask: Ints) -> Callable[[], Vectors]:
        """As a call, begun at once in a thread of onnxruntime, which needs no lock of Python; what is returned waits for it.

        A thread of Python would not begin before this one lets it, which is when there is nothing left to do beside it.
        """
        done: list[Any] = []
        self._aside.run_async(["vectors"], self._given(ids, mask), lambda *said: done.append(said), None)

        def waited() -> Vectors:
            while not done:  # a milliseconds' work: to be woken up may take as long
                time.sleep(0)
            found, _, fault = done[0]
            if fault:
                raise InputError(f"{self._file} could not be run: {fault}")
            return np.asarray(found[0], dtype=np.float32)

        return waited

    def _given(self, ids: Ints, mask: Ints) -> dict[str, Ints]:
        return {name: given for name, given in (("input_ids", ids), ("attention_mask", mask)) if name in self._names}

    @cached_property
    def _aside(self) -> Any:
        return _opened(self._file, 2)  # onnxruntime runs aside from two threads on


def _opened(file: Path, threads: int) -> Any:
    needs("serve", "onnxruntime", by="inference/sessions.py")
    import onnxruntime  # type: ignore[import-untyped]

    if not file.is_file():
        raise InputError(f"{file} is not there: the judge was trained without ONNX; use engine='torch'")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave the core to others
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime's errors have no common class but this
        raise InputError(f"{file} could not be opened: {str(problem).splitlines()[0]}") from problem
