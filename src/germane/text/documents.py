"""The texts of a whole table of documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from germane.text.composing import composed
from germane.text.plan import TextPlan, is_never_text
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa


_LINE = re.compile(r"(?P<name>\w[\w .-]{0,39}): (?P<value>.+)")


class Texts(NamedTuple):
    """The text of each document, and what was cut in it, such as "description 200/512; category 3/9" (null for nothing).

    plan: with every field and budget said. shares: field -> share of the documents in which it was cut.
    """

    text: pa.StringArray
    cut: pa.StringArray
    plan: TextPlan
    shares: Mapping[str, float]

    @property
    def facts(self) -> dict[str, Any]:
        """What a manifest records of it: order, budgets, unit, digest, and the share of documents cut by field."""
        return {**self.plan.to_dict(), "cut": dict(self.shares)}


def compose_table(docs: pa.Table, plan: TextPlan | None = None) -> Texts:
    """The text of each row of a docs table, in its order, with what was cut.

    Columns of strings and of lists of strings are fields, but not ids and addresses: see `text_fields`.

    Raises: InputError naming a field of the plan that the table has not, or that is no text.
    """
    import pyarrow as pa

    plan = plan or TextPlan()
    known = text_fields(docs)
    if missing := [name for name in plan.order or () if name not in known]:
        raise InputError(f"docs have no field {missing[0]!r}: their fields are {', '.join(known) or 'none'}")
    plan = plan.resolved(known)
    names, unit = list(plan.order or ()), plan.counter()
    columns = [docs[name].to_pylist() for name in names]
    rows: Any = zip(*columns, strict=True) if columns else iter([()] * docs.num_rows)
    made = [composed(dict(zip(names, row, strict=True)), plan, unit) for row in rows]
    counts = Counter(cut.field for one in made for cut in one.cuts)
    return Texts(
        pa.array([one.text for one in made], pa.string()),
        pa.array(["; ".join(map(str, one.cuts)) or None for one in made], pa.string()),
        plan,
        {name: counts[name] / len(made) for name in names if counts[name]},
    )


def document_texts(
    docs: pa.Table, *, order: Sequence[str] | None = None, budgets: Mapping[str, int] | None = None
) -> pa.StringArray:
    """The text of each row of a docs table, in its order, with budgets in characters; see `compose_table`.

    Raises: InputError naming a field of `order` that the table has not.
    """
    return compose_table(docs, TextPlan(None if order is None else tuple(order), budgets or {})).text


def fields_of(text: str) -> list[tuple[str, str]]:
    """A judge's text as the fields that it was made of, where every line is one; else one field.

    >>> fields_of("title: Oak table\\nbrand: Acme")
    [('title', 'Oak table'), ('brand', 'Acme')]
    """
    found = [_LINE.fullmatch(line) for line in text.splitlines()]
    if found and all(found):
        return [(match["name"], match["value"]) for match in found if match]
    return [("text", text)] if text else []


def text_fields(docs: pa.Table) -> list[str]:
    """The columns of a docs table that hold text: strings and lists of strings, but no ids, addresses and outcomes."""
    import pyarrow as pa

    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    found = []
    for column in docs.schema:
        kind = column.type.value_type if any(is_list(column.type) for is_list in lists) else column.type
        if any(is_kind(kind) for is_kind in kinds) and not is_never_text(column.name):
            found.append(column.name)
    return found
