"""Names of metrics, in the grammar of ir_measures: `Name(parameter=value)@cutoff`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from germane.types import InputError

_REQUIRED = object()
_KNOWN: Mapping[str, Mapping[str, Any]] = {  # metric -> its parameters and their defaults, in the order they are printed
    "sDCG": {"gain": "scale", "short": "zero"},
    "nDCG": {"gain": "linear", "ideal": "judged"},
    "P": {"rel": 1},
    "RR": {"rel": 1},
    "Judged": {},
    "ERR": {"max_rel": 4},
    "Share": {"rel": _REQUIRED},
    "SDCG": {"min_rel": 0, "max_rel": _REQUIRED},
}
_NEEDS_K = {"sDCG", "P", "ERR", "SDCG"}
_ALIASES = {"NDCG": "nDCG", "MRR": "RR"}
_WORDS = {"short": ("zero", "observed"), "ideal": ("judged", "uncut", "shown"), "gain": ("linear", "exp", "scale")}
_EXAMPLES = "nDCG@10, sDCG@25, P(rel=2)@5, RR, ERR@10, Judged@10, Share(rel=3)@25, SDCG(max_rel=3)@25"


@dataclass(frozen=True)
class Metric:
    """A metric with its parameters and cutoff, in the grammar of ir_measures: `P(rel=2)@5`.

    Parameters at their default are not printed, so equal metrics have equal names. nDCG@10 is trec_eval's: the gain is
    the relevance itself. sDCG@25 takes the gains of the scale it is measured with; `with_gains` writes them into the name
    unless they are linear, so that a printed sDCG without a gain is linear.

    Raises: InputError naming what is unknown, and what is known.

    >>> metric = Metric.parse("P(rel=2)@5")
    >>> metric.name, metric.k, metric["rel"], str(metric)
    ('P', 5, 2, 'P(rel=2)@5')
    """

    name: str
    k: int | None = None
    params: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        name = _ALIASES.get(self.name, self.name)
        if name not in _KNOWN:
            alike = [known for known in _KNOWN if known.casefold() == name.casefold()]
            raise InputError(
                f"metric {name!r} is not known{f' (did you mean {alike[0]}?)' if alike else ''}: "
                f"expected {', '.join(_KNOWN)}, as in {_EXAMPLES}; ir_measures has more, for the same files"
            )
        given, known = dict(self.params), _KNOWN[name]
        for key in given:
            if key not in known:
                raise InputError(f"metric {name} has no parameter {key!r}: it has {', '.join(known) or 'a cutoff only'}")
        for key, default in known.items():
            if default is _REQUIRED and key not in given:
                raise InputError(f"metric {name} needs {key}: write {name}({key}=3)@{self.k or 25}")
        if self.k is None and name in _NEEDS_K:
            raise InputError(f"metric {name} needs a cutoff: write {name}@10")
        if self.k is not None and self.k < 1:
            raise InputError(f"metric {name} has cutoff {self.k}: expected 1 or more")
        checked = {key: _checked(name, key, given[key]) for key in known if key in given}
        if name == "SDCG" and checked.get("min_rel", 0) >= checked["max_rel"]:
            raise InputError(f"metric {name} needs max_rel={checked['max_rel']} above min_rel={checked.get('min_rel', 0)}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "params", tuple((key, value) for key, value in checked.items() if value != known[key]))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The metric of that name; ir_measures' spellings NDCG, MRR and dcg='exp-log2' are read too.

        Raises: InputError naming what is unknown, and what is known.

        >>> str(Metric.parse("NDCG@10")), str(Metric.parse("nDCG(gain=exp)@10"))
        ('nDCG@10', "nDCG(dcg='exp-log2')@10")
        """
        match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(?:\((.*)\))?\s*(?:@\s*(\d+))?\s*", text, flags=re.DOTALL)
        if match is None:
            raise InputError(f"metric {text!r} is not Name(parameter=value)@cutoff: expected a name as in {_EXAMPLES}")
        name, inside, k = match.groups()
        params: dict[str, Any] = {}
        for part in re.split(r",(?![^\[]*\])", inside) if inside and inside.strip() else ():
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or key in params:
                raise InputError(f"metric {text!r} has {part.strip()!r} in its brackets: expected parameter=value, each once")
            params[key] = _value(value)
        if params.get("dcg") == "log2":  # ir_measures' word, and its default
            del params["dcg"]
        elif params.get("dcg") == "exp-log2" and _ALIASES.get(name, name) == "nDCG" and "gain" not in params:
            params["gain"] = "exp"
            del params["dcg"]
        return cls(name, int(k) if k else None, tuple(params.items()))

    def __getitem__(self, key: str) -> Any:
        """The value of a parameter, given or by default."""
        return dict(self.params).get(key, _KNOWN[self.name][key])

    def __str__(self) -> str:
        parts = [f"{key}={_printed(value)}" for key, value in self.params]
        if self.name == "nDCG":  # one form has one name: ir_measures', where it has one
            parts = ["dcg='exp-log2'" if part == "gain=exp" else part for part in parts]
        return self.name + (f"({','.join(parts)})" if parts else "") + ("" if self.k is None else f"@{self.k}")

    def with_gains(self, gains: Sequence[float] | None) -> Metric:
        """The metric with the scale's gains written into its name, if it takes them and they are not linear.

        Raises: InputError where nDCG is asked for with the gains of a scale, and there is no scale.

        >>> str(Metric.parse("sDCG@25").with_gains((0.0, 0.01, 0.1, 1.0)))
        'sDCG(gain=[0,0.01,0.1,1])@25'
        >>> str(Metric.parse("sDCG@25").with_gains((0.0, 0.5, 1.0)))
        'sDCG@25'
        """
        if "gain" not in _KNOWN[self.name] or self["gain"] != "scale":
            return self
        if gains is None:
            if self.name == "nDCG":
                raise InputError("metric nDCG(gain=scale) needs a scale: name the judgments' scale, or write gain=[0,0.5,1]")
            return self
        values = checked_gains(gains, "the scale")
        others = tuple((key, value) for key, value in self.params if key != "gain")
        linear = np.allclose(np.divide(values, values[-1]), np.linspace(0, 1, len(values)), rtol=0, atol=1e-12)
        return Metric(self.name, self.k, others if linear else (*others, ("gain", values)))


def parse_metrics(text: str) -> tuple[Metric, ...]:
    """The metrics named in one string, split at white space or commas outside brackets.

    >>> [str(metric) for metric in parse_metrics("nDCG@10 P(rel=2)@5, Judged@10")]
    ['nDCG@10', 'P(rel=2)@5', 'Judged@10']
    """
    return tuple(Metric.parse(part) for part in re.split(r"[\s,]+(?![^(]*\))", text.strip()) if part)


def checked_gains(gains: Sequence[float], whose: str) -> tuple[float, ...]:
    """The gains as numbers, worst grade first. Raises: InputError if they fall, are negative, or are all 0."""
    try:
        values = np.asarray(gains, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all() or values[0] < 0 or values[-1] <= 0:
        raise InputError(
            f"{whose} has gains {gains}: expected two or more numbers from 0 up, worst grade first, the last above 0"
        )
    if (np.diff(values) < 0).any():
        raise InputError(f"{whose} has gains {gains}: they must not fall; write the worst grade's gain first")
    return tuple(values.tolist())


def _checked(name: str, key: str, value: Any) -> Any:
    """The value as it is kept: a grade, a word, or a tuple of gains."""
    if key == "gain" and isinstance(value, list | tuple):
        return checked_gains(value, f"metric {name}")
    if key in _WORDS:
        if value not in _WORDS[key]:
            also = ", or the gains as in [0,0.5,1]" if key == "gain" else ""
            raise InputError(f"metric {name} has {key}={value!r}: expected {' or '.join(_WORDS[key])}{also}")
    elif not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"metric {name} has {key}={value!r}: expected a grade, 0 or more, as in {key}=2")
    return value


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # a bare word: gain=exp


def _printed(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(str(int(x)) if x.is_integer() else repr(x) for x in value)}]"
    return str(value)
