"""Held work: out of the workers and in the outbox until it is due, or until the pause that stopped it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.exceptions import Stage
from service.persistence.statements import holds as sql
from service.persistence.unit_of_work import Transaction, as_json

LONGEST_HOLD_SECONDS = 60.0
"""Held again and again, an exception comes back in growing steps up to this, so that it moves soon after its tool
works again."""

AT_ONCE = 1000
"""The most rows one look makes ready, so that a long outage of a tool does not end in one huge transaction."""


def hold(transaction: Transaction, stage: Stage, holds: Sequence[Mapping[str, Any]], now: datetime) -> set[UUID]:
    """Put exceptions aside, each {id, sequence, attempt, rate_limited, tool, reason, seconds, jitter, pause_id, until};
    which really were.

    `seconds` is the least they wait; `jitter`, 0 to 1, the share of the grown wait that is taken. One that has moved
    on meanwhile is not touched.
    """
    parameters = {"holds": as_json(holds), "stage": int(stage), "now": now, "longest": LONGEST_HOLD_SECONDS}
    return {row.exception_id for row in transaction.rows(sql.HOLD, parameters)}


def wake(transaction: Transaction) -> int:
    """Make what is due ready and wake the dispatchers; how many exceptions that was."""
    woken = transaction.run(sql.WAKE, {"limit": AT_ONCE})
    if woken:
        transaction.run("SELECT pg_notify('outbox', '')")
    return woken
