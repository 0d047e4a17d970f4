"""What a task may ask of Celery: limits, expiry, rejection, dying, maps and chunks, a beat that calls it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import chunks, group
from celery.exceptions import TaskRevokedError, TimeLimitExceeded, WorkerLostError

from tests.celery_kafka.namespace import Namespace
from tests.celery_kafka.observing import Journal
from tests.celery_kafka.vendors.beat import BeatContainer
from tests.celery_kafka.vendors.redis import RedisContainer
from tests.celery_kafka.vendors.setup import RESULT_SECONDS, KafkaTestSetup
from tests.stack_fixture import StackUnderTest
from tests.topics import TopicReader

pytestmark = [pytest.mark.kafka, pytest.mark.stack]


@pytest.fixture
def journal(redis_container: RedisContainer) -> Journal:
    """What the tasks note."""
    return Journal(redis_container)


def test_a_soft_time_limit_wakes_a_task_and_a_hard_one_ends_it(celery_setup: KafkaTestSetup) -> None:
    soft = celery_setup.call("nap", 30).apply_async(soft_time_limit=1)
    hard = celery_setup.call("nap", 30).apply_async(time_limit=1)
    assert soft.get(timeout=RESULT_SECONDS) == "woken"
    with pytest.raises(TimeLimitExceeded):
        hard.get(timeout=RESULT_SECONDS)
    # and the next task has a process
    assert celery_setup.call("add", 1, 1).apply_async().get(timeout=RESULT_SECONDS) == 2


def test_a_task_that_expired_does_not_run_and_its_caller_is_told(
    celery_setup: KafkaTestSetup, journal: Journal
) -> None:
    expired = celery_setup.call("note", "stale").apply_async(expires=datetime(2020, 1, 1, tzinfo=UTC))
    in_time = celery_setup.call("note", "fresh").apply_async(expires=600)
    in_time.get(timeout=RESULT_SECONDS)
    with pytest.raises(TaskRevokedError):
        expired.get(timeout=RESULT_SECONDS)
    assert (journal.begun("stale"), journal.begun("fresh")) == (0, 1)


def test_a_task_rejected_with_requeue_comes_again_and_again(celery_setup: KafkaTestSetup) -> None:
    result = celery_setup.call("turn_down", "stubborn", 3, True).apply_async()
    assert result.get(timeout=RESULT_SECONDS) == 4


def test_a_task_rejected_for_good_is_kept_on_the_dead_letter_topic(
    celery_setup: KafkaTestSetup, journal: Journal, stack: StackUnderTest, namespace: Namespace
) -> None:
    # when a task rejects its message without asking for it again
    rejected = celery_setup.call("turn_down", "unwanted", 1, False).apply_async()
    journal.wait_for_begin("unwanted")
    # then the message is kept, with its id and the reason, and it does not run again
    celery_setup.worker.wait_for_log(f"{namespace.prefix}_poison")
    servers = stack.environment["KAFKA_BOOTSTRAP_SERVERS"]
    reader = TopicReader(servers, f"{namespace.prefix}_poison", from_beginning=True)
    kept = reader.wait_for(lambda records: any(record.headers.get("id") == rejected.id for record in records))
    reader.close()
    assert {record.headers["dead-letter-reason"] for record in kept} == {"rejected by the consumer"}
    assert journal.begun("unwanted") == 1


def test_a_task_whose_process_died_runs_again_and_its_group_is_complete(celery_setup: KafkaTestSetup) -> None:
    # when one task of a group kills its pool process, in the midst of the others
    header = [celery_setup.call("add", 1, 1), celery_setup.call("die", "once"), celery_setup.call("add", 2, 2)]
    # then it is delivered again, and the group has every result in its place
    assert group(header).apply_async().get(timeout=RESULT_SECONDS) == [2, 2, 4]


def test_a_task_that_is_not_put_back_tells_that_its_worker_was_lost(
    celery_setup: KafkaTestSetup, journal: Journal
) -> None:
    with pytest.raises(WorkerLostError):
        celery_setup.call("die_for_good", "for good").apply_async().get(timeout=RESULT_SECONDS)
    assert celery_setup.call("add", 1, 2).apply_async().get(timeout=RESULT_SECONDS) == 3
    assert journal.begun("for good") == 1


def test_maps_and_chunks(celery_setup: KafkaTestSetup) -> None:
    add, total = celery_setup.app.signature("work.add"), celery_setup.app.signature("work.total")
    mapped = celery_setup.app.signature("celery.map", kwargs={"task": total, "it": [[1, 2], [3, 4]]})
    starred = celery_setup.app.signature("celery.starmap", kwargs={"task": add, "it": [[1, 2], [3, 4]]})
    assert mapped.apply_async().get(timeout=RESULT_SECONDS) == [3, 7]
    assert starred.apply_async().get(timeout=RESULT_SECONDS) == [3, 7]
    pieces = chunks(add, [(n, n) for n in range(10)], 4, app=celery_setup.app)
    assert pieces.group().apply_async().get(timeout=RESULT_SECONDS) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]


@pytest.fixture
def beat(process_settings: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[BeatContainer]:
    """A beat that notes a tick twice a second."""
    schedule = {"tick": {"task": "work.note", "schedule": 0.5, "args": ["tick"]}}
    container = BeatContainer(process_settings, schedule, tmp_path_factory.mktemp("beat"))
    try:
        container.start()
        yield container
    finally:
        container.teardown()


def test_beat_calls_a_task_again_and_again(celery_setup: KafkaTestSetup, beat: BeatContainer, journal: Journal) -> None:
    journal.wait_for_begin("tick", times=3)
