"""What the reconciler knows and did, whose turn a chore is, and what is paused by whom and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"
TIME = sa.DateTime(timezone=True)

DECLARED = (
    """tenant_id COLLATE "C" = ANY ((SELECT string_to_array(current_setting('app.tenants', true), ','))::text[])"""
)
"""As on the tables of 0002."""

IN_FORCE = "resumed_at IS NULL AND (SELECT current_setting('app.pauses', true)) = 'in force'"
"""A worker serves every tenant and has to know what is paused before it knows whose work comes: a transaction that
says so sees what is paused now, and nothing of what was."""


def upgrade() -> None:
    """Make the tables, and the columns and indexes that belong to them."""
    _make_bookkeeping()
    _make_pauses()
    op.add_column("outbox", sa.Column("pause_id", sa.Uuid()))
    op.create_index("outbox_paused", "outbox", ["pause_id"], postgresql_where=sa.text("pause_id IS NOT NULL"))
    op.create_index(
        "exceptions_with_later_inputs",
        "exceptions",
        ["exception_id"],
        postgresql_where=sa.text("last_sequence > sequence"),
    )
    op.create_index(
        "notifications_forgotten",
        "notifications",
        ["created_at"],
        postgresql_where=sa.text("due_at IS NULL AND state IN ('intent', 'sent')"),
    )


def downgrade() -> None:
    """Make ready what is paused, and take everything away."""
    op.drop_index("notifications_forgotten", table_name="notifications")
    op.drop_index("exceptions_with_later_inputs", table_name="exceptions")
    op.execute("ALTER TABLE outbox NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE outbox SET ready = true, due_at = NULL WHERE pause_id IS NOT NULL")
    op.execute("ALTER TABLE outbox FORCE ROW LEVEL SECURITY")
    op.drop_index("outbox_paused", table_name="outbox")
    op.drop_column("outbox", "pause_id")
    for table in ("pauses", "suspects", "reconciler_kinds", "chores"):
        op.drop_table(table)


def _make_bookkeeping() -> None:
    op.create_table(
        "chores",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("ran_at", TIME),
        sa.Column("seconds", sa.Float()),
    )
    op.create_table(
        "reconciler_kinds",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("actions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("acted_at", TIME),
        sa.Column("found", sa.Integer(), server_default="0", nullable=False),
        sa.Column("looked_at", TIME),
    )
    op.create_table(
        "suspects",
        sa.Column("exception_id", sa.Uuid(), primary_key=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("moved_at", TIME, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("repeats", sa.Integer(), server_default="0", nullable=False),
        sa.Column("repeated_at", TIME),
        # What a crash of the server takes is found again by the next look.
        prefixes=["UNLOGGED"],
    )
    for table in ("chores", "reconciler_kinds", "suspects"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {SYSTEM}")


def _make_pauses() -> None:
    op.create_table(
        "pauses",
        sa.Column("pause_id", sa.Uuid(), primary_key=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text()),
        sa.Column("tool", sa.Text()),
        sa.Column("stage", sa.SmallInteger()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("until", TIME),
        sa.Column("by_platform", sa.Boolean(), nullable=False),
        sa.Column("paused_at", TIME, nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("resumed_at", TIME),
        sa.Column("resumed_by", sa.Text()),
        sa.Column("resume_reason", sa.Text()),
        sa.CheckConstraint(
            "CASE scope WHEN 'tenant' THEN tenant_id IS NOT NULL AND tool IS NULL AND stage IS NULL "
            "WHEN 'tool' THEN tool IS NOT NULL AND stage IS NULL "
            "WHEN 'stage' THEN stage IS NOT NULL AND tool IS NULL "
            "WHEN 'dispatch' THEN tenant_id IS NULL AND tool IS NULL AND stage IS NULL ELSE false END",
            name="pauses_scope_fits",
        ),
    )
    op.create_index("pauses_in_force", "pauses", ["pause_id"], postgresql_where=sa.text("resumed_at IS NULL"))
    op.create_index("pauses_by_tenant", "pauses", ["tenant_id", "pause_id"])
    op.execute("ALTER TABLE pauses ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE pauses FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY declared_tenants ON pauses TO {APPLICATION} USING ({DECLARED})")
    # What is paused for everybody concerns everybody: each may see it, and nobody but the platform changes it.
    op.execute(f"CREATE POLICY for_everybody ON pauses FOR SELECT TO {APPLICATION} USING (tenant_id IS NULL)")
    op.execute(f"CREATE POLICY in_force ON pauses FOR SELECT TO {APPLICATION} USING ({IN_FORCE})")
    op.execute(f"CREATE POLICY all_tenants ON pauses TO {SYSTEM} USING (true)")
    # History stays as it is: a pause is only ever ended.
    for role in (APPLICATION, SYSTEM):
        op.execute(f"GRANT SELECT, INSERT, UPDATE (resumed_at, resumed_by, resume_reason) ON pauses TO {role}")
