"""The registry's tables of experiments: terms, looks, the queries of each look, decisions. They are only added to."""

from __future__ import annotations

import sqlalchemy as sa

from germane.registry.columns import count, estimate, id_, json_, metadata, moment, number, of, text

experiments = sa.Table(
    "experiments",
    metadata,
    id_(),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    text("question"),
    text("control"),
    text("treatment"),
    text("metric"),
    text("scale"),
    text("guide_version"),
    text("judge"),  # "people" where no machine judges
    text("fingerprint"),
    text("card"),  # its path, relative to the project
    text("card_sha256"),
    text("population"),
    text("unit"),  # queries, each counted once; or traffic
    number("margin", needed=True),
    sa.Column("relative", sa.Boolean, nullable=False),  # the margin is a share of the control's level
    number("level", needed=True),
    count("intended"),  # queries at which the interval is tightest
    sa.Column("planned", sa.BigInteger),
    number("mde"),
    text("owner"),
    json_("terms"),  # how the metric is read, the scale's labels and gains, what the card said
    text("actor"),
    moment("at"),
    sa.CheckConstraint("margin > 0", name="margin"),
    sa.CheckConstraint("unit IN ('queries', 'traffic')", name="unit"),
)

looks = sa.Table(
    "looks",
    metadata,
    id_(),
    of("experiments"),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),  # of the batch's queries and lists
    *estimate(),  # over all batches so far; no ends where there is no interval yet
    text("caveat"),
    text("verdict"),
    count("batch_n"),
    number("batch_value", needed=True),
    number("batch_se", needed=True),
    number("guard_value"),  # what is held against the margin, in this batch alone, where the margin is relative
    number("guard_se"),
    json_("facts"),
    text("actor"),
    moment("at"),
    sa.UniqueConstraint("experiment_id", "number"),  # two looks at once: one of them is first
    sa.UniqueConstraint("experiment_id", "digest"),  # no batch counts twice
)

looked = sa.Table(
    "looked",
    metadata,
    id_(),
    of("looks"),
    text("query"),
    text("stratum"),
    sa.Column("lists", sa.String(16), nullable=False),  # a mark of the query and of both arms' lists, to know them again
    number("weight", needed=True),  # 1 on average in a look
    number("control", needed=True),
    number("difference", needed=True),
    number("deviation", needed=True),  # stats.batches.deviations, of the difference and of the control
    number("control_deviation", needed=True),
    sa.UniqueConstraint("look_id", "query"),
)

decisions = sa.Table(
    "decisions",
    metadata,
    id_(),
    of("experiments"),
    sa.Column("number", sa.Integer, nullable=False),
    text("kind"),
    text("by"),  # who took it
    text("why"),
    sa.Column("look", sa.Integer, nullable=False),  # the last one when it was taken, 0 for none
    text("verdict"),  # of that look
    text("actor"),  # who wrote it down
    moment("at"),
    sa.UniqueConstraint("experiment_id", "number"),
    sa.CheckConstraint("kind IN ('ship', 'stop', 'keep')", name="kind"),
)
