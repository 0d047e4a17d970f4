"""What exceptions wait for: the approval of people, and moments."""

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

from service.persistence.models.base import TIME, metadata

approvals = Table(
    "approvals",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_at", TIME, nullable=False),
    Column("decided_at", TIME),
    Column("decided_by", Text),
    Column("comment", Text),
    Column("plan_hash", Text),
    Column("approvals_needed", SmallInteger, nullable=False, server_default=text("1")),
    Column("due_at", TIME),
    PrimaryKeyConstraint("exception_id", "sequence"),
    CheckConstraint(
        "state IN ('pending', 'approved', 'rejected', 'superseded', 'voided', 'expired')",
        name="approvals_state_is_known",
    ),
)

approvals_given = Table(
    "approvals_given",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("key_id", Uuid, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("given_at", TIME, nullable=False),
    PrimaryKeyConstraint("exception_id", "sequence", "key_id"),
)

timers = Table(
    "timers",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("plan_id", Uuid),
    Column("due_at", TIME, nullable=False),
    PrimaryKeyConstraint("exception_id", "kind", "step"),
    CheckConstraint("kind IN ('wait', 'step_timeout', 'approval')", name="timers_kind_is_known"),
)
Index("timers_due", timers.c.due_at)
