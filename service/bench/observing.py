"""What became of the load, read from the database beside the API: backlog, event log, ledger and the relay's lag."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg2

from service.bench import statements as sql
from service.bench.statistics import Latency, Second
from service.persistence.database import Role, connect_listener, open_engine, translated_errors
from service.persistence.queries import Ledger, ledgers
from service.persistence.unit_of_work import unit_of_work
from service.relay.log import EventLog, Lag
from service.relay.topics import EVENTS_TOPIC


def analyse(owner_url: str) -> None:
    """Give the planner statistics of what is there now, as the owner of the tables."""
    with translated_errors(), closing(psycopg2.connect(owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql.ANALYSE)
        connection.commit()


@dataclass(frozen=True, slots=True)
class Books:
    """The bench tenants' ledgers, added up."""

    accepted: int = 0
    resolved: int = 0
    in_flight: int = 0
    dead_lettered: int = 0
    elsewhere: int = 0
    """Escalated, cancelled, waiting or discarded: none of the samples should end there."""
    balanced: bool = True
    """Whether every single tenant's ledger balances."""

    def since(self, earlier: Books) -> Books:
        """What was added since; balanced as now."""
        return Books(
            self.accepted - earlier.accepted,
            self.resolved - earlier.resolved,
            self.in_flight - earlier.in_flight,
            self.dead_lettered - earlier.dead_lettered,
            self.elsewhere - earlier.elsewhere,
            self.balanced,
        )


def add_up(of_tenants: Sequence[Ledger]) -> Books:
    """One ledger of several."""
    return Books(
        accepted=sum(one.accepted for one in of_tenants),
        resolved=sum(one.resolved for one in of_tenants),
        in_flight=sum(one.in_flight for one in of_tenants),
        dead_lettered=sum(one.dead_lettered for one in of_tenants),
        elsewhere=sum(one.escalated + one.cancelled + one.waiting + one.discarded for one in of_tenants),
        balanced=all(one.balanced for one in of_tenants),
    )


class Observer:
    """One connection to the database. Not for several threads; `another` gives a thread its own."""

    def __init__(self, database_url: str, tenants: Sequence[str]) -> None:
        self._url = database_url
        self._tenants = list(tenants)
        self._connection = connect_listener(database_url, Role.SYSTEM)

    def another(self) -> Observer:
        """The same view on a connection of its own."""
        return Observer(self._url, self._tenants)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def backlog(self) -> int:
        """Exceptions accepted and not settled."""
        return int(self._rows(sql.BACKLOG, {"tenants": self._tenants})[0][0])

    def held(self) -> int:
        """Those of them whose tool is not called now."""
        return int(self._rows(sql.HELD, {"tenants": self._tenants})[0][0])

    def status(self, exception_id: str) -> str:
        """One exception's status."""
        return str(self._rows(sql.STATUS, {"exception_id": exception_id})[0][0])

    def window(self, began: datetime, ended: datetime) -> dict[int, Second]:
        """What the event log got, by second since `began`."""
        rows = self._rows(sql.WINDOW, self._span(began, ended))
        return {second: Second(accepted, resolved, events) for second, accepted, resolved, events in rows}

    def time_in_pipeline(self, began: datetime, ended: datetime) -> Latency | None:
        """From receipt to RESOLVED by the row's own times, of all exceptions received in a window."""
        return _latency(self._rows(sql.TIME_IN_PIPELINE, self._span(began, ended))[0])

    def time_to_rest(self, began: datetime, ended: datetime, after: datetime) -> Latency | None:
        """From receipt to rest, of those received in a window that came to rest after a moment."""
        return _latency(self._rows(sql.TIME_TO_REST, self._span(began, ended) | {"after": after})[0])

    def stall(self, began: datetime, ended: datetime) -> float:
        """The most seconds in a window in which nothing was resolved."""
        return float(self._rows(sql.STALL, self._span(began, ended))[0][0])

    def first_resolved(self, after: datetime) -> datetime | None:
        """When the first exception was resolved after a moment."""
        found: datetime | None = self._rows(sql.FIRST_RESOLVED, self._span(after, after))[0][0]
        return found

    def books(self) -> Books:
        """The ledgers of the bench's tenants, from one snapshot."""
        engine = open_engine(self._url, Role.SYSTEM, pool_size=1)
        try:
            with unit_of_work(engine) as transaction:
                return add_up([one for one in ledgers(transaction) if one.tenant_id in self._tenants])
        finally:
            engine.dispose()

    def relay_lag(self) -> Lag:
        """How far publishing is behind."""
        with closing(EventLog(connect_listener(self._url, Role.SYSTEM), EVENTS_TOPIC)) as event_log:
            return event_log.lag()

    def settings(self) -> dict[str, str]:
        """The server's version and what durability costs it."""
        return dict(self._rows(sql.SETTINGS))

    def _span(self, began: datetime, ended: datetime) -> dict[str, Any]:
        return {"tenants": self._tenants, "from": began, "to": ended}

    def _rows(self, statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with translated_errors(), self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()


def _latency(row: tuple[Any, ...]) -> Latency | None:
    count, points, longest, mean = row
    if not count:
        return None
    p50, p95, p99 = (round(point, 2) for point in points)
    return Latency(count, p50, p95, p99, round(longest, 2), round(mean, 2))
