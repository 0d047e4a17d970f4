# mypy: disable-error-code="no-untyped-call"
# (kombu's classes are only partly annotated, and this module calls their methods)
"""The channel: AMQP's operations on messages, in terms of topics, the inbox and the listener.

Declaring is in :mod:`.declarations`, where a message goes in :mod:`.routing`.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..delays.parking import send
from ..errors import ChannelClosed, Unroutable
from ..publishing import Delivery
from ..records import Record, encode
from .batches import PublishBatch, Routes
from .declarations import Declarations
from .expiry import expiry_headers
from .messages import Message
from .qos import QoS
from .refusals import NotOffered
from .routing import nature_of, record_key, targets

if TYPE_CHECKING:
    from ..transport import Transport

logger = logging.getLogger(__name__)

_NO_PRIORITIES = (
    "a message was published with a priority, which has no effect on Kafka: use a queue for each priority, and workers "
    "that consume the urgent one"
)
Raw = dict[str, Any]


class Channel(Declarations):
    """One channel of a connection."""

    QoS = QoS
    Message = Message
    supports_batch_publish = True
    do_restore = False
    body_encoding: Any = None
    from_transport_options: Any = ()

    def __init__(self, connection: Transport, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.events: dict[str, set[Callable[..., Any]]] = defaultdict(set)
        """Callbacks by event. kombu's producers add theirs to ``basic_return``."""

    def close(self) -> None:
        """Cancel the consumers and hand out again, to whoever consumes, what is unacknowledged."""
        if not self.closed and self._qos is not None:
            for consumer_tag in list(self._consumers):
                self.basic_cancel(consumer_tag)
            self.qos.restore_unacked()
        super().close()

    # -- publishing ----------------------------------------------------------------------------------------------

    def basic_publish(
        self,
        message: Raw,
        exchange: str,
        routing_key: str,
        mandatory: bool = False,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        **_kwargs: Any,
    ) -> None:
        """Publish to every queue that takes the message; return when all have confirmed it.

        A transient message (delivery mode 1) to an exchange is not waited for: events, remote control. One to a queue
        by its name is, for it is a reply (``rpc://``), and a pool process may end without a word right after it. A
        mandatory message that no queue takes goes back to the producer's ``on_return``, if it has one.

        Raises:
            Unroutable: no queue takes it, and it is ``mandatory``, or persistent under ``unroutable="raise"``.
            PreconditionFailed: its ``expiration`` is not a number of milliseconds.
            PublishFailed, PublishRefused, PublishTimedOut, ChannelClosed: see there.
        """
        publisher = self.open_transport().cluster.publisher
        deliveries = self.send(message, exchange, routing_key, mandatory)
        if exchange and nature_of(message["properties"]).transient:
            publisher.serve()
        else:
            publisher.wait(deliveries, confirm_timeout or timeout)

    def send(self, message: Raw, exchange: str, routing_key: str, mandatory: bool = False) -> list[Delivery]:
        """Hand a message to the producer for every topic it goes to."""
        cluster, records = self.open_transport().cluster, self.records(message, exchange, routing_key, mandatory)
        return [send(cluster, topic, record, message) for topic, record in records]

    def records(
        self, message: Raw, exchange: str, routing_key: str, mandatory: bool = False, known: Routes | None = None
    ) -> list[tuple[str, Record]]:
        """Make a message's record for every topic it goes to. A batch remembers in ``known`` where its others went."""
        transport, properties = self.open_transport(), message["properties"]
        cluster = transport.cluster
        routing_key = routing_key or ""
        if properties.get("priority"):
            cluster.counters.add("priorities_ignored")
            cluster.warn_once(_NO_PRIORITIES)
        added = expiry_headers(properties, time.time())
        nature = nature_of(properties)
        found = known.get((exchange, routing_key, nature)) if known is not None else None
        if found is None:
            found = targets(cluster, transport.session.listener, exchange, routing_key, nature)
        if known is not None:
            known[exchange, routing_key, nature] = found
        if not found:
            self._unroutable(message, exchange, routing_key, mandatory)
            return []
        told = encode(message, exchange, routing_key, None)
        headers = [*told.headers, *added] if added else told.headers
        return [
            (target.topic, Record(record_key(properties, routing_key, target), told.value, headers)) for target in found
        ]

    def open_transport(self) -> Transport:
        """Return what the channel belongs to. A producer of a pool may still have one whose connection was given up."""
        if self.connection is None:
            raise ChannelClosed
        transport: Transport = self.connection
        return transport

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        """Start a batch: see :meth:`kombu.Producer.batch`."""
        return PublishBatch(self, max_size)

    def _put(self, queue: str, message: Raw, **_kwargs: Any) -> None:
        self.basic_publish(message, "", queue)

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:  # noqa: ARG002 - kombu's
        if not exchange:
            return [routing_key]
        return [route.queue for route in self.connection.cluster.bindings.route(exchange, routing_key)]

    def _unroutable(self, message: Raw, exchange: str, routing_key: str, mandatory: bool) -> None:
        cluster, transient = self.connection.cluster, nature_of(message["properties"]).transient
        cluster.counters.add("unroutable")
        failure = Unroutable(exchange, routing_key)
        if mandatory and self.events["basic_return"]:
            properties = {**message["properties"], "delivery_tag": ""}
            returned = self.Message({**message, "properties": properties}, channel=self)
            for take_back in self.events["basic_return"]:
                take_back(failure, exchange, routing_key, returned)
        elif mandatory or (cluster.options.unroutable == "raise" and not transient):
            raise failure
        else:
            logger.log(logging.DEBUG if transient else logging.WARNING, "a message is dropped: %s", failure)

    # -- consuming -----------------------------------------------------------------------------------------------

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[..., Any], consumer_tag: str, **kwargs: Any
    ) -> None:
        """Consume from a queue."""
        super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)
        self.connection.session.consume(queue, self.qos, no_ack)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Return one message, or None."""
        message = super().basic_get(queue, no_ack, **kwargs)
        if message is not None and no_ack:
            self.connection.session.finish(message.delivery_tag)
        return message

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop consuming; what is handed out may still be acknowledged."""
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue is not None and self.connection is not None:
            self.connection.session.cancel(queue)

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge a message, or (``multiple``) it and everything handed out before it."""
        for tag in self.qos.up_to(delivery_tag) if multiple else [delivery_tag]:
            super().basic_ack(tag)

    def basic_recover(self, requeue: bool = False) -> None:
        """Hand out everything unacknowledged again.

        Raises:
            NotOffered: without ``requeue``; RabbitMQ does not have that either.
        """
        if not requeue:
            raise NotOffered("basic_recover: what is unacknowledged can only be requeued; pass requeue=True")
        self.qos.restore_unacked()

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Change how many messages may be unacknowledged."""
        super().basic_qos(prefetch_size, prefetch_count, apply_global)
        self.connection.session.wake()

    def flow(self, active: bool = True) -> None:
        """Raise NotOffered, unless nothing is asked for."""
        if not active:
            raise NotOffered("flow: deliveries cannot be stopped for a channel; cancel its consumers")

    # -- what kombu's base class calls ---------------------------------------------------------------------------

    def _size(self, queue: str) -> int:
        return self.connection.session.size(queue)

    def _purge(self, queue: str) -> int:
        return self.connection.session.purge(queue)

    def _get(self, queue: str, *_args: Any, **_kwargs: Any) -> Raw:
        return self.connection.session.get(queue)
