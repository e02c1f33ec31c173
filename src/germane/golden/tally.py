"""The rules of `golden.rules` for many pairs at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from germane.golden.rules import RULES
from germane.types import InputError

Ints = NDArray[np.int64]


def by_rule(unit: Ints, grade: Ints, *, rule: str, grades: int) -> Ints:
    """The grade of each unit by a rule, (units,), -1 where it gives none; as `rules.decide`, a million votes at a time.

    unit, grade: (n,) of each vote; -1 = could not judge.

    >>> by_rule(np.array([0, 0, 0, 1, 1]), np.array([3, 3, -1, 3, 2]), rule="majority", grades=4).tolist()
    [3, -1]
    """
    if rule not in RULES:
        raise InputError(f"rule {rule!r}: expected one of {', '.join(RULES)}")
    counts = np.bincount(unit * (grades + 1) + grade + 1).astype(np.int64)
    size = int(unit.max(initial=-1)) + 1
    counts = np.pad(counts, (0, size * (grades + 1) - len(counts))).reshape(size, grades + 1)
    asked, of_grade = counts.sum(1), counts[:, 1:]
    answered = of_grade.sum(1)
    if rule == "median":
        reached = np.cumsum(of_grade, 1)
        low = (reached >= ((answered + 1) // 2)[:, None]).argmax(1)
        high = (reached >= (answered // 2 + 1)[:, None]).argmax(1)
        return np.where((2 * answered > asked) & (low == high), low, -1)
    top = of_grade.max(1)
    enough = (top == asked) if rule == "unanimous" else 2 * top > asked
    return np.where(enough & (top > 0), of_grade.argmax(1), -1)
