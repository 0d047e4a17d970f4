"""Measuring single exceptions: from POST to RESOLVED, and how long reading takes while others write.

RESOLVED is seen by asking the database for the one row by its primary key every 2 ms: a GET at that pace, several
statements and a response each, would be a load of its own.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event

from service.bench.bodies import Bodies
from service.bench.client import TenantConnection
from service.bench.observing import Observer
from service.bench.statistics import Latency, latency
from service.bench.tally import Errors, Known, Tally

OBSERVED_BY = "primary-key poll of the exception's row every 2 ms"
_LOOK_SECONDS = 0.002
_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.01
_READS_PER_SECOND = 5
LIST_PATH = "/exceptions?limit=50"
_IN_FLIGHT = frozenset({"RECEIVED", "IN_PROGRESS"})


@dataclass(frozen=True, slots=True)
class Journeys:
    """What sequential single POSTs took."""

    asked: int
    post: Latency | None
    to_resolved: Latency | None
    observed_by: str
    other_ends: dict[str, int]
    """By status, those that did not end RESOLVED; UNSETTLED for those given up after 30 s."""
    errors: Errors


@dataclass
class JourneyProbe:
    """Posts one exception after the other and follows each to its end."""

    connections: Sequence[TenantConnection]
    observer: Observer
    bodies: Bodies
    tally: Tally
    _took: list[float] = field(default_factory=list)
    _other: Counter[str] = field(default_factory=Counter)

    def run(self, count: int, at_most_seconds: float, stopping: Event) -> Journeys:
        """Follow `count` exceptions, fewer when the time is up or the run was ended."""
        began = time.monotonic()
        for connection in itertools.islice(itertools.cycle(self.connections), count):
            if stopping.is_set() or time.monotonic() - began > at_most_seconds:
                break
            self._follow_one(connection)
            stopping.wait(_PAUSE_SECONDS)
        post = latency(self.tally.durations(began, time.monotonic()))
        return Journeys(count, post, latency(self._took), OBSERVED_BY, dict(self._other), self.tally.errors())

    def _follow_one(self, connection: TenantConnection) -> None:
        answer = connection.send("POST", "/exceptions", self.bodies.one())
        self.tally.add(answer, 1, connection.tenant_id)
        if answer.status != 202:
            return
        status = self._wait_settled(answer.document()["exceptionId"], answer.began)
        if status == "RESOLVED":
            self._took.append(time.monotonic() - answer.began)
        else:
            self._other["UNSETTLED" if status in _IN_FLIGHT else status] += 1

    def _wait_settled(self, exception_id: str, began: float) -> str:
        while (status := self.observer.status(exception_id)) in _IN_FLIGHT:
            if time.monotonic() - began > _PATIENCE_SECONDS:
                break
            time.sleep(_LOOK_SECONDS)
        return status


@dataclass(frozen=True, slots=True)
class Reads:
    """What reading took."""

    get_one: Latency | None
    list: Latency | None
    failed: dict[str, int]
    """By HTTP status."""


@dataclass
class Reader:
    """GETs recent exceptions and lists a few times a second."""

    connections: Sequence[TenantConnection]
    tally: Tally
    """Of the load whose exceptions are read."""
    _one: list[float] = field(default_factory=list)
    _list: list[float] = field(default_factory=list)
    _failed: Counter[str] = field(default_factory=Counter)

    def run(self, stopping: Event) -> None:
        """Read until `stopping` is set."""
        by_tenant = {connection.tenant_id: connection for connection in self.connections}
        while not stopping.wait(1 / _READS_PER_SECOND):
            if self.tally.recent:
                self._read(by_tenant, self.tally.recent[-1])

    def _read(self, by_tenant: dict[str, TenantConnection], known: Known) -> None:
        connection = by_tenant[known.tenant_id]
        for times, path in ((self._one, f"/exceptions/{known.exception_id}"), (self._list, LIST_PATH)):
            answer = connection.send("GET", path)
            if answer.status == 200:
                times.append(answer.seconds)
            else:
                self._failed[str(answer.status or "no answer")] += 1

    def reads(self) -> Reads:
        """What it took so far."""
        return Reads(latency(self._one), latency(self._list), dict(self._failed))
