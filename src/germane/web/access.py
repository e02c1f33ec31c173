"""Who may call what: every page stands in a table with the roles that it is for; whatever is not in the table is not there.

A call that changes something is a form with the session's own token (CSRF), from our own origin. Sessions are cookies that no
script reads and no other site sends.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from germane.ops.metrics import Requests
from germane.registry import accounts, tasks
from germane.registry.accounts import Account, Role, Session
from germane.registry.assigning import NotYours
from germane.registry.database import Registry
from germane.registry.tasks import Task
from germane.types import InputError
from germane.web.pages import away, page

JUDGES = frozenset({Role.RATER, Role.ADJUDICATOR})
DECIDES = frozenset({Role.ADJUDICATOR, Role.OWNER})
OWNS = frozenset({Role.OWNER})
EVERYONE = frozenset(Role)
NOBODY: frozenset[Role] = frozenset()  # needed to be: a page for those who are not logged in
LOGIN_COOKIE = "germane-login"


@dataclass(frozen=True)
class Site:
    """What the pages are served with. images: a folder. public_url: how browsers reach it, where that is not this address.

    frame: the template around pages. guest: who calls as long as the registry has no account; None: nobody does.
    counted: where requests are counted, if they are.
    """

    registry: Registry
    images: Path | None = None
    public_url: str = ""
    frame: str = "page.html.j2"
    guest: Session | None = None
    counted: Requests | None = None
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(8))  # more of them only wait for each other
    slow: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    files: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))

    @property
    def secure(self) -> bool:
        return self.public_url.startswith("https://")


@dataclass(frozen=True)
class Call:
    """One request: who asks (None before login), for what, and the form that came with it.

    machine: a program asks, and is answered in JSON. base: what stands before every address of a shared page. origin: the
    address that was asked, as https://golden.example.org. headers: of the request, their names in small letters.
    """

    site: Site
    session: Session | None
    form: Mapping[str, str]
    path: Mapping[str, str]
    query: Mapping[str, str]
    cookies: Mapping[str, str]
    address: str
    machine: bool = False
    base: str = ""
    origin: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        return self.site.registry

    @property
    def who(self) -> Account:
        assert self.session is not None
        return self.session.account

    @property
    def task(self) -> Task:
        """The task that the address names. Raises: Missing."""
        number = self.number("task")
        for task in tasks.listed(self.registry):
            if task.id == number:
                return task
        raise Missing

    def number(self, name: str) -> int:
        """A number of the address. Raises: Missing for what is none."""
        text = self.path.get(name, "")
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise Missing
        return int(text)

    def page(self, template: str, **values: Any) -> Response:
        """A page with what every page needs."""
        return page(template, session=self.session, frame=self.site.frame, base=self.base, **values)


class Missing(Exception):
    """There is no such page."""


class Page(NamedTuple):
    """An entry of the table of pages. roles: who may call it; NOBODY for those that need no login. hashes: passwords,
    which takes long: such calls wait for each other, and no vote waits for them. machine: of the API, answered in JSON.
    files: large files are read, by few calls at once."""

    method: str
    path: str
    roles: frozenset[Role]
    handle: Callable[[Call], Response]
    hashes: bool = False
    machine: bool = False
    files: bool = False


def endpoint(entry: Page, site: Site) -> Callable[[Request], Any]:
    """What the server calls for a page: reads the form, then decides and answers in one thread of its own."""

    limiter = site.slow if entry.hashes else site.files if entry.files else site.threads

    async def answer(request: Request) -> Response:
        request.state.page = entry.path
        form: dict[str, str] = {}
        if entry.method == "POST":
            async with request.form(max_files=0, max_fields=50) as sent:
                form = {name: value for name, value in sent.items() if isinstance(value, str)}
        return await to_thread.run_sync(_answer, entry, site, request, form, limiter=limiter)

    return answer


def _answer(entry: Page, site: Site, request: Request, form: Mapping[str, str]) -> Response:
    cookie = request.cookies.get(cookie_name(site))
    session = accounts.session_of(site.registry, cookie) if cookie else None
    if session is None and site.guest is not None and not accounts.listed(site.registry):
        session = site.guest
    address = request.client.host if request.client else ""
    call = Call(site, session, form, dict(request.path_params), dict(request.query_params), request.cookies, address)
    call = replace(call, machine=entry.machine, headers=request.headers)
    call = replace(call, origin=f"{request.url.scheme}://{request.url.netloc}")
    if entry.roles:
        if session is None and entry.machine:
            return refused(call, 401, "Log in, or ask by a share link.")
        if session is None:
            return away("/login" if entry.method == "GET" else "/login?lost=1")
        if session.account.role not in entry.roles:
            return refused(call, 403, "This page is not for your role.")
    if entry.method == "POST":
        wanted = session.csrf if session is not None else request.cookies.get(LOGIN_COOKIE, "")
        given = form.get("csrf", "")
        if not wanted or not secrets.compare_digest(wanted.encode(), given.encode()) or not _own_origin(request, site):
            return refused(
                call, 403, "The form was not sent from this site's own page, or the page was too old. Load it again."
            )
    try:
        return entry.handle(call)
    except Missing:
        return refused(call, 404, "There is no such page.")
    except NotYours as problem:
        return refused(call, 409, str(problem))
    except InputError as problem:
        return refused(call, 422, str(problem))


def refused(call: Call, status: int, why: str, **more: Any) -> Response:
    """A page that says why not; JSON for a program."""
    if call.machine:
        return JSONResponse({"error": why}, status, {"Cache-Control": "no-store"})
    return call.page("refused.html.j2", status=status, why=why, **more)


def cookie_name(site: Site) -> str:
    """The session's cookie; over https one that no subdomain can set."""
    return "__Host-germane" if site.secure else "germane"


def with_cookie(response: Response, name: str, value: str, site: Site, *, seconds: int) -> Response:
    """The response, with a cookie that no script reads and no other site sends; 0 seconds take it away."""
    options: dict[str, Any] = {"path": "/", "httponly": True, "samesite": "strict", "secure": site.secure}
    response.set_cookie(name, value, max_age=seconds, **options)
    return response


def _own_origin(request: Request, site: Site) -> bool:
    """False where the browser says that another site sent the form."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    own = {request.headers.get("host", ""), urlsplit(site.public_url).netloc}
    return urlsplit(origin).netloc in own - {""}
