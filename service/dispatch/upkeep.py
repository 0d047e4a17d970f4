"""What keeps the system honest beside dispatching: chores that any dispatcher does, one of them at a time.

They run in a thread with a connection of its own, so that no batch waits for them, and need nothing but PostgreSQL:
they go on while the broker, beat or every worker is away.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from service.errors import InfrastructureUnavailableError
from service.persistence.reconciliation import end_turn, take_turn
from service.persistence.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often a process asks whether a chore is due."""

LEASE_SECONDS = 20.0
"""How long a chore stays with a process that died in the middle of it."""

MOST_OF_THE_TIME = 0.05
"""The share of the time that a chore may take: one that took long is due later."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be done every so many seconds by one process of the installation."""

    name: str
    every_seconds: float
    do: Callable[[], object]


@dataclass(slots=True)
class Upkeep:
    """The chores of a process. `engine` acts as SYSTEM; `holder` names the process."""

    engine: Engine
    holder: str
    chores: Sequence[Chore]
    stopping: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Do what is due, beside the caller, until `stop`."""
        self._thread = Thread(target=self._work, name="upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the chore at hand."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join(LEASE_SECONDS)
        self.engine.dispose()

    def once(self) -> int:
        """Do each chore that is due and that nobody else does; how many those were."""
        return sum(self._one(chore) for chore in self.chores)

    def _work(self) -> None:
        while not self.stopping.wait(LOOK_SECONDS):
            try:
                self.once()
            except InfrastructureUnavailableError as error:
                log.warning("upkeep waits for infrastructure: %s", error)
            except DBAPIError:  # The thread must outlive a look that failed: the next one begins anew.
                log.exception("a chore failed; it is tried again")

    def _one(self, chore: Chore) -> bool:
        with unit_of_work(self.engine) as transaction:
            if not take_turn(transaction, chore.name, self.holder, LEASE_SECONDS):
                return False
        began = time.monotonic()
        chore.do()
        took = time.monotonic() - began
        again = min(max(chore.every_seconds, took / MOST_OF_THE_TIME), chore.every_seconds + LEASE_SECONDS)
        with unit_of_work(self.engine) as transaction:
            end_turn(transaction, chore.name, self.holder, took, again)
        return True
