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

from service.persistence.statements import timers as sql
from service.persistence.statements.ingestion import NOTIFY
from service.persistence.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0
"""How late a timer may fire. A look without a timer that is due is one probe of an index."""

AT_ONCE = 500
"""The most timers one transaction fires, for it holds the locks of their exceptions."""


@dataclass(slots=True)
class Timers:
    """The timers of all tenants. `engine` acts as the SYSTEM role."""

    engine: Engine
    now: Callable[[], datetime]
    clock: Callable[[], float]
    """Seconds of a clock that never goes back: when to look again."""
    _look_at: float = 0.0

    def fire_if_time(self) -> int:
        """Fire what is due, unless that was done less than a second ago; how many inputs it made."""
        if self.clock() < self._look_at:
            return 0
        fired = self.fire()
        self._look_at = self.clock() + LOOK_EVERY_SECONDS
        return fired

    def fire(self) -> int:
        """Fire everything that is due now; how many inputs it made."""
        total = 0
        while True:
            with unit_of_work(self.engine) as transaction:
                row = transaction.rows(sql.FIRE, {"now": self.now(), "limit": AT_ONCE})[0]
                if row.fired:
                    transaction.rows(NOTIFY)
            total += row.fired
            if row.due < AT_ONCE or row.gone == 0:
                break
        if total:
            log.info("fired %d timer(s)", total)
        return total
