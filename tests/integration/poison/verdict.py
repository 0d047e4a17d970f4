"""What became of a batch with guilty exceptions in it, by the database's own account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.persistence.unit_of_work import Transaction, unit_of_work
from tests.client import ApiClient, wait_for
from tests.integration.conftest import Product
from tests.integration.verdicts import broken_promises, lost
from tests.tenants import TestTenant

BOUND_SECONDS = 60.0
"""So soon those are resolved that only shared a batch with a guilty one."""

_SLOW = """
SELECT e.exception_id, r.occurred_at - e.received_at AS took
  FROM exceptions e
  JOIN events r ON r.exception_id = e.exception_id AND r.type = 'ExceptionResolved'
 WHERE e.exception_id = ANY(%(ids)s::uuid[]) AND r.occurred_at - e.received_at > make_interval(secs => %(bound)s)
"""

_SLOWEST = """
SELECT max(extract(epoch FROM r.occurred_at - e.received_at)) AS seconds
  FROM exceptions e
  JOIN events r ON r.exception_id = e.exception_id AND r.type = 'ExceptionResolved'
 WHERE e.tenant_id = %(tenant)s
"""

_LETTERS = """
SELECT d.exception_id::text AS exception_id, d.stage, d.error_class, d.error_kind, d.message, d.evidence, d.state
  FROM dead_letters d WHERE d.tenant_id = %(tenant)s
"""

_STATUSES = "SELECT exception_id::text AS id, status FROM exceptions WHERE exception_id = ANY(%(ids)s::uuid[])"


def wait_until_judged(product: Product, client: ApiClient, accepted: Sequence[str], seconds: float) -> None:
    """Wait until nothing of it is in flight."""

    def finished() -> bool:
        with unit_of_work(product.system) as transaction:
            return not lost(transaction, accepted)

    wait_for(finished, seconds, lambda: f"{client.ledger()}; logs in {product.fleet.logs}")


def resolved(product: Product, ids: Sequence[str]) -> list[str]:
    """Which of these are resolved."""
    with unit_of_work(product.system) as transaction:
        return [one for one, status in _statuses(transaction, ids).items() if status == "RESOLVED"]


def dead_letters(product: Product, tenant: TestTenant) -> dict[str, Any]:
    """The tenant's dead letters, by exception."""
    with unit_of_work(product.system) as transaction:
        return {row.exception_id: row for row in transaction.rows(_LETTERS, {"tenant": tenant.tenant_id})}


def assert_only_the_guilty_fell(
    product: Product, tenant: TestTenant, guilty: Sequence[str], others: Sequence[str]
) -> float:
    """Check every promise; how long the slowest of the others took, in seconds."""
    with unit_of_work(product.system) as transaction:
        statuses = _statuses(transaction, [*guilty, *others])
        assert {i for i in guilty if statuses[i] != "DEAD_LETTERED"} == set()
        assert {i: statuses[i] for i in others if statuses[i] != "RESOLVED"} == {}
        assert transaction.rows(_SLOW, {"ids": list(others), "bound": BOUND_SECONDS}) == []
        assert broken_promises(transaction, tenant.tenant_id) == {}
        (slowest,) = transaction.rows(_SLOWEST, {"tenant": tenant.tenant_id})
    assert set(dead_letters(product, tenant)) == set(guilty)
    ledger = product.client(tenant).ledger()
    assert ledger["balanced"]
    assert (ledger["accepted"], ledger["resolved"]) == (len(guilty) + len(others), len(others))
    return float(slowest.seconds)


def _statuses(transaction: Transaction, ids: Sequence[str]) -> dict[str, str]:
    return {row.id: row.status for row in transaction.rows(_STATUSES, {"ids": list(ids)})}
