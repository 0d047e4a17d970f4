"""pytest-celery's setup over Kafka and Redis: one configuration for the test's app and for its workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery
from celery.canvas import Signature
from kombu import Queue, pools
from kombu.utils.collections import eqhash
from pytest_celery import CeleryTestSetup

from tests.celery_kafka.apps.topology import QUEUES
from tests.celery_kafka.vendors.kafka import TRANSPORT_SETTINGS, KafkaContainer, transport_config
from tests.celery_kafka.vendors.redis import RedisContainer

RESULT_SECONDS = 60


class KafkaTestSetup(CeleryTestSetup):
    """The setup of tests that use the test application `tests.celery_kafka.apps.work`."""

    queues: Iterable[Queue] = QUEUES

    @classmethod
    def config(cls, celery_worker_cluster_config: dict[str, Any]) -> dict[str, Any]:
        """As the base class's, with what the Kafka and Redis clusters add."""
        urls: dict[str, Any] = super().config(celery_worker_cluster_config)
        broker = celery_worker_cluster_config["celery_broker_cluster_config"]
        backend = celery_worker_cluster_config["celery_backend_cluster_config"]
        return _with_options(urls, {name: broker[name] for name in TRANSPORT_SETTINGS}, backend["key_prefix"])

    @classmethod
    def update_app_config(cls, app: Celery) -> None:
        """The queues, which a publisher must know as well as the workers."""
        app.conf.task_queues = cls.queues

    def call(self, name: str, *args: Any, **options: Any) -> Signature:
        """A signature of the test application's task `name`. `options` are `queue`, `routing_key`, …"""
        return self.app.signature(f"work.{name}", args=args, options=options)

    def teardown(self) -> None:
        """Close what the test's app opened. kombu shares pools between equal apps: these leave its registry."""
        self.app.backend.result_consumer.stop()
        self.app.backend.client.close()
        self.close_pools()

    def close_pools(self) -> None:
        """Close the app's connections to the broker."""
        connection = eqhash(self.app.connection_for_write())
        pools.producers.pop(connection, None)
        opened = pools.connections.pop(connection, None)
        if opened is not None:
            opened.force_close_all()
        self.app.close()


def service_settings(kafka: KafkaContainer, redis: RedisContainer) -> dict[str, Any]:
    """Celery settings, JSON-ready, of processes that use the two services."""
    broker, backend = kafka.celeryconfig, redis.celeryconfig
    urls = {"broker_url": broker["url"], "result_backend": backend["url"]}
    return _with_options(urls, transport_config(broker), backend["key_prefix"])


def _with_options(urls: Mapping[str, Any], transport: Mapping[str, Any], key_prefix: str) -> dict[str, Any]:
    return {
        **urls,
        **transport,
        "broker_connection_retry_on_startup": True,
        "result_backend_transport_options": {"global_keyprefix": key_prefix},
    }
