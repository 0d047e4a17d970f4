"""A worker with threads, without remote control, whose results come back as messages (`rpc://`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from celery import Celery, chain, group

from tests.celery_kafka.namespace import Namespace
from tests.celery_kafka.vendors.kafka import KafkaContainer
from tests.celery_kafka.vendors.redis import RedisContainer
from tests.celery_kafka.vendors.setup import RESULT_SECONDS, KafkaTestSetup, service_settings
from tests.celery_kafka.vendors.worker import WorkerOptions

pytestmark = [pytest.mark.kafka, pytest.mark.stack]


class RpcTestSetup(KafkaTestSetup):
    """A client that gets its results as messages."""

    @classmethod
    def update_app_config(cls, app: Celery) -> None:
        """Results come over the broker."""
        super().update_app_config(app)
        app.conf.result_backend = "rpc://"

    def teardown(self) -> None:
        """The results' consumer uses the broker; there is no Redis to close."""
        self.app.backend.result_consumer.stop()
        self.close_pools()


@pytest.fixture
def celery_setup_cls() -> type[RpcTestSetup]:
    """Results as messages."""
    return RpcTestSetup


@pytest.fixture(scope="module")
def worker_options() -> WorkerOptions:
    """Three threads."""
    return WorkerOptions(processes=3, arguments=("-P", "threads"))


@pytest.fixture(scope="module")
def process_settings(kafka_container: KafkaContainer, redis_container: RedisContainer) -> Mapping[str, Any]:
    """Results as messages, and no remote control. The tasks' journal stays in Redis."""
    settings = service_settings(kafka_container, redis_container)
    return {
        **settings,
        "journal_url": settings["result_backend"],
        "result_backend": "rpc://",
        "worker_enable_remote_control": False,
    }


def test_results_come_back_as_messages(celery_setup: RpcTestSetup) -> None:
    results = [celery_setup.call("add", n, n).apply_async() for n in range(10)]
    assert [result.get(timeout=RESULT_SECONDS) for result in results] == [2 * n for n in range(10)]


def test_an_error_comes_back_as_a_message(celery_setup: RpcTestSetup) -> None:
    result = celery_setup.call("fail", "no such account").apply_async()
    with pytest.raises(ValueError, match="no such account"):
        result.get(timeout=RESULT_SECONDS)


def test_groups_and_chains_give_their_results(celery_setup: RpcTestSetup) -> None:
    together = group(celery_setup.call("add", n, 1) for n in range(5)).apply_async()
    in_a_row = chain(celery_setup.call("add", 1, 1), celery_setup.call("add", 10)).apply_async()
    assert together.get(timeout=RESULT_SECONDS) == [1, 2, 3, 4, 5]
    assert in_a_row.get(timeout=RESULT_SECONDS) == 12


def test_a_retry_waits_its_countdown_in_a_thread_pool_too(celery_setup: RpcTestSetup) -> None:
    began = celery_setup.call("keep_failing", 1, 0.6).apply_async().get(timeout=RESULT_SECONDS)
    assert len(began) == 2
    assert began[1] - began[0] >= 0.6


def test_no_worker_listens_to_control(
    celery_setup: RpcTestSetup, kafka_container: KafkaContainer, namespace: Namespace
) -> None:
    # given a worker that is at work
    assert celery_setup.call("add", 1, 2).apply_async().get(timeout=RESULT_SECONDS) == 3
    # then it has no topic for its control commands
    topics = kafka_container.client.list_topics(timeout=10).topics
    assert not [name for name in topics if name.startswith(namespace.prefix) and "pidbox" in name]
