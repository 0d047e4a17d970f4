"""Operations on dead letters: many sent again or discarded together, and what became of each."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.persistence.models.base import TIME, metadata

redrives = Table(
    "redrives",
    metadata,
    Column("operation_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("state", Text, nullable=False),
    # Why it is in that state: which of the canary failed, who stopped it.
    Column("state_reason", Text),
    # The canary is still to be sent or to succeed, also while stopped.
    Column("in_canary", Boolean, nullable=False),
    # Some dispatcher has something to do about it.
    Column("watched", Boolean, nullable=False),
    Column("filter", JSONB, nullable=False),
    Column("from_stage", SmallInteger),
    Column("packs", Text, nullable=False),
    Column("canary", Integer, nullable=False),
    Column("canary_timeout_seconds", Integer, nullable=False),
    Column("rate_per_second", Double),
    # How many may leave, as of when: service.domain.operations fills it with time.
    Column("tokens", Double, nullable=False),
    Column("tokens_at", TIME, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # Who did what when and why: started, stopped, resumed.
    Column("history", JSONB, nullable=False),
    Column("idempotency_key", Text),
    Column("request_hash", LargeBinary, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("started_at", TIME),
    Column("last_sent_at", TIME),
    Column("finished_at", TIME),
    CheckConstraint("action IN ('redrive', 'discard')", name="redrives_action_is_known"),
    CheckConstraint("packs IN ('recorded', 'active')", name="redrives_packs_are_known"),
    CheckConstraint(
        "state IN ('canary', 'running', 'stopped', 'canary_failed', 'finished')", name="redrives_state_is_known"
    ),
    UniqueConstraint("tenant_id", "idempotency_key", name="redrives_key_once"),
)
Index("redrives_by_tenant", redrives.c.tenant_id, redrives.c.operation_id)
Index("redrives_watched", redrives.c.operation_id, postgresql_where=text("watched"))

redrive_items = Table(
    "redrive_items",
    metadata,
    Column("operation_id", Uuid, nullable=False),
    Column("place", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("dead_letter_id", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    # Which redrive of its dead letter it was.
    Column("number", Integer),
    # Where the exception came to rest, why it failed again, or why it was left out.
    Column("outcome", Text),
    Column("sent_at", TIME),
    Column("settled_at", TIME),
    PrimaryKeyConstraint("operation_id", "place"),
    CheckConstraint(
        "state IN ('pending', 'sent', 'succeeded', 'failed', 'skipped')", name="redrive_items_state_is_known"
    ),
    postgresql_with={"fillfactor": "70"},
)
Index("redrive_items_by_state", redrive_items.c.operation_id, redrive_items.c.state, redrive_items.c.place)
