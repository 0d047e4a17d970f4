"""Held work on a real database and Redis: it leaves the worker with its reason, waits, and comes back in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from service.dispatch.held import HeldWork
from service.domain.exceptions import Stage
from service.engine import reconciliation
from service.engine.batch import Batch, Reference
from service.engine.pipeline import Pipeline
from service.persistence import holds
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from service.tools.breakers import BreakerPolicy, RedisBreakers, connect
from service.wiring import build_pipeline
from tests.client import wait_for
from tests.integration.engine.test_gate_and_guard import accept, an_empty_lane, application, outbox, update, work
from tests.integration.verdicts import broken_promises
from tests.tenants import TestTenant, new_tenant

__all__ = ["an_empty_lane", "application"]

pytestmark = pytest.mark.stack

TOOL = "retrySettlement"
_BACKDATE = "UPDATE outbox SET due_at = now() - interval '1 second' WHERE exception_id = %(id)s"
_AN_HOUR_AGO = "UPDATE exceptions SET held_since = now() - interval '1 hour' WHERE exception_id = %(id)s"
_HOLD = """
SELECT e.hold_reason, e.held_since, e.retry_at, e.attempt, o.due_at, o.ready
  FROM exceptions e LEFT JOIN outbox o ON o.exception_id = e.exception_id AND o.sequence = e.sequence
 WHERE e.exception_id = %(id)s
"""
_HELD_EVENTS = "SELECT data FROM events WHERE exception_id = %(id)s AND type = 'ToolExecutionHeld'"


@pytest.fixture
def tenant(system: Engine) -> TestTenant:
    return new_tenant(system)


@pytest.fixture
def breakers(migrated: Settings) -> Iterator[RedisBreakers]:
    """The fleet's breakers as another worker sees them."""
    client = connect(migrated.redis_url)
    yield RedisBreakers(client, BreakerPolicy(migrated.breaker_failures, migrated.breaker_open_seconds))
    client.close()


@pytest.fixture
def pipeline(migrated: Settings, tool_server_url: str) -> Iterator[Pipeline]:
    settings = migrated.model_copy(update={"pack_variables": {"toolServerUrl": tool_server_url}})
    built = build_pipeline(settings)
    yield built
    built.close()


@pytest.fixture
def held(
    pipeline: Pipeline, application: Engine, tenant: TestTenant, breakers: RedisBreakers, migrated: Settings
) -> Reference:
    """An exception that reached its tool call while another worker had found the tool broken."""
    breakers.record((tenant.tenant_id, TOOL), succeeded=0, failed=migrated.breaker_failures)
    reference = accept(application, tenant, "straight")
    work(pipeline, reference, list(Stage))
    return reference


def hold(engine: Engine, reference: Reference) -> Any:
    with unit_of_work(engine) as transaction:
        return transaction.rows(_HOLD, {"id": str(reference.exception_id)})[0]


def held_events(engine: Engine, reference: Reference) -> list[Any]:
    with unit_of_work(engine) as transaction:
        return [row.data for row in transaction.rows(_HELD_EVENTS, {"id": str(reference.exception_id)})]


def test_a_held_exception_waits_in_the_outbox_with_its_reason(
    system: Engine, held: Reference, tenant: TestTenant
) -> None:
    # then it is not ready, has a time, says why, and has spent no attempt
    row = hold(system, held)
    assert (row.ready, row.attempt) == (False, 0)
    assert row.due_at == row.retry_at > datetime.now(UTC)
    assert f"circuit breaker of tool '{TOOL}' is open" in row.hold_reason
    # and its timeline says so; no call is on it
    (event,) = held_events(system, held)
    assert (event["tool"], event["reason"]) == (TOOL, row.hold_reason)
    with unit_of_work(system) as transaction:
        statement = "SELECT count(*) FROM tool_executions WHERE exception_id = %(id)s"
        assert transaction.rows(statement, {"id": str(held.exception_id)})[0][0] == 0


def test_one_that_is_held_again_waits_longer_and_its_timeline_does_not_grow(
    pipeline: Pipeline, system: Engine, application: Engine, held: Reference, tenant: TestTenant
) -> None:
    # given an exception that has been held for an hour already
    with unit_of_work(application, [tenant.tenant_id]) as transaction:
        transaction.run(_AN_HOUR_AGO, {"id": str(held.exception_id)})
    # when it is delivered and held once more
    pipeline.run(Stage.TOOL, Batch.single(held))
    # then it waits longer than its breaker is open, which is what held it at first, and nothing was logged
    row = hold(system, held)
    assert row.retry_at >= datetime.now(UTC) + timedelta(seconds=25)
    assert len(held_events(system, held)) == 1


def test_the_reconciler_leaves_held_work_alone_and_what_is_due_is_made_ready(system: Engine, held: Reference) -> None:
    # when the reconciler looks long after
    for minutes in (10, 11):
        reconciliation.reconcile(system, after_seconds=30, now=datetime.now(UTC) + timedelta(minutes=minutes))
    # then the row waits as before
    assert outbox(system, held) == [(1, False)]
    # and is not woken before its time
    HeldWork(system)()
    assert outbox(system, held) == [(1, False)]
    # when its time has come
    with unit_of_work(system) as transaction:
        transaction.run(_BACKDATE, {"id": str(held.exception_id)})
    HeldWork(system)()
    # then it is ready
    assert outbox(system, held) == [(1, True)]
    assert hold(system, held).due_at is None


def test_a_later_input_waits_behind_a_held_one(
    pipeline: Pipeline, system: Engine, application: Engine, held: Reference, tenant: TestTenant,
    breakers: RedisBreakers,
) -> None:  # fmt: skip
    # given a held exception, and an update that comes in meanwhile
    assert update(application, tenant, held) == 2
    assert outbox(system, held) == [(1, False), (2, False)]
    # when the tool works again and the held one is worked to its end
    breakers.record_probe((tenant.tenant_id, TOOL), succeeded=True)

    def worked() -> bool:
        pipeline.run(Stage.TOOL, Batch.single(held))
        return hold(system, held).hold_reason is None

    wait_for(worked, 20, lambda: hold(system, held))
    # then the update is the one that is ready
    assert (2, True) in outbox(system, held)
    with unit_of_work(system) as transaction:
        broken = broken_promises(transaction, tenant.tenant_id)
    assert set(broken) <= {"left in the outbox"}


def test_two_holds_at_one_instant_are_one_on_the_timeline(
    system: Engine, application: Engine, held: Reference, tenant: TestTenant
) -> None:
    # given an exception that is held
    since = hold(system, held).held_since
    # when another delivery holds it at the very instant at which it was held first
    row = {"id": held.exception_id, "sequence": 1, "attempt": 0, "rate_limited": 0, "tool": TOOL, "reason": "again"}
    with unit_of_work(application, [tenant.tenant_id]) as transaction:
        holds.hold(transaction, Stage.TOOL, [row | {"seconds": 1.0, "jitter": 0.5}], since)
    # then its timeline says so once
    assert len(held_events(system, held)) == 1
