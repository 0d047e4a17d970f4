"""Pauses, a drain and graceful stops with real processes under load: nothing is lost, worked twice, or waits long."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from service.engine.tool_stage import SLICE
from service.persistence import pauses
from service.persistence.unit_of_work import unit_of_work
from tests.client import ApiClient, wait_for
from tests.integration.conftest import Product, running_product, services_apart
from tests.integration.verdicts import broken_promises
from tests.tenants import TestTenant, new_tenant, sample

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(180)]

EXCEPTIONS = 200
FLOOD = 3 * SLICE
"""So many that some have not been sent when a pause is in force: a slice of a batch is written down together."""
AT_REST_SECONDS = 2.0
"""Nothing that was not sent for so long is sent any more: while work flows, some is sent every 0.3 s."""
SESSION_SECONDS = 6.0
"""What handing back at once must not take: the wait for a member of the group that says nothing any more."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product on services of its own: a drain is about everything that an installation has under way."""
    with services_apart("upkeep") as apart:
        logs = tmp_path_factory.mktemp("upkeep")
        with running_product(apart.settings, apart.tool_server_url, logs, **apart.environment) as running:
            yield running


@pytest.fixture(autouse=True)
def nothing_stays_paused(product: Product) -> Iterator[None]:
    yield
    with unit_of_work(product.system) as transaction:
        for pause in pauses.in_force(transaction).pauses:
            pauses.resume(transaction, pause.pause_id, "test", "the test is over")


def test_a_paused_tenant_comes_to_rest_and_another_goes_on_and_resuming_goes_on_at_once(product: Product) -> None:
    # given two tenants with work under way on a slow tool
    paused, free = new_tenant(product.system, adjust=_slow), new_tenant(product.system)
    client, other = product.client(paused), product.client(free)
    _post(client, FLOOD)
    wait_for(lambda: client.ledger()["resolved"] > 0)
    # when the one pauses itself
    made = client.send("POST", "/pauses", json={"scope": "tenant", "reason": "a flood"})
    assert made.status_code == 201, made.text
    # then soon nothing of it goes out any more, but for what was out
    sent = _sent_at_rest(product, paused)
    # and what comes in meanwhile is accepted
    more = client.post(sample("straight"))
    # and the other tenant goes on meanwhile
    assert other.wait_settled(other.post(sample("straight")))["status"] == "RESOLVED"
    assert client.get(more)["heldBecause"].startswith(f"paused: tenant {paused.tenant_id}, by test: a flood")
    assert _sent(product, paused) == sent < FLOOD
    ledger = client.ledger()
    assert ledger["balanced"] and ledger["inFlight"] > 0
    # when it goes on
    resumed = client.send("POST", f"{made.headers['Location']}/resume")
    assert resumed.status_code == 200, resumed.text
    # then everything comes to its end, once
    wait_for(lambda: client.ledger()["resolved"] == FLOOD + 1, 120, client.ledger)
    _nothing_twice(product, paused)


def test_a_drain_brings_the_installation_to_rest_while_the_api_accepts(product: Product) -> None:
    # given work under way
    tenant = new_tenant(product.system, adjust=_slow)
    client = product.client(tenant)
    _post(client, EXCEPTIONS)
    wait_for(lambda: client.ledger()["resolved"] > 0)
    # when an operator drains
    drained = product.sentinai("drain", "--timeout", "60", "--json", "--reason", "upgrade", "--by", "ann")
    # then nothing is under way any more
    assert drained.returncode == 0, drained.stdout + drained.stderr
    said = json.loads(drained.stdout)
    assert said["drained"] and (said["working"], said["calling"]) == (0, 0)
    # and it stays so, while the API accepts and says why it waits
    accepted = client.post(sample("straight"))
    assert client.get(accepted)["heldBecause"] == "paused: dispatching, by the platform: upgrade"
    resolved = client.ledger()["resolved"]
    again = json.loads(product.sentinai("drain", "--no-wait", "--json").stdout)
    assert again["waiting"] >= 1
    assert client.ledger()["resolved"] == resolved
    # when it ends
    assert product.sentinai("drain", "--end").returncode == 0
    # then everything comes to its end, once
    wait_for(lambda: client.ledger()["resolved"] == EXCEPTIONS + 1, 60, client.ledger)
    _nothing_twice(product, tenant)


@pytest.mark.parametrize("kind", ["worker", "dispatcher", "api", "relay"])
def test_sigterm_hands_everything_over_at_once(kind: str, product: Product) -> None:
    # given a second process of the kind, and work under way on a tool that works every call it gets
    if kind != "api":
        product.fleet.start(kind)
        product.fleet.wait_ready()
    tenant = new_tenant(product.system, adjust=_slow_and_not_idempotent)
    client = product.client(tenant)
    _post(client, EXCEPTIONS)
    wait_for(lambda: client.ledger()["resolved"] > 0)
    # when the first is told to stop
    leaving = product.fleet.alive(kind)[0]
    leaving.popen.terminate()
    began = time.monotonic()
    leaving.popen.wait(timeout=20)
    took = time.monotonic() - began
    if kind == "api":
        product.fleet.start(kind)
        product.fleet.wait_ready()
    # then it ends by itself, and everything that was accepted comes to its end
    assert leaving.popen.returncode == 0, f"see {leaving.log}"
    assert took < 15
    wait_for(lambda: client.ledger()["inFlight"] == 0, 60, client.ledger)
    ledger = client.ledger()
    # no call is in doubt, and nothing was worked twice
    assert ledger["resolved"] == EXCEPTIONS, ledger
    _nothing_twice(product, tenant)
    # and nobody waited for a member that says nothing any more
    if kind in ("worker", "dispatcher"):
        assert _longest_stall(product, tenant) < SESSION_SECONDS


def _slow(pack: dict[str, Any]) -> None:
    """Calls take a while, and few at a time are made, so that work is under way for seconds."""
    pack["tools"]["retrySettlement"] |= {"timeoutSeconds": 30, "maxConcurrency": 8}
    pack["playbooks"][0]["steps"][0]["params"]["parameters"]["simulate"] = {"delaySeconds": 0.3}


def _slow_and_not_idempotent(pack: dict[str, Any]) -> None:
    _slow(pack)
    pack["tools"]["retrySettlement"] |= {"idempotent": False}


def _post(client: ApiClient, count: int) -> list[str]:
    return client.post_batch([sample("straight", orderId=f"ORD-{n}") for n in range(count)])


def _count(product: Product, tenant: TestTenant, statement: str) -> Any:
    with unit_of_work(product.system) as transaction:
        return transaction.rows(statement, {"tenant": tenant.tenant_id})[0][0]


def _sent(product: Product, tenant: TestTenant) -> int:
    return int(_count(product, tenant, "SELECT count(*) FROM tool_executions WHERE tenant_id = %(tenant)s"))


def _sent_at_rest(product: Product, tenant: TestTenant) -> int:
    """How many calls were sent, once it has been the same for a while."""
    sent, since = -1, time.monotonic()

    def rests() -> bool:
        nonlocal sent, since
        if (now := _sent(product, tenant)) != sent:
            sent, since = now, time.monotonic()
        return time.monotonic() - since > AT_REST_SECONDS

    wait_for(rests)
    return sent


def _longest_stall(product: Product, tenant: TestTenant) -> float:
    """The longest time in which none of the tenant's exceptions moved, while some had to."""
    return float(_count(product, tenant, _STALL))


def _nothing_twice(product: Product, tenant: TestTenant) -> None:
    with unit_of_work(product.system) as transaction:
        assert broken_promises(transaction, tenant.tenant_id) == {}
        statement = "SELECT idempotency_key::text AS key FROM tool_executions WHERE tenant_id = %(tenant)s"
        keys = {row.key for row in transaction.rows(statement, {"tenant": tenant.tenant_id})}
    summary = requests.get(f"{product.tool_server_url}/calls/summary", timeout=30).json()
    assert keys.isdisjoint(summary["workedTwice"])


_STALL = """
SELECT max(extract(epoch FROM occurred_at - before)) FROM (
    SELECT occurred_at, lag(occurred_at) OVER (ORDER BY occurred_at) AS before FROM events
     WHERE tenant_id = %(tenant)s) moved
"""
