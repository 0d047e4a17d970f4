"""The tables: tenants, packs, exceptions with their event log, outbox, plans, effects and dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


class Xid8(sa.types.UserDefinedType):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type's name in DDL."""
        return "xid8"


revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table and index."""
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('ingest', 'operator', 'admin')", name="api_keys_role_is_known"),
        sa.PrimaryKeyConstraint("key_id"),
        sa.UniqueConstraint("key_hash"),
    )
    op.create_table(
        "approvals",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'approved', 'rejected', 'superseded')", name="approvals_state_is_known"
        ),
        sa.PrimaryKeyConstraint("exception_id", "sequence"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("dead_lettered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'redriving', 'succeeded', 'discarded')", name="dead_letters_state_is_known"
        ),
        sa.PrimaryKeyConstraint("exception_id", "position"),
    )
    op.create_index("dead_letters_by_tenant", "dead_letters", ["tenant_id", "state", "dead_lettered_at"], unique=False)
    op.create_table(
        "dispatchers",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("seen_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("holder"),
    )
    op.create_table(
        "events",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Uuid(), nullable=False),
        sa.Column("domain_version", sa.Integer(), nullable=True),
        sa.Column("tenant_version", sa.Integer(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.PrimaryKeyConstraint("exception_id", "position", "occurred_at"),
        postgresql_partition_by="RANGE (occurred_at)",
    )
    op.create_index("events_by_transaction", "events", ["xid"], unique=False)
    op.create_index(
        "events_first_of_exception", "events", ["tenant_id"], unique=False, postgresql_where=sa.text("position = 1")
    )
    op.create_table(
        "exceptions",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("resting_status", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("last_sequence", sa.Integer(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("source_system", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("exception_type", sa.Text(), nullable=True),
        sa.Column("reported_severity", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=True),
        sa.Column("confidence", sa.REAL(), server_default=sa.text("1"), nullable=False),
        sa.Column("entity", sa.Text(), nullable=True),
        sa.Column("assigned_to", sa.Text(), nullable=True),
        sa.Column("raw_payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("redacted_payload", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("domain_version", sa.Integer(), nullable=True),
        sa.Column("tenant_version", sa.Integer(), nullable=True),
        sa.Column("trace_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("exception_id"),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("exceptions_by_status", "exceptions", ["tenant_id", "status", "exception_id"], unique=False)
    op.create_index("exceptions_by_tenant", "exceptions", ["tenant_id", "exception_id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key"),
    )
    op.create_table(
        "inputs",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("exception_id", "sequence"),
    )
    op.create_table(
        "lanes",
        sa.Column("lane", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("lane"),
    )
    op.create_table(
        "outbox",
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.PrimaryKeyConstraint("exception_id", "sequence"),
    )
    op.create_index("outbox_ready", "outbox", ["lane", "tenant_id", "number"], unique=False, postgresql_where="ready")
    op.create_table(
        "packs",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('domain', 'tenant')", name="packs_kind_is_known"),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "name", "version"),
        sa.UniqueConstraint("tenant_id", "kind", "name", "content_hash", name="packs_content_once"),
    )
    op.create_index("packs_one_active", "packs", ["tenant_id", "kind", "name"], unique=True, postgresql_where="active")
    op.create_table(
        "plan_steps",
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("step_order", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("plan_id", "step_order"),
    )
    op.create_table(
        "plans",
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("domain_version", sa.Integer(), nullable=False),
        sa.Column("tenant_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("plan_id"),
    )
    op.create_index("plans_by_exception", "plans", ["exception_id", "sequence"], unique=False)
    op.create_table(
        "relay_cursors",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("tenant_id ~ '^[A-Za-z0-9_-]{1,64}$'", name="tenants_id_is_plain"),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "tool_executions",
        sa.Column("idempotency_key", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("step_order", sa.Integer(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("output", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('intent', 'sent', 'confirmed', 'failed', 'unknown')", name="tool_executions_state_is_known"
        ),
        sa.PrimaryKeyConstraint("idempotency_key"),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("tool_executions_by_exception", "tool_executions", ["exception_id"], unique=False)


def downgrade() -> None:
    """Drop them all."""
    op.drop_index("tool_executions_by_exception", table_name="tool_executions")
    op.drop_table("tool_executions")
    op.drop_table("tenants")
    op.drop_table("relay_cursors")
    op.drop_index("plans_by_exception", table_name="plans")
    op.drop_table("plans")
    op.drop_table("plan_steps")
    op.drop_index("packs_one_active", table_name="packs", postgresql_where="active")
    op.drop_table("packs")
    op.drop_index("outbox_ready", table_name="outbox", postgresql_where="ready")
    op.drop_table("outbox")
    op.drop_table("lanes")
    op.drop_table("inputs")
    op.drop_table("idempotency_keys")
    op.drop_index("exceptions_by_tenant", table_name="exceptions")
    op.drop_index("exceptions_by_status", table_name="exceptions")
    op.drop_table("exceptions")
    op.drop_index("events_first_of_exception", table_name="events", postgresql_where=sa.text("position = 1"))
    op.drop_index("events_by_transaction", table_name="events")
    op.drop_table("events")
    op.drop_table("dispatchers")
    op.drop_index("dead_letters_by_tenant", table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_table("approvals")
    op.drop_table("api_keys")
