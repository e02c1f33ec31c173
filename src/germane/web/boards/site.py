"""What the dashboards are served with: the project, its registry, who may come in, and the secret that signs share links."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from germane.ops.keys import Keys
from germane.registry.accounts import Account, Role, Session
from germane.registry.database import Registry
from germane.types import InputError
from germane.web.access import Site
from germane.web.boards.keeping import Keep

SECRET = "web-secret"
LEAST = 32  # bytes


@dataclass(frozen=True)
class Board(Site):
    """A project's dashboards. project: its folder. secret: of share links. zone: of the days. keep: answers that were made.

    keys: of programs that read the metrics.
    """

    frame: str = "board.html.j2"
    project: Path = Path()
    secret: bytes = field(default=b"", repr=False)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    keep: Keep = field(default_factory=Keep, compare=False)
    keys: Keys = field(default_factory=Keys, repr=False)


def guest() -> Session:
    """Who calls while the registry has no account: somebody on this machine, who may do what an owner may."""
    nobody = Account(0, "somebody on this machine", Role.OWNER, False, datetime.now(UTC))
    return Session(0, nobody, secrets.token_urlsafe(24))


def secret(registry: Registry, project: Path) -> bytes:
    """The secret beside the registry's file, or in the project where the registry is a server; made if it is not there.

    Whoever takes the file away ends every share link. Raises: InputError for a file that cannot be read, made or is too short.
    """
    folder = Path(registry.engine.url.database or "").resolve().parent if registry.is_sqlite else project
    path = folder / SECRET
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as problem:
        raise InputError(f"{path}, the secret of share links, cannot be made: {problem.strerror or problem}") from problem
    else:
        with os.fdopen(made, "wb") as file:
            file.write(secrets.token_hex(LEAST).encode() + b"\n")
    try:
        found = path.read_bytes().strip()
    except OSError as problem:
        raise InputError(f"{path}, the secret of share links, cannot be read: {problem.strerror or problem}") from problem
    if len(found) < LEAST:
        raise InputError(f"{path}, the secret of share links, has {len(found)} bytes: take it away, and it is made anew")
    return found
