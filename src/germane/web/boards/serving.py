"""`germane web`: a project's dashboards, made ready to be served."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, NamedTuple

from germane import settings
from germane.extras import needs
from germane.ops.keys import Keys, keys_of
from germane.ops.metrics import Requests
from germane.types import InputError
from germane.watching import calendar, plan


class Ready(NamedTuple):
    """What is served. days: done in the history; accounts: that may log in."""

    project: str
    registry: str
    days: int
    last: str
    accounts: int
    notes: tuple[str, ...]


def prepare(project: Path | None = None, *, host: str = "127.0.0.1", public_url: str = "") -> tuple[Ready, Any]:
    """What is served, and the application. project: a folder with germane.toml; by default this one.

    Raises: InputError for a project that is none, one without a history, a public address that is none, and a host that others
    reach where the registry has no accounts.
    """
    wanted = ("fastapi", "uvicorn", "sqlalchemy", "argon2", "python_multipart", "markdown_it", "prometheus_client")
    needs("web", *wanted, by="germane web")
    from germane.registry import accounts, looking
    from germane.registry.database import open_registry
    from germane.web.app import create_app
    from germane.web.boards import pages, scraped, site
    from germane.web.showing import remote_origin

    if public_url and not remote_origin(public_url):
        raise InputError(f"--public-url {public_url}: expected an address as https://search.example.org")
    found = _settings(project)
    assert found.path is not None
    root = found.path.parent
    where, zone = plan.registry(found, root), calendar.zone(found.watch.zone, what="watch.zone")
    if "://" not in where and not Path(where).is_file():
        raise InputError(f"{root.resolve()} has no history yet ({Path(where).name}): do the first day with `germane watch run`")
    registry = open_registry(where)
    try:
        every, span = accounts.listed(registry), looking.span(registry)
        people = [account for account in every if not account.disabled]
        guest = None if every else site.guest()  # where all are disabled nobody enters
        if guest is not None and not _here(host):
            raise InputError(
                f"--host {host}: the registry has no accounts, and others would reach the dashboards: add an owner with "
                "`germane account add NAME --role owner`, or serve on 127.0.0.1"
            )
        if guest is not None and public_url:
            raise InputError(
                f"--public-url {public_url}: the registry has no accounts: add an owner with `germane account add`"
            )
        board = site.Board(
            registry,
            public_url=public_url.rstrip("/"),
            guest=guest,
            project=root,
            secret=site.secret(registry, root),
            zone=zone,
            counted=Requests(),
            keys=Keys(keys_of(None, scraped.VARIABLE)),
        )
    except InputError:
        registry.close()
        raise
    alone = "no accounts: whoever is on this machine may read and resolve; served on 127.0.0.1 only"
    closed = "every account is disabled, so that nobody can log in: add an owner with `germane account add NAME --role owner`"
    notes: tuple[str, ...] = () if people else (closed if every else alone,)
    notes += () if span else ("no day is in the history yet: `germane watch run` does the first",)
    facts = Ready(str(root), registry.name, span.done if span else 0, span.last if span else "", len(people), notes)
    return facts, create_app(board, pages.PAGES)


def _settings(project: Path | None) -> settings.Settings:
    if project is not None and not (project / settings.FILE).is_file():
        raise InputError(f"--project {project}: there is no {settings.FILE} in it")
    found = settings.load(project)
    if found.path is None:
        raise InputError("there is no germane.toml here: name a project with --project, or make one with `germane init`")
    return found


def _here(host: str) -> bool:
    """True for an address that only this machine reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
