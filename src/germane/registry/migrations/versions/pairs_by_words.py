"""Pairs are held against each other by their texts (golden.leaks), so that no digest of them is kept."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.drop_index("ix_pairs_digest", "pairs")
    op.drop_column("pairs", "digest")
