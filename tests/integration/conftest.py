"""The whole product under test: services of the run, migrated, and a fleet of real processes on them."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from service.devstack.ports import DEFAULT_RANGE, choose_ports
from service.persistence.database import Role, open_engine
from service.settings import Settings, load_settings
from tests.client import ApiClient
from tests.fleet import PROJECT, Fleet
from tests.stack_fixture import StackUnderTest, services
from tests.tenants import TestTenant, new_tenant


@dataclass(frozen=True)
class Product:
    """The running product, and the database as an outside observer sees it."""

    fleet: Fleet
    settings: Settings
    system: Engine
    """A connection that sees every tenant, for verdicts in SQL."""
    tool_server_url: str

    def client(self, tenant: TestTenant) -> ApiClient:
        """The API as one tenant."""
        return ApiClient(self.fleet.api_url, tenant.key)

    def tenant(self) -> TestTenant:
        """A fresh tenant whose pack answers the samples."""
        return new_tenant(self.system)

    def sentinai(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, as an operator of this installation types it."""
        command = [sys.executable, "-m", "service.cli", *arguments]
        environment = {**os.environ, **self.fleet.environment}
        return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session", autouse=True)
def secrets_of_the_run() -> Iterator[None]:
    """Secrets that packs of tests and of the tutorial may name, in every process that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTINAI_SECRET_TEST_TOKEN", f"token-{uuid4().hex}")
        patch.setenv("SENTINAI_SECRET_BILLING_DESK", f"whsec_{b64encode(uuid4().bytes * 2).decode()}")
        yield


@pytest.fixture(scope="session")
def migrated(stack: StackUnderTest, secrets_of_the_run: None) -> Settings:
    """The settings of the services, their database brought to the newest schema."""
    migrate(stack.environment)
    return load_settings(stack.environment)


@pytest.fixture
def system(migrated: Settings) -> Iterator[Engine]:
    """The database as the SYSTEM role sees it: every tenant."""
    engine = open_engine(migrated.database_url, Role.SYSTEM, pool_size=2)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def product(migrated: Settings, tool_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with one process of every kind."""
    with running_product(migrated, tool_server_url, tmp_path_factory.mktemp("fleet")) as running:
        yield running


def migrate(environment: Mapping[str, str]) -> None:
    """Bring the environment's database to the newest schema."""
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=PROJECT, env={**os.environ, **environment}, check=True)


@dataclass(frozen=True)
class ServicesApart:
    """Services that no other fleet works on."""

    settings: Settings
    tool_server_url: str
    environment: Mapping[str, str]


@contextmanager
def services_apart(name: str) -> Iterator[ServicesApart]:
    """Migrated services for a fleet that is set up differently: others would take its work and do it their way."""
    with services(f"test-{name}-{os.getpid()}") as instance:
        environment = instance.environment()
        migrate(environment)
        yield ServicesApart(load_settings(environment), str(instance.url("tool-server")), environment)


@contextmanager
def running_product(
    settings: Settings,
    tool_server_url: str,
    logs: Path,
    *,
    worker_app: str = "tasks",
    worker_options: tuple[str, ...] = ("-c", "2"),
    **environment: str,
) -> Iterator[Product]:
    """A product with one process of every kind, ended afterwards."""
    port = choose_ports(["api"], {}, DEFAULT_RANGE)["api"]
    pack_variables = {"SENTINAI_PACK_VARIABLES": f"toolServerUrl={tool_server_url}"}
    fleet = Fleet({**pack_variables, **environment}, port, logs, worker_app, worker_options)
    system = open_engine(settings.database_url, Role.SYSTEM)
    try:
        fleet.start_all()
        yield Product(fleet, settings, system, tool_server_url)
    finally:
        fleet.stop()
        system.dispose()
