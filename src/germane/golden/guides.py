"""The guide: what its Markdown says of which grade, what changed between two versions, and which pairs a change may touch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.chance import keys, uniform
from germane.sampling.unequal import odds_by_size, systematic
from germane.text import words
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

COMMON = 0.2
"""A changed word that stands in a larger share of the pairs tells none of them from the others."""

SHORTEST = 3  # letters of a word that is looked for, unless it has a digit
SALT = 0x6775696465  # "guide"
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_ITEM = re.compile(r"^\s*[-*+]\s+\*\*(.+?)\*\*")
_EXAMPLE = re.compile(r"^\W*(?:for\s+)?examples?\b|^\W*e\.g\.", re.IGNORECASE)


class Line(NamedTuple):
    """A line of a guide that is not empty. section: the heading above it. grade: that it speaks of, None for all."""

    section: str
    grade: int | None
    example: bool
    text: str


class Change(NamedTuple):
    """Lines of one section, about one grade or none, that a version has and the other lacks."""

    section: str
    grade: int | None
    example: bool
    removed: tuple[str, ...]
    added: tuple[str, ...]

    def terms(self) -> frozenset[str]:
        """The words that came or went."""
        before, after = (frozenset(word for line in lines for word in words(line)) for lines in (self.removed, self.added))
        return before ^ after


class GuideDiff(NamedTuple):
    """What changed from one version to another. labels: True if the grades' names changed."""

    old: str
    new: str
    labels: bool
    changes: tuple[Change, ...]

    def grades(self) -> frozenset[int]:
        return frozenset(change.grade for change in self.changes if change.grade is not None)


def lines_of(scale: Scale) -> tuple[Line, ...]:
    """The guide line by line: a heading, or an item that begins with a grade's name in bold, says of which grade the lines are.

    >>> guide = "# Guide\\nBuy it?\\n- **yes**: of course\\n  Examples: a red shoe\\n- **no**: never"
    >>> [(line.grade, line.example) for line in lines_of(Scale("s", ("no", "yes"), (0.0, 1.0), guide))]
    [(None, False), (None, False), (1, False), (1, True), (0, False)]
    """
    found, section, of_section, grade, example = list[Line](), "", None, None, False
    for text in scale.guide.splitlines():
        if not text.strip():
            continue
        heading, item = _HEADING.match(text), _ITEM.match(text)
        if heading:
            named = _grade(heading[1].strip("* "), scale)
            example = bool(re.search(r"\bexamples?\b", heading[1], re.IGNORECASE))
            deeper = example and named is None
            of_section = of_section if deeper else named
            grade, section = of_section, heading[1]
        elif item:
            named = _grade(item[1], scale)
            grade, example = (named, False) if named is not None else (grade, example)
        elif not text[0].isspace() and not text.lstrip().startswith(("-", "*", "+", ">", "|")) and not _EXAMPLE.match(text):
            grade, example = of_section, example and of_section is not None and bool(heading)
        example = example or bool(_EXAMPLE.match(text))
        found.append(Line(section, grade, example, text.strip()))
    return tuple(found)


def _grade(text: str, scale: Scale) -> int | None:
    """The grade whose name a heading or item begins with, the longest such name."""
    plain = text.strip().casefold()
    best: tuple[int, int] | None = None
    for index, label in enumerate(scale.labels):
        name = label.casefold()
        if plain.startswith(name) and not plain[len(name) : len(name) + 1].isalnum() and (best is None or len(name) > best[0]):
            best = (len(name), index)
    return None if best is None else best[1]


def diff(old: Scale, new: Scale) -> GuideDiff:
    """What changed between two versions of a scale's guide.

    Raises: InputError for scales with another number of grades: their judgments cannot be compared.
    """
    if len(old.labels) != len(new.labels):
        raise InputError(
            f"{old.name!r} has {len(old.labels)} grades and {new.name!r} {len(new.labels)}: a guide changed, not a scale"
        )
    before, after = lines_of(old), lines_of(new)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    groups: dict[tuple[str, int | None, bool], tuple[list[str], list[str]]] = {}
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            for side, part in ((0, before[a:b]), (1, after[c:d])):
                for line in part:
                    groups.setdefault((line.section, line.grade, line.example), ([], []))[side].append(line.text)
    changes = tuple(Change(*key, tuple(gone), tuple(come)) for key, (gone, come) in groups.items())
    return GuideDiff(old.version, new.version, old.labels != new.labels, changes)


class Touched(NamedTuple):
    """Which golden pairs a change may touch. score: (pairs,) 0 for none; reason: (pairs,) why, in words. terms: looked for."""

    score: Any
    reason: tuple[str, ...]
    terms: tuple[str, ...]


def touched(changes: GuideDiff, texts: Sequence[str], grades: Sequence[int | None], scale: Scale) -> Touched:
    """The pairs that hold a word that came or went, weighted by its rarity, and those of a grade whose lines changed.

    texts: query and document of each pair. A word counts log(pairs / pairs with it) + 1; a grade counts 1, and a changed
    number of grades' names counts for all. It is a guess from words: the untouched part is sampled too, to see what it missed.
    """
    held = [frozenset(words(text)) for text in texts]
    seen: dict[str, int] = {}
    for own in held:
        for word in own:
            seen[word] = seen.get(word, 0) + 1
    came = frozenset().union(*(change.terms() for change in changes.changes)) if changes.changes else frozenset[str]()
    wanted = [
        w for w in came if (len(w) >= SHORTEST or any(c.isdigit() for c in w)) and 0 < seen.get(w, 0) <= COMMON * len(texts)
    ]
    worth = {word: float(np.log(len(texts) / seen[word]) + 1) for word in wanted}
    of_grade = changes.grades() if not changes.labels else frozenset(range(len(scale.labels)))
    score, reason = np.zeros(len(texts)), []
    for row, (own, grade) in enumerate(zip(held, grades, strict=True)):
        hits = sorted(own & worth.keys())
        score[row] = sum(worth[word] for word in hits) + (grade in of_grade)
        said = [f"changed words: {', '.join(hits[:5])}"] if hits else []
        said += [f"the lines of grade {scale.labels[grade]!r} changed"] if grade is not None and grade in of_grade else []
        reason.append("; ".join(said))
    return Touched(score, tuple(reason), tuple(sorted(wanted)))


def rejudge(pairs: pa.Table, found: Touched, *, n: int, share: float = 0.8, seed: int) -> pa.Table:
    """About n pairs to judge again under the new guide, each with its odds: touched ones by score, untouched ones at random.

    pairs: the golden pairs with texts, in the order of `found`. share: of n for touched pairs; what one part cannot use goes to
    the other. The order is random. Columns added: stratum (touched, untouched), inclusion_probability, part, reason.
    Raises: InputError for n under 2, and a share outside 0 to 1.
    """
    import pyarrow as pa

    if n < 2 or not 0 <= share <= 1:
        raise InputError(f"n = {n}, share = {share:g}: expected 2 pairs or more, and a share from 0 to 1")
    hit = found.score > 0
    size, rest = int(hit.sum()), int((~hit).sum())
    n = min(n, size + rest)
    first = min(max(round(share * n), n - rest), size)
    ids = [f"{q}\t{d}" for q, d in zip(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True)]
    number = uniform(seed, SALT, keys(ids))
    odds = np.zeros(len(ids))
    taken = list[int]()
    for rows, count, by_score in ((np.flatnonzero(hit), first, True), (np.flatnonzero(~hit), n - first, False)):
        if not count:
            continue
        sizes = found.score[rows] if by_score else np.ones(len(rows))
        odds[rows] = odds_by_size(sizes, count)
        start = float(uniform(seed, SALT + 1, keys(["touched" if by_score else "untouched"]))[0])
        taken += rows[systematic(odds[rows], number[rows], start)].tolist()
    taken.sort(key=lambda row: float(uniform(seed, SALT + 2, keys([ids[row]]))[0]))
    kept = pairs.select(
        [c for c in pairs.column_names if c not in ("stratum", "inclusion_probability", "part", "reason", "split")]
    )
    out = kept.take(taken)
    out = out.append_column("stratum", pa.array(["touched" if hit[row] else "untouched" for row in taken], pa.string()))
    out = out.append_column("inclusion_probability", pa.array(odds[taken], pa.float64()))
    out = out.append_column("part", pa.repeat("random", len(taken)))
    return out.append_column("reason", pa.array([found.reason[row] for row in taken], pa.string()))
