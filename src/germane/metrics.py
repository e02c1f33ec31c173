"""Metrics of ranked lists, named as in ir_measures, of one query or of many at once. Pure numpy.

The line is: `rank_arrays` orders a run, `grade_arrays` looks its documents up in the judgments, `Lists` and `Judged` hold
the grades of many queries in flat arrays, and `measure` turns them into one number a query and metric.

Unjudged documents (relevance -1) have gain 0 in every metric here, and are never silently so: `Judged@k` counts them, and
`experiment.py` is the one that decides whether a number that rests on them may be printed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

# --- names ----------------------------------------------------------------------------------------------------------

_GAIN = "linear, exp, scale or a list of numbers, worst grade first"
_KNOWN: dict[str, dict[str, Any]] = {  # metric -> its parameters and their defaults; ... where one must be given
    "sDCG": {"gain": None, "short": "zero"},
    "nDCG": {"gain": "linear", "ideal": "judged"},
    "P": {"rel": 1},
    "RR": {"rel": 1},
    "Judged": {},
    "ERR": {"max_rel": 4},
    "Share": {"rel": ...},
    "SDCG": {"min_rel": 0, "max_rel": ...},
}
_NEEDS_K = {"sDCG", "P", "ERR", "SDCG"}
_ALIASES = {"NDCG": "nDCG", "MRR": "RR"}
_CHOICES = {"short": ("zero", "observed"), "ideal": ("judged", "retrieved")}
_EXAMPLES = "nDCG@10, sDCG@25, P(rel=2)@5, RR, ERR@10, Judged@10, Share(rel=3)@25, SDCG(max_rel=3)@25"


@dataclass(frozen=True)
class Metric:
    """A metric with its parameters and cutoff, in the grammar of ir_measures: `P(rel=2)@5`.

    Parameters left at their default are not printed, so equal metrics have equal names. `nDCG@10` is trec_eval's: the gain
    is the relevance itself. `sDCG@25` without a gain takes the gains of the scale that it is measured with; print
    `with_gains(scale.gains)`, which names them unless they are linear.

    >>> metric = Metric.parse("P(rel=2)@5")
    >>> metric.name, metric.k, metric["rel"], str(metric)
    ('P', 5, 2, 'P(rel=2)@5')
    >>> str(Metric.parse("sDCG@25").with_gains((0.0, 0.01, 0.1, 1.0)))
    'sDCG(gain=[0,0.01,0.1,1])@25'
    """

    name: str
    k: int | None = None
    params: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        name = _ALIASES.get(self.name, self.name)
        if name not in _KNOWN:
            raise InputError(f"metric {self.name!r} is not known: expected one of {', '.join(_KNOWN)}, as in {_EXAMPLES}")
        given = dict(self.params)
        for key in given:
            if key not in _KNOWN[name]:
                known = ", ".join(_KNOWN[name]) or "none, only a cutoff"
                raise InputError(f"metric {name} has no parameter {key!r}: it has {known}; as in {_EXAMPLES}")
        missing = [key for key, default in _KNOWN[name].items() if default is ... and key not in given]
        if missing:
            raise InputError(f"metric {name} needs {missing[0]}: write {name}({missing[0]}=3)@{self.k or 10}")
        if self.k is None and name in _NEEDS_K:
            raise InputError(f"metric {name} needs a cutoff: write {name}@10")
        if self.k is not None and (not isinstance(self.k, int) or self.k < 1):
            raise InputError(f"metric {name} has cutoff {self.k!r}: expected a whole number from 1 up, as in {name}@10")
        kept = [(key, _checked(name, key, given[key])) for key in _KNOWN[name] if key in given]
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "params", tuple((key, value) for key, value in kept if value != _KNOWN[name][key]))
        if name == "SDCG" and self["min_rel"] >= self["max_rel"]:
            raise InputError(f"metric {self}: max_rel must be above min_rel")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The metric of that name.

        Raises: InputError naming what is unknown, and what is known.

        >>> Metric.parse("NDCG@10"), str(Metric.parse("nDCG(gain=exp)@10"))
        (Metric(name='nDCG', k=10, params=()), "nDCG(dcg='exp-log2')@10")
        """
        match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(?:\((.*)\))?\s*(?:@\s*(\d+))?\s*", text, flags=re.DOTALL)
        if match is None:
            raise InputError(f"metric {text!r} is not Name(parameter=value)@cutoff: expected a name as in {_EXAMPLES}")
        name, inside, k = match.groups()
        params = {}
        for part in re.split(r",(?![^\[]*\])", inside) if inside and inside.strip() else ():
            key, equals, value = part.partition("=")
            if not equals:
                raise InputError(f"metric {text!r} has {part.strip()!r} in its brackets: expected parameter=value")
            params[key.strip()] = _value(value.strip())
        if "dcg" in params and _ALIASES.get(name, name) in ("nDCG", "SDCG"):  # ir_measures' word
            spelled = {"log2": "linear", "exp-log2": "exp"}.get(str(params.pop("dcg")))
            if spelled is None or (name == "SDCG" and spelled == "exp"):
                raise InputError(f"metric {text!r}: dcg is 'log2', or for nDCG also 'exp-log2'")
            if name != "SDCG":
                params["gain"] = spelled
        return cls(name, int(k) if k else None, tuple(params.items()))

    def __getitem__(self, key: str) -> Any:
        """The value of a parameter, given or by default."""
        return dict(self.params).get(key, _KNOWN[self.name][key])

    def __str__(self) -> str:
        inside = ",".join(f"{key}={_printed(value)}" for key, value in self.params)
        if self.name == "nDCG":
            inside = inside.replace("gain=exp", "dcg='exp-log2'")  # one form, one name: ir_measures' where it has one
        return self.name + (f"({inside})" if inside else "") + (f"@{self.k}" if self.k else "")

    def with_gains(self, gains: Sequence[float] | None) -> Metric:
        """The same metric with the scale's gains written into its name, if it takes them and they are not linear.

        Raises: InputError where the metric asks for the scale's gains and there are none.
        """
        if "gain" not in _KNOWN[self.name] or self["gain"] not in (None, "scale"):
            return self
        if gains is None:
            if self["gain"] == "scale":
                raise InputError(f"metric {self} asks for the scale's gains: name a scale, or write them as gain=[0,0.5,1]")
            return self
        others = tuple((key, value) for key, value in self.params if key != "gain")
        linear = self.name == "sDCG" and np.allclose(gains, np.linspace(0, gains[-1], len(gains)), rtol=0, atol=1e-12)
        return Metric(self.name, self.k, others if linear else (*others, ("gain", tuple(gains))))


def parse_metrics(text: str) -> tuple[Metric, ...]:
    """The metrics named in one string, split at white space or commas outside brackets.

    >>> [str(m) for m in parse_metrics("nDCG@10 P(rel=2)@5, Judged@10")]
    ['nDCG@10', 'P(rel=2)@5', 'Judged@10']
    """
    return tuple(Metric.parse(part) for part in re.split(r"[\s,]+(?![^(]*\))", text.strip()) if part)


def _value(text: str) -> Any:
    if re.fullmatch(r"[A-Za-z_]\w*", text) and text not in ("True", "False", "None"):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _printed(value: Any) -> str:
    return f"[{','.join(format(x, '.12g') for x in value)}]" if isinstance(value, tuple) else str(value)


def _checked(name: str, key: str, value: Any) -> Any:
    """The value as it is kept: an integer, a word, or a tuple of gains."""
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise InputError(f"metric {name} has {key}={value!r}: expected {' or '.join(_CHOICES[key])}")
    elif key == "gain":
        if isinstance(value, list | tuple):
            gains = np.asarray(value, dtype=float)
            if gains.ndim != 1 or len(gains) < 2 or not np.isfinite(gains).all() or gains[0] < 0 or gains[-1] <= 0:
                raise InputError(f"metric {name} has gains {value}: expected two or more numbers from 0 up, the last above 0")
            if (np.diff(gains) < 0).any():
                raise InputError(f"metric {name} has gains {value}: they must not fall; write the worst grade's gain first")
            return tuple(gains.tolist())
        if value not in (None, "linear", "exp", "scale"):
            raise InputError(f"metric {name} has gain={value!r}: expected {_GAIN}")
    elif not isinstance(value, int) or isinstance(value, bool) or value < (1 if key == "max_rel" else 0):
        raise InputError(f"metric {name} has {key}={value!r}: expected a grade, as in {name}({key}=2)@10")
    return value


# --- lists and judgments of many queries, flat ------------------------------------------------------------------------


class Lists(NamedTuple):
    """The ranked results of Q queries, flat: query q shows relevance[offsets[q]:offsets[q + 1]], best rank first.

    offsets: (Q + 1,). relevance: (n,) grades, -1 = unjudged.
    """

    offsets: Ints
    relevance: Ints

    @classmethod
    def of(cls, rows: Iterable[Sequence[int | None]]) -> Self:
        """From one list of grades a query, None = unjudged.

        >>> Lists.of([[3, None, 0], []])
        Lists(offsets=array([0, 3, 3]), relevance=array([ 3, -1,  0]))
        """
        return cls(*_flat(rows))


class Judged(NamedTuple):
    """All judged grades of Q queries, flat, in any order within a query: what an ideal ranking is made of.

    offsets: (Q + 1,). relevance: (m,), 0 and up.
    """

    offsets: Ints
    relevance: Ints

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Self:
        """From one list of grades a query.

        >>> Judged.of([[3, 0, 2, 1], []]).offsets
        array([0, 4, 4])
        """
        return cls(*_flat(rows))


def _flat(rows: Iterable[Sequence[int | None]]) -> tuple[Ints, Ints]:
    lists = [[-1 if grade is None else grade for grade in row] for row in rows]
    relevance = np.array([grade for row in lists for grade in row], dtype=np.int64)
    return np.concatenate([[0], np.cumsum([len(row) for row in lists], dtype=np.int64)]).astype(np.int64), relevance


def offsets_of(query: ArrayLike, queries: int) -> Ints:
    """Where each query's rows start and end, (queries + 1,), when rows are sorted by query code 0 .. queries - 1.

    >>> offsets_of([0, 0, 2], queries=3)
    array([0, 2, 2, 3])
    """
    return np.concatenate([[0], np.cumsum(np.bincount(np.asarray(query), minlength=queries))])


class Ranked(NamedTuple):
    """Rows of a run in order: query q's are order[offsets[q]:offsets[q + 1]], best first."""

    offsets: Ints
    order: Ints


def rank_arrays(query: ArrayLike, doc: ArrayLike, score: ArrayLike, *, queries: int | None = None) -> Ranked:
    """The rows (n,) sorted by query, then as trec_eval ranks: score descending in single precision, ties by doc descending.

    query, doc: (n,) integer codes from 0 up, in any row order; doc codes in the order of the document ids (as np.unique
    gives them), since ties are broken by them. score: (n,). queries: how many there are, by default the largest code + 1.

    Source: trec_eval 9, form_res_rels.c (comp_sim_docno); scores are held as float.
    Raises: InputError for a NaN score, or for a document that occurs twice in one query.

    >>> rank_arrays([0, 0, 1], [0, 1, 0], [0.5, 0.5, 0.9])
    Ranked(offsets=array([0, 2, 3]), order=array([1, 0, 2]))
    """
    query, doc = np.asarray(query), np.asarray(doc)
    with np.errstate(over="ignore"):
        single = np.asarray(score).astype(np.float32) + np.float32(0)  # + 0 turns -0.0, which compares equal, into 0.0
    if np.isnan(single).any():
        raise InputError(f"row {int(np.flatnonzero(np.isnan(single))[0])} has score NaN: expected a number; drop it or fix it")
    count = int(query.max(initial=-1)) + 1 if queries is None else queries
    offsets = offsets_of(query, count)
    rows: Ints = np.arange(len(query))
    if (query[1:] < query[:-1]).any():
        rows = _packed_order(query, rows)
        single, doc = single[rows], doc[rows]
    bits = single.view(np.int32)
    key = np.left_shift((~(bits ^ ((bits >> 31) & 0x7FFFFFFF))).astype(np.int64), 32)
    key |= 0xFFFFFFFF - doc.astype(np.int64)
    sizes = np.diff(offsets)
    order = np.empty(len(rows), dtype=np.int64)
    for shape in np.unique(np.frexp(sizes)[1]):  # queries of a similar length (one power of two) are sorted as one matrix
        these = np.flatnonzero((np.frexp(sizes)[1] == shape) & (sizes > 0))
        if len(these) == 0:
            continue
        longest = sizes[these].max()
        at = offsets[these, None] + np.arange(longest)
        shown = np.arange(longest) < sizes[these, None]
        safe = np.where(shown, at, 0)
        keys = np.where(shown, key[safe], np.iinfo(np.int64).max)
        docs = np.sort(np.where(shown, doc[safe], -1 - np.arange(longest)), axis=1)
        if (docs[:, 1:] == docs[:, :-1]).any():
            _refuse_duplicate(docs, these)
        best = np.argsort(keys, axis=1)
        order[at[shown]] = rows[np.take_along_axis(safe, best, axis=1)[shown]]
    return Ranked(offsets, order)


def _packed_order(query: Ints, rows: Ints) -> Ints:
    packed = (query.astype(np.int64) << 32) | rows
    packed.sort()  # one array of integers sorts several times faster than an argsort, and the row breaks ties
    return np.asarray(packed & 0xFFFFFFFF)


def _refuse_duplicate(docs: Ints, queries: Ints) -> None:
    row, column = (int(x[0]) for x in np.nonzero(docs[:, 1:] == docs[:, :-1]))
    raise InputError(
        f"document {docs[row, column]} occurs twice in the list of query {queries[row]}: "
        "a metric would count it twice; keep its best rank and drop the other"
    )


def grade_arrays(
    query: ArrayLike, doc: ArrayLike, judged_query: ArrayLike, judged_doc: ArrayLike, judged_relevance: ArrayLike
) -> Ints:
    """The relevance (n,) of each pair of query and document, -1 where it has no judgment.

    query, doc: (n,) integer codes from 0 up. judged_*: (m,) the judgments in the same codes; a negative relevance, as
    TREC gives to spam, is 0, as in trec_eval and ir_measures: it is judged.

    Raises: InputError for a pair that occurs twice among the pairs, or among the judgments.

    >>> grade_arrays([0, 0, 1], [7, 8, 7], [1, 0], [7, 8], [3, 0])
    array([-1,  0,  3])
    """
    pairs = np.concatenate([np.asarray(judged_query), np.asarray(query)]).astype(np.int64)
    docs = np.concatenate([np.asarray(judged_doc), np.asarray(doc)]).astype(np.int64)
    judged, total = len(np.asarray(judged_query)), len(pairs)
    pairs = (pairs << int(docs.max(initial=0)).bit_length()) | docs
    width = total.bit_length()
    row: Ints
    if int(pairs.max(initial=0)).bit_length() + width <= 63:
        packed = (pairs << width) | np.arange(total)
        packed.sort()
        pairs, row = packed >> width, packed & ((1 << width) - 1)
    else:
        row = np.argsort(pairs, kind="stable")
        pairs = pairs[row]
    same = np.flatnonzero(pairs[1:] == pairs[:-1])
    first, second = row[same], row[same + 1]  # judgments come before the run's rows
    for wrong, what in ((second < judged, "is judged twice"), (first >= judged, "occurs twice in the run")):
        if wrong.any():
            at = int(second[wrong][0])
            at_query = np.concatenate([np.asarray(judged_query), np.asarray(query)])[at]
            raise InputError(f"document {docs[at]} {what} for query {at_query}: keep one of the two")
    grades = np.maximum(np.asarray(judged_relevance), 0)
    relevance = np.full(total - judged, -1, dtype=np.result_type(grades.dtype, np.int8))
    relevance[second - judged] = grades[first]
    return relevance


# --- measures ---------------------------------------------------------------------------------------------------------


def sdcg_weights(k: int) -> Floats:
    """Weights (k,) of ranks 1 to k that sum to 1: sDCG@k = sum of weight x gain / the top grade's gain.

    Source: FACTS of sDCG, 1 / log2(rank + 1), Jarvelin and Kekalainen (2002), eq. 2, over its sum for k ranks.

    >>> sdcg_weights(3).round(4)
    array([0.4693, 0.2961, 0.2346])
    """
    discounts = _discounts(k)
    return np.asarray(discounts / discounts.sum())


def measure(
    metrics: Iterable[Metric | str], lists: Lists, judged: Judged | None = None, *, gains: Sequence[float] | None = None
) -> dict[str, Floats]:
    """Each metric's value for each query, (Q,), under the name str(metric).

    judged: all grades of the same queries, for the ideal of nDCG. gains: the scale's, one a grade, for sDCG.
    """
    out = {}
    for metric in (Metric.parse(m) if isinstance(m, str) else m for m in metrics):
        out[str(metric)] = _MEASURES[metric.name](metric.with_gains(gains), lists, judged, gains)
    return out


def _discounts(k: int) -> Floats:
    return 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))


class _Top(NamedTuple):
    """The first k results of each query, flat: `rank` counts from 0."""

    offsets: Ints
    relevance: Ints
    rank: Ints

    def total(self, values: ArrayLike) -> Floats:
        """Sum of values (n,) by query."""
        out = np.zeros(len(self.offsets) - 1)
        filled = np.diff(self.offsets) > 0
        if filled.any():
            out[filled] = np.add.reduceat(np.asarray(values, dtype=np.float64), self.offsets[:-1][filled])
        return out

    @property
    def shown(self) -> Floats:
        return np.diff(self.offsets).astype(np.float64)


def _top(lists: Lists, k: int | None) -> _Top:
    sizes = np.diff(lists.offsets)
    kept = sizes if k is None else np.minimum(sizes, k)
    offsets = np.concatenate([[0], np.cumsum(kept)])
    rank = np.arange(offsets[-1]) - np.repeat(offsets[:-1], kept)
    return _Top(offsets, lists.relevance[np.repeat(lists.offsets[:-1], kept) + rank], rank)


Gain = Callable[[Ints], Floats]


def _table(values: Sequence[float] | Floats, metric: Metric) -> Gain:
    gains = np.append(np.asarray(values, dtype=np.float64), 0.0)  # relevance -1 finds the last: 0

    def gain(relevance: Ints) -> Floats:
        if relevance.max(initial=0) >= len(gains) - 1:
            raise InputError(
                f"relevance {relevance.max()} is above the top grade {len(gains) - 2} of {metric}: "
                "use the scale that the judgments were made on"
            )
        return np.asarray(gains[relevance])

    return gain


def _sdcg(metric: Metric, lists: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    kind = metric["gain"]
    if isinstance(kind, tuple):
        values = np.asarray(kind)
    elif gains is None:
        raise InputError(
            f"metric {metric} needs to know the top grade: name the judgments' scale, write the gains as in "
            f"sDCG(gain=[0,0.5,1])@{metric.k}, or use ir_measures' SDCG(max_rel=3)@{metric.k}"
        )
    else:
        values = np.arange(len(gains), dtype=np.float64)
        values = np.exp2(values) - 1 if kind == "exp" else values
    return _scaled(metric, lists, _table(values / values[-1], metric), metric["short"])


def _sdcg_of_ir_measures(metric: Metric, lists: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    low, high = metric["min_rel"], metric["max_rel"]
    return _scaled(metric, lists, lambda relevance: (np.clip(relevance, low, high) - low) / (high - low), "zero")


def _scaled(metric: Metric, lists: Lists, gain: Gain, short: str) -> Floats:
    top, k = _top(lists, metric.k), metric.k or 0
    value = top.total(gain(top.relevance) * sdcg_weights(k)[top.rank])
    if short == "zero":
        return value
    reached = np.concatenate([[np.nan], np.cumsum(sdcg_weights(k))])
    return np.asarray(value / reached[np.diff(top.offsets)])


def _ndcg(metric: Metric, lists: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    kind = metric["gain"]
    gain: Gain = {"linear": _linear, "exp": _exponential}[kind] if isinstance(kind, str) else _table(kind, metric)
    top = _top(lists, metric.k)
    longest = int(top.rank.max(initial=-1)) + 1
    value = top.total(gain(top.relevance) * _discounts(longest)[top.rank])
    if metric["ideal"] == "retrieved":
        judged = Judged(lists.offsets, np.maximum(lists.relevance, 0))
    if judged is None or len(judged.offsets) != len(lists.offsets):
        raise InputError(f"metric {metric} needs every judged document of each query for its ideal: pass them, or use sDCG")
    ideal = _ideal(judged, metric.k, gain)
    with np.errstate(invalid="ignore"):
        value = np.where(ideal > 0, value / np.where(ideal > 0, ideal, 1), 0.0)
    return np.where(np.diff(judged.offsets) > 0, value, np.nan)


def _linear(relevance: Ints) -> Floats:
    return np.maximum(relevance, 0).astype(np.float64)


def _exponential(relevance: Ints) -> Floats:
    return np.exp2(_linear(relevance)) - 1


def _ideal(judged: Judged, k: int | None, gain: Gain) -> Floats:
    """The best DCG that the judged documents allow, (Q,): grades are counted instead of sorted."""
    sizes = np.diff(judged.offsets)
    levels, code = np.unique(judged.relevance, return_inverse=True)
    query = np.repeat(np.arange(len(sizes)), sizes)
    counts = np.bincount(query * len(levels) + code, minlength=len(sizes) * len(levels)).reshape(len(sizes), len(levels))
    depth = int(sizes.max(initial=0))
    reached = np.concatenate([[0.0], np.cumsum(_discounts(depth))])
    if k is not None:
        reached = reached[np.minimum(np.arange(depth + 1), k)]
    ends = np.cumsum(counts[:, ::-1], axis=1)
    spans = reached[ends] - reached[ends - counts[:, ::-1]]
    return np.asarray(spans @ gain(levels[::-1]))


def _precision(metric: Metric, lists: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    top = _top(lists, metric.k)
    return top.total(top.relevance >= metric["rel"]) / float(metric.k or 1)


def _reciprocal_rank(metric: Metric, lists: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    hits = np.append(np.flatnonzero(lists.relevance >= metric["rel"]), np.iinfo(np.int64).max)
    first = hits[np.searchsorted(hits, lists.offsets[:-1])]
    last = lists.offsets[1:] if metric.k is None else np.minimum(lists.offsets[1:], lists.offsets[:-1] + metric.k)
    return np.where(first < last, 1.0 / (first - lists.offsets[:-1] + 1.0), 0.0)


def _judged(metric: Metric, lists: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    top = _top(lists, metric.k)
    with np.errstate(invalid="ignore"):
        return top.total(top.relevance >= 0) / top.shown


def _share(metric: Metric, lists: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    top = _top(lists, metric.k)
    with np.errstate(invalid="ignore"):
        return top.total(top.relevance == metric["rel"]) / top.shown


def _err(metric: Metric, lists: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    top = _top(lists, metric.k)
    grades = np.arange(metric["max_rel"] + 1)
    stop = _table((np.exp2(grades) - 1) / 2.0 ** metric["max_rel"], metric)(top.relevance)
    value, reaches = np.zeros(len(top.offsets) - 1), np.ones(len(top.offsets) - 1)
    for rank in range(int(top.rank.max(initial=-1)) + 1):
        here = np.flatnonzero(np.diff(top.offsets) > rank)
        chance = stop[top.offsets[here] + rank]
        value[here] += reaches[here] * chance / (rank + 1)
        reaches[here] *= 1 - chance
    return value


_MEASURES: Mapping[str, Callable[[Metric, Lists, Judged | None, Sequence[float] | None], Floats]] = {
    "sDCG": _sdcg,
    "nDCG": _ndcg,
    "P": _precision,
    "RR": _reciprocal_rank,
    "Judged": _judged,
    "ERR": _err,
    "Share": _share,
    "SDCG": _sdcg_of_ir_measures,
}
