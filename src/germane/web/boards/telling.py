"""What the pages of labels, costs and the golden set show, for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from germane import settings
from germane.extras import needs
from germane.types import InputError
from germane.watching import plan
from germane.web.boards.places import Place, place

if TYPE_CHECKING:
    from germane.registry.database import Registry
    from germane.web.boards.costs import Costs
    from germane.web.boards.explaining import ExplainedPair
    from germane.web.boards.finding import FoundPairs
    from germane.web.boards.goldens import GoldenHealth


def labels(project: Path | None = None, **asked: str) -> FoundPairs | ExplainedPair:
    """Pairs that fit `asked`, or the one pair that `pair` ("yes") says is named by query and doc.

    project: a folder with germane.toml, this one by default. Raises: InputError for a project without a history, and what is
    not known.
    """
    from germane.web.boards import explaining, finding

    one = asked.pop("pair", "")
    with _opened(project) as (registry, where):
        return explaining.explained(registry, where, asked) if one else finding.found(registry, where, asked)


def costs(project: Path | None = None, **asked: str) -> Costs:
    """Labels a day and what they cost. Raises: InputError for a project without a history, a day or a number that is none."""
    from germane.web.boards import costs as counting

    with _opened(project) as (registry, _):
        return counting.costs(registry, asked)


def health(project: Path | None = None) -> GoldenHealth:
    """The golden set's health. Raises: InputError for a project without a registry."""
    from germane.web.boards import goldens

    with _opened(project) as (registry, where):
        return goldens.health(registry, where)


@contextmanager
def _opened(project: Path | None) -> Iterator[tuple[Registry, Place]]:
    """The project's registry, and where its files are."""
    needs("web", "sqlalchemy", "argon2", by="this command")
    from germane.registry.database import open_registry

    if project is not None and not (project / settings.FILE).is_file():
        raise InputError(f"--project {project}: there is no {settings.FILE} in it")
    found = settings.load(project)
    if found.path is None:
        raise InputError("there is no germane.toml here: name a project with --project, or make one with `germane init`")
    root = found.path.parent
    where = plan.registry(found, root)
    if "://" not in where and not Path(where).is_file():
        raise InputError(f"{root.resolve()} has no registry yet ({Path(where).name}): `germane watch run` makes it")
    registry = open_registry(where)
    try:
        yield registry, place(root)
    finally:
        registry.close()
