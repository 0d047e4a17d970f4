"""The journal of deliveries: which were begun, so that one that nobody ended is recognised when it comes again.

A row says what one thread of one worker process works, and is overwritten by what the thread begins next. If the
process dies, its row goes on saying what it died of, for every other process to see. That it is dead is told by its
sessions: the operating system closes them, and only them, when a process ends, however it does.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from threading import local
from uuid import UUID, uuid4

from sqlalchemy import Engine

from service.persistence.database import translated_errors
from service.persistence.outages import guarding
from service.persistence.statements import isolation as sql


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message: a retry of it is another one, and a redelivery is the same."""

    message_id: str
    retries: int
    stage: str
    exceptions: int
    worker: str


@dataclass(frozen=True, slots=True)
class Beginning:
    """That a delivery was begun before, by somebody else."""

    worker: str
    process: int
    began_at: datetime
    gone: bool
    """Its process has no session any more: it is dead, and not only silent."""


class DeliveryJournal:
    """Where the threads of this process write what they begin.

    Each call is one statement and its own transaction. The table is not logged, so a commit waits for no disk; a
    database that crashed forgets it, which is harmless. Raises DatabaseUnavailableError when PostgreSQL is away.
    """

    def __init__(self, engine: Engine, session_name: str = "") -> None:
        """Opens nothing. `session_name` is what the process's connections to PostgreSQL are called."""
        self._session_name = session_name
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._thread = local()
        self._process = os.getpid()

    def begin(self, delivery: Delivery) -> list[Beginning]:
        """Write down that a delivery begins; what is known of earlier beginnings of it."""
        parameters = {
            "slot": self._slot(),
            "delivery": delivery.message_id,
            "retries": delivery.retries,
            "stage": delivery.stage,
            "exceptions": delivery.exceptions,
            "worker": delivery.worker,
            "process": self._process,
            "session": self._session_name,
        }
        with guarding(self._engine), translated_errors(), self._engine.connect() as connection:
            rows = connection.exec_driver_sql(sql.BEGIN, parameters).all()
        return [Beginning(row.worker, row.process, row.began_at, row.gone) for row in rows]

    def end(self) -> None:
        """Say that this thread's delivery came to its end although its exceptions did not move."""
        with guarding(self._engine), translated_errors(), self._engine.connect() as connection:
            connection.exec_driver_sql(sql.END, {"slot": self._slot()})

    def landing(self, exceptions: Collection[UUID], now: datetime) -> None:
        """Say for which exceptions' calls this process waits beside its deliveries, over what it said before."""
        noted = {"session": self._session_name, "exceptions": [str(one) for one in exceptions], "now": now}
        with guarding(self._engine), translated_errors(), self._engine.connect() as connection:
            connection.exec_driver_sql(sql.LANDING, noted)

    def forget(self) -> None:
        """Delete what is of no use any more."""
        with guarding(self._engine), translated_errors(), self._engine.connect() as connection:
            connection.exec_driver_sql(sql.FORGET)
            connection.exec_driver_sql(sql.FORGET_LANDINGS)

    def _slot(self) -> str:
        slot: str | None = getattr(self._thread, "slot", None)
        if slot is None:
            slot = self._thread.slot = str(uuid4())
        return slot
