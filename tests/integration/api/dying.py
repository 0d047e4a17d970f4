"""Exceptions that die, as the stages would leave them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.domain.exceptions import Stage
from service.domain.identifiers import dead_letter_id
from service.engine.batch import Reference
from service.engine.failures import Failure, ToolRefusedError, as_dead_letters
from service.errors import SentinaiError
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import Transaction
from tests.integration.api.world import Tenant, World

REFUSED = ToolRefusedError("tool 'settle' answered 422")


def dies(
    world: World,
    tenant: Tenant,
    exception_id: str,
    error: SentinaiError = REFUSED,
    *,
    stage: Stage = Stage.TOOL,
    tool: str | None = "settle",
    at: datetime | None = None,
    attempts: int = 1,
    sequence: int = 1,
    evidence: Mapping[str, Any] | None = None,
) -> str:
    """The exception's input could not be worked; the id of its dead letter."""
    now = at or datetime.now(UTC)
    reference = Reference(tenant.tenant_id, UUID(exception_id), sequence, attempts - 1)
    letters = as_dead_letters(stage, [Failure(reference, error, tool, evidence)])

    def write(transaction: Transaction) -> None:
        parameters = {"stage": int(stage), "id": exception_id}
        transaction.run("UPDATE exceptions SET stage = %(stage)s WHERE exception_id = %(id)s", parameters)
        StageRepository(transaction).dead_letter(stage, letters, now)

    world.as_engine(tenant, write)
    return str(dead_letter_id(reference.exception_id, sequence))


def is_retried(world: World, tenant: Tenant, exception_id: str, error: str, attempt: int, at: datetime) -> None:
    """An attempt failed, and the next one was due at once."""
    data = {"errorClass": "ToolUnavailable", "error": error, "attempt": attempt, "retryAt": at}
    row = {"id": exception_id, "sequence": 1, "attempt": attempt, "rate_limited": 0, "retry_at": at, "data": data}
    parameters = {"stage": int(Stage.TOOL), "id": exception_id}

    def write(transaction: Transaction) -> None:
        transaction.run("UPDATE exceptions SET stage = %(stage)s WHERE exception_id = %(id)s", parameters)
        StageRepository(transaction).record_retries(Stage.TOOL, [row], at)

    world.as_engine(tenant, write)


def is_settled(world: World, tenant: Tenant, letter: str, state: str) -> None:
    """What became of a dead letter."""
    statement = "UPDATE dead_letters SET state = %(s)s, settled_at = now() WHERE dead_letter_id = %(id)s"
    world.as_engine(tenant, lambda transaction: transaction.run(statement, {"s": state, "id": letter}))
