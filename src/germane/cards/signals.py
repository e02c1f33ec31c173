"""How sure a judge is of each of its grades: its own agreement over samples, their entropy, or its probabilities, as levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from germane.cards.gold import probabilities
from germane.stats import routing
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

By = Literal["auto", "self-agreement", "entropy", "confidence"]
MOST = 12
"""So many different values of a signal are shown one by one; more are put into buckets of equal size."""

BUCKETS = 8


class Signal(NamedTuple):
    """A judge's certainty as levels of uncertainty. name: what it is read from.

    level: (rows,) 0 the surest; -1 for a row without an answer. values: (levels, parts) what stands at each level, NaN at
    the last if some answers have no signal. words: what each part is called. note: why this signal, "" if it was asked for.
    """

    name: str
    level: NDArray[np.int64]
    values: NDArray[np.float64]
    words: tuple[str, ...]
    note: str

    def says(self, level: int) -> str:
        """A level in words, as "self-agreement 0.6"."""
        if np.isnan(self.values[level, 0]):
            return f"no {self.words[0].removesuffix(' {}').removesuffix(' {} bits')}"
        parts = zip(self.words, self.values[level], strict=True)
        return ", ".join(word.format(f"{value:.3g}") for word, value in parts if not np.isnan(value))

    def groups(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """Levels put together for showing: a name, and (levels,) which levels are in it; the surest first."""
        first, held = self.values[:, 0], np.bincount(self.level[self.level >= 0], minlength=len(self.values))
        known = ~np.isnan(first)
        different = np.unique(first[known])
        word = self.words[0]
        if len(different) <= MOST:
            order = dict.fromkeys(first[known].tolist())  # as the levels stand: the surest first
            found = [(word.format(f"{value:.3g}"), first == value) for value in order]
        else:
            place = np.cumsum(np.where(known, held, 0)) - np.where(known, held, 0) / 2
            bucket = np.minimum(BUCKETS * place / max(held[known].sum(), 1), BUCKETS - 1).astype(int)
            found = []
            for at in np.unique(bucket[known]):
                rows = known & (bucket == at)
                ends = sorted({f"{first[rows].min():.3g}", f"{first[rows].max():.3g}"}, key=float)
                found.append((word.format(" to ".join(ends)), rows))
        return found if known.all() else [*found, (self.says(len(first) - 1), ~known)]


def signal(judgments: pa.Table, grades: int, by: By = "auto") -> Signal:
    """The certainty of one judge's answers. grades: of the scale.

    auto: self-agreement, ties by entropy, where the judge was asked several times; else entropy, else the largest probability.
    Raises: InputError for a signal that the judgments do not have, and for one that is no share, entropy or probability.
    """
    if by not in get_args(By):
        raise InputError(f"--by {by}: expected one of {', '.join(get_args(By))}")
    answered = judgments["relevance"].is_valid().to_numpy()
    if not answered.any():
        raise InputError(f"the judge answered none of {judgments.num_rows:,} pairs: there is nothing to accept")
    agreement = _column(judgments, "self_agreement", answered, most=1.0)
    entropy = _column(judgments, "entropy", answered)
    probs = probabilities(judgments, grades) if "probs" in judgments.column_names else None
    probs = probs if probs is not None and (answered & ~np.isnan(probs[:, 0])).any() else None
    note = ""
    if by == "auto":
        by = "self-agreement" if agreement is not None else "entropy" if entropy is not None else "confidence"
        if by == "confidence" and probs is None:
            raise InputError(
                "the judgments say nothing of how sure the judge is: they need a column self_agreement, entropy or probs"
            )
        if by == "confidence":
            note = "the judge was not asked several times: its certainty is the largest of its probabilities"
    if by == "self-agreement" and agreement is not None:
        ties = [] if entropy is None else [entropy]
        words = ("self-agreement {}", "entropy {} bits")[: 1 + len(ties)]
        return _levels("self-agreement" + ", ties by entropy" * len(ties), answered, [-agreement, *ties], words, note)
    if by == "entropy" and entropy is not None:
        return _levels("entropy of its samples", answered, [entropy], ("entropy {} bits",), note)
    if by == "entropy" and probs is not None:
        note = "the judgments have no entropy of samples: it is that of the judge's probabilities"
        return _levels("entropy of its probabilities", answered, [routing.entropy(probs)], ("entropy {} bits",), note)
    if by == "confidence" and probs is not None:
        return _levels("largest probability", answered, [-probs.max(1)], ("largest probability {}",), note)
    missing = {"self-agreement": "self_agreement", "entropy": "entropy, nor probs", "confidence": "probs"}[by]
    raise InputError(f"--by {by}: the judgments have no {missing}: name another signal, or none")


def _levels(name: str, answered: Any, keys: list[NDArray[np.float64]], words: tuple[str, ...], note: str) -> Signal:
    """Levels by the first key, ties by the next; what has no first key comes last."""
    table = np.round(np.column_stack(keys), 9) + 0.0  # -0.0 is 0.0
    table[np.isnan(table[:, 0]), 1:] = np.nan
    filled = np.where(np.isnan(table), np.inf, table)
    values, place = np.unique(filled[answered], axis=0, return_inverse=True)
    level = np.full(len(answered), -1, dtype=np.int64)
    level[answered] = place.ravel()
    shown = np.where(np.isinf(values), np.nan, abs(values))
    return Signal(name, level, shown, words, note)


def _column(judgments: pa.Table, name: str, answered: Any, most: float = np.inf) -> NDArray[np.float64] | None:
    """(rows,) a column, NaN where empty; None where empty for every answer. Raises: InputError naming the pair."""
    if name not in judgments.column_names:
        return None
    found = judgments[name].to_numpy().astype(np.float64)
    wrong = ~np.isnan(found) & ~((found >= 0) & (found <= most))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        pair = f"query {judgments['query_id'][at].as_py()!r}, document {judgments['doc_id'][at].as_py()!r}"
        wanted = "a share, 0 to 1" if most == 1 else "bits, 0 or more"
        raise InputError(f"judgments give {name} {found[at]:g} for {pair}: expected {wanted}")
    return found if (answered & ~np.isnan(found)).any() else None
