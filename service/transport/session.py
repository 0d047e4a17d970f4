"""One connection from open to close: its threads, what they hold, and handing it to the channels' callbacks."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, MutableMapping
from queue import Empty
from typing import Any, Protocol

from .broadcast import Listener
from .cluster import Cluster
from .consumer import GroupConsumer
from .deadletters import dead_letter
from .errors import ConnectionFailed, Undecodable
from .inbox import Held, Inbox
from .mover import Mover
from .parking import ensure_delay_topics, route_of
from .records import Arrival, decode
from .wakeup import Wakeup

logger = logging.getLogger(__name__)

_GET_WITHIN = 5.0
"""How long ``get`` waits for a message that is known to be there: the group may have to be joined first."""
_BROADCAST = "broadcast-"

Raw = dict[str, Any]
Callbacks = MutableMapping[str, Callable[[Raw], Any]]


class Credit(Protocol):
    """Says whether a channel may be handed one more message."""

    def can_consume(self) -> bool:
        """True while the prefetch limit is not reached."""


class Session:
    """Joins the inbox (queues shared by a group) and the listener (queues of this connection alone)."""

    def __init__(self, cluster: Cluster, callbacks: Callbacks) -> None:
        self.cluster = cluster
        self.wakeup = Wakeup()
        self.listener = Listener(cluster, self.wakeup)
        self._inbox = Inbox(cluster.options, self.wakeup, cluster.counters)
        self._callbacks = callbacks
        self._credits: dict[str, Credit] = {}
        self._no_ack: set[str] = set()
        self._queue_of: dict[str, str] = {}
        self._consumer: GroupConsumer | None = None
        self._mover: GroupConsumer | None = None
        self._broadcast_tags = itertools.count(1)
        self._closed = False

    # -- queues --------------------------------------------------------------------------------------------------

    def ensure_queue(self, queue: str) -> None:
        """Make sure a queue's topic exists."""
        options = self.cluster.options
        topic = self.cluster.names.queue(queue)
        self.cluster.topics.ensure([topic], options.partitions, options.replication_factor, options.topic_config)

    def size(self, queue: str) -> int:
        """Messages that wait: not those this connection was handed already."""
        if queue in self.listener:
            return self.listener.size(queue)
        topic = self.cluster.names.queue(queue)
        ours = self._consumer.progress(topic) if self._consumer is not None else {}
        waiting = self.cluster.topics.waiting(topic, self.cluster.options.group_id, ours)
        return max(0, waiting - self._inbox.out(topic))

    def purge(self, queue: str) -> int:
        """Delete what waits; return how many messages that were."""
        if queue in self.listener:
            return self.listener.purge(queue)
        count = self.size(queue)
        topic = self.cluster.names.queue(queue)
        self.cluster.topics.purge(topic)
        self._inbox.drop_waiting(topic)
        return count

    def is_consumed(self, queue: str) -> bool:
        """Tell whether this connection consumes a queue."""
        return queue in self._credits

    # -- consuming -----------------------------------------------------------------------------------------------

    def consume(self, queue: str, credit: Credit, no_ack: bool) -> None:
        """Deliver a queue's messages to its callback from now on, as far as ``credit`` allows."""
        self._credits[queue] = credit
        (self._no_ack.add if no_ack else self._no_ack.discard)(queue)
        if queue in self.listener:
            self.listener.wait_until_reading()
        else:
            self.ensure_queue(queue)
            self._queue_of[self.cluster.names.queue(queue)] = queue
            self._follow()
        self.wakeup.set()

    def cancel(self, queue: str) -> None:
        """Deliver nothing more of a queue."""
        self._credits.pop(queue, None)
        if queue not in self.listener and self._queue_of.pop(self.cluster.names.queue(queue), ""):
            self._follow()

    def get(self, queue: str) -> Raw:
        """Return one message, if there is one.

        Raises:
            queue.Empty: there is none.
        """
        if queue in self.listener:
            heard = self.listener.take(lambda name: name == queue)
            if heard is None:
                raise Empty
            return self._decoded_broadcast(heard[1])
        if self.size(queue) == 0:
            raise Empty
        try:
            return self._get_from_group(queue)
        finally:
            self._follow()

    def finish(self, delivery_tag: str) -> None:
        """A message is done with. Any thread."""
        if not delivery_tag.startswith(_BROADCAST):
            self._inbox.finish(delivery_tag)

    def put_back(self, delivery_tag: str) -> None:
        """A message shall be handed out again. Any thread."""
        self._inbox.put_back(delivery_tag)

    def dead_letter(self, delivery_tag: str, reason: str) -> None:
        """Keep a message on the dead-letter topic, then finish it. Any thread.

        Raises:
            TransportError: it could not be stored, and stays unfinished.
        """
        held = self._inbox.held(delivery_tag)
        if held is not None:
            dead_letter(self.cluster, held.arrival, reason)
            self.finish(delivery_tag)

    def wake(self) -> None:
        """Look soon whether something can be delivered. Any thread."""
        if self._inbox.has_ready():
            self.wakeup.set()

    # -- delivering ----------------------------------------------------------------------------------------------

    def deliver_one(self) -> bool:
        """Hand one message to its callback; False when there is none.

        Raises:
            TransportError: a thread of this connection has stopped; reconnect.
        """
        if self._closed:
            raise ConnectionFailed("the connection to Kafka is closed")
        self._inbox.raise_failure()
        self.listener.raise_failure()
        heard = self.listener.take(self._may_have)
        if heard is not None:
            return self._deliver_broadcast(*heard)
        while (held := self._inbox.take(self._topic_may_be_delivered)) is not None:
            if self._deliver(held, self._queue_of[held.topic]):
                return True
        return False

    def close(self) -> None:
        """Commit what is finished, leave the groups, end the threads."""
        self._closed = True
        consumers = [consumer for consumer in (self._consumer, self._mover) if consumer is not None]
        for consumer in consumers:
            consumer.stop()
        for consumer in consumers:
            consumer.close()
        self.listener.close()
        self.wakeup.close()

    def _deliver(self, held: Held, queue: str) -> bool:
        raw = self._decoded(held)
        if raw is None:
            return False
        self.cluster.counters.add("redelivered" if held.redelivered else "delivered")
        if queue in self._no_ack:
            self.finish(held.tag)
        self._callbacks[queue](raw)
        return True

    def _deliver_broadcast(self, queue: str, arrival: Arrival) -> bool:
        try:
            raw = self._decoded_broadcast(arrival)
        except Undecodable as reason:
            logger.warning("a broadcast message is dropped: %s", reason)
        else:
            self._callbacks[queue](raw)
        return True

    def _decoded(self, held: Held) -> Raw | None:
        """Decode a record; one that cannot be decoded goes to the dead-letter topic and the partition goes on."""
        try:
            return decode(held.arrival, held.tag, held.redelivered)
        except Undecodable as reason:
            self.dead_letter(held.tag, str(reason))
            return None

    def _decoded_broadcast(self, arrival: Arrival) -> Raw:
        tag = f"{_BROADCAST}{next(self._broadcast_tags)}"
        return decode(arrival, tag, redelivered=False)

    def _may_have(self, queue: str) -> bool:
        credit = self._credits.get(queue)
        return credit is not None and (queue in self._no_ack or credit.can_consume())

    def _topic_may_be_delivered(self, topic: str) -> bool:
        queue = self._queue_of.get(topic)
        return queue is not None and self._may_have(queue)

    def _get_from_group(self, queue: str) -> Raw:
        topic = self.cluster.names.queue(queue)
        deadline = time.monotonic() + _GET_WITHIN
        self._follow(also=topic)
        while time.monotonic() < deadline:
            self._inbox.raise_failure()
            held = self._inbox.take(lambda ready: ready == topic)
            raw = self._decoded(held) if held is not None else None
            if raw is not None:
                return raw
            if held is None:
                self.wakeup.wait(0.1)
        raise Empty

    # -- threads -------------------------------------------------------------------------------------------------

    def _follow(self, also: str | None = None) -> None:
        """Let the group's consumer read what is consumed; start it, and the mover, when first needed."""
        topics = set(self._queue_of) | ({also} if also else set())
        if self._consumer is None:
            if not topics:
                return
            self._consumer = GroupConsumer(self.cluster, self.cluster.options.group_id, self._inbox)
            self._consumer.start()
            self._start_mover()
        self._consumer.want(topics)

    def _start_mover(self) -> None:
        if self.cluster.options.delays:
            ensure_delay_topics(self.cluster)
            route = route_of(self.cluster)
            mover = Mover(self.cluster, route, self._inbox.failed)
            self._mover = GroupConsumer(self.cluster, self.cluster.names.mover_group(), mover)
            self._mover.want(route.topics)
            self._mover.start()
