"""The dispatcher: takes ready work from the outbox, lane by lane, and sends it as chains.

It is woken by NOTIFY and looks by itself once a second in case a notice was lost. Taking and sending are
one transaction: rows leave the outbox only when Kafka has confirmed the chain. If the dispatcher dies
between the two, the work is sent again and the guard drops the second copy.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol
from uuid import UUID

from psycopg2.extensions import connection as DriverConnection
from sqlalchemy import Engine, Row

from service.dispatch.lanes import LaneLeases
from service.dispatch.window import LaneWindow
from service.domain.exceptions import Stage
from service.domain.pauses import NOTHING_PAUSED, PausesInForce
from service.engine.batch import Batch, Reference
from service.errors import InfrastructureUnavailableError
from service.persistence.database import translated_errors
from service.persistence.statements import dispatch as sql
from service.persistence.unit_of_work import Transaction, unit_of_work

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 1.0
"""How long a lost notice can delay work."""

PATIENCE_SECONDS = 5.0
"""After this long a batch under way no longer keeps its lane from sending another."""

OUTAGE_PAUSE_SECONDS = 1.0


class Sender(Protocol):
    """Sends a batch on its way from a stage; `service.dispatch.chains.ChainSender` is the real one."""

    def send(self, batch: Batch, first: Stage) -> None: ...


@dataclass(slots=True)
class Dispatcher:
    """Serves the lanes it holds until told to stop."""

    engine: Engine
    leases: LaneLeases
    sender: Sender
    listen: Callable[[], DriverConnection]
    batch_ids: Callable[[], UUID]
    batch_size: int
    batches_in_flight: int
    renew_every_seconds: float
    chores: Sequence[Callable[[], object]] = ()
    """Done once a second by every dispatcher, whichever lanes it holds: what makes work ready by time alone."""
    pauses: Callable[[], PausesInForce] = lambda: NOTHING_PAUSED
    """What is paused now. It stays in the outbox."""
    clock: Callable[[], float] = time.monotonic
    stopping: Event = field(default_factory=Event)
    _windows: dict[int, LaneWindow] = field(default_factory=dict)
    _held: frozenset[int] = frozenset()
    _renew_at: float = 0.0
    _chores_at: float = 0.0
    _idle_until: dict[int, float] = field(default_factory=dict)
    """Lanes in which everything is paused are not looked through at every notice."""

    def run(self) -> None:
        """Dispatch until `stopping` is set; outages of PostgreSQL or Kafka are waited out."""
        while not self.stopping.is_set():
            try:
                self._serve()
            except InfrastructureUnavailableError as error:
                log.warning("waiting for infrastructure: %s", error)
                self.stopping.wait(OUTAGE_PAUSE_SECONDS)
        self.leases.release()

    def _serve(self) -> None:
        listener = self.listen()
        self._renew_at = 0.0
        try:
            with translated_errors(), listener.cursor() as cursor:
                cursor.execute("LISTEN outbox")
                cursor.execute("LISTEN lanes")
            while not self.stopping.is_set():
                self._keep_leases()
                self._do_chores()
                self._hear(listener)
                if not self.dispatch_once():
                    self._wait(listener)
        finally:
            listener.close()

    def _keep_leases(self) -> None:
        now = self.clock()
        if now < self._renew_at:
            return
        held = self.leases.renew()
        if held != self._held:
            log.info("serving lanes %s", sorted(held) or "none; another dispatcher has them")
        self._held = held
        self._renew_at = now + self.renew_every_seconds

    def _do_chores(self) -> None:
        now = self.clock()
        if now < self._chores_at:
            return
        for chore in self.chores:
            chore()
        self._chores_at = now + LOOK_AGAIN_SECONDS

    def dispatch_once(self) -> bool:
        """Send one batch for each lane that has work and a free place; whether anything was sent."""
        now = self.clock()
        paused = self.pauses()
        free = [lane for lane in sorted(self._held) if self._window(lane).free(now)]
        if paused:
            free = [lane for lane in free if self._idle_until.get(lane, now) <= now]
        if not free or paused.dispatching is not None:
            return False
        with unit_of_work(self.engine) as transaction:
            waiting = [row.lane for row in transaction.rows(sql.LANES_WITH_WORK, {"lanes": free})]
        sent = [self._send_from(lane, paused) for lane in waiting]
        return any(sent)

    def _send_from(self, lane: int, paused: PausesInForce) -> bool:
        with unit_of_work(self.engine) as transaction:
            rows = take(transaction, lane, self.batch_size, paused)
            by_stage: dict[Stage, list[Reference]] = {}
            for row in rows:
                reference = Reference(row.tenant_id, row.exception_id, row.sequence, row.attempt, row.rate_limited)
                by_stage.setdefault(Stage(row.stage), []).append(reference)
            for stage, references in by_stage.items():
                batch = Batch(tuple(references), lane, str(self.batch_ids()))
                self.sender.send(batch, stage)
                self._window(lane).sent(str(batch.batch_id), self.clock())
        if not rows and paused:
            self._idle_until[lane] = self.clock() + LOOK_AGAIN_SECONDS
        return bool(rows)

    def _window(self, lane: int) -> LaneWindow:
        return self._windows.setdefault(lane, LaneWindow(self.batches_in_flight, PATIENCE_SECONDS))

    def _hear(self, listener: DriverConnection) -> None:
        """Take in what was notified: batches that ended. New work needs no bookkeeping, only the wake-up."""
        with translated_errors():
            listener.poll()
        for notice in listener.notifies:
            if notice.channel == "lanes":
                lane, _, batch_id = notice.payload.partition(":")
                self._window(int(lane)).done(batch_id)
        listener.notifies.clear()

    def _wait(self, listener: DriverConnection) -> None:
        now = self.clock()
        wake_at = [now + LOOK_AGAIN_SECONDS, self._renew_at]
        wake_at += [self._chores_at] if self.chores else []
        wake_at += [t for t in (self._window(lane).next_release() for lane in self._held) if t is not None]
        select.select([listener], [], [], max(0.0, min(wake_at) - now))


def take(transaction: Transaction, lane: int, size: int, paused: PausesInForce = NOTHING_PAUSED) -> Sequence[Row[Any]]:
    """At most `size` rows of a lane, out of the outbox for good once the transaction is committed; what is paused
    stays."""
    parameters: dict[str, Any] = {"lane": lane, "size": size, "paused": paused.tenants}
    if not (paused.stages or paused.stages_of_tenants):
        return transaction.rows(sql.TAKE, parameters)
    parameters["stages"] = paused.stages
    parameters["stages_of_tenants"] = [f"{tenant}:{stage}" for tenant, stage in paused.stages_of_tenants]
    statement = sql.TAKE_LATER_STAGES if Stage.INTAKE in paused.stages else sql.TAKE_OTHER_STAGES
    return transaction.rows(statement, parameters)
