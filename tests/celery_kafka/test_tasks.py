"""What Celery's users do every day, over Kafka: results, chains, groups, chords, retries and failures.

First the vendor itself: a setup comes up on the stack's services, and no part of it asks for Docker.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from celery import chain, chord, group

from tests.celery_kafka.apps.topology import EXCHANGE
from tests.celery_kafka.vendors.setup import RESULT_SECONDS, KafkaTestSetup

pytestmark = [pytest.mark.kafka, pytest.mark.stack]


def test_a_setup_is_ready_in_every_way_pytest_celery_knows(celery_setup: KafkaTestSetup) -> None:
    # given a broker, a backend and a worker
    assert len(celery_setup) == 3
    # then its services answer, a task comes back and remote control reaches the worker
    assert celery_setup.ready(ping=True, control=True, docker=True)


def test_no_fixture_of_a_setup_needs_docker(celery_setup: KafkaTestSetup, request: pytest.FixtureRequest) -> None:
    assert celery_setup.app is not None
    needed = set(request.fixturenames)
    assert not {name for name in needed if "docker" in name or "network" in name or "image" in name}


def test_a_tasks_result_comes_back(celery_setup: KafkaTestSetup) -> None:
    assert celery_setup.call("add", 2, 3).apply_async().get(timeout=RESULT_SECONDS) == 5


def test_a_tasks_own_error_comes_back(celery_setup: KafkaTestSetup) -> None:
    # when a task raises
    result = celery_setup.call("fail", "no such account").apply_async()
    # then the caller gets its error, and the worker goes on
    with pytest.raises(ValueError, match="no such account"):
        result.get(timeout=RESULT_SECONDS)
    assert celery_setup.call("add", 1, 1).apply_async().get(timeout=RESULT_SECONDS) == 2


def test_a_chain_keeps_its_routing_keys_through_a_topic_exchange(celery_setup: KafkaTestSetup) -> None:
    # given a chain over two queues that a topic exchange binds by `first.#` and `second.#`
    def visit(queue: str, routing_key: str, *args: list[str]) -> object:
        return celery_setup.call("visit", *args, queue=queue, exchange=EXCHANGE.name, routing_key=routing_key)

    # when it is sent
    steps = [visit("first", "first.lane.7", []), visit("second", "second.lane.7"), visit("first", "first.home")]
    result = chain(*steps).apply_async()
    # then each task came by its own routing key, in the chain's order
    assert result.get(timeout=RESULT_SECONDS) == ["first.lane.7", "second.lane.7", "first.home"]


def test_a_groups_results_come_back_in_the_groups_order(celery_setup: KafkaTestSetup) -> None:
    result = group(celery_setup.call("add", n, n) for n in range(20)).apply_async()
    assert result.get(timeout=RESULT_SECONDS) == [2 * n for n in range(20)]


def test_a_chord_runs_its_body_once_everything_before_it_is_done(celery_setup: KafkaTestSetup) -> None:
    result = chord((celery_setup.call("add", n, 1) for n in range(20)), celery_setup.call("total")).apply_async()
    assert result.get(timeout=RESULT_SECONDS) == sum(range(1, 21))


def test_a_retry_comes_after_its_countdown(celery_setup: KafkaTestSetup) -> None:
    # when a task fails twice and asks to be tried again 0.6 s later, which is long enough for a delay topic
    began = celery_setup.call("keep_failing", 2, 0.6).apply_async().get(timeout=RESULT_SECONDS)
    # then it ran three times, never too early
    assert len(began) == 3
    assert all(later - earlier >= 0.6 for earlier, later in pairwise(began))
