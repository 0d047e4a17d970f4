"""The mover: forwards delayed messages when they are due. It is the sink of a consumer group of its own.

Of each partition it reads a little ahead, and all of what is about to leave; the rest stays on the broker, the
partition being paused. What is due first goes first, wherever it waited. How it is sent on, and what happens when
nobody takes it, is in ``forwarding.py``.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..cluster import Cluster
from ..consuming.assignments import Assignment
from ..errors import TransportError, Undecodable
from ..records import Arrival
from .forwarding import Forwarder, Waiting
from .route import Parked, read_parked
from .trimming import Trimmer

logger = logging.getLogger(__name__)

_HELD_NEAR = 5_000
"""Messages held that may leave within the lead: beyond it everything is paused until half of them are gone."""
_HELD_BYTES = 32 << 20
_HELD_FAR = 20
"""Messages of a partition held although none may leave soon."""
_LEAD = 0.5
"""A partition is read again so long before its next message may leave: fetching it costs up to 0.1 s."""
_LONGEST_TURN = 0.1
_AT_ONCE = 400
"""Messages sent on in one turn; then confirmations, commits and the group have theirs."""
_HOPS_AT_ONCE = 100
_SETTLE = 2.0
_TOLD_APART = 500
"""A commit's metadata tells apart about a thousand stretches of moved and unmoved messages."""

Entry = tuple[float, int, Waiting]


@dataclass(slots=True)
class _Partition:
    held: int = 0
    size: int = 0
    tail: float = 0.0
    """When what came last may leave. What was not read yet may leave no earlier: publishers write in that order."""
    far: bool = False


class Mover:
    """Sink of the delay topics. Everything runs in the consumer's thread."""

    looks_for_room = _LONGEST_TURN

    def __init__(
        self,
        cluster: Cluster,
        on_failure: Callable[[TransportError], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._soon = cluster.route.soon
        self._on_failure = on_failure
        self._clock = clock
        self._forwarder = Forwarder(cluster, clock)
        self._trimmer = Trimmer(cluster, clock())
        self._order = itertools.count()
        self._partitions: dict[Assignment, _Partition] = {}
        self._due: list[Entry] = []
        self._hops: list[Entry] = []
        self._full = False
        self._going: set[Assignment] = set()
        cluster.counters.measure(self)

    # -- Sink ----------------------------------------------------------------------------------------------------

    def accept(self, assignment: Assignment, arrival: Arrival) -> None:
        """Let a record wait, or keep it aside when it does not say for what."""
        partition = self._partitions.setdefault(assignment, _Partition())
        try:
            parked = read_parked(arrival.headers)
        except Undecodable as reason:
            self._forwarder.bury(Waiting(assignment, arrival, Parked("", 0, 0)), str(reason), self._clock())
            return
        waiting = Waiting(assignment, arrival, parked)
        partition.held += 1
        partition.size += waiting.size
        partition.tail = parked.release
        if assignment.topic == self._soon:
            heapq.heappush(self._due, (max(parked.due, parked.release), next(self._order), waiting))
        else:
            heapq.heappush(self._hops, (parked.release, next(self._order), waiting))

    def accepted(self) -> None:
        """Nothing to do: the consumer calls :meth:`turn` next."""

    def congested(self) -> Collection[object]:
        """Partitions of which enough was read for now; all of them while this is full."""
        now = self._clock()
        near = size = 0
        for partition in self._partitions.values():
            lead = _LEAD if partition.far else 2 * _LEAD
            partition.far = partition.held >= _HELD_FAR and partition.tail > now + lead
            if not partition.far:
                near, size = near + partition.held, size + partition.size
        fill = max(near / _HELD_NEAR, size / _HELD_BYTES)
        self._full = fill >= 1 or (self._full and fill > 0.5)
        paused = [assignment for assignment, partition in self._partitions.items() if partition.far or self._full]
        return {(assignment.topic, assignment.partition) for assignment in paused}

    def turn(self) -> float:
        """Forward what is due; return the seconds until the next message will be."""
        now = self._clock()
        self._forwarder.turn(now)
        flows = [self._forward(self._due, _AT_ONCE, now), self._forward(self._hops, _HOPS_AT_ONCE, now)]
        self._trimmer.turn(self._partitions, now)
        patience = min(_LONGEST_TURN, self._forwarder.patience(now))
        nexts = [entries[0][0] - now for entries in (self._due, self._hops) if entries]
        return max(0.0, min([patience, *nexts])) if all(flows) else patience

    def leaving(self, assignments: Collection[Assignment], patience: float) -> None:
        """Forward nothing more of these; wait for the confirmations of what was sent."""
        self._going.update(assignments)
        self._thin_out(assignments)
        self._forget(assignments)
        self._forwarder.settle(max(patience, _SETTLE))

    def left(self, assignments: Collection[Assignment]) -> None:
        """Forget these."""
        self._forget(assignments)
        for assignment in assignments:
            self._partitions.pop(assignment, None)
        # Only what was announced: the offsets of a topic that was made anew would trim what nobody has read.
        self._trimmer.finally_(self._going.intersection(assignments), _SETTLE)
        self._going.difference_update(assignments)

    def holds(self, topic: str) -> bool:  # noqa: ARG002 - the sink's signature
        """Nothing is handed out to anybody."""
        return False

    def failed(self, error: TransportError) -> None:
        """Tell the connection: it starts a new mover when it reconnects."""
        self._on_failure(error)

    def levels(self) -> dict[str, float]:
        """Return what is held at this moment, for the counters."""
        size = sum(partition.size for partition in list(self._partitions.values()))
        return {"delayed_held_messages": len(self._due) + len(self._hops), "delayed_held_bytes": size}

    # -- inside --------------------------------------------------------------------------------------------------

    def _forward(self, entries: list[Entry], at_most: int, now: float) -> bool:
        """Forward what is due of ``entries``. False when something is due and too much is on its way already."""
        for _ in range(at_most):
            if not entries or entries[0][0] > now:
                break
            if not self._forwarder.forward(entries[0][2], now):
                return False
            waiting = heapq.heappop(entries)[2]
            partition = self._partitions[waiting.assignment]
            partition.held -= 1
            partition.size -= waiting.size
        return True

    def _thin_out(self, going: Collection[Assignment]) -> None:
        """Put on the wheel once more what a commit could not tell from what has left: see :mod:`.offsets`."""
        crowded = {part for part in going if part in self._partitions and self._partitions[part].held > _TOLD_APART}
        for _, _, waiting in self._due:
            if waiting.assignment in crowded and not self._forwarder.forward(waiting, self._clock()):
                self._forwarder.settle(_SETTLE)
                self._forwarder.forward(waiting, self._clock())

    def _forget(self, assignments: Collection[Assignment]) -> None:
        going = set(assignments)
        for entries in (self._due, self._hops):
            entries[:] = [entry for entry in entries if entry[2].assignment not in going]
            heapq.heapify(entries)
        for assignment in going & self._partitions.keys():
            partition = self._partitions[assignment]
            partition.held = partition.size = 0
        self._forwarder.forget(going)
