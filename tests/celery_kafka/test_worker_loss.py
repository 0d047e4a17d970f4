"""A worker that dies takes no task with it."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.celery_kafka.observing import Journal
from tests.celery_kafka.vendors.kafka import KafkaContainer
from tests.celery_kafka.vendors.redis import RedisContainer
from tests.celery_kafka.vendors.setup import RESULT_SECONDS, KafkaTestSetup, service_settings

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

_SOFT_SHUTDOWN_SECONDS = 3
_SEVERAL_COMMITS = 1.0
"""Seconds; the transport commits ten times in it."""


@pytest.fixture(scope="module")
def process_settings(kafka_container: KafkaContainer, redis_container: RedisContainer) -> Mapping[str, Any]:
    """Workers give their tasks some time when they are told to quit."""
    settings = service_settings(kafka_container, redis_container)
    return {**settings, "worker_soft_shutdown_timeout": _SOFT_SHUTDOWN_SECONDS}


def test_a_task_whose_worker_was_killed_runs_to_its_end_after_the_restart(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given a late-acknowledged task in the middle of its work, while others finish for long enough to be committed
    journal = Journal(redis_container)
    held = celery_setup.call("hold", "survivor", 60).apply_async()
    journal.wait_for_begin("survivor")
    _work_for(celery_setup, _SEVERAL_COMMITS)
    # when the worker is killed, something more is sent, and the worker comes back
    celery_setup.worker.kill("SIGKILL")
    assert celery_setup.worker.container.exit_code == -signal.SIGKILL
    behind = [celery_setup.call("add", n, 0).apply_async() for n in range(10)]
    celery_setup.worker.restart()
    # then the task is begun again and ends, and nothing behind it was lost
    journal.wait_for_begin("survivor", times=2)
    journal.let_go("survivor")
    assert held.get(timeout=RESULT_SECONDS) == 2
    assert [result.get(timeout=RESULT_SECONDS) for result in behind] == list(range(10))


def test_a_task_acknowledged_early_is_not_run_again_after_a_kill(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given a task that is acknowledged before it runs, for long enough that the acknowledgement is committed
    journal = Journal(redis_container)
    celery_setup.call("hold_early", "careless", 60).apply_async()
    journal.wait_for_begin("careless")
    _work_for(celery_setup, _SEVERAL_COMMITS)
    # when its worker is killed and comes back, and works what was sent to every partition
    celery_setup.worker.kill("SIGKILL")
    behind = [celery_setup.call("add", n, 0).apply_async() for n in range(20)]
    celery_setup.worker.restart()
    assert [result.get(timeout=RESULT_SECONDS) for result in behind] == list(range(20))
    # then that task is not run again: this is what early acknowledgement means
    assert journal.begun("careless") == 1


def test_a_soft_shutdown_gives_running_tasks_its_time(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given a task in the middle of its work
    journal = Journal(redis_container)
    held = celery_setup.call("hold", "hurried", 60).apply_async()
    journal.wait_for_begin("hurried")
    # when the worker is told to quit, and the task finishes within the time of the soft shutdown
    celery_setup.worker.kill("SIGQUIT")
    celery_setup.worker.wait_for_log("Initiating Soft Shutdown")
    journal.let_go("hurried")
    # then it has its result, and the worker ends
    assert held.get(timeout=RESULT_SECONDS) == 1
    celery_setup.worker.container.wait(_SOFT_SHUTDOWN_SECONDS + 10)


def test_a_worker_told_to_stop_finishes_what_it_is_doing(
    celery_setup: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given a task in the middle of its work
    journal = Journal(redis_container)
    held = celery_setup.call("hold", "polite", 60).apply_async()
    journal.wait_for_begin("polite")
    # when the worker gets SIGTERM, and the task can finish only after that
    celery_setup.worker.kill("SIGTERM")
    celery_setup.worker.wait_for_log("Warm shutdown")
    journal.let_go("polite")
    # then the worker ends without an error, and the task was run once
    assert celery_setup.worker.container.wait() == 0
    assert held.get(timeout=RESULT_SECONDS) == 1
    assert journal.begun("polite") == 1


def _work_for(setup: KafkaTestSetup, seconds: float) -> None:
    """Have the worker finish one task after the other."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        setup.call("add", 1, 1).apply_async().get(timeout=RESULT_SECONDS)
