"""What could not be worked, and how the audit of its records stands."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, SmallInteger, Table, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from service.persistence.models.base import TIME, metadata

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("dead_letter_id", Uuid, primary_key=True),
    # One an input: failing again after a redrive, it is the same row.
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    # Of its newest DeadLettered event.
    Column("position", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("error_class", Text, nullable=False),
    Column("error_kind", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("pattern", Text, nullable=False),
    Column("tool", Text),
    Column("attempts", SmallInteger, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("first_dead_lettered_at", TIME, nullable=False),
    Column("dead_lettered_at", TIME, nullable=False),
    Column("redrives", Integer, nullable=False, server_default=text("0")),
    # As they were when it failed, so that lists and clusters read one table.
    Column("exception_type", Text),
    Column("source_system", Text, nullable=False),
    Column("domain_version", Integer),
    Column("tenant_version", Integer),
    Column("evidence", JSONB),
    Column("settled_at", TIME),
    UniqueConstraint("exception_id", "sequence", name="dead_letters_one_an_input"),
    CheckConstraint(
        "error_kind IN ('transient', 'rate_limited', 'permanent', 'poison')", name="dead_letters_kind_is_known"
    ),
    CheckConstraint("state IN ('pending', 'redriving', 'succeeded', 'discarded')", name="dead_letters_state_is_known"),
)
Index(
    "dead_letters_by_tenant",
    dead_letters.c.tenant_id,
    dead_letters.c.state,
    dead_letters.c.dead_lettered_at,
    dead_letters.c.dead_letter_id,
)
Index(
    "dead_letters_by_signature",
    dead_letters.c.signature,
    dead_letters.c.tenant_id,
    dead_letters.c.state,
    dead_letters.c.dead_lettered_at,
)
Index("dead_letters_redriving", dead_letters.c.tenant_id, postgresql_where=text("state = 'redriving'"))

dead_letter_audits = Table(
    "dead_letter_audits",
    metadata,
    # The relay's cursor whose records are compared.
    Column("name", Text, primary_key=True),
    # A pg_snapshot: the events that it saw have been compared.
    Column("snapshot", Text, nullable=False),
    # By partition: the first record that has not been.
    Column("offsets", JSONB, nullable=False),
    Column("audited_at", TIME, nullable=False),
    Column("report", JSONB, nullable=False),
)
