"""What notification policies tell, and what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"

DECLARED = (
    """tenant_id COLLATE "C" = ANY ((SELECT string_to_array(current_setting('app.tenants', true), ','))::text[])"""
)
"""As on the tables of 0002."""


def upgrade() -> None:
    """Make the table: workers write and settle its rows, the dispatcher only hands out which ones are due."""
    op.create_table(
        "notifications",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("params", JSONB(), nullable=False),
        sa.Column("domain_version", sa.Integer(), nullable=False),
        sa.Column("tenant_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("claim", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "state IN ('intent', 'sent', 'confirmed', 'failed', 'unknown')", name="notifications_state_is_known"
        ),
        sa.PrimaryKeyConstraint("exception_id", "position", "policy"),
    )
    op.create_index("notifications_due", "notifications", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.execute("ALTER TABLE notifications ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE notifications FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY declared_tenants ON notifications TO {APPLICATION} USING ({DECLARED})")
    op.execute(f"CREATE POLICY all_tenants ON notifications TO {SYSTEM} USING (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON notifications TO {APPLICATION}")
    op.execute(f"GRANT SELECT, UPDATE (due_at) ON notifications TO {SYSTEM}")


def downgrade() -> None:
    """Take the table away, with what was not sent yet."""
    op.drop_table("notifications")
