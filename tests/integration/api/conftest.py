"""Fixtures of the API's integration tests: every test may have tenants of its own on the run's database."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from service.api import acceptance, create_app
from service.keyring import open_sealing
from service.persistence.database import Role, open_engine
from service.settings import Settings
from tests.integration.api.world import NOBODYS_LANE, Caller, Tenant, World


@pytest.fixture(autouse=True)
def unworked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is posted here is not worked by a fleet that other tests may have started on the same database."""
    monkeypatch.setattr(acceptance, "lane_of", lambda *_: NOBODYS_LANE)


@pytest.fixture(scope="session")
def world(migrated: Settings) -> Iterator[World]:
    """The API with the run's services behind it."""
    system = open_engine(migrated.database_url, Role.SYSTEM)
    sealing = open_sealing(migrated, os.environ)
    application = open_engine(migrated.database_url, Role.APPLICATION, sealing=sealing)
    yield World(create_app(migrated).test_client(), system, application)
    system.dispose()
    application.dispose()


@pytest.fixture
def tenant(world: World) -> Tenant:
    return world.tenant()


@pytest.fixture
def caller(world: World, tenant: Tenant) -> Caller:
    """The holder of the tenant's admin key."""
    return world.caller(tenant)
