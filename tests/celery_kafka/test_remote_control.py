"""Remote control through Kafka's broadcasts: what `celery inspect` and `celery control` do."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from celery.app.control import Inspect
from celery.exceptions import TaskRevokedError

from service.devstack.waiting import wait_until
from tests.celery_kafka.api.process import PROJECT
from tests.celery_kafka.observing import Journal
from tests.celery_kafka.vendors.redis import RedisContainer
from tests.celery_kafka.vendors.setup import RESULT_SECONDS, KafkaTestSetup
from tests.celery_kafka.vendors.worker import WorkerOptions

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

_ANSWER_SECONDS = 20


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


def _celery(setup: KafkaTestSetup, *arguments: str) -> str:
    """What a `celery` command with the worker's settings prints."""
    command = (sys.executable, "-m", "celery", "-A", "tests.celery_kafka.apps.work", *arguments)
    environment = {**os.environ, **setup.worker.container.spec.environment}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def test_a_rate_limit_spreads_tasks_out(celery_setup: KafkaTestSetup) -> None:
    # given a task that may run four times a second
    _control(celery_setup, "rate_limit", task_name="work.note", rate_limit="4/s")
    # when more of it are sent at once
    sent = [celery_setup.call("note", "limited").apply_async() for _ in range(6)]
    began = sorted(result.get(timeout=RESULT_SECONDS) for result in sent)
    _control(celery_setup, "rate_limit", task_name="work.note", rate_limit=None)
    # then they take their time; the first may use up what was saved
    assert began[-1] - began[0] >= 1.0


def test_what_runs_and_what_waits_can_be_inspected(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given a running task, one that waits for it, and one that is due in an hour
    journal, name = Journal(redis_container), celery_setup.worker.hostname()
    running = celery_setup.call("hold", "seen", 60).apply_async()
    journal.wait_for_begin("seen")
    waiting = celery_setup.call("add", 1, 1).apply_async()
    later = celery_setup.call("add", 1, 1).apply_async(countdown=3600)
    # then the worker knows the first two, and the third waits in Kafka rather than here
    inspect = _inspect(celery_setup)
    wait_until(lambda: None if inspect.reserved()[name] else "nothing is reserved", "the waiting task", 40)
    assert [task["id"] for task in inspect.active()[name]] == [running.id]
    assert [task["id"] for task in inspect.reserved()[name]] == [waiting.id]
    assert inspect.scheduled()[name] == []
    told = inspect.query_task(running.id, waiting.id, later.id)[name]
    assert {task: state for task, (state, _) in told.items()} == {running.id: "active", waiting.id: "reserved"}
    # and says how it is set up
    stats = inspect.stats()[name]
    assert stats["broker"]["transport"] == "service.transport:Transport"
    assert stats["pool"]["max-concurrency"] == 1
    assert inspect.conf()[name]["task_acks_late"] is True
    journal.let_go("seen")
    assert waiting.get(timeout=RESULT_SECONDS) == 2


def test_the_pool_grows_and_shrinks(celery_setup: KafkaTestSetup, redis_container: RedisContainer) -> None:
    # given a worker with one process, which is busy
    journal = Journal(redis_container)
    held = [celery_setup.call("hold", "side by side", 60).apply_async() for _ in range(2)]
    journal.wait_for_begin("side by side")
    # when it gets another process
    assert "ok" in _control(celery_setup, "pool_grow", n=1)
    # then the second task runs beside the first
    journal.wait_for_begin("side by side", times=2)
    for _ in held:
        journal.let_go("side by side")
    assert sorted(result.get(timeout=RESULT_SECONDS) for result in held) == [1, 2]
    # and it can be taken away again
    assert "ok" in _control(celery_setup, "pool_shrink", n=1)
    name = celery_setup.worker.hostname()
    assert _inspect(celery_setup).stats()[name]["pool"]["max-concurrency"] == 1
    assert celery_setup.call("add", 3, 4).apply_async().get(timeout=RESULT_SECONDS) == 7


def test_a_queue_is_taken_on_and_given_up(celery_setup: KafkaTestSetup, redis_container: RedisContainer) -> None:
    # given a task in a queue that no worker serves
    journal = Journal(redis_container)
    spare = celery_setup.call("note", "spare").apply_async(queue="spare")
    # when the worker is told to serve it, then the task runs
    assert "ok" in _control(celery_setup, "add_consumer", queue="spare")
    spare.get(timeout=RESULT_SECONDS)
    # when it is told not to any more, then the next one waits, and other queues are served
    assert "ok" in _control(celery_setup, "cancel_consumer", queue="spare")
    left = celery_setup.call("note", "spare").apply_async(queue="spare")
    assert celery_setup.call("add", 3, 4).apply_async().get(timeout=RESULT_SECONDS) == 7
    assert journal.begun("spare") == 1
    # until it serves the queue again
    assert "ok" in _control(celery_setup, "add_consumer", queue="spare")
    left.get(timeout=RESULT_SECONDS)
    _control(celery_setup, "cancel_consumer", queue="spare")


def test_purge_deletes_what_waits(celery_setup: KafkaTestSetup, redis_container: RedisContainer) -> None:
    # given three tasks that nobody works
    for _ in range(3):
        celery_setup.call("note", "litter").apply_async(queue="litter")
    # when an operator purges their queue
    assert "3 messages" in _celery(celery_setup, "purge", "-f", "-Q", "litter")
    # then a worker that serves it finds only what came after
    after = celery_setup.call("note", "after").apply_async(queue="litter")
    _control(celery_setup, "add_consumer", queue="litter")
    after.get(timeout=RESULT_SECONDS)
    assert Journal(redis_container).begun("litter") == 0
    _control(celery_setup, "cancel_consumer", queue="litter")


def test_a_task_revoked_while_it_waits_for_its_time_never_runs(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given two tasks that wait in Kafka for the same moment
    journal = Journal(redis_container)
    unwanted = celery_setup.call("note", "revoked in time").apply_async(countdown=2)
    wanted = celery_setup.call("note", "on time").apply_async(countdown=2)
    # when one of them is revoked before it is due
    assert "ok" in _control(celery_setup, "revoke", task_id=unwanted.id)
    assert unwanted.id in _inspect(celery_setup).revoked()[celery_setup.worker.hostname()]
    # then only the other one runs
    wanted.get(timeout=RESULT_SECONDS)
    with pytest.raises(TaskRevokedError):
        unwanted.get(timeout=RESULT_SECONDS)
    assert journal.begun("revoked in time") == 0


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
