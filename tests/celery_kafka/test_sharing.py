"""Two workers on the same queues: they share the work, and what belongs together stays in order."""

from __future__ import annotations

from collections import Counter

import pytest
from celery.canvas import Signature
from celery.result import AsyncResult

from service.devstack.waiting import wait_until
from tests.celery_kafka.apps.topology import EXCHANGE
from tests.celery_kafka.observing import Journal
from tests.celery_kafka.vendors.redis import RedisContainer
from tests.celery_kafka.vendors.setup import RESULT_SECONDS, KafkaTestSetup
from tests.celery_kafka.vendors.worker import WorkerOptions

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

_TOGETHER_SECONDS = 30


@pytest.fixture(scope="module")
def worker_names() -> tuple[str, ...]:
    """Two workers."""
    return ("one", "two")


@pytest.fixture(scope="module")
def worker_options() -> WorkerOptions:
    """Both also listen to a broadcast queue."""
    return WorkerOptions(queues=("celery", "first", "second", "news"))


@pytest.fixture
def both_at_work(celery_setup: KafkaTestSetup) -> KafkaTestSetup:
    """The setup once each worker has been given a part of the queue."""
    names = {worker.hostname() for worker in celery_setup.worker_cluster}

    def missing() -> str | None:
        idle = names - set(_who(celery_setup, tasks=16))
        return f"{', '.join(sorted(idle))} did nothing" if idle else None

    wait_until(missing, "both workers", _TOGETHER_SECONDS)
    return celery_setup


def _who(setup: KafkaTestSetup, tasks: int) -> list[str]:
    """Who worked each of so many tasks, every one with a routing key of its own."""
    results = [_send(setup.call("who"), f"task-{n}") for n in range(tasks)]
    return [result.get(timeout=RESULT_SECONDS) for result in results]


def _send(task: Signature, key: str) -> AsyncResult:
    return task.apply_async(queue="first", exchange=EXCHANGE.name, routing_key=f"first.{key}")


def test_two_workers_share_a_queue(both_at_work: KafkaTestSetup) -> None:
    # when many tasks are sent to one queue
    done = Counter(_who(both_at_work, tasks=100))
    # then each was done, and both workers had a good part of them
    assert done.total() == 100
    assert len(done) == 2
    assert min(done.values()) >= 10


def test_tasks_of_one_routing_key_are_worked_one_after_the_other(
    both_at_work: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # given eight keys, and for each a row of tasks that are sent right behind one another
    keys = [f"order-{n}" for n in range(8)]
    steps = [(key, number) for key in keys for number in range(10)]
    sent = [_send(both_at_work.call("step", key, number), key) for key, number in steps]
    # when two workers with two processes each work them
    done = [result.get(timeout=RESULT_SECONDS) for result in sent]
    # then of each key nothing begins before what was sent earlier has ended
    expected = [f"{number} {what}" for number in range(10) for what in ("begins", "ends")]
    journal = Journal(redis_container)
    assert {key: journal.of(key) for key in keys} == dict.fromkeys(keys, expected)
    # and different keys were worked side by side
    assert len({step["worker"] for step in done}) == 2


def test_a_task_in_a_broadcast_queue_is_run_by_every_worker(
    both_at_work: KafkaTestSetup, redis_container: RedisContainer
) -> None:
    # when one task is sent to a queue that every worker has a copy of
    journal = Journal(redis_container)
    both_at_work.call("note", "news").apply_async(queue="news")
    journal.wait_for_begin("news", times=2)
    # then each of the two has run it, once
    assert sorted(journal.workers("news")) == sorted(worker.hostname() for worker in both_at_work.worker_cluster)
