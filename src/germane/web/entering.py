"""Logging in and out, and the first page: what there is to do."""

from __future__ import annotations

import secrets

from starlette.responses import Response

from germane.registry import accounts, adjudicating, tasks, telling
from germane.web.access import (
    DECIDES,
    EVERYONE,
    JUDGES,
    LOGIN_COOKIE,
    NOBODY,
    OWNS,
    Call,
    Page,
    cookie_name,
    with_cookie,
)
from germane.web.pages import away

WRONG = "The name or the password is not right."
LOST = "You are logged out. What you sent last was not counted: log in, and give it again."


def login(call: Call) -> Response:
    """The form to log in."""
    return away("/") if call.session is not None else _form(call, said=LOST if "lost" in call.query else "")


def enter(call: Call) -> Response:
    """Log in: a new session each time, whatever cookie came along."""
    name, password = call.form.get("name", ""), call.form.get("password", "")
    try:
        cookie = accounts.log_in(call.registry, name, password, address=call.address)
    except accounts.TooOften as problem:
        return _form(call, status=429, said=f"{str(problem).capitalize()}.", headers={"Retry-After": str(problem.seconds)})
    if cookie is None:
        return _form(call, status=401, said=WRONG)
    response = with_cookie(away("/"), cookie_name(call.site), cookie, call.site, seconds=int(accounts.LONGEST.total_seconds()))
    return with_cookie(response, LOGIN_COOKIE, "", call.site, seconds=0)


def leave(call: Call) -> Response:
    """Log out."""
    assert call.session is not None
    accounts.log_out(call.registry, call.session)
    return with_cookie(away("/login"), cookie_name(call.site), "", call.site, seconds=0)


def home(call: Call) -> Response:
    """What there is to do: the tasks, and where each stands for this person."""
    role, rows = call.who.role, []
    for task in tasks.listed(call.registry):
        pace = telling.pace(call.registry, task, call.who) if role in JUDGES else None
        waiting = len(adjudicating.queue(call.registry, task, call.who)) if role in DECIDES else 0
        rows.append((task, pace, waiting))
    if len(rows) == 1 and role not in DECIDES:
        return away(f"/judge/{rows[0][0].id}")
    return call.page("home.html.j2", rows=rows, judges=role in JUDGES, decides=role in DECIDES, owns=role in OWNS)


def _form(call: Call, *, status: int = 200, said: str = "", headers: dict[str, str] | None = None) -> Response:
    token = call.cookies.get(LOGIN_COOKIE) or secrets.token_urlsafe(24)
    response = call.page(
        "login.html.j2", status=status, said=said, token=token, name=call.form.get("name", "")[:64], headers=headers
    )
    return with_cookie(response, LOGIN_COOKIE, token, call.site, seconds=3600)


PAGES = (
    Page("GET", "/login", NOBODY, login),
    Page("POST", "/login", NOBODY, enter, hashes=True),
    Page("POST", "/logout", EVERYONE, leave),
    Page("GET", "/", EVERYONE, home),
)
