"""Deliveries in outages, and waiting retries, on a real broker: nothing is lost, nobody pays, no slot is held."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from service.dispatch.chains import STAGE_QUEUES, ChainSender
from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference
from tasks.outages import LONGEST_SECONDS
from tests.celery_kafka.vendors.setup import KafkaTestSetup
from tests.celery_kafka.vendors.worker import WorkerOptions
from tests.client import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(180)]

_LATE_SECONDS = 15.0
"""How much later than asked for a busy machine may deliver."""


@dataclass(frozen=True)
class Folder:
    """What the worker writes, and what a test tells it."""

    path: Path

    def lines(self, what: str, stage: str, tenant: str) -> list[tuple[float, Any]]:
        """Times and data of what was written down of a tenant."""
        journal = self.path / "journal"
        written = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
        return [(line[3], line[4]) for line in written if line[:3] == [what, stage, tenant]]

    def runs(self, stage: str, tenant: str) -> list[tuple[float, Any]]:
        """When a stage was run for a tenant, and over which references."""
        return self.lines("run", stage, tenant)

    def refuse(self, messages: int) -> None:
        """Let Kafka refuse this many of the worker's messages."""
        (self.path / "refusals").write_text(str(messages))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    path = tmp_path_factory.mktemp("told")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTAGES_FOLDER", str(path))
        yield Folder(path)


class ProjectTestSetup(KafkaTestSetup):
    """The setup of a client that knows the project's queues."""

    queues = STAGE_QUEUES


@pytest.fixture
def celery_setup_cls() -> type[ProjectTestSetup]:
    return ProjectTestSetup


@pytest.fixture(scope="module")
def worker_options(folder: Folder) -> WorkerOptions:
    """One process that takes one message at a time: what holds a slot or a credit holds up everything."""
    queues = tuple(stage.queue for stage in Stage)
    return WorkerOptions("tests.celery_kafka.apps.outages", queues, 1, ("--prefetch-multiplier", "1"))


def sent(setup: KafkaTestSetup, tenant: str, lane: int | None = 0) -> Reference:
    """Send an exception on its way, in a lane's batch or alone."""
    reference = Reference(tenant, uuid4(), 1)
    batch = Batch((reference,), lane, None if lane is None else uuid4().hex)
    ChainSender(setup.app).send(batch, Stage.INTAKE)
    return reference


@pytest.mark.parametrize("lane", [0, None], ids=["in a batch", "alone"])
def test_without_postgresql_a_delivery_comes_back_soon_and_as_it_was(
    celery_setup: KafkaTestSetup, folder: Folder, lane: int | None
) -> None:
    # given a delivery that finds PostgreSQL away again and again
    tenant = f"away-{6 if lane is None else 2}"
    reference = sent(celery_setup, tenant, lane)
    # then it goes on by itself
    wait_for(lambda: bool(folder.runs("triage", tenant)), 90, lambda: folder.runs("intake", tenant))
    runs = folder.runs("intake", tenant)
    assert len(runs) == int(tenant.partition("-")[2]) + 1
    # and it came as it was every time: nobody's attempt was counted, and nothing written down
    assert {json.dumps(references) for _, references in runs} == {
        json.dumps([[tenant, str(reference.exception_id), 1, 0]])
    }
    assert folder.lines("retry", "intake", tenant) == []
    # and no wait grew
    waits = [later[0] - earlier[0] for earlier, later in pairwise(runs)]
    assert max(waits) < LONGEST_SECONDS + _LATE_SECONDS


def test_a_link_that_kafka_does_not_take_is_sent_when_it_does(celery_setup: KafkaTestSetup, folder: Folder) -> None:
    # given a Kafka that does not take the message to the next stage, however often it is sent
    folder.refuse(5)
    # when a delivery is worked
    sent(celery_setup, "link")
    # then it is delivered again until its next link is sent
    wait_for(lambda: bool(folder.runs("triage", "link")), 60, lambda: folder.runs("intake", "link"))
    assert len(folder.runs("intake", "link")) >= 2


def test_a_retry_that_kafka_does_not_take_is_scheduled_when_it_does(
    celery_setup: KafkaTestSetup, folder: Folder
) -> None:
    # given a Kafka that does not take a retry
    folder.refuse(5)
    # when an exception that travels alone fails
    reference = sent(celery_setup, "busy-1", lane=None)
    # then the retry is there in the end, and counts as one attempt
    wait_for(lambda: bool(folder.runs("triage", "busy-1")), 60, lambda: folder.runs("intake", "busy-1"))
    attempts = [references for _, references in folder.runs("intake", "busy-1")]
    assert len(attempts) >= 3
    assert attempts[-1] == [["busy-1", str(reference.exception_id), 1, 1, 1]]
    assert {json.dumps(one) for one in attempts[:-1]} == {json.dumps([["busy-1", str(reference.exception_id), 1, 0]])}


def test_a_waiting_retry_holds_no_slot_and_no_credit_and_survives_its_worker(
    celery_setup: KafkaTestSetup, folder: Folder
) -> None:
    # given twenty exceptions that are not to come back for some seconds, on a worker that takes one message at a time
    tenant, asked = "busy-15", 15.0
    began = time.time()
    for _ in range(20):
        sent(celery_setup, tenant)
    wait_for(lambda: len(folder.lines("retry", "intake", tenant)) == 20, 60)
    # when other work comes
    sent(celery_setup, "other")
    # then it is done at once, and the worker knows of nothing that waits
    wait_for(lambda: bool(folder.runs("triage", "other")), asked)
    inspect = celery_setup.app.control.inspect(timeout=20, limit=1)
    assert [sum(map(len, (found or {}).values())) for found in (inspect.scheduled(), inspect.reserved())] == [0, 0]
    # when the worker dies without a word and another one comes
    celery_setup.worker.kill("SIGKILL")
    celery_setup.worker.restart()
    # then all of them come back, none before its time
    wait_for(lambda: len(folder.runs("triage", tenant)) >= 20, 90, lambda: len(folder.runs("intake", tenant)))
    again = [at for at, references in folder.runs("intake", tenant) if references[0][3] == 1]
    assert len(again) >= 20
    assert min(again) >= began + asked
