"""germane.toml: a project's defaults for the options of the command line, and the folders of its files."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from germane.types import InputError

FILE = "germane.toml"


@dataclass(frozen=True)
class Folders:
    """Where a project keeps each kind of file, relative to germane.toml."""

    queries: str = "queries"
    docs: str = "docs"
    runs: str = "runs"
    judgments: str = "judgments"
    pairs: str = "pairs"
    designs: str = "designs"
    audits: str = "audits"
    cards: str = "cards"
    judges: str = "judges"
    vectors: str = "vectors"
    reports: str = "reports"
    guides: str = "guides"
    labels: str = "labels"


@dataclass(frozen=True)
class Ray:
    """Where `label --engine ray` runs. address: of a cluster; "" starts one on this machine. actors: 0: as many as fit.

    cpus, gpus: of each actor, which may be parts of one.
    """

    address: str = ""
    actors: int = 0
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class OpenSearch:
    """Where `collect --engine opensearch` asks. url_env, key_env: environment variables with the address and a key; template:
    a JSON file, relative to germane.toml.
    """

    url_env: str = ""
    index: str = ""
    key_env: str = ""
    template: str = ""


@dataclass(frozen=True)
class Postgres:
    """Where `collect --engine postgres` asks. url_env: the environment variable with the address and the login."""

    url_env: str = ""
    table: str = ""


@dataclass(frozen=True)
class Serve:
    """Of `serve`. keys_file: clients' keys, one a line, relative to germane.toml; the keys themselves are no setting."""

    keys_file: str = ""


@dataclass(frozen=True)
class Watch:
    """Of `watch`: a day's log, who judges it, and how it is sampled. Paths are relative to germane.toml.

    log: a path, in which {date} is the day and * any text; or table:NAME, of the database whose URL the variable of log_env
    holds. time, query, query_id, shown: its columns; shown has ids of
    documents in order, as a list or as text with commas. segments: columns by which levels are told; strata: those by which
    the sample is drawn, beside popularity. docs (a catalogue) or pairs (texts of documents), either with {date}. relevant: the
    least grade that counts as relevant; "" for those with more than half of the best gain. anchors: pairs that are judged
    again every day. labels: the judgment store. registry: a file, or the variable of registry_env holds a URL. zone: of the
    days; log_zone: of {date} and of times without a zone. start: the first day. sample: queries a day. panel: share of them
    that is the same day over day; step: share of the panel that is new each day. golden: pairs a day that people are asked
    about, 0 for none. per_quarter: false alarms, at most. url: where reports are read, for messages. metrics: a file that a
    run leaves for Prometheus (node_exporter's textfiles).
    """

    log: str = ""
    log_env: str = ""
    time: str = "time"
    query: str = "query"
    query_id: str = ""
    shown: str = "shown"
    segments: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    docs: str = ""
    pairs: str = ""
    judge: str = ""
    relevant: str = ""
    anchors: str = ""
    labels: str = ""
    folder: str = "watch"
    registry: str = "registry.sqlite"
    registry_env: str = ""
    zone: str = "UTC"
    log_zone: str = "UTC"
    start: str = ""
    sample: int = 2000
    panel: float = 0.5
    step: float = 0.02
    k: int = 25
    golden: int = 20
    per_quarter: float = 1.0
    url: str = ""
    metrics: str = ""


@dataclass(frozen=True)
class Llm:
    """How `watch` asks a language model: as the options of `label` of these names. url: of its server. key_env: the variable
    with its key. prices: a table of prices, relative to germane.toml. budget: dollars that a day's labels may cost, and its
    anchors as much again; 0 for no limit.
    """

    url: str = ""
    key_env: str = ""
    mode: str = "reasons"
    phrasing: int = 0
    samples: int = 1
    vote: str = "median"
    effort: str = ""
    structured: str = ""
    prices: str = ""
    budget: float = 0.0
    at_once: int = 16
    timeout: float = 120.0
    tries: int = 5


@dataclass(frozen=True)
class Sinks:
    """Where `watch` sends its alerts. file: lines of JSON, relative to germane.toml. webhook_env, password_env: variables with
    the webhook's address and the mail server's password, which are no settings. seconds: that one message may take.
    """

    file: str = ""
    webhook_env: str = ""
    seconds: float = 10.0
    email_to: tuple[str, ...] = ()
    email_from: str = ""
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_tls: bool = True
    smtp_user: str = ""
    password_env: str = ""


@dataclass(frozen=True)
class Logs:
    """How every verb and service writes its log: as "text" for people, or as "json", a line an event."""

    form: str = "text"


TABLES: dict[str, type] = {"folders": Folders, "ray": Ray, "opensearch": OpenSearch, "postgres": Postgres, "serve": Serve}
TABLES |= {"watch": Watch, "llm": Llm, "sinks": Sinks, "logs": Logs}
"""The tables of germane.toml."""


@dataclass(frozen=True)
class Settings:
    """What germane.toml says. An option on the command line wins over it; without a file these are the defaults.

    scale: a built-in scale or the path of a TOML file. metric: of `compare`. k: depth of `collect` and `pairs`.
    level: of every interval. seed: of every draw. path: the file itself, None where there is none.

    >>> Settings().metric, str(Settings().folder("runs"))
    ('sDCG@25', 'runs')
    """

    scale: str | None = None
    metric: str = "sDCG@25"
    k: int = 25
    level: float = 0.95
    seed: int = 1
    folders: Folders = field(default_factory=Folders)
    ray: Ray = field(default_factory=Ray)
    opensearch: OpenSearch = field(default_factory=OpenSearch)
    postgres: Postgres = field(default_factory=Postgres)
    serve: Serve = field(default_factory=Serve)
    watch: Watch = field(default_factory=Watch)
    llm: Llm = field(default_factory=Llm)
    sinks: Sinks = field(default_factory=Sinks)
    logs: Logs = field(default_factory=Logs)
    path: Path | None = None

    def folder(self, kind: str) -> Path:
        """The folder for files of a kind ("runs", "designs", ...)."""
        return (self.path.parent if self.path else Path()) / str(getattr(self.folders, kind))

    @property
    def secrets(self) -> list[str]:
        """What the variables hold that these settings name: addresses with logins, passwords, keys."""
        named = [self.sinks.webhook_env, self.sinks.password_env, self.watch.registry_env]
        named += [self.opensearch.url_env, self.opensearch.key_env, self.postgres.url_env, self.watch.log_env, self.llm.key_env]
        return [os.environ[name] for name in named if os.environ.get(name)]

    @property
    def keys_file(self) -> Path | None:
        """The file of the keys that clients of `serve` bring; None where none is named."""
        return self.path.parent / self.serve.keys_file if self.path and self.serve.keys_file else None


def load(start: Path | None = None) -> Settings:
    """The settings of the nearest germane.toml in `start` (the current folder) or above it; the defaults without one.

    Raises: InputError for a file that is no TOML, an unknown key (with the nearest known one) and a value of a wrong type.
    """
    here = (start or Path()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return read(Path(os.path.relpath(folder / FILE, Path().resolve())))
    return Settings()


def read(path: Path) -> Settings:
    """The settings in one file."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as problem:
        raise InputError(f"{path}: {problem}") from problem
    tables: dict[str, Any] = {}
    for name, kind in TABLES.items():
        if not isinstance(given := found.pop(name, {}), dict):
            raise InputError(f"{path}: {name!r} must be a table ([{name}]), found {given!r}")
        checked = _checked(path, kind, given, inside=f"{name}.")
        tables[name] = kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in checked.items()})
    values = _checked(path, Settings, found)
    if str(values.get("scale", "")).endswith(".toml"):  # a user's own, named relative to germane.toml
        values["scale"] = str(path.parent / values["scale"])
    settings = Settings(**values, **tables, path=path)
    if not 0 < settings.level < 1:
        raise InputError(f"{path}: 'level' must lie between 0 and 1, found {settings.level}")
    if settings.k < 1:
        raise InputError(f"{path}: 'k' must be at least 1, found {settings.k}")
    return settings


def _checked(path: Path, kind: type, found: dict[str, Any], *, inside: str = "") -> dict[str, Any]:
    """`found`, if every key is a field of `kind` and every value has that field's type."""
    known = {f.name: str(f.type) for f in fields(kind) if f.name not in ("path", *TABLES)}
    for key, value in found.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {inside + near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"{path}: unknown key {inside + key!r}: {hint}")
        if known[key].startswith("tuple"):
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise InputError(f"{path}: {inside + key!r} must be a list of texts, found {value!r}")
            continue
        wanted = {"int": (int,), "float": (int, float), "bool": (bool,)}.get(known[key], (str,))
        if not isinstance(value, wanted) or (isinstance(value, bool) and known[key] != "bool"):
            raise InputError(f"{path}: {inside + key!r} must be of type {wanted[-1].__name__}, found {value!r}")
        if key.endswith("_env") and value and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(value)):
            raise InputError(
                f"{path}: {inside + key!r} must be the name of an environment variable, of letters, digits and _; what stands "
                "there is not shown, since it may be a secret"
            )
    return found
