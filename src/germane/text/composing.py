"""A document's fields as the one text that a judge reads, and what was cut on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from germane.text.plan import LISTED, TextPlan
from germane.text.units import Characters, Unit

CUT = " …"
BETWEEN = ", "  # entries of a list
LONGEST_WORD = 40  # characters; what has none of its spaces for longer is written without them, as Japanese is
Value = str | Sequence[str | None] | None


class Cut(NamedTuple):
    """A field of which only a part is in the text: kept of how many units of the plan."""

    field: str
    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.field} {self.kept}/{self.of}"


class Composed(NamedTuple):
    """A document's text, and the fields that were cut in it."""

    text: str
    cuts: tuple[Cut, ...] = ()


class Line(NamedTuple):
    """A field on one line. seams: where its entries end, for a field that is a list."""

    text: str
    seams: tuple[int, ...] = ()


def compose(fields: Mapping[str, Value], plan: TextPlan | None = None) -> Composed:
    """One line for each field that says something, "name: value", and what was cut.

    A value is text, or a list of texts, which is joined by ", " and cut between its entries. No field can hold a line break
    or a control character, so that none can pass for another.

    Raises: InputError for an unknown unit or tokenizer.

    >>> compose({"title": "Garden chair", "category": ["Home", "Garden", "Chairs"]}, TextPlan(budgets={"category": 15}))
    Composed(text='title: Garden chair\\ncategory: Home, Garden …', cuts=(Cut(field='category', kept=12, of=20),))
    """
    plan = plan or TextPlan()
    return composed(fields, plan, plan.counter())


def composed(fields: Mapping[str, Value], plan: TextPlan, unit: Unit) -> Composed:
    """As `compose`, with the plan's unit at hand, for many documents."""
    lines: list[str] = []
    cuts: list[Cut] = []
    left = plan.total
    for name in plan.fields(fields):
        line = one_line(fields.get(name), name in LISTED)
        if not line.text:
            continue
        budget, label = plan.budget(name), f"{clean(name)}: "
        named = len(unit.ends(f"\n{label}" if lines else label)) if left is not None else 0
        budget = budget if left is None else max(min(budget, left - named), 0)
        text, kept, of = fitted(line, budget, unit)
        if kept < of:
            cuts.append(Cut(name, kept, of))
        if not kept:
            continue
        lines.append(label + text)
        if left is not None:
            left -= named + kept + (unit.mark if kept < of else 0)
    return Composed("\n".join(lines), tuple(cuts))


def fitted(line: Line, budget: int, unit: Unit) -> tuple[str, int, int]:
    """As much of a line as its budget holds, marked if cut; how many units of it are kept, and of how many.

    Cut between entries if the first one fits, else between words.
    """
    ends = unit.ends(line.text)
    if len(ends) <= budget:
        return line.text, len(ends), len(ends)
    room = budget - unit.mark
    if room <= 0:
        return "", 0, len(ends)
    at = int(ends[room - 1])
    seam = max((end for end in line.seams if end <= at), default=0)
    kept = line.text[: seam or _between_words(line.text, at)].rstrip()
    return kept + CUT, len(unit.ends(kept)), len(ends)


def _between_words(text: str, at: int) -> int:
    """Where to cut at `at` or before it: between words, but in the middle of what is longer than a word is."""
    if text[at : at + 1] == " ":
        return at
    space = text.rfind(" ", 0, at)
    return space if space > 0 and at - space <= LONGEST_WORD else at


def one_line(value: Value, listed: bool = False) -> Line:
    """A field's value on one line. listed: the field is a list by its name, and entries in one text count as such."""
    if value is None:
        return Line("")
    if isinstance(value, str):
        if not listed:
            return Line(clean(value))
        value = clean(value).split(BETWEEN)
    entries = [entry for part in value if (entry := clean(part or ""))]
    seams, end = [], 0
    for entry in entries:
        seams.append(end + len(entry))
        end = seams[-1] + len(BETWEEN)
    return Line(BETWEEN.join(entries), tuple(seams))


def clean(text: str) -> str:
    """The text on one line, without control characters, with one space between words.

    >>> clean(" a blue\\x00 chair\\n of wood ")
    'a blue chair of wood'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def clip(text: str, budget: int) -> str:
    """The text on one line without control characters, at most `budget` characters, cut between words and marked if cut.

    >>> clip("a blue  chair\\nof wood", 12)
    'a blue …'
    """
    return fitted(Line(clean(text)), budget, Characters())[0]


def document_text(
    fields: Mapping[str, Value], *, order: Sequence[str] | None = None, budgets: Mapping[str, int] | None = None
) -> str:
    """The text of `compose` alone, with budgets in characters.

    order: the fields to show, in this order. budgets: field -> characters.

    >>> print(document_text({"brand": "Ilmare", "title": "Garden chair", "colour": ""}))
    title: Garden chair
    brand: Ilmare
    """
    return compose(fields, TextPlan(None if order is None else tuple(order), budgets or {})).text
