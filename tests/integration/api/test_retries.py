"""A retry to come, as callers of the API and people at a terminal see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.domain.exceptions import Stage
from service.engine.batch import Reference
from service.engine.failures import ToolUnavailableError
from service.engine.repeats import ScheduledRetry, as_rows
from service.engine.results import Retry
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import Transaction
from tests.integration.api.world import Caller, Tenant, World, refused

pytestmark = pytest.mark.stack


@pytest.fixture
def caller(world: World, tenant: Tenant) -> Caller:
    return Caller(world.client, tenant.keys["admin"])


def failed(world: World, tenant: Tenant, exception_id: str) -> datetime:
    """Let the first attempt at an exception have failed; when the next one is due."""
    now = datetime.now(UTC)
    retry = Retry(Reference(tenant.tenant_id, UUID(exception_id), 1), ToolUnavailableError("no answer"), tool="pay")

    def write(transaction: Transaction) -> None:
        rows = as_rows(Stage.INTAKE, [ScheduledRetry(retry, 40.0)], now)
        StageRepository(transaction).record_retries(Stage.INTAKE, rows, now)

    world.as_engine(tenant, write)
    return now + timedelta(seconds=40)


def test_a_retry_to_come_says_when_which_attempt_it_is_and_why(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an exception whose first attempt failed, and one that nothing happened to
    failing, other = caller.accepted(), caller.accepted()
    due = failed(world, tenant, failing)
    # then the next attempt is shown with the exception
    found = caller.get(f"/exceptions/{failing}").json["nextRetry"]
    assert datetime.fromisoformat(found.pop("at")) == due
    assert found.pop("error").startswith("no answer")
    assert found == {"attempt": 2, "of": 6, "stage": "intake", "errorKind": "transient", "tool": "pay"}
    assert caller.get(f"/exceptions/{other}").json["nextRetry"] is None
    # and lists show it, and can be narrowed to it
    narrowed = {
        asked: [item["exceptionId"] for item in caller.get(f"/exceptions{asked}").json["items"]]
        for asked in ("?retrying=true", "?retrying=false")
    }
    assert narrowed == {"?retrying=true": [failing], "?retrying=false": [other]}
    (item,) = caller.get("/exceptions?retrying=true").json["items"]
    assert datetime.fromisoformat(item["nextRetryAt"]) == due
    refused(caller.get("/exceptions?retrying=perhaps"), 422, "invalid")
