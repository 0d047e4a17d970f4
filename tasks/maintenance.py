"""What beat has done: the event log's partitions made ahead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from service.engine import reconciliation
from service.persistence.database import Role, open_engine
from service.settings import Settings, load_settings
from service.wiring import utc_now
from tasks.application import app


@app.task(name="tasks.ensure_event_partitions", queue="intake")
def ensure_event_partitions() -> int:
    """Make the event log's partitions of the coming months."""
    with _system_engine(load_settings(os.environ)) as engine:
        return reconciliation.ensure_event_partitions(engine, utc_now())


@contextmanager
def _system_engine(settings: Settings) -> Iterator[Engine]:
    """A connection across tenants for the length of one task: a worker otherwise never acts as SYSTEM."""
    engine = open_engine(settings.database_url, Role.SYSTEM, pool_size=1)
    try:
        yield engine
    finally:
        engine.dispose()
