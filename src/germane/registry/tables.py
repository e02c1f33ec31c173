"""The registry's tables: accounts, tasks, pairs, who was given what, every vote; watched days and what was found on them.

Experiments, their looks and decisions. Votes, log, and all that is of a day or of an experiment are only added to.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class Moment(sa.types.TypeDecorator[datetime]):
    """A moment in UTC, which SQLite keeps without its zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True)


def _of(table: str, *, needed: bool = True) -> sa.Column[int]:
    return sa.Column(f"{table.removesuffix('s')}_id", sa.ForeignKey(f"{table}.id"), nullable=not needed)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _moment(name: str, *, needed: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, Moment, nullable=not needed)


accounts = sa.Table(
    "accounts",
    metadata,
    _id(),
    _text("name"),
    sa.Column("key", sa.Text, nullable=False, unique=True),  # the name without case: two that look alike are one
    _text("role"),
    _text("password"),  # argon2
    _moment("created_at"),
    _moment("disabled_at", needed=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    _id(),
    _of("accounts"),
    sa.Column("digest", sa.Text, nullable=False, unique=True),  # of the cookie, which is nowhere kept
    _text("csrf"),
    _moment("created_at"),
    _moment("seen_at"),
    _moment("ended_at", needed=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
    _id(),
    _text("name"),
    _text("address"),
    _moment("at"),
    sa.Index(None, "name", "at"),
    sa.Index(None, "address", "at"),
)

tasks = sa.Table(
    "tasks",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("kind"),  # golden or audit
    sa.Column("scale", sa.JSON, nullable=False),  # name, labels, gains, aliases; the guide stands in `guides`
    _text("guide_version"),
    sa.Column("raters", sa.Integer, nullable=False),  # votes that a pair gets
    _text("adjudicate"),  # any: every disagreement; majority: where more than half do not agree
    sa.Column("entropy_bar", sa.Float),  # a judge's entropy from which a pair is adjudicated although people agree
    sa.Column("control_every", sa.Integer, nullable=False),  # one hidden control in so many pairs
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("lease_seconds", sa.Integer, nullable=False),
    _text("search_url"),
    sa.Column("columns", sa.JSON, nullable=False),  # name -> Arrow type of what pairs bring besides
    _moment("created_at"),
    sa.CheckConstraint("raters >= 1", name="raters"),
    sa.CheckConstraint("kind IN ('golden', 'audit')", name="kind"),
)

guides = sa.Table(
    "guides",
    metadata,
    _id(),
    _of("tasks"),
    _text("version"),
    _text("text"),
    _moment("at"),
    sa.UniqueConstraint("task_id", "version"),
)

pairs = sa.Table(
    "pairs",
    metadata,
    _id(),
    _of("tasks"),
    sa.Column("place", sa.Integer, nullable=False),  # in a random order of the task
    _text("query_id"),
    _text("doc_id"),
    _text("query"),
    sa.Column("fields", sa.JSON, nullable=False),  # what a rater is shown: [[name, value], ...]
    _text("context"),
    _text("image"),
    _text("stratum"),
    sa.Column("entropy", sa.Float),
    sa.Column("more", sa.JSON, nullable=False),  # odds and whatever else came with the pair, kept as it came
    sa.Column("control", sa.Integer),  # the known grade of a hidden control
    sa.Column("filled", sa.Boolean, nullable=False),  # every vote that was asked for is there
    sa.Column("disputed", sa.Boolean, nullable=False),  # waits for a third person
    sa.Column("discussed", sa.Boolean, nullable=False),
    sa.Column("decided", sa.Boolean, nullable=False),
    sa.UniqueConstraint("task_id", "query_id", "doc_id"),
    sa.Index(None, "task_id", "filled", "place"),
    sa.Index(None, "task_id", "control", "filled"),
    sa.Index(None, "task_id", "disputed"),
    sa.Index(None, "query_id", "doc_id"),
)

assignments = sa.Table(
    "assignments",
    metadata,
    _id(),
    _of("tasks"),
    _of("pairs"),
    _of("accounts"),
    _text("kind"),
    sa.Column("slot", sa.Integer),  # 1 to raters for votes, 0 for the adjudicator; none for controls, and once it was lost
    _text("token"),  # of the page that shows it: one vote each
    _text("guide_version"),
    _moment("shown_at"),
    _moment("lease_until"),
    _moment("done_at", needed=False),
    sa.UniqueConstraint("pair_id", "account_id", "kind"),
    sa.UniqueConstraint("pair_id", "slot"),  # no pair gets one vote too many, whatever the code above it does
    sa.Index(None, "account_id", "task_id", "done_at"),
    sa.Index(None, "task_id", "done_at"),
)

votes = sa.Table(
    "votes",
    metadata,
    _id(),
    _of("tasks"),
    _of("pairs"),
    _of("accounts"),
    _text("kind"),
    sa.Column("relevance", sa.Integer),
    _text("guide_version"),
    _moment("at"),
    _text("reason"),
    _text("note"),
    sa.Column("seconds", sa.Float),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("token", sa.Text, nullable=False, unique=True),
    sa.Index(None, "pair_id", "account_id"),
    sa.Index(None, "account_id", "task_id"),
    sa.Index(None, "task_id", "at"),
)

remarks = sa.Table(
    "remarks",
    metadata,
    _id(),
    _of("tasks"),
    _of("pairs"),
    _of("accounts"),
    _text("kind"),  # discussion, or a question to the guide
    _text("text"),
    _text("guide_version"),
    _moment("at"),
    _moment("closed_at", needed=False),
    sa.Index(None, "task_id", "kind"),
    sa.Index(None, "pair_id"),
)

log = sa.Table(
    "log",
    metadata,
    _id(),
    _moment("at"),
    _text("actor"),  # an account's name, or who called the command line
    _text("action"),
    _text("subject"),
    sa.Column("detail", sa.JSON, nullable=False),
)

# --- watching search ---------------------------------------------------------------------------------------------------


def _date(name: str = "date") -> sa.Column[str]:
    return sa.Column(name, sa.String(10), nullable=False)  # ISO, of the zone of the days: a day is no moment


def _number(name: str, *, needed: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=not needed)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON, nullable=False)


def _number_of(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _estimate() -> list[sa.Column[Any]]:
    """The columns of an estimate; no number where there is no answer."""
    return [*(_number(name) for name in ("value", "se", "low", "high")), _number_of("n"), _text("method"), _number("level")]


days = sa.Table(
    "days",
    metadata,
    _id(),
    sa.Column("date", sa.String(10), nullable=False, unique=True),  # what makes the job idempotent, whoever runs it
    _text("state"),  # done, or gap: no traffic, or no log
    _text("zone"),
    _number_of("requests"),
    _number_of("queries"),
    _number_of("sampled"),
    _number_of("panel"),
    _text("judge"),
    _text("fingerprint"),
    _text("guide_version"),
    _text("scale"),
    _text("report"),  # its path, relative to the project
    _json("facts"),  # the design, coverage, costs, notes
    _moment("at"),
    sa.CheckConstraint("state IN ('done', 'gap')", name="state"),
)

levels = sa.Table(
    "levels",
    metadata,
    _id(),
    _of("days"),
    _text("metric"),
    _text("segment"),
    *_estimate(),
    sa.UniqueConstraint("day_id", "metric", "segment"),
    sa.Index(None, "metric", "segment", "day_id"),
)

changes = sa.Table(
    "changes",
    metadata,
    _id(),
    _of("days"),
    _date("before"),  # the day that it is compared with
    _text("metric"),
    _text("segment"),
    _text("part"),
    _number("value"),
    _number("se"),
    _number_of("n"),
    sa.UniqueConstraint("day_id", "metric", "segment", "part"),
)

sampled = sa.Table(
    "sampled",
    metadata,
    _id(),
    _of("days"),
    _text("query"),
    _number_of("requests"),
    _number("probability", needed=True),
    _number("panel_probability", needed=True),
    sa.Column("panel", sa.Boolean, nullable=False),
    _text("stratum"),
    _json("segments"),
    _json("metrics"),  # null where there is no answer
    sa.UniqueConstraint("day_id", "query"),
)

anchors = sa.Table(
    "anchors",
    metadata,
    _id(),
    _of("days"),
    _text("query_id"),
    _text("doc_id"),
    sa.Column("relevance", sa.Integer),
    _text("outcome"),
    _text("fingerprint"),
    sa.UniqueConstraint("day_id", "query_id", "doc_id"),
)

golden_draws = sa.Table(
    "golden_draws",
    metadata,
    _id(),
    _of("days"),
    _of("pairs"),  # of a task that people judge
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("relevance", sa.Integer, nullable=False),  # the judge's, of that day
    _text("fingerprint"),
    _number("weight", needed=True),  # requests of the day that the query stands for
    _number("chance", needed=True),  # of the pair, once its query was sampled
    _number("part", needed=True),  # of the query's sDCG that is this document's gain
    sa.UniqueConstraint("day_id", "pair_id"),
)

lines = sa.Table(
    "lines",
    metadata,
    _id(),
    _of("days"),
    _text("kind"),  # judge, guide, scale or design: from this day on, figures are of another
    _text("was"),
    _text("now"),
    sa.UniqueConstraint("day_id", "kind"),
)

alerts = sa.Table(
    "alerts",
    metadata,
    _id(),
    _of("days"),
    _date("date"),
    _date("since"),
    _text("metric"),
    _text("segment"),
    _text("part"),
    _text("direction"),
    _json("detail"),  # size, segments that carry it, the split and its examples
    sa.UniqueConstraint("date", "metric", "segment", "part", "direction"),
)

alert_events = sa.Table(
    "alert_events",
    metadata,
    _id(),
    _of("alerts"),
    _text("kind"),
    _text("actor"),
    _text("note"),
    _moment("at"),
    sa.UniqueConstraint("alert_id", "kind"),  # each once; resolved is for good
    sa.CheckConstraint("kind IN ('acknowledged', 'resolved')", name="kind"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    _id(),
    _of("alerts"),
    _text("sink"),
    sa.Column("tries", sa.Integer, nullable=False),
    _text("error"),  # of the last try, without the address
    _moment("taken_until", needed=False),  # somebody is sending it
    _moment("sent_at", needed=False),
    sa.UniqueConstraint("alert_id", "sink"),
)

claims = sa.Table(
    "claims",
    metadata,
    _id(),
    sa.Column("date", sa.String(10), nullable=False, unique=True),
    _text("token"),  # of the run that is at this day
    _text("host"),
    sa.Column("process", sa.Integer, nullable=False),
    _moment("until"),
)

# --- experiments -------------------------------------------------------------------------------------------------------

experiments = sa.Table(
    "experiments",
    metadata,
    _id(),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    _text("question"),
    _text("control"),
    _text("treatment"),
    _text("metric"),
    _text("scale"),
    _text("guide_version"),
    _text("judge"),  # "people" where no machine judges
    _text("fingerprint"),
    _text("card"),  # its path, relative to the project
    _text("card_sha256"),
    _text("population"),
    _text("unit"),  # queries, each counted once; or traffic
    _number("margin", needed=True),
    sa.Column("relative", sa.Boolean, nullable=False),  # the margin is a share of the control's level
    _number("level", needed=True),
    _number_of("intended"),  # queries at which the interval is tightest
    sa.Column("planned", sa.BigInteger),
    _number("mde"),
    _text("owner"),
    _json("terms"),  # how the metric is read, the scale's labels and gains, what the card said
    _text("actor"),
    _moment("at"),
    sa.CheckConstraint("margin > 0", name="margin"),
    sa.CheckConstraint("unit IN ('queries', 'traffic')", name="unit"),
)

looks = sa.Table(
    "looks",
    metadata,
    _id(),
    _of("experiments"),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),  # of the batch's queries and lists
    *_estimate(),  # over all batches so far; no ends where there is no interval yet
    _text("caveat"),
    _text("verdict"),
    _number_of("batch_n"),
    _number("batch_value", needed=True),
    _number("batch_se", needed=True),
    _number("guard_value"),  # what is held against the margin, in this batch alone, where the margin is relative
    _number("guard_se"),
    _json("facts"),
    _text("actor"),
    _moment("at"),
    sa.UniqueConstraint("experiment_id", "number"),  # two looks at once: one of them is first
    sa.UniqueConstraint("experiment_id", "digest"),  # no batch counts twice
)

looked = sa.Table(
    "looked",
    metadata,
    _id(),
    _of("looks"),
    _text("query"),
    _text("stratum"),
    sa.Column("lists", sa.String(16), nullable=False),  # a mark of the query and of both arms' lists, to know them again
    _number("weight", needed=True),  # 1 on average in a look
    _number("control", needed=True),
    _number("difference", needed=True),
    _number("deviation", needed=True),  # stats.batches.deviations, of the difference and of the control
    _number("control_deviation", needed=True),
    sa.UniqueConstraint("look_id", "query"),
)

decisions = sa.Table(
    "decisions",
    metadata,
    _id(),
    _of("experiments"),
    sa.Column("number", sa.Integer, nullable=False),
    _text("kind"),
    _text("by"),  # who took it
    _text("why"),
    sa.Column("look", sa.Integer, nullable=False),  # the last one when it was taken, 0 for none
    _text("verdict"),  # of that look
    _text("actor"),  # who wrote it down
    _moment("at"),
    sa.UniqueConstraint("experiment_id", "number"),
    sa.CheckConstraint("kind IN ('ship', 'stop', 'keep')", name="kind"),
)

NOT_KEPT = ("sessions", "attempts", "claims")  # left out of backups
