"""Attempts that somebody's rate limit failed are counted apart from the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLES = ("exceptions", "outbox")


def upgrade() -> None:
    """Give exceptions and the outbox the number of them."""
    for table in _TABLES:
        op.add_column(table, sa.Column("rate_limited", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    """Forget the difference."""
    for table in _TABLES:
        op.drop_column(table, "rate_limited")
