"""From what `json.loads` gives back to the nouns."""

from __future__ import annotations

import types as python_types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from germane.types.judging import InputError


def decode(kind: Any, value: Any) -> Any:
    """A value of type `kind` from what json.loads gave: dataclasses, named tuples, tuples, mappings, optionals.

    >>> from germane.types import Design
    >>> decode(Design, {"strata": [["head", 10, 5]], "seed": 1, "unit": "x", "origin": ""}).strata[0].population
    10
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, python_types.UnionType):
        return None if value is None else decode(next(a for a in args if a is not type(None)), value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        unknown = set(value) - {f.name for f in fields(kind)}
        needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
        missing = needed - set(value)  # a file of an earlier version has fewer fields
        if unknown or missing:
            raise InputError(f"not a {kind.__name__}: unknown fields {sorted(unknown)}, missing fields {sorted(missing)}")
        return kind(**{name: decode(hints[name], item) for name, item in value.items()})
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        return kind(*(decode(hints[name], item) for name, item in zip(kind._fields, value, strict=True)))
    if origin is tuple:
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(decode(a, v) for a, v in zip(kinds, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {key: decode(args[1], item) for key, item in value.items()}
    return float(value) if kind is float else value
