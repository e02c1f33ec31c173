"""What a language model's reply says: a grade, that it cannot judge, or nothing that can be read. Pure; never raises.

A grade is read in one place only, the end of the reply, and only in the form that was asked for. An item's text, quoted in
the reasons, can say what it likes: it stands inside a JSON string, or before the end. What could be read in two ways is not
read at all, since the judge can ask again, and a wrong grade looks like a right one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple
from unicodedata import normalize

from germane.judges.prompts.grading import MARK
from germane.types import Outcome, Scale

READING = 1  # the rules of `verdict`, counted: other rules make another judge of the same replies
CANNOT = "cannot judge"
"""What a model says in the place of a grade where it cannot judge."""
REASONS = 500
"""Characters of a model's reasons that are kept."""
LONGEST = 1_000_000
"""Characters of a reply that is read. Nobody is given room for that many, reasoning models included."""
DEEPEST = 32
"""Levels of nesting in a verdict that is read."""

Grade = int | str
"""The index of a grade, or `CANNOT`."""
Names = dict[str, Grade]

GRADE, WHY, SURE = "grade", "reasoning", "confidence"

_THINKING = re.compile(r"(<think>|<thinking>|\[THINK\])|(</think>|</thinking>|\[/THINK\])")
_BEGINS = re.compile(r'\{\s*"')
_BACKWARDS = re.compile(r'"(\\*)|[{}]')  # of the reply turned round, where what escapes a quote stands after it
_LEXEME = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*("?)|[{}]', re.DOTALL)
_A_GRADE = re.compile(r'"\s*grade\s*"\s*:\s*("[^"\\\n]*"|[^\s",}\]]+)', re.IGNORECASE)
_AROUND = " \t\r\n\"'`*“”‘’«»"
_ABLE = (
    r"(?:can ?not|can't|could not|couldn't|won't|will not|am unable|'m unable|am not able|'m not able|must decline|decline)\b"
)
_TO_DO = (
    r"(?: to| be able to)? (?:help|assist|provide|comply|fulfil|continue|engage|answer|respond|process|grade|judge|rate"
    r"|evaluate|assess|do (?:that|this)|support|generate|create|discuss|participate|share|complete)"
)
_REFUSES = re.compile(
    rf"(?:(?:i'?m|i am|we'?re|we are) (?:very |so )?sorry\b|sorry\b|my apologies|i apologi[sz]e|unfortunately\b|as an ai\b)"
    rf".{{0,80}}?\b(?:i|we)(?: {_ABLE}|'m unable|'m not able)"
    rf"|(?:i|we) ?{_ABLE}{_TO_DO}"
    r"|(?:lo siento|je suis désolé|désolé|es tut mir leid|tut mir leid|mi dispiace|desculpe|sinto muito|lamento)\b.{0,40}?"
    r"\b(?:no puedo|ne peux pas|kann (?:ich )?|non posso|não posso)"
    r"|no puedo (?:ayudar|responder|cumplir|evaluar)|je ne peux pas (?:répondre|vous aider|évaluer)"
    r"|ich kann (?:dabei|ihnen dabei|das|diese anfrage) nicht"
    r"|申し訳(?:ありません|ございません)|すみませんが|抱歉|很抱歉|对不起|對不起|我无法|我無法|죄송"
)


class Verdict(NamedTuple):
    """A reply that is a grade. relevance: index on the scale, or None where the model says that it cannot judge.

    confidence: 0 to 1 as the model states it, None where it does not. reasoning: at most `REASONS` characters.
    """

    relevance: int | None
    confidence: float | None
    reasoning: str


class Unread(NamedTuple):
    """A reply that is no grade: what became of it, and why, in a short line."""

    outcome: Outcome
    why: str


class _Nothing(Exception):
    """Why a reply is no verdict. It does not leave this module."""


def schema(scale: Scale) -> dict[str, Any]:
    """The JSON schema of a reply, for servers that hold a model to one: the reasons first, so that the grade follows them.

    Strict as OpenAI has it: an object with these keys, all of them, and no other.

    >>> from germane.scales import get
    >>> found = schema(get("esci"))
    >>> list(found["properties"]), found["properties"]["grade"]["enum"]
    (['reasoning', 'grade', 'confidence'], ['I', 'C', 'S', 'E', 'cannot judge'])
    """
    grades = list(dict.fromkeys((*scale.labels, CANNOT)))
    properties = {WHY: {"type": "string"}, GRADE: {"type": "string", "enum": grades}, SURE: {"type": "number"}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def verdict(reply: str, scale: Scale) -> Verdict | Unread:
    """The verdict that a reply ends with, or why it has none.

    - The verdict is the JSON object that ends the reply, with a key "grade"; only white space, a closing fence and a full
      stop may follow it. Other keys may be there; a missing or wrong confidence is None, missing reasons are what was
      written before the object. Without any object, a last line "Grade: X" is a verdict too.
    - A grade is a label, an alias or `CANNOT`, whole, whatever its case, white space and quotes around it aside. "E (exact)",
      "E or S", "E-" and ["E"] are none; a number is one only where it is a label or an alias itself (3 or 3.0 on TREC). No
      letters are folded into others: a Cyrillic or full-width E is not E.
    - JSON is taken as it is, but for line breaks inside strings: no comments, single quotes or trailing commas.
    - Another grade, in an object or in a line before, outside of the model's thinking (<think> ... </think>), makes two
      verdicts, and two are none; so do two values of one key. What is written inside the verdict's strings is text.
    - An object that never ends, or a verdict inside thinking that never ends, was cut off.
    - Without a verdict: an answer of `CANNOT` alone abstains, an apology or "I can't help" refuses, all else is unparseable.

    Takes time linear in the reply, and never raises.

    >>> from germane.scales import get
    >>> verdict('It fits. {"reasoning": "all is met", "grade": "E", "confidence": 0.9}', get("esci"))
    Verdict(relevance=3, confidence=0.9, reasoning='all is met')
    >>> verdict('{"reasoning": "an iPhone 13", "grade": "E or S", "confidence": 0.5}', get("esci"))
    Unread(outcome=<Outcome.UNPARSEABLE: 'unparseable'>, why="no grade of the scale: 'E or S'")
    """
    if len(reply) > LONGEST:
        return Unread(Outcome.UNPARSEABLE, f"{len(reply):,} characters: too long to be read")
    text = _without_end(reply)
    try:
        start = _start_of_object(text)
        before, thought = _outside_thinking(reply if start is None else text[:start])
        if not thought:
            raise _Nothing("cut off while it was thinking")
        if start is not None:
            return _of_object(text[start:], before, scale)
        return _of_lines(before, scale)
    except _Nothing as nothing:
        return Unread(Outcome.UNPARSEABLE, _clean(str(nothing), 120))


def _of_object(text: str, before: str, scale: Scale) -> Verdict:
    """The verdict of the object that ends a reply; `before` is what was written before it."""
    if _open(before):
        raise _Nothing("an object before the last one never ends")
    found, grades = _parsed(text)
    if GRADE not in found:
        raise _Nothing("the object that ends the reply has no grade")
    names = _names(scale)
    grade = _grade(found[GRADE], names)
    _single(grade, chain((_grade_or_none(each, names) for each in grades), _others(before, names)), scale)
    sure = found.get(SURE)
    confidence = float(sure) if isinstance(sure, int | float) and not isinstance(sure, bool) and 0 <= sure <= 1 else None
    reasons = found.get(WHY)
    said = reasons if isinstance(reasons, str) and reasons.strip() else before.replace("```json", "").replace("```", "")
    return Verdict(_relevance(grade), confidence, _clean(said, REASONS))


def _of_lines(before: str, scale: Scale) -> Verdict | Unread:
    """The verdict of a reply that does not end with an object: its last line, where there is no object at all."""
    text = _without_end(before)
    if not text:
        raise _Nothing("the reply is empty")
    if _open(text):
        raise _Nothing("cut off: its object never ends")
    names = _names(scale)
    head, _, last = text.rpartition("\n")
    if "{" not in text and (said := _marked(last)) is not None:
        grade = _grade(said, names)
        _single(grade, _others(head, names), scale)
        return Verdict(_relevance(grade), None, _clean(head, REASONS))
    if _label(text, names) == CANNOT:
        return Unread(Outcome.ABSTAINED, "it says that it cannot judge, and no reasons")
    if _refuses(text):
        return Unread(Outcome.REFUSED, _clean(text, 120))
    if next(_others(text, names), None) is not None:
        raise _Nothing("its grade does not end the reply")
    raise _Nothing(f"no verdict: {_clean(text, 80)!r}")


# --- the parts of a reply -------------------------------------------------------------------------------------------


def _without_end(text: str) -> str:
    """Without what may follow a verdict: white space, a closing fence, a full stop."""
    text = text.rstrip()
    for mark in (".", "。", "```", ".", "。"):
        text = text.removesuffix(mark).rstrip()
    return text


def _start_of_object(text: str) -> int | None:
    """Where the object that ends the text begins: None where it ends with none.

    Read backwards, where a quote in JSON is either escaped or begins or ends a string: so it is exact, in one pass.
    """
    if not text.endswith("}"):
        return None
    depth, quoted = 0, False
    for lexeme in _BACKWARDS.finditer(text[::-1]):
        mark = lexeme[0][0]
        if mark == '"':
            quoted ^= len(lexeme[1]) % 2 == 0
        elif not quoted:
            depth += 1 if mark == "}" else -1
            if depth > DEEPEST:
                raise _Nothing(f"its object has more than {DEEPEST} levels")
            if depth == 0:
                return len(text) - lexeme.end()
    raise _Nothing("it ends with a brace that closes nothing")


def _outside_thinking(text: str) -> tuple[str, bool]:
    """What is written outside of thinking, and whether the thinking ended.

    Templates may open it before the reply begins: all before a close that nothing opened was thought.
    """
    kept: list[str] = []
    thinking, closed, at = False, False, 0
    for tag in _THINKING.finditer(text):
        if not thinking:
            kept.append(text[at : tag.start()])
        if tag[1]:
            thinking = True
        elif thinking or not closed:
            if not thinking:
                kept.clear()
            thinking, closed = False, True
        at = tag.end()
    return "".join(kept) if thinking else "".join([*kept, text[at:]]), not thinking


def _open(text: str) -> bool:
    """Whether an object begins in the text and does not end there."""
    at = 0
    while begins := _BEGINS.search(text, at):
        depth = 0
        for lexeme in _LEXEME.finditer(text, begins.start()):
            mark = lexeme[0][0]
            if mark == '"' and not lexeme[1]:
                return True
            depth += {"{": 1, "}": -1}.get(mark, 0)
            at = lexeme.end()
            if depth == 0:
                break
        else:
            return True
    return False


def _parsed(text: str) -> tuple[dict[str, Any], list[Any]]:
    """An object, keys in small letters, and the grades of the objects within it."""
    grades: list[Any] = []

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            key = key.strip().casefold()
            if key in found and not _same(found[key], value):
                raise _Nothing(f"two values of {_clean(key, 40)!r}")
            found[key] = value
        if GRADE in found:
            grades.append(found[GRADE])
        return found

    try:
        found = json.loads(text, object_pairs_hook=made, strict=False)
    except (ValueError, RecursionError) as problem:
        raise _Nothing(f"no JSON: {problem}") from problem
    return found, grades


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


# --- grades ---------------------------------------------------------------------------------------------------------


def _names(scale: Scale) -> Names:
    """Each name of a grade, folded, with its index; and `CANNOT`."""
    names: Names = {}
    for index, label in enumerate(scale.labels):
        names.setdefault(_folded(label), index)
    for alias, index in scale.aliases.items():
        names.setdefault(_folded(alias), index)
    names.setdefault(CANNOT, CANNOT)
    return names


def _folded(text: str) -> str:
    return normalize("NFC", text.strip().lower())


def _label(said: str, names: Names) -> Grade | None:
    """The grade, or `CANNOT`, that a text names and nothing more, else None."""
    if len(said) > 200:
        return None
    for text in (said.strip(), said.strip(_AROUND)):
        folded = _folded(text)
        if folded in names and text.isascii() == folded.isascii():  # a Kelvin sign becomes a k
            return names[folded]
    return None


def _grade(said: Any, names: Names) -> Grade:
    """Raises: _Nothing where what was said is no grade."""
    if (grade := _grade_or_none(said, names)) is None:
        raise _Nothing(f"no grade of the scale: {_clean(repr(said), 80)}")
    return grade


def _grade_or_none(said: Any, names: Names) -> Grade | None:
    if isinstance(said, float) and said.is_integer() and abs(said) < 1e6:
        said = int(said)
    if isinstance(said, int) and not isinstance(said, bool) and abs(said) < 1e6:
        said = str(said)
    return _label(said, names) if isinstance(said, str) else None


def _others(text: str, names: Names) -> Iterator[Grade]:
    """The grades that a text gives, in objects and in lines."""
    for found in _A_GRADE.finditer(text):
        if (grade := _label(found[1], names)) is not None:
            yield grade
    for line in text.splitlines():
        if (said := _marked(line)) is not None and (grade := _label(said.rstrip(". "), names)) is not None:
            yield grade


def _marked(line: str) -> str | None:
    """What follows "Grade:" in a line that begins so, emphasis aside."""
    plain = line.lstrip(" \t*_`#>-")
    if plain[: len(MARK)].casefold() != MARK.casefold():
        return None
    return plain[len(MARK) :].strip(" \t*`")


def _single(grade: Grade, others: Iterable[Grade | None], scale: Scale) -> None:
    """Raises: _Nothing where another grade was given too."""
    for other in others:
        if other is not None and other != grade:
            first, last = (scale.labels[g] if isinstance(g, int) else g for g in (other, grade))
            raise _Nothing(f"two verdicts: {first} and {last}")


def _relevance(grade: Grade) -> int | None:
    return grade if isinstance(grade, int) else None


# --- words ----------------------------------------------------------------------------------------------------------


def _refuses(text: str) -> bool:
    head = " ".join(text[:400].replace("’", "'").casefold().split()).lstrip("*_#>\"' ")
    return _REFUSES.match(head) is not None


def _clean(text: str, most: int) -> str:
    """One line that any file can hold: no controls, no halves of characters."""
    line = " ".join(text[: 4 * most].split())
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "?", line)[:most]
