"""What an owner sees and does: progress, quality, accounts, the log, and the votes as files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from starlette.responses import Response

from germane.registry import accounts, tasks, telling
from germane.registry.accounts import LEAST, Role
from germane.registry.database import record
from germane.types import InputError
from germane.web.access import OWNS, Call, Missing, Page
from germane.web.pages import away

SAID = {"added": "The account is there.", "password": "The password is set.", "changed": "Done."}


def overview(call: Call) -> Response:
    """How far each task is."""
    rows = [(task, telling.progress(call.registry, task)) for task in tasks.listed(call.registry)]
    return call.page("owner.html.j2", rows=rows)


def quality(call: Call) -> Response:
    """How well a task is judged: agreement, raters, hidden controls, pace, and a second opinion."""
    from germane.web.quality import found

    task = call.task
    values: dict[str, Any] = {"task": task, "progress": telling.progress(call.registry, task)}
    values |= {"raters": telling.raters(call.registry, task), "guides": tasks.versions(call.registry, task)}
    return call.page("quality.html.j2", found=found(call.registry, task), **values)


def people(call: Call) -> Response:
    """The accounts."""
    return _people(call)


def add(call: Call) -> Response:
    """A new account."""
    form = call.form
    try:
        name, role = form.get("name", ""), form.get("role", "")
        accounts.add(call.registry, name, role, form.get("password", ""), actor=call.who.name)
    except InputError as problem:
        return _people(call, status=422, said=str(problem))
    return away("/owner/accounts?said=added")


def change(call: Call) -> Response:
    """Disable, enable, or a new password."""
    name, what = call.form.get("name", ""), call.form.get("what", "")
    try:
        if what == "password":
            accounts.set_password(call.registry, name, call.form.get("password", ""), actor=call.who.name)
        elif what in ("disable", "enable"):
            accounts.disable(call.registry, name, actor=call.who.name, disabled=what == "disable")
        else:
            raise InputError("the form says neither password nor disable nor enable")
    except InputError as problem:
        return _people(call, status=422, said=str(problem))
    return away(f"/owner/accounts?said={'password' if what == 'password' else 'changed'}")


def journal(call: Call) -> Response:
    """Who did what, newest first."""
    before = call.query.get("before", "")
    start = int(before) if before.isascii() and before.isdecimal() and len(before) < 10 else None
    rows = telling.entries(call.registry, before=start)
    return call.page("log.html.j2", rows=rows, following=rows[-1].id if len(rows) == 100 else None)


def votes(call: Call) -> Response:
    """The votes of a task as a table, as `germane votes` writes them."""
    from germane.pipeline.votes import FILES, write_votes

    task, which = call.task, call.path.get("which", "")
    if which not in FILES:
        raise Missing
    with tempfile.TemporaryDirectory() as folder:
        written = write_votes(call.registry, task, Path(folder) / "votes.parquet")
        data = Path(getattr(written, which)).read_bytes()
    with call.registry.writing() as connection:
        record(connection, call.registry.clock(), call.who.name, "votes exported", task.name, {"file": which})
    headers = {"Content-Disposition": f'attachment; filename="{which}.parquet"', "Cache-Control": "no-store"}
    return Response(data, media_type="application/vnd.apache.parquet", headers=headers)


def _people(call: Call, *, status: int = 200, said: str = "") -> Response:
    said = said or SAID.get(call.query.get("said", ""), "")
    rows = accounts.listed(call.registry)
    return call.page("accounts.html.j2", status=status, rows=rows, roles=list(Role), least=LEAST, said=said)


PAGES = (
    Page("GET", "/owner", OWNS, overview),
    Page("GET", "/owner/accounts", OWNS, people),
    Page("POST", "/owner/accounts", OWNS, add, hashes=True),
    Page("POST", "/owner/accounts/change", OWNS, change, hashes=True),
    Page("GET", "/owner/log", OWNS, journal),
    Page("GET", "/owner/quality/{task}", OWNS, quality),
    Page("GET", "/owner/votes/{task}/{which}", OWNS, votes),
)
