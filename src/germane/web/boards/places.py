"""Where a project keeps what its pages read beside the registry: the days' files, the judgment store, the anchors, scales."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from germane import scales, settings
from germane.types import InputError, Scale
from germane.watching.plan import FAKE


@dataclass(frozen=True)
class Place:
    """A project's files. folder: of the days. store: of judgments. anchors: None where none are named. judge: its folder, None
    where that is none. scale: of the project, or of its judge; None where it cannot be read."""

    root: Path
    folder: Path
    store: Path
    anchors: Path | None
    judge: Path | None
    scale: Scale | None

    def labels(self, name: str) -> tuple[str, ...]:
        """The labels of a scale by its name, worst first; of the project's without one; none where they are not known."""
        if self.scale is not None and name in ("", self.scale.name):
            return self.scale.labels
        return scales.get(name).labels if name in scales.BUILT_IN else ()

    def grade(self, scale: str, relevance: int | None) -> str:
        """A grade's name; its number where the scale is not known, "" for no grade."""
        if relevance is None:
            return ""
        labels = self.labels(scale)
        return labels[relevance] if 0 <= relevance < len(labels) else f"grade {relevance}"


def place(root: Path) -> Place:
    """Where the project in a folder keeps its files."""
    path = root / settings.FILE
    found = settings.read(path) if path.is_file() else settings.Settings(path=path)
    said = found.watch
    named = said.judge if said.judge and said.judge != FAKE and not said.judge.startswith("llm:") else ""
    store = root / said.labels if said.labels else found.folder("labels")
    judge = root / named if named else None
    anchors = root / said.anchors if said.anchors else None
    return Place(root, root / said.folder, store, anchors, judge, _scale(found, judge))


def _scale(found: settings.Settings, judge: Path | None) -> Scale | None:
    try:
        if judge is not None:
            from germane.judges import folder
            from germane.judges.loading import locate

            return folder.read(locate(str(judge))).scale
        return None if found.scale is None else scales.get(found.scale)
    except InputError:
        return None
