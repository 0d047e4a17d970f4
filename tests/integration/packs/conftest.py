"""Fixtures of the tests of packs' lives: the API in this process and tenants of a test's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import Engine

from service.api import create_app
from service.api.context import EXTENSION
from service.persistence.administration import create_key, create_tenant, key_of
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from tests.integration.packs.desk import Desk, new_source


@pytest.fixture(scope="session")
def app(migrated: Settings) -> Iterator[Flask]:
    built = create_app(migrated)
    yield built
    built.extensions[EXTENSION].engine.dispose()


@pytest.fixture
def desk_of(app: Flask, system: Engine) -> Callable[[], Desk]:
    """Makes a tenant with a key for each role."""

    def make() -> Desk:
        tenant_id = f"packs-{uuid4().hex[:12]}"
        keys = {role: key_of(secrets.token_bytes(32)) for role in ("ingest", "operator", "admin")}
        with unit_of_work(system) as transaction:
            create_tenant(transaction, tenant_id, "a test's tenant")
            for role, key in keys.items():
                create_key(transaction, tenant_id, role, f"the {role}", key=key, key_id=uuid4())
        return Desk(app.test_client(), app.extensions[EXTENSION].engine, tenant_id, keys, new_source())

    return make


@pytest.fixture
def desk(desk_of: Callable[[], Desk]) -> Desk:
    return desk_of()
