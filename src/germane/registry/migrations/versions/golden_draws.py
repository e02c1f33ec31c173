"""Pairs that each watched day puts up for people: with the judge's grade of that day, and the odds of the draw."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "golden_draws",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("day_id", sa.Integer(), nullable=False),
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("relevance", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("chance", sa.Float(), nullable=False),
        sa.Column("part", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["day_id"], ["days.id"], name="fk_golden_draws_day_id"),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name="fk_golden_draws_pair_id"),
        sa.PrimaryKeyConstraint("id", name="pk_golden_draws"),
        sa.UniqueConstraint("day_id", "pair_id", name="uq_golden_draws_day_id_pair_id"),
    )
    if op.get_bind().dialect.name != "sqlite":
        op.execute(
            "CREATE TRIGGER golden_draws_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON golden_draws "
            "FOR EACH STATEMENT EXECUTE FUNCTION germane_append_only()"
        )
        return
    for what in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER golden_draws_no_{what.lower()} BEFORE {what} ON golden_draws "
            "BEGIN SELECT RAISE(ABORT, 'rows of golden_draws are only added'); END"
        )
