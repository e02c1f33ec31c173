"""A document's fields as the one text that a judge reads, with a budget for each field."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

# Characters a field may take by default. Titles are rarely longer; descriptions are, and say little after the first screen.
BUDGETS: Mapping[str, int] = {"title": 300, "description": 1200}
OTHER_BUDGET = 400
CUT = " …"
WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text, case folded, in any language that puts marks between words.

    Composed first (NFKC), so that one word typed in two ways is one word. No stop words, no stemming.

    >>> words("Größe 42, BLUE-green")
    ['grösse', '42', 'blue', 'green']
    """
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def query_digest(text: str) -> str:
    """16 hex digits that name a query by its words: to find it in another set whose texts are not kept.

    Sha256 of the words, so that spelling, case and marks between words do not hide a query that was seen before.

    >>> query_digest("Blue CHAIR!") == query_digest(" blue chair")
    True
    """
    return sha256(" ".join(words(text)).encode()).hexdigest()[:16]


def pair_digest(query: str, text: str) -> str:
    """16 hex digits that name a query with a document's text by their words; no query runs over into the text.

    >>> pair_digest("blue chair", "of wood") == pair_digest("Blue chair", "Of wood.")
    True
    >>> pair_digest("blue", "chair of wood") == pair_digest("blue chair", "of wood")
    False
    """
    both = (" ".join(words(part)) for part in (query, text))
    return sha256("\n".join(both).encode()).hexdigest()[:16]


def clip(text: str, budget: int) -> str:
    """The text on one line without control characters, at most `budget` characters, cut between words and marked if cut.

    >>> clip("a blue  chair\\nof wood", 12)
    'a blue …'
    """
    clean = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(clean.split())
    if len(line) <= budget:
        return line
    room = max(budget - len(CUT), 0)
    kept = line[: room + 1].rsplit(" ", 1)[0] if " " in line[: room + 1] else line[:room]
    return (kept.rstrip() + CUT)[:budget]


def document_text(
    fields: Mapping[str, str | None],
    *,
    order: Sequence[str] | None = None,
    budgets: Mapping[str, int] | None = None,
) -> str:
    """One line for each field that says something, "name: value", the title first.

    order: the fields to show, in this order; by default all, as they come. budgets: field -> characters, over `BUDGETS`.

    >>> print(document_text({"brand": "Ilmare", "title": "Garden chair", "colour": ""}))
    title: Garden chair
    brand: Ilmare
    """
    allowed = {**BUDGETS, **(budgets or {})}
    names = list(order) if order is not None else sorted(fields, key=lambda name: name != "title")
    lines = ((name, clip(fields.get(name) or "", allowed.get(name, OTHER_BUDGET))) for name in names)
    return "\n".join(f"{name}: {line}" for name, line in lines if line)


def document_texts(
    docs: pa.Table, *, order: Sequence[str] | None = None, budgets: Mapping[str, int] | None = None
) -> pa.StringArray:
    """The text of each row of a docs table, in its order. Only columns of strings are fields.

    Raises: InputError naming a field of `order` that the table has not.
    """
    import pyarrow as pa

    names = list(order) if order is not None else text_fields(docs)
    missing = [name for name in names if name not in docs.column_names]
    if missing:
        raise InputError(f"docs have no field {missing[0]!r}: their fields are {', '.join(text_fields(docs))}")
    columns = [docs[name].to_pylist() for name in names]
    rows = zip(*columns, strict=True) if columns else iter([()] * docs.num_rows)
    texts = [document_text(dict(zip(names, row, strict=True)), order=order, budgets=budgets) for row in rows]
    return pa.array(texts, pa.string())


def text_fields(docs: pa.Table) -> list[str]:
    """The columns of a docs table that hold text: every column of strings but doc_id and addresses (url, image_url)."""
    import pyarrow as pa

    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    strings = [f.name for f in docs.schema if any(is_kind(f.type) for is_kind in kinds)]
    return [name for name in strings if name not in ("doc_id", "url") and not name.endswith("_url")]
