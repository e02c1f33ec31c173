"""Labelling on a Ray cluster: the same blocks as in one process, answered by a pool of actors on any number of machines.

Ray core and not Ray Data: a block is what is asked together, put on disk together and lost together, and Ray Data cuts and
joins blocks as its memory asks for. So the driver reads the file and commits what comes back, as it does for a judge in its own
process; an actor holds a judge, gets a block and returns its answers. An actor that dies costs the block that it had.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from germane.extras import first_line, needs
from germane.judges import pairs_of
from germane.labelling.asking import Careful, Done, Task
from germane.labelling.speed import latency_ms, machine
from germane.types import InputError, Judge

if TYPE_CHECKING:
    import pyarrow as pa

AHEAD = 2
"""Blocks that an actor has: one that it works at, and one that travels meanwhile."""

DEATHS = 3
"""Actors that may die over one block before it is thought to be the block's fault."""

_BY = "labelling/ray.py"


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what of it a job takes. address: "auto", "ray://HOST:10001"; "" starts one on this machine.

    actors: that hold a judge each; 0: as many as there is room for. cpus, gpus: of each, which may be parts of one.
    """

    address: str = ""
    actors: int = 0
    cpus: float = 1.0
    gpus: float = 0.0


class Pool:
    """Actors that hold one judge each. make: builds it, on the actor's machine, where germane and the judge's folder are.

    Raises: InputError, when entered, where Ray is missing or the cluster cannot be reached, and what `make` raises.
    """

    def __init__(self, make: Callable[[], Judge], cluster: Cluster) -> None:
        self._make, self._cluster = make, cluster
        self._actors: list[Any] = []
        self._ours = False

    def __enter__(self) -> Self:
        needs("scale", "ray", by=_BY)
        self._join()
        try:
            self._actors = [self._actor() for _ in range(self._many())]
            said = self._first(self._actors[0].about.remote())
        except BaseException:
            self.__exit__()
            raise
        self.name, self.fingerprint, self.block = said["name"], said["fingerprint"], said["block"]
        self.scale, self.machine = said["scale"], f"{len(self._actors)} actors, each on {said['machine']}"
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)
        if self._ours:
            ray.shutdown()

    def answers(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """Each block, as it is finished.

        Raises: InputError that a judge raises, and where actors die over one block again and again.
        """
        import ray

        at_work: dict[Any, tuple[int, Task]] = {}
        queues: list[deque[Any]] = [deque() for _ in self._actors]
        again: deque[Task] = deque()
        deaths: Counter[int] = Counter()
        left = iter(tasks)
        while True:
            while (slot := min(range(len(queues)), key=lambda at: len(queues[at]))) is not None and len(queues[slot]) < AHEAD:
                task = again.popleft() if again else next(left, None)
                if task is None:
                    break
                ref = self._actors[slot].answer.remote(task.table)
                at_work[ref] = slot, task
                queues[slot].append(ref)
            if not at_work:
                return
            ref = ray.wait(list(at_work), num_returns=1)[0][0]
            slot, task = at_work[ref]
            try:
                said, seconds = self._first(ref)
            except _Died as problem:
                lost = [at_work.pop(each)[1] for each in queues[slot]]
                deaths[lost[0].number] += 1  # the first is the one that it worked at
                if deaths[lost[0].number] >= DEATHS:
                    raise InputError(
                        f"{DEATHS} actors died over block {lost[0].number:,} ({problem}): what was finished is kept, and the "
                        "same command goes on from there"
                    ) from problem
                again.extend(lost)
                queues[slot].clear()
                self._actors[slot] = self._actor()
                continue
            del at_work[ref]
            queues[slot].remove(ref)
            yield Done(task, said, seconds)

    def latency_ms(self, pairs: pa.Table) -> float | None:
        found: float | None = self._first(self._actors[0].latency_ms.remote(pairs))
        return found

    def _join(self) -> None:
        """Connects to the cluster, or starts one here; one that this process uses already is used as it is."""
        import ray

        if ray.is_initialized():
            return
        where = self._cluster.address
        options: dict[str, Any] = {"address": where} if where else {"num_cpus": self._room(), "include_dashboard": False}
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError, OSError) as problem:
            raise InputError(f"no Ray cluster at {where or 'this machine'}: {first_line(problem)}") from problem
        self._ours = True

    def _room(self) -> int:
        """CPUs that a cluster on this machine declares: those that there are, and more where the actors ask for them."""
        here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(here, -int(-self._cluster.actors * self._cluster.cpus // 1))

    def _many(self) -> int:
        """How many actors. Raises: InputError where the cluster has no room for them."""
        import ray

        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        each = {"CPU": self._cluster.cpus, "GPU": self._cluster.gpus}
        room = min((int(there.get(name, 0.0) / share + 1e-9) for name, share in each.items() if share > 0), default=1)
        if room < max(1, self._cluster.actors):
            wanted = f"{max(1, self._cluster.actors)} actors of {self._cluster.cpus:g} CPUs and {self._cluster.gpus:g} GPUs"
            has = f"{there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"
            raise InputError(f"the Ray cluster has {has}, and {wanted} do not fit: ask for less in [ray] of germane.toml")
        return self._cluster.actors or room

    def _actor(self) -> Any:
        import ray

        options = {"num_cpus": self._cluster.cpus, "num_gpus": self._cluster.gpus}
        return ray.remote(_Worker).options(**options).remote(self._make)

    def _first(self, ref: Any) -> Any:
        """What an actor returns. Raises: what it raised, as it was; _Died if it is no more."""
        import ray

        try:
            return ray.get(ref)
        except ray.exceptions.RayTaskError as problem:
            raise problem.cause from problem
        except ray.exceptions.RayActorError as problem:
            if isinstance(cause := getattr(problem, "cause", None), InputError):  # it never began
                raise cause from problem
            raise _Died(first_line(problem)) from problem


class _Died(Exception):
    """An actor that is no more."""


class _Worker:
    """What an actor is: a judge, and the care that a pair which breaks it costs itself alone."""

    def __init__(self, make: Callable[[], Judge]) -> None:
        self._judge = make()
        self._careful = Careful(self._judge)

    def about(self) -> dict[str, Any]:
        judge: Any = self._judge
        used = getattr(judge, "device", None)
        return {
            "name": judge.name,
            "fingerprint": judge.fingerprint,
            "scale": judge.scale,
            "block": getattr(judge, "block", None),
            "machine": machine(None if used is None else str(used)),
        }

    def answer(self, table: pa.Table) -> tuple[pa.Table, float]:
        since = time.perf_counter()
        return self._careful(table), time.perf_counter() - since

    def latency_ms(self, table: pa.Table) -> float | None:
        return latency_ms(self._judge, list(pairs_of(table)))
