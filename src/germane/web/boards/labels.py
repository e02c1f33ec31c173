"""The label explorer's pages: a search over what was shown, and one pair."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from germane.web.access import Call
from germane.web.boards import explaining, finding
from germane.web.boards.finding import FoundPair, FoundPairs
from germane.web.boards.places import place
from germane.web.boards.sharing import board_of

ASKED = ("query", "doc", "text", "grade", "segment", "days", "until")


def find(call: Call) -> FoundPairs:
    """A page of pairs. Raises: InputError for what is not known."""
    return finding.found(call.registry, place(board_of(call).project), call.query)


def explain(call: Call) -> explaining.ExplainedPair:
    """One pair; by a share link without what people wrote, in which names may stand. Raises: InputError for an unknown one."""
    asked = place(board_of(call).project)
    return explaining.explained(call.registry, asked, call.query, names=call.session is not None)


def search(call: Call) -> Response:
    """What was shown on watched days, with grades."""
    found = find(call)
    asked = {name: call.query.get(name, "") for name in ASKED}
    said = {name: value for name, value in asked.items() if value}
    more: dict[str, Any] = {"asked_text": urlencode(said | ({"start": found.start} if found.start else {}))}
    more |= {"first_text": urlencode(said), "next_text": urlencode(said | {"start": found.following or 0})}
    more["earlier_text"] = urlencode(said | {"until": found.earlier})
    return call.page("labels.html.j2", here="/labels", found=found, asked=asked, windows=finding.WINDOWS, **more)


def pair(call: Call) -> Response:
    """One pair and all that is known of its grade."""
    found = explain(call)
    asked = {name: call.query.get(name, "") for name in ("query", "doc", "days", "until", "store")}
    text = urlencode({name: value for name, value in asked.items() if value})
    size = len(place(board_of(call).project).labels(found.scale))
    values: dict[str, Any] = {"asked": asked, "asked_text": text, "size": size, "windows": finding.WINDOWS[2:]}
    return call.page("pair.html.j2", here="/labels", found=found, **values)


def table(found: FoundPairs) -> Iterable[list[Any]]:
    """The pairs as rows."""
    names = list(FoundPair.__dataclass_fields__)
    yield names
    for each in found.pairs:
        yield [getattr(each, name) for name in names]
