"""Which fields a judge reads, in which order, and how much of each: a plan with a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from germane.text.units import Tokens, Unit, unit_of
from germane.types import InputError, decode


class Known(NamedTuple):
    """A field that is known by name: other names of it, the characters it may take, whether it is a list of entries."""

    names: tuple[str, ...]
    budget: int
    entries: bool = False


# In the order that they are shown: what names the thing, what kind it is, what is said of it, what others made of it. A model
# that reads too few tokens, and a total budget, lose the end. Titles are rarely long; descriptions are, and say little after
# the first screen.
KNOWN: tuple[Known, ...] = (
    Known(("title", "name"), 300),
    Known(("brand",), 100),
    Known(("category", "categories"), 200, entries=True),
    Known(("color", "colour"), 100),
    Known(("attributes",), 400, entries=True),
    Known(("variations", "variants"), 300, entries=True),
    Known(("bullet_points", "features"), 600),
    Known(("description",), 1200),
    Known(("caption", "image_caption"), 300),
    Known(("linked_title", "link_title", "page_title"), 200),
    Known(("linked_description", "link_description", "page_description"), 400),
    Known(("boards", "board_titles", "collections", "collection_titles"), 300, entries=True),
    Known(("engaged_queries",), 200, entries=True),
)
OTHER_BUDGET = 400
PLACE = {name: place for place, known in enumerate(KNOWN) for name in known.names}
LISTED = frozenset(name for known in KNOWN if known.entries for name in known.names)

# Characters to one unit, about, of English product text: so that the default budgets mean the same in each.
PER_UNIT = {"characters": 1, "words": 6, "tokens": 4}

# Ids and addresses say nothing to a reader, and some give labels away: esci_query_ids are the queries that a product was
# judged for.
NEVER_NAMES = frozenset({"id", "ids", "url", "urls", "image", "images"})
NEVER_ENDINGS = ("_id", "_ids", "_url", "_urls", "_path", "_outcome")


def is_never_text(name: str) -> bool:
    """True for a column that holds ids, addresses or outcomes, by its name.

    >>> [name for name in ("title", "esci_query_ids", "image_url") if is_never_text(name)]
    ['esci_query_ids', 'image_url']
    """
    plain = name.strip().lower()
    return plain in NEVER_NAMES or plain.endswith(NEVER_ENDINGS)


@dataclass(frozen=True)
class TextPlan:
    """Which fields are read, and how much of each.

    order: the fields, first to last; None is every text field, those of `KNOWN` first, in that order. budgets: field -> the
    most of it, in `unit` ("characters", "words", or "tokens" of the `tokenizer` by folder or hub name), over the defaults; 0
    leaves a field out. total: of the whole text with its names; what is too much is taken from the last fields first.

    >>> TextPlan(budgets={"title": 40}).budget("title"), TextPlan(unit="words").budget("description")
    (40, 200)
    """

    order: tuple[str, ...] | None = None
    budgets: Mapping[str, int] = field(default_factory=dict)
    unit: str = "characters"
    tokenizer: str = ""
    total: int | None = None

    def __post_init__(self) -> None:
        for name, budget in {**self.budgets, **({} if self.total is None else {"in total": self.total})}.items():
            if isinstance(budget, bool) or budget != int(budget) or budget < 0:
                raise InputError(f"a budget of {budget} {self.unit} for {name}: expected a whole number, 0 or more")
        if self.order is not None:
            if never := [name for name in self.order if is_never_text(name)]:
                raise InputError(f"{never[0]!r} is never text: ids and addresses say nothing to a judge, or give labels away")
            if len(set(self.order)) < len(self.order):
                raise InputError(f"fields {', '.join(self.order)}: name each once")
            if unread := [name for name in self.budgets if name not in self.order]:
                raise InputError(f"a budget for {unread[0]!r}, which is not among the fields {', '.join(self.order)}")

    def counter(self) -> Unit:
        """What counts in this plan's unit. Raises: InputError for an unknown unit or tokenizer."""
        return unit_of(self.unit, self.tokenizer)

    def budget(self, name: str) -> int:
        """The most that a field may take, in units."""
        if name in self.budgets:
            return int(self.budgets[name])
        usual = KNOWN[PLACE[name]].budget if name in PLACE else OTHER_BUDGET
        return max(usual // PER_UNIT[self.unit], 1)

    def fields(self, names: Iterable[str]) -> list[str]:
        """The fields to show of a document that has these, in order."""
        if self.order is not None:
            return list(self.order)
        return sorted((name for name in names if not is_never_text(name)), key=lambda name: PLACE.get(name, len(KNOWN)))

    def resolved(self, names: Iterable[str]) -> TextPlan:
        """The same with every field of documents that have these, and every budget, said: what a judge's folder records.

        Raises: InputError for a budget of a field that they have not.
        """
        order = tuple(self.fields(names))
        if unread := [name for name in self.budgets if name not in order]:
            raise InputError(f"a budget for {unread[0]!r}, which is no field of text: found {', '.join(order) or 'none'}")
        return replace(self, order=order, budgets={name: self.budget(name) for name in order})

    @property
    def digest(self) -> str:
        """16 hex digits of all that decides a text. A tokenizer counts by its content, wherever it lies."""
        counter = self.counter()
        order = None if self.order is None else list(self.order)
        budgets = {name: self.budget(name) for name in (*(self.order or PLACE), *self.budgets)}
        said = [order, budgets, self.unit, counter.digest if isinstance(counter, Tokens) else "", self.total]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, with the digest; `from_dict` reads it back."""
        return {**asdict(self), "digest": self.digest}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> TextPlan:
        """The plan that `to_dict` wrote. Raises: InputError for something else."""
        plan: TextPlan = decode(cls, {name: value for name, value in said.items() if name != "digest"})
        return plan
