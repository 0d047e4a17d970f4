"""One connection from open to close: its threads, what they hold, and handing it to the channels' callbacks."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, MutableMapping
from queue import Empty
from typing import Any, Protocol

from .broadcast import Listener
from .channels.expiry import is_expired
from .cluster import Cluster
from .consuming.backlog import backlog
from .consuming.groups import Groups
from .consuming.inbox import Held, Inbox
from .deadletters import dead_letter
from .errors import ConnectionFailed, Undecodable
from .records import Arrival, decode
from .wakeup import Wakeup

logger = logging.getLogger(__name__)

_GET_WITHIN = 5.0
"""How long ``get`` waits for a message that is known to be there: the group may have to be joined first."""
_GET_JOINED = 0.5
"""The same once the group was joined: what has not come by then waits on another member's partitions."""
_GET_LINGER = 5.0
"""The queue's consumer is kept this long for the next ``get``."""
_LINGER = 1.0
"""A queue that is no longer consumed keeps its partitions this long: queues are often switched within a moment."""
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
        self._groups = Groups(cluster, self._inbox)
        self._callbacks = callbacks
        self._credits: dict[str, Credit] = {}
        self._no_ack: set[str] = set()
        self._queue_of: dict[str, str] = {}
        self._broadcast_tags = itertools.count(1)
        self._heard: dict[str, tuple[str, Arrival]] = {}
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
        group = self.cluster.names.group(self.cluster.options.group_id, topic)
        waiting = backlog(self.cluster, topic, group, self._groups.progress(topic))
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
            topic = self.cluster.names.queue(queue)
            self._queue_of[topic] = queue
            self._groups.read(topic)
        self.wakeup.set()

    def cancel(self, queue: str) -> None:
        """Deliver nothing more of a queue."""
        self._credits.pop(queue, None)
        topic = self.cluster.names.queue(queue)
        if queue not in self.listener and self._queue_of.pop(topic, ""):
            self._groups.leave(topic, _LINGER)

    def get(self, queue: str) -> Raw:
        """Return one message, if there is one.

        Raises:
            queue.Empty: there is none.
        """
        if queue in self.listener:
            self.listener.wait_until_reading()
            while (heard := self.listener.take(lambda name: name == queue)) is not None:
                if (raw := self._decoded_broadcast(*heard)) is not None:
                    return raw
            raise Empty
        topic = self.cluster.names.queue(queue)
        try:
            raw = self._take(topic)
            if raw is None and self.size(queue) > 0:
                raw = self._get_from_group(topic)
        finally:
            if topic not in self._queue_of:
                self._groups.leave(topic, _GET_LINGER)
        if raw is None:
            raise Empty
        return raw

    def finish(self, delivery_tag: str) -> None:
        """A message is done with. Any thread."""
        if delivery_tag.startswith(_BROADCAST):
            self._heard.pop(delivery_tag, None)
        else:
            self._inbox.finish(delivery_tag)

    def put_back(self, delivery_tag: str) -> None:
        """A message shall be handed out again. Any thread."""
        heard = self._heard.pop(delivery_tag, None)
        if heard is not None:
            self.listener.put_back(*heard)
        else:
            self._inbox.put_back(delivery_tag)

    def dead_letter(self, delivery_tag: str, reason: str) -> None:
        """Keep a message on the dead-letter topic, then finish it. Any thread.

        Raises:
            TransportError: it could not be stored, and stays unfinished.
        """
        held = self._inbox.held(delivery_tag)
        if held is not None:
            dead_letter(self.cluster, held.arrival, reason)
        if held is not None or delivery_tag in self._heard:
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
        self._groups.close()
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
            raw = self._decoded_broadcast(queue, arrival)
        except Undecodable as reason:
            logger.warning("a broadcast message is dropped: %s", reason)
            return True
        if raw is not None:
            if queue in self._no_ack:
                self.finish(raw["properties"]["delivery_tag"])
            self._callbacks[queue](raw)
        return True

    def _decoded(self, held: Held) -> Raw | None:
        """Decode a record; None for one that nobody shall have, and with which the partition goes on.

        What is too large or cannot be decoded goes to the dead-letter topic; what has expired is finished.
        """
        size, most = len(held.arrival.value), self.cluster.options.max_message_bytes
        if most and size > most:
            self.dead_letter(held.tag, f"its body has {size:,} bytes, and max_message_bytes allows {most:,}")
            return None
        try:
            raw = decode(held.arrival, held.tag, held.redelivered)
        except Undecodable as reason:
            self.dead_letter(held.tag, str(reason))
            return None
        if is_expired(raw, held.arrival.headers, time.time()):
            self.cluster.counters.add("expired")
            self.finish(held.tag)
            return None
        return raw

    def _decoded_broadcast(self, queue: str, arrival: Arrival) -> Raw | None:
        tag = f"{_BROADCAST}{next(self._broadcast_tags)}"
        raw = decode(arrival, tag, redelivered=False)
        if is_expired(raw, arrival.headers, time.time()):
            self.cluster.counters.add("expired")
            return None
        self._heard[tag] = (queue, arrival)
        return raw

    def _may_have(self, queue: str) -> bool:
        credit = self._credits.get(queue)
        return credit is not None and (queue in self._no_ack or credit.can_consume())

    def _topic_may_be_delivered(self, topic: str) -> bool:
        queue = self._queue_of.get(topic)
        return queue is not None and self._may_have(queue)

    def _take(self, topic: str) -> Raw | None:
        self._inbox.raise_failure()
        while (held := self._inbox.take(lambda ready: ready == topic)) is not None:
            if (raw := self._decoded(held)) is not None:
                return raw
        return None

    def _get_from_group(self, topic: str) -> Raw | None:
        consumer = self._groups.read(topic)
        deadline = time.monotonic() + _GET_WITHIN
        joined = False
        while (raw := self._take(topic)) is None and time.monotonic() < deadline:
            if consumer.joined and not joined:
                joined, deadline = True, time.monotonic() + _GET_JOINED
            self.wakeup.wait(0.05)
        self.wake()
        return raw
