"""The files of a project that a backup keeps, as its settings name them, and what it leaves out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from glob import escape, glob
from pathlib import Path, PurePosixPath

from germane import settings
from germane.settings import Settings
from germane.store import archives
from germane.watching import plan as plans

REGISTRY = "registry.germane.zip"
"""The registry's snapshot in the archive, which either database takes."""

WEB_SECRET = "web-secret"
"""The file that signs share links, as `web.boards.site.SECRET`."""


def files(
    found: Settings, root: Path, file: Path, registry: str | None, left: list[str], *, vectors: bool
) -> Iterator[tuple[str, Path]]:
    """Name in the archive -> file, of all that the settings name; `left` says what is not among them."""
    here = root.resolve()
    seen: set[str] = set()
    beside = Path(registry).resolve().parent if registry and "://" not in registry else here
    secrets = {here / WEB_SECRET, beside / WEB_SECRET, *([] if found.keys_file is None else [found.keys_file.resolve()])}
    never = {file.resolve(), *secrets}
    never |= {Path(f"{registry}{end}").resolve() for end in ("", "-wal", "-shm", "-journal")} if registry else set()
    for what, path in named(found, root):
        if what == "folders.vectors" and not vectors:
            left += ["vectors: `germane encode` makes them again; --vectors keeps them"] if path.is_dir() else []
            continue
        for each in (each for one in _matching(what, path) for each in _walked(one, left)):
            name = settings.FILE if what == settings.FILE else _inside(each, root)
            if name is None:
                left.append(f"{what}: {path} lies outside of the project")
                break
            if name in seen or each.resolve() in never or _passing(each):
                continue
            seen.add(name)
            if why := _unkept(name):
                left.append(f"{name}: {why}")
                continue
            yield name, each
    left += [f"{path.name}: a secret; keep it elsewhere" for path in sorted(secrets) if path.is_file()]
    log, metrics = found.watch.log, found.watch.metrics
    left += [f"watch.log: {log}"] if log else []
    left += [f"watch.metrics: {metrics}: the next run writes it"] if metrics and metrics not in seen else []


def named(found: Settings, root: Path) -> Iterator[tuple[str, Path]]:
    """Every path that the settings name, and which setting does."""
    said = found.watch
    yield settings.FILE, root / settings.FILE
    if found.scale and found.scale.endswith(".toml"):
        yield "scale", Path(found.scale)
    for kind, name in vars(found.folders).items():
        yield f"folders.{kind}", root / name
    judge = "" if said.judge == plans.FAKE or said.judge.startswith("llm:") else said.judge
    for what, name in (
        ("watch.folder", said.folder),
        ("watch.labels", said.labels),
        ("watch.anchors", said.anchors),
        ("watch.docs", said.docs),
        ("watch.pairs", said.pairs),
        ("llm.prices", found.llm.prices),
        ("watch.judge", judge),
        ("sinks.file", found.sinks.file),
        ("opensearch.template", found.opensearch.template),
    ):
        if name:
            yield what, root / name


def _matching(what: str, path: Path) -> list[Path]:
    """The files and folders that a setting names; of each day, where it names those."""
    text = str(path).replace(plans.DATE, "*")
    if what not in ("watch.docs", "watch.pairs") or "*" not in text:
        return [path] if path.exists() else []
    return [Path(each) for each in sorted(glob("*".join(escape(part) for part in text.split("*")), recursive=True))]


def _inside(path: Path, root: Path) -> str | None:
    """A file's name in the archive: that by which the settings find it, links and all; None outside of the project."""
    real, here = path.resolve(), root.resolve()
    if not real.is_relative_to(here):
        return None
    plain = Path(os.path.abspath(path))
    for base in (Path(os.path.abspath(root)), here):
        if plain.is_relative_to(base):
            return plain.relative_to(base).as_posix()
    return real.relative_to(here).as_posix()


def _walked(path: Path, left: list[str]) -> Iterator[Path]:
    """The files of a folder, in order of name; links that leave it are not followed."""
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        left += [f"{Path(folder) / name}: a link is not followed" for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted(names):
            each = Path(folder) / name
            if each.is_symlink():
                left.append(f"{each}: a link is not followed")
            elif each.is_file():
                yield each
            else:
                left.append(f"{each}: no plain file")


def _unkept(name: str) -> str:
    """Why an archive cannot hold a file of this name; "" if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it to keep it"
    if PurePosixPath(name).name == ".env":
        return "a secret; keep it elsewhere"
    if name.partition("/")[0] in (archives.LIST, REGISTRY):
        return "the archive has a part of this name itself; rename it to keep it"
    return "" if archives.safe(name) else "`restore` takes no such name; rename it to keep it"


def _passing(path: Path) -> bool:
    """Whether a file is one that is being written, or a part of a database that is kept by itself."""
    if path.name.startswith(".") and path.name.endswith(".tmp"):
        return True
    base, dash, end = path.name.rpartition("-")
    return bool(dash) and end in ("wal", "shm", "journal") and path.with_name(base).is_file()
