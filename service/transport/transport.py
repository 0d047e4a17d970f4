"""The connection: what kombu calls a transport. It builds the parts and delivers what they hold."""

from __future__ import annotations

import logging
import socket
import time
from queue import Empty
from typing import Any, cast

import confluent_kafka
from confluent_kafka import KafkaException, Message
from kombu.transport import virtual

from .broadcast import Listener
from .channel import Channel
from .cluster import Cluster, cluster_of
from .consumer import GroupConsumer
from .deadletters import dead_letter
from .delays import Route, due_time, park
from .errors import ChannelFailed, ConnectionFailed, Undecodable
from .inbox import Held, Inbox
from .mover import Mover
from .options import Options, options_from
from .publishing import Delivery
from .records import Record, decode
from .wakeup import Wakeup

logger = logging.getLogger(__name__)

_BURST = 200
"""Messages delivered in one turn of an event loop; then others have theirs."""
_GET_WITHIN = 10.0
"""How long basic_get waits for a message it knows to be there: the group has to be joined first."""


class Transport(virtual.Transport):  # type: ignore[misc]  # kombu has no type information
    """kombu transport for Kafka. See the package's docstring."""

    Channel = Channel
    default_port = 9092
    driver_type = "kafka"
    driver_name = "confluent-kafka"
    polling_interval = None
    implements = virtual.Transport.implements.extend(
        asynchronous=True, batch_publish=True, exchange_type=frozenset(["direct", "topic", "fanout"])
    )
    connection_errors = (*virtual.Transport.connection_errors, ConnectionFailed, KafkaException)
    channel_errors = (*virtual.Transport.channel_errors, ChannelFailed)

    listener: Listener

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.options = _options_of(client)
        self.cluster: Cluster = cluster_of(self.options)
        self.consumed: dict[str, Channel] = {}
        self._unacknowledged: set[str] = set()
        self._queue_of: dict[str, str] = {}
        self._wakeup: Wakeup | None = None
        self._inbox: Inbox | None = None
        self._consumer: GroupConsumer | None = None
        self._mover: GroupConsumer | None = None
        self._hub: Any = None

    def driver_version(self) -> str:
        """Version of the client library."""
        return cast(str, confluent_kafka.__version__)

    # -- life ----------------------------------------------------------------------------------------------------

    def establish_connection(self) -> Transport:
        """Make sure the cluster answers.

        Raises:
            BrokerUnavailable: it does not.
        """
        self.cluster = cluster_of(self.options)
        self.cluster.verify()
        self._wakeup = Wakeup()
        self._inbox = Inbox(self.options, self._wakeup, self.cluster.counters)
        self.listener = Listener(self.cluster, self._wakeup)
        return cast("Transport", super().establish_connection())

    def verify_connection(self, connection: Transport) -> bool:
        """Tell whether the connection is open."""
        return self._wakeup is not None

    def close_connection(self, connection: Transport) -> None:
        """Commit what is finished, leave the groups, and close."""
        if self._hub is not None and self._wakeup is not None:
            self._hub.remove_reader(self._wakeup.fileno())
        super().close_connection(connection)
        for consumer in (self._consumer, self._mover):
            if consumer is not None:
                consumer.stop()
        for consumer in (self._consumer, self._mover):
            if consumer is not None:
                consumer.close()
        if self._wakeup is not None:
            self.listener.close()
            self._wakeup.close()
        self._hub = self._consumer = self._mover = self._wakeup = self._inbox = None
        self.consumed.clear()
        self._callbacks.clear()

    # -- queues --------------------------------------------------------------------------------------------------

    def ensure_queue(self, queue: str) -> None:
        """Make sure a queue's topic exists."""
        options = self.options
        topic = self.cluster.names.queue(queue)
        self.cluster.topics.ensure([topic], options.partitions, options.replication_factor, options.topic_config)

    def size(self, queue: str) -> int:
        """Messages that wait: not those this connection was handed already."""
        if queue in self.listener:
            return self.listener.size(queue)
        topic = self.cluster.names.queue(queue)
        out = self._inbox.out(topic) if self._inbox is not None else 0
        return max(0, self.cluster.topics.waiting(topic, self.options.group_id) - out)

    def purge(self, queue: str) -> int:
        """Delete what waits; return how many messages that were."""
        if queue in self.listener:
            return self.listener.purge(queue)
        count = self.size(queue)
        topic = self.cluster.names.queue(queue)
        self.cluster.topics.purge(topic)
        if self._inbox is not None:
            self._inbox.drop_waiting(topic)
        return count

    # -- consuming -----------------------------------------------------------------------------------------------

    def consume(self, queue: str, channel: Channel, no_ack: bool) -> None:
        """Deliver a queue's messages to a channel from now on."""
        self.consumed[queue] = channel
        (self._unacknowledged.add if no_ack else self._unacknowledged.discard)(queue)
        if queue not in self.listener:
            self.ensure_queue(queue)
            self._queue_of[self.cluster.names.queue(queue)] = queue
            self._follow()
        self.wake()

    def cancel(self, queue: str) -> None:
        """Deliver nothing more of a queue."""
        self.consumed.pop(queue, None)
        if queue not in self.listener:
            self._queue_of.pop(self.cluster.names.queue(queue), None)
            self._follow()

    def get(self, queue: str, channel: Channel) -> dict[str, Any]:
        """Return one message, if there is one.

        Raises:
            queue.Empty: there is none.
        """
        if queue in self.listener:
            taken = self.listener.take(lambda name: name == queue)
            if taken is None:
                raise Empty
            return decode(taken[1].value(), taken[1].headers(), f"b{time.monotonic_ns()}", redelivered=False)
        if self.size(queue) == 0:
            raise Empty
        return self._get_from_group(queue)

    def finish(self, delivery_tag: str) -> None:
        """A message is done with. Any thread."""
        if self._inbox is not None and not delivery_tag.startswith("b"):
            self._inbox.finish(delivery_tag)
            self.wake()

    def put_back(self, delivery_tag: str) -> None:
        """A message shall be handed out again. Any thread."""
        if self._inbox is not None:
            self._inbox.put_back(delivery_tag)

    def dead_letter(self, delivery_tag: str, reason: str) -> None:
        """Keep a message on the dead-letter topic, then finish it. Any thread."""
        held = self._inbox.held(delivery_tag) if self._inbox is not None else None
        if held is not None:
            dead_letter(self.cluster, held.message, reason)
            self.finish(delivery_tag)

    def wake(self) -> None:
        """Look for deliverable messages soon. Any thread."""
        if self._wakeup is not None and self._inbox is not None and self._inbox.has_ready():
            self._wakeup.set()

    # -- publishing ----------------------------------------------------------------------------------------------

    def send(self, topic: str, record: Record, message: dict[str, Any]) -> Delivery:
        """Send a record on its way: to its topic, or to a delay topic when it is due later."""
        due = due_time(message) if self.options.delays else None
        if due is not None:
            route = Route(self.options, self.cluster.names)
            now = time.time()
            step = route.step(due, now)
            if step is not None:
                self._ensure_delay_topics(route)
                self.cluster.counters.add("delayed")
                return self.cluster.publisher.send(step.topic, park(record, topic, due, step.release))
        return self.cluster.publisher.send(topic, record)

    # -- delivering ----------------------------------------------------------------------------------------------

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Deliver from an event loop."""
        if self._wakeup is not None:
            self._hub = loop
            loop.add_reader(self._wakeup.fileno(), self._on_readable)
            self._wakeup.set()

    def drain_events(self, connection: Transport, timeout: float | None = None) -> None:
        """Deliver exactly one message.

        Raises:
            socket.timeout: none came in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._deliver_one():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self._wakeup is None:
                raise ConnectionFailed("the connection is closed")
            if not self._wakeup.wait(left):
                raise TimeoutError if socket.timeout is TimeoutError else socket.timeout

    def _on_readable(self) -> None:
        if self._wakeup is None:
            return
        self._wakeup.clear()
        for _ in range(_BURST):
            if not self._deliver_one():
                return
        self._wakeup.set()

    def _deliver_one(self) -> bool:
        if self._inbox is None:
            return False
        self._inbox.raise_failure()
        self.listener.raise_failure()
        heard = self.listener.take(self._may_have)
        if heard is not None:
            return self._deliver_heard(*heard)
        held = self._inbox.take(self._topic_may_be_delivered)
        return held is not None and self._deliver_held(held, self._queue_of[held.topic])

    def _deliver_heard(self, queue: str, message: Message) -> bool:
        try:
            raw = decode(message.value(), message.headers(), f"b{time.monotonic_ns()}", redelivered=False)
        except Undecodable as reason:
            logger.warning("a broadcast message is dropped: %s", reason)
            return True
        self._callbacks[queue](raw)
        return True

    def _deliver_held(self, held: Held, queue: str) -> bool:
        raw = self._decoded(held)
        if raw is None:
            return self._deliver_one()
        self.cluster.counters.add("redelivered" if held.redelivered else "delivered")
        if queue in self._unacknowledged:
            self.finish(held.tag)
        self._callbacks[queue](raw)
        return True

    def _decoded(self, held: Held) -> dict[str, Any] | None:
        """Decode a record; one that cannot be decoded goes to the dead-letter topic and the partition goes on."""
        try:
            return decode(held.message.value(), held.message.headers(), held.tag, held.redelivered)
        except Undecodable as reason:
            self.dead_letter(held.tag, str(reason))
            return None

    def _may_have(self, queue: str) -> bool:
        channel = self.consumed.get(queue)
        return channel is not None and (queue in self._unacknowledged or channel.qos.can_consume())

    def _topic_may_be_delivered(self, topic: str) -> bool:
        queue = self._queue_of.get(topic)
        return queue is not None and self._may_have(queue)

    def _get_from_group(self, queue: str) -> dict[str, Any]:
        topic = self.cluster.names.queue(queue)
        deadline = time.monotonic() + _GET_WITHIN
        self._follow(also=topic)
        while time.monotonic() < deadline and self._inbox is not None and self._wakeup is not None:
            self._inbox.raise_failure()
            held = self._inbox.take(lambda ready: ready == topic)
            raw = self._decoded(held) if held is not None else None
            if raw is not None:
                return raw
            if held is None:
                self._wakeup.wait(0.1)
        raise Empty

    def _follow(self, also: str | None = None) -> None:
        """Let the group's consumer read what is consumed, and start it when it is needed first."""
        topics = set(self._queue_of) | ({also} if also else set())
        if self._consumer is None:
            if not topics or self._inbox is None:
                return
            self._consumer = GroupConsumer(self.cluster, self.options.group_id, self._inbox)
            self._consumer.start()
            self._start_mover()
        self._consumer.want(topics)

    def _start_mover(self) -> None:
        if self.options.delays:
            route = Route(self.options, self.cluster.names)
            self._ensure_delay_topics(route)
            self._mover = GroupConsumer(self.cluster, f"{self.options.group_id}.delays", Mover(self.cluster, route))
            self._mover.want(route.topics)
            self._mover.start()

    def _ensure_delay_topics(self, route: Route) -> None:
        """Delay topics keep everything until it was moved: without retention a long delay would be lost."""
        options = self.options
        self.cluster.topics.ensure(
            route.topics, options.delay_partitions, options.replication_factor, {"retention.ms": "-1"}
        )


def _options_of(client: Any) -> Options:
    servers = f"{client.hostname or 'localhost'}:{client.port or Transport.default_port}"
    credentials = (client.userid, client.password or "") if client.userid else None
    return options_from(client.transport_options, servers, credentials)
