"""What reaches the outside world: the effect ledger, results of tools, and notifications."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.persistence.models.base import TIME, metadata

tool_executions = Table(
    "tool_executions",
    metadata,
    Column("idempotency_key", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("exception_id", Uuid, nullable=False),
    Column("plan_id", Uuid, nullable=False),
    Column("step", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("lease_until", TIME),
    Column("requested_at", TIME, nullable=False),
    Column("finished_at", TIME),
    Column("output", JSONB),
    Column("error", Text),
    # When the last attempt went out; requested_at is when the first one did.
    Column("sent_at", TIME),
    CheckConstraint(
        "state IN ('intent', 'sent', 'confirmed', 'failed', 'unknown')", name="tool_executions_state_is_known"
    ),
    postgresql_with={"fillfactor": "70"},
)
Index("tool_executions_by_exception", tool_executions.c.exception_id)

tool_results = Table(
    "tool_results",
    metadata,
    Column("result_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("exception_id", Uuid, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("created_at", TIME, nullable=False),
)
Index("tool_results_by_exception", tool_results.c.exception_id)

notifications = Table(
    "notifications",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("position", Integer, nullable=False),
    Column("policy", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("params", JSONB, nullable=False),
    Column("domain_version", Integer, nullable=False),
    Column("tenant_version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("claim", Integer, nullable=False, server_default=text("0")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("due_at", TIME),
    Column("error", Text),
    Column("created_at", TIME, nullable=False),
    Column("sent_at", TIME),
    Column("finished_at", TIME),
    PrimaryKeyConstraint("exception_id", "position", "policy"),
    CheckConstraint(
        "state IN ('intent', 'sent', 'confirmed', 'failed', 'unknown')", name="notifications_state_is_known"
    ),
)
Index("notifications_due", notifications.c.due_at, postgresql_where=text("due_at IS NOT NULL"))
Index(
    "notifications_forgotten",
    notifications.c.created_at,
    postgresql_where=text("due_at IS NULL AND state IN ('intent', 'sent')"),
)
