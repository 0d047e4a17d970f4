"""The schema, as SQLAlchemy tables: what `alembic check` compares the migrations with.

A module for each area; importing this package brings all of them together on the one MetaData. Row-level security,
roles and the events' partitions are not part of this metadata; the migrations make them. The hot path does not use
these tables but the statements in `service.persistence.statements`.
"""

from service.persistence.models import (
    dead_letters,
    deliveries,
    dispatch,
    effects,
    events,
    exceptions,
    packs,
    plans,
    redrives,
    tenants,
    upkeep,
    waiting,
)
from service.persistence.models.base import Xid8, metadata
from service.persistence.models.tenant_tables import TENANT_TABLES

__all__ = [
    "TENANT_TABLES",
    "Xid8",
    "dead_letters",
    "deliveries",
    "dispatch",
    "effects",
    "events",
    "exceptions",
    "metadata",
    "packs",
    "plans",
    "redrives",
    "tenants",
    "upkeep",
    "waiting",
]
