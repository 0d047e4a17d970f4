"""kill -9 of each kind of process, in the middle of work: nothing is lost, worked twice or out of order.

The tool here is not idempotent, so the strictest promise holds: each key is worked at most once, and an effect
that a killed worker left in doubt waits for a person instead of being repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests

from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from tests.client import ApiClient, wait_for
from tests.fleet import Fleet
from tests.integration.conftest import Product, running_product
from tests.integration.verdicts import broken_promises, lost
from tests.tenants import TestTenant, new_tenant, sample

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(240)]

EXCEPTIONS = 400
BULK = 50


@pytest.fixture(scope="module")
def product(migrated: Settings, tool_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A fleet of this module's own, whose reconciler looks sooner than usual."""
    logs = tmp_path_factory.mktemp("killed")
    with running_product(migrated, tool_server_url, logs, SENTINAI_RECONCILE_AFTER_SECONDS="10") as running:
        yield running


def kill_worker(fleet: Fleet) -> None:
    fleet.alive("worker")[0].kill()
    fleet.start("worker")


def kill_pool_child(fleet: Fleet) -> None:
    fleet.alive("worker")[0].kill_one_child()


def kill_dispatcher(fleet: Fleet) -> None:
    fleet.alive("dispatcher")[0].kill()
    fleet.start("dispatcher")


def kill_api(fleet: Fleet) -> None:
    fleet.alive("api")[0].kill()
    fleet.start("api")


def kill_relay(fleet: Fleet) -> None:
    fleet.alive("relay")[0].kill()
    fleet.start("relay")


@pytest.mark.parametrize("kill", [kill_worker, kill_pool_child, kill_dispatcher, kill_api, kill_relay])
def test_nothing_is_lost_or_worked_twice(product: Product, kill: Callable[[Fleet], None]) -> None:
    # given a tenant with work under way on a tool that would work a repeated call again
    tenant = new_tenant(product.system, adjust=_not_idempotent)
    client = product.client(tenant)
    half = _post(client, EXCEPTIONS // 2)
    wait_for(lambda: client.ledger()["resolved"] > 0)
    # when a process dies without a word while more comes in
    kill(product.fleet)
    accepted = half + _post(client, EXCEPTIONS // 2)
    # then everything that was accepted comes to an end
    _wait_until_nothing_is_in_flight(product, client, accepted)
    # and every promise is kept, by the database's own account
    with unit_of_work(product.system) as transaction:
        assert lost(transaction, accepted) == []
        assert broken_promises(transaction, tenant.tenant_id) == {}
    # and by the tool's: no key was worked twice
    assert _worked_twice(product, tenant) == []
    # and the books balance
    ledger = client.ledger()
    assert ledger["balanced"]
    assert ledger["accepted"] == ledger["resolved"] + ledger["waiting"] == EXCEPTIONS


def _not_idempotent(pack: dict[str, Any]) -> None:
    """Calls take a while, so that some are under way when a process dies, and the tool works each it gets."""
    pack["tools"]["retrySettlement"] |= {"idempotent": False, "timeoutSeconds": 2}
    pack["playbooks"][0]["steps"][0]["params"]["parameters"]["simulate"] = {"delaySeconds": 0.2}


def _post(client: ApiClient, count: int) -> list[str]:
    """Post in bulk as a careful source system does: with a key, again until an answer comes."""
    accepted: list[str] = []
    for start in range(0, count, BULK):
        items = [sample("straight", orderId=f"ORD-{start + n}") for n in range(BULK)]
        headers = {"Idempotency-Key": uuid4().hex}
        wait_for(lambda i=items, h=headers: _accepted(client, i, h, accepted))
    return accepted


def _accepted(client: ApiClient, items: list[Any], headers: dict[str, str], accepted: list[str]) -> bool:
    try:
        response = client.send("POST", "/exceptions/batch", json={"items": items}, headers=headers)
    except requests.ConnectionError:
        return False
    if response.status_code != 202:
        return False
    accepted += [item["exceptionId"] for item in response.json()["items"]]
    return True


def _wait_until_nothing_is_in_flight(product: Product, client: ApiClient, accepted: list[str]) -> None:
    def finished() -> bool:
        with unit_of_work(product.system) as transaction:
            return not lost(transaction, accepted)

    wait_for(finished, 120, lambda: f"ledger {client.ledger()}; logs in {product.fleet.logs}")


def _worked_twice(product: Product, tenant: TestTenant) -> list[Any]:
    with unit_of_work(product.system) as transaction:
        statement = "SELECT idempotency_key FROM tool_executions WHERE tenant_id = %(tenant)s"
        keys = {str(row.idempotency_key) for row in transaction.rows(statement, {"tenant": tenant.tenant_id})}
    summary = requests.get(f"{product.tool_server_url}/calls/summary", timeout=30).json()
    return [key for key in summary["workedTwice"] if key in keys]
