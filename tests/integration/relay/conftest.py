"""A relay of the test's own: its cursor, its topics and its tenant, on services that others use too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import psycopg2
import pytest
from confluent_kafka.admin import AdminClient
from psycopg2.extensions import connection as DriverConnection

from service.persistence.database import Role, connect_listener
from service.relay.topics import TopicShape, ensure_topics
from service.settings import Settings
from tests.stack_fixture import PROJECT
from tests.topics import TopicReader, TopicRecord

INSERT = """
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, attempt, type, trace_id, data)
VALUES (%s, %s, now(), %s, 1, %s, 1, %s, %s, %s)
"""
INSERT_MANY = """
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id, data)
SELECT e.id, p, now(), %s, 1, 1, 'TriageCompleted', e.id, jsonb_build_object('note', repeat('x', 200))
  FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) e, generate_series(1, 10) p
"""


@dataclass
class RelayUnderTest:
    """Relay processes with a cursor and topics of their own, and the writers and readers around them."""

    settings: Settings
    name: str
    logs: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def tenant(self) -> str:
        return self.name

    @property
    def events_topic(self) -> str:
        return f"exceptions.events.{self.name}"

    @property
    def dlq_topic(self) -> str:
        return f"exceptions.dlq.{self.name}"

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a relay process; others may run already."""
        command = [*self._command(), "--events-topic", self.events_topic, "--dlq-topic", self.dlq_topic]
        with (self.logs / f"relay-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=PROJECT, stderr=log, env={**os.environ, **environment})
        self.processes.append(process)
        return process

    def said(self, words: str, number: int = 0) -> bool:
        """Whether a relay's log has these words."""
        return words in (self.logs / f"relay-{number}.log").read_text()

    def status(self) -> dict[str, object]:
        """What `sentinai relay status --json` prints."""
        answer = subprocess.run([*self._command(), "status", "--json"], cwd=PROJECT, check=True, capture_output=True)
        document: dict[str, object] = orjson.loads(answer.stdout)
        return document

    def cursor(self) -> str:
        """Where the relay's cursor is."""
        connection = connect_listener(self.settings.database_url, Role.SYSTEM)
        try:
            with connection.cursor() as driver:
                driver.execute("SELECT snapshot FROM relay_cursors WHERE name = %s", (self.name,))
                return str(driver.fetchall()[0][0])
        finally:
            connection.close()

    def writer(self) -> Writer:
        """A connection that writes events of the test's tenant."""
        return Writer(self.settings.database_url, self.tenant)

    def reader(self, topic: str | None = None) -> TopicReader:
        """A reader of one of the relay's topics, from its beginning."""
        topic = topic or self.events_topic
        return TopicReader(self.settings.kafka_bootstrap_servers, topic, from_beginning=True)

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "service.cli", "relay", "--cursor", self.name]


class Writer:
    """One database connection as a stage has it: writes events, and commits when told to."""

    def __init__(self, url: str, tenant: str) -> None:
        self._connection: DriverConnection = psycopg2.connect(url, options=f"-c role={Role.APPLICATION}")
        self._tenant = tenant
        self._driver = self._connection.cursor()
        self._declare()

    def write(self, exception: UUID, position: int, type: str = "TriageCompleted", data: object = None) -> None:
        """Write one event without committing."""
        body = orjson.dumps(data or {}).decode()
        stage = 4 if type == "DeadLettered" else 1
        self._driver.execute(INSERT, (str(exception), position, self._tenant, stage, type, str(exception), body))

    def write_many(self, exceptions: int) -> int:
        """Write ten events each of so many new exceptions; the number of events."""
        self._driver.execute(INSERT_MANY, (self._tenant, exceptions))
        return self._driver.rowcount

    def lock(self, number: int) -> None:
        """Wait for a lock that is held until the commit, as a stage waits for an exception's row."""
        self._driver.execute("SELECT pg_advisory_xact_lock(%s)", (number,))

    def commit(self) -> None:
        self._connection.commit()
        self._declare()

    def close(self) -> None:
        self._connection.close()

    def _declare(self) -> None:
        self._driver.execute("SELECT set_config('app.tenants', %s, true)", (self._tenant,))


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Return when the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        pause.wait(0.02)


class Published:
    """What is on the events topic of the test's tenant, read as far as needed."""

    def __init__(self, topic: TopicReader, tenant: str) -> None:
        self._topic = topic
        self._tenant = tenant
        self._looked_at = 0
        self._seen: set[tuple[str, int]] = set()
        self.positions: dict[str, list[int]] = {}
        """Positions of each exception in the order in which they first appeared."""
        self.copies = 0
        """Records, repeated ones included."""

    def wait_for(self, events: int, seconds: float = 60.0) -> dict[str, list[int]]:
        """Read until so many different events have appeared; the positions of each exception."""
        self._topic.wait_for(lambda records: self._count(records) >= events, seconds)
        return self.positions

    def _count(self, records: Sequence[TopicRecord]) -> int:
        for record in records[self._looked_at :]:
            if record.headers["ce_tenant"] != self._tenant:
                continue
            self.copies += 1
            event = (record.key, int(record.headers["ce_position"]))
            if event not in self._seen:
                self._seen.add(event)
                self.positions.setdefault(record.key, []).append(event[1])
        self._looked_at = len(records)
        return len(self._seen)


@pytest.fixture
def relay(migrated: Settings, tmp_path: Path) -> Iterator[RelayUnderTest]:
    """A relay that is not started yet; its cursor stands at the end of the log, its topics exist."""
    under_test = RelayUnderTest(migrated, f"relay-{uuid4().hex[:12]}", tmp_path)
    client = {"bootstrap.servers": migrated.kafka_bootstrap_servers}
    topics = (under_test.events_topic, under_test.dlq_topic)
    ensure_topics(client, topics, TopicShape(partitions=3, replication_factor=1))
    connection = connect_listener(migrated.database_url, Role.SYSTEM)
    with connection.cursor() as driver:
        driver.execute("INSERT INTO relay_cursors VALUES (%s, pg_current_snapshot()::text, now())", (under_test.name,))
    try:
        yield under_test
    finally:
        for process in under_test.processes:
            if process.poll() is None:
                process.kill()
            process.wait(10)
        with connection.cursor() as driver:
            driver.execute("DELETE FROM relay_cursors WHERE name = %s", (under_test.name,))
        connection.close()
        admin = AdminClient(client)
        for deleted in admin.delete_topics(list(topics)).values():
            deleted.result(10)
