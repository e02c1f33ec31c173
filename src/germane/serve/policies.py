"""What becomes of a document by its grades: the protocol of a policy, and the one place where kinds of policies plug in.

A policy is a JSON file with a `kind`. `LOADERS` says which function makes a policy of a kind from what its file holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from germane.judges.saying import DocScores
from germane.store.files import unreadable
from germane.types import InputError, Scale


class Asked(NamedTuple):
    """What a policy is told of a request. scores: the engine's, of each document, if it sent them; segment: of the query."""

    query: str
    said: DocScores
    scale: Scale
    scores: Sequence[float] | None = None
    segment: str | None = None


class Decision(NamedTuple):
    """What a policy does with one document. action: "keep", "drop", "move", ...; value: a score or a weight, if it has one."""

    doc_id: str
    action: str
    value: float | None = None
    why: str = ""


class Policy(Protocol):
    """A treatment of search results by their grades. A document that is not known has no grade: keep it as it is."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def decide(self, asked: Asked) -> Sequence[Decision]:
        """One decision for each document, in their order."""
        ...


Loader = Callable[[str, Mapping[str, Any], Scale], Policy]  # name, what the file holds, the student's scale
LOADERS: dict[str, Loader] = {}
"""The kinds of policies. `signal` has the functions; a kind is one line here."""


def load(path: Path, scale: Scale, loaders: Mapping[str, Loader] | None = None) -> Policy:
    """The policy in a file, for a student of this scale.

    Raises: InputError for a file that is no policy, and a kind that is not known.
    """
    known = LOADERS if loaders is None else loaders
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(f"cannot read the policy {path}: {unreadable(problem)}") from problem
    except ValueError as problem:
        raise InputError(f"the policy {path} is no JSON: {problem}") from problem
    kind = said.get("kind") if isinstance(said, dict) else None
    if kind not in known:
        raise InputError(
            f"the policy {path} is of kind {kind!r}: expected {', '.join(sorted(known)) or 'none: no kind is known'}"
        )
    return known[str(kind)](str(said.get("name") or path.stem), said, scale)
