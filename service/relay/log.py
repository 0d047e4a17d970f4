"""The event log as the relay reads it: leadership, windows and the cursor, all on one session.

Whoever holds the session's lock is the leader, and the cursor is only ever moved by that session: a relay
that lost its connection has lost both, and cannot move the cursor under its successor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import connection as DriverConnection

from service.errors import ConfigurationError
from service.persistence.database import translated_errors
from service.persistence.statements import relay as sql
from service.relay.cloudevents import LoggedEvent

LOCK_SPACE = 0x53414952
"""First half of the advisory lock's key; the second is the cursor's name."""

ROWS_PER_FETCH = 2_000


class CursorAheadError(ConfigurationError):
    """The cursor was not made by this database."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the relay's cursor {name!r} is ahead of this database, as after restoring a dump into another server; "
            f"delete its row from relay_cursors to publish the log again from its beginning"
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions are seen: those before `next_xid` that are not `running`."""

    next_xid: int
    running: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read a `pg_snapshot`: xmin:xmax:running,…"""
        _, next_xid, running = text.split(":")
        return cls(int(next_xid), tuple(int(xid) for xid in running.split(",") if xid))

    def __str__(self) -> str:
        oldest = min(self.running, default=self.next_xid)
        return f"{oldest}:{self.next_xid}:{','.join(map(str, self.running))}"

    def parameters(self) -> dict[str, Any]:
        """As the statements take it."""
        return {"next_xid": str(self.next_xid), "running": [str(xid) for xid in self.running]}


BEGINNING = Snapshot(next_xid=1)
"""Sees nothing: everything is to be published."""


@dataclass(frozen=True, slots=True)
class Window:
    """The events that one snapshot sees and the cursor does not."""

    until: Snapshot
    pages: Iterator[list[LoggedEvent]]
    """In order within each exception. To be read inside the window's block."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the relay is behind the log."""

    unpublished: int
    seconds_behind: float
    """Age of the oldest unpublished event; 0 when there is none."""
    moved_at: datetime | None
    """When events were last published; None before the first."""
    has_leader: bool


class EventLog:
    """One session on the event log. Raises DatabaseUnavailableError when it breaks."""

    def __init__(self, connection: DriverConnection, name: str) -> None:
        """`connection` is in autocommit, acts as SYSTEM and belongs to this object from now on."""
        self._connection = connection
        self._name = name
        self._execute(sql.PREPARE_SESSION)

    def try_to_lead(self) -> bool:
        """Become the one leader of this cursor, unless another session is."""
        return bool(self._execute(sql.TRY_LOCK, {"space": LOCK_SPACE, "name": self._name})[0][0])

    def cursor(self) -> Snapshot:
        """Where the last leader stopped. Raises CursorAheadError when that cannot be in this database."""
        rows = self._execute(sql.CURSOR, {"name": self._name})
        cursor = Snapshot.parse(rows[0][0]) if rows else BEGINNING
        if cursor.next_xid > self.now().next_xid:
            raise CursorAheadError(self._name)
        return cursor

    def now(self) -> Snapshot:
        """What is committed at this moment. Equal to an earlier one when nothing was committed in between."""
        return Snapshot.parse(self._execute(sql.CURRENT_SNAPSHOT)[0][0])

    @contextmanager
    def window(self, cursor: Snapshot) -> Iterator[Window]:
        """Open the window after `cursor`. It holds a snapshot of the database open until its pages are read."""
        until = Snapshot.parse(self._execute(sql.BEGIN_WINDOW)[0][0])
        pages = self._pages(cursor)
        yield Window(until, pages)

    def advance(self, cursor: Snapshot) -> None:
        """Note that everything `cursor` sees is published."""
        with translated_errors(), self._connection.cursor() as driver:
            driver.execute(sql.ADVANCE, {"name": self._name, "snapshot": str(cursor)})

    def lag(self) -> Lag:
        """How far the leader, whoever it is, is behind."""
        rows = self._execute(sql.CURSOR, {"name": self._name})
        cursor, moved_at = (Snapshot.parse(rows[0][0]), rows[0][1]) if rows else (BEGINNING, None)
        (unpublished, seconds) = self._execute(sql.LAG, cursor.parameters())[0]
        leader = self._execute(sql.LEADER, {"space": LOCK_SPACE, "name": self._name})[0][0]
        return Lag(unpublished, max(seconds or 0.0, 0.0), moved_at, leader)

    def close(self) -> None:
        """End the session, and with it leadership."""
        self._connection.close()

    def _pages(self, cursor: Snapshot) -> Iterator[list[LoggedEvent]]:
        fetch = sql.FETCH_WINDOW.format(rows=ROWS_PER_FETCH)
        rows = self._execute(f"{sql.OPEN_WINDOW};{fetch}", cursor.parameters())
        while True:
            # A short page is the last: the transaction ends here and not after Kafka's confirmation, so that
            # an outage of Kafka does not keep PostgreSQL from cleaning up.
            last = len(rows) < ROWS_PER_FETCH
            if last:
                self._finish()
            if rows:
                yield [LoggedEvent._make(row) for row in rows]
            if last:
                return
            rows = self._execute(fetch)

    def _finish(self) -> None:
        with translated_errors(), self._connection.cursor() as driver:
            driver.execute(sql.END_WINDOW)

    def _execute(self, statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with translated_errors(), self._connection.cursor() as driver:
            driver.execute(statement, parameters)
            return driver.fetchall() if driver.description else []
