"""PostgreSQL, Kafka and Redis die under load and come back: nothing is lost, and no exception pays for it.

The services are this module's own, so that killing them disturbs nobody. Their supervisor starts them again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import psutil
import pytest
import requests

from service.devstack.instance import Instance
from service.devstack.status import describe
from service.errors import InfrastructureUnavailableError
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.settings import load_settings
from tests.client import ApiClient, wait_for
from tests.integration.conftest import Product, migrate, running_product
from tests.integration.verdicts import broken_promises, lost
from tests.stack_fixture import services
from tests.tenants import sample

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(300)]

NAME = f"test-outage-{os.getpid()}"
EXCEPTIONS, BULK = 200, 20


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """Services that may be killed."""
    with services(NAME) as started:
        yield started


@pytest.fixture(scope="module")
def product(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product on those services."""
    environment = {**instance.environment(), "SENTINAI_RECONCILE_AFTER_SECONDS": "10"}
    migrate(environment)
    tool_server_url = str(instance.url("tool-server"))
    logs = tmp_path_factory.mktemp("outages")
    with running_product(load_settings(environment), tool_server_url, logs, **environment) as running:
        yield running


@pytest.mark.parametrize("service", ["redis", "kafka", "postgres"])
def test_an_outage_loses_nothing_and_dead_letters_nothing(product: Product, instance: Instance, service: str) -> None:
    # given a tenant whose exceptions are being worked
    tenant = product.tenant()
    client = product.client(tenant)
    answers: set[int] = set()
    accepted = _post(client, EXCEPTIONS // 2, answers)
    # when a service is killed, and is started again by its supervisor, while more comes in
    psutil.Process(_pid(instance, service)).kill()
    accepted += _post(client, EXCEPTIONS // 2, answers)
    # then while PostgreSQL is away the API says so, and otherwise it accepts
    assert answers <= ({202, 503} if service == "postgres" else {202})
    # and everything that was accepted is resolved: an outage uses up nobody's attempts
    wait_for(lambda: _nothing_in_flight(product, accepted), 120, lambda: f"logs in {product.fleet.logs}")
    ledger = client.ledger()
    assert (ledger["accepted"], ledger["resolved"], ledger["deadLettered"]) == (EXCEPTIONS, EXCEPTIONS, 0)
    assert ledger["balanced"]
    with unit_of_work(product.system) as transaction:
        assert broken_promises(transaction, tenant.tenant_id) == {}
        assert _attempts_used_up(transaction, tenant.tenant_id) == 0


def _attempts_used_up(transaction: Transaction, tenant_id: str) -> int:
    statement = """
        SELECT count(*) FROM events WHERE tenant_id = %(tenant)s AND (attempt > 1 OR type = 'RetryScheduled')
    """
    return int(transaction.rows(statement, {"tenant": tenant_id})[0][0])


def _pid(instance: Instance, service: str) -> int:
    pids = {process["name"]: process["pid"] for process in describe(instance)["processes"]}
    pid: int = pids[service]
    return pid


def _post(client: ApiClient, count: int, answers: set[int]) -> list[str]:
    """Post as a careful source system does: with a key, again after a 503."""
    accepted: list[str] = []
    for start in range(0, count, BULK):
        items = [sample("batch", orderId=f"ORD-{start + n}") for n in range(BULK)]
        headers = {"Idempotency-Key": uuid4().hex}

        def taken(items: list[dict[str, object]] = items, headers: dict[str, str] = headers) -> bool:
            response = client.send("POST", "/exceptions/batch", json={"items": items}, headers=headers)
            answers.add(response.status_code)
            if response.status_code == 202:
                accepted.extend(item["exceptionId"] for item in response.json()["items"])
            return response.status_code == requests.codes.accepted

        wait_for(taken)
    return accepted


def _nothing_in_flight(product: Product, accepted: list[str]) -> bool:
    with suppress(InfrastructureUnavailableError), unit_of_work(product.system) as transaction:
        return not lost(transaction, accepted)
    return False
