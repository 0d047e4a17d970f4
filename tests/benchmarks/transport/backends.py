"""The three brokers that are compared: their settings, filling a queue fast, and removing what was made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psutil
from celery import Celery
from celery.utils import uuid
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from kombu.utils.json import dumps
from redis import Redis

PARTITIONS = 8
_COMMON = {
    "task_acks_late": True,
    "task_ignore_result": True,
    "worker_prefetch_multiplier": 4,
    "worker_hijack_root_logger": True,
    "broker_connection_retry_on_startup": True,
}
_FILL_AT_ONCE = 1000
_REQUEST_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Services:
    """Where the brokers are."""

    kafka: str
    redis: str


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to run Celery, in a corner of the broker that belongs to one measurement."""

    name: str
    services: Services
    prefix: str
    partitions: int = PARTITIONS

    def settings(self) -> dict[str, Any]:
        """Celery's settings, JSON-ready. The same for all but the broker; what a broker cannot is switched off."""
        if self.name == "redis":
            options: dict[str, Any] = {"global_keyprefix": self.prefix}
            return {**_COMMON, "broker_url": self.services.redis, "broker_transport_options": options}
        if self.name == "ours":
            options = {"topic_prefix": self.prefix, "group_id": f"{self.prefix}g", "partitions": self.partitions}
            url = f"kafka://{self.services.kafka}//"
            transport = {"broker_transport": "service.transport:Transport", "broker_transport_options": options}
            return {**_COMMON, "broker_url": url, **transport}
        # It has no fanout, so a worker with remote control would not start its consumer.
        return {
            **_COMMON,
            "broker_url": f"confluentkafka://{self.services.kafka}//",
            "broker_transport_options": {"num_partitions": self.partitions},
            "worker_enable_remote_control": False,
        }

    def fill(self, app: Celery, queue: str, numbers: range, task: str = "bench.noop", countdown: float = 0) -> float:
        """Put tasks into a queue as fast as the broker allows; return the seconds it took.

        The messages are what ``apply_async`` would have sent. Redis and this transport take kombu's batches; the stock
        transport has none, so its messages are handed to a producer of ours.
        """
        begun = time.monotonic()
        eta = (datetime.now(UTC) + timedelta(seconds=countdown)).isoformat() if countdown else None
        with app.connection_for_write() as connection:
            producer = app.amqp.Producer(connection, auto_declare=False)
            app.amqp.queues[queue](producer.channel).declare()
            if self.name == "stock":
                self._fill_stock(app, producer, queue, numbers, task, eta)
            else:
                with producer.batch(max_size=_FILL_AT_ONCE):
                    for number in numbers:
                        headers, properties, body = _message(app, task, number, eta)
                        producer.publish(body, queue, headers=headers, serializer="json", **properties)
        return time.monotonic() - begun

    def _fill_stock(self, app: Celery, producer: Any, queue: str, numbers: range, task: str, eta: str | None) -> None:
        kafka = Producer({"bootstrap.servers": self.services.kafka, "linger.ms": 5})
        kafka.list_topics(queue, timeout=_REQUEST_SECONDS)
        for number in numbers:
            headers, properties, body = _message(app, task, number, eta)
            content, kind, encoding = producer._prepare(body, "json")[0], "application/json", "utf-8"
            message = producer.channel.prepare_message(content, 0, kind, encoding, headers, {**properties})
            message["properties"]["delivery_mode"] = 2
            producer.channel._inplace_augment_message(message, "", queue)
            while True:
                try:
                    kafka.produce(queue, dumps(message).encode())
                    break
                except BufferError:
                    kafka.poll(0.1)
        assert kafka.flush(60) == 0, "Kafka did not take the messages within a minute"

    def remove(self) -> None:
        """Delete what the measurement made. Its workers have ended."""
        if self.name == "redis":
            with Redis.from_url(self.services.redis, socket_timeout=_REQUEST_SECONDS) as client:
                for key in client.scan_iter(f"{self.prefix}*", count=500):
                    client.delete(key)
            return
        admin = AdminClient({"bootstrap.servers": self.services.kafka})
        topics = [name for name in admin.list_topics(timeout=_REQUEST_SECONDS).topics if name.startswith(self.prefix)]
        if topics:
            for deleted in admin.delete_topics(topics, request_timeout=_REQUEST_SECONDS).values():
                try:
                    deleted.result()
                except KafkaException:
                    """It was not fully made; what is left is empty."""

    def broker_process(self) -> psutil.Process | None:
        """The broker's process where it runs on this machine, else None."""
        port = (
            urlsplit(self.services.redis).port if self.name == "redis" else int(self.services.kafka.rpartition(":")[2])
        )
        try:
            listening = psutil.net_connections("tcp")
        except psutil.AccessDenied:
            return None
        pids = [found.pid for found in listening if found.status == psutil.CONN_LISTEN and found.laddr.port == port]
        return psutil.Process(pids[0]) if pids and pids[0] else None


def _message(app: Celery, task: str, number: int, eta: str | None) -> tuple[dict[str, Any], Mapping[str, Any], Any]:
    arguments = (number,) if task == "bench.noop" else ()
    made = app.amqp.as_task_v2(uuid(), task, args=arguments, kwargs={}, eta=eta)
    return dict(made.headers), dict(made.properties), made.body
