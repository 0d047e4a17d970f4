"""Remote control through Kafka's broadcasts: what `celery inspect` and `celery control` do."""

from __future__ import annotations

from typing import Any

import pytest
from celery.app.control import Inspect
from celery.exceptions import TaskRevokedError

from tests.celery_kafka.observing import Journal
from tests.celery_kafka.vendors.redis import RedisContainer
from tests.celery_kafka.vendors.setup import RESULT_SECONDS, KafkaTestSetup
from tests.celery_kafka.vendors.worker import WorkerOptions

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

_ANSWER_SECONDS = 10


@pytest.fixture(scope="module")
def worker_options() -> WorkerOptions:
    """One pool process, so that a second task has to wait for the first."""
    return WorkerOptions(processes=1)


def _inspect(setup: KafkaTestSetup) -> Inspect:
    """An inspection that returns with the worker's answer rather than after the whole timeout."""
    return setup.app.control.inspect([setup.worker.hostname()], timeout=_ANSWER_SECONDS, limit=1)


def _control(setup: KafkaTestSetup, command: str, **arguments: Any) -> Any:
    """What the worker answers to a control command."""
    destination = [setup.worker.hostname()]
    options = {"reply": True, "timeout": _ANSWER_SECONDS, "limit": 1}
    answers = setup.app.control.broadcast(command, arguments=arguments, destination=destination, **options)
    assert len(answers) == 1, f"{len(answers)} answers to {command}"
    return answers[0][setup.worker.hostname()]


def test_the_worker_answers_a_ping(celery_setup: KafkaTestSetup) -> None:
    assert _inspect(celery_setup).ping() == {celery_setup.worker.hostname(): {"ok": "pong"}}


def test_the_worker_tells_its_tasks_and_queues(celery_setup: KafkaTestSetup) -> None:
    name = celery_setup.worker.hostname()
    assert {"work.add", "work.hold", "work.step"} <= set(_inspect(celery_setup).registered()[name])
    assert {queue["name"] for queue in _inspect(celery_setup).active_queues()[name]} == {"celery", "first", "second"}


def test_a_rate_limit_is_taken_over(celery_setup: KafkaTestSetup) -> None:
    # when a task is limited from outside
    answer = _control(celery_setup, "rate_limit", task_name="work.who", rate_limit="7/s")
    # then the worker says so, at once and when asked
    assert "ok" in answer
    registered = _inspect(celery_setup).registered("rate_limit")[celery_setup.worker.hostname()]
    assert "work.who [rate_limit=7/s]" in registered


def test_a_task_revoked_while_it_waits_never_runs(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given a task that keeps the only process busy, and one behind it
    journal = Journal(redis_container)
    running = celery_setup.call("hold", "busy", 30).apply_async()
    journal.wait_for_begin("busy")
    waiting = celery_setup.call("hold", "unwanted", 30).apply_async()
    # when the one behind is revoked before its turn
    assert "ok" in _control(celery_setup, "revoke", task_id=waiting.id)
    journal.let_go("busy")
    # then it never begins, its caller is told, and the first one is not touched
    assert running.get(timeout=RESULT_SECONDS) == 1
    with pytest.raises(TaskRevokedError):
        waiting.get(timeout=RESULT_SECONDS)
    assert journal.begun("unwanted") == 0


def test_a_running_task_is_ended_by_terminate(celery_setup: KafkaTestSetup, redis_container: RedisContainer) -> None:
    # given a running task
    journal = Journal(redis_container)
    running = celery_setup.call("hold", "endless", 60).apply_async()
    journal.wait_for_begin("endless")
    # when it is terminated
    assert "ok" in _control(celery_setup, "revoke", task_id=running.id, terminate=True, signal="SIGKILL")
    # then its caller is told, and the worker has a new process for the next task
    with pytest.raises(TaskRevokedError):
        running.get(timeout=RESULT_SECONDS)
    assert celery_setup.call("add", 5, 5).apply_async().get(timeout=RESULT_SECONDS) == 10
    assert journal.begun("endless") == 1


def test_shutdown_ends_the_worker_cleanly(celery_setup: KafkaTestSetup) -> None:
    # when the worker is told to shut down
    celery_setup.app.control.shutdown(destination=[celery_setup.worker.hostname()])
    # then its process ends by itself, without an error
    assert celery_setup.worker.container.wait() == 0
    assert celery_setup.worker.container.status == "exited"
    # and what is sent meanwhile waits for the next worker
    result = celery_setup.call("add", 6, 6).apply_async()
    celery_setup.worker.restart()
    assert result.get(timeout=RESULT_SECONDS) == 12
