"""The reconciler: finds exceptions that should move and do not, and puts them back into the outbox.

It covers what nothing else notices: a message that was lost, a retry whose publishing failed, a worker that
died after its commit, work in a lane that no dispatcher serves. When it is wrong, the guard drops the second copy.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from service.persistence.statements import dispatch as sql
from service.persistence.unit_of_work import unit_of_work

AT_ONCE = 1000
"""The most one run puts back, so that a long outage does not end in one huge transaction."""

PARTITIONS_AHEAD_MONTHS = 3


def reconcile(engine: Engine, after_seconds: float, now: datetime) -> int:
    """Make what has not moved for `after_seconds` ready again; how many exceptions that was."""
    with unit_of_work(engine) as transaction:
        parameters = {"now": now, "after": after_seconds, "limit": AT_ONCE}
        found = transaction.run(sql.RELANE, parameters)
        found += len(transaction.rows(sql.RECONCILE, parameters))
        if found:
            transaction.run("SELECT pg_notify('outbox', '')")
    return found


def ensure_event_partitions(engine: Engine, now: datetime) -> int:
    """Make the event log's next months ahead of time; how many partitions were missing."""
    with unit_of_work(engine) as transaction:
        (row,) = transaction.rows(sql.ENSURE_PARTITIONS, {"now": now, "months": PARTITIONS_AHEAD_MONTHS})
        return int(row[0])
