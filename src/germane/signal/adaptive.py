"""Which treatment for which type of query: learned from experiments with relevance and engagement as two objectives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import ArrayLike

from germane.signal import boost, filter
from germane.signal.deciding import Decides, Decisions, Said, nothing
from germane.types import InputError, Policy

KIND = "adaptive"
CONTROL = "control"
"""The treatment that does nothing, which a type of query gets unless more is shown."""

PARTS = (filter.KIND, boost.KIND)


@dataclass(frozen=True)
class Adaptive:
    """An adaptive policy at work. choice: type of query -> treatment; a type that it does not name gets the control.

    parts: treatment -> the filter or boost that it is, where that was given. by: the columns that make a type.
    """

    choice: Mapping[str, str]
    by: tuple[str, ...]
    grades: int
    parts: Mapping[str, Decides] = field(default_factory=dict)
    name: str = "adaptive"
    kind: str = KIND

    def treatment(self, segment: str) -> str:
        """The treatment of a type of query."""
        return self.choice.get(segment, CONTROL)

    def decide(self, *, segment: str, probs: ArrayLike, gain: ArrayLike, known: ArrayLike) -> Decisions:
        """What the treatment of this type of query says of the documents of one request, in the order given.

        Raises: InputError for shapes that do not fit, and for a treatment of which only the name is known.
        """
        chosen = self.treatment(segment)
        if chosen in self.parts:
            return self.parts[chosen].decide(segment=segment, probs=probs, gain=gain, known=known)
        if chosen != CONTROL:
            raise InputError(f"treatment {chosen!r} was named without its policy: choose again with --treatment {chosen}=FILE")
        return nothing(Said.of(probs, gain, known, self.grades).gain.size)


def of_policy(policy: Policy) -> Adaptive:
    """The adaptive policy that a policy file describes. Raises: InputError naming what in it is none."""
    said = policy.parameters
    choice, by, parts = said.get("choice"), said.get("by"), said.get("parts", {})
    if not isinstance(choice, Mapping) or not all(isinstance(name, str) for name in choice.values()):
        raise InputError("policy: parameters.choice: expected an object from type of query to treatment")
    if not isinstance(by, list | tuple) or not all(isinstance(name, str) for name in by):
        raise InputError("policy: parameters.by: expected a list of columns")
    if not isinstance(parts, Mapping):
        raise InputError("policy: parameters.parts: expected an object from treatment to policy")
    made = {str(name): _part(name, part, policy) for name, part in parts.items()}
    return Adaptive(dict(choice), tuple(by), policy.grades, made, policy.name)


def _part(name: Any, said: Any, policy: Policy) -> Decides:
    if not isinstance(said, Mapping) or said.get("kind") not in PARTS or not isinstance(said.get("parameters"), Mapping):
        raise InputError(f"policy: the treatment {name!r:.60} is neither a filter nor a boost")
    part = Policy(
        str(said["kind"]), str(name), policy.judge, policy.fingerprint, policy.lineage, policy.scale, policy.grades,
        policy.golden, said["parameters"],
    )  # fmt: skip
    return filter.of_policy(part) if part.kind == filter.KIND else boost.of_policy(part)
