"""Policies as JSON files: written whole, known by their digest, and refused for another judge or scale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

from germane import store
from germane.signal import adaptive, boost, filter
from germane.store import manifests
from germane.store.files import unreadable
from germane.types import InputError, Policy, decode

SCHEMA = 1
LARGEST = 4 << 20
"""Bytes of a policy file: what is larger is none."""

KINDS = {filter.KIND: filter.of_policy, boost.KIND: boost.of_policy, adaptive.KIND: adaptive.of_policy}


def digest(policy: Policy) -> str:
    """64 hex digits of what a policy does: sha256 of all that it says but its notes and figures.

    >>> from dataclasses import replace
    >>> one = Policy("filter", "f", "m", "f1", (), "esci", 4, "", {})
    >>> digest(one) == digest(replace(one, notes=("said",))), digest(one) == digest(replace(one, scale="trec"))
    (True, False)
    """
    said = {name: value for name, value in asdict(policy).items() if name not in ("found", "notes")}
    return hashlib.sha256(json.dumps(manifests.plain(said), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def text(policy: Policy) -> str:
    """A policy as JSON, with the digest of what it does and the version of germane that wrote it."""
    said = {"schema": SCHEMA, "germane": version("germane"), "hash": digest(policy), **manifests.plain(asdict(policy))}
    try:
        return json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as problem:
        raise InputError(f"policy {policy.name!r} holds a number that is none: {problem}") from problem


def write(policy: Policy, path: str | Path) -> Path:
    """The path of the policy, written whole or not at all. Raises: InputError where it cannot be written."""
    return store.write_text(path, text(policy))


def read(path: str | Path) -> Policy:
    """The policy in a file.

    Raises: InputError for what is no policy, is of a later version, or was changed after it was written.
    """
    place = Path(path)
    try:
        if place.is_file() and place.stat().st_size > LARGEST:
            raise InputError(f"{place} has {place.stat().st_size:,} bytes: no policy is so large")
        said = json.loads(place.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise InputError(f"cannot read {place}: {unreadable(error)}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place} is not a policy: {type(error).__name__}") from error
    if not isinstance(said, dict) or not {"schema", "hash", "kind"} <= set(said):
        raise InputError(f"{place} is not a policy: expected an object with schema, hash and kind, from `germane signal`")
    if said["schema"] != SCHEMA:
        raise InputError(f"{place} has policy schema {said['schema']!r:.40}: this germane reads {SCHEMA}")
    if not isinstance(said["kind"], str) or said["kind"] not in KINDS:
        raise InputError(f"{place} is a policy of kind {said['kind']!r:.40}: expected one of {', '.join(KINDS)}")
    policy = _decoded({k: v for k, v in said.items() if k not in ("schema", "germane", "hash")}, place)
    if digest(policy) != said["hash"]:
        raise InputError(f"{place} was changed after it was written: choose the policy again, or take the file from its source")
    return policy


def load(path: str | Path, *, fingerprint: str | None = None, scale: str | None = None) -> Any:
    """The filter, boost or adaptive policy in a file, at work: it has `name`, `kind` and `decide`.

    fingerprint, scale: of the judge whose predictions it will read; None leaves that unchecked.
    Raises: InputError as `read`, and for a policy of another judge or scale.
    """
    policy = read(path)
    fits(policy, fingerprint=fingerprint, scale=scale, where=str(path))
    return KINDS[policy.kind](policy)


def fits(policy: Policy, *, fingerprint: str | None, scale: str | None, where: str) -> None:
    """Raises: InputError for a policy that was chosen for another judge, or on another scale."""
    if fingerprint is not None and policy.fingerprint and policy.fingerprint != fingerprint:
        raise InputError(
            f"{where} was chosen for judge {policy.judge!r} ({policy.fingerprint:.24}), and the predictions are of "
            f"{fingerprint:.24}: its thresholds mean nothing there; choose them again"
        )
    if scale is not None and policy.scale and policy.scale != scale:
        raise InputError(f"{where} is on scale {policy.scale!r}, and the predictions are on {scale!r}: choose it again")


def _decoded(said: dict[str, Any], place: Path) -> Policy:
    texts = ("kind", "name", "judge", "fingerprint", "scale", "golden")
    wrong = [name for name in texts if not isinstance(said.get(name), str)]
    wrong += [name for name in ("lineage", "notes") if not _list_of_texts(said.get(name, []))]
    wrong += [name for name in ("parameters", "found") if not isinstance(said.get(name, {}), Mapping)]
    grades = said.get("grades")
    if isinstance(grades, bool) or not isinstance(grades, int) or not 0 <= grades <= 1000:
        wrong.append("grades")
    if wrong:
        raise InputError(f"{place} is not a policy: {wrong[0]} is {said.get(wrong[0])!r:.60}")
    try:
        policy: Policy = decode(Policy, said)
        KINDS[policy.kind](policy)
    except InputError as problem:
        raise InputError(f"{place}: {problem}") from problem
    except (TypeError, ValueError, AttributeError, KeyError) as problem:
        raise InputError(f"{place} is not a policy ({type(problem).__name__})") from problem
    if not all(isfinite(e.value) for e in policy.found.values()):
        raise InputError(f"{place} is not a policy: a figure is no number")
    return policy


def _list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _no_number(name: str) -> float:
    raise InputError(f"a policy holds {name}, which is no number")
