"""Pools that change: they grow under load, and processes are replaced. And what a worker remembers over a restart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import pytest
from celery.exceptions import TaskRevokedError

from service.devstack.waiting import wait_until
from tests.celery_kafka.observing import Journal
from tests.celery_kafka.vendors.redis import RedisContainer
from tests.celery_kafka.vendors.setup import RESULT_SECONDS, KafkaTestSetup
from tests.celery_kafka.vendors.worker import WorkerOptions

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

_MOST = 3
_TASKS_PER_PROCESS = 4
_MEMORY_KIB = 400_000
_SHRINK_SECONDS = 60
_ANSWER_SECONDS = 20


@pytest.fixture(scope="module")
def worker_options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerOptions]:
    """One process that may become three, each for four tasks or 400 MB; revoked tasks are remembered in a file."""
    state = tmp_path_factory.mktemp("state") / "worker"
    limits = (f"--max-tasks-per-child={_TASKS_PER_PROCESS}", f"--max-memory-per-child={_MEMORY_KIB}")
    with pytest.MonkeyPatch.context() as environment:
        # Celery's name for how long a pool keeps processes that it does not need; half a minute otherwise.
        environment.setenv("AUTOSCALE_KEEPALIVE", "2")
        yield WorkerOptions(processes=1, arguments=(f"--autoscale={_MOST},1", f"--statedb={state}", *limits))


def _processes(setup: KafkaTestSetup) -> list[int]:
    name = setup.worker.hostname()
    inspect = setup.app.control.inspect([name], timeout=_ANSWER_SECONDS, limit=1)
    processes: list[int] = inspect.stats()[name]["pool"]["processes"]
    return processes


def test_a_process_is_replaced_after_its_tasks(celery_setup: KafkaTestSetup) -> None:
    # when tasks are sent one after the other, so that the pool need not grow
    done = [celery_setup.call("process").apply_async().get(timeout=RESULT_SECONDS) for _ in range(10)]
    # then no process worked more than its share, and each task was worked
    shares = [len(list(tasks)) for _, tasks in groupby(done)]
    assert len(shares) >= 3
    assert max(shares) <= _TASKS_PER_PROCESS


def test_a_process_that_grew_too_large_is_replaced(celery_setup: KafkaTestSetup) -> None:
    # given a task that takes more memory than a process may have, worked by a process that is new
    older = set(_processes(celery_setup))
    while (process := celery_setup.call("process", 450).apply_async().get(timeout=RESULT_SECONDS)) in older:
        continue
    # when as many tasks follow as all processes together could work
    later = [celery_setup.call("process").apply_async().get(timeout=RESULT_SECONDS) for _ in range(2 * _MOST)]
    # then none was worked by that process
    assert process not in later


def test_the_pool_grows_under_load_and_shrinks_after_it(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # when three tasks are there at once
    journal = Journal(redis_container)
    held = [celery_setup.call("hold", "load", 60).apply_async() for _ in range(_MOST)]
    # then they run side by side
    journal.wait_for_begin("load", times=_MOST)
    assert len(_processes(celery_setup)) == _MOST
    # when they are done
    for _ in held:
        journal.let_go("load")
    assert sorted(result.get(timeout=RESULT_SECONDS) for result in held) == [1, 2, 3]
    # then the pool becomes small again, and works
    wait_until(
        lambda: None if len(_processes(celery_setup)) == 1 else "it has several processes", "the pool", _SHRINK_SECONDS
    )
    assert celery_setup.call("add", 2, 2).apply_async().get(timeout=RESULT_SECONDS) == 4


def test_a_revoked_task_that_waits_for_its_time_stays_revoked_over_a_restart(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given a task that waits in Kafka, and was revoked
    journal, name = Journal(redis_container), celery_setup.worker.hostname()
    unwanted = celery_setup.call("note", "revoked before").apply_async(countdown=4)
    answer = celery_setup.app.control.revoke(unwanted.id, destination=[name], reply=True, timeout=_ANSWER_SECONDS)
    assert "ok" in answer[0][name]
    # when its worker is restarted before the task is due
    celery_setup.worker.restart()
    # then the task does not run, and its caller is told
    with pytest.raises(TaskRevokedError):
        unwanted.get(timeout=RESULT_SECONDS)
    assert journal.begun("revoked before") == 0
