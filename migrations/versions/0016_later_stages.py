"""Work beyond the first stage is found at once, also while that stage is paused and much waits there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the few ready rows that are beyond intake."""
    op.create_index(
        "outbox_later_stages",
        "outbox",
        ["lane", "tenant_id", "number"],
        postgresql_where=sa.text("ready AND stage > 0"),
    )


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("outbox_later_stages", table_name="outbox")
