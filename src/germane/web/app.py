"""The application: every page of the table, behind one gate that checks host and size and sets the headers."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from germane.web import deciding, entering, judging, owning
from germane.web.access import NOBODY, Call, Page, Site, endpoint
from germane.web.pages import HEADERS, STATIC, policy, static

LARGEST = 65_536  # bytes of a form
ACCESS = logging.getLogger("germane.access")


def _static(name: str) -> Page:
    return Page("GET", f"/static/{name}", NOBODY, lambda call: static(name))


def _alive(call: Call) -> Response:
    with call.registry.reading():
        return PlainTextResponse("ok")


COMMON: tuple[Page, ...] = (
    *(_static(name) for name in STATIC),
    Page("GET", "/alive", NOBODY, _alive),
    Page("GET", "/favicon.ico", NOBODY, lambda call: Response(status_code=204)),
)
"""Pages of every application."""

PAGES: tuple[Page, ...] = (*entering.PAGES, *judging.PAGES, *deciding.PAGES, *owning.PAGES, *COMMON)
"""Pages of the annotation application."""


def create_app(site: Site, pages: Iterable[Page] = PAGES) -> Any:
    """The application that a server runs: these pages, and nothing else."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.site = site
    for entry in pages:
        app.add_route(entry.path, endpoint(entry, site), methods=[entry.method])
    app.add_middleware(Gate, site=site)
    return app


class Gate:
    """Before any page: a host that is ours, a form that is not too large. After it: the headers of every answer."""

    def __init__(self, app: Any, site: Site) -> None:
        self.app, self.site = app, site

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        started, seen, began = False, 0, time.perf_counter()
        scope.setdefault("state", {})
        told = {"status": 0, "out": 0}

        async def sent(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started, told["status"] = True, message["status"]
                extra = [(k.lower().encode(), v.encode()) for k, v in self._headers(message["headers"]).items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            told["out"] += len(message.get("body", b""))
            await send(message)

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > LARGEST:
                raise _TooLarge
            return message

        said = headers.get("content-length", "0")
        try:
            if not known_host(headers.get("host", ""), self.site):
                await PlainTextResponse("unknown host", 421)(scope, receive, sent)
            elif not said.isdecimal() or int(said) > LARGEST:
                await PlainTextResponse("too large", 413)(scope, receive, sent)
            else:
                await self.app(scope, counted, sent)
        except _TooLarge:
            if not started:
                await PlainTextResponse("too large", 413)(scope, receive, sent)
        except Exception:
            told["status"] = told["status"] if started else 500  # which the server answers, outside of this
            raise
        finally:
            self._tell(scope, time.perf_counter() - began, **told)

    def _tell(self, scope: Any, took: float, *, status: int, out: int) -> None:
        """One more request, counted, and told by its page: no parameters, and no link's token."""
        route = scope["state"].get("page", "other")
        if self.site.counted is not None:
            self.site.counted.count(route, status, took)
        if ACCESS.isEnabledFor(logging.INFO):
            line = {"method": scope["method"], "route": route, "path": scope["path"], "status": status}
            line |= {"ms": round(1000 * took, 2), "out": out}
            ACCESS.info("%s %s %d", scope["method"], route, status, extra={"event": "request", **line})

    def _headers(self, present: Any) -> dict[str, str]:
        names = {name.decode().lower() for name, _ in present}
        added = dict(HEADERS)
        if "content-security-policy" not in names:
            added["Content-Security-Policy"] = policy()
        if self.site.secure:
            added["Strict-Transport-Security"] = "max-age=31536000"
        return {name: value for name, value in added.items() if name.lower() not in names}


class _TooLarge(Exception):
    """More bytes than a form has."""


def known_host(host: str, site: Site) -> bool:
    """True for the public address, localhost and plain addresses: a name that somebody else points here is none of them."""
    if site.public_url and host == urlsplit(site.public_url).netloc:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", "testserver"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
