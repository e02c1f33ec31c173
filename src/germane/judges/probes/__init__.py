"""Attacks on a judge: what a seller, a spammer or bad luck does to a text, and what a judge must not make of it.

A probe changes the words of a pair and nothing else: ids stay, and one seed always gives the same texts. What a change may
do to the grade is part of the probe: an instruction inside an item must not raise it, an empty item must not be relevant,
markup must not move it.
"""

from __future__ import annotations

from collections.abc import Sequence

from germane.judges.probes.attacks import SUITE, Context, Expects, Probe, another
from germane.types import InputError, Pair, Scale

__all__ = ["FAMILIES", "SUITE", "Context", "Expects", "Probe", "attacked", "chosen"]

FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(probe.family for probe in SUITE))
"""What the probes attack, in the order of the suite."""


def chosen(families: Sequence[str] = ()) -> tuple[Probe, ...]:
    """The probes of these families, in the order of the suite; all of them unless families are named.

    Raises: InputError for a family that there is not.

    >>> {probe.family for probe in chosen(["query"])}, len(chosen()) > 40
    ({'query'}, True)
    """
    if unknown := [name for name in families if name not in FAMILIES]:
        raise InputError(f"--families {unknown[0]}: there is no such family of probes; known are {', '.join(FAMILIES)}")
    return tuple(probe for probe in SUITE if not families or probe.family in families)


def attacked(probe: Probe, pairs: Sequence[Pair], scale: Scale, *, seed: int) -> list[Pair]:
    """The pairs as the attack leaves them: same ids, same order.

    scale: whose best label an attack asks for. seed: of what an attack draws (an order of words, another query's item).

    >>> from germane.scales import get
    >>> from germane.types import Doc, Query
    >>> (pair,) = attacked(SUITE[0], [Pair(Query("q", "blue chair"), Doc("d", {"text": "Red lamp"}))], get("esci"), seed=0)
    >>> pair.doc.fields["text"]
    'blue chair. Red lamp'
    """
    return [
        probe.change(pair, Context(scale, seed, probe.name, another(pairs, at, seed) if probe.swaps else None))
        for at, pair in enumerate(pairs)
    ]
