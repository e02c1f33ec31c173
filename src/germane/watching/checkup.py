"""Is this project ready to be watched, and is it watched? What `germane doctor` says of [watch]; nothing is changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

from germane.cards import files as cards
from germane.judges import folder as judge_folder
from germane.judges import providers
from germane.judges.loading import locate
from germane.labelling.checkup import ABSENT, BROKEN, OK, Finding
from germane.registry import database
from germane.report.words import many
from germane.settings import Settings
from germane.types import InputError
from germane.watching import asking, calendar, files, reading, texts
from germane.watching import plan as plans
from germane.watching.plan import DATE, FAKE, Plan

ROOM, TIMES = 200_000_000, 3
"""Bytes that a day is given at least, and how often the last day's folder has to fit on the disk."""

LATE = 3
"""Days behind from which on something is wrong."""


def checkup(found: Settings, *, now: Callable[[], datetime] = database.now) -> Iterator[Finding]:
    """One finding for each thing that `watch` needs. now: the clock, UTC."""
    try:
        plan = plans.of(found)
    except InputError as problem:
        yield Finding("watch settings", BROKEN, str(problem), "mend [watch] in germane.toml")
        return
    over = calendar.yesterday(now(), plan.zone)
    yield Finding("watch settings", OK, f"days of {plan.zone.key}, {plan.sample:,} queries a day; the last one over is {over}")
    yield from _each("watch log", lambda: _log(plan, over))
    yield from _each("watch documents", lambda: _documents(plan, over))
    yield from _each("watch judge", lambda: _judge(plan))
    yield from _each("watch anchors", lambda: _anchors(plan))
    yield from _each("watch registry", lambda: _registry(plan, over, now))
    yield from _sinks(plan)
    yield from _each("watch disk", lambda: _disk(plan))


def _each(subject: str, look: Callable[[], Finding | Iterator[Finding]]) -> Iterator[Finding]:
    """What a look finds; what it cannot read is broken, in one line."""
    try:
        made = look()
        yield from [made] if isinstance(made, Finding) else made
    except InputError as problem:
        yield Finding(subject, BROKEN, str(problem), "mend it: `germane watch run` would stop here")
    except OSError as problem:
        yield Finding(subject, BROKEN, f"{type(problem).__name__}: {problem.strerror}", "may this user read and write there?")


def _log(plan: Plan, over: date) -> Finding:
    if plan.table:
        rows, _ = reading.rows_of(plan, over, [])
        if not rows:
            return Finding("watch log", ABSENT, f"no request of {over} in {plan.table}", "is it late, or another table?")
        return Finding("watch log", OK, f"{many(rows, 'request')} of {over} in {plan.table}, every column is there")
    there = plan.files(over)
    if not there or not plan.has_log(over):
        named = plan.log.replace(DATE, str(over))
        return Finding("watch log", ABSENT, f"none of {over}: no file {named}", "is it late, or is watch.log another path?")
    rows, future = reading.rows_of(plan, over, there)
    if not rows:
        advice = "is watch.log_zone that of the times, and watch.zone that of the days?"
        return Finding("watch log", BROKEN, f"no request of {over} in {there[0].name}", advice)
    if future:
        return Finding(
            "watch log", BROKEN, f"{future:,} of its requests are later than {over}", "is this machine's clock right?"
        )
    return Finding("watch log", OK, f"{many(rows, 'request')} of {over}, every column is there")


def _documents(plan: Plan, over: date) -> Finding:
    file = plan.documents(over)
    return Finding("watch documents", OK, f"{file.name}: {texts.look(plan, file)}")


def _judge(plan: Plan) -> Finding:
    if plan.judge == FAKE:
        return Finding("watch judge", ABSENT, "the fake one, whose grades have no sense", "name a judge in watch.judge")
    if plan.asks_a_model:
        annotator = asking.annotator(plan)
        asked = annotator.asked()
        for model, endpoint in zip(asked.models, annotator.endpoints(asked), strict=True):
            endpoint.key(model)
            providers.installed(model)
        name, fingerprint = asked.name, asked.fingerprint
    else:
        about = judge_folder.read(locate(plan.judge))
        name, fingerprint = about.name, about.fingerprint
    card = cards.find(plan.cards, fingerprint, plan.scale.name, plan.scale.version) if plan.cards.is_dir() else None
    said = f"{name}, fingerprint {fingerprint}"
    if card is None:
        state = BROKEN if plan.asks_a_model else ABSENT
        return Finding("watch judge", state, f"{said}: no card", "germane check holds it against people")
    if not (card.bars and card.passed):
        state = BROKEN if plan.asks_a_model else ABSENT
        return Finding("watch judge", state, f"{said}: its card does not meet its bars", "see the card")
    return Finding("watch judge", OK, f"{said}: its card meets its bars")


def _anchors(plan: Plan) -> Finding:
    if plan.anchors is None:
        advice = "name some hundred golden pairs in watch.anchors: else a judge that moves looks like search"
        return Finding("watch anchors", ABSENT, "none", advice)
    from germane.labelling.reading import PairsFile

    if not plan.anchors.is_file():
        raise InputError(f"watch.anchors: there is no file {plan.anchors.name}")
    rows = sum(piece.num_rows for piece in PairsFile(plan.anchors, None).pieces())
    if not rows:
        raise InputError(f"watch.anchors: {plan.anchors.name} holds no pair")
    return Finding("watch anchors", OK, f"{many(rows, 'pair')} in {plan.anchors.name}")


def _registry(plan: Plan, over: date, now: Callable[[], datetime]) -> Iterator[Finding]:
    from sqlalchemy.exc import DBAPIError

    from germane.registry.migrations import revision, scripts

    if "://" not in plan.registry and not Path(plan.registry).is_file():
        yield Finding("watch registry", ABSENT, f"no {Path(plan.registry).name} yet", "`germane watch run` makes it")
        return
    engine = database.connect(plan.registry)
    try:
        with engine.connect() as connection:
            here, head = revision(connection), scripts().get_current_head()
            if here != head:
                known = here is None or here in {step.revision for step in scripts().walk_revisions()}
                advice = "`germane watch run` brings it to this version's" if known else "update germane"
                yield Finding(
                    "watch registry", ABSENT if known else BROKEN, f"at step {here}, this germane's is {head}", advice
                )
                return
        yield Finding("watch registry", OK, f"{engine.url.get_backend_name()}, at step {here}")
        yield from _history(database.Registry(engine, now), plan, over)
    except DBAPIError as problem:
        text = " ".join(str(problem.orig or "it does not answer").split())[:120]
        yield Finding("watch registry", BROKEN, text, "is the server up, and may this user read it?")
    finally:
        engine.dispose()


def _history(registry: database.Registry, plan: Plan, over: date) -> Iterator[Finding]:
    """Days behind, a claim that is stuck, anchors without a grade, and who may look at it."""
    from germane.registry import accounts, days, looking, voted

    if (span := looking.span(registry)) is None:
        yield Finding("watch days", ABSENT, "no day yet", "`germane watch run` does the first")
    else:
        late = (over - date.fromisoformat(span.last)).days
        if late < 0:
            found = f"the history has {span.last}, and this machine's clock says that {over} was yesterday"
            yield Finding("watch days", BROKEN, found, "set the clock, or watch.zone")
        elif late:
            state = BROKEN if late >= LATE else ABSENT
            advice = "does a scheduler call `germane watch run`? It catches up"
            yield Finding("watch days", state, f"{late:,} behind: the last one is {span.last}", advice)
        else:
            yield Finding("watch days", OK, f"{span.done:,} done, {many(span.gaps, 'gap')}, the last one is {span.last}")
        said = days.anchors_of(registry, span.last_done) if plan.anchors and span.last_done else []
        if said and not any(row.relevance is not None for row in said):
            yield Finding(
                "watch anchors", BROKEN, f"none of {len(said):,} had a grade on {span.last_done}", "see that day's report"
            )
    stuck = [claim for claim in days.claims_of(registry) if claim.stuck]
    if stuck:
        found = ", ".join(f"{claim.date} (process {claim.process} on {claim.host})" for claim in stuck)
        yield Finding("watch claim", ABSENT, f"left behind: {found}", "the next `germane watch run` takes it over")
    people = [account for account in accounts.listed(registry) if not account.disabled]
    if not people:
        advice = "`germane account add NAME --role owner`, before others are to reach `germane web`"
        yield Finding("watch accounts", ABSENT, "none: the dashboards are this machine's alone", advice)
    else:
        yield Finding("watch accounts", OK, f"{len(people):,} may log in")
    raters = sum(account.role == "rater" for account in people)
    waiting = len(voted.asked(registry)) if raters < 2 else 0
    if waiting:
        advice = "add two raters (`germane account add NAME --role rater`), or set watch.golden = 0"
        yield Finding("watch golden", ABSENT, f"{waiting:,} pairs wait for people, and {raters} may judge them", advice)


def _sinks(plan: Plan) -> Iterator[Finding]:
    """Whether each sink could be reached: what its variables hold is never said."""
    sinks = plan.sinks
    if not (sinks.file or sinks.webhook_env or sinks.email_to):
        yield Finding("watch sinks", ABSENT, "none: alerts are in the reports alone", "name one in [sinks]")
    if sinks.file:
        place = (plan.root / sinks.file).parent
        nearest = next(folder for folder in (place, *place.parents) if folder.exists())
        ok = nearest.is_dir() and os.access(nearest, os.W_OK)
        advice = "" if ok else "make its folder, for this user to write"
        yield Finding("sink file", OK if ok else BROKEN, sinks.file, advice)
    for name, variable in (("webhook", sinks.webhook_env), ("email", sinks.password_env if sinks.smtp_user else "")):
        if not variable:
            continue
        if os.environ.get(variable):
            yield Finding(f"sink {name}", OK, f"{variable} is set")
        else:
            yield Finding(
                f"sink {name}", BROKEN, f"{variable} is not set", "set it where the scheduler runs `germane watch run`"
            )
    if sinks.email_to and not (sinks.smtp_user and sinks.password_env):
        yield Finding("sink email", OK, f"{sinks.smtp_host}, without a login")


def _disk(plan: Plan) -> Finding:
    there = [path for path in sorted(plan.folder.glob("????-??-??")) if path.is_dir()] if plan.folder.is_dir() else []
    last = sum(file.stat().st_size for file in there[-1].rglob("*") if file.is_file()) if there else 0
    need = max(last * TIMES, ROOM)
    free = shutil.disk_usage(plan.folder if plan.folder.is_dir() else plan.root).free
    if free < need:
        found = f"{free / 1e6:,.0f} MB free, and a day may take {need / 1e6:,.0f} MB"
        return Finding("watch disk", BROKEN, found, f"free some, or move {files.folder(plan, '').name} to another disk")
    return Finding("watch disk", OK, f"{free / 1e9:,.0f} GB free, the last day took {last / 1e6:,.1f} MB")
