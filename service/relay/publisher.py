"""Producing to Kafka: pipelined, in order per key, and confirmed by one wait per window.

A record is never given up by the client (`message.timeout.ms=0`), because giving up one and delivering the
next would break the order of its exception. When Kafka stays away, or refuses, the whole publisher is
abandoned; the window is published again from its beginning by a new one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from threading import Event
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from service.errors import InfrastructureUnavailableError
from service.relay.cloudevents import Record

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0
"""How long Kafka may confirm nothing before the window is abandoned."""

GRACE_SECONDS = 3.0
"""How long a stopping relay waits for the confirmation of what it sent."""

_PRODUCER = {
    "client.id": "sentinai-relay",
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": 0,
    "linger.ms": 10,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
    "reconnect.backoff.max.ms": 1_000,
    "delivery.report.only.error": True,
    # Its own lines about every refused connection would fill the log; error_cb keeps the last, for our message.
    "log_level": 2,
    # As Java clients do it, so that consumers may join by key.
    "partitioner": "murmur2_random",
}
_SERVE_EVERY = 500
_WAIT_SECONDS = 0.1


class KafkaUnavailableError(InfrastructureUnavailableError):
    """Kafka did not confirm."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"Kafka did not confirm ({cause}); check KAFKA_BOOTSTRAP_SERVERS and that the brokers run")


class StoppedError(Exception):
    """The relay was told to stop before everything was confirmed."""


class Publisher:
    """Produces records and knows when all of them are confirmed. One use: after an error, abandon it."""

    def __init__(self, client: Mapping[str, Any], stopping: Event) -> None:
        """`client`: librdkafka settings, at least `bootstrap.servers`."""
        self._stopping = stopping
        self._fault: str | None = None
        self._last_error = "no broker answers"
        self._sent = 0
        callbacks = {"on_delivery": self._delivered, "error_cb": self._failed}
        self._producer = Producer({**_PRODUCER, **client, **callbacks}, logger=log)

    def send(self, topic: str, record: Record) -> None:
        """Hand a record to the client. Raises as `confirm` does when the client's buffer stays full."""
        while True:
            try:
                self._producer.produce(topic, record.value, record.key, headers=record.headers)
                break
            except BufferError:
                self._wait(len(self._producer) - 1)
            except KafkaException as error:
                raise KafkaUnavailableError(error.args[0].str()) from error
        self._sent += 1
        if self._sent % _SERVE_EVERY == 0:
            self._producer.poll(0)

    def confirm(self) -> None:
        """Return when everything sent is confirmed.

        Raises KafkaUnavailableError when something was refused, or nothing moved for PATIENCE_SECONDS, and
        StoppedError when the relay was told to stop and the grace is over.
        """
        self._producer.flush(_WAIT_SECONDS)
        self._wait(0)

    def abandon(self) -> None:
        """Drop what is not confirmed and release the client."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _wait(self, most: int) -> None:
        """Wait until at most this many records are unconfirmed."""
        left, moved = len(self._producer), time.monotonic()
        while left > most and self._fault is None:
            self._producer.flush(_WAIT_SECONDS) if most == 0 else self._producer.poll(_WAIT_SECONDS)
            now, before, left = time.monotonic(), left, len(self._producer)
            if left < before:
                moved = now
            if self._stopping.is_set() and now - moved > GRACE_SECONDS:
                raise StoppedError
            if now - moved > PATIENCE_SECONDS:
                raise KafkaUnavailableError(self._last_error)
        if self._fault is not None:
            raise KafkaUnavailableError(self._fault)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and self._fault is None:
            self._fault = error.str()

    def _failed(self, error: KafkaError) -> None:
        self._last_error = error.str()
        if error.fatal():
            self._fault = error.str()
