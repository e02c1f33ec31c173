"""50 raters at once on the judging screens: is a vote lost, is one too many, how long does one take; and kill -9, ten times.

Each rater is logged in before and votes every two seconds over HTTP, as a browser does: the form, then the next page. The peer,
in the same run, is a bare FastAPI + SQLAlchemy endpoint that inserts one row, durable as ours, at the same rate.

    python benchmarks/annotate.py                                         # SQLite
    python benchmarks/annotate.py --registry postgresql://USER@HOST/DATABASE    # an empty database
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import httpx
import sqlalchemy as sa

from germane.registry import accounts, tasks, telling
from germane.registry.database import Registry, open_registry
from germane.registry.tables import votes
from germane.registry.tasks import Asked, NewPair, TaskKind
from germane.scales import get
from germane.types import VoteKind

PASSWORD = "a benchmark's password"
SCREENS = """
import sys
from germane.registry.database import open_registry
from germane.web import serving
serving.serve(serving.application(open_registry(sys.argv[1])), host="127.0.0.1", port=0, tell=lambda a: print(a, flush=True))
"""
PEER = """
import sys
import sqlalchemy as sa
from fastapi import FastAPI, Form
from germane.registry.database import connect
from germane.web import serving
engine = connect(sys.argv[1])
columns = sa.Column("id", sa.Integer, primary_key=True), sa.Column("token", sa.Text), sa.Column("grade", sa.Integer)
rows = sa.Table("peer", sa.MetaData(), *columns)
rows.metadata.create_all(engine)
app = FastAPI()
@app.post("/row")
def row(token: str = Form(), grade: int = Form()) -> dict[str, bool]:
    with engine.begin() as connection:
        connection.execute(rows.insert().values(token=token, grade=grade))
    return {"ok": True}
serving.serve(app, host="127.0.0.1", port=0, tell=lambda a: print(a, flush=True))
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, program: str, where: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", program, where], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().rstrip("/")

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait()


class Rater:
    """A browser of somebody who is logged in. acknowledged: the tokens of votes that were answered for."""

    def __init__(self, http: httpx.AsyncClient, cookie: str, task: int, seed: int) -> None:
        self.http, self.path, self.chance = http, f"/judge/{task}", Random(seed)
        self.headers = {"Cookie": f"germane={cookie}"}
        self.form: dict[str, str] = {}
        self.acknowledged: list[str] = []
        self.vote_s: list[float] = []
        self.page_s: list[float] = []

    async def look(self) -> bool:
        page = (await self.http.get(self.path, headers=self.headers)).raise_for_status().text
        self.form = dict(re.findall(r'name="(csrf|assignment|token)" value="([^"]*)"', page))
        return "token" in self.form

    async def vote(self) -> bool:
        form = {**self.form, "grade": str(self.chance.randrange(4)), "note": "", "seconds": "1.5"}
        begun = time.perf_counter()
        answer = await self.http.post(self.path, data=form, headers=self.headers)
        voted = time.perf_counter()
        if answer.status_code != 303:
            raise RuntimeError(f"a vote was answered {answer.status_code}")
        self.acknowledged.append(form["token"])
        more = await self.look()
        self.vote_s.append(voted - begun)
        self.page_s.append(time.perf_counter() - begun)
        return more


def quantile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return 1000 * sorted(values)[min(int(share * len(values)), len(values) - 1)]


def prepare(registry: Registry, raters: int, pairs: int, name: str) -> tuple[tasks.Task, list[str]]:
    """A task and the cookies of so many raters."""
    text = "A description of some length. " * 40
    given = [
        NewPair(
            f"q{i // 10}", f"d{i}", f"a query {i // 10}", (("title", f"Item {i}"), ("brand", "Acme"), ("description", text))
        )
        for i in range(pairs)
    ]
    task = tasks.load(registry, name, TaskKind.GOLDEN, get("esci"), given, Asked(raters=2), actor="benchmark").task
    there = {account.name for account in accounts.listed(registry)}
    for i in range(raters):
        if f"rater{i}" not in there:
            accounts.add(registry, f"rater{i}", "rater", PASSWORD, actor="benchmark")
    cookies = [accounts.log_in(registry, f"rater{i}", PASSWORD, address="benchmark") for i in range(raters)]
    assert all(cookies)
    return task, [str(cookie) for cookie in cookies]


def faults(registry: Registry, task: tasks.Task, acknowledged: list[str]) -> tuple[int, int, int]:
    """(votes, acknowledged votes that are not there, votes beyond what a pair was to get)."""
    with registry.reading() as connection:
        there = set(connection.scalars(sa.select(votes.c.token).where(votes.c.task_id == task.id)))
    counts = Counter((v.query_id, v.doc_id) for v in telling.standing(telling.votes_of(registry, task), VoteKind.VOTE))
    return len(there), len(set(acknowledged) - there), sum(max(n - task.asked.raters, 0) for n in counts.values())


def client(address: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    return httpx.AsyncClient(base_url=address, limits=limits, timeout=30)


async def steady(people: list[Rater], seconds: float, every: float) -> None:
    """Everybody votes once in so many seconds, not all at the same moment."""

    for rater in people:  # everybody has a pair on the screen before the clock starts
        await rater.look()
    begun_at = time.perf_counter() + 1

    async def one(rater: Rater, start: float) -> None:
        begun = begun_at + start
        for number in range(int(seconds / every)):
            await asyncio.sleep(max(begun + number * every - time.perf_counter(), 0))
            if not await rater.vote():
                raise RuntimeError("the pairs ran out: the benchmark needs more of them")

    await asyncio.gather(*(one(rater, every * i / len(people)) for i, rater in enumerate(people)))


async def peer(address: str, raters: int, seconds: float, every: float) -> list[float]:
    taken: list[float] = []
    async with client(address) as http:

        async def one(i: int) -> None:
            begun = time.perf_counter() + every * i / raters
            for number in range(int(seconds / every)):
                await asyncio.sleep(max(begun + number * every - time.perf_counter(), 0))
                at = time.perf_counter()
                (await http.post("/row", data={"token": f"{i}-{number}", "grade": "1"})).raise_for_status()
                taken.append(time.perf_counter() - at)

        await asyncio.gather(*(one(i) for i in range(raters)))
    return taken


async def load(where: str, registry: Registry, raters: int, seconds: float, every: float) -> None:
    wanted = int(raters * seconds / every)
    task, cookies = prepare(registry, raters, wanted, "load")
    server = Server(SCREENS, where)
    async with client(server.address) as http:
        people = [Rater(http, cookie, task.id, i) for i, cookie in enumerate(cookies)]
        await steady(people, seconds, every)
    server.stop()
    said = [token for rater in people for token in rater.acknowledged]
    count, lost, extra = faults(registry, task, said)
    ours, pages = [t for r in people for t in r.vote_s], [t for r in people for t in r.page_s]
    other = Server(PEER, where)
    theirs = await peer(other.address, raters, seconds, every)
    other.stop()
    print(f"{raters} raters, a vote every {every:g} s for {seconds:g} s: {count:,} votes of {wanted:,}; ", end="")
    print(f"lost {lost}, extra {extra}")
    for name, values in (("vote", ours), ("vote and next page", pages), ("peer: one row", theirs)):
        print(f"  {name:<20} p50 {quantile(values, 0.5):6.1f} ms   p99 {quantile(values, 0.99):6.1f} ms   n {len(values):,}")
    ratios = [quantile(ours, share) / quantile(theirs, share) for share in (0.5, 0.99)]
    print(f"  vote / peer          p50 {ratios[0]:6.1f}      p99 {ratios[1]:6.1f}")


async def killed(where: str, registry: Registry, raters: int, times: int) -> None:
    """kill -9 while everybody votes as fast as they can; every acknowledged vote must be there."""
    task, cookies = prepare(registry, raters, 20_000, "killed")
    said: list[str] = []
    for number in range(times):
        server = Server(SCREENS, where)
        async with client(server.address) as http:
            people = [Rater(http, cookie, task.id, 100 * number + i) for i, cookie in enumerate(cookies)]

            async def one(rater: Rater) -> None:
                try:
                    await rater.look()
                    while await rater.vote():
                        pass
                except httpx.TransportError:
                    return

            running = [asyncio.create_task(one(rater)) for rater in people]
            while sum(len(rater.acknowledged) for rater in people) < 40 + 10 * number:  # in the middle of it
                await asyncio.sleep(0.05)
            server.stop(signal.SIGKILL)
            await asyncio.gather(*running)
        said += [token for rater in people for token in rater.acknowledged]
    count, lost, extra = faults(registry, task, said)
    print(
        f"kill -9, {times} times, {raters} raters without a pause: {len(said):,} votes acknowledged, {count:,} there; ", end=""
    )
    print(f"lost {lost}, extra {extra}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--registry", help="by default SQLite in a temporary folder")
    parser.add_argument("--raters", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--every", type=float, default=2)
    parser.add_argument("--kills", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = given.registry or str(Path(folder) / "registry.sqlite")
        registry = open_registry(where)
        print(f"{registry.engine.dialect.name}; load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        asyncio.run(load(where, registry, given.raters, given.seconds, given.every))
        asyncio.run(killed(where, registry, min(given.raters, 20), given.kills))
        registry.close()


if __name__ == "__main__":
    main()
