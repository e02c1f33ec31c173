"""The judging screen: one pair, the guide beside it, one key a grade."""

from __future__ import annotations

from typing import Any

from starlette.responses import FileResponse, Response

from germane.registry import assigning, telling
from germane.registry.accounts import Role
from germane.registry.assigning import Ballot, Counted
from germane.types import InputError
from germane.web import showing
from germane.web.access import EVERYONE, JUDGES, Call, Missing, Page
from germane.web.pages import away, markdown

REASONS = (
    "what is shown of the item is not enough",
    "I do not know the subject",
    "I do not know the language",
    "the query makes no sense to me",
    "it is offensive or unsafe",
    "another reason: see my note",
)
SAID = {
    "late": "Others have judged that pair while you were away, so your vote on it was not counted. Here is the next one.",
    "undone": "Your vote is taken back: judge this pair again.",
    "nothing": "There is no vote to take back.",
}


def judge(call: Call) -> Response:
    """The pair to judge now, or that there is none."""
    task = call.task
    given = assigning.take(call.registry, task, call.who)
    pace = telling.pace(call.registry, task, call.who)
    said = SAID.get(call.query.get("said", ""), "")
    if given is None:
        return call.page("done.html.j2", task=task, pace=pace, said=said)
    shown = telling.pair_of(call.registry, task, given.pair_id)
    assert shown is not None
    item = showing.item(shown, images=call.site.images, search_url=task.asked.search_url)
    values: dict[str, Any] = {"task": task, "given": given, "item": item, "pace": pace, "said": said, "pair_id": shown.id}
    values |= {"grades": showing.grades(task.scale), "guide": markdown(task.scale.guide), "reasons": REASONS}
    return call.page("judge.html.j2", image_origin=item.image.origin if item.image else "", **values)


def vote(call: Call) -> Response:
    """Count a vote, once, and go on to the next pair."""
    task = call.task
    counted = assigning.vote(call.registry, task, call.who, ballot(call))
    return away(f"/judge/{task.id}{'?said=late' if counted == Counted.LATE else ''}")


def undo(call: Call) -> Response:
    """Take the latest vote back, and show its pair again."""
    task, done = call.task, call.form.get("done", "")
    if not (done.isascii() and done.isdecimal() and len(done) < 10):
        raise InputError("the form does not say which vote: load the page again")
    given = assigning.undo(call.registry, task, call.who, done=int(done))
    return away(f"/judge/{task.id}?said={'nothing' if given is None else 'undone'}")


def ballot(call: Call) -> Ballot:
    """What a form of a vote holds. Raises: InputError for one that no page of ours sends."""
    form = call.form
    grade, number = form.get("grade", ""), form.get("assignment", "")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise InputError("the form names no pair: load the page again")
    if grade and not (grade.isascii() and grade.isdecimal() and len(grade) < 4):
        raise InputError(f"{grade[:20]!r} is no grade")
    seconds = form.get("seconds", "")
    try:
        looked: float | None = float(seconds) if seconds else None
    except ValueError:
        looked = None
    relevance = int(grade) if grade else None
    reason = "" if grade else form.get("reason", "")
    return Ballot(int(number), form.get("token", ""), relevance, reason, form.get("note", ""), looked)


def rest(call: Call) -> Response:
    """What is too long for the judging screen: one field of a pair, some thousand characters at a time."""
    shown = _seen(call)
    names = [showing.label(name) for name, _ in shown.fields]
    name, start = call.query.get("field", ""), call.query.get("from", "0")
    if name not in names or not (start.isascii() and start.isdecimal() and len(start) < 10):
        raise Missing
    text = shown.fields[names.index(name)][1]
    begin = int(start)
    part = showing.seen(text[begin : begin + showing.PAGE])
    following = begin + showing.PAGE if begin + showing.PAGE < len(text) else None
    values: dict[str, Any] = {"name": name, "part": part, "begin": begin, "following": following, "length": len(text)}
    return call.page("rest.html.j2", pair_id=shown.id, task=call.task, **values)


def image(call: Call) -> Response:
    """An image of the folder of images."""
    shown = _seen(call)
    folder = call.site.images
    found = None if folder is None else showing.image_file(shown.image.strip(), folder)
    if found is None:
        raise Missing
    return FileResponse(found[0], media_type=found[1], headers={"Cache-Control": "private, max-age=3600"})


def _seen(call: Call) -> telling.Shown:
    """The pair of the address, if this person was given it (an owner sees all). Raises: Missing."""
    number = call.number("pair")
    if call.who.role != Role.OWNER and not telling.may_see(call.registry, call.who, number):
        raise Missing
    shown = telling.pair_anywhere(call.registry, number)
    if shown is None:
        raise Missing
    return shown


PAGES = (
    Page("GET", "/judge/{task}", JUDGES, judge),
    Page("POST", "/judge/{task}", JUDGES, vote),
    Page("POST", "/judge/{task}/undo", JUDGES, undo),
    Page("GET", "/rest/{task}/{pair}", EVERYONE, rest),
    Page("GET", "/image/{pair}", EVERYONE, image),
)
