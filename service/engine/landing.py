"""Calls that outlive their task: received and written down by a thread of the worker process, beside its tasks.

A batch hands over what is still under way after a short patience, so that it holds up nothing else. What is
handed over is `sent` with its lease, and noted with the process: if that dies, the reconciler finds it.
Calls of tools that were slow lately go to it at once.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from queue import Empty
from threading import Condition, Lock, Thread
from typing import TypeVar
from uuid import UUID

from service.engine.course import Flight
from service.engine.departures import Arrivals, Departure, Mailbox
from service.engine.results import Retry
from service.engine.turns import Applied
from service.errors import InfrastructureUnavailableError

log = logging.getLogger(__name__)

TRY_AGAIN_SECONDS = 0.5
"""Between attempts to write an answer down while PostgreSQL is away, or to send a retry while Kafka is."""

LONGEST_SECONDS = 600.0
"""So long it is tried. An answer that comes after its lease is still true: whether another delivery is ahead by then
is told when it is written down."""

AT_ONCE = 200
"""About so many answers are written down in one transaction."""

Land = Callable[[Arrivals], Applied]
OnRetries = Callable[[Sequence[Retry]], None]
Note = Callable[[Collection[UUID]], None]
"""Writes down, over what it wrote before, which exceptions' calls this process waits for beside its deliveries."""
_T = TypeVar("_T")


class Landing:
    """Lands what batches left behind. One for a worker process; its thread starts with the first call."""

    def __init__(
        self,
        land: Land,
        depart: Callable[[Sequence[Flight], Mailbox], Departure],
        retry: OnRetries,
        note: Note,
    ) -> None:
        """`land` writes answers down, `depart` makes the calls that follow, `retry` gets what failed for now."""
        self._land = land
        self._depart = depart
        self._retry = retry
        self._note = note
        self._mailbox = Mailbox()
        self._under_way: Counter[UUID] = Counter()
        self._changed = Condition()
        self._noting = Lock()
        self._thread: Thread | None = None

    def adopt(self, departure: Departure) -> list[Flight]:
        """Take over the calls whose results have not been delivered yet; those that are."""
        with self._changed:
            flights = departure.redirect(self._mailbox)
            self._expect(flights)
        self._write_down()
        return flights

    def take(self, arrivals: Arrivals) -> None:
        """Take over answers that could not be written down."""
        if arrivals:
            with self._changed:
                self._expect([flight for flight, _ in arrivals])
            self._mailbox.put(arrivals)

    def leave(self, flights: Sequence[Flight]) -> None:
        """Make calls without anybody waiting for them."""
        if flights:
            with self._changed:
                self._expect(flights)
            # Before they leave: one of them may be what ends this process.
            self._write_down()
            self._depart(flights, self._mailbox)

    def close(self, seconds: float) -> int:
        """Wait until everything has landed, at most so long; how many calls are left to the ledger."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, seconds)
            return self._under_way.total()

    def _expect(self, flights: Sequence[Flight]) -> None:
        self._under_way.update(flight.reference.exception_id for flight in flights)
        if flights and self._thread is None:
            self._thread = Thread(target=self._work, name="landing", daemon=True)
            self._thread.start()

    def _write_down(self) -> None:
        with self._noting:
            with self._changed:
                exceptions = list(self._under_way)
            try:
                self._note(exceptions)
            except InfrastructureUnavailableError as error:
                log.debug("what the landing waits for was not written down; its leases end by themselves: %s", error)

    def _work(self) -> None:
        while True:
            arrivals = _all(self._mailbox)
            try:
                landed = self._until_it_works(partial(self._land, arrivals)) or Applied()
                self.leave(landed.flights)
                if landed.retries:
                    self._until_it_works(partial(self._retry, landed.retries))
            except Exception:  # The thread must outlive a fault; the ledger and the reconciler resolve what it hit.
                log.exception("landing failed; the reconciler picks its exceptions up")
            finally:
                with self._changed:
                    self._under_way -= Counter(flight.reference.exception_id for flight, _ in arrivals)
                    self._changed.notify_all()

    def _until_it_works(self, action: Callable[[], _T]) -> _T | None:
        """Wait out an outage; None when it lasts too long, and the ledger and the reconciler resolve what it hit."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while True:
            try:
                return action()
            except InfrastructureUnavailableError as error:
                if time.monotonic() > deadline:
                    log.error("the landing waited in vain, and leaves its calls to the effect ledger: %s", error)
                    return None
                log.debug("the landing waits: %s", error)
                time.sleep(TRY_AGAIN_SECONDS)


def _all(mailbox: Mailbox) -> Arrivals:
    """What is in the mailbox, once something is."""
    arrivals = list(mailbox.get())
    while len(arrivals) < AT_ONCE:
        try:
            arrivals += mailbox.get_nowait()
        except Empty:
            break
    return arrivals


def leave_to_the_reconciler(retries: Sequence[Retry]) -> None:
    """For a process that can send nothing: what failed moves on when the reconciler finds it."""
    log.warning("%s failed attempts are left to the reconciler", len(retries))
