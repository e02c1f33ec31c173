"""Adjudication: the queue, both votes side by side without names, a decision with its reason, discussion, and questions."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from germane.registry import adjudicating, telling
from germane.registry.adjudicating import RemarkKind
from germane.registry.assigning import Given
from germane.types import InputError
from germane.web import showing
from germane.web.access import DECIDES, Call, Page
from germane.web.judging import ballot
from germane.web.pages import away, markdown

SAID = {
    "decided": "Decided.",
    "discussed": "Put to discussion.",
    "asked": "The question is collected for the guide.",
    "reopened": "Your decision is taken back: the pair waits again.",
    "nothing": "There is no decision of yours to take back.",
}


def queue(call: Call) -> Response:
    """What waits for a decision."""
    task = call.task
    waiting = adjudicating.queue(call.registry, task, call.who)
    values: dict[str, Any] = {"task": task, "said": SAID.get(call.query.get("said", ""), "")}
    values["waiting"] = [row for row in waiting if not row.discussed]
    values["discussed"] = [row for row in waiting if row.discussed]
    return call.page("queue.html.j2", others=adjudicating.left_to_others(call.registry, task, call.who), **values)


def following(call: Call) -> Response:
    """The next pair of the queue that nobody else is deciding."""
    given = adjudicating.open_pair(call.registry, call.task, call.who)
    said = call.query.get("said", "")
    tail = f"?said={said}" if said in SAID else ""
    return away(f"/adjudicate/{call.number('task')}{tail}") if given is None else _screen(call, given)


def one(call: Call) -> Response:
    """One pair, held by this person."""
    given = adjudicating.open_pair(call.registry, call.task, call.who, call.number("pair"))
    assert given is not None
    return _screen(call, given)


def decide(call: Call) -> Response:
    """Count a decision, once."""
    task = call.task
    given = ballot(call)._replace(note=call.form.get("why", ""))
    if not given.note.strip():
        number = call.form.get("pair", "")
        held = (
            adjudicating.open_pair(call.registry, task, call.who, int(number))
            if number.isdecimal() and len(number) < 10
            else None
        )
        if held is not None:
            return _screen(call, held, status=422, said="A decision needs its reason: the raters and the guide learn from it.")
    if given.relevance is None and not given.reason:
        raise InputError("the form holds no grade: load the page again")
    adjudicating.decide(call.registry, task, call.who, given)
    return away(f"/adjudicate/{task.id}/next?said=decided")


def remark(call: Call) -> Response:
    """Put a pair to discussion, or ask a question of the guide."""
    task, kind = call.task, call.form.get("kind", "")
    if kind not in set(RemarkKind):
        raise InputError("the form says neither discussion nor question")
    pair = call.number("pair")
    adjudicating.remark(call.registry, task, call.who, pair, RemarkKind(kind), call.form.get("text", ""))
    if kind == RemarkKind.DISCUSSION:
        return away(f"/adjudicate/{task.id}?said=discussed")
    return away(f"/adjudicate/{task.id}/{pair}?said=asked")


def reopen(call: Call) -> Response:
    """Take the latest decision back."""
    task = call.task
    pair = adjudicating.reopen(call.registry, task, call.who)
    return away(f"/adjudicate/{task.id}{'?said=nothing' if pair is None else f'/{pair}?said=reopened'}")


def questions(call: Call) -> Response:
    """The questions that the guide does not answer yet."""
    task = call.task
    return call.page("questions.html.j2", task=task, rows=adjudicating.remarks_of(call.registry, task, RemarkKind.QUESTION))


def close(call: Call) -> Response:
    """Mark a question as answered."""
    adjudicating.close(call.registry, call.task, call.who, call.number("remark"))
    return away(f"/questions/{call.number('task')}")


def _screen(call: Call, given: Given, *, status: int = 200, said: str = "") -> Response:
    task = call.task
    shown = telling.pair_of(call.registry, task, given.pair_id)
    assert shown is not None
    item = showing.item(shown, images=call.site.images, search_url=task.asked.search_url)
    values: dict[str, Any] = {"task": task, "given": given, "item": item, "pair_id": shown.id}
    values |= {"grades": showing.grades(task.scale), "guide": markdown(task.scale.guide)}
    values["said"] = said or SAID.get(call.query.get("said", ""), "")
    values["why"] = call.form.get("why", "")
    values["opinions"] = adjudicating.opinions(call.registry, shown.id)
    values["remarks"] = adjudicating.remarks_of(call.registry, task, RemarkKind.DISCUSSION, shown.id)
    origin = item.image.origin if item.image else ""
    return call.page("decide.html.j2", status=status, image_origin=origin, **values)


PAGES = (
    Page("GET", "/adjudicate/{task}", DECIDES, queue),
    Page("GET", "/adjudicate/{task}/next", DECIDES, following),
    Page("POST", "/adjudicate/{task}/undo", DECIDES, reopen),
    Page("GET", "/adjudicate/{task}/{pair}", DECIDES, one),
    Page("POST", "/adjudicate/{task}", DECIDES, decide),
    Page("POST", "/remark/{task}/{pair}", DECIDES, remark),
    Page("GET", "/questions/{task}", DECIDES, questions),
    Page("POST", "/questions/{task}/{remark}/close", DECIDES, close),
)
