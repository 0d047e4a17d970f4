"""Tools of kind `kafka`: a record published to a topic that the operator allows, confirmed by all in-sync replicas.

| what happened                                                              | not idempotent | idempotent |
| --------------------------------------------------------------------------- | -------------- | ---------- |
| the brokers confirmed it                                                     | CONFIRMED      | CONFIRMED  |
| topic not allowed here, not there, or not writable; record too large, invalid | PERMANENT      | PERMANENT  |
| no broker took it in time; not the leader, too few replicas                  | TRANSIENT      | TRANSIENT  |
| it was on its way when the connection or the time ended                      | UNANSWERED     | TRANSIENT  |

The producer sends a record once and never again by itself (no retries): a record that is still in its queue
when the time is over was therefore never sent, and taking it out of the queue proves that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from service.domain.packs.parameter_templates import ParameterMissingError, rendered, rendered_text
from service.errors import PermanentError
from service.resources import SECRET, KafkaCluster
from service.secrets import Secrets
from service.tools.answers import deferred, not_sent, rejected, unanswered
from service.tools.calls import Answer, PreparedCall, ToolResult
from service.tools.shaping import UnsendableCallError, json_body

POLL_SECONDS = 0.1
PURGE_SECONDS = 1.0
"""How long after its time limit a record may take to be taken out of the queue."""

_NEVER = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_MSG,
        KafkaError.POLICY_VIOLATION,
    }
)
_NOT_NOW = frozenset(
    {
        KafkaError._PURGE_QUEUE,
        KafkaError._QUEUE_FULL,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.KAFKA_STORAGE_ERROR,
    }
)
"""A broker that answers one of these has not written the record. Everything in neither set leaves it open."""


class TopicNotAllowedError(PermanentError):
    """A tool names a topic that the operator does not allow its tenant."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"tools of this tenant may not publish to {topic!r}; the operator allows topics")


@dataclass(frozen=True, slots=True)
class _Delivery:
    error: KafkaError | None
    partition: int = -1
    offset: int = -1


class KafkaPublisher:
    """Performs the calls of one process, with one producer for all of them."""

    def __init__(self, cluster: KafkaCluster, bootstrap_servers: str, secrets: Secrets) -> None:
        """Connects to nothing yet. `bootstrap_servers` are those of a cluster that names none itself."""
        self._cluster = cluster
        self._bootstrap = cluster.bootstrapServers or bootstrap_servers
        self._secrets = secrets
        self._producer: Producer | None = None
        self._closed = Event()
        self._poller: Thread | None = None

    async def perform(self, call: PreparedCall) -> ToolResult:
        """Publish one record and wait until it is confirmed."""
        topic = call.call.options["topic"]
        grant = self._cluster.topics.get(topic)
        if grant is None or not grant.allows(call.tenant_id):
            raise TopicNotAllowedError(topic)
        record = _record(call)
        began = time.monotonic()
        producer = self._running()
        arrived: asyncio.Future[_Delivery] = asyncio.get_running_loop().create_future()
        try:
            producer.produce(topic, on_delivery=_reporting(arrived), **record)
        except BufferError:
            return not_sent(call, "this worker's queue to Kafka is full", time.monotonic() - began)
        except KafkaException as error:
            return _judged(call, _Delivery(error.args[0]), time.monotonic() - began)
        delivery = await self._awaited(producer, arrived, call.call.timeout_seconds)
        return _judged(call, delivery, time.monotonic() - began)

    def close(self) -> None:
        """End the producer's thread; records in its queue are dropped, for nobody waits for them."""
        self._closed.set()
        if self._poller is not None:
            self._poller.join(2 * POLL_SECONDS + 1.0)
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer.poll(0)

    async def _awaited(self, producer: Producer, arrived: asyncio.Future[_Delivery], seconds: float) -> _Delivery:
        """The report of a record; _TIMED_OUT when it is on its way and there is none."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(arrived)
        except TimeoutError:
            # Other calls' records that wait in the queue go too: they were not sent either, and come back.
            producer.purge(in_queue=True, in_flight=False, blocking=False)
        try:
            async with asyncio.timeout(PURGE_SECONDS):
                return await asyncio.shield(arrived)
        except TimeoutError:
            return _Delivery(KafkaError(KafkaError._TIMED_OUT))

    def _running(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(self._settings())
            self._poller = Thread(target=self._poll, args=(self._producer,), name="tool-kafka", daemon=True)
            self._poller.start()
        return self._producer

    def _settings(self) -> dict[str, Any]:
        given = {
            name: self._secrets.resolve_for_operator(value) if value.startswith(SECRET) else value
            for name, value in self._cluster.config.items()
        }
        return {
            "bootstrap.servers": self._bootstrap,
            "client.id": "sentinai-tools",
            "linger.ms": 5,
            "topic.metadata.propagation.max.ms": 2_000,
            "log.connection.close": False,
            **given,
            # What a result means rests on these, so they are nobody's to change.
            "acks": "all",
            "enable.idempotence": False,
            "message.send.max.retries": 0,
            "message.timeout.ms": 0,
        }

    def _poll(self, producer: Producer) -> None:
        while not self._closed.is_set():
            producer.poll(POLL_SECONDS)


def _record(call: PreparedCall) -> dict[str, Any]:
    """Key, value and headers. Raises UnsendableCallError."""
    options, parameters = call.call.options, call.call.parameters
    try:
        template = options.get("value")
        value = json_body(parameters if template is None else rendered(template, parameters))
        key = rendered_text(options["key"], parameters) if "key" in options else None
        own = ((name, rendered_text(text, parameters)) for name, text in options.get("headers", {}).items())
        headers = {name: text for name, text in own if text is not None}
    except ParameterMissingError as error:
        raise UnsendableCallError(f"its definition needs {error}, which the step did not give") from None
    headers |= {"idempotency-key": call.key, "tenant-id": call.tenant_id, "content-type": "application/json"}
    if "version" in options:
        headers["tool-version"] = options["version"]
    return {"value": value, "key": key, "headers": [(name, text.encode()) for name, text in headers.items()]}


def _reporting(arrived: asyncio.Future[_Delivery]) -> Callable[[KafkaError | None, Any], None]:
    """What librdkafka calls, in the poller's thread, when it knows what became of a record."""
    loop = arrived.get_loop()

    def report(error: KafkaError | None, message: Any) -> None:
        delivery = _Delivery(error) if error is not None else _Delivery(None, message.partition(), message.offset())
        try:
            loop.call_soon_threadsafe(_arrive, arrived, delivery)
        except RuntimeError:
            return  # the loop was closed while the record was on its way: nobody waits for it

    return report


def _arrive(arrived: asyncio.Future[_Delivery], delivery: _Delivery) -> None:
    if not arrived.done():
        arrived.set_result(delivery)


def _judged(call: PreparedCall, delivery: _Delivery, spent: float) -> ToolResult:
    error = delivery.error
    if error is None:
        output: Mapping[str, Any] = {
            "topic": call.call.options["topic"],
            "partition": delivery.partition,
            "offset": delivery.offset,
        }
        return ToolResult(call.key, Answer.CONFIRMED, output, duration_seconds=spent)
    if error.code() in _NEVER:
        return rejected(call, error.name(), spent)
    if error.code() == KafkaError._PURGE_QUEUE:
        return not_sent(call, "no broker took the record in time", spent)
    if error.code() in _NOT_NOW:
        return deferred(call, error.name(), spent)
    return unanswered(call, error.name(), spent)
