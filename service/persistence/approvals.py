"""The approvals of one tenant's exceptions: what is asked, who has approved, what was decided.

Stages ask for approvals; people decide them through the API. Everything here happens under the lock of the
exception's row, which the caller holds, and nothing commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from service.domain.events import EventType
from service.domain.exceptions import Stage
from service.persistence.statements import approvals as sql
from service.persistence.unit_of_work import Transaction, as_json


class ApprovalState(StrEnum):
    """Where a request for approval is in its life."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    """The exception was judged anew, or cancelled, before anybody decided."""
    VOIDED = "voided"
    """It was approved, but the plan to be carried out had become another."""
    EXPIRED = "expired"
    """Nobody decided in time."""


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """What people are asked."""

    exception_id: UUID
    sequence: int
    plan_hash: str | None
    needed: int
    due_at: datetime | None
    given: frozenset[UUID]
    """The keys with which it was approved so far."""

    def is_over(self, now: datetime) -> bool:
        """Its time limit has passed."""
        return self.due_at is not None and self.due_at <= now


class Approvals:
    """The repository of one tenant's approvals, inside one transaction."""

    def __init__(self, transaction: Transaction, tenant_id: str, now: datetime) -> None:
        self._transaction = transaction
        self._tenant_id = tenant_id
        self._now = now

    def pending(self, exception_id: UUID) -> PendingApproval | None:
        """What people are asked about a locked exception; None when nothing is."""
        rows = self._transaction.rows(sql.PENDING, {"exception_id": str(exception_id)})
        if not rows:
            return None
        (row,) = rows
        given = frozenset(UUID(key) for key in row.given)
        return PendingApproval(exception_id, row.sequence, row.plan_hash, row.approvals_needed, row.due_at, given)

    def give(self, approval: PendingApproval, key_id: UUID, actor: str, comment: str) -> int:
        """One person approves; how many have by now. The caller has seen that this one had not."""
        self._transaction.run(
            sql.GIVE,
            {
                "exception_id": str(approval.exception_id),
                "sequence": approval.sequence,
                "key_id": str(key_id),
                "tenant": self._tenant_id,
                "actor": actor,
                "comment": comment,
                "now": self._now,
            },
        )
        return len(approval.given) + 1

    def decide(self, exception_id: UUID, state: ApprovalState, actor: str, comment: str) -> None:
        """The pending approval is decided."""
        parameters = {"exception_id": str(exception_id), "state": state, "actor": actor, "comment": comment}
        self._transaction.run(sql.DECIDE, {**parameters, "now": self._now})

    def withdraw(self, exception_id: UUID) -> None:
        """Nobody is asked any more."""
        self._transaction.run(sql.WITHDRAW, {"exception_id": str(exception_id), "now": self._now})

    def note_given(self, exception_id: UUID, data: Mapping[str, Any]) -> None:
        """Put an approval on the timeline that is not the last one needed, and so is no input of its own."""
        self._transaction.run(
            sql.NOTE,
            {
                "exception_id": str(exception_id),
                "stage": int(Stage.POLICY),
                "event": EventType.APPROVAL_GRANTED,
                "data": as_json(data),
                "now": self._now,
            },
        )


def newest_approval(
    transaction: Transaction, tenant_id: str, exception_id: UUID
) -> tuple[Row[Any] | None, Sequence[Row[Any]]]:
    """The last approval asked for with everybody who gave it, in order, for people to read; None: there is none."""
    parameters: dict[str, Any] = {"tenant": tenant_id, "exception_id": str(exception_id)}
    rows = transaction.rows(sql.NEWEST, parameters)
    if not rows:
        return None, ()
    return rows[0], transaction.rows(sql.GIVEN, {**parameters, "sequence": rows[0].sequence})
