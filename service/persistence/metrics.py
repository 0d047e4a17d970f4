"""Figures of the whole installation, read as SYSTEM for its operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from service.domain.pauses import Pause
from service.persistence import pauses
from service.persistence.statements import metrics as sql
from service.persistence.unit_of_work import Transaction

MOST_COUNTED = 100_000
"""Unpublished events are counted up to this."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """How far one cursor over the event log is behind."""

    cursor: str
    unpublished: int
    seconds_behind: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is to do, what was done about what did not move, and who is there. Rows have their statement's columns."""

    outbox: Row[Any]
    lanes: Row[Any]
    work: Row[Any]
    dead_letters: Sequence[Row[Any]]
    kinds: Sequence[Row[Any]]
    chores: Sequence[Row[Any]]
    relays: Sequence[Relayed]
    pauses: Sequence[Pause]
    audits: Sequence[Row[Any]]


def figures(transaction: Transaction) -> Figures:
    """All of them."""
    return Figures(
        outbox=transaction.rows(sql.OUTBOX)[0],
        lanes=transaction.rows(sql.LANES)[0],
        work=transaction.rows(sql.WORK)[0],
        dead_letters=transaction.rows(sql.DEAD_LETTERS),
        kinds=transaction.rows(sql.KINDS),
        chores=transaction.rows(sql.CHORES),
        relays=[_relayed(transaction, row) for row in transaction.rows(sql.RELAY_CURSORS)],
        pauses=pauses.in_force(transaction).pauses,
        audits=transaction.rows(sql.AUDITS),
    )


def _relayed(transaction: Transaction, cursor: Row[Any]) -> Relayed:
    parameters = {"next_xid": cursor.next_xid, "running": cursor.running or [], "most": MOST_COUNTED}
    row = transaction.rows(sql.RELAY, parameters)[0]
    return Relayed(cursor.name, row.unpublished, max(row.seconds_behind or 0.0, 0.0))
