# mypy: disable-error-code="no-untyped-call"
# (kombu's classes are only partly annotated, and this module calls their methods)
"""Declaring, binding and deleting: AMQP's operations on exchanges and queues.

Exchanges and the bindings of stored queues are looked up and changed in the shared bindings. kombu's own state holds
the bindings of temporary queues, which are this connection's alone and served by its listener.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from amqp.protocol import queue_declare_ok_t  # type: ignore[import-untyped]  # py-amqp has no annotations
from kombu.transport import virtual
from kombu.transport.base import to_rabbitmq_queue_arguments

from ..bindings.table import Binding, Exchange, exchange_of
from ..broadcast import ensure_broadcast
from .exchanges import EXCHANGE_TYPES, PREDECLARED, TYPES, matcher
from .queue_arguments import told_about
from .refusals import NotFound, NotOffered, PreconditionFailed

if TYPE_CHECKING:
    from ..transport import Transport


class Declarations(virtual.Channel):
    """The part of a channel that declares."""

    connection: Transport
    exchange_types = EXCHANGE_TYPES
    supports_fanout = True

    # -- exchanges -----------------------------------------------------------------------------------------------

    def exchange_declare(
        self,
        exchange: Any = None,
        type: Any = "direct",
        durable: Any = False,
        auto_delete: Any = False,
        arguments: Mapping[str, Any] | None = None,
        nowait: Any = False,  # noqa: ARG002 - kombu's signature
        passive: Any = False,
        **_kwargs: Any,
    ) -> None:
        """Declare an exchange; one that has listeners gets its broadcast topic now, so that nothing is missed.

        Raises:
            NotFound: it is declared passively, and nobody has declared it.
            PreconditionFailed: it exists, and has another type.
            NotOffered: there are no exchanges of this type.
        """
        wanted = exchange_of(exchange or f"amq.{type or 'direct'}", type or "direct", durable, auto_delete, arguments)
        if passive:
            self._must_exist(wanted.name)
            return
        if wanted.type not in TYPES:
            offered = ", ".join(TYPES)
            raise NotOffered(f"exchange {wanted.name!r} was declared as {wanted.type!r}; there are {offered} exchanges")
        if arguments:
            ignored = f"exchange {wanted.name!r} was declared with {sorted(arguments)}, which has no effect on Kafka"
            self.connection.cluster.warn_once(ignored)
        if wanted.name not in PREDECLARED:
            self.connection.cluster.bindings.declare(wanted)
        elif PREDECLARED[wanted.name] != wanted.type:
            raise PreconditionFailed(f"exchange {wanted.name!r}", PREDECLARED[wanted.name], wanted.type)
        if self._has_listeners(wanted):
            ensure_broadcast(self.connection.cluster, wanted.name)

    def exchange_delete(self, exchange: str, if_unused: bool = False, *_args: Any, **_kwargs: Any) -> None:
        """Delete an exchange and its bindings; the queues stay, as AMQP has it."""
        if if_unused and self.get_table(exchange):
            return
        for queue, _, routing_key in self._local_bindings(exchange):
            self.queue_unbind(queue, exchange, routing_key)
        self.connection.cluster.bindings.delete(exchange)

    def exchange_bind(self, destination: str, source: str = "", *_args: Any, **_kwargs: Any) -> None:
        """Raise NotOffered: exchanges cannot be bound to exchanges."""
        raise NotOffered(f"exchange {destination!r} cannot be bound to {source!r}: bind its queues to {source!r} too")

    def exchange_unbind(self, destination: str, source: str = "", *_args: Any, **_kwargs: Any) -> None:
        """Raise NotOffered: exchanges cannot be bound to exchanges."""
        raise NotOffered(f"exchange {destination!r} is not bound to {source!r}: there are no such bindings here")

    def get_exchanges(self) -> list[str]:
        """Names of all exchanges."""
        return sorted(exchange.name for exchange in self.connection.cluster.bindings.exchanges())

    def get_table(self, exchange: str) -> list[tuple[str, Any, str]]:
        """Bindings of an exchange: the shared ones and this connection's, as kombu has them."""
        shared = self.connection.cluster.bindings.bindings(exchange=exchange)
        table = [(binding.routing_key, binding.queue) for binding in shared]
        table += [(routing_key, queue) for queue, _, routing_key in self._local_bindings(exchange)]
        return [self.typeof(exchange).prepare_bind(queue, exchange, routing_key, None) for routing_key, queue in table]

    def typeof(self, exchange: str, default: str = "direct") -> Any:
        """Return kombu's object for the type of an exchange."""
        return self.exchange_types[self.connection.cluster.bindings.type_of(exchange) or default]

    # -- queues --------------------------------------------------------------------------------------------------

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        """Declare a queue. Its size is told for a passive declaration only: it costs three requests.

        Raises:
            NotFound: it is declared passively, and does not exist.
            NotOffered: it has arguments that cannot be left out (see :mod:`.queue_arguments`).
        """
        if passive:
            if not queue or not self._has_queue(queue):
                raise NotFound("queue", queue or "")
            return queue_declare_ok_t(queue, self._size(queue), 0)
        queue = queue or f"amq.gen-{self._next_delivery_tag()}"
        self._new_queue(queue, **kwargs)
        return queue_declare_ok_t(queue, 0, 0)

    def prepare_queue_arguments(self, arguments: Any, **kwargs: Any) -> Any:
        """Name kombu's own options (``max_priority=`` and others) as AMQP does, so that none is lost unseen."""
        return to_rabbitmq_queue_arguments(arguments, **kwargs)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **_kwargs: Any) -> None:
        """Delete a queue with its messages and bindings."""
        session, cluster = self.connection.session, self.connection.cluster
        if (if_empty and self._size(queue)) or (if_unused and session.is_consumed(queue)):
            return
        self.state.queue_bindings_delete(queue)
        if queue in session.listener:
            session.listener.delete(queue)
        else:
            cluster.bindings.forget_queue(queue)
            cluster.topics.delete(self._topic(queue))

    def queue_bind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str | None = "",
        arguments: Any = None,
        **_kwargs: Any,
    ) -> None:
        """Let a queue have what an exchange gets under a routing key.

        Raises:
            NotFound: the exchange or the queue does not exist.
        """
        binding = Binding(exchange or "amq.direct", routing_key or "", queue)
        session, cluster = self.connection.session, self.connection.cluster
        if queue in session.listener:
            matches = matcher(self._must_exist(binding.exchange), binding.routing_key)
            session.listener.bind(queue, binding.exchange, binding.routing_key, matches)
            self.state.binding_declare(queue, binding.exchange, binding.routing_key, arguments)
            return
        if not self._has_queue(queue):
            raise NotFound("queue", queue)
        cluster.bindings.bind(binding)

    def queue_unbind(
        self, queue: str, exchange: str | None = None, routing_key: str | None = "", *_args: Any, **_kwargs: Any
    ) -> None:
        """Take a binding away; there is nothing wrong if it does not exist."""
        binding = Binding(exchange or "amq.direct", routing_key or "", queue)
        if queue in self.connection.session.listener:
            self.connection.session.listener.unbind(queue, binding.exchange, binding.routing_key)
            self.state.binding_delete(queue, binding.exchange, binding.routing_key)
        else:
            self.connection.cluster.bindings.unbind(binding)

    def list_bindings(self) -> Iterator[tuple[str, str, str]]:
        """Yield queue, exchange and routing key of every binding this process knows of."""
        for exchange in self.get_exchanges():
            for routing_key, _, queue in self.get_table(exchange):
                yield queue, exchange, routing_key

    # -- what kombu's base class calls, and what is inside -------------------------------------------------------

    def _new_queue(
        self, queue: str, auto_delete: bool = False, exclusive: bool = False, arguments: Any = None, **_kwargs: Any
    ) -> None:
        session = self.connection.session
        temporary = auto_delete or exclusive
        for sentence in told_about(queue, arguments, temporary):
            self.connection.cluster.warn_once(sentence)
        if temporary:
            session.listener.declare(queue)
        else:
            session.ensure_queue(queue)

    def _has_queue(self, queue: str, **_kwargs: Any) -> bool:
        topics, topic = self.connection.cluster.topics, self._topic(queue)
        if queue in self.connection.session.listener or topics.exists(topic):
            return True
        topics.forget(topic)
        return topics.exists(topic)

    def _must_exist(self, exchange: str) -> str:
        bindings = self.connection.cluster.bindings
        if bindings.type_of(exchange) is None:
            bindings.check()
        kind = bindings.type_of(exchange)
        if kind is None:
            raise NotFound("exchange", exchange)
        return kind

    def _local_bindings(self, exchange: str) -> list[Any]:
        return [bound for bound in self.state.bindings if bound.exchange == exchange]

    def _has_listeners(self, exchange: Exchange) -> bool:
        named = exchange.name in self.connection.options.broadcast_exchanges
        return exchange.type == "fanout" or not exchange.durable or named

    def _topic(self, queue: str) -> str:
        return self.connection.cluster.names.queue(queue)
