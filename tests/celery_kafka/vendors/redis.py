"""The stack's Redis as pytest-celery's result backend, and as the place where test tasks note what they did."""

from __future__ import annotations

from typing import Any

from pytest_celery import CeleryBackendCluster, CeleryTestBackend
from redis import Redis

from tests.celery_kafka.api.process import ServiceContainer
from tests.celery_kafka.namespace import Namespace


class RedisContainer(ServiceContainer):
    """A Redis that is up, seen through one namespace's keys."""

    def __init__(self, url: str, namespace: Namespace) -> None:
        super().__init__("redis", {"url": url, "host_url": url, "key_prefix": namespace.key_prefix})
        self._namespace = namespace
        self.client: Redis = Redis.from_url(url, decode_responses=True)

    def ready(self) -> bool:
        """PING it."""
        return bool(self.client.ping())

    def teardown(self) -> None:
        """Delete the namespace's keys and close the connection."""
        self._namespace.remove_from_redis(self.client)
        self.client.close()


class RedisTestBackend(CeleryTestBackend):
    """A result backend node over Redis."""

    def teardown(self) -> None:
        """Nothing: nodes are made for each test, the namespace lives as long as its workers."""


class RedisBackendCluster(CeleryBackendCluster):
    """A backend cluster whose configuration keeps its keys apart."""

    def config(self, *args: tuple[Any, ...], **kwargs: dict[str, Any]) -> dict[str, Any]:
        """As the base class's, with the prefix of every key."""
        return {**super().config(*args, **kwargs), "key_prefix": self[0].config()["key_prefix"]}
