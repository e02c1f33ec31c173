"""`germane backup` and `germane restore`: a project in one file, and back, while people vote and days are watched.

The registry's snapshot is taken first, the files after it: files of germane are put in place whole and days only added, so
that each day of the snapshot finds its files.
"""

from __future__ import annotations

import getpass
import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from germane import settings
from germane.ops import urls
from germane.report.visible import visible
from germane.settings import Settings
from germane.store import archives
from germane.types import InputError
from germane.watching import kept
from germane.watching import plan as plans
from germane.watching.kept import REGISTRY

VARIABLE = "GERMANE_REGISTRY"
_SQLITE = b"SQLite format 3\0"


class Saved(NamedTuple):
    """What a backup holds. registry: how many rows of it; None where the project has none. left_out: what it does not hold."""

    file: str
    files: int
    megabytes: float
    registry: int | None
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


class Restored(NamedTuple):
    """What was restored. registry: where it lies, without a password; None where the backup has none."""

    project: str
    files: int
    registry: str | None
    notes: tuple[str, ...]


def backup(file: Path, project: Path | None = None, *, vectors: bool = False, replace: bool = False) -> Saved:
    """Writes one archive: settings, registry, and the files of the folders that the settings name.

    vectors: those too, which `encode` can make again. replace: an older file of that name. Secrets are not in it; the
    passwords' hashes of the registry are, so that only its owner may read it.

    Raises: InputError where there is no project, a registry that does not answer, a file that cannot be read or written.
    """
    found = _project(project)
    root = found.path.parent if found.path else Path()
    if file.is_dir() or (file.exists() and not replace):
        raise InputError(f"{file} is there already: name another file, or pass --replace to lose what is in it")
    registry = _registry(found, root)
    left: list[str] = []
    files = dict(kept.files(found, root, file, registry, left, vectors=vectors))
    left[:] = dict.fromkeys(visible(each) for each in left)
    archives.room(file.parent, sum(path.stat().st_size for path in files.values() if path.is_file()))
    said: dict[str, Any] = {"version": _version(), "project": root.resolve().name, "registry": None, "left_out": left}
    rows = None
    with archives.writing(file, said) as archive:
        if registry is not None:
            said["registry"], rows = REGISTRY, _snapshot(registry, file.name, archive)
        for name, path in files.items():
            if _is_sqlite(path):
                archive.put(name, _sqlite(path))
            elif path.is_file():
                archive.add(name, path)
        number, size = archives.described(archive.entries)
    notes = [f"{each} grew meanwhile: it is kept as long as it was" for each in archive.grew]
    return Saved(str(file), number, round(size / 1e6, 3), rows, tuple(left), tuple(notes))


def restore(file: Path, project: Path, *, replace: bool = False, registry: str | None = None) -> Restored:
    """Brings a project back into a folder that is new or empty; whole or not at all.

    replace: in place of what is in the folder, which is then kept beside it, and of what is in the registry. registry: a
    file of the project or postgresql://...; by default as the settings in the backup say.

    Raises: InputError for a file that is no whole backup or a hostile one, a folder or registry that holds something, and a
    disk that is too small.
    """
    target = project.resolve()
    if target.exists() and not target.is_dir():
        raise InputError(f"--project {project} is a file: expected the folder to restore into")
    if _holds_something(target) and not replace:
        raise InputError(
            f"--project {project} holds something: name another, or pass --replace; what is there is kept beside it"
        )
    _whole(file)
    if not target.parent.is_dir():
        raise InputError(f"--project {project}: the folder {target.parent} is not there: make it first")
    _sweep(target)
    private = target.with_name(f".{target.name[:80]}.{os.getpid()}-{os.urandom(4).hex()}.restoring")
    draft = private / "project"
    try:
        private.mkdir(mode=0o700)
        draft.mkdir()
        said = archives.unpack(file, draft)
        place, name = _place(draft, said, registry)
        if place is not None:
            from germane.registry import backups

            if "://" not in place:
                Path(place).touch(mode=0o600)  # passwords' hashes are in it
                os.chmod(place, 0o600)
            backups.restore(place, draft / REGISTRY, replace=replace, actor=_me())
        (draft / REGISTRY).unlink(missing_ok=True)
        notes = _elsewhere(draft, registry if place else None)
        notes = [*_moved(draft, target), *notes, *(f"not in the backup: {each}" for each in said.get("left_out", ()))]
    except InputError as problem:  # which is a ValueError; the draft is gone when it is read
        said_of = str(problem).replace(str(draft / REGISTRY), f"{file}/{REGISTRY}").replace(str(draft), str(target))
        raise InputError(visible(said_of)) from problem
    except (OSError, ValueError) as problem:
        raise InputError(f"cannot restore into {target}: {getattr(problem, 'strerror', None) or problem}") from problem
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return Restored(str(target), len(said["files"]), name, tuple(visible(each) for each in notes))


# --- what is kept ------------------------------------------------------------------------------------------------------


def _project(project: Path | None) -> Settings:
    if project is not None and not (project / settings.FILE).is_file():
        raise InputError(f"--project {project}: there is no {settings.FILE} in it")
    found = settings.load(project)
    if found.path is None:
        raise InputError("there is no germane.toml here: name the project's folder with --project")
    return found


def _registry(found: Settings, root: Path) -> str | None:
    """Where the project's registry lies: as `watch` says, else as `annotate` does; None where there is none."""
    place = plans.registry(found, root)
    if "://" in place or Path(place).is_file():
        return place
    return os.environ.get(VARIABLE)


def _snapshot(place: str, file: str, archive: archives.Archive) -> int:
    """The registry of one moment, put into the archive; the number of its rows."""
    from germane.extras import needs

    needs("web", "sqlalchemy", "alembic", by="the registry")
    from germane.registry import backups
    from germane.registry.database import open_registry

    opened = open_registry(place)
    try:
        data, found = backups.snapshot(opened)
        archive.put(REGISTRY, data)
        backups.written(opened, file, found, actor=_me())
    finally:
        opened.close()
    return sum(found.rows.values())


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _sqlite(path: Path) -> bytes:
    """A SQLite database of one moment, whoever writes to it."""
    try:
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as source, sqlite3.connect(":memory:") as copy:
            source.backup(copy)
            return copy.serialize()
    except sqlite3.Error as problem:
        raise InputError(f"cannot read the database {path}: {problem}") from problem
    finally:
        with suppress(NameError):
            source.close()
            copy.close()


# --- what is brought back ------------------------------------------------------------------------------------------------


def _whole(file: Path) -> None:
    """Raises: InputError for a file that is no whole backup, before anything is written."""
    said = archives.about(file)
    left, registry = said.get("left_out", []), said.get("registry")
    plain = isinstance(left, list) and all(isinstance(each, str) for each in left)
    if not plain or registry not in (None, REGISTRY) or (registry is None) != (REGISTRY not in said["files"]):
        raise InputError(f"{file} is no whole backup of a project: give a file that `germane backup` wrote")


def _place(draft: Path, said: dict[str, Any], asked: str | None) -> tuple[str | None, str | None]:
    """Where the registry goes, and how that is said.

    Raises: InputError where the backup's own settings name a place outside of the project.
    """
    if said.get("registry") is None:
        return None, None
    found = _settings(draft)
    if asked and "://" in asked:
        return asked, urls.place(asked)
    if not asked and (name := found.watch.registry_env):
        if not os.environ.get(name):
            raise InputError(
                f"the registry of this project is that of the variable {name}, which is not set: set it, or --registry"
            )
        return os.environ[name], urls.place(os.environ[name])
    name = asked or found.watch.registry
    place = draft / name
    if "://" in name or not place.resolve().is_relative_to(draft.resolve()):
        if asked:
            raise InputError(f"--registry {asked} lies outside of the project: name a file in it, or postgresql://...")
        raise InputError(
            f"the registry of this project is {urls.place(name)}, outside of it: say where it goes with --registry"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    return str(place), name


def _settings(folder: Path) -> Settings:
    path = folder / settings.FILE
    return settings.read(path) if path.is_file() else Settings(path=path)


def _elsewhere(draft: Path, asked: str | None) -> list[str]:
    """What the settings of a restored project say that is of another place: its registry, and absolute paths."""
    found, notes = _settings(draft), []
    said = found.watch
    holds = os.environ.get(said.registry_env) if said.registry_env else said.registry
    if asked and asked != holds:
        named = f"that of the variable {said.registry_env}" if said.registry_env else urls.place(said.registry)
        change = "name the variable that holds this URL as registry_env" if "://" in asked else f'write registry = "{asked}"'
        change += ", and remove registry_env" if said.registry_env and "://" not in asked else ""
        notes.append(f"{settings.FILE} still names another registry, {named}: under [watch], {change}")
    registry = [] if asked or said.registry_env or "://" in said.registry else [("watch.registry", draft / said.registry)]
    far = [f"{what} {path}" for what, path in (*kept.named(found, draft), *registry) if not path.is_relative_to(draft)]
    if far:
        notes.append(f"{settings.FILE} names absolute paths, which may be those of the original: {', '.join(far)}")
    return notes


def _moved(draft: Path, target: Path) -> list[str]:
    """The draft is the project now. What was there is kept beside it, and said."""
    notes = []
    if _holds_something(target):
        old = target.with_name(f"{target.name}.replaced-{os.urandom(4).hex()}")
        target.rename(old)
        notes.append(f"what was there lies in {old}")
    draft.rename(target)
    return notes


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _sweep(target: Path) -> None:
    """Remove what a killed `restore` into this folder left."""
    prefix = f".{target.name[:80]}."
    for each in target.parent.glob("*.restoring"):
        number = each.name.removeprefix(prefix).partition("-")[0]
        if each.name.startswith(prefix) and number.isdecimal() and not _alive(int(number)):
            shutil.rmtree(each, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _version() -> str:
    from germane import __version__

    return __version__


def _me() -> str:
    try:
        return f"command line ({getpass.getuser()})"
    except (OSError, KeyError):
        return "command line"
