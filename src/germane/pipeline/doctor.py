"""`germane doctor`: is this machine ready, and what to do where it is not."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from germane import __version__, settings
from germane.labelling.checkup import ABSENT, BROKEN, OK, Finding, checkup
from germane.types import InputError


def doctor(folder: Path) -> tuple[Finding, ...]:
    """What this machine has, lacks, and needs: Python, packages, extras, data, models, disk, processors, settings; and, of a
    project that is watched, what `watch` needs.
    """
    return (
        _python(sys.version_info[:3]),
        *_packages(),
        _named_folder("GERMANE_DATA", "real data sets for the examples and tests (docs/data.md)"),
        _named_folder("GERMANE_MODELS", "model weights that are not to be downloaded"),
        _disk(folder),
        Finding("processors", OK, f"{os.cpu_count()} of {sys.platform}"),
        _settings(folder),
        *_watching(folder),
    )


def doctor_of(
    judge: str,
    scale: str | Path,
    *,
    url: str | None = None,
    key_env: str | None = None,
    structured: str | None = None,
    timeout: float = 120.0,
) -> tuple[Finding, ...]:
    """What a language model can do, found with a few small calls: it costs next to nothing, and needs the key.

    Raises: InputError for a name that is no model's, and for a missing key or package.
    """
    from germane import scales
    from germane.judges.providers import Endpoint, Model, installed

    model = Model.named(judge, **({"structured": structured} if structured else {}))
    if model.provider == "sample":
        raise InputError("a recorded sample needs no doctor: it is a file")
    endpoint = Endpoint(url, key_env)
    installed(model)
    endpoint.key(model)
    return tuple(Finding(*found) for found in checkup(model, endpoint, scales.get(scale), timeout=timeout))


def healthy(findings: tuple[Finding, ...]) -> bool:
    """True if nothing that germane needs is broken."""
    return all(finding.state != BROKEN for finding in findings)


def _python(version: tuple[int, int, int]) -> Finding:
    found = ".".join(map(str, version))
    if (3, 11) <= version[:2] < (3, 14):
        return Finding("Python", OK, f"{found}, germane {__version__}")
    return Finding("Python", BROKEN, found, "germane needs Python 3.11, 3.12 or 3.13: make the environment with one of them")


def _packages() -> Iterator[Finding]:
    """One finding for the core, and one for each extra."""
    wanted: dict[str, list[tuple[str, str]]] = {}
    for line in metadata.requires("germane") or []:
        requirement, _, marker = line.partition(";")
        name, bounds = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(.*?)\s*$", requirement)[0]
        extra = "".join(re.findall(r"extra\s*==\s*['\"]([^'\"]+)", marker))
        wanted.setdefault(extra, []).append((name, bounds))
    for extra, requirements in wanted.items():
        faults = [fault for name, bounds in requirements if (fault := _fault(name, bounds, imported=not extra))]
        found = (
            ", ".join(faults[:3]) + (f" and {len(faults) - 3} more" if len(faults) > 3 else "") or f"{len(requirements)} found"
        )
        if not extra:
            advice = "pip install --upgrade --force-reinstall germane" if faults else ""
            yield Finding("core packages", BROKEN if faults else OK, found, advice)
        else:
            advice = f"pip install 'germane[{extra}]'" if faults else ""
            yield Finding(f"extra {extra}", ABSENT if faults else OK, found, advice)


def _fault(name: str, bounds: str, *, imported: bool) -> str:
    """What is wrong with an installed package, or ''. Needed ones are imported, since that is where a broken one shows."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"no {name}"
    for operator, limit in re.findall(r"(>=|<)\s*([0-9.]+)", bounds):
        below = _numbers(version) < _numbers(limit)
        if (operator == ">=" and below) or (operator == "<" and not below):
            return f"{name} is {version}, needed is {bounds}"
    if imported:
        try:
            importlib.import_module(_module(name))
        except Exception as problem:
            return f"{name} {version} does not load ({problem})"
    return ""


def _module(package: str) -> str:
    """The name that a package is imported under: its own, or the shortest that it installs ("ibis-framework": ibis)."""
    own = package.lower().replace("-", "_")
    installed = sorted((name for name, owners in _owners().items() if package in owners), key=len)
    return own if own in installed or not installed else installed[0]


@cache
def _owners() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _named_folder(variable: str, purpose: str) -> Finding:
    value = os.environ.get(variable)
    if not value:
        return Finding(variable, ABSENT, "not set", f"set it to a folder to use {purpose}")
    if not Path(value).is_dir():
        return Finding(variable, BROKEN, f"{value} is not a folder", f"set it to a folder, or unset it: it names {purpose}")
    return Finding(variable, OK, f"{value} ({sum(path.is_dir() for path in Path(value).iterdir())} folders)")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    if free < 1:
        return Finding(
            "disk", BROKEN, f"{free:.1f} GB free here", "germane needs about 1 GB: free some, or work on another disk"
        )
    return Finding("disk", OK, f"{free:.0f} GB free here")


def _settings(folder: Path) -> Finding:
    try:
        found = settings.load(folder)
    except InputError as problem:
        return Finding(settings.FILE, BROKEN, str(problem), "mend that line, or remove it")
    if found.path is None:
        return Finding(settings.FILE, ABSENT, "none here or above", "`germane init` writes one")
    return Finding(settings.FILE, OK, str(found.path))


def _watching(folder: Path) -> Iterator[Finding]:
    """What `watch` needs, where [watch] names a log."""
    try:
        found = settings.load(folder)
    except InputError:
        return
    if found.path is None or not found.watch.log:
        return
    from germane.extras import needs

    try:
        needs("web", "sqlalchemy", "alembic", by="germane watch")
    except InputError as problem:
        yield Finding("watch", BROKEN, str(problem), "pip install 'germane[web]'")
        return
    from germane.watching.checkup import checkup as of_watching

    yield from of_watching(found)
