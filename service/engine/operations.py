"""Works operations on many dead letters: a step is one transaction that sends at most a batch of one operation.

The operation's row is locked for the step, so its pace and its canary are kept however many dispatchers work. If a
step dies before its commit, nothing of it has happened; after it, the items say what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from service.domain.operations import UNDER_WAY, Action, Counts, OperationState, Step, next_step
from service.engine.redriving import Result, discard, redrive
from service.persistence.operations import Change, Measured, Operation, Operations
from service.persistence.packs import database_now
from service.persistence.redriving import Act, DeadLetterDesk
from service.persistence.unit_of_work import Transaction, unit_of_work

BATCH = 500
"""The most that one step sends, for it holds the locks of their exceptions."""

SETTLE_AT_ONCE = 5000
"""The most dead letters that one transaction notes as succeeded."""


Clock = Callable[[Transaction], datetime]
"""PostgreSQL's by default: a dispatcher whose clock is wrong must not stall or rush a pace that others keep, too."""


def settle(engine: Engine, tenant_id: str, clock: Clock = database_now) -> int:
    """Note which redriven inputs of a tenant are finished; how many."""
    with unit_of_work(engine, [tenant_id]) as transaction:
        return DeadLetterDesk(transaction, tenant_id, clock(transaction)).settle(SETTLE_AT_ONCE)


def work(
    engine: Engine, tenant_id: str, operation_id: UUID, clock: Clock = database_now, *, settling: bool = True
) -> int:
    """One step of an operation; how many dead letters it dealt with. `engine` acts as APPLICATION.

    Without `settling` it does not look what became of those that were sent, for that was done a moment ago.
    """
    with unit_of_work(engine, [tenant_id]) as transaction:
        now = clock(transaction)
        operations = Operations(transaction, tenant_id, now)
        operation = operations.taken(operation_id)
        if operation is None:
            return 0
        if settling:
            operations.settle_items(operation_id)
        counts = operations.measured([operation_id]).get(operation_id, Measured()).counts
        step = next_step(
            operation.state, counts, operation.canary, operation.canary_timeout, operation.last_sent_at, now
        )
        pace = operation.pace.filled(now)
        results = _send(transaction, operations, operation, pace.allows(min(step.send, BATCH)), now)
        sent = sum(result.done for result in results)
        change = replace(_change(operation, step, counts, now), pace=pace.spent(sent), sent=sent > 0)
        operations.note(operation_id, change)
        return len(results)


def stop(operations: Operations, operation: Operation, by: str, reason: str, now: datetime) -> Change | None:
    """Send nothing more of a locked operation that is under way; None: it was stopped already."""
    if operation.state is OperationState.STOPPED:
        return None
    return _decided(operations, operation, OperationState.STOPPED, operation.in_canary, ("stopped", by, reason), now)


def resume(operations: Operations, operation: Operation, by: str, reason: str, now: datetime) -> Change | None:
    """Go on with a locked operation; None: it is under way.

    After a failed canary it goes on with the rest: a person has seen what failed.
    """
    if operation.state in UNDER_WAY:
        return None
    in_canary = operation.in_canary and operation.state is OperationState.STOPPED
    state = OperationState.CANARY if in_canary else OperationState.RUNNING
    return _decided(operations, operation, state, in_canary, ("resumed", by, reason), now)


def _decided(
    operations: Operations,
    operation: Operation,
    state: OperationState,
    in_canary: bool,
    said: tuple[str, str, str],
    now: datetime,
) -> Change:
    """What a person decided. A pace begins anew, so that nothing is made up for."""
    action, by, reason = said
    entry = {"at": now, "by": by, "action": action, "reason": reason}
    change = Change(state, f"{action} by {by}: {reason}", in_canary, True, replace(operation.pace, tokens=0, at=now))
    operations.note(operation.operation_id, replace(change, entry=entry))
    return change


def _send(
    transaction: Transaction, operations: Operations, operation: Operation, wanted: int, now: datetime
) -> list[Result]:
    """Act on the next items; a result for each."""
    items = operations.next_items(operation.operation_id, wanted) if wanted else []
    if not items:
        return []
    act = Act(operation.requested_by, operation.reason, operation.operation_id)
    ids = [dead_letter_id for _, dead_letter_id in items]
    if operation.action is Action.REDRIVE:
        results = redrive(transaction, operations.tenant_id, ids, operation.wish, act, now)
    else:
        results = discard(transaction, operations.tenant_id, ids, act, now)
    rows = [_item(place, result) for (place, _), result in zip(items, results, strict=True)]
    operations.note_items(operation.operation_id, rows)
    return results


def _item(place: int, result: Result) -> Mapping[str, Any]:
    if not result.done:
        return {"place": place, "state": "skipped", "outcome": result.why_not}
    if result.rests is not None:
        return {"place": place, "state": "succeeded", "number": result.redrives, "outcome": result.rests}
    return {"place": place, "state": "sent", "number": result.redrives}


def _change(operation: Operation, step: Step, counts: Counts, now: datetime) -> Change:
    """What a step makes of its operation, but for its pace."""
    changed = step.state is not operation.state
    entry = {"at": now, "by": "sentinai", "action": step.state, "reason": step.reason} if changed else None
    return Change(
        state=step.state,
        state_reason=step.reason if changed else operation.state_reason,
        in_canary=operation.in_canary and step.state not in (OperationState.RUNNING, OperationState.FINISHED),
        watched=step.state in UNDER_WAY or (step.state is not OperationState.FINISHED and counts.sent > 0),
        pace=operation.pace,
        entry=entry,
    )
