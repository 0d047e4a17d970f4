"""Runs migrations: one process at a time, and never waiting long on somebody else's lock."""

from __future__ import annotations

import os
from typing import Any

from alembic import context
from sqlalchemy import create_engine, pool, text
from sqlalchemy.dialects.postgresql.base import ischema_names

from service.persistence.database import sqlalchemy_url
from service.persistence.models import Xid8, metadata
from service.settings import load_settings

ischema_names["xid8"] = Xid8

MIGRATION_LOCK = 7_304_918_225
"""Key of the advisory lock: a second migration waits for the first instead of interleaving with it."""


def include_object(thing: Any, name: str | None, kind: str, reflected: bool, _compare_to: Any) -> bool:
    """Leave the events' partitions out of comparisons: they are data, made ahead by the application."""
    return not (kind in ("table", "index") and reflected and (name or "").startswith("events_2")) and not (
        kind == "index" and reflected and thing.table.name.startswith("events_2")
    )


def run() -> None:
    """Migrate the database of the environment inside one transaction."""
    engine = create_engine(sqlalchemy_url(load_settings(os.environ).owner_url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.execute(text("SET statement_timeout = '10min'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata, include_object=include_object)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    context.configure(url="postgresql://", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    run()
