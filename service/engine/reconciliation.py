"""The reconciler: finds exceptions that should move and do not, makes them ready again, and tells what it did.

It covers what nothing else notices: a message or a delayed retry that was lost, a worker that died after its commit or
while its call was out, a gate that stayed closed, held work without a time, work in a lane that no dispatcher serves,
a notification that nothing hands out. When it is wrong, the guard drops the second copy. It leaves alone what is
paused, what has a lease, and what waits in the outbox, however long; and it adds little to a system that is only slow.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine

from service.persistence.reconciliation import Fault, Reconciliation
from service.persistence.statements import dispatch as sql
from service.persistence.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

PARTITIONS_AHEAD_MONTHS = 3

LONGEST_LOOK_SECONDS = 15
"""A look that takes longer is given up, and the next one begins anew: it must not hold back cleaning up for long."""


class Kind(StrEnum):
    """What the reconciler finds. The first group it makes ready again, the second it only tells of."""

    MESSAGE_LOST = "message_lost"
    """Neither in the outbox nor moved: the message that carried it is gone."""
    RETRY_LOST = "retry_lost"
    """The time of its retry is past, and the delayed message did not come."""
    EFFECT_IN_DOUBT = "effect_in_doubt"
    """A call went out and its lease is over: the effect ledger says what the next delivery may do."""
    HOLD_LOST = "hold_lost"
    """Its outbox row is neither ready nor due at any time."""
    GATE_CLOSED = "gate_closed"
    """An input waits although its predecessor is finished."""
    LANE_UNKNOWN = "lane_unknown"
    """It waits in a lane that no dispatcher knows."""
    NOTIFICATION_LOST = "notification_lost"
    """A notification that is still to be sent has no time at which it is handed out."""

    IMPOSSIBLE_STATE = "impossible_state"
    """Status, stage and sequence of an exception contradict each other."""
    TIMER_OVERDUE = "timer_overdue"
    HOLD_OVERDUE = "hold_overdue"
    LANE_UNSERVED = "lane_unserved"
    """No dispatcher has the lease of a lane."""
    RELAY_STALLED = "relay_stalled"
    """Events are not published, and the relay's cursor does not move."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one look came to."""

    made_ready: Mapping[str, int]
    """How many, by kind."""
    faults: Sequence[Fault]
    """What a person has to see; each kind that was looked for, also where there is none."""

    @property
    def total(self) -> int:
        """How much was made ready."""
        return sum(self.made_ready.values())


def reconcile(engine: Engine, after_seconds: float, now: datetime) -> Report:
    """One look. What should move and has not for a third of `after_seconds` is suspected; what has been suspected for
    `after_seconds` is made ready again. `engine` acts as SYSTEM.
    """
    with unit_of_work(engine) as transaction:
        transaction.run(f"SET LOCAL statement_timeout = '{LONGEST_LOOK_SECONDS}s'")
        look = Reconciliation(transaction, after_seconds, now)
        look.suspect()
        made_ready = look.make_ready()
        if made_ready:
            transaction.run("SELECT pg_notify('outbox', '')")
        report = Report(made_ready, look.faults())
    _tell(report)
    return report


def ensure_event_partitions(engine: Engine, now: datetime) -> int:
    """Make the event log's next months ahead of time; how many partitions were missing."""
    with unit_of_work(engine) as transaction:
        (row,) = transaction.rows(sql.ENSURE_PARTITIONS, {"now": now, "months": PARTITIONS_AHEAD_MONTHS})
        return int(row[0])


def _tell(report: Report) -> None:
    for kind, count in report.made_ready.items():
        log.warning("made %s ready again that did not move: %s", count, kind)
    for fault in report.faults:
        if fault.found and fault.is_news:
            log.error("%s: %s found, such as %s", fault.kind, fault.found, ", ".join(fault.examples))
