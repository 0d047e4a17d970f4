"""Publishing: one idempotent producer per process, and a publish returns when the cluster has confirmed it.

Threads share the producer. Whoever waits for a confirmation serves the producer's callbacks for all (one leader at a
time); a dedicated polling thread would cost a thread switch per message.

An idempotent producer that meets an error it cannot repair is *fatal*: it is replaced, and its last answers are still
heard, so that nobody waits for them in vain.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from .counters import Counters
from .errors import PublishFailed, PublishRefused, PublishTimedOut, TransportError, is_hopeless, told
from .records import Record

logger = logging.getLogger(__name__)

_TOPIC_UNKNOWN = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART})
_TOPIC_RETURNS_WITHIN = 10.0
_PAUSE = 0.1
_MARGIN = 2.0
"""librdkafka reports its own timeout; only if even that report is missing does the wait end by itself."""
_CONSEQUENCES = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FATAL})
"""What becomes of a retired producer's messages; the cause is what retired it."""
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


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
        why: Callable[[str, KafkaError], str] = lambda _topic, error: told(error),
        on_stored: Callable[[], None] = lambda: None,
        on_replaced: Callable[[Producer], None] = lambda _producer: None,
    ) -> None:
        """``why`` explains an error on a topic, and may ask the cluster; ``on_replaced`` lets go of a producer."""
        self._make_producer = make_producer
        self._timeout = timeout
        self._counters = counters
        self._on_unknown_topic = on_unknown_topic
        self._why = why
        self._on_stored = on_stored
        self._on_replaced = on_replaced
        self._turn = threading.Condition()
        self._leader: int | None = None
        self._producer: Producer | None = None
        self._retired: dict[Producer, KafkaError] = {}

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
                why = self._why(delivery.topic, KafkaError(KafkaError._MSG_TIMED_OUT))
                raise PublishTimedOut(delivery.topic, timeout or self._timeout, why)
            if delivery.error is not None:
                raise self._as_error(delivery, delivery.error)

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
        self._poll(producer, 0)

    def flush(self, timeout: float) -> int:
        """Wait for what is on its way; return how many messages are still unconfirmed."""
        producer = self._producer
        if producer is None:
            return 0
        try:
            return int(producer.flush(timeout))
        except (KafkaException, SystemError):
            # Of a fatal producer; the Python layer sometimes forgets to set the exception, hence SystemError.
            return len(producer)

    def listen(self) -> None:
        """Hear what the producer has to complain about, if there is one."""
        if self._producer is not None:
            self._poll(self._producer, 0)

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
            self._serve_or_follow(min(left, 0.1), lambda: delivery.done)
        return True

    def _serve_or_follow(self, timeout: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Serve the producer, or wait for news from the thread that does."""
        if self._take_lead():
            self._lead(timeout)
            return
        with self._turn:
            if self._leader is not None and not enough():
                self._turn.wait(timeout)

    def _take_lead(self) -> bool:
        """Become the one that serves. A thread that an exception (a time limit) interrupted may lead again."""
        me = threading.get_ident()
        with self._turn:
            if self._leader not in (None, me):
                return False
            self._leader = me
            return True

    def _lead(self, timeout: float) -> None:
        try:
            if self._retired:
                self._hear_the_retired()
            self._poll(self._current(), timeout)
        finally:
            with self._turn:
                self._leader = None
                self._turn.notify_all()

    def _hear_the_retired(self) -> None:
        for retired in list(self._retired):
            self._poll(retired, 0)
            if not len(retired):
                del self._retired[retired]
                self._on_replaced(retired)

    def _poll(self, producer: Producer, timeout: float) -> None:
        """Run callbacks; a fatal error is raised by the poll itself, besides the answers to messages."""
        try:
            producer.poll(timeout)
        except KafkaException as broken:
            self._retire(producer, broken.args[0])

    def _enqueue(self, delivery: Delivery) -> None:
        topic, record, deadline = delivery.topic, delivery.record, time.monotonic() + self._timeout
        while True:
            producer = self._current()
            report = partial(self._report, delivery, producer)
            try:
                producer.produce(
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
                self._serve_or_follow(0.05)
            except KafkaException as refused:
                error = refused.args[0]
                if error.code() == KafkaError._FATAL and time.monotonic() < deadline:
                    # Of this message nothing has left; the next producer may do better, or says why not.
                    self._poll(producer, 0)
                    self._retire(producer, error)
                    continue
                report(error)
                return

    def _current(self) -> Producer:
        with self._turn:
            if self._producer is None:
                self._producer = self._make_producer()
            return self._producer

    def _report(
        self, delivery: Delivery, producer: Producer, error: KafkaError | None, _message: Message | None = None
    ) -> None:
        """Note what became of a message. Runs in the thread that serves the producer."""
        if error is not None and error.code() in _CONSEQUENCES:
            error = self._retired.get(producer, error)
        delivery.error = error
        delivery.done = True
        if error is None:
            self._counters.add("published")
            self._on_stored()
        else:
            self._counters.add("publish_failed")
            if error.fatal() or error.code() == KafkaError._FATAL:
                self._retire(producer, error)
            if error.code() in _TOPIC_UNKNOWN:
                self._on_unknown_topic(delivery.topic)
        if delivery.then is not None:
            delivery.then(delivery)

    def _retire(self, producer: Producer, error: KafkaError) -> None:
        with self._turn:
            if self._producer is not producer:
                return
            self._producer = None
            self._retired[producer] = error
        producer.purge()
        self._counters.add("producers_replaced")
        logger.error("the producer cannot go on and is replaced: %s", error.str())

    def _as_error(self, delivery: Delivery, error: KafkaError) -> TransportError:
        topic, cause = delivery.topic, self._why(delivery.topic, error)
        if error.code() == KafkaError._MSG_TIMED_OUT:
            return PublishTimedOut(topic, self._timeout, cause)
        if error.code() in _TOO_LARGE:
            return PublishRefused(topic, f"{len(delivery.record.value or b''):,} bytes: {cause}")
        if is_hopeless(error):
            return PublishRefused(topic, cause)
        return PublishFailed(topic, cause, certain=not error.fatal())
