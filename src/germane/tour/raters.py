"""Simulated people at the judging screens: they log in over HTTP, read a page, press a grade, and decide where two differ.

The screens are those of `germane annotate`, with their accounts, forms and tokens; nothing is voted past them. Who sits there
is simulated: each sees the truth, and errs by a grade now and then (`simulate.raters`).
"""

from __future__ import annotations

import logging
import re
import secrets
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from germane import store
from germane.judges import Confused, ask
from germane.pipeline.annotate import Files, annotate
from germane.pipeline.votes import Votes, write_votes
from germane.registry import accounts, adjudicating, tables, tasks
from germane.registry.accounts import Role
from germane.registry.tasks import Asked, Task
from germane.simulate.marketplace import SCALE, Marketplace
from germane.simulate.raters import votes
from germane.types import InputError
from germane.web.serving import application

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.registry.database import Registry

TEAM = {"ana": Role.RATER, "ben": Role.RATER, "cem": Role.ADJUDICATOR, "olga": Role.OWNER}
RATERS, THIRD = ("ana", "ben"), "cem"
SECONDS = 6
"""What the page's clock is told: simulated people take no time, and nothing is read into it."""

_LOG = logging.getLogger("germane")
Grades = dict[tuple[str, str], int]


class Screen:
    """Somebody's browser: cookies, pages, and forms filled in as they came."""

    def __init__(self, screens: Any, name: str, password: str) -> None:
        from starlette.testclient import TestClient

        self.http = TestClient(screens, base_url="http://localhost", follow_redirects=False)
        self.login = {"name": name, "password": password}

    def __enter__(self) -> Screen:
        self.http.__enter__()
        page = self.http.get("/login").text
        self.sent("/login", {"csrf": hidden(page, "csrf"), **self.login})
        return self

    def __exit__(self, *problem: Any) -> None:
        self.http.__exit__(*problem)

    def get(self, path: str) -> str:
        """A page, wherever it has moved to.

        Raises: InputError for one that is refused.
        """
        for _ in range(4):
            answer = self.http.get(path)
            if answer.status_code != 303:
                break
            path = answer.headers["location"]
        if answer.status_code != 200:
            raise InputError(f"the judging screens answered {answer.status_code} to {path}")
        return answer.text

    def sent(self, path: str, form: dict[str, str]) -> None:
        """A form, sent and counted.

        Raises: InputError where it was refused.
        """
        answer = self.http.post(path, data=form)
        if answer.status_code != 303:
            raise InputError(f"the judging screens refused a form of {path}: {answer.status_code}")


class Judged(NamedTuple):
    """What people said. votes: as `germane votes` wrote them. disputed: pairs on which two differed, and a third decided."""

    votes: Votes
    disputed: int


def judged(
    registry: Registry, pairs: Path, out: Path, *, market: Marketplace, name: str, seed: int, kind: str | None = None
) -> Judged:
    """The votes of two simulated raters on these pairs, and a third person's decisions, all given on the screens.

    Killed at any moment, the next call goes on: whatever was voted is in the registry.
    Raises: InputError where the screens refuse something.
    """
    annotate(registry, Files(pairs), scale=SCALE.name, asked=Asked(raters=2, seed=seed), task=name, kind=kind)
    task = tasks.find(registry, name)
    screens, logins = application(registry), passwords(registry)
    shown = store.read_parquet(pairs)
    for rater, grades in zip(RATERS, opinions(market, shown, seed), strict=True):
        with Screen(screens, rater, logins[rater]) as screen:
            vote(screen, registry, task, grades, f"{rater} judges")
    with Screen(screens, THIRD, logins[THIRD]) as screen:
        disputed = decide(screen, registry, task, truth(market, shown))
    return Judged(write_votes(registry, task, out), disputed)


def vote(screen: Screen, registry: Registry, task: Task, grades: Grades, doing: str) -> int:
    """How many pairs somebody judged, until the screens have no more for them."""
    done = 0
    while number := hidden(page := screen.get(f"/judge/{task.id}"), "assignment"):
        form = {name: hidden(page, name) for name in ("csrf", "assignment", "token")} | {"seconds": str(SECONDS)}
        screen.sent(f"/judge/{task.id}", form | {"grade": str(grades[_pair(registry, assignment=int(number))])})
        done += 1
        if done % 100 == 0:
            _LOG.info("%s on the screens: %s pairs", doing, f"{done:,}")
    return done


def decide(screen: Screen, registry: Registry, task: Task, grades: Grades) -> int:
    """How many pairs were decided by a third person, now or before."""
    while number := hidden(page := screen.get(f"/adjudicate/{task.id}/next"), "pair"):
        form = {name: hidden(page, name) for name in ("csrf", "assignment", "pair", "token")}
        form |= {"grade": str(grades[_pair(registry, pair=int(number))]), "why": "simulated: read both texts again"}
        screen.sent(f"/adjudicate/{task.id}", form)
    waiting = len(adjudicating.queue(registry, task, accounts.find(registry, THIRD)))
    if waiting:
        raise InputError(f"{waiting} pairs of task {task.name!r} still wait for a decision")
    with registry.reading() as connection:
        query = sa.select(sa.func.count()).select_from(tables.pairs)
        return int(connection.scalar(query.where(tables.pairs.c.task_id == task.id, tables.pairs.c.decided)) or 0)


def passwords(registry: Registry) -> dict[str, str]:
    """A new password for everybody of the team, who get an account if they have none. They are written nowhere."""
    there = {account.name for account in accounts.listed(registry)}
    made = {name: secrets.token_urlsafe(12) for name in TEAM}
    for name, password in made.items():
        if name in there:
            accounts.set_password(registry, name, password, actor="tour")
        else:
            accounts.add(registry, name, TEAM[name], password, actor="tour")
    return made


def opinions(market: Marketplace, shown: pa.Table, seed: int) -> list[Grades]:
    """What each rater thinks of each pair."""
    said = votes(market, shown, raters=RATERS, seed=seed)
    rows = list(zip(*(said[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True))
    n = shown.num_rows
    return [{(str(q), str(d)): int(grade) for q, d, grade in rows[i * n : (i + 1) * n]} for i in range(len(RATERS))]


def truth(market: Marketplace, shown: pa.Table) -> Grades:
    """What the third person says, who never errs."""
    judge = Confused(market.truth, [[float(i == j) for j in range(5)] for i in range(5)], scale=SCALE, seed=0)
    said = ask(judge, shown)
    return {
        (str(q), str(d)): int(g)
        for q, d, g in zip(*(said[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True)
    }


def hidden(page: str, name: str) -> str:
    """The value of a form's hidden field; "" where the page has none."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    return unescape(found[1]) if found else ""


def _pair(registry: Registry, *, assignment: int | None = None, pair: int | None = None) -> tuple[str, str]:
    """Which pair a page shows: a person reads its texts, a simulated one its ids."""
    columns = sa.select(tables.pairs.c.query_id, tables.pairs.c.doc_id)
    if assignment is not None:
        of = tables.assignments
        columns = columns.join(of, of.c.pair_id == tables.pairs.c.id).where(of.c.id == assignment)
    else:
        columns = columns.where(tables.pairs.c.id == pair)
    with registry.reading() as connection:
        row = connection.execute(columns).one()
    return str(row.query_id), str(row.doc_id)
