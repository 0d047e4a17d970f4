"""The project's own Celery app as its operators see it: its queues, its manners, and Flower."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest

from service.devstack.ports import DEFAULT_RANGE, choose_ports
from service.devstack.waiting import wait_until
from service.dispatch.chains import EXCHANGE, STAGE_QUEUES, ChainSender
from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference, to_message
from tests.celery_kafka.api.process import PROJECT
from tests.celery_kafka.vendors.flower import FlowerContainer
from tests.celery_kafka.vendors.setup import KafkaTestSetup
from tests.celery_kafka.vendors.worker import WorkerOptions
from tests.stack_fixture import StackUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

_APP = "tests.celery_kafka.apps.project"
_ANSWER_SECONDS = 20
_SEEN_SECONDS = 60
_UNKNOWN = Reference("nobody", UUID("01890000-0000-7000-8000-000000000000"), 1)
"""An exception that is in no database: every stage drops it by the guard."""


class ProjectTestSetup(KafkaTestSetup):
    """The setup of a client that knows the project's queues."""

    queues = STAGE_QUEUES


@pytest.fixture
def celery_setup_cls() -> type[ProjectTestSetup]:
    """The project's queues."""
    return ProjectTestSetup


@pytest.fixture(scope="module")
def worker_options(stack: StackUnderTest) -> WorkerOptions:
    """All five stages in one worker, on a database with the newest schema."""
    subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=PROJECT, check=True)
    return WorkerOptions(_APP, tuple(stage.queue for stage in Stage), processes=1)


@pytest.fixture
def flower(process_settings: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowerContainer]:
    """Flower on the project's app."""
    port = choose_ports(["flower"], {}, DEFAULT_RANGE)["flower"]
    container = FlowerContainer(_APP, port, process_settings, tmp_path_factory.mktemp("flower"))
    try:
        container.start()
        container.ready()
        yield container
    finally:
        container.teardown()


def test_the_five_stages_are_registered_each_on_its_queue(celery_setup: ProjectTestSetup) -> None:
    # when the worker is asked what it works
    name = celery_setup.worker.hostname()
    inspect = celery_setup.app.control.inspect([name], timeout=_ANSWER_SECONDS, limit=1)
    registered, active = inspect.registered()[name], inspect.active_queues()[name]
    # then it has a task for every stage, and consumes its queue by the stage's routing keys
    stages = ["intake", "triage", "policy", "playbook", "tool"]
    assert {f"tasks.{stage}" for stage in stages} <= set(registered)
    bindings = {
        queue["name"]: (queue["exchange"]["name"], queue["exchange"]["type"], queue["routing_key"]) for queue in active
    }
    assert bindings == {stage: ("exceptions", "topic", f"{stage}.#") for stage in stages}


@pytest.mark.parametrize(
    "argument", [{"not": "a batch"}, "nonsense", {"lane": 0, "batch": "b", "references": [["tenant", "no-uuid", 1, 0]]}]
)
def test_a_poison_message_fails_clearly_and_the_worker_goes_on(
    celery_setup: ProjectTestSetup, argument: object
) -> None:
    # when something that is no batch comes to intake, and a batch right behind it in the same partition
    worker, key = celery_setup.worker, "intake.7"
    pid = worker.container.pid
    poison = _send_to_intake(celery_setup, argument, key)
    batch = _send_to_intake(celery_setup, to_message(Batch((_UNKNOWN,), lane=7, batch_id="b")), key)
    # then the log says what was wrong with the first
    worker.assert_log_exists(f"Task tasks.intake[{poison}] raised unexpected: BatchUnreadableError(")
    assert "this message is not a batch of references" in worker.logs()
    # and the same worker works the second
    worker.assert_log_exists(f"Task tasks.intake[{batch}] succeeded")
    assert (worker.container.status, worker.container.pid) == ("running", pid)


def test_flower_shows_the_worker_and_a_finished_task_for_what_it_is(
    celery_setup: ProjectTestSetup, flower: FlowerContainer
) -> None:
    # given a Flower that sees the worker
    name = celery_setup.worker.hostname()

    def offline() -> str | None:
        workers = flower.get("/api/workers?status=true")
        return None if workers.get(name) else f"it shows {workers}"

    wait_until(offline, "the worker in Flower", _SEEN_SECONDS)
    # when a batch is dispatched
    ChainSender(celery_setup.app).send(Batch((_UNKNOWN,), lane=11, batch_id="b"), Stage.INTAKE)

    # then Flower tells that it succeeded, and how many exceptions it was, in which lane and of which tenants
    def unfinished() -> str | None:
        tasks = [task for task in flower.get("/api/tasks").values() if "lane 11" in (task["args"] or "")]
        done = [task["args"] for task in tasks if (task["name"], task["state"]) == ("tasks.intake", "SUCCESS")]
        return None if done == ["(1 exception, lane 11, nobody)"] else f"it shows {tasks}"

    wait_until(unfinished, "the task in Flower", _SEEN_SECONDS)


def _send_to_intake(setup: ProjectTestSetup, argument: object, routing_key: str) -> str:
    """Send the argument as any Celery client could, past the checks of the project's own sender. Returns the id."""
    options = {"queue": Stage.INTAKE.queue, "exchange": EXCHANGE.name, "routing_key": routing_key}
    return str(setup.app.send_task("tasks.intake", args=(argument,), **options).id)
