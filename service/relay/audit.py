"""The audit of the dead-letter topic: that it, the event log and the table of dead letters agree.

It goes on from where the last audit stopped: the events that the relay has published since (its cursor tells, a
snapshot), and the records that came to the topic since. What differs is counted and told; what is missing on the
topic, or says something else there, is published again, for the log is right by definition. Consumers drop what they
know by `eventId`, so that is harmless when it was for nothing. Rows and records that should not be are only told.

Order matters: the cursor is read before the topic's end, so every event of the window has its record before that end.
A record may be ahead of the cursor, which moves after Kafka has confirmed; the next audit begins at the first such.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from psycopg2.extensions import connection as DriverConnection

from service.errors import ConfigurationError
from service.persistence.database import translated_errors
from service.persistence.statements import dead_letter_audits as sql
from service.persistence.statements import relay as relay_sql
from service.relay.agreement import (
    Difference,
    Found,
    Report,
    Row,
    expected_digest,
    read_record,
    row_difference,
)
from service.relay.cloudevents import LoggedEvent, dead_letter_record
from service.relay.log import BEGINNING, Snapshot
from service.relay.publisher import Publisher
from service.relay.topic_reader import Progress, Span, TopicReader

log = logging.getLogger(__name__)

LOCK_SPACE = 0x53414441
_ROWS_AT_ONCE = 2_000
_LOGGED = len(LoggedEvent._fields)


class AuditRunsError(ConfigurationError):
    """Another audit of the same cursor is under way."""

    def __init__(self, name: str) -> None:
        super().__init__(f"another audit of {name!r} is under way; look at what it says, or wait for it")


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared."""

    cursor: str
    """Name of the relay's cursor, and of the audit's own place."""
    topic: str
    seconds: float
    """How long reading the topic may take."""
    whole: bool = False
    """From the beginning, wherever the last audit stopped."""
    since: datetime | None = None
    """Only what died at or after this moment."""


@dataclass(slots=True)
class Audit:
    """One audit. Raises KafkaUnavailableError, DatabaseUnavailableError, AuditRunsError."""

    connection: DriverConnection
    """In autocommit, acting as SYSTEM, this audit's own."""
    reader: TopicReader
    scope: Scope
    progress: Progress = lambda _read, _total: None
    publisher: Callable[[], Publisher] | None = None
    """Opens what publishes again; None: nothing is repaired and nothing is remembered, so that another audit can."""
    report: Report = field(default_factory=Report)

    def run(self) -> Report:
        """Compare, repair if told to, and remember how far it came."""
        if not self._rows(sql.TRY_LOCK, {"space": LOCK_SPACE, "name": self.scope.cursor})[0][0]:
            raise AuditRunsError(self.scope.cursor)
        rows = self._rows(relay_sql.CURSOR, {"name": self.scope.cursor})
        until = Snapshot.parse(rows[0][0]) if rows else BEGINNING
        spans = self.reader.spans()
        start = self._start(spans)
        read = self._read(start, spans)
        self.report.complete = self.reader.complete
        if not self.report.complete:
            return self.report
        differing = self._compare(start.snapshot, until, read)
        ahead = self._look_up(read, until, differing)
        if self.scope.whole:
            self._rows_without_event()
        if self.publisher is not None:
            self._publish(differing)
            self._remember(until, spans, ahead)
        return self.report

    def _start(self, spans: Mapping[int, Span]) -> _Start:
        """Where to go on. From the beginning, too, when the topic was made anew or has lost what was not read."""
        beginning = _Start(BEGINNING, {number: span.low for number, span in spans.items()})
        rows = () if self.scope.whole else self._rows(sql.STORED, {"name": self.scope.cursor})
        if not rows:
            return beginning
        stored = {int(number): offset for number, offset in rows[0][1].items()}
        if any(number not in spans or not spans[number].holds(offset) for number, offset in stored.items()):
            log.warning("%s does not have the records after the last audit: all of it is compared", self.scope.topic)
            return beginning
        return _Start(Snapshot.parse(rows[0][0]), {**beginning.offsets, **stored})

    def _read(self, start: _Start, spans: Mapping[int, Span]) -> _Read:
        """The records of the topic since the start."""
        ends = {number: span.high for number, span in spans.items()}
        read = _Read()
        # Of these, the retention has taken older records away: the first that is left tells until when.
        cut = {number for number, span in spans.items() if 0 < span.low == start.offsets[number]}
        if any(spans[number].low == spans[number].high for number in cut):
            read.kept_since = time.time_ns() // 1_000
        deadline = time.monotonic() + self.scope.seconds
        for message in self.reader.messages(start.offsets, ends, deadline, self.progress):
            self.report.records += 1
            partition, offset = message.partition() or 0, message.offset() or 0
            if partition in cut:
                cut.discard(partition)
                read.kept_since = max(read.kept_since, message.timestamp()[1] * 1_000)
            record = read_record(message.key(), message.value(), partition, offset)
            if record is None:
                self.report.note(Difference.UNREADABLE, partition=partition, offset=offset)
            else:
                read.records.setdefault((record.exception_id, record.position), []).append(record)
        return read

    def _compare(self, seen: Snapshot, until: Snapshot, read: _Read) -> list[LoggedEvent]:
        """Compare the events that were published since with their records, which are taken out of `read`, and with
        the table. The events whose records are missing or wrong.
        """
        parameters = {**seen.parameters(), "until": str(until), "since": self.scope.since}
        differing = []
        for values in self._stream(sql.EVENTS, parameters):
            event, row = LoggedEvent._make(values[:_LOGGED]), Row._make(values[_LOGGED + 2 :])
            self.report.events += 1
            at_row = row_difference(event, row)
            if at_row is not None:
                self.report.note(at_row, **_where(event))
            records = read.records.pop((event.exception_id, event.position), [])
            on_topic = _topic_difference(event, records)
            if on_topic is not None and (records or event.microseconds >= read.kept_since):
                self.report.note(on_topic, **_where(event))
                differing.append(event)
        return differing

    def _look_up(self, read: _Read, until: Snapshot, differing: list[LoggedEvent]) -> dict[int, int]:
        """Compare what is left of the records: repetitions, what is ahead of the cursor, what nobody knows.

        Where the next audit has to begin because of what is ahead, by partition.
        """
        ahead: dict[int, int] = {}
        left = list(read.records.items())
        for at in range(0, len(left), _ROWS_AT_ONCE):
            page = left[at : at + _ROWS_AT_ONCE]
            known = self._known([place for place, _ in page], until)
            for place, records in page:
                event, published = known.get(place, (None, False))
                if event is None:
                    self._unknown(records)
                elif not published:
                    for record in records:
                        ahead[record.partition] = min(record.offset, ahead.get(record.partition, record.offset))
                elif _topic_difference(event, records) is not None:
                    self.report.note(Difference.RECORD_DIFFERS, **_where(event))
                    differing.append(event)
        return ahead

    def _known(
        self, places: Sequence[tuple[str, int]], until: Snapshot
    ) -> dict[tuple[str, int], tuple[LoggedEvent, bool]]:
        """The events of some records, and whether the cursor sees them."""
        asked = orjson.dumps([{"exception": exception, "place": position} for exception, position in places]).decode()
        found = {}
        for *values, published in self._rows(sql.FIND_EVENTS, {"records": asked, "until": str(until)}):
            event = LoggedEvent._make(values)
            found[event.exception_id, event.position] = event, bool(published)
        return found

    def _unknown(self, records: Sequence[Found]) -> None:
        for one in records:
            self.report.note(
                Difference.UNKNOWN_TO_LOG,
                exceptionId=one.exception_id,
                position=one.position,
                partition=one.partition,
                offset=one.offset,
            )

    def _rows_without_event(self) -> None:
        parameters = {"since": self.scope.since, "limit": _ROWS_AT_ONCE}
        for exception_id, position, tenant_id in self._rows(sql.ROWS_WITHOUT_EVENT, parameters):
            where = {"exceptionId": exception_id, "position": position, "tenantId": tenant_id}
            self.report.note(Difference.ROW_WITHOUT_EVENT, **where)

    def _publish(self, events: Sequence[LoggedEvent]) -> None:
        """Publish what is missing or wrong on the topic; returns when Kafka has it."""
        if not events or self.publisher is None:
            return
        publisher = self.publisher()
        try:
            for event in events:
                publisher.send(self.scope.topic, dead_letter_record(event))
            publisher.confirm()
        finally:
            publisher.abandon()
        self.report.republished = len(events)

    def _remember(self, until: Snapshot, spans: Mapping[int, Span], ahead: Mapping[int, int]) -> None:
        offsets = {str(number): ahead.get(number, span.high) for number, span in spans.items()}
        parameters = {
            "name": self.scope.cursor,
            "snapshot": str(until),
            "offsets": orjson.dumps(offsets).decode(),
            "report": orjson.dumps(self.report.document()).decode(),
        }
        with translated_errors(), self.connection.cursor() as driver:
            driver.execute(sql.STORE, parameters)

    def _stream(self, statement: str, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Rows of a statement, some at a time."""
        with translated_errors(), self.connection.cursor() as driver:
            driver.execute("BEGIN READ ONLY")
            try:
                driver.execute(f"DECLARE audited NO SCROLL CURSOR FOR {statement}", parameters)
                while rows := self._rows(f"FETCH FORWARD {_ROWS_AT_ONCE} FROM audited", {}):
                    yield from rows
            finally:
                driver.execute("ROLLBACK")

    def _rows(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with translated_errors(), self.connection.cursor() as driver:
            driver.execute(statement, parameters)
            return driver.fetchall()


@dataclass(slots=True)
class _Start:
    snapshot: Snapshot
    """Events that it sees were compared before."""
    offsets: dict[int, int]


@dataclass(slots=True)
class _Read:
    records: dict[tuple[str, int], list[Found]] = field(default_factory=dict)
    """By exception and position."""
    kept_since: int = 0
    """Microseconds since 1970. Records of earlier events may be gone, and are not missed."""


def _topic_difference(event: LoggedEvent, records: Sequence[Found]) -> Difference | None:
    """What is wrong with the records of an event: one that is right is enough."""
    if not records:
        return Difference.MISSING_ON_TOPIC
    expected = expected_digest(event)
    return None if any(record.digest == expected for record in records) else Difference.RECORD_DIFFERS


def _where(event: LoggedEvent) -> dict[str, Any]:
    return {"exceptionId": event.exception_id, "position": event.position, "tenantId": event.tenant_id}
