"""Steps of a plan are known by their path, with state and output; large results are kept by reference."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"

DECLARED = (
    """tenant_id COLLATE "C" = ANY ((SELECT string_to_array(current_setting('app.tenants', true), ','))::text[])"""
)
"""As in 0002."""

STATES = "state IN ('started', 'unknown', 'done', 'failed', 'skipped')"


def upgrade() -> None:
    """Rename orders to paths (an order's text is the path of a top-level step), and add what steps leave behind."""
    for table in ("plan_steps", "tool_executions"):
        op.alter_column(
            table, "step_order", new_column_name="step", type_=sa.Text(), postgresql_using="step_order::text"
        )
    op.add_column("plan_steps", sa.Column("state", sa.Text(), nullable=False, server_default="done"))
    op.add_column("plan_steps", sa.Column("output", postgresql.JSONB(), nullable=True))
    op.add_column("plan_steps", sa.Column("error", sa.Text(), nullable=True))
    op.add_column("plan_steps", sa.Column("number", sa.Integer(), nullable=False, server_default="0"))
    op.alter_column("plan_steps", "completed_at", nullable=True)
    op.create_check_constraint("plan_steps_state_is_known", "plan_steps", STATES)
    op.execute(f"GRANT UPDATE ON plan_steps TO {APPLICATION}")
    op.add_column("tool_executions", sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("plans", sa.Column("plan_hash", sa.Text(), nullable=True))
    op.create_table(
        "tool_results",
        sa.Column("result_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("result_id"),
    )
    op.create_index("tool_results_by_exception", "tool_results", ["exception_id"])
    _isolate("tool_results")


def downgrade() -> None:
    """Go back to orders. Steps inside of groups, unfinished steps and large results have no place there."""
    op.drop_table("tool_results")
    op.drop_column("plans", "plan_hash")
    op.drop_column("tool_executions", "sent_at")
    # The owner is bound by forced row-level security too and would find no row.
    for table in ("plan_steps", "tool_executions"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute("DELETE FROM tool_executions WHERE step !~ '^[0-9]+$'")
    op.execute("DELETE FROM plan_steps WHERE step !~ '^[0-9]+$' OR state <> 'done' OR completed_at IS NULL")
    for table in ("plan_steps", "tool_executions"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"REVOKE UPDATE ON plan_steps FROM {APPLICATION}")
    op.drop_constraint("plan_steps_state_is_known", "plan_steps")
    op.alter_column("plan_steps", "completed_at", nullable=False)
    for column in ("number", "error", "output", "state"):
        op.drop_column("plan_steps", column)
    for table in ("plan_steps", "tool_executions"):
        op.alter_column(
            table, "step", new_column_name="step_order", type_=sa.Integer(), postgresql_using="step::integer"
        )


def _isolate(table: str) -> None:
    """Force row-level security, as 0002 does for the first tables. Results are written once and never changed."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY declared_tenants ON {table} TO {APPLICATION} USING ({DECLARED})")
    op.execute(f"CREATE POLICY all_tenants ON {table} TO {SYSTEM} USING (true)")
    op.execute(f"GRANT SELECT, INSERT ON {table} TO {APPLICATION}")
    op.execute(f"GRANT SELECT ON {table} TO {SYSTEM}")
