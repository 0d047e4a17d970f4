"""Dead letters of real processes: a canary decides about the rest, a rate is kept, a killed dispatcher does no harm."""

from __future__ import annotations

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

WHY = {"reason": "the tool was mended"}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A fleet of this module's own: its tools are broken and mended, and its dispatcher is killed."""
    logs = tmp_path_factory.mktemp("redriving")
    with services_apart("redriving") as apart:
        quick = {"SENTINAI_RECONCILE_AFTER_SECONDS": "10", "SENTINAI_LANE_LEASE_SECONDS": "3"}
        environment = {**apart.environment, **quick}
        with running_product(apart.settings, apart.tool_server_url, logs, **environment) as running:
            yield running


def test_a_canary_decides_about_the_rest(product: Product) -> None:
    # given two hundred dead letters of two causes
    tenant = new_tenant(product.system)
    client = product.client(tenant)
    _break(product, "drill", 422)
    _break(product, "retrySettlement", 404)
    drilled = client.post_batch([sample("transient", orderId=f"D-{n}", simulate={}) for n in range(120)])
    settled = client.post_batch([sample("straight", orderId=f"S-{n}") for n in range(80)])
    _wait_dead(client, 200)
    first, second = _json(client, "/dlq/clusters")["items"]
    assert (first["count"], second["count"]) == (120, 80)
    # when one cause is sent again before its tool is mended
    chosen = {"filter": {"signature": first["signature"]}, "canary": 5, **WHY}
    failed = _until(client, _begin(client, chosen), "canary_failed")
    # then those five failed again, and the rest was never sent
    assert failed["stateReason"].endswith("failed again")
    assert failed["progress"]["pending"] == 115
    assert failed["failed"][0]["outcome"].startswith("ToolRefused: tool 'drill' answered 422")
    wait_for(lambda: client.ledger()["deadLettered"] == 200, explain=client.ledger)
    # when the tool is mended and the cause is sent again
    _mend(product, "drill")
    done = _until(client, _begin(client, {**chosen, "canary": 10}), "finished")
    # then the canary succeeded, the rest followed, and the other cause was left alone
    assert done["progress"]["succeeded"] == 120
    assert [entry["action"] for entry in done["history"]] == ["started", "running", "finished"]
    assert _sent_before_the_rest(product, done["operationId"]) == 10
    assert all(client.get(exception_id)["status"] == "RESOLVED" for exception_id in drilled[:3])
    assert client.get(settled[0])["status"] == "DEAD_LETTERED"
    ledger = client.ledger()
    assert (ledger["resolved"], ledger["deadLettered"], ledger["balanced"]) == (120, 80, True)
    # when the other cause is discarded, then the books still balance
    _until(client, _begin(client, {"filter": {"all": True}, "reason": "nobody needs them"}, "discard"), "finished")
    ledger = client.ledger()
    assert (ledger["resolved"], ledger["discarded"], ledger["balanced"]) == (120, 80, True)
    _mend(product, "retrySettlement")
    _assert_kept(product, tenant)


def test_a_killed_dispatcher_loses_and_doubles_nothing_and_the_rate_is_kept(product: Product) -> None:
    # given two dispatchers, and an operation that they work at a rate
    tenant = new_tenant(product.system)
    client = product.client(tenant)
    dead = _dead(product, client, 120)
    product.fleet.start("dispatcher")
    operation = _begin(client, {"filter": {"all": True}, "ratePerSecond": 20, **WHY})
    # when the one that began it dies without a word in the middle, and later the other one, too
    for share in (20, 60):
        wait_for(lambda s=share: 120 - _progress(client, operation)["pending"] >= s)
        product.fleet.alive("dispatcher")[0].kill()
        product.fleet.start("dispatcher")
    done = _until(client, operation, "finished")
    # then every one was sent once and came to its end
    assert done["progress"]["succeeded"] == len(dead)
    assert _redriven(product, tenant) == [(1, len(dead))]
    # and over no few seconds more left than the rate allows, nor much less
    assert _most_within(product, operation, 3.0) <= 20 * (3.0 + 2.0)
    assert _seconds_from_first_to_last(product, operation) >= (120 - 40) / 20
    _assert_kept(product, tenant)


def test_what_is_stopped_waits_and_goes_on_when_it_is_resumed(product: Product) -> None:
    tenant = new_tenant(product.system)
    client = product.client(tenant)
    dead = _dead(product, client, 60)
    operation = _begin(client, {"filter": {"all": True}, "ratePerSecond": 5, **WHY})
    wait_for(lambda: _progress(client, operation)["pending"] <= 50)
    # when somebody stops it
    _post(client, f"/dlq/operations/{operation}/stop", {"reason": "the tool is slow"})
    # then what was sent comes to its end, and the rest stays dead
    wait_for(lambda: _progress(client, operation)["sent"] == 0)
    left = _progress(client, operation)["pending"]
    assert 0 < left <= 50
    assert client.ledger()["deadLettered"] == left
    # when it is resumed, then all come to their end
    _post(client, f"/dlq/operations/{operation}/resume", {"reason": "it is fine again"})
    assert _until(client, operation, "finished")["progress"]["succeeded"] == len(dead)
    assert client.ledger()["resolved"] == len(dead)
    _assert_kept(product, tenant)


def _dead(product: Product, client: ApiClient, number: int) -> Sequence[str]:
    """So many exceptions that died of a tool that is mended since."""
    _break(product, "drill", 422)
    accepted = client.post_batch([sample("transient", orderId=f"D-{n}", simulate={}) for n in range(number)])
    _wait_dead(client, number)
    _mend(product, "drill")
    return accepted


def _wait_dead(client: ApiClient, number: int) -> None:
    wait_for(lambda: client.ledger()["deadLettered"] == number, explain=client.ledger)


def _begin(client: ApiClient, body: dict[str, Any], verb: str = "redrive") -> str:
    return str(_post(client, f"/dlq/{verb}", body)["operationId"])


def _post(client: ApiClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.send("POST", path, json=body)
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _json(client: ApiClient, path: str) -> dict[str, Any]:
    response = client.send("GET", path)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _progress(client: ApiClient, operation: str) -> dict[str, Any]:
    progress: dict[str, Any] = _json(client, f"/dlq/operations/{operation}")["progress"]
    return progress


def _until(client: ApiClient, operation: str, state: str) -> dict[str, Any]:
    """The operation once it is in a state and nothing of it is under way."""
    found: dict[str, Any] = {}

    def reached() -> bool:
        found.update(_json(client, f"/dlq/operations/{operation}"))
        return found["state"] == state and found["progress"]["sent"] == 0

    wait_for(reached, 90, lambda: found)
    return found


def _break(product: Product, tool: str, status: int) -> None:
    url = f"{product.tool_server_url}/behaviours/{tool}"
    requests.put(url, json={"status": status}, timeout=30).raise_for_status()


def _mend(product: Product, tool: str) -> None:
    requests.delete(f"{product.tool_server_url}/behaviours/{tool}", timeout=30).raise_for_status()


def _rows(product: Product, statement: str, **parameters: Any) -> Sequence[Any]:
    with unit_of_work(product.system) as transaction:
        return transaction.rows(statement, parameters)


def _sent_before_the_rest(product: Product, operation: str) -> int:
    """How many were sent before the first of them had succeeded."""
    statement = """
    SELECT count(*) FROM redrive_items WHERE operation_id = %(id)s
       AND sent_at < (SELECT min(settled_at) FROM redrive_items WHERE operation_id = %(id)s AND state = 'succeeded')
    """
    return int(_rows(product, statement, id=operation)[0][0])


def _redriven(product: Product, tenant: TestTenant) -> list[tuple[int, int]]:
    """How often exceptions were sent again, by the log: (times, how many of them)."""
    statement = """
    SELECT times::int, count(*)::int
      FROM (SELECT count(*) AS times FROM events WHERE tenant_id = %(t)s AND type = 'Redriven' GROUP BY exception_id) r
     GROUP BY times
    """
    return [tuple(row) for row in _rows(product, statement, t=tenant.tenant_id)]


def _most_within(product: Product, operation: str, seconds: float) -> int:
    """The most that were sent within so many seconds."""
    statement = """
    SELECT max(number) FROM (
        SELECT count(*) OVER (ORDER BY sent_at RANGE BETWEEN CURRENT ROW AND make_interval(secs => %(s)s) FOLLOWING)
               AS number
          FROM redrive_items WHERE operation_id = %(id)s AND sent_at IS NOT NULL) w
    """
    return int(_rows(product, statement, id=operation, s=seconds)[0][0])


def _seconds_from_first_to_last(product: Product, operation: str) -> float:
    statement = "SELECT extract(epoch FROM max(sent_at) - min(sent_at)) FROM redrive_items WHERE operation_id = %(id)s"
    return float(_rows(product, statement, id=operation)[0][0])


def _assert_kept(product: Product, tenant: TestTenant) -> None:
    """Every promise is kept, by the database's account and by the tool's."""
    with unit_of_work(product.system) as transaction:
        assert broken_promises(transaction, tenant.tenant_id) == {}
        statement = "SELECT idempotency_key FROM tool_executions WHERE tenant_id = %(tenant)s"
        keys = {str(row.idempotency_key) for row in transaction.rows(statement, {"tenant": tenant.tenant_id})}
    summary = requests.get(f"{product.tool_server_url}/calls/summary", timeout=30).json()
    assert [key for key in summary["workedTwice"] if key in keys] == []
