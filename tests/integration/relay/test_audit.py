"""The audit finds what the dead-letter topic and the table do not both have, and publishes what is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg2
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from sqlalchemy import Engine

from service.cli import cli
from service.domain.exceptions import Stage
from service.engine.batch import Reference
from service.engine.failures import Failure, ToolRefusedError, as_dead_letters
from service.persistence.database import Role, connect_listener, open_engine
from service.persistence.ingestion import Ingestion, NewException
from service.persistence.sealing import Sealing
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import unit_of_work
from service.relay.log import EventLog
from service.settings import Settings
from service.wiring import new_id
from tests.integration.relay.conftest import RelayUnderTest, wait_for
from tests.stack_fixture import PROJECT
from tests.tenants import TestTenant, new_tenant

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

LANE = 250
"""A lane that no running dispatcher serves."""


@dataclass
class Audited:
    """A relay whose topic is audited, exceptions that die, and hands that damage one or the other."""

    relay: RelayUnderTest
    application: Engine
    tenant: TestTenant
    settings: Settings

    def die(self, number: int = 1) -> list[str]:
        """So many exceptions die; their ids."""
        ids = [new_id() for _ in range(number)]
        now = datetime.now(UTC)
        items = [NewException(str(one), LANE, str(uuid4()), "test", {}, occurred_at=now) for one in ids]
        references = [Reference(self.tenant.tenant_id, one, 1) for one in ids]
        failures = [Failure(reference, ToolRefusedError("tool 'x' answered 422")) for reference in references]
        with unit_of_work(self.application, [self.tenant.tenant_id]) as transaction:
            Ingestion(transaction, self.tenant.tenant_id, now).accept(items)
            StageRepository(transaction).dead_letter(Stage.INTAKE, as_dead_letters(Stage.INTAKE, failures), now)
        return [str(one) for one in ids]

    def published(self) -> None:
        """Wait until the relay has nothing left to publish."""
        with closing(EventLog(connect_listener(self.settings.database_url, Role.SYSTEM), self.relay.name)) as event_log:
            wait_for(lambda: event_log.lag().unpublished == 0, "everything published")

    def audit(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """What `sentinai dlq audit` says; its exit code."""
        names = ("--cursor", self.relay.name, "--topic", self.relay.dlq_topic, "--json")
        done = CliRunner().invoke(cli, ["dlq", "audit", *names, *arguments])
        assert done.stdout, done.exception
        document: dict[str, Any] = orjson.loads(done.stdout)
        return done.exit_code, document

    def skip(self) -> None:
        """The relay's cursor passes over what it has not published, as if a record had been lost."""
        self._as_system(
            "UPDATE relay_cursors SET snapshot = pg_current_snapshot()::text WHERE name = %s", (self.relay.name,)
        )

    def remove_row(self, exception_id: str) -> None:
        """Take a dead letter out of the table, as nobody but the table's owner can."""
        connection = psycopg2.connect(self.settings.owner_url)
        with connection, connection.cursor() as driver:
            driver.execute("ALTER TABLE dead_letters NO FORCE ROW LEVEL SECURITY")
            driver.execute("DELETE FROM dead_letters WHERE exception_id = %s", (exception_id,))
            driver.execute("ALTER TABLE dead_letters FORCE ROW LEVEL SECURITY")
        connection.close()

    def change_row(self, exception_id: str) -> None:
        self._as_system("UPDATE dead_letters SET message = 'else' WHERE exception_id = %s", (exception_id,))

    def put(self, key: str, value: bytes) -> None:
        """Put a record on the topic by hand."""
        producer = Producer({"bootstrap.servers": self.settings.kafka_bootstrap_servers})
        producer.produce(self.relay.dlq_topic, value, key)
        assert producer.flush(10) == 0

    def record_of(self, exception_id: str, **changes: Any) -> bytes:
        """The record that the relay made of an exception, changed."""
        reader = self.relay.reader(self.relay.dlq_topic)
        records = reader.wait_for(lambda found: any(one.key == exception_id for one in found))
        reader.close()
        (value,) = [one.value for one in records if one.key == exception_id]
        return orjson.dumps({**value, **changes})

    def stored(self) -> list[Any]:
        """The place and the report that the last audit left."""
        return self._as_system(
            "SELECT offsets, report FROM dead_letter_audits WHERE name = %s", (self.relay.name,), fetch=True
        )

    def begin_here(self) -> None:
        """The events before this relay's time are none of its topic's."""
        snapshot = self.relay.cursor()
        self._as_system(
            "INSERT INTO dead_letter_audits VALUES (%s, %s, '{}', now(), '{}')", (self.relay.name, snapshot)
        )

    def _as_system(self, statement: str, parameters: Any, fetch: bool = False) -> list[Any]:
        connection = connect_listener(self.settings.database_url, Role.SYSTEM)
        with connection.cursor() as driver:
            driver.execute(statement, parameters)
            rows = driver.fetchall() if fetch else []
        connection.close()
        return rows


@pytest.fixture
def audited(relay: RelayUnderTest, migrated: Settings, system: Engine) -> Iterator[Audited]:
    application = open_engine(migrated.database_url, Role.APPLICATION, sealing=Sealing())
    under_test = Audited(relay, application, new_tenant(system), migrated)
    under_test.begin_here()
    yield under_test
    application.dispose()
    with unit_of_work(system) as transaction:
        transaction.run("DELETE FROM outbox WHERE lane = %(lane)s", {"lane": LANE})
        transaction.run("DELETE FROM dead_letter_audits WHERE name = %(name)s", {"name": relay.name})


def numbers(document: dict[str, Any]) -> dict[str, int]:
    """What differs, by kind."""
    return {name: value for name, value in document.items() if name[0].islower() and value and name in KINDS}


KINDS = {
    "missingOnTopic", "recordDiffers", "unknownToLog", "unreadable", "missingInTable", "rowDiffers", "rowWithoutEvent",
}  # fmt: skip


def test_a_topic_and_a_table_that_agree_are_said_to(audited: Audited) -> None:
    # given exceptions that died, and a relay that published that
    audited.relay.start()
    audited.die(5)
    audited.published()
    # then they agree, and a look that repairs nothing leaves no trace
    code, told = audited.audit()
    assert (code, told["agree"], told["complete"]) == (0, True, True)
    assert told["events"] == told["records"] >= 5
    assert audited.stored()[0][1] == {}
    # when one that may repair has looked, then the next looks at what came since
    assert audited.audit("--repair")[0] == 0
    audited.die(2)
    audited.published()
    code, told = audited.audit("--repair")
    assert (code, told["agree"], told["republished"]) == (0, True, 0)
    assert 2 <= told["events"] < 5
    # and an exception that dies again, and records that come again, are no difference
    audited.put(*_again(audited))
    assert audited.audit()[0] == 0


def _again(audited: Audited) -> tuple[str, bytes]:
    (one,) = audited.die()
    audited.published()
    return one, audited.record_of(one)


def test_a_record_that_is_missing_is_found_and_published_again(audited: Audited) -> None:
    # given three dead letters of which the relay has lost the second
    process = audited.relay.start()
    (first,) = audited.die()
    audited.published()
    process.terminate()
    process.wait(10)
    (lost,) = audited.die()
    audited.skip()
    audited.relay.start()
    (last,) = audited.die()
    audited.published()
    # then the audit finds it
    code, told = audited.audit()
    assert (code, told["agree"], numbers(told)) == (1, False, {"missingOnTopic": 1})
    assert told["examples"][0]["exceptionId"] == lost
    # when it may repair, then the record is there, and the next audit finds nothing
    code, told = audited.audit("--repair")
    assert (code, told["republished"]) == (1, 1)
    assert {lost, first, last} <= {orjson.loads(audited.record_of(one))["exceptionId"] for one in (first, lost, last)}
    assert audited.audit("--repair")[0] == 0
    # and what it found is kept for the metrics
    assert audited.stored()[0][1]["agree"] is True


def test_a_row_that_is_missing_or_changed_is_found(audited: Audited) -> None:
    # given three dead letters, one gone from the table and one changed there
    audited.relay.start()
    gone, changed, _ = audited.die(3)
    audited.published()
    audited.remove_row(gone)
    audited.change_row(changed)
    # then both are found, and publishing would not help
    code, told = audited.audit("--repair")
    assert (code, numbers(told), told["republished"]) == (1, {"missingInTable": 1, "rowDiffers": 1}, 0)
    places = {one["difference"]: one["exceptionId"] for one in told["examples"]}
    assert places == {"missingInTable": gone, "rowDiffers": changed}


def test_records_that_nobody_wrote_or_that_say_something_else_are_found(audited: Audited) -> None:
    # given a relay that has lost a record, of which there is a wrong one
    process = audited.relay.start()
    (known,) = audited.die()
    audited.published()
    process.terminate()
    process.wait(10)
    (lost,) = audited.die()
    audited.skip()
    right = orjson.loads(audited.record_of(known))
    audited.put(lost, orjson.dumps({**right, "exceptionId": lost, "message": "all is well"}))
    # and a wrong copy beside a right one, a record of nobody's, and one that is none
    audited.put(known, audited.record_of(known, message="all is well"))
    nobody = str(UUID(int=new_id().int))
    audited.put(nobody, orjson.dumps({**right, "exceptionId": nobody}))
    audited.put("x", b"not JSON")
    # then each is found for what it is, and one right copy is enough
    code, told = audited.audit("--repair")
    assert (code, numbers(told)) == (1, {"recordDiffers": 1, "unknownToLog": 1, "unreadable": 1})
    assert (told["republished"], told["complete"]) == (1, True)
    # and what was published again is right
    assert audited.audit()[0] == 0


def test_a_record_ahead_of_the_cursor_is_left_to_the_next_audit(audited: Audited) -> None:
    # given a relay that has published and has not moved its cursor yet
    process = audited.relay.start()
    (known,) = audited.die()
    audited.published()
    process.terminate()
    process.wait(10)
    (ahead,) = audited.die()
    other = orjson.loads(audited.record_of(known))
    audited.put(ahead, orjson.dumps({**other, "exceptionId": ahead, "message": "not what the event says"}))
    # then nothing is said about it
    code, told = audited.audit("--repair")
    assert (code, told["records"] >= 2) == (0, True)
    # when the cursor has moved, then it is compared although it was read before
    audited.skip()
    code, told = audited.audit("--repair")
    assert (code, numbers(told)) == (1, {"recordDiffers": 1})


def test_an_audit_that_cannot_finish_says_so_and_forgets_nothing(audited: Audited) -> None:
    audited.relay.start()
    audited.die(3)
    audited.published()
    before = audited.stored()
    code, told = audited.audit("--repair", "--timeout", "0")
    assert (code, told["complete"]) == (3, False)
    assert audited.stored() == before
    assert audited.audit()[0] == 0


def test_a_whole_audit_begins_at_the_beginning(audited: Audited) -> None:
    # given dead letters that were audited before, one of which lost its row since
    audited.relay.start()
    started = datetime.now(UTC)
    (gone,) = audited.die()
    audited.published()
    assert audited.audit("--repair")[0] == 0
    audited.remove_row(gone)
    # then only a look at everything finds it; here, at everything since the test began
    assert audited.audit()[0] == 0
    code, told = audited.audit("--whole", "--since", started.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert code == 1
    assert gone in [one["exceptionId"] for one in told["examples"] if one["difference"] == "missingInTable"]


def test_beat_s_audit_runs_on_the_services_themselves(audited: Audited) -> None:
    # when the task is run as a worker runs it
    script = "from tasks.maintenance import audit_dead_letters; print(audit_dead_letters.run() is not None)"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    # then it has compared whatever the relay of the installation has published
    assert done.stdout.strip() == "True", done.stderr
