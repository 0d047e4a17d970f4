"""What dispatchers do about dead letters that are sent again: work operations, note what has succeeded.

It only finds out, as SYSTEM, whose there is something to do about; each step acts as that one tenant, so that no fault
can touch another's. Any number of dispatchers may do it: an operation is worked by one at a time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from threading import Event, Thread
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from service.engine.operations import settle, work
from service.errors import InfrastructureUnavailableError
from service.persistence.operations import watched
from service.persistence.redriving import tenants_redriving
from service.persistence.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

MOST_OPERATIONS = 100
"""The most operations that one look works; the others follow when these are finished."""

LOOK_SECONDS = 0.5
"""How often a process looks: a pace is kept in portions of so many seconds."""

OUTAGE_PAUSE_SECONDS = 1.0


@dataclass(slots=True)
class Redrives:
    """What a dispatcher does beside dispatching. `system` acts as SYSTEM, `application` as APPLICATION."""

    system: Engine
    application: Engine
    stopping: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Look again and again beside the caller, so that no batch waits for it, until `stop`."""
        self._thread = Thread(target=self._work, name="redrives", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step at hand."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join()
        self.system.dispose()
        self.application.dispose()

    def once(self) -> int:
        """Go on with everything that is under way; how many dead letters were dealt with.

        Without any operation or redrive it is two probes of an index.
        """
        with unit_of_work(self.system) as transaction:
            tenants = tenants_redriving(transaction)
            operations = watched(transaction, MOST_OPERATIONS)
        for tenant_id in tenants:
            settle(self.application, tenant_id)
        total, first = 0, True
        # In turns, so that a large operation does not keep a small one waiting.
        while operations and not self.stopping.is_set():
            dealt_with = [(work_on, self._step(*work_on, settling=first)) for work_on in operations]
            total += sum(number for _, number in dealt_with)
            operations = [work_on for work_on, number in dealt_with if number]
            first = False
        return total

    def _work(self) -> None:
        pause = LOOK_SECONDS
        while not self.stopping.wait(pause):
            try:
                self.once()
                pause = LOOK_SECONDS
            except InfrastructureUnavailableError as error:
                log.warning("redrives wait for infrastructure: %s", error)
                pause = OUTAGE_PAUSE_SECONDS
            except DBAPIError:  # The thread must outlive a look that failed: the next one begins anew.
                log.exception("a look at redrives failed; it is tried again")

    def _step(self, operation_id: UUID, tenant_id: str, *, settling: bool) -> int:
        try:
            return work(self.application, tenant_id, operation_id, settling=settling)
        except InfrastructureUnavailableError:
            raise
        except Exception:
            # One operation that cannot be worked must not keep the others from being.
            log.exception("operation %s of tenant %s could not be worked", operation_id, tenant_id)
            return 0
