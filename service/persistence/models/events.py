"""What happened, for good: the event log, and how far the relay has published it."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, PrimaryKeyConstraint, SmallInteger, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from service.persistence.models.base import TIME, Xid8, metadata

events = Table(
    "events",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("position", Integer, nullable=False),
    Column("occurred_at", TIME, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False, server_default=text("1")),
    Column("type", Text, nullable=False),
    Column("trace_id", Uuid, nullable=False),
    Column("domain_version", Integer),
    Column("tenant_version", Integer),
    Column("data", JSONB, nullable=False),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    PrimaryKeyConstraint("exception_id", "position", "occurred_at"),
    postgresql_partition_by="RANGE (occurred_at)",
)
Index("events_by_transaction", events.c.xid)
Index("events_first_of_exception", events.c.tenant_id, postgresql_where=text("position = 1"))
Index("events_of_dead_letters", events.c.xid, postgresql_where=text("type = 'DeadLettered'"))

relay_cursors = Table(
    "relay_cursors",
    metadata,
    Column("name", Text, primary_key=True),
    # A pg_snapshot: what it saw is published, what it did not see is not.
    Column("snapshot", Text, nullable=False),
    Column("updated_at", TIME, nullable=False),
)
