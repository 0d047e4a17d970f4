"""What each worker has begun, so that what kills one is recognised: the journal of deliveries."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY

from service.persistence.models.base import TIME, metadata

deliveries = Table(
    "deliveries",
    metadata,
    Column("slot", Uuid, primary_key=True),
    Column("delivery", Text),
    Column("retries", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("exceptions", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("process", Integer, nullable=False),
    Column("began_at", TIME, nullable=False),
    # What the process's connections are called in pg_stat_activity.
    Column("session", Text, nullable=False, server_default=text("''")),
    prefixes=["UNLOGGED"],
)
"""What each worker thread works: `service.persistence.deliveries`."""

landings = Table(
    "landings",
    metadata,
    Column("session", Text, primary_key=True),
    Column("exceptions", ARRAY(Uuid), nullable=False),
    Column("written_at", TIME, nullable=False),
    prefixes=["UNLOGGED"],
)
"""What each worker process waits for beside its deliveries."""
