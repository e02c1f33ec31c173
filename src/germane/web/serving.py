"""The screens, served: one process or some, one line that says where."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane.extras import needs
from germane.ops import logs
from germane.registry import accounts
from germane.registry.accounts import Role
from germane.types import InputError
from germane.web import processes

if TYPE_CHECKING:
    import socket

    from germane.registry.database import Registry

DEMO = {"ana": Role.RATER, "ben": Role.RATER, "cem": Role.ADJUDICATOR, "olga": Role.OWNER}
DEMO_PAIRS = 60


class Login(NamedTuple):
    """Who may log in to the demo."""

    name: str
    role: str
    password: str


def serve(screens: Any, *, host: str, port: int, tell: Callable[[str], None], workers: int = 1) -> None:
    """Serve an application until the process is told to stop; `tell` is told the address once it answers there.

    workers: processes that answer, one a core at most is of use. Raises: InputError for an address that cannot be served, and
    for several processes on a system that has no fork.
    """
    import socket

    from germane.web import pages

    if workers > 1 and not hasattr(os, "fork"):
        raise InputError(f"--workers {workers}: this system serves by one process")
    try:
        sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512)
    except OSError as problem:
        raise InputError(
            f"cannot serve on {host}:{port}: {problem.strerror or problem}; choose another --host or --port"
        ) from problem
    shown = f"[{host}]" if ":" in host else host
    said = f"http://{shown}:{sock.getsockname()[1]}/"
    pages.compiled()
    gc.collect()
    gc.freeze()  # what was loaded stays: to look through all of it again stops every page for a tenth of a second
    if workers > 1:
        screens.state.site.registry.close()  # no connection is shared by two processes: each opens its own
        processes.keep(lambda: answering(screens, sock), workers, ready=lambda: tell(said))
    else:
        tell(said)
        answering(screens, sock)


def answering(screens: Any, sock: socket.socket) -> None:
    """Answers on a socket until this process is told to stop."""
    import uvicorn

    options: dict[str, Any] = {"log_level": "warning", "server_header": False, "date_header": False}
    if logs.as_json():  # which is the log of all, this server's too
        options |= {"log_config": None, "log_level": None, "access_log": False}
    config = uvicorn.Config(screens, h11_max_incomplete_event_size=65_536, **options)
    uvicorn.Server(config).run(sockets=[sock])


def application(registry: Registry, *, images: Path | None = None, public_url: str = "") -> Any:
    """The screens, to be served.

    Raises: InputError for a folder of images that is not there, and a public address that is none.
    """
    needs("web", "fastapi", "uvicorn", "argon2", "python_multipart", "markdown_it", by="germane annotate")
    from germane.web.access import Site
    from germane.web.app import create_app
    from germane.web.showing import remote_origin

    if images is not None and not images.is_dir():
        raise InputError(f"--images {images}: expected a folder that is there")
    if public_url and not remote_origin(public_url):
        raise InputError(f"--public-url {public_url}: expected an address as https://golden.example.org")
    return create_app(Site(registry, images, public_url.rstrip("/")))


def template(search_url: str) -> str:
    """The template of links to search, checked. Raises: InputError."""
    from germane.web.showing import search_template

    return search_template(search_url)


def demo_logins(registry: Registry) -> list[Login]:
    """Two raters, an adjudicator and an owner, each with a new password, which is said this once."""
    there = {account.name for account in accounts.listed(registry)}
    made = []
    for name, role in DEMO.items():
        password = secrets.token_urlsafe(9)
        if name in there:
            accounts.set_password(registry, name, password, actor="demo")
        else:
            accounts.add(registry, name, role, password, actor="demo")
        made.append(Login(name, role, password))
    return made


def demo_files(out: Path, *, seed: int = 1) -> Path:
    """Pairs of the demo's marketplace; made if they are not there, in a few seconds.

    A random part of the pairs, as the demo's people judge.
    """
    from random import Random

    from germane import store
    from germane.pipeline.demo import pooled
    from germane.simulate import Marketplace

    to_judge = out / "to-judge.parquet"
    if not to_judge.exists() or store.read_manifest(to_judge) is None:
        if not (out / "pairs.parquet").exists():
            pooled(Marketplace(), out, seed=seed)
        table = store.read_table(out / "pairs.parquet", "pairs")
        rows = Random(seed).sample(range(table.num_rows), min(DEMO_PAIRS, table.num_rows))
        parameters = {"pairs": DEMO_PAIRS}
        store.write_table(
            table.take(rows),
            to_judge,
            "pairs",
            verb="annotate",
            inputs=[out / "pairs.parquet"],
            parameters=parameters,
            seed=seed,
        )
    return to_judge
