"""Dead letters of one tenant that are sent again or discarded, inside one transaction. It never commits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from service.domain.exceptions import InputType, Stage, Status
from service.domain.redriving import DeadInput, DeadLetterState
from service.persistence.dead_letters import DeadLetterFilter
from service.persistence.stages import Moved, StageRepository
from service.persistence.statements import ingestion
from service.persistence.statements import redriving as sql
from service.persistence.unit_of_work import Transaction, as_json


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, its input, and where its exception is."""

    dead_letter_id: UUID
    exception_id: UUID
    sequence: int
    state: DeadLetterState
    redrives: int
    is_current: bool
    """Its exception is dead-lettered, and with this input."""
    input: DeadInput
    signature: str
    pattern: str
    message: str
    unknown_effects: int
    """Calls of its exception that wait for a person to say what became of them."""
    status: Status
    """Its exception's."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who wants dead letters sent again or discarded, and why."""

    by: str
    reason: str
    operation_id: UUID | None = None


class DeadLetterDesk:
    """The repository of one tenant's dead letters for those who act on them."""

    def __init__(self, transaction: Transaction, tenant_id: str, now: datetime) -> None:
        self._transaction = transaction
        self._tenant_id = tenant_id
        self._now = now

    def locked(self, ids: Iterable[UUID]) -> dict[UUID, Letter]:
        """Dead letters under the locks of their exceptions; those of other tenants are not there."""
        parameters = {"tenant": self._tenant_id, "ids": [str(i) for i in ids]}
        self._transaction.rows(sql.LOCK, parameters)
        return {letter.dead_letter_id: letter for letter in map(_letter, self._transaction.rows(sql.FACTS, parameters))}

    def chosen(self, wanted: DeadLetterFilter, limit: int) -> list[Letter]:
        """What a filter chooses, the oldest first, without any lock."""
        conditions, given = wanted.conditions()
        statement = sql.FACTS_OF.format(conditions=conditions)
        parameters = {**given, "tenant": self._tenant_id, "limit": limit}
        return [_letter(row) for row in self._transaction.rows(statement, parameters)]

    def redrive(self, items: Sequence[tuple[Letter, Stage, str]], act: Act) -> dict[UUID, int]:
        """Send inputs again, each from a stage and with packs; of those that really moved, the number of the redrive.

        The letters are locked.
        """
        if not items:
            return {}
        rows = [
            {
                "dead_letter_id": letter.dead_letter_id,
                "exception_id": letter.exception_id,
                "stage": int(stage),
                "stage_name": stage.queue,
                "packs": packs,
            }
            for letter, stage, packs in items
        ]
        moved = self._transaction.rows(sql.REDRIVE, {**self._told(act), "items": as_json(rows)})
        if moved:
            self._transaction.rows(ingestion.NOTIFY)
        return {row.dead_letter_id: row.redrives for row in moved}

    def discard(self, items: Sequence[tuple[Letter, Status]], act: Act) -> dict[UUID, int]:
        """End inputs, each with where its exception rests; of those that really moved, how often they were redriven.

        The letters are locked. The next input of each exception takes its turn.
        """
        if not items:
            return {}
        rows = [
            {"dead_letter_id": letter.dead_letter_id, "exception_id": letter.exception_id, "rests": rests}
            for letter, rests in items
        ]
        moved = self._transaction.rows(sql.DISCARD, {**self._told(act), "items": as_json(rows)})
        finished = [Moved(row.exception_id, row.sequence, row.last_sequence, 5) for row in moved]
        StageRepository(self._transaction).open_gates(finished, self._now)
        return {row.dead_letter_id: row.redrives for row in moved}

    def settle(self, limit: int) -> int:
        """Note which redriven inputs are finished; how many."""
        parameters = {"tenant": self._tenant_id, "now": self._now, "limit": limit}
        return self._transaction.run(sql.SETTLE, parameters)

    def _told(self, act: Act) -> dict[str, Any]:
        operation = None if act.operation_id is None else str(act.operation_id)
        return {"now": self._now, "by": act.by, "reason": act.reason, "operation": operation}


def tenants_redriving(transaction: Transaction) -> list[str]:
    """Whose dead letters are being worked again. The transaction acts as SYSTEM."""
    return [row.tenant_id for row in transaction.rows(sql.TENANTS_REDRIVING)]


def _letter(row: Row[Any]) -> Letter:
    status = Status(row.status)
    return Letter(
        dead_letter_id=row.dead_letter_id,
        exception_id=row.exception_id,
        sequence=row.sequence,
        state=DeadLetterState(row.state),
        redrives=row.redrives,
        is_current=status is Status.DEAD_LETTERED and row.current == row.sequence,
        input=DeadInput(
            failed_at=Stage(row.stage),
            input_type=InputType(row.input_type),
            resting_status=None if row.resting_status is None else Status(row.resting_status),
            planned=row.planned,
            asked=row.asked,
        ),
        signature=row.signature,
        pattern=row.pattern,
        message=row.message,
        unknown_effects=row.unknown_effects,
        status=status,
    )
