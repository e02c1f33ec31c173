"""An engine from what a user names: files, folders, options, and where a server is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import sources
from germane.engines import BM25, Engine
from germane.inference import vector_store
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

ENGINES = ("bm25", "vectors", "hybrid", "opensearch", "postgres")
ELSEWHERE = ("opensearch", "postgres")
FAILURES = ("stop", "list")

Bounds = Mapping[str, tuple[float, float] | None]
_BM25: Bounds = {"k1": (0.0, 1000.0), "b": (0.0, 1.0), "stopwords": None}
_VECTORS: Bounds = {"rescore": (0, 100_000)}
_POSTGRES: Bounds = {
    **dict.fromkeys(("id", "language", "ask", "weights", "column", "vector", "exact")),
    "normalization": (0, 63),
    "timeout": (0.001, 86_400.0),
}
_OPENSEARCH: Bounds = {
    **dict.fromkeys(("id", "vector", "product", "ca", "plain")),
    "batch": (1, 1000),
    "tries": (1, 100),
    "timeout": (0.001, 86_400.0),
    "deadline": (0.001, 86_400.0),
}
_HYBRID: Bounds = {"constant": (0.0, 1e6), "depth": (1, 100_000)}
OPTIONS: Mapping[str, Bounds] = {
    "bm25": _BM25,
    "vectors": _VECTORS,
    "hybrid": {**_BM25, **_VECTORS, **_HYBRID},
    "opensearch": _OPENSEARCH,
    "postgres": _POSTGRES,
}
"""The options of each engine, and the numbers that they may be; None for a word. Whole bounds: a whole number."""


class Server(NamedTuple):
    """An engine elsewhere. url_env, key_env: environment variables that hold its address (with a login, if any) and a key.

    name: of the index or table. template: a JSON file that says how a query is asked.
    """

    url_env: str = ""
    name: str = ""
    key_env: str = ""
    template: Path | None = None


@dataclass(frozen=True)
class Parts:
    """What `collect` was told of an engine. `check` says what is missing or too much."""

    engine: str
    docs: Path | None = None
    fields: Sequence[str] | None = ("title",)
    options: Mapping[str, Any] = ()  # type: ignore[assignment]
    student: Path | None = None
    vectors: Path | None = None
    runs: tuple[Path, ...] = ()
    server: Server | None = None

    @property
    def inputs(self) -> list[Path]:
        """The files and folders that decide what is found."""
        template = self.server.template if self.server else None
        return [path for path in (self.docs, self.student, self.vectors, *self.runs, template) if path]

    @property
    def asked(self) -> dict[str, Any]:
        """What a manifest says of it."""
        said: dict[str, Any] = {"engine": self.engine, "fields": None if self.fields is None else list(self.fields)}
        server = {"url_env": self.server.url_env, "index": self.server.name} if self.server else {}
        return said | {"options": dict(self.options), **server}

    def check(self, *, candidates: bool) -> None:
        """Raises: InputError for an engine that is not known, one that lacks a part, and a part that it would not use."""
        if self.engine not in ENGINES:
            raise InputError(f"engine {self.engine!r} is unknown: expected one of {', '.join(ENGINES)}")
        for option, value in self.options.items():
            _check_option(self.engine, option, value)
        searches = self.engine in ("vectors", "hybrid") and not self.runs
        if searches and not (self.student and self.vectors):
            raise InputError(
                f"engine {self.engine} needs a student and its vectors: pass --student FOLDER and --vectors FOLDER, which "
                "`germane encode` makes"
            )
        if searches and self.vectors:
            vector_store.about(self.vectors)
        if self.engine in ("bm25", "hybrid") and not self.runs and self.docs is None:
            raise InputError(f"engine {self.engine} searches a catalogue: name the documents after the queries")
        if self.runs and self.engine != "hybrid":
            raise InputError("--run names what is fused: it is for --engine hybrid")
        if self.engine in ELSEWHERE:
            self._check_elsewhere()
        elif not searches and (given := self.student or self.vectors):
            raise InputError(f"{given}: --student and --vectors are for engines that search vectors")
        if self.runs and candidates:
            raise InputError("runs to fuse were collected before: pass --candidates to each of them, not to the fusion")
        if self.runs and self.docs:
            raise InputError(f"{self.docs}: a fusion of runs searches no documents: leave them out")

    def _check_elsewhere(self) -> None:
        if self.docs or self.vectors:
            raise InputError(
                f"{self.docs or self.vectors}: {self.engine} searches what it holds itself: leave documents and --vectors out"
            )
        address(self.server, self.engine)
        if self.server is not None and not self.server.name:
            raise InputError(f"which {'index' if self.engine == 'opensearch' else 'table'}? name it with --index or --table")
        if self.server is not None and self.engine == "postgres" and (self.server.template or self.server.key_env):
            raise InputError("--template and --key-env are for the engine opensearch: a login of PostgreSQL is in its URL")


def opened(parts: Parts) -> tuple[Engine, list[pa.Table]]:
    """The engine, and the tables that it searches, for what they say of whose data they are.

    Raises: InputError as the engine that is opened.
    """
    if parts.runs:
        from germane.engines.hybrid import Fusion

        runs = [sources.read_run(path) for path in parts.runs]
        return Fusion(runs, **_own(parts, _HYBRID, "constant")), [run.table for run in runs]
    docs = [] if parts.docs is None else [sources.read_docs(parts.docs)]
    open_: dict[str, Callable[[], Engine]] = {
        "bm25": lambda: BM25(docs[0], parts.fields, **_own(parts, _BM25)),
        "vectors": lambda: _vectors(parts, docs),
        "hybrid": lambda: _hybrid(parts, docs),
        "opensearch": lambda: _opensearch(parts),
        "postgres": lambda: _postgres(parts),
    }
    return open_[parts.engine](), docs


def address(server: Server | None, engine: str) -> str:
    """The URL in the environment variable that a server names. It is shown nowhere.

    Raises: InputError where none is named, or it is empty.
    """
    if server is None or not server.url_env:
        raise InputError(f"engine {engine} needs an address: put it into an environment variable, and name that with --url-env")
    if not (url := os.environ.get(server.url_env, "").strip()):
        raise InputError(f"the address of {engine} should be in the environment variable {server.url_env}, and that is empty")
    return url


def _check_option(engine: str, option: str, value: Any) -> None:
    known = OPTIONS[engine]
    if option not in known:
        raise InputError(f"{engine} has no option {option!r}: expected {_listed(known)}")
    bounds = known[option]
    if bounds is None:
        return
    whole = all(isinstance(bound, int) for bound in bounds)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not bounds[0] <= value <= bounds[1] or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{engine}'s {option} is {value!r}: expected {kind} from {bounds[0]:g} to {bounds[1]:g}")


def _listed(names: Mapping[str, Any]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


def _own(parts: Parts, known: Bounds, *only: str) -> dict[str, Any]:
    """The options among `known`, whole numbers as such."""
    found: dict[str, Any] = {}
    for name, value in parts.options.items():
        if name in known and (not only or name in only):
            bounds = known[name]
            whole = bounds is not None and all(isinstance(bound, int) for bound in bounds)
            found[name] = int(value) if whole else value
    return found


def _vectors(parts: Parts, docs: Sequence[pa.Table]) -> Engine:
    from germane.engines.vectors import Vectors

    assert parts.student is not None  # `check` saw to it
    assert parts.vectors is not None
    only = [str(doc_id) for doc_id in docs[0]["doc_id"].to_pylist()] if docs else None
    return Vectors(parts.student, parts.vectors, docs=only, **_own(parts, _VECTORS))


def _hybrid(parts: Parts, docs: Sequence[pa.Table]) -> Engine:
    from germane.engines.hybrid import Hybrid

    both = [BM25(docs[0], parts.fields, **_own(parts, _BM25)), _vectors(parts, docs)]
    return Hybrid(both, **_own(parts, _HYBRID))


def _opensearch(parts: Parts) -> Engine:
    from germane.engines.calling import Calling
    from germane.engines.opensearch import Asking, OpenSearch, read_template

    assert parts.server is not None  # `check` saw to it
    own = _own(parts, _OPENSEARCH)
    template = read_template(parts.server.template) if parts.server.template else None
    how = Asking(template, **{name: str(own.pop(name)) for name in ("id", "vector", "product") if name in own})
    if "plain" in own:
        own["plain"] = _yes("plain", own["plain"])
    return OpenSearch(
        address(parts.server, "opensearch"),
        parts.server.name,
        fields=parts.fields,
        how=how,
        student=parts.student,
        key_env=parts.server.key_env,
        calls=Calling(**own),
    )


def _postgres(parts: Parts) -> Engine:
    from germane.engines.postgres import Asking, Postgres

    assert parts.server is not None  # `check` saw to it
    own = _own(parts, _POSTGRES)
    if "exact" in own:
        own["exact"] = _yes("exact", own["exact"])
    if "weights" in own:
        own["weights"] = _weights(str(own["weights"]))
    url, name = address(parts.server, "postgres"), parts.server.name
    return Postgres(url, name, fields=parts.fields, how=Asking(**own), student=parts.student)


def _yes(option: str, value: Any) -> bool:
    if value not in ("yes", "no"):
        raise InputError(f"{option}={value}: expected yes or no")
    return bool(value == "yes")


def _weights(text: str) -> tuple[float, ...]:
    """(1.0, 0.4) from "1,0.4"."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not 1 <= len(found) <= 4 or not all(0 <= weight <= 1 for weight in found):
        raise InputError(f"weights={text}: expected one to four numbers from 0 to 1, as 1,0.4,0.2,0.1")
    return found
