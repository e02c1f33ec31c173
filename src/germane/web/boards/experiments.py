"""Experiments as pages show them, and a decision that is written down on one."""

from __future__ import annotations

import re
from dataclasses import replace

from germane.registry import experimenting
from germane.report import experiments as told
from germane.types import InputError
from germane.web.access import Call, Missing
from germane.web.boards import views

LONGEST = 500  # characters of a reason
_NAME = re.compile(r"[a-z0-9-]{1,64}")


def listed(call: Call) -> views.Experiments:
    """Every experiment as it stands, the latest first."""
    rows = [told.row(found) for found in experimenting.listed(call.registry)]
    if call.base:
        rows = [replace(row, owner="", decision=_unsigned(row.decision)) for row in rows]
    counts = {state: sum(row.state == state for row in rows) for state in ("running", "shipped", "stopped")}
    return views.Experiments(rows, **counts)


def one(call: Call) -> told.Experiment:
    """The experiment that the address names. Raises: Missing."""
    name = call.path.get("name", "")
    if not _NAME.fullmatch(name):
        raise Missing
    try:
        found = told.view(experimenting.find(call.registry, name))
    except experimenting.Unknown:
        raise Missing from None
    return _by_a_link(found) if call.base else found


def _by_a_link(found: told.Experiment) -> told.Experiment:
    """The experiment without names, and without what people wrote to looks and decisions."""
    looks = [replace(each, note="", actor="") for each in found.looks]
    decisions = [bare for each in found.decisions if (bare := _unsigned(each))]
    return replace(found, owner="", opened_by="", looks=looks, decisions=decisions)


def _unsigned(decision: told.DecisionView | None) -> told.DecisionView | None:
    return None if decision is None else replace(decision, by="", why="", actor="")


def decided(call: Call) -> str:
    """The experiment's name, after whoever asks decided. Raises: InputError without a reason, and for an older page."""
    found, form = one(call), call.form
    why, seen = form.get("why", "").strip(), form.get("seen", "")
    if not why:
        raise InputError("a decision needs its reason, in a few words")
    if not (seen.isascii() and seen.isdecimal() and len(seen) < 10):
        raise InputError("the form does not say which decisions its reader had seen: load the page again")
    actor = call.who.name
    experimenting.decide(
        call.registry, found.name, form.get("what", ""), by=actor, why=why[:LONGEST], actor=actor, seen=int(seen)
    )
    return found.name
