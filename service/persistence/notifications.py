"""The repository of notifications: handed out by the dispatcher, taken and settled by workers. It never commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from service.persistence.statements import notifications as sql
from service.persistence.unit_of_work import Transaction, as_json


@dataclass(frozen=True, slots=True)
class NotificationReference:
    """Which notification, and how often it had been taken when it was handed out."""

    tenant_id: str
    exception_id: UUID
    position: int
    policy: str
    claim: int


@dataclass(frozen=True, slots=True)
class Notification:
    """A row that was taken."""

    reference: NotificationReference
    params: dict[str, Any]
    domain_version: int
    tenant_version: int
    on_its_way: bool
    """It went out before, and nobody wrote down what came of it."""
    attempts: int

    def sent(self) -> Notification:
        """As it is once it was written down that it goes out: what came of it is written with the claim of that."""
        claimed = replace(self.reference, claim=self.reference.claim + 1)
        return replace(self, reference=claimed, attempts=self.attempts + 1)


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known of a notification now; `due_at` None: nothing is left to do."""

    of: Notification
    state: str
    """`intent`, `sent`, `confirmed`, `failed` or `unknown`."""
    attempts: int
    error: str | None = None
    due_at: datetime | None = None


def hand_out(
    transaction: Transaction, now: datetime, limit: int, seconds: float, paused: Sequence[str] = ()
) -> list[NotificationReference]:
    """At most `limit` notifications that are due, as SYSTEM; they are not due again for so many seconds. Those of
    `paused` tenants stay."""
    rows = transaction.rows(sql.HAND_OUT, {"now": now, "limit": limit, "seconds": seconds, "paused": list(paused)})
    return [NotificationReference(r.tenant_id, r.exception_id, r.position, r.policy, r.claim) for r in rows]


def take(transaction: Transaction, references: Sequence[NotificationReference]) -> list[Notification]:
    """Those of these notifications that nobody else has taken since; their rows are locked."""
    rows = transaction.rows(sql.TAKE, {"references": as_json(references)})
    return [
        Notification(
            reference=NotificationReference(r.tenant_id, r.exception_id, r.position, r.policy, r.claim),
            params=r.params,
            domain_version=r.domain_version,
            tenant_version=r.tenant_version,
            on_its_way=r.state == "sent",
            attempts=r.attempts,
        )
        for r in rows
    ]


def settle(transaction: Transaction, settled: Sequence[Settled], now: datetime) -> int:
    """Write states; how many rows that was. One that somebody else took meanwhile is left alone."""
    rows = [
        {
            "exception_id": one.of.reference.exception_id,
            "position": one.of.reference.position,
            "policy": one.of.reference.policy,
            "claim": one.of.reference.claim,
            "state": one.state,
            "attempts": one.attempts,
            "error": one.error,
            "due_at": one.due_at,
        }
        for one in settled
    ]
    return transaction.run(sql.SETTLE, {"settled": as_json(rows), "now": now})
