"""What the installation knows of its own upkeep: chores, and what the reconciler found and suspects."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, SmallInteger, Table, Text, Uuid, text

from service.persistence.models.base import TIME, metadata

chores = Table(
    "chores",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("due_at", TIME, nullable=False),
    Column("ran_at", TIME),
    Column("seconds", Float),
)

reconciler_kinds = Table(
    "reconciler_kinds",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("actions", BigInteger, nullable=False, server_default=text("0")),
    Column("acted_at", TIME),
    # Of what only a person can mend: how much there was at the last look.
    Column("found", Integer, nullable=False, server_default=text("0")),
    Column("looked_at", TIME),
)

suspects = Table(
    "suspects",
    metadata,
    Column("exception_id", Uuid, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    # The updated_at that it had: the suspicion is about a row that has not moved since.
    Column("moved_at", TIME, nullable=False),
    Column("since", TIME, nullable=False),
    Column("repeats", Integer, nullable=False, server_default=text("0")),
    Column("repeated_at", TIME),
    prefixes=["UNLOGGED"],
)
