"""Packs as stored: their versions, the history of their activations, the reports kept with them."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.persistence.models.base import NOW, TIME, metadata

packs = Table(
    "packs",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("created_by", Text, nullable=False),
    Column("comment", Text),
    PrimaryKeyConstraint("tenant_id", "kind", "name", "version"),
    UniqueConstraint("tenant_id", "kind", "name", "content_hash", name="packs_content_once"),
    CheckConstraint("kind IN ('domain', 'tenant')", name="packs_kind_is_known"),
)

pack_activations = Table(
    "pack_activations",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("version", Integer, nullable=False),
    # Of a tenant pack: the domain that this version names.
    Column("domain_name", Text),
    Column("effective_at", TIME, nullable=False),
    # In force for everything not decided yet, not only for what is received from its instant on.
    Column("immediate", Boolean, nullable=False),
    Column("withdraws", Integer),
    Column("recorded_at", TIME, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("comment", Text),
    # Why it was activated although its tests fail.
    Column("forced", Text),
    CheckConstraint("action IN ('activate', 'rollback', 'withdraw')", name="pack_activations_action_is_known"),
    CheckConstraint("kind IN ('domain', 'tenant')", name="pack_activations_kind_is_known"),
    ForeignKeyConstraint(
        ["tenant_id", "kind", "name", "version"],
        ["packs.tenant_id", "packs.kind", "packs.name", "packs.version"],
        name="pack_activations_of_a_version",
    ),
    PrimaryKeyConstraint("tenant_id", "kind", "name", "number"),
)

pack_reports = Table(
    "pack_reports",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("report", Text, nullable=False),
    Column("made_at", TIME, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    CheckConstraint("report IN ('test', 'backtest')", name="pack_reports_report_is_known"),
    PrimaryKeyConstraint("tenant_id", "kind", "name", "version", "report"),
)
