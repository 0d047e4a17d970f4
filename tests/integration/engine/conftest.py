"""A database as the application sees it, and worlds of plans on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine

from service.persistence.database import Role, open_engine
from service.persistence.sealing import Sealing
from service.settings import Settings
from tests.integration.database_apart import database_apart
from tests.integration.engine.plans import World, tenant_with

MakeWorld = Callable[..., World]


@pytest.fixture
def application(migrated: Settings) -> Iterator[Engine]:
    engine = open_engine(migrated.database_url, Role.APPLICATION, pool_size=2, sealing=Sealing())
    yield engine
    engine.dispose()


@pytest.fixture
def world(application: Engine, system: Engine) -> MakeWorld:
    """A world whose playbook has the given steps; further arguments are the world's."""

    def make(steps: Sequence[Mapping[str, Any]], **more: Any) -> World:
        return World(application, system, tenant_with(system, steps), **more)

    return make


@pytest.fixture(scope="module")
def alone(migrated: Settings) -> Iterator[Settings]:
    """A database that no fleet of the run works on."""
    with database_apart(migrated) as settings:
        yield settings


@pytest.fixture
def world_alone(alone: Settings) -> Iterator[MakeWorld]:
    """As `world`, for what a fleet's dispatchers would do in the test's place, at another time."""
    application = open_engine(alone.database_url, Role.APPLICATION, pool_size=8, sealing=Sealing())
    system = open_engine(alone.database_url, Role.SYSTEM, pool_size=2)

    def make(steps: Sequence[Mapping[str, Any]], **more: Any) -> World:
        return World(application, system, tenant_with(system, steps), **more)

    yield make
    application.dispose()
    system.dispose()
