"""What is to be sent to the workers, who sends it, and what is paused."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
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

outbox = Table(
    "outbox",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False, server_default=text("0")),
    Column("rate_limited", SmallInteger, nullable=False, server_default=text("0")),
    Column("ready", Boolean, nullable=False),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    # Before this time a held row is not ready.
    Column("due_at", TIME),
    # Held until this pause is over.
    Column("pause_id", Uuid),
    PrimaryKeyConstraint("exception_id", "sequence"),
)
Index("outbox_paused", outbox.c.pause_id, postgresql_where=outbox.c.pause_id.is_not(None))
Index("outbox_due", outbox.c.due_at, postgresql_where=outbox.c.due_at.is_not(None))
Index("outbox_ready", outbox.c.lane, outbox.c.tenant_id, outbox.c.number, postgresql_where=outbox.c.ready)
Index(
    "outbox_later_stages",
    outbox.c.lane,
    outbox.c.tenant_id,
    outbox.c.number,
    postgresql_where=text("ready AND stage > 0"),
)

lanes = Table(
    "lanes",
    metadata,
    Column("lane", SmallInteger, primary_key=True, autoincrement=False),
    Column("holder", Text),
    Column("leased_until", TIME),
)

dispatchers = Table(
    "dispatchers",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("seen_until", TIME, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    Column("pause_id", Uuid, primary_key=True),
    Column("scope", Text, nullable=False),
    # None: for every tenant. Only the platform can do that.
    Column("tenant_id", Text),
    Column("tool", Text),
    Column("stage", SmallInteger),
    Column("reason", Text, nullable=False),
    Column("until", TIME),
    Column("by_platform", Boolean, nullable=False),
    Column("paused_at", TIME, nullable=False),
    Column("paused_by", Text, nullable=False),
    Column("resumed_at", TIME),
    Column("resumed_by", Text),
    Column("resume_reason", Text),
    CheckConstraint(
        "CASE scope WHEN 'tenant' THEN tenant_id IS NOT NULL AND tool IS NULL AND stage IS NULL "
        "WHEN 'tool' THEN tool IS NOT NULL AND stage IS NULL "
        "WHEN 'stage' THEN stage IS NOT NULL AND tool IS NULL "
        "WHEN 'dispatch' THEN tenant_id IS NULL AND tool IS NULL AND stage IS NULL ELSE false END",
        name="pauses_scope_fits",
    ),
)
Index("pauses_in_force", pauses.c.pause_id, postgresql_where=text("resumed_at IS NULL"))
Index("pauses_by_tenant", pauses.c.tenant_id, pauses.c.pause_id)
