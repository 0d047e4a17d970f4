"""A tool that hangs hurts nobody else: real processes, and one tenant whose tool on a real server gives no answer."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import requests

from service.persistence.unit_of_work import unit_of_work
from tests.client import ApiClient, wait_for
from tests.integration.conftest import Product, running_product, services_apart
from tests.integration.verdicts import broken_promises
from tests.tenants import TestTenant, new_tenant, sample

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(240)]

HANGING = 30
BESIDE = 30
HANG_SECONDS = 30
"""A call's time limit: long beside all that is looked at while calls hang, also on a busy machine."""
MOST_UNDER_WAY = 8
"""Calls of one tool, in both worker processes."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A fleet of this module's own: few calls at once, and a breaker that opens and closes within the test."""
    limits = {
        "SENTINAI_SINGLE_TOOL_CONCURRENCY": str(MOST_UNDER_WAY),
        "SENTINAI_WORKER_PROCESSES": "2",
        "SENTINAI_BREAKER_FAILURES": "4",
        "SENTINAI_BREAKER_OPEN_SECONDS": "2",
        "SENTINAI_RECONCILE_AFTER_SECONDS": "10",
    }
    logs = tmp_path_factory.mktemp("slow")
    with services_apart("slow") as apart:
        environment = {**apart.environment, **limits}
        with running_product(apart.settings, apart.tool_server_url, logs, **environment) as running:
            yield running


def test_a_hanging_tool_holds_up_only_its_own_tenant(product: Product) -> None:
    # given a tenant whose tool hangs
    slow = new_tenant(product.system, adjust=_hanging_tool)
    quick = product.tenant()
    stuck, fine = product.client(slow), product.client(quick)
    _behave(product, {"hang": True})
    hanging = stuck.post_batch(_drills(HANGING))
    wait_for(lambda: _calls_under_way(product, slow) > 0)
    # when another tenant's exceptions come in, many at once and one by one
    together = fine.post_batch([sample("straight", orderId=f"ORD-{number}") for number in range(BESIDE)])
    alone = fine.post(sample("straight", orderId="ORD-ALONE"))
    for exception_id in (*together, alone):
        assert fine.wait_settled(exception_id)["status"] == "RESOLVED"
    # then they are resolved while every one of the first tenant's is still under way
    assert stuck.ledger()["inFlight"] == HANGING
    # and no more calls hang than may be under way; the rest waits outside the workers and says why
    wait_for(lambda: len(_held(stuck, hanging)) >= HANGING - MOST_UNDER_WAY, HANG_SECONDS / 2)
    assert 0 < _calls_under_way(product, slow) <= MOST_UNDER_WAY
    held = _held(stuck, hanging)[0]
    assert "under way" in held["heldBecause"]
    assert held["heldUntil"]
    # when the tool works again
    _behave(product, None)
    # then every one is accounted for: the calls that were never answered wait for a person, the others are resolved
    wait_for(lambda: stuck.ledger()["inFlight"] == 0, 120, stuck.ledger)
    ledger = stuck.ledger()
    assert ledger["balanced"]
    assert ledger["resolved"] + ledger["waiting"] == HANGING
    assert 0 < ledger["waiting"] <= MOST_UNDER_WAY
    # and each key was worked at most once, each wait has one line on its timeline, and every promise is kept
    assert _worked_twice(product, slow) == []
    assert _types(stuck, held["exceptionId"]).count("ToolExecutionHeld") == 1
    with unit_of_work(product.system) as transaction:
        for tenant in (slow, quick):
            assert broken_promises(transaction, tenant.tenant_id) == {}


def test_calls_to_a_broken_tool_stop_and_go_on_once_it_works(product: Product) -> None:
    # given a tenant whose tool refuses every call
    tenant = new_tenant(product.system, adjust=_patient_tool)
    client = product.client(tenant)
    _behave(product, {"status": 503})
    broken = client.post_batch(_drills(12))
    # then its breaker opens, and all that is due is held with the reason
    wait_for(lambda: len(_held(client, broken, "circuit breaker")) == len(broken))
    # when it works again
    _behave(product, None)
    # then a probe finds out, and all are resolved without anybody's help
    for exception_id in broken:
        assert client.wait_settled(exception_id, 90)["status"] == "RESOLVED"
    assert _worked_twice(product, tenant) == []


def test_an_ending_worker_waits_for_calls_that_outlived_their_batch(product: Product) -> None:
    # given a call that is under way after its batch has ended
    tenant = new_tenant(product.system, adjust=_hanging_tool)
    client = product.client(tenant)
    _behave(product, {"delaySeconds": 5})
    exception_id = client.post(sample("transient", orderId="ORD-LAST", simulate={}))
    wait_for(lambda: _calls_under_way(product, tenant) == 1)
    # when the worker is told to end, and has ended
    (worker,) = product.fleet.alive("worker")
    worker.popen.send_signal(signal.SIGTERM)
    worker.popen.wait(timeout=60)
    _behave(product, None)
    # then the answer was waited for and written down
    assert client.get(exception_id)["status"] == "RESOLVED"


def _hanging_tool(pack: dict[str, Any]) -> None:
    """It would work a repeated call again, so one that was not answered waits for a person."""
    pack["tools"]["drill"] |= {"idempotent": False, "timeoutSeconds": HANG_SECONDS}


def _patient_tool(pack: dict[str, Any]) -> None:
    pack["tools"]["drill"] |= {"idempotent": True, "timeoutSeconds": 2, "maxRetries": 20}


def _drills(count: int) -> list[dict[str, Any]]:
    return [sample("transient", orderId=f"ORD-{number}", simulate={}) for number in range(count)]


def _behave(product: Product, behaviour: dict[str, Any] | None) -> None:
    """Tell the tool server what `drill` does; None: it works."""
    method = "DELETE" if behaviour is None else "PUT"
    url = f"{product.tool_server_url}/behaviours/drill"
    requests.request(method, url, json=behaviour, timeout=30).raise_for_status()


def _held(client: ApiClient, exception_ids: Sequence[str], because: str = "") -> list[dict[str, Any]]:
    details = [client.get(exception_id) for exception_id in exception_ids]
    return [detail for detail in details if detail["heldBecause"] and because in detail["heldBecause"]]


def _calls_under_way(product: Product, tenant: TestTenant) -> int:
    """Effects that went out and whose answer is not known."""
    statement = "SELECT count(*) FROM tool_executions WHERE tenant_id = %(tenant)s AND state = 'sent'"
    with unit_of_work(product.system) as transaction:
        return int(transaction.rows(statement, {"tenant": tenant.tenant_id})[0][0])


def _types(client: ApiClient, exception_id: str) -> Sequence[str]:
    return [event["type"] for event in client.timeline(exception_id)]


def _worked_twice(product: Product, tenant: TestTenant) -> list[Any]:
    with unit_of_work(product.system) as transaction:
        statement = "SELECT idempotency_key FROM tool_executions WHERE tenant_id = %(tenant)s"
        keys = {str(row.idempotency_key) for row in transaction.rows(statement, {"tenant": tenant.tenant_id})}
    summary = requests.get(f"{product.tool_server_url}/calls/summary", timeout=30).json()
    return [key for key in summary["workedTwice"] if key in keys]
