"""Experiments, every look at one with its queries, and every decision about one: only added to."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ADDED_TO = ("experiments", "looks", "looked", "decisions")


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("control", sa.Text(), nullable=False),
        sa.Column("treatment", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("scale", sa.Text(), nullable=False),
        sa.Column("guide_version", sa.Text(), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("card_sha256", sa.Text(), nullable=False),
        sa.Column("population", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("margin", sa.Float(), nullable=False),
        sa.Column("relative", sa.Boolean(), nullable=False),
        sa.Column("level", sa.Float(), nullable=False),
        sa.Column("intended", sa.BigInteger(), nullable=False),
        sa.Column("planned", sa.BigInteger(), nullable=True),
        sa.Column("mde", sa.Float(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("margin > 0", name="ck_experiments_margin"),
        sa.CheckConstraint("unit IN ('queries', 'traffic')", name="ck_experiments_unit"),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.UniqueConstraint("name", name="uq_experiments_name"),
    )
    op.create_table(
        "looks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("se", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("level", sa.Float(), nullable=True),
        sa.Column("caveat", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("batch_n", sa.BigInteger(), nullable=False),
        sa.Column("batch_value", sa.Float(), nullable=False),
        sa.Column("batch_se", sa.Float(), nullable=False),
        sa.Column("guard_value", sa.Float(), nullable=True),
        sa.Column("guard_se", sa.Float(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_looks_experiment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_looks"),
        sa.UniqueConstraint("experiment_id", "number", name="uq_looks_experiment_id_number"),
        sa.UniqueConstraint("experiment_id", "digest", name="uq_looks_experiment_id_digest"),
    )
    op.create_table(
        "looked",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("look_id", sa.Integer(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("lists", sa.String(16), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("control", sa.Float(), nullable=False),
        sa.Column("difference", sa.Float(), nullable=False),
        sa.Column("deviation", sa.Float(), nullable=False),
        sa.Column("control_deviation", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["look_id"], ["looks.id"], name="fk_looked_look_id"),
        sa.PrimaryKeyConstraint("id", name="pk_looked"),
        sa.UniqueConstraint("look_id", "query", name="uq_looked_look_id_query"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("look", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('ship', 'stop', 'keep')", name="ck_decisions_kind"),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_decisions_experiment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.UniqueConstraint("experiment_id", "number", name="uq_decisions_experiment_id_number"),
    )
    for table in ADDED_TO:
        if op.get_bind().dialect.name != "sqlite":
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION germane_append_only()"
            )
            continue
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are only added'); END"
            )
