"""What is watched, from the settings: checked once, before anything is read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from datetime import date
from glob import escape, glob
from pathlib import Path
from zoneinfo import ZoneInfo

from germane import scales
from germane.settings import Llm, Settings, Sinks
from germane.types import InputError, Scale
from germane.watching import calendar

DATE, TABLE = "{date}", "table:"
FAKE = "fake"


@dataclass(frozen=True)
class Columns:
    """What the log's columns are called. query_id: "" for none. segments: every column that tells requests apart."""

    time: str
    query: str
    query_id: str
    shown: str
    segments: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What is watched: as `settings.Watch` has it, with paths from here and zones that are there.

    scale: of the judge's grades; scale_name: as the settings have it. relevant: grades from this one on are relevant. folder:
    where each day's files lie. table: of a database, which holds the log; log_env: the variable with its URL.
    """

    root: Path
    log: str
    log_env: str
    columns: Columns
    strata: tuple[str, ...]
    docs: str
    pairs: str
    judge: str
    scale: Scale
    scale_name: str
    relevant: int
    anchors: Path | None
    labels: Path
    folder: Path
    registry: str
    zone: ZoneInfo
    log_zone: ZoneInfo
    start: date | None
    sample: int
    panel: float
    step: float
    k: int
    golden: int
    per_quarter: float
    seed: int
    level: float
    url: str
    sinks: Sinks
    llm: Llm
    cards: Path
    metrics: Path | None = None

    @property
    def asks_a_model(self) -> bool:
        """Whether a language model judges: what it said is kept reply by reply, and not in the judgment store."""
        return self.judge.startswith("llm:")

    @property
    def segments(self) -> tuple[str, ...]:
        """Columns by which levels are told; those of the strata are among them."""
        return self.columns.segments

    @property
    def table(self) -> str:
        """The name of the table that is the log; "" for files."""
        return self.log.removeprefix(TABLE) if self.log.startswith(TABLE) else ""

    def files(self, day: date) -> list[Path]:
        """The files that may hold requests of a day, by name; none where none is there."""
        if self.table:
            return []
        days = calendar.file_days(day, self.zone, self.log_zone) if DATE in self.log else [day]
        found = dict.fromkeys(path for each in days for path in _found(self.root, self.log, each))
        return list(found)

    def has_log(self, day: date) -> bool:
        """Whether the log of a day is there: every file that holds a part of it, or the one file of all days."""
        return not self.missing(day)

    def missing(self, day: date) -> list[date]:
        """The days of the log's own zone whose file a day needs, and that is not there."""
        days = calendar.file_days(day, self.zone, self.log_zone) if DATE in self.log else [day]
        return [each for each in days if not _found(self.root, self.log, each)]

    def documents(self, day: date) -> Path:
        """The file of documents, or of pairs, of a day.

        Raises: InputError where it is not there, or several are.
        """
        named = self.docs or self.pairs
        found = _found(self.root, named, day)
        if len(found) != 1:
            what = "watch.docs" if self.docs else "watch.pairs"
            text = named.replace(DATE, str(day))
            raise InputError(f"{what}: {len(found) or 'no'} files named {text}; expected one: documents, with their texts")
        return found[0]


RESERVED = frozenset(
    ("query", "query_id", "log_query_id", "requests", "stratum", "panel", "panel_probability", "probability", "shown", "lists")
)
"""Columns of a sample that are not the log's."""


def of(found: Settings, *, needed: bool = True) -> Plan:
    """What the settings say is watched. needed: log, documents and judge must be named.

    Raises: InputError for a setting that is missing or wrong: its name, what was found, what was expected.
    """
    said, root = found.watch, found.path.parent if found.path else Path()
    if needed:
        _needed(found)
    _within(found)
    scale = _scale(found, root)
    return Plan(
        root,
        said.log,
        said.log_env,
        Columns(said.time, said.query, said.query_id, said.shown, tuple(dict.fromkeys((*said.strata, *said.segments)))),
        said.strata,
        said.docs,
        said.pairs,
        said.judge if said.judge == FAKE or said.judge.startswith("llm:") else str(root / said.judge),
        scale,
        found.scale or scale.name,
        _relevant(said.relevant, scale),
        root / said.anchors if said.anchors else None,
        root / said.labels if said.labels else found.folder("labels"),
        root / said.folder,
        registry(found, root),
        calendar.zone(said.zone, what="watch.zone"),
        calendar.zone(said.log_zone, what="watch.log_zone"),
        calendar.day_of(said.start, what="watch.start") if said.start else None,
        said.sample,
        said.panel,
        said.step,
        said.k,
        said.golden,
        said.per_quarter,
        found.seed,
        found.level,
        said.url,
        found.sinks,
        found.llm,
        found.folder("cards"),
        root / said.metrics if said.metrics else None,
    )


def _needed(found: Settings) -> None:
    said = found.watch
    if found.path is None:
        raise InputError("there is no germane.toml here: make a project with `germane init`, then `germane watch init`")
    for name in ("log", "judge", "time", "query", "shown"):
        if not getattr(said, name):
            raise InputError(f"{found.path}: watch.{name} is not set; `germane watch init` writes the settings to fill in")
    if said.log.startswith(TABLE) != bool(said.log_env):
        raise InputError(f"{found.path}: watch.log as table:NAME and watch.log_env (the variable with its URL) go together")
    if bool(said.docs) == bool(said.pairs):
        raise InputError(f"{found.path}: set one of watch.docs (a catalogue) and watch.pairs (documents' texts)")


def _within(found: Settings) -> None:
    said, where = found.watch, found.path
    bounds = {
        "sample": (10, 1_000_000),
        "panel": (0.0, 1.0),
        "step": (0.0, 1.0),
        "k": (1, 1000),
        "golden": (0, 1000),
        "per_quarter": (0.001, 90.0),
    }
    for name, (low, high) in bounds.items():
        value = getattr(said, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise InputError(f"{where}: watch.{name} is {value}; expected {low:g} to {high:g}")
    if not 0 < found.sinks.seconds <= 300:
        raise InputError(f"{where}: sinks.seconds is {found.sinks.seconds:g}; expected above 0 and up to 300")
    if bool(found.sinks.email_to) != bool(found.sinks.smtp_host):
        raise InputError(f"{where}: sinks.email_to and sinks.smtp_host go together: set both, or neither")
    named = {name: getattr(said, name) for name in ("time", "query", "shown")}
    columns = [*named.values(), *dict.fromkeys((*said.strata, *said.segments))]
    if twice := next((c for c in columns if columns.count(c) > 1), None):
        raise InputError(f"{where}: the column {twice!r} of the log is named for two things under [watch]: name it once")
    if taken := next((c for c in (*said.strata, *said.segments) if c in RESERVED), None):
        raise InputError(
            f"{where}: {taken!r} under [watch] is a name that the sample itself has: call that column of the log another"
        )


def _scale(found: Settings, root: Path) -> Scale:
    """The judge's own scale, else the project's.

    Raises: InputError where neither is known.
    """
    judge = found.watch.judge
    if judge and judge != FAKE and not judge.startswith("llm:"):
        from germane.judges import folder
        from germane.judges.loading import locate

        return folder.read(locate(str(root / judge))).scale
    if found.scale is None:
        raise InputError(f"{found.path}: 'scale' is not set: name a built-in scale, or the path of a TOML file")
    return scales.get(found.scale)


def _relevant(label: str, scale: Scale) -> int:
    """The least grade that counts as relevant."""
    if label:
        return scale.relevance(label)
    best = max(scale.gains)
    return next(i for i, gain in enumerate(scale.gains) if gain > best / 2)


def registry(found: Settings, root: Path) -> str:
    """Where the history is kept: a URL from the environment, or a file of the project.

    Raises: InputError for a variable that is not set, and for a password in the settings.
    """
    if name := found.watch.registry_env:
        if not os.environ.get(name):
            raise InputError(f"watch.registry_env names the variable {name}, which is not set: give it the registry's URL")
        return os.environ[name]
    if "://" not in (text := found.watch.registry):
        return str(root / text)
    if "@" in text and ":" in text.partition("://")[2].partition("@")[0]:
        raise InputError(f"{found.path}: watch.registry holds a password: put the URL into a variable, named by registry_env")
    return text


def _found(root: Path, named: str, day: date) -> list[Path]:
    """The files that a path names, once {date} is the day and * is any text."""
    text = named.replace(DATE, str(day))
    if "*" not in text:
        return [root / text] if (root / text).is_file() else []
    pattern = (
        escape(str(root)) + "/" + "*".join(escape(part) for part in text.split("*")) if not Path(text).is_absolute() else text
    )
    return [Path(path) for path in sorted(glob(pattern, recursive=True)) if Path(path).is_file()]
