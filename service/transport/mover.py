"""The mover: forwards delayed messages when they are due. It is the sink of a consumer group of its own.

What is due soon is kept in a bounded heap; of each level's partition only the head is kept, and the partition is
paused until the head may go. A record is finished when its copy is confirmed, so a crash repeats a message rather than
losing it; the ledger's islands keep what was already forwarded from being forwarded again.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from .assignments import Assignment
from .cluster import Cluster
from .deadletters import dead_letter
from .delays import Route, park, read_parked, unpark
from .errors import TransportError, Undecodable
from .publishing import Delivery
from .records import Arrival, Record

logger = logging.getLogger(__name__)

_HEAP_MESSAGES = 10_000
_HEAP_BYTES = 64 << 20
_LONGEST_TURN = 0.1
_UNCONFIRMED_LIMIT = 1000
_TRIM_EVERY = 60.0


@dataclass(slots=True, eq=False)
class _Waiting:
    assignment: Assignment
    arrival: Arrival
    due: float
    target: str

    @property
    def size(self) -> int:
        return len(self.arrival.value)


class Mover:
    """Sink of the delay topics. Everything runs in the consumer's thread, but confirmations."""

    looks_for_room = _LONGEST_TURN

    def __init__(
        self,
        cluster: Cluster,
        route: Route,
        on_failure: Callable[[TransportError], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._route = route
        self._on_failure = on_failure
        self._clock = clock
        self._lock = threading.Lock()
        self._assignments: set[Assignment] = set()
        self._trimmed_at = clock()
        self._order = itertools.count()
        self._heap: list[tuple[float, int, _Waiting]] = []
        self._heap_size = 0
        self._heap_full = False
        self._heads: dict[Assignment, deque[tuple[float, _Waiting]]] = {}
        self._unconfirmed = 0
        self._unstored: deque[_Waiting] = deque()

    # -- Sink ----------------------------------------------------------------------------------------------------

    def accept(self, assignment: Assignment, arrival: Arrival) -> None:
        """Let a record wait, or send it on."""
        try:
            parked = read_parked(arrival.headers)
        except Undecodable as reason:
            dead_letter(self._cluster, arrival, str(reason))
            assignment.finish(arrival.offset)
            return
        self._assignments.add(assignment)
        waiting = _Waiting(assignment, arrival, parked.due, parked.target)
        if assignment.topic == self._route.soon:
            self._push(parked.release, waiting)
        else:
            self._heads.setdefault(assignment, deque()).append((parked.release, waiting))

    def accepted(self) -> None:
        """Nothing to do: the consumer calls :meth:`turn` next."""

    def congested(self) -> Collection[object]:
        """Level partitions whose head is not due; the soon topic while the heap is full."""
        now = self._clock()
        paused: set[object] = {
            (assignment.topic, assignment.partition)
            for assignment, heads in self._heads.items()
            if heads and heads[0][0] > now
        }
        fill = max(len(self._heap) / _HEAP_MESSAGES, self._heap_size / _HEAP_BYTES)
        self._heap_full = fill >= 1 or (self._heap_full and fill > 0.5)
        if self._heap_full:
            paused.add(self._route.soon)
        return paused

    def turn(self) -> float:
        """Forward what is due; return when the next message will be."""
        now = self._clock()
        if now - self._trimmed_at > _TRIM_EVERY:
            self._trim(now)
        self._cluster.publisher.serve()
        for _ in range(len(self._unstored)):
            self._forward(self._unstored.popleft(), now)
        while self._heap and self._heap[0][0] <= now and self._unconfirmed < _UNCONFIRMED_LIMIT:
            self._forward(self._pop(), now)
        for heads in self._heads.values():
            while heads and heads[0][0] <= now and self._unconfirmed < _UNCONFIRMED_LIMIT:
                self._forward(heads.popleft()[1], now)
        return self._patience(now)

    def leaving(self, assignments: Collection[Assignment], patience: float) -> None:
        """Forward nothing more of these; wait for the confirmations of what was sent."""
        self._forget(assignments)
        deadline = time.monotonic() + patience
        while self._unconfirmed and time.monotonic() < deadline:
            self._cluster.publisher.serve(0.05)

    def left(self, assignments: Collection[Assignment]) -> None:
        """Forget these."""
        self._forget(assignments)
        self._assignments.difference_update(assignments)

    def holds(self, topic: str) -> bool:  # noqa: ARG002 - the sink's signature
        """Nothing is handed out to anybody."""
        return False

    def failed(self, error: TransportError) -> None:
        """Tell the connection: it starts a new mover when it reconnects."""
        self._on_failure(error)

    # -- inside --------------------------------------------------------------------------------------------------

    def _push(self, release: float, waiting: _Waiting) -> None:
        heapq.heappush(self._heap, (release, next(self._order), waiting))
        self._heap_size += waiting.size

    def _pop(self) -> _Waiting:
        waiting = heapq.heappop(self._heap)[2]
        self._heap_size -= waiting.size
        return waiting

    def _forward(self, waiting: _Waiting, now: float) -> None:
        arrival = waiting.arrival
        record = Record(arrival.key, arrival.value, arrival.headers)
        step = self._route.step(waiting.due, now)
        if step is None:
            topic, record = waiting.target, unpark(record)
            self._cluster.counters.add("delays_delivered")
        else:
            topic, record = step.topic, park(record, waiting.target, waiting.due, step.release)
        with self._lock:
            self._unconfirmed += 1
        try:
            self._cluster.publisher.send(topic, record, lambda delivery: self._confirmed(waiting, delivery))
        except TransportError as failure:
            self._not_stored(waiting, failure)

    def _confirmed(self, waiting: _Waiting, delivery: Delivery) -> None:
        """Runs in whichever thread serves the producer."""
        if delivery.error is not None:
            self._not_stored(waiting, delivery.error)
            return
        with self._lock:
            self._unconfirmed -= 1
        waiting.assignment.finish(waiting.arrival.offset)
        if delivery.topic == waiting.target:
            self._cluster.counters.observe("delay_lateness", self._clock() - waiting.due)

    def _not_stored(self, waiting: _Waiting, cause: object) -> None:
        logger.warning("a delayed message could not be forwarded to %s and is tried again: %s", waiting.target, cause)
        with self._lock:
            self._unconfirmed -= 1
            if waiting.assignment.live:
                self._unstored.append(waiting)

    def _trim(self, now: float) -> None:
        """Delete what was moved and committed: delay topics have no retention, so nothing else does."""
        self._trimmed_at = now
        ours = [part for part in self._assignments if part.live and part.committed > 0]
        self._cluster.topics.trim([TopicPartition(part.topic, part.partition, part.committed) for part in ours])

    def _forget(self, assignments: Collection[Assignment]) -> None:
        going = set(assignments)
        kept = [entry for entry in self._heap if entry[2].assignment not in going]
        heapq.heapify(kept)
        self._heap, self._heap_size = kept, sum(entry[2].size for entry in kept)
        with self._lock:
            self._unstored = deque(waiting for waiting in self._unstored if waiting.assignment not in going)
        for assignment in going:
            self._heads.pop(assignment, None)

    def _patience(self, now: float) -> float:
        if self._unstored:
            return _LONGEST_TURN
        if self._unconfirmed:
            return 0.002
        nexts = [heads[0][0] for heads in self._heads.values() if heads]
        if self._heap:
            nexts.append(self._heap[0][0])
        return max(0.0, min([_LONGEST_TURN, *(moment - now for moment in nexts)]))
