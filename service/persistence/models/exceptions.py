"""What came in: exceptions where they are now, their inputs, and the keys under which requests are accepted once."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.persistence.models.base import TIME, metadata

exceptions = Table(
    "exceptions",
    metadata,
    Column("exception_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("resting_status", Text),
    Column("sequence", Integer, nullable=False),
    Column("last_sequence", Integer, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("attempt", SmallInteger, nullable=False, server_default=text("0")),
    # How many of these attempts somebody's rate limit failed: they are counted apart.
    Column("rate_limited", SmallInteger, nullable=False, server_default=text("0")),
    Column("retry_at", TIME),
    Column("hold_reason", Text),
    Column("held_since", TIME),
    # The current input was dead-lettered and sent again, and is decided with these packs; null: it was not.
    Column("redriven_with", Text),
    Column("lane", SmallInteger, nullable=False),
    Column("source_system", Text, nullable=False),
    Column("external_id", Text),
    Column("exception_type", Text),
    Column("reported_severity", Text),
    Column("severity", Text),
    Column("confidence", REAL, nullable=False, server_default=text("1")),
    Column("entity", Text),
    Column("assigned_to", Text),
    # Sealed, as service.persistence.sealing describes: the only place of the payload as it came.
    Column("sealed_payload", LargeBinary, nullable=False),
    Column("redacted_payload", JSONB),
    Column("domain_version", Integer),
    Column("tenant_version", Integer),
    Column("trace_id", Uuid, nullable=False),
    Column("occurred_at", TIME, nullable=False),
    Column("received_at", TIME, nullable=False),
    Column("updated_at", TIME, nullable=False),
    Column("deadline_at", TIME),
    CheckConstraint("redriven_with IN ('recorded', 'active')", name="exceptions_redriven_with_is_known"),
    # Updates of a row stay on its page and touch no index but the status one.
    postgresql_with={"fillfactor": "70"},
)
Index("exceptions_by_tenant", exceptions.c.tenant_id, exceptions.c.exception_id)
Index("exceptions_by_status", exceptions.c.tenant_id, exceptions.c.status, exceptions.c.exception_id)
Index("exceptions_with_later_inputs", exceptions.c.exception_id, postgresql_where=text("last_sequence > sequence"))

inputs = Table(
    "inputs",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    # What people and sources sent, sealed; `data` is then empty. Inputs that the system makes have it open.
    Column("sealed_data", LargeBinary),
    Column("actor", Text),
    Column("received_at", TIME, nullable=False),
    PrimaryKeyConstraint("exception_id", "sequence"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("created_at", TIME, nullable=False),
    PrimaryKeyConstraint("tenant_id", "key"),
)
