"""Alerts as pages show them, and what may be done with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from germane.registry import alerting, looking
from germane.registry.alerting import AlertRow
from germane.report.day import CAUSE_WORDS, CAUSES, sentence
from germane.types import InputError
from germane.web.access import Call
from germane.web.boards import views

A_PAGE = 25
LONGEST = 500  # characters of a note


def alerts(call: Call) -> views.Alerts:
    """A page of alerts: those that are open, or all. Raises: InputError for another state, and a number that is none."""
    state, under = call.query.get("state", "") or "open", call.query.get("under", "")
    if state not in ("open", "all"):
        raise InputError(f"state={state[:20]!r}: expected open or all")
    if under and not (under.isascii() and under.isdecimal() and len(under) < 10):
        raise InputError(f"under={under[:20]!r}: expected the number of an alert")
    asked: dict[str, Any] = {"open_only": state == "open", "under": int(under) if under else None, "most": A_PAGE + 1}
    rows = looking.alerts_of(call.registry, **asked)
    following = rows[A_PAGE - 1].id if len(rows) > A_PAGE else None
    counts = looking.counted(call.registry)
    return views.Alerts(state, [alert(row) for row in read_by(call, rows[:A_PAGE])], following, **counts)


def one(call: Call) -> views.Alert:
    """One alert. Raises: InputError for an unknown number; Missing for none."""
    return alert(*read_by(call, [looking.alert(call.registry, call.number("alert"))]))


def read_by(call: Call, rows: Sequence[AlertRow]) -> list[AlertRow]:
    """The alerts as who asks may read them: by a share link without notes, and without who wrote them."""
    return [row._replace(by="", note="") for row in rows] if call.base else list(rows)


def happened(call: Call) -> views.Alert:
    """The alert, acknowledged or resolved by who asks. Raises: InputError for another word, and one that is resolved."""
    what, note = call.form.get("what", ""), call.form.get("note", "").strip()[:LONGEST]
    number, actor = call.number("alert"), call.who.name
    if what == "acknowledge":
        return alert(alerting.acknowledge(call.registry, number, actor=actor, note=note))
    if what == "resolve":
        return alert(alerting.resolve(call.registry, number, actor=actor, note=note))
    raise InputError("the form says neither acknowledge nor resolve")


def alert(row: AlertRow) -> views.Alert:
    """An alert as pages show it."""
    size, split = row.detail.get("size") or {}, row.detail.get("split") or {}
    parts = [_part(cause, CAUSE_WORDS[cause], split.get(cause)) for cause in CAUSES if split]
    parts += [_part("total", "all of it", split.get("total"))] if split else []
    examples = [
        views.Example(str(e.get("query", "")), float(e["part"]), _ids(e.get("before")), _ids(e.get("after")))
        for e in list(split.get("examples") or ())[:10]
        if e.get("part") is not None  # what has no number is no example, and no 0
    ]
    ends: dict[str, Any] = {name: size.get(name) for name in ("value", "low", "high", "n")}
    named = {name: getattr(row, name) for name in ("id", "date", "since", "metric", "segment", "part", "direction")}
    return views.Alert(
        **named,
        state=row.state,
        by=row.by,
        note=row.note,
        says=sentence(row),
        **ends,
        carried_by=[str(each) for each in row.detail.get("carried_by") or ()],
        cause=str(split.get("cause") or ""),
        parts=parts,
        examples=examples,
        notes=[str(each) for each in split.get("notes") or ()],
    )


def _part(cause: str, means: str, said: Mapping[str, Any] | None) -> views.Part:
    said = said or {}
    return views.Part(cause, means, said.get("value"), said.get("low"), said.get("high"))


def _ids(given: Any) -> list[str]:
    return [str(each) for each in list(given or ())[:25]]
