"""What tokens cost, by a table that its user can edit."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from germane.judges.replies import Usage
from germane.types import InputError

CURRENCY = "USD"
FREE = ("vllm", "ollama", "sample")  # who serves them pays for a machine, not for tokens; "compatible" may be a paid gateway


class Price(NamedTuple):
    """US dollars for a million tokens."""

    read: float
    cached: float
    written: float

    def of(self, usage: Usage) -> float:
        """Dollars for these tokens.

        >>> Price(2.0, 0.5, 8.0).of(Usage(1_000_000, 400_000, 100_000))
        2.2
        """
        fresh = max(usage.read - usage.cached, 0)
        return (fresh * self.read + usage.cached * self.cached + usage.written * self.written) / 1e6


def price(provider: str, model: str, own: Path | None = None) -> Price | None:
    """The price of a model: the user's, else the built-in one; of models served by oneself 0; None where it is not known.

    A dated name ("gpt-4o-2024-08-06") has the price of the longest name that it begins with.

    Raises: InputError for a table that cannot be read.
    """
    for table in (*([_read(own)] if own else []), _built_in()):
        known = table.get(provider, {})
        names = [name for name in known if model == name or model.startswith(f"{name}-2")]
        if names:
            return known[max(names, key=len)]
    return Price(0.0, 0.0, 0.0) if provider in FREE else None


def _built_in() -> dict[str, dict[str, Price]]:
    text = files("germane.judges").joinpath("prices.toml").read_text(encoding="utf-8")
    return _table(text, "the built-in prices")


def _read(path: Path) -> dict[str, dict[str, Price]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"prices {path}: {problem}") from problem
    return _table(text, f"prices {path}")


def _table(text: str, name: str) -> dict[str, dict[str, Price]]:
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise InputError(f"{name}: {problem}") from problem
    for provider, models in found.items():
        if not isinstance(models, dict):
            raise InputError(f"{name}: [{provider}] is a table of models, found {models!r}")
        for model, numbers in models.items():
            sound = isinstance(numbers, list) and len(numbers) == 3 and all(type(n) in (int, float) for n in numbers)
            if not sound or not all(isfinite(n) and n >= 0 for n in numbers):
                raise InputError(
                    f"{name}: {provider}/{model} is [read, cached, written] in dollars a million, found {numbers!r}"
                )
            models[model] = Price(*map(float, numbers))
    return found
