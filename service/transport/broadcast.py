"""Messages for listeners: fanout exchanges, remote control, events, and queues that live as long as a connection.

Such a queue has no topic. Its exchange has one (a single partition, kept for minutes), every connection that listens
reads it from the moment of its binding, without a group, and picks what its own bindings match. Reading begins when
the queue is first consumed. What is sent to a queue by its name is not missed by a second connection of the process:
it begins where the process first declared the queue, or where it last took a message (``rpc://`` declares its queue on
the connection that publishes, and consumes on another).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, TopicPartition

from .cluster import Cluster, let_go
from .errors import ConsumerFailed, TransportError, as_transport_error, told
from .records import ROUTING_KEY, Arrival, arrival_of, header
from .wakeup import Wakeup

logger = logging.getLogger(__name__)

_WAITING_LIMIT = 5000
"""Messages kept for a queue that nobody reads; older ones are dropped and counted."""
_GROUP = "listener"
"""Named after the workers' group, so that an ACL for its prefix holds here; nobody ever joins it."""
_POLL = 0.1
_BATCH = 200

Matches = Callable[[str], bool]


class Listener:
    """A connection's temporary queues. The thread it starts alone owns the Consumer."""

    def __init__(self, cluster: Cluster, wakeup: Wakeup) -> None:
        self._cluster = cluster
        self._wakeup = wakeup
        self._lock = threading.Lock()
        self._began = threading.Condition()
        self._reading: set[str] = set()
        self._queues: dict[str, deque[Arrival]] = {}
        self._bindings: dict[str, list[tuple[str, str, Matches]]] = {}
        self._starts: deque[TopicPartition] = deque()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._error: TransportError | None = None

    def declare(self, queue: str) -> None:
        """Add a temporary queue, reachable by its name through the default exchange."""
        with self._lock:
            known = queue in self._queues
            self._queues.setdefault(queue, deque(maxlen=_WAITING_LIMIT))
        if not known:
            self.bind(queue, "", queue, lambda key: key == queue)

    def bind(self, queue: str, exchange: str, binding_key: str, matches: Matches) -> None:
        """Let ``queue`` have the exchange's messages from now on whose routing key matches."""
        topic = ensure_broadcast(self._cluster, exchange)
        with self._lock:
            first = topic not in self._bindings
            bindings = self._bindings.setdefault(topic, [])
            if any(bound[:2] == (queue, binding_key) for bound in bindings):
                return
        if first or (not exchange and queue not in self._cluster.heard):
            for number, end in self._cluster.topics.ends(topic).items():
                begin = end if exchange else min(end, self._cluster.heard.setdefault(queue, end))
                if first:
                    self._starts.append(TopicPartition(topic, number, begin))
        with self._lock:
            bindings.append((queue, binding_key, matches))

    def wait_until_reading(self, timeout: float = 3.0) -> None:
        """Wait until every bound topic is read: a caller who expects an answer soon counts his seconds from now."""
        self._start()
        with self._began:
            self._began.wait_for(lambda: self._error is not None or self._bindings.keys() <= self._reading, timeout)

    def delete(self, queue: str) -> None:
        """Forget a queue and its bindings."""
        with self._lock:
            self._queues.pop(queue, None)
            self._cluster.heard.pop(queue, None)
            for bindings in self._bindings.values():
                bindings[:] = [bound for bound in bindings if bound[0] != queue]

    def unbind(self, queue: str, exchange: str, binding_key: str) -> None:
        """Let ``queue`` have no more of the exchange's messages under this binding key."""
        with self._lock:
            bindings = self._bindings.get(self._cluster.names.broadcast(exchange), [])
            bindings[:] = [bound for bound in bindings if bound[:2] != (queue, binding_key)]

    def __contains__(self, queue: object) -> bool:
        return queue in self._queues

    def take(self, wanted: Callable[[str], bool]) -> tuple[str, Arrival] | None:
        """Take the next message of a queue that is ``wanted``."""
        with self._lock:
            for queue, waiting in self._queues.items():
                if waiting and wanted(queue):
                    arrival = waiting.popleft()
                    self._note_taken(queue, arrival.topic, arrival.offset + 1)
                    return queue, arrival
        return None

    def put_back(self, queue: str, arrival: Arrival) -> None:
        """Let a message that was taken be the next again."""
        with self._lock:
            waiting = self._queues.get(queue)
            if waiting is not None and len(waiting) < _WAITING_LIMIT:
                waiting.appendleft(arrival)
                self._note_taken(queue, arrival.topic, arrival.offset)
        self._wakeup.set()

    def size(self, queue: str) -> int:
        """How many messages wait for a queue."""
        self._start()
        return len(self._queues.get(queue, ()))

    def purge(self, queue: str) -> int:
        """Drop what waits for a queue."""
        with self._lock:
            waiting = self._queues.get(queue, deque())
            count = len(waiting)
            waiting.clear()
            return count

    def raise_failure(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading."""
        self._stopping = True
        if self._thread is not None:
            self._thread.join(5)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kafka-listener", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        consumer: Consumer | None = None
        try:
            consumer = self._open()
            while not self._stopping:
                self._round(consumer)
        except Exception as failure:  # noqa: BLE001 - a thread's edge: whatever ends it must reach the connection
            self._error = as_transport_error(_GROUP, failure)
            self._cluster.pace.failed()
            self._wakeup.set()
        finally:
            if consumer is not None:
                consumer.close()
                let_go(consumer)

    def _open(self) -> Consumer:
        config = self._cluster.options.consumer(f"{self._cluster.options.group_id}.{_GROUP}")
        config["enable.partition.eof"] = True
        for of_a_member in ("group.instance.id", "group.protocol"):
            config.pop(of_a_member, None)
        return self._cluster.open_consumer(config)

    def _round(self, consumer: Consumer) -> None:
        self._assign(consumer)
        first = consumer.poll(_POLL)
        if first is None:
            return
        for message in (first, *consumer.consume(_BATCH, 0)):
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                self._note_reading(message.topic() or "")
            if error is None:
                self._distribute(arrival_of(message))
            elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise ConsumerFailed(_GROUP, told(error))
        self._wakeup.set()

    def _assign(self, consumer: Consumer) -> None:
        starts = []
        while self._starts:
            starts.append(self._starts.popleft())
        for start in starts:
            # Without the topic's metadata librdkafka finds its leader a second later only.
            consumer.list_topics(start.topic, timeout=self._cluster.options.request_timeout)
        if starts:
            consumer.incremental_assign(starts)

    def _note_taken(self, queue: str, topic: str, next_offset: int) -> None:
        if queue in self._cluster.heard and topic == self._cluster.names.broadcast(""):
            self._cluster.heard[queue] = next_offset

    def _note_reading(self, topic: str) -> None:
        if topic not in self._reading:
            with self._began:
                self._reading.add(topic)
                self._began.notify_all()

    def _distribute(self, arrival: Arrival) -> None:
        routing_key = header(arrival.headers, ROUTING_KEY)
        with self._lock:
            takers = {queue for queue, _, matches in self._bindings.get(arrival.topic, ()) if matches(routing_key)}
            for queue in takers:
                waiting = self._queues.get(queue)
                if waiting is not None:
                    self._cluster.counters.add("broadcasts_dropped", len(waiting) == waiting.maxlen)
                    waiting.append(arrival)


def ensure_broadcast(cluster: Cluster, exchange: str) -> str:
    """Make sure that an exchange's broadcast topic exists; return its name."""
    options = cluster.options
    topic = cluster.names.broadcast(exchange)
    retention = str(int(options.broadcast_retention * 1000))
    cluster.topics.ensure([topic], 1, options.replication_factor, {"retention.ms": retention})
    return topic
