"""Who may do what: tenants and their API keys."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, LargeBinary, Table, Text, Uuid

from service.persistence.models.base import NOW, TIME, metadata

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    CheckConstraint("tenant_id ~ '^[A-Za-z0-9_-]{1,64}$'", name="tenants_id_is_plain"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("revoked_at", TIME),
    CheckConstraint("role IN ('ingest', 'operator', 'admin')", name="api_keys_role_is_known"),
)
