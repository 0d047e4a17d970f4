"""Sending waiting messages on: what is on its way, what was not taken, and where that goes. Used by the mover.

A record is finished when its copy is confirmed, so a crash repeats a message rather than losing it. What a target does
not take waits on the wheel for another try, outside of any memory, so that one queue without a leader does not hold up
the others; what it will never take goes to the dead-letter topic. Only when even the wheel takes nothing, which means
that the cluster is away, does a message wait here.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from confluent_kafka import KafkaError

from ..cluster import Cluster
from ..consuming.assignments import Assignment
from ..deadletters import dead_letter
from ..errors import PublishRefused, TransportError
from ..publishing import Delivery
from ..records import Arrival, Record
from .parking import ensure_delay_topics, partition_of
from .route import Parked, Step, park, unpark

logger = logging.getLogger(__name__)

_OPEN = 2000
"""Copies on their way at once."""
_OPEN_EACH = 500
"""The same, to one topic."""
_AILS_AFTER = 2.0
"""A topic that confirmed nothing for so long gets nothing more until it does."""
_LOOK_AGAIN_AFTER = 4.0
"""What is due for such a topic waits on the wheel for so long."""
_LOOK_FOR_CONFIRMATIONS = 0.005
_LONGEST_PAUSE = 8.0
_GIVE_UP = 12
"""Tries before a target that does not exist, or refuses us, is believed to stay so: about a minute and a half."""
_TOO_MUCH = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD}
    | {KafkaError._INVALID_ARG, KafkaError.INVALID_TIMESTAMP}
)
"""The record's fault, or that of a batch-mate: it is tried alone before it is given up."""
_NO_TARGET = frozenset(
    {KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART}
    | {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.TOPIC_EXCEPTION}
)


@dataclass(slots=True, eq=False)
class Waiting:
    """A record between its arrival on a delay topic and the confirmation of its copy elsewhere."""

    assignment: Assignment
    arrival: Arrival
    parked: Parked
    pauses: int = 0
    burial: str = ""
    """Why it goes to the dead-letter topic, when it does."""

    @property
    def size(self) -> int:
        """Bytes it takes here, roughly: each header is two objects in a tuple."""
        return 500 + len(self.arrival.value) + 200 * len(self.arrival.headers)


@dataclass(slots=True)
class _Way:
    """What is on its way to one topic, and when that last changed."""

    open: int
    moved: float


class Forwarder:
    """Everything runs in the mover's thread, but confirmations, which come in whichever thread serves the producer."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._route = cluster.route
        self._clock = clock
        self._lock = threading.Lock()
        self._ways: dict[str, _Way] = {}
        self._open = 0
        self._failed: deque[tuple[Waiting, str, KafkaError | TransportError]] = deque()
        self._later: list[tuple[float, int, Waiting]] = []
        self._order = itertools.count()

    def forward(self, waiting: Waiting, now: float) -> bool:
        """Send a record on to where it waits next, or to its queue. False: not now, too much is on its way."""
        step = self._route.step(waiting.parked.due, now)
        topic = waiting.parked.target if step is None else step.topic
        if self._is_free(topic, now):
            self._send(waiting, step, now)
            return True
        if topic != self._route.soon and self._ails(topic, now) and self._is_free(self._route.soon, now):
            self._send(waiting, self._route.again(_LOOK_AGAIN_AFTER, now), now)
            return True
        return False

    def bury(self, waiting: Waiting, reason: str, now: float) -> None:
        """Keep a record on the dead-letter topic, now or as soon as that takes it."""
        try:
            dead_letter(self._cluster, waiting.arrival, reason)
        except TransportError as failure:
            logger.warning("a delayed message could not be kept aside (%s) and is tried again: %s", reason, failure)
            waiting.burial = reason
            self._wait_here(waiting, now)
        else:
            waiting.assignment.finish(waiting.arrival.offset)

    def turn(self, now: float) -> None:
        """Look after what was not taken."""
        self._cluster.publisher.serve()
        self._look_after_failures(now)
        while self._later and self._later[0][0] <= now:
            waiting = self._later[0][2]
            if waiting.burial:
                heapq.heappop(self._later)
                self.bury(waiting, waiting.burial, now)
            elif self.forward(waiting, now):
                heapq.heappop(self._later)
            else:
                break

    def patience(self, now: float) -> float:
        """In how many seconds another turn is wanted."""
        if self._open or self._failed:
            return _LOOK_FOR_CONFIRMATIONS
        return max(_LOOK_FOR_CONFIRMATIONS, self._later[0][0] - now) if self._later else math.inf

    def settle(self, patience: float) -> None:
        """Wait for the confirmations of what is on its way."""
        deadline = time.monotonic() + patience
        self._cluster.publisher.serve()
        while self._open and time.monotonic() < deadline:
            self._cluster.publisher.serve(0.05)
            time.sleep(0.001)

    def forget(self, going: Collection[Assignment]) -> None:
        """These have left: whoever has them now begins with what was not confirmed."""
        with self._lock:
            self._failed = deque(entry for entry in self._failed if entry[0].assignment not in going)
        self._later = [entry for entry in self._later if entry[2].assignment not in going]
        heapq.heapify(self._later)

    # -- inside --------------------------------------------------------------------------------------------------

    def _is_free(self, topic: str, now: float) -> bool:
        way = self._ways.get(topic)
        return self._open < _OPEN and (way is None or (way.open < _OPEN_EACH and not self._ails(topic, now)))

    def _ails(self, topic: str, now: float) -> bool:
        way = self._ways.get(topic)
        return way is not None and way.open > 0 and now - way.moved > _AILS_AFTER

    def _send(self, waiting: Waiting, step: Step | None, now: float, tries: int = -1) -> None:
        record = Record(waiting.arrival.key, waiting.arrival.value, waiting.arrival.headers)
        parked = waiting.parked
        if step is None:
            topic, record, partition = parked.target, unpark(record), -1
        else:
            topic, partition = step.topic, partition_of(self._cluster, step)
            record = park(record, parked.target, parked.due, step.release, parked.tries if tries < 0 else tries)
        self._on_its_way(topic, now)
        try:
            then = self._deliver if step is None else self._hop
            self._cluster.publisher.send(topic, record, lambda delivery: then(waiting, delivery), partition)
        except TransportError as failure:
            self._arrived(topic)
            self._failed.append((waiting, topic, failure))

    def _deliver(self, waiting: Waiting, delivery: Delivery) -> None:
        if delivery.error is None:
            self._cluster.counters.add("delays_delivered")
            self._cluster.counters.observe("delay_lateness", self._clock() - waiting.parked.due)
        self._hop(waiting, delivery)

    def _hop(self, waiting: Waiting, delivery: Delivery) -> None:
        self._arrived(delivery.topic)
        if delivery.error is None:
            waiting.assignment.finish(waiting.arrival.offset)
        else:
            with self._lock:
                self._failed.append((waiting, delivery.topic, delivery.error))

    def _on_its_way(self, topic: str, now: float) -> None:
        with self._lock:
            way = self._ways.setdefault(topic, _Way(0, now))
            if not way.open:
                way.moved = now
            way.open += 1
            self._open += 1

    def _arrived(self, topic: str) -> None:
        with self._lock:
            way = self._ways[topic]
            way.open -= 1
            way.moved = self._clock()
            self._open -= 1

    def _look_after_failures(self, now: float) -> None:
        count, example = len(self._failed), ""
        for _ in range(count):
            waiting, topic, error = self._failed.popleft()
            example = f"{topic}: {error}"
            if waiting.assignment.live:
                self._cluster.counters.add("delays_retried")
                self._look_after(waiting, topic, error, now)
        if count:
            logger.warning("%d delayed messages were not taken and are tried again, e.g. by %s", count, example)

    def _look_after(self, waiting: Waiting, topic: str, error: KafkaError | TransportError, now: float) -> None:
        code = error.code() if isinstance(error, KafkaError) else None
        if topic != waiting.parked.target:
            if code in _NO_TARGET:
                self._make_delay_topics()
            self._wait_here(waiting, now)
        elif code in _TOO_MUCH:
            self._send_alone(waiting, now)
        elif code in _NO_TARGET and waiting.parked.tries >= _GIVE_UP:
            self.bury(waiting, f"it was due, and topic {topic!r} does not take it: {error}", now)
        else:
            tries = waiting.parked.tries + 1
            self._send(waiting, self._route.again(min(2.0 ** (tries - 1), _LONGEST_PAUSE), now), now, tries)

    def _make_delay_topics(self) -> None:
        """Somebody has deleted one: what waits for it would wait for ever."""
        try:
            ensure_delay_topics(self._cluster)
        except TransportError as failure:
            logger.warning("a delay topic is missing and cannot be made: %s", failure)

    def _send_alone(self, waiting: Waiting, now: float) -> None:
        arrival, target = waiting.arrival, waiting.parked.target
        try:
            self._cluster.publisher.publish(target, unpark(Record(arrival.key, arrival.value, arrival.headers)))
        except PublishRefused as refusal:
            self.bury(waiting, str(refusal), now)
        except TransportError:
            self._wait_here(waiting, now)
        else:
            self._cluster.counters.add("delays_delivered")
            waiting.assignment.finish(arrival.offset)

    def _wait_here(self, waiting: Waiting, now: float) -> None:
        waiting.pauses += 1
        pause = min(0.1 * 2.0 ** min(waiting.pauses, 10), _LONGEST_PAUSE)
        heapq.heappush(self._later, (now + pause, next(self._order), waiting))
