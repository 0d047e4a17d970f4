# mypy: disable-error-code="no-untyped-call"
# (kombu's classes are only partly annotated, and this module calls their methods)
"""The channel: AMQP's operations, in terms of topics, the inbox and the listener."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from amqp.protocol import queue_declare_ok_t  # type: ignore[import-untyped]  # py-amqp has no annotations
from kombu.transport import virtual

from .broadcast import ensure_broadcast
from .errors import Unroutable
from .exchanges import EXCHANGE_TYPES
from .messages import Message
from .parking import send
from .publishing import Delivery
from .qos import QoS
from .records import encode

if TYPE_CHECKING:
    from .transport import Transport

logger = logging.getLogger(__name__)

_TRANSIENT = 1
Raw = dict[str, Any]


class Channel(virtual.Channel):
    """One channel of a connection."""

    connection: Transport
    QoS = QoS
    Message = Message
    exchange_types = EXCHANGE_TYPES
    supports_fanout = True
    supports_batch_publish = True
    do_restore = False
    body_encoding: Any = None
    from_transport_options: Any = ()

    # -- declaring -----------------------------------------------------------------------------------------------

    def exchange_declare(
        self, exchange: Any = None, type: Any = "direct", durable: Any = False, *args: Any, **kwargs: Any
    ) -> None:
        """Declare an exchange; one that has listeners gets its broadcast topic now, so that nothing is missed."""
        super().exchange_declare(exchange, type, durable, *args, **kwargs)
        if exchange and not kwargs.get("passive") and self._has_listeners(exchange, type, durable):
            ensure_broadcast(self.connection.cluster, exchange)

    def exchange_delete(self, exchange: str, *_args: Any, **_kwargs: Any) -> None:
        """Forget an exchange and its bindings; the queues stay, as AMQP has it."""
        for routing_key, _, queue in list(self.state.exchanges.get(exchange, {}).get("table", ())):
            self.state.binding_delete(queue, exchange, routing_key)
        self.state.exchanges.pop(exchange, None)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        """Declare a queue. Its size is told for a passive declaration only: it costs three requests."""
        if not passive:
            queue = queue or f"amq.gen-{self._next_delivery_tag()}"
            self._new_queue(queue, **kwargs)
            return queue_declare_ok_t(queue, 0, 0)
        return super().queue_declare(queue, passive=True, **kwargs)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **_kwargs: Any) -> None:
        """Delete a queue with its messages and bindings."""
        if (if_empty and self._size(queue)) or (if_unused and self.connection.session.is_consumed(queue)):
            return
        for exchange, routing_key, arguments in list(self.state.queue_bindings(queue)):
            self.queue_unbind(queue, exchange, routing_key, arguments)
        self.state.queue_bindings_delete(queue)
        if queue in self.connection.session.listener:
            self.connection.session.listener.delete(queue)
        else:
            self.connection.cluster.topics.delete(self._topic(queue))

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

        A transient message (delivery mode 1: events, remote control) is not waited for.

        Raises:
            Unroutable: no queue takes it, and it is persistent or ``mandatory``.
            PublishFailed, PublishRefused, PublishTimedOut: see there.
        """
        deliveries = self.send(message, exchange, routing_key, mandatory)
        if message["properties"].get("delivery_mode") != _TRANSIENT:
            self.connection.cluster.publisher.wait(deliveries, confirm_timeout or timeout)
        else:
            self.connection.cluster.publisher.serve()

    def send(self, message: Raw, exchange: str, routing_key: str, mandatory: bool = False) -> list[Delivery]:
        """Hand a message to the producer for every topic it goes to."""
        routing_key = routing_key or ""
        topics = self._route(exchange, routing_key)
        if not topics:
            self._unroutable(message, exchange, routing_key, mandatory)
        record = encode(message, exchange, routing_key, self._key(message, exchange, routing_key))
        return [send(self.connection.cluster, topic, record, message) for topic in topics]

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        """Start a batch: see :meth:`kombu.Producer.batch`."""
        return PublishBatch(self, max_size)

    def _put(self, queue: str, message: Raw, **_kwargs: Any) -> None:
        self.basic_publish(message, "", queue)

    # -- consuming -----------------------------------------------------------------------------------------------

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[..., Any], consumer_tag: str, **kwargs: Any
    ) -> None:
        """Consume from a queue."""
        super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)
        self.connection.session.consume(queue, self.qos, no_ack)

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop consuming; what is handed out may still be acknowledged."""
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue is not None and self.connection is not None:
            self.connection.session.cancel(queue)

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Change how many messages may be unacknowledged."""
        super().basic_qos(prefetch_size, prefetch_count, apply_global)
        self.connection.session.wake()

    # -- what kombu's base class calls ---------------------------------------------------------------------------

    def _new_queue(self, queue: str, auto_delete: bool = False, exclusive: bool = False, **_kwargs: Any) -> None:
        if auto_delete or exclusive:
            self.connection.session.listener.declare(queue)
        else:
            self.connection.session.ensure_queue(queue)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        if queue in self.connection.session.listener:
            kind = self.typeof(exchange)
            row = [(routing_key, pattern, queue)]
            self.connection.session.listener.bind(
                queue, exchange, routing_key, lambda key: bool(kind.lookup(row, exchange, key, None))
            )

    def _has_queue(self, queue: str, **_kwargs: Any) -> bool:
        return queue in self.connection.session.listener or self.connection.cluster.topics.exists(self._topic(queue))

    def _size(self, queue: str) -> int:
        return self.connection.session.size(queue)

    def _purge(self, queue: str) -> int:
        return self.connection.session.purge(queue)

    def _get(self, queue: str, *_args: Any, **_kwargs: Any) -> Raw:
        return self.connection.session.get(queue)

    # -- inside --------------------------------------------------------------------------------------------------

    def _route(self, exchange: str, routing_key: str) -> list[str]:
        topics, names = self.connection.cluster.topics, self.connection.cluster.names
        listener = self.connection.session.listener
        if not exchange:
            own = names.queue(routing_key) if routing_key else ""
            if own and routing_key not in listener and topics.exists(own):
                return [own]
            return [names.broadcast("")] if topics.exists(names.broadcast("")) else []
        bound = sorted(queue for queue in self._lookup(exchange, routing_key) if queue not in listener)
        found = [names.queue(queue) for queue in bound]
        if topics.exists(names.broadcast(exchange)):
            found.append(names.broadcast(exchange))
        return found

    def _unroutable(self, message: Raw, exchange: str, routing_key: str, mandatory: bool) -> None:
        self.connection.cluster.counters.add("unroutable")
        transient = message["properties"].get("delivery_mode") == _TRANSIENT
        if mandatory or (self.connection.options.unroutable == "raise" and not transient):
            raise Unroutable(exchange, routing_key)
        level = logging.DEBUG if transient else logging.WARNING
        logger.log(level, "dropped: no queue takes routing key %r of exchange %r", routing_key, exchange)

    def _key(self, message: Raw, exchange: str, routing_key: str) -> bytes | None:
        """The record's key: one key, one partition, one order.

        A routing key says something about the message only where it can vary, that is where a wildcard matched it;
        the key of a direct exchange would put a whole queue into one partition.
        """
        explicit = message["properties"].get("partition_key")
        if explicit is not None:
            return explicit if isinstance(explicit, bytes) else str(explicit).encode()
        if not exchange or self.typeof(exchange).type != "topic":
            return None
        literal = any(bound == routing_key for bound, _, _ in self.get_table(exchange))
        return None if literal else routing_key.encode()

    def _has_listeners(self, exchange: str, type: str, durable: bool) -> bool:
        return type == "fanout" or not durable or exchange in self.connection.options.broadcast_exchanges

    def _topic(self, queue: str) -> str:
        return self.connection.cluster.names.queue(queue)


class PublishBatch:
    """Messages that are confirmed together, by one wait. See :meth:`kombu.Producer.batch`."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        self.channel = channel
        self._max_size = max_size
        self._messages: list[tuple[Raw, dict[str, Any]]] = []

    def publish(self, message: Raw, **kwargs: Any) -> None:
        """Keep a message; a full batch is flushed."""
        self._messages.append((message, kwargs))
        if len(self._messages) >= self._max_size:
            self.flush()

    def flush(self) -> None:
        """Send everything, then wait once."""
        messages, self._messages = self._messages, []
        deliveries: list[Delivery] = []
        for message, kwargs in messages:
            wanted = {name: kwargs[name] for name in ("exchange", "routing_key", "mandatory") if name in kwargs}
            deliveries += self.channel.send(message, **wanted)
        self.channel.connection.cluster.publisher.wait(deliveries)

    def discard(self) -> None:
        """Forget what was not flushed."""
        self._messages.clear()

    def close(self) -> None:
        """Nothing is kept open."""
