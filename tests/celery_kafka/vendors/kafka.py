"""The stack's Kafka as pytest-celery's broker."""

from __future__ import annotations

from typing import Any

from confluent_kafka.admin import AdminClient
from pytest_celery import CeleryBrokerCluster, CeleryTestBroker

from tests.celery_kafka.api.process import ServiceContainer
from tests.celery_kafka.namespace import Namespace

_REQUEST_SECONDS = 15
TRANSPORT_SETTINGS = ("broker_transport", "broker_transport_options")
"""Celery settings that make it talk Kafka."""
_PARTITIONS = 4
"""More than the worker processes of any test, and quick to create."""


class KafkaContainer(ServiceContainer):
    """A Kafka that is up, seen through one namespace."""

    def __init__(self, bootstrap_servers: str, namespace: Namespace) -> None:
        url = f"kafka://{bootstrap_servers.split(',')[0]}//"
        options = {
            "bootstrap_servers": bootstrap_servers,
            "topic_prefix": namespace.prefix,
            "group_id": namespace.group_id,
            "partitions": _PARTITIONS,
        }
        super().__init__("kafka", {"url": url, "host_url": url, "transport_options": options})
        self._bootstrap_servers = bootstrap_servers
        self._namespace = namespace

    @property
    def client(self) -> AdminClient:
        """A new administrative client."""
        return AdminClient({"bootstrap.servers": self._bootstrap_servers})

    def ready(self) -> bool:
        """Ask for the cluster's metadata; raises KafkaException when nobody answers."""
        return bool(self.client.list_topics(timeout=_REQUEST_SECONDS).brokers)

    def teardown(self) -> None:
        """Delete what the namespace made."""
        self._namespace.remove_from_kafka(self._bootstrap_servers)


class KafkaTestBroker(CeleryTestBroker):
    """A broker node over Kafka."""

    def teardown(self) -> None:
        """Nothing: nodes are made for each test, the namespace lives as long as its workers."""


class KafkaBrokerCluster(CeleryBrokerCluster):
    """A broker cluster whose configuration names the transport, for kombu does not know it by its scheme."""

    def config(self, *args: tuple[Any, ...], **kwargs: dict[str, Any]) -> dict[str, Any]:
        """As the base class's, with the transport and its options."""
        return {**super().config(*args, **kwargs), **transport_config(self[0].config())}


def transport_config(broker: dict[str, Any]) -> dict[str, Any]:
    """TRANSPORT_SETTINGS from a container's `celeryconfig`."""
    return {
        "broker_transport": "service.transport:Transport",
        "broker_transport_options": broker["transport_options"],
    }
