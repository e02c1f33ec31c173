"""What the optional packages are called, said in one line where one is missing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from germane.types import InputError


def needs(extra: str, *packages: str, by: str) -> None:
    """Returns if every package can be imported. by: what asks, as "judges/encoder.py".

    Raises: InputError naming the first that is missing, and the extra of germane that brings it.

    >>> needs("train", "json", by="this example")
    """
    for package in packages:
        if find_spec(package) is None:
            raise InputError(f"{by} needs {package}: pip install 'germane[{extra}]'")


def device(name: str | None) -> str:
    """The device of this name, as torch has it; without a name the best that is there: "cuda", "mps" or "cpu".

    Raises: InputError for one that is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not name:
        return next(kind for kind, found in there.items() if found)
    if not there.get(name.partition(":")[0]):
        raise InputError(
            f"device {name!r} is not here: there is {' and '.join(kind for kind, found in there.items() if found)}"
        )
    return name


@contextmanager
def quietly() -> Iterator[None]:
    """No progress bars, no reports of new or left-out heads, no old names that peft calls in transformers: all are expected."""
    from transformers.utils import logging

    said: Any = logging
    verbosity, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is deprecated and will be removed in v6", FutureWarning)
            yield
    finally:
        said.set_verbosity(verbosity)
        if bars:
            said.enable_progress_bar()


def first_line(problem: Exception) -> str:
    """The first sentence of what a library says went wrong, at most 200 characters."""
    return " ".join(str(problem).split(". ")[0].split())[:200] or type(problem).__name__
