"""Publishing: one idempotent producer per process, and a publish returns when the cluster has confirmed it.

Threads share the producer. Whoever waits for a confirmation serves the producer's callbacks for all (one leader at a
time); a dedicated polling thread would cost a thread switch per message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from .counters import Counters
from .errors import PublishFailed, PublishRefused, PublishTimedOut, TransportError, is_hopeless
from .records import Record

logger = logging.getLogger(__name__)

_TOPIC_UNKNOWN = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART})
_TOPIC_RETURNS_WITHIN = 10.0
_PAUSE = 0.1
_MARGIN = 2.0
"""librdkafka reports its own timeout; only if even that report is missing does the wait end by itself."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One message on its way. ``done`` is set by the thread that serves the producer."""

    topic: str
    record: Record
    then: Callable[[Delivery], Any] | None = None
    partition: int = -1
    """-1: the key decides."""
    done: bool = False
    error: KafkaError | None = None
    sent_at: float = field(default_factory=time.monotonic)


class Publisher:
    """The process's producer. Every method may be called from any thread."""

    def __init__(
        self,
        make_producer: Callable[[], Producer],
        timeout: float,
        counters: Counters,
        on_unknown_topic: Callable[[str], None],
    ) -> None:
        self._make_producer = make_producer
        self._timeout = timeout
        self._counters = counters
        self._on_unknown_topic = on_unknown_topic
        self._turn = threading.Condition()
        self._has_leader = False
        self._producer: Producer | None = None

    def publish(self, topic: str, record: Record, timeout: float | None = None) -> None:
        """Write one record and return when it is confirmed.

        Raises:
            PublishRefused: it will be refused again. PublishTimedOut: it is unknown whether it was stored.
            PublishFailed: it was not stored.
        """
        self.wait([self.send(topic, record)], timeout)

    def send(
        self, topic: str, record: Record, then: Callable[[Delivery], Any] | None = None, partition: int = -1
    ) -> Delivery:
        """Hand a record to the producer and go on. ``then`` runs in the thread that serves the producer."""
        delivery = Delivery(topic, record, then, partition)
        self._enqueue(delivery)
        return delivery

    def wait(self, deliveries: Iterable[Delivery], timeout: float | None = None) -> None:
        """Return when all are confirmed; raise for the first that is not."""
        deadline = time.monotonic() + (timeout or self._timeout + _MARGIN)
        for delivery in deliveries:
            while self._is_open(delivery, deadline):
                self._send_again(delivery)
            if not delivery.done:
                raise PublishTimedOut(delivery.topic, timeout or self._timeout)
            if delivery.error is not None:
                raise _as_error(delivery.topic, delivery.error, self._timeout)

    def serve(self, timeout: float = 0.0) -> None:
        """Run the callbacks that are due, unless another thread is at it."""
        if self._take_lead():
            self._lead(timeout)

    def warm_up(self, timeout: float) -> None:
        """Let a new producer fetch its id and metadata now: otherwise the first message pays for it.

        Raises:
            KafkaException: no broker answered.
        """
        producer = self._current()
        producer.list_topics(timeout=timeout)
        producer.poll(0)

    def flush(self, timeout: float) -> int:
        """Wait for what is on its way; return how many messages are still unconfirmed."""
        return 0 if self._producer is None else int(self._producer.flush(timeout))

    def _is_open(self, delivery: Delivery, deadline: float) -> bool:
        """Serve until the delivery is reported; True when it shall be sent again.

        A broker that has just started may not know its topics yet, and librdkafka then refuses messages at once.
        Nothing of such a message has left, so sending it again cannot double it.
        """
        self._served(delivery, deadline)
        refused = delivery.error is not None and delivery.error.code() in _TOPIC_UNKNOWN
        return refused and time.monotonic() < min(deadline, delivery.sent_at + _TOPIC_RETURNS_WITHIN)

    def _send_again(self, delivery: Delivery) -> None:
        time.sleep(_PAUSE)
        delivery.done, delivery.error = False, None
        self._enqueue(delivery)

    def _served(self, delivery: Delivery, deadline: float) -> bool:
        while not delivery.done:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._take_lead():
                self._lead(min(left, 0.1))
            else:
                with self._turn:
                    if self._has_leader and not delivery.done:
                        self._turn.wait(min(left, 0.1))
        return True

    def _take_lead(self) -> bool:
        with self._turn:
            taken = not self._has_leader
            self._has_leader = True
            return taken

    def _lead(self, timeout: float) -> None:
        try:
            self._current().poll(timeout)
        finally:
            with self._turn:
                self._has_leader = False
                self._turn.notify_all()

    def _enqueue(self, delivery: Delivery) -> None:
        topic, record, deadline = delivery.topic, delivery.record, time.monotonic() + self._timeout

        def report(error: KafkaError | None, _message: Message | None = None) -> None:
            delivery.error = error
            delivery.done = True
            self._count(error)
            if error is not None and error.code() in _TOPIC_UNKNOWN:
                self._on_unknown_topic(topic)
            if delivery.then is not None:
                delivery.then(delivery)

        while True:
            try:
                self._current().produce(
                    topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=delivery.partition,
                    on_delivery=report,
                )
                return
            except BufferError:
                if time.monotonic() > deadline:
                    raise PublishFailed(topic, "this process's send buffer is full and does not drain") from None
                self.serve(0.05)
            except KafkaException as refused:
                report(refused.args[0])
                return

    def _current(self) -> Producer:
        with self._turn:
            if self._producer is None:
                self._producer = self._make_producer()
            return self._producer

    def _count(self, error: KafkaError | None) -> None:
        if error is None:
            self._counters.add("published")
            return
        self._counters.add("publish_failed")
        if error.fatal():
            logger.error("the producer cannot go on and is replaced: %s", error)
            with self._turn:
                self._producer = None


def _as_error(topic: str, error: KafkaError, timeout: float) -> TransportError:
    if error.code() == KafkaError._MSG_TIMED_OUT:
        return PublishTimedOut(topic, timeout)
    if is_hopeless(error):
        return PublishRefused(topic, error.str())
    return PublishFailed(topic, error.str())
