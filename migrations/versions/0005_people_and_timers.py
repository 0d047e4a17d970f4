"""Approvals are bound to a plan and may need several people; timers wake what waits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"

GRANTS = {
    # table: (what the API and workers may do, what the dispatcher may do)
    "timers": ("SELECT, INSERT, UPDATE, DELETE", "SELECT, DELETE"),
    # Append-only: who approved stays as it was given.
    "approvals_given": ("SELECT, INSERT", "SELECT"),
}

DECLARED = (
    """tenant_id COLLATE "C" = ANY ((SELECT string_to_array(current_setting('app.tenants', true), ','))::text[])"""
)
"""As on the tables of 0002."""

TO_FIRE = {
    "exceptions": "UPDATE (status, stage, sequence, last_sequence, position, updated_at)",
    "approvals": "UPDATE (state, decided_at)",
    "inputs": "INSERT",
    "events": "INSERT",
}
"""What the dispatcher needs on other tables to turn a timer that is due into an input of its exception."""

STATES = "state IN ('pending', 'approved', 'rejected', 'superseded', 'voided', 'expired')"
STATES_BEFORE = "state IN ('pending', 'approved', 'rejected', 'superseded')"


def upgrade() -> None:
    """Make both tables, say of approvals what was asked for, and let the dispatcher append inputs."""
    op.create_table(
        "timers",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('wait', 'step_timeout', 'approval')", name="timers_kind_is_known"),
        sa.PrimaryKeyConstraint("exception_id", "kind", "step"),
    )
    op.create_index("timers_due", "timers", ["due_at"])
    op.create_table(
        "approvals_given",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("exception_id", "sequence", "key_id"),
    )
    for table, (application, system) in GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY declared_tenants ON {table} TO {APPLICATION} USING ({DECLARED})")
        op.execute(f"CREATE POLICY all_tenants ON {table} TO {SYSTEM} USING (true)")
        op.execute(f"GRANT {application} ON {table} TO {APPLICATION}")
        op.execute(f"GRANT {system} ON {table} TO {SYSTEM}")
    for table, privilege in TO_FIRE.items():
        op.execute(f"GRANT {privilege} ON {table} TO {SYSTEM}")
    op.add_column("approvals", sa.Column("plan_hash", sa.Text(), nullable=True))
    op.add_column("approvals", sa.Column("approvals_needed", sa.SmallInteger(), server_default="1", nullable=False))
    op.add_column("approvals", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint("approvals_state_is_known", "approvals", type_="check")
    op.create_check_constraint("approvals_state_is_known", "approvals", STATES)


def downgrade() -> None:
    """Take all of it away; approvals that were voided or expired count as superseded again."""
    op.drop_constraint("approvals_state_is_known", "approvals", type_="check")
    # The owner is bound by forced row-level security too and would find no row.
    op.execute("ALTER TABLE approvals NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE approvals SET state = 'superseded' WHERE state IN ('voided', 'expired')")
    op.execute("ALTER TABLE approvals FORCE ROW LEVEL SECURITY")
    op.create_check_constraint("approvals_state_is_known", "approvals", STATES_BEFORE)
    for column in ("due_at", "approvals_needed", "plan_hash"):
        op.drop_column("approvals", column)
    for table, privilege in TO_FIRE.items():
        op.execute(f"REVOKE {privilege} ON {table} FROM {SYSTEM}")
    op.drop_table("approvals_given")
    op.drop_table("timers")
