"""Several judges as one: the mean of their log-probabilities, which is better calibrated than each and errs less."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.inference.operations import Read
from germane.judges import folder as folders
from germane.judges.saying import judgments, probabilities
from germane.types import InputError, Judgment, Pair

KIND = "committee"
MEMBERS = "members"
"""The folder of the members inside the committee's, each a judge's folder named by its number."""


class Committee:
    """The committee in a folder: it is asked as one judge, and costs as much as its members together.

    Raises: InputError for a folder that holds no committee.
    """

    def __init__(self, folder: str | Path, *, device: str | None = None, batch: int | None = None) -> None:
        from germane.judges.loading import load

        self.about = folders.read(folder, kind=KIND)
        self.name, self.fingerprint, self.scale = self.about.name, self.about.fingerprint, self.about.scale
        options = {} if batch is None else {"batch": batch}
        each = sorted((Path(folder) / MEMBERS).iterdir(), key=lambda path: int(path.name))
        self.members: list[Any] = [load(path, device=device, **options) for path in each]

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        return judgments(pairs, self.about, self.score)

    def reads(self, queries: Sequence[str], texts: Sequence[str]) -> list[Read]:
        """What its members' models read of these pairs."""
        return [read for member in self.members for read in member.reads(queries, texts)]

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.float64]:
        """The mean of the members' log-probabilities, shape (n, grades)."""
        said = [probabilities(m.score(queries, texts), m.about.temperature) for m in self.members]
        found: NDArray[np.float64] = np.log(np.maximum(said, 1e-12)).mean(axis=0)
        return found


def convene(members: Sequence[str | Path], out: Path, *, name: str | None = None) -> folders.About:
    """Puts a committee of trained judges into a folder: copies of theirs, on one scale and guide.

    Its decision weights are the geometric mean of the members', its lineage is the members and
    theirs. What it learned from is
    theirs too: training.json lists all their queries.

    Raises: InputError for fewer than two judges, the same one twice, judges on different scales, and an `out` among them.
    """
    abouts = [folders.read(member) for member in members]
    if len(abouts) < 2:
        raise InputError(f"a committee of {len(abouts)}: name two judges or more")
    if any(Path(member).resolve() in (out.resolve(), *out.resolve().parents) for member in members):
        raise InputError(f"{out} is one of the members, or lies inside one: name another folder")
    first = abouts[0]
    for member, about in zip(members[1:], abouts[1:], strict=True):
        if (about.scale.labels, about.scale.version) != (first.scale.labels, first.scale.version):
            raise InputError(f"{member} is on scale {about.scale.name!r} with another guide or other grades than {members[0]}")
    if len({about.fingerprint for about in abouts}) < len(abouts):
        raise InputError("a judge is named twice: a committee of one judge and itself is that judge")
    about = folders.About(
        kind=KIND,
        name=name or out.name,
        scale=first.scale,
        base=" + ".join(about.base for about in abouts),
        max_length=max(about.max_length for about in abouts),
        weights=_weights(abouts),
        settings={"members": [about.fingerprint for about in abouts]},
        lineage=tuple(dict.fromkeys([*(a.fingerprint for a in abouts), *(f for about in abouts for f in about.lineage)])),
        taught_by=tuple(dict.fromkeys([*(a.name for a in abouts), *(n for about in abouts for n in about.taught_by)])),
        random_weights=any(about.random_weights for about in abouts),
    )
    with folders.writing(out, about) as part:
        for number, member in enumerate(members):
            shutil.copytree(member, part / MEMBERS / str(number), ignore=shutil.ignore_patterns("*.manifest.json"))
        folders.merge_training([Path(member) for member in members], part)
    return folders.read(out)


def _weights(abouts: Sequence[folders.About]) -> tuple[float, ...]:
    """The geometric mean of the members' decision weights, largest 1; () where all decide by the likeliest grade."""
    if not any(about.weights for about in abouts):
        return ()
    ones = (1.0,) * len(abouts[0].scale.labels)
    mean = np.exp(np.mean([np.log(about.weights or ones) for about in abouts], axis=0))
    return tuple(float(w) for w in mean / mean.max())
