"""What the administrative commands share: a transaction that sees every tenant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from service.persistence.database import Role, open_engine
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.settings import load_settings


@contextmanager
def administering() -> Iterator[Transaction]:
    """One transaction on the environment's database that sees all tenants. Raises DatabaseUnavailableError."""
    engine = open_engine(load_settings(os.environ).database_url, Role.SYSTEM, pool_size=1)
    try:
        with unit_of_work(engine) as transaction:
            yield transaction
    finally:
        engine.dispose()
