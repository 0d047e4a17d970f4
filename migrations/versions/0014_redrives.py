"""Dead letters are sent again or discarded: one at a time, and in operations that run in the background."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"

DECLARED = (
    """tenant_id COLLATE "C" = ANY ((SELECT string_to_array(current_setting('app.tenants', true), ','))::text[])"""
)
"""As on the tables of 0002."""

MORE = ("UPDATE ON plans", "DELETE ON plan_steps")
"""A plan that is made anew takes the place of the one that nothing has come of."""


def upgrade() -> None:
    """Make operations and their items; the dispatcher only finds out whose there are, and acts as the tenant."""
    op.add_column("exceptions", sa.Column("redriven_with", sa.Text()))
    op.create_check_constraint(
        "exceptions_redriven_with_is_known", "exceptions", "redriven_with IN ('recorded', 'active')"
    )
    op.create_index(
        "dead_letters_redriving", "dead_letters", ["tenant_id"], postgresql_where=sa.text("state = 'redriving'")
    )
    _make_operations()
    _make_items()
    for table in ("redrives", "redrive_items"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY declared_tenants ON {table} TO {APPLICATION} USING ({DECLARED})")
        op.execute(f"CREATE POLICY all_tenants ON {table} TO {SYSTEM} USING (true)")
        op.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO {APPLICATION}")
        op.execute(f"GRANT SELECT ON {table} TO {SYSTEM}")
    for privilege in MORE:
        op.execute(f"GRANT {privilege} TO {APPLICATION}")


def downgrade() -> None:
    """Take operations away; what they did is on the timelines."""
    for privilege in MORE:
        op.execute(f"REVOKE {privilege} FROM {APPLICATION}")
    op.drop_table("redrive_items")
    op.drop_table("redrives")
    op.drop_index("dead_letters_redriving", "dead_letters")
    op.drop_column("exceptions", "redriven_with")


def _make_operations() -> None:
    op.create_table(
        "redrives",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_reason", sa.Text()),
        sa.Column("in_canary", sa.Boolean(), nullable=False),
        sa.Column("watched", sa.Boolean(), nullable=False),
        sa.Column("filter", JSONB(), nullable=False),
        sa.Column("from_stage", sa.SmallInteger()),
        sa.Column("packs", sa.Text(), nullable=False),
        sa.Column("canary", sa.Integer(), nullable=False),
        sa.Column("canary_timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("rate_per_second", sa.Double()),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("tokens_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("history", JSONB(), nullable=False),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("last_sent_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("action IN ('redrive', 'discard')", name="redrives_action_is_known"),
        sa.CheckConstraint("packs IN ('recorded', 'active')", name="redrives_packs_are_known"),
        sa.CheckConstraint(
            "state IN ('canary', 'running', 'stopped', 'canary_failed', 'finished')", name="redrives_state_is_known"
        ),
        sa.PrimaryKeyConstraint("operation_id"),
        sa.UniqueConstraint("tenant_id", "idempotency_key", name="redrives_key_once"),
    )
    op.create_index("redrives_by_tenant", "redrives", ["tenant_id", "operation_id"])
    op.create_index("redrives_watched", "redrives", ["operation_id"], postgresql_where=sa.text("watched"))


def _make_items() -> None:
    op.create_table(
        "redrive_items",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("dead_letter_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer()),
        sa.Column("outcome", sa.Text()),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "state IN ('pending', 'sent', 'succeeded', 'failed', 'skipped')", name="redrive_items_state_is_known"
        ),
        sa.PrimaryKeyConstraint("operation_id", "place"),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("redrive_items_by_state", "redrive_items", ["operation_id", "state", "place"])
