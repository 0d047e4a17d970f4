"""The inbox: records that arrived and may be handed to the worker, in the order the option asks for.

Records wait in *lanes*. A lane is what must not overtake itself: a key of a partition, a whole partition, or a single
record. A lane whose head is out (handed out, unacknowledged) waits; all others are ready. Topics take turns, so a
long queue does not delay a short one, and each topic has its own bound, beyond which its partitions are paused.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

from ..counters import Counters
from ..errors import TransportError
from ..options import Options
from ..records import Arrival
from ..wakeup import Wakeup
from .assignments import Assignment

_NOTHING_DUE = 1.0

Lane = tuple[Assignment, Hashable]
Wanted = Callable[[str], bool]


@dataclass(slots=True, eq=False)
class Held:
    """A record between its arrival and its end."""

    assignment: Assignment
    arrival: Arrival
    lane: Lane
    redelivered: bool = False
    tag: str = ""

    @property
    def topic(self) -> str:
        """Topic it came from."""
        return self.assignment.topic


@dataclass(slots=True)
class _Load:
    """What of one topic waits here."""

    messages: int = 0
    size: int = 0


class Inbox:
    """Sink of a connection's queues. Filled by their consumers' threads, emptied by the one that delivers."""

    looks_for_room = 0.01

    def __init__(self, options: Options, wakeup: Wakeup, counters: Counters) -> None:
        self._options = options
        self._wakeup = wakeup
        self._counters = counters
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._lanes: dict[Lane, deque[Held]] = {}
        self._ready: dict[str, deque[Lane]] = {}
        self._load: dict[str, _Load] = {}
        self._out: dict[str, Held] = {}
        self._congested: set[object] = set()
        self._tags = itertools.count(1)
        self._error: TransportError | None = None
        counters.measure(self)

    # -- the side of the one that delivers -----------------------------------------------------------------------

    def take(self, wanted: Wanted) -> Held | None:
        """Hand out the next record of a topic that is ``wanted``; None when there is none."""
        with self._lock:
            for topic in list(self._ready):
                lanes = self._ready[topic]
                if lanes and wanted(topic):
                    self._ready[topic] = self._ready.pop(topic)
                    return self._hand_out(lanes.popleft())
        return None

    def finish(self, tag: str) -> Held | None:
        """The record is done with. None when its partition has left: then nothing is done."""
        with self._lock:
            held = self._out.pop(tag, None)
            if held is not None:
                self._free_lane_of(held)
        if held is None:
            self._counters.add("acks_fenced")
            return None
        held.assignment.finish(held.arrival.offset)
        self._wake_if_ready()
        return held

    def held(self, tag: str) -> Held | None:
        """The record handed out under ``tag``; None when it is finished or its partition has left."""
        with self._lock:
            return self._out.get(tag)

    def put_back(self, tag: str) -> None:
        """The record shall be handed out again, first of its lane."""
        with self._lock:
            held = self._out.pop(tag, None)
            if held is None:
                return
            held.redelivered = True
            self._lanes[held.lane].appendleft(held)
            self._ready.setdefault(held.topic, deque()).appendleft(held.lane)
            self._weigh(held, 1)
            self._returned.notify_all()
        self._counters.add("requeued")
        self._wakeup.set()

    def drop_waiting(self, topic: str) -> int:
        """Finish everything of a topic that was not handed out (its queue was purged)."""
        with self._lock:
            gone = [held for lane in self._lanes.values() for held in lane if held.topic == topic]
            for held in gone:
                self._forget(held)
        for held in gone:
            held.assignment.finish(held.arrival.offset)
        return len(gone)

    def out(self, topic: str) -> int:
        """How many records of a topic are handed out and unacknowledged."""
        with self._lock:
            return sum(held.topic == topic for held in self._out.values())

    def has_ready(self) -> bool:
        """Tell whether anything could be handed out."""
        with self._lock:
            return any(self._ready.values())

    def levels(self) -> dict[str, float]:
        """Return what is held at this moment, for the counters."""
        with self._lock:
            loads = list(self._load.values())
            return {
                "buffered_messages": sum(load.messages for load in loads),
                "buffered_bytes": sum(load.size for load in loads),
                "queues_full": len(self._congested),
                "unacknowledged_messages": len(self._out),
            }

    def raise_failure(self) -> None:
        """Raise what ended the consumer, if anything did."""
        if self._error is not None:
            raise self._error

    # -- the consumer's side (Sink) ------------------------------------------------------------------------------

    def accept(self, assignment: Assignment, arrival: Arrival) -> None:
        """Put a record into its lane."""
        held = Held(assignment, arrival, self._lane_of(assignment, arrival))
        with self._lock:
            self._weigh(held, 1)
            lane = self._lanes.get(held.lane)
            if lane is None:
                self._lanes[held.lane] = deque([held])
                self._ready.setdefault(held.topic, deque()).append(held.lane)
            else:
                lane.append(held)

    def accepted(self) -> None:
        """Wake the one that delivers."""
        self._wake_if_ready()

    def congested(self) -> Collection[object]:
        """Topics at their bound; they stay congested until half of it is gone."""
        with self._lock:
            for topic, load in self._load.items():
                fill = max(load.messages / self._options.buffer_messages, load.size / self._options.buffer_bytes)
                if fill >= 1:
                    self._congested.add(topic)
                elif fill <= 0.5:
                    self._congested.discard(topic)
            return set(self._congested)

    def turn(self) -> float:
        """Nothing is ever due here."""
        return _NOTHING_DUE

    def leaving(self, assignments: Collection[Assignment], patience: float) -> None:
        """Drop what waits, and wait for what is out."""
        going, deadline = set(assignments), time.monotonic() + patience
        with self._lock:
            for held in [held for lane in self._lanes.values() for held in lane if held.assignment in going]:
                self._forget(held)
            while any(held.assignment in going for held in self._out.values()):
                left = deadline - time.monotonic()
                if left <= 0 or not self._returned.wait(left):
                    break

    def left(self, assignments: Collection[Assignment]) -> None:
        """Forget what waits and what is out: an acknowledgement will find nothing."""
        going = set(assignments)
        with self._lock:
            for tag in [tag for tag, held in self._out.items() if held.assignment in going]:
                del self._out[tag]
            for lane in [lane for lane in self._lanes if lane[0] in going]:
                for held in self._lanes.pop(lane):
                    self._weigh(held, -1)
            for topic, lanes in self._ready.items():
                self._ready[topic] = deque(lane for lane in lanes if lane[0] not in going)

    def holds(self, topic: str) -> bool:
        """Tell whether records of this topic are out."""
        return self.out(topic) > 0

    def failed(self, error: TransportError) -> None:
        """Make the one that delivers raise this."""
        self._error = error
        self._wakeup.set()

    # -- inside; the lock is held --------------------------------------------------------------------------------

    def _hand_out(self, lane: Lane) -> Held:
        held = self._lanes[lane].popleft()
        self._weigh(held, -1)
        held.tag = str(next(self._tags))
        seen_before = held.assignment.hand_out(held.arrival.offset)
        held.redelivered = held.redelivered or seen_before
        self._out[held.tag] = held
        return held

    def _free_lane_of(self, held: Held) -> None:
        if self._lanes[held.lane]:
            self._ready.setdefault(held.topic, deque()).append(held.lane)
        else:
            del self._lanes[held.lane]
        self._returned.notify_all()

    def _forget(self, held: Held) -> None:
        lane = self._lanes[held.lane]
        lane.remove(held)
        self._weigh(held, -1)
        if not lane:
            ready = self._ready.get(held.topic, deque())
            if held.lane in ready:
                ready.remove(held.lane)
                del self._lanes[held.lane]

    def _weigh(self, held: Held, sign: int) -> None:
        load = self._load.setdefault(held.topic, _Load())
        load.messages += sign
        load.size += sign * len(held.arrival.value)

    def _lane_of(self, assignment: Assignment, arrival: Arrival) -> Lane:
        if self._options.ordering == "partition":
            return assignment, None
        key = arrival.key if self._options.ordering == "key" else None
        return assignment, arrival.offset if key is None else key

    def _wake_if_ready(self) -> None:
        if self.has_ready():
            self._wakeup.set()
