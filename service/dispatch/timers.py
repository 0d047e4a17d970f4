"""Fires timers that are due: a wait that is over, a step or an approval whose time has run out.

A timer is a row, set by the stage that made something wait. Firing deletes it and appends the input that wakes its
exception, in one statement, so any number of dispatchers may fire at once and a crash loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from service.domain.pauses import NOTHING_PAUSED, PausesInForce
from service.persistence.statements import timers as sql
from service.persistence.statements.ingestion import NOTIFY
from service.persistence.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

AT_ONCE = 500
"""The most timers one transaction fires, for it holds the locks of their exceptions."""


@dataclass(slots=True)
class Timers:
    """The timers of all tenants. `engine` acts as the SYSTEM role."""

    engine: Engine
    now: Callable[[], datetime]
    pauses: Callable[[], PausesInForce] = lambda: NOTHING_PAUSED

    def __call__(self) -> int:
        """Fire everything that is due now; how many inputs it made. Without any, it is one probe of an index."""
        total: int = 0
        while True:
            with unit_of_work(self.engine) as transaction:
                row = transaction.rows(
                    sql.FIRE, {"now": self.now(), "limit": AT_ONCE, "paused": self.pauses().tenants}
                )[0]
                if row.fired:
                    transaction.rows(NOTIFY)
            total += int(row.fired)
            if row.due < AT_ONCE or row.gone == 0:
                break
        if total:
            log.info("fired %d timer(s)", total)
        return total
