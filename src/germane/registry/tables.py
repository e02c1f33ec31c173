"""The registry's tables: accounts, tasks, pairs, who was given what, every vote; watched days and what was found on them.

Votes, log, and all that is of a day are only added to. Those of experiments are in `experiment_tables`.
"""

from __future__ import annotations

import sqlalchemy as sa

from germane.registry.columns import count, date_, estimate, id_, json_, metadata, moment, number, of, text
from germane.registry.experiment_tables import decisions, experiments, looked, looks

accounts = sa.Table(
    "accounts",
    metadata,
    id_(),
    text("name"),
    sa.Column("key", sa.Text, nullable=False, unique=True),  # the name without case: two that look alike are one
    text("role"),
    text("password"),  # argon2
    moment("created_at"),
    moment("disabled_at", needed=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    id_(),
    of("accounts"),
    sa.Column("digest", sa.Text, nullable=False, unique=True),  # of the cookie, which is nowhere kept
    text("csrf"),
    moment("created_at"),
    moment("seen_at"),
    moment("ended_at", needed=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
    id_(),
    text("name"),
    text("address"),
    moment("at"),
    sa.Index(None, "name", "at"),
    sa.Index(None, "address", "at"),
)

tasks = sa.Table(
    "tasks",
    metadata,
    id_(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    text("kind"),  # golden or audit
    sa.Column("scale", sa.JSON, nullable=False),  # name, labels, gains, aliases; the guide stands in `guides`
    text("guide_version"),
    sa.Column("raters", sa.Integer, nullable=False),  # votes that a pair gets
    text("adjudicate"),  # any: every disagreement; majority: where more than half do not agree
    sa.Column("entropy_bar", sa.Float),  # a judge's entropy from which a pair is adjudicated although people agree
    sa.Column("control_every", sa.Integer, nullable=False),  # one hidden control in so many pairs
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("lease_seconds", sa.Integer, nullable=False),
    text("search_url"),
    sa.Column("columns", sa.JSON, nullable=False),  # name -> Arrow type of what pairs bring besides
    moment("created_at"),
    sa.CheckConstraint("raters >= 1", name="raters"),
    sa.CheckConstraint("kind IN ('golden', 'audit')", name="kind"),
)

guides = sa.Table(
    "guides",
    metadata,
    id_(),
    of("tasks"),
    text("version"),
    text("text"),
    moment("at"),
    sa.UniqueConstraint("task_id", "version"),
)

pairs = sa.Table(
    "pairs",
    metadata,
    id_(),
    of("tasks"),
    sa.Column("place", sa.Integer, nullable=False),  # in a random order of the task
    text("query_id"),
    text("doc_id"),
    text("query"),
    sa.Column("fields", sa.JSON, nullable=False),  # what a rater is shown: [[name, value], ...]
    text("context"),
    text("image"),
    text("stratum"),
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
    id_(),
    of("tasks"),
    of("pairs"),
    of("accounts"),
    text("kind"),
    sa.Column("slot", sa.Integer),  # 1 to raters for votes, 0 for the adjudicator; none for controls, and once it was lost
    text("token"),  # of the page that shows it: one vote each
    text("guide_version"),
    moment("shown_at"),
    moment("lease_until"),
    moment("done_at", needed=False),
    sa.UniqueConstraint("pair_id", "account_id", "kind"),
    sa.UniqueConstraint("pair_id", "slot"),  # no pair gets one vote too many, whatever the code above it does
    sa.Index(None, "account_id", "task_id", "done_at"),
    sa.Index(None, "task_id", "done_at"),
)

votes = sa.Table(
    "votes",
    metadata,
    id_(),
    of("tasks"),
    of("pairs"),
    of("accounts"),
    text("kind"),
    sa.Column("relevance", sa.Integer),
    text("guide_version"),
    moment("at"),
    text("reason"),
    text("note"),
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
    id_(),
    of("tasks"),
    of("pairs"),
    of("accounts"),
    text("kind"),  # discussion, or a question to the guide
    text("text"),
    text("guide_version"),
    moment("at"),
    moment("closed_at", needed=False),
    sa.Index(None, "task_id", "kind"),
    sa.Index(None, "pair_id"),
)

log = sa.Table(
    "log",
    metadata,
    id_(),
    moment("at"),
    text("actor"),  # an account's name, or who called the command line
    text("action"),
    text("subject"),
    sa.Column("detail", sa.JSON, nullable=False),
)

# --- watching search ---------------------------------------------------------------------------------------------------

days = sa.Table(
    "days",
    metadata,
    id_(),
    sa.Column("date", sa.String(10), nullable=False, unique=True),  # what makes the job idempotent, whoever runs it
    text("state"),  # done, or gap: no traffic, or no log
    text("zone"),
    count("requests"),
    count("queries"),
    count("sampled"),
    count("panel"),
    text("judge"),
    text("fingerprint"),
    text("guide_version"),
    text("scale"),
    text("report"),  # its path, relative to the project
    json_("facts"),  # the design, coverage, costs, notes
    moment("at"),
    sa.CheckConstraint("state IN ('done', 'gap')", name="state"),
)

levels = sa.Table(
    "levels",
    metadata,
    id_(),
    of("days"),
    text("metric"),
    text("segment"),
    *estimate(),
    sa.UniqueConstraint("day_id", "metric", "segment"),
    sa.Index(None, "metric", "segment", "day_id"),
)

changes = sa.Table(
    "changes",
    metadata,
    id_(),
    of("days"),
    date_("before"),  # the day that it is compared with
    text("metric"),
    text("segment"),
    text("part"),
    number("value"),
    number("se"),
    count("n"),
    sa.UniqueConstraint("day_id", "metric", "segment", "part"),
)

sampled = sa.Table(
    "sampled",
    metadata,
    id_(),
    of("days"),
    text("query"),
    count("requests"),
    number("probability", needed=True),
    number("panel_probability", needed=True),
    sa.Column("panel", sa.Boolean, nullable=False),
    text("stratum"),
    json_("segments"),
    json_("metrics"),  # null where there is no answer
    sa.UniqueConstraint("day_id", "query"),
)

anchors = sa.Table(
    "anchors",
    metadata,
    id_(),
    of("days"),
    text("query_id"),
    text("doc_id"),
    sa.Column("relevance", sa.Integer),
    text("outcome"),
    text("fingerprint"),
    sa.UniqueConstraint("day_id", "query_id", "doc_id"),
)

golden_draws = sa.Table(
    "golden_draws",
    metadata,
    id_(),
    of("days"),
    of("pairs"),  # of a task that people judge
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("relevance", sa.Integer, nullable=False),  # the judge's, of that day
    text("fingerprint"),
    number("weight", needed=True),  # requests of the day that the query stands for
    number("chance", needed=True),  # of the pair, once its query was sampled
    number("part", needed=True),  # of the query's sDCG that is this document's gain
    sa.UniqueConstraint("day_id", "pair_id"),
)

lines = sa.Table(
    "lines",
    metadata,
    id_(),
    of("days"),
    text("kind"),  # judge, guide, scale or design: from this day on, figures are of another
    text("was"),
    text("now"),
    sa.UniqueConstraint("day_id", "kind"),
)

alerts = sa.Table(
    "alerts",
    metadata,
    id_(),
    of("days"),
    date_("date"),
    date_("since"),
    text("metric"),
    text("segment"),
    text("part"),
    text("direction"),
    json_("detail"),  # size, segments that carry it, the split and its examples
    sa.UniqueConstraint("date", "metric", "segment", "part", "direction"),
)

alert_events = sa.Table(
    "alert_events",
    metadata,
    id_(),
    of("alerts"),
    text("kind"),
    text("actor"),
    text("note"),
    moment("at"),
    sa.UniqueConstraint("alert_id", "kind"),  # each once; resolved is for good
    sa.CheckConstraint("kind IN ('acknowledged', 'resolved')", name="kind"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    id_(),
    of("alerts"),
    text("sink"),
    sa.Column("tries", sa.Integer, nullable=False),
    text("error"),  # of the last try, without the address
    moment("taken_until", needed=False),  # somebody is sending it
    moment("sent_at", needed=False),
    sa.UniqueConstraint("alert_id", "sink"),
)

claims = sa.Table(
    "claims",
    metadata,
    id_(),
    sa.Column("date", sa.String(10), nullable=False, unique=True),
    text("token"),  # of the run that is at this day
    text("host"),
    sa.Column("process", sa.Integer, nullable=False),
    moment("until"),
)

OF_EXPERIMENTS = (experiments, looks, looked, decisions)  # of the same metadata, and in every backup
NOT_KEPT = ("sessions", "attempts", "claims")  # left out of backups
