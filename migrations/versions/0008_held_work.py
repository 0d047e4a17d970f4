"""Work that waits for a tool leaves the workers and says why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give the outbox a time before which a row is not due, and exceptions the reason they are held."""
    op.add_column("outbox", sa.Column("due_at", sa.DateTime(timezone=True)))
    op.create_index("outbox_due", "outbox", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.add_column("exceptions", sa.Column("hold_reason", sa.Text()))
    op.add_column("exceptions", sa.Column("held_since", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Make what is held ready, and take the columns away."""
    op.execute("ALTER TABLE outbox NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE outbox SET ready = true WHERE due_at IS NOT NULL")
    op.execute("ALTER TABLE outbox FORCE ROW LEVEL SECURITY")
    op.drop_column("exceptions", "held_since")
    op.drop_column("exceptions", "hold_reason")
    op.drop_index("outbox_due", table_name="outbox", postgresql_where=sa.text("due_at IS NOT NULL"))
    op.drop_column("outbox", "due_at")
