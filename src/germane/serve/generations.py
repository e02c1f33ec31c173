"""The student and the documents that answer now, and how others take their place without a request being dropped.

A generation never changes. A new one is read and verified beside the old one, which answers meanwhile and finishes what it
began; if the new one is refused, the old one goes on answering, and the log, a metric and /readyz say why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread

from germane.inference import vector_store
from germane.judges import folder as folders
from germane.judges.documents import Documents
from germane.judges.lexical_store import FOLDER
from germane.judges.two_tower import TwoTower
from germane.serve.encoding import QueryEncoder
from germane.serve.limits import Limits
from germane.serve.metrics import Metrics
from germane.serve.policies import Policy, load
from germane.types import InputError, Scale

_LOG = logging.getLogger("germane.serve")

Files = tuple[tuple[int, ...], ...]  # inode, size and time of each


@dataclass(frozen=True)
class Generation:
    """What answers: a student, what encodes its queries, the documents at one moment, and the policies."""

    number: int
    student: TwoTower
    encoder: QueryEncoder
    documents: Documents
    policies: tuple[Policy, ...]

    def about(self) -> dict[str, object]:
        """Who answers, for every answer."""
        scale = self.student.scale
        said: dict[str, object] = {"name": self.student.name, "fingerprint": self.student.fingerprint, "scale": scale.name}
        return said | {"labels": scale.labels, "gains": scale.gains, "generation": self.number}


class Generations:
    """The generation that answers, `now`, and a thread that looks for another one.

    policies: files, read anew with the student. engine: of the student.

    Raises: InputError where the first generation cannot be made.
    """

    def __init__(
        self,
        student: Path,
        docs: Path,
        *,
        engine: str = "onnx-int8",
        policies: Sequence[Path] = (),
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        loading: Callable[[Path, str, Scale], Policy] = load,
    ) -> None:
        self._student, self._docs, self._engine, self._policies = student, docs, engine, tuple(policies)
        self.limits, self.metrics = limits or Limits(), metrics or Metrics()
        self._loading = loading
        self._lock, self._asked, self._stopped = Lock(), Event(), False
        self.problem: str | None = None
        self._stamp = self._stamped()
        self.now = self._made(1)
        self._took(self.now)

    def reload(self) -> bool:
        """Reads all anew beside what answers, and lets it answer; False if it was refused."""
        return self._try(lambda: self._made(self.now.number + 1))

    def look(self) -> bool:
        """Takes in what changed on disk since, if anything did; False if it was refused."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return self.problem is None
        grown = stamp[0] == self._stamp[0] and _same_files(stamp[1], self._stamp[1])
        self._stamp = stamp
        if grown and self._try(self._grown, tell=False):
            return True
        return self.reload()

    def watch(self, seconds: float) -> None:
        """Looks every so many seconds in a thread, and at once when `ask` was called."""

        def work() -> None:
            while not self._stopped:
                asked = self._asked.wait(seconds)
                self._asked.clear()
                if self._stopped:
                    return
                try:
                    if asked:
                        self._stamp = self._stamped()
                        self.reload()
                    else:
                        self.look()
                except Exception as problem:  # whatever it is, the old generation answers
                    self._refused(f"{type(problem).__name__}: {problem}")

        Thread(target=work, name="germane-watch", daemon=True).start()

    def ask(self) -> None:
        """Has everything read anew soon; may be called in a signal handler."""
        self._asked.set()

    def close(self) -> None:
        self._stopped = True
        self._asked.set()
        self.now.encoder.close()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _made(self, number: int) -> Generation:
        vector_store.about(self._docs)  # a folder that is not there is not made
        student = TwoTower(self._student, engine=self._engine, threads=1, vectors=self._docs)
        assert student.vectors is not None
        documents = student.documents(student.vectors)
        policies = tuple(self._loading(path, student.fingerprint, student.scale) for path in self._policies)
        names = [policy.name for policy in policies]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InputError(f"two policies are called {min(twice)!r}: an answer could not say whose decision is whose")
        encoder = QueryEncoder(student, self.metrics, cache=self.limits.cache)
        return Generation(number, student, encoder, documents, policies)

    def _grown(self) -> Generation:
        now = self.now
        return replace(now, number=now.number + 1, documents=now.documents.later())

    def _try(self, make: Callable[[], Generation], *, tell: bool = True) -> bool:
        with self._lock:
            began = time.perf_counter()
            try:
                made = make()
            except InputError as problem:
                if tell:
                    self._refused(str(problem))
                return False
            old, self.now = self.now, made
            self._took(made)
            if old.encoder is not made.encoder:
                old.encoder.close()  # once what waits there is done
            took = time.perf_counter() - began
            _LOG.info("generation %d answers: %s documents, read in %.2f s", made.number, len(made.documents.vectors), took)
            return True

    def _took(self, made: Generation) -> None:
        self.problem = None
        self.metrics.reloads.labels("loaded").inc()
        self.metrics.healthy.set(1)
        self.metrics.generation.set(made.number)
        self.metrics.documents.set(len(made.documents.vectors))

    def _refused(self, problem: str) -> None:
        self.metrics.reloads.labels("refused").inc()
        self.metrics.healthy.set(0)
        if problem != self.problem:
            _LOG.warning("generation %d goes on answering, the next one was refused: %s", self.now.number, problem)
        self.problem = problem

    def _stamped(self) -> tuple[Files, Files]:
        """What tells one state of the folders from another: the files that are put in place whole, and the logs that grow."""
        logs = sorted(self._docs.glob("log-*.jsonl")), sorted((self._docs / FOLDER).glob("log-*.jsonl"))
        whole = self._student / folders.ABOUT, self._docs / vector_store.ABOUT, *self._policies
        return tuple(map(_stamp, whole)), tuple(map(_stamp, (*logs[0], *logs[1])))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        there = path.stat()
    except OSError:
        return (0, 0, 0)
    return there.st_ino, there.st_size, there.st_mtime_ns


def _same_files(new: Files, old: Files) -> bool:
    """Whether the same files grew."""
    return len(new) == len(old) and all(a[0] == b[0] and a[1] >= b[1] for a, b in zip(new, old, strict=True))
