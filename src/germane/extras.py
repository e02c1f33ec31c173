"""What the optional packages are called, said in one line where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from germane.types import InputError


def needs(extra: str, *packages: str, by: str) -> None:
    """Returns if every package can be imported. by: what asks, as "judges/encoder.py".

    Raises: InputError naming the first that is missing, and the extra of germane that brings it.

    >>> needs("train", "json", by="this example")
    """
    for package in packages:
        if find_spec(package) is None:
            raise InputError(f"{by} needs {package}: pip install 'germane[{extra}]'")
