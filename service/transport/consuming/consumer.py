"""The thread that alone owns one group Consumer.

It polls, keeps the ledgers of the assigned partitions, commits their watermarks, pauses what is congested, and answers
rebalances. What happens to a record is the business of its *sink*: the inbox of a connection's queues, or the mover of
delayed messages. Its topics never change. Other threads only leave wishes here (stay, leave soon, stop); they never
touch the Consumer.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Collection
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ..cluster import Cluster, let_go
from ..errors import as_transport_error, told
from ..records import arrival_of
from .assignments import Assignment
from .commits import Commits
from .growth import Growth
from .joining import JoinWatch
from .offsets import Progress
from .pauses import Pauses
from .sink import Sink

logger = logging.getLogger(__name__)

_POLL = 0.1
_BATCH = 200
_COMMITTED_TRIES = 3
_FATAL = frozenset(
    {
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError._FATAL,
    }
)


class GroupConsumer(threading.Thread):
    """Reads topics as a member of a consumer group. Start it once; stop it with :meth:`close`."""

    def __init__(
        self, cluster: Cluster, group: str, topics: Collection[str], sink: Sink, after: GroupConsumer | None = None
    ) -> None:
        """``after`` is a predecessor that is leaving: it commits and goes before this one joins."""
        super().__init__(name=f"kafka-{group}", daemon=True)
        self.group = group
        self._topics = sorted(topics)
        self._cluster = cluster
        self._options = cluster.options
        self._sink = sink
        self._after = after
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._leave_at = math.inf
        self._stopping = False
        self._joined = False
        self._assignments: dict[tuple[str, int], Assignment] = {}
        self._pauses = Pauses()
        self._growth = Growth(cluster, self._topics)
        self._watch = JoinWatch(cluster, group)
        self._commits = Commits(group, cluster.options.commit_interval, self._assignments, cluster.counters)
        self._finished = threading.Event()

    @property
    def joined(self) -> bool:
        """True once the group has answered, with partitions or without."""
        return self._joined

    def stay(self) -> bool:
        """Take back what :meth:`leave_after` said. False when it is leaving already: a successor is needed."""
        with self._lock:
            self._leave_at = math.inf
            return not self._stopping

    def leave_after(self, seconds: float) -> None:
        """Leave the group by itself in so many seconds, once nothing of its topics is out."""
        with self._lock:
            self._leave_at = time.monotonic() + seconds

    def progress(self, topic: str) -> dict[int, Progress]:
        """How far this process is on its partitions of a topic, committed or not. Any thread."""
        ours = [assignment for assignment in list(self._assignments.values()) if assignment.topic == topic]
        found = {assignment.partition: assignment.progress() for assignment in ours}
        return {partition: progress for partition, progress in found.items() if progress is not None}

    def stop(self) -> None:
        """Begin to stop; :meth:`close` waits for it."""
        with self._lock:
            self._stopping = True

    def close(self, timeout: float = 10.0) -> None:
        """Commit what is finished, leave the group, end the thread. Does nothing in a forked child."""
        self.stop()
        if self._pid == os.getpid() and self.is_alive():
            self._finished.wait(timeout)

    def run(self) -> None:
        """Poll until closed."""
        _running.add(self)
        consumer: Consumer | None = None
        try:
            if self._after is not None:
                self._after.close()
                self._after = None
            consumer = self._open()
            while not self._is_over():
                self._round(consumer)
        except Exception as failure:  # noqa: BLE001 - a thread's edge: whatever ends it must reach the connection
            self.stop()
            error = as_transport_error(self.group, failure)
            logger.error("%s", error)
            self._cluster.pace.failed()
            self._sink.failed(error)
        finally:
            if consumer is not None:
                self._leave(consumer)
            self._finished.set()

    def _open(self) -> Consumer:
        config = {**self._options.consumer(self.group), "on_commit": self._commits.on_commit}
        consumer = self._cluster.open_consumer(config)
        self._growth.begin()
        consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        return consumer

    def _is_over(self) -> bool:
        overdue = time.monotonic() >= self._leave_at and not any(self._sink.holds(topic) for topic in self._topics)
        with self._lock:
            if overdue and self._leave_at != math.inf:
                self._stopping = True
            return self._stopping

    def _round(self, consumer: Consumer) -> None:
        self._watch.look(self._joined)
        patience = self._sink.turn()
        self._follow_congestion(consumer)
        self._commits.in_passing(consumer)
        self._take(consumer, min(patience, self._sink.looks_for_room if self._pauses else _POLL))

    def _take(self, consumer: Consumer, timeout: float) -> None:
        first = consumer.poll(max(0.0, timeout))
        self._pauses.settle(consumer, self._assignments)
        if first is None:
            return
        self._accept(first)
        for message in consumer.consume(_BATCH, 0):
            self._accept(message)
        self._cluster.troubles.fine()
        self._sink.accepted()

    def _accept(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._on_message_error(error)
            return
        arrival = arrival_of(message)
        place = arrival.topic, arrival.partition
        assignment = self._assignments.get(place)
        if assignment is None:
            return
        if assignment.starts_again(arrival.offset):
            logger.warning("%r begins again at offset %d: was its topic made anew?", assignment, arrival.offset)
            self._drop([assignment])
            assignment = self._assignments[place] = Assignment(*place, None, None)
        if assignment.receive(arrival.offset):
            self._sink.accept(assignment, arrival)

    def _on_message_error(self, error: KafkaError) -> None:
        self._cluster.counters.add("consumer_errors")
        if error.fatal() or error.code() in _FATAL:
            raise KafkaException(error)
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            for topic in self._topics:
                self._cluster.topics.forget(topic)
            logger.error("group %s: %s; it goes on when the topic is there again", self.group, told(error))
        elif error.code() != KafkaError._PARTITION_EOF:
            logger.warning("group %s: %s", self.group, error.str())

    def _follow_congestion(self, consumer: Consumer) -> None:
        congested = self._sink.congested()
        if congested or self._pauses:
            wanted = {place for place in self._assignments if place in congested or place[0] in congested}
            self._pauses.follow(consumer, wanted)

    def _on_assign(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        self._joined = True
        self._cluster.counters.add("rebalances")
        if not parts:
            return
        for part in self._committed(consumer, parts):
            committed = part.offset if part.offset >= 0 else None
            self._assignments[part.topic, part.partition] = Assignment(
                part.topic, part.partition, committed, part.metadata
            )
        self._growth.assigned(parts)
        self._pauses.arrived([(part.topic, part.partition) for part in parts])
        self._cluster.counters.add("partitions_assigned", len(parts))
        logger.info("group %s: assigned %s", self.group, _listed(parts))

    def _committed(self, consumer: Consumer, parts: list[TopicPartition]) -> list[TopicPartition]:
        """Ask for the group's commits; the coordinator may be changing, so a failure is asked again."""
        for tries_left in reversed(range(_COMMITTED_TRIES)):
            try:
                answers: list[TopicPartition] = consumer.committed(parts, timeout=self._options.request_timeout)
                errors = [part.error for part in answers if part.error is not None]
                if not errors:
                    return answers
                failure = KafkaException(errors[0])
            except KafkaException as refused:
                failure = refused
            if not tries_left:
                raise failure
        raise AssertionError("unreachable")

    def _on_revoke(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        going = self._going(parts)
        if going:
            self._sink.leaving(going, 0.0 if self._stopping else self._options.revoke_drain)
            self._commits.surely(consumer, going)
            self._drop(going)
            self._cluster.counters.add("partitions_revoked", len(going))
            logger.info("group %s: gave back %s", self.group, _listed(parts))

    def _on_lost(self, _consumer: Consumer, parts: list[TopicPartition]) -> None:
        going = self._going(parts)
        if going:
            self._sink.leaving(going, 0.0)
            self._drop(going)
            self._cluster.counters.add("partitions_lost", len(going))
            logger.warning("group %s: lost %s; what is unfinished runs elsewhere", self.group, _listed(parts))

    def _going(self, parts: list[TopicPartition]) -> list[Assignment]:
        keys = [(part.topic, part.partition) for part in parts]
        return [self._assignments[key] for key in keys if key in self._assignments]

    def _drop(self, going: list[Assignment]) -> None:
        for assignment in going:
            assignment.retire()
            self._assignments.pop((assignment.topic, assignment.partition), None)
            self._pauses.gone((assignment.topic, assignment.partition))
        self._sink.left(going)

    def _leave(self, consumer: Consumer) -> None:
        try:
            going = list(self._assignments.values())
            self._sink.leaving(going, 0.0)
            self._commits.surely(consumer, going)
            self._drop(going)
            consumer.close()
        except (KafkaException, RuntimeError) as failure:
            logger.warning("group %s: leaving failed: %s", self.group, failure)
        finally:
            let_go(consumer)


def close_all(consumers: Collection[GroupConsumer], timeout: float = 10.0) -> None:
    """Let all of them leave their groups at the same time, and wait for them."""
    deadline = time.monotonic() + timeout
    for consumer in consumers:
        consumer.stop()
    for consumer in consumers:
        consumer.close(max(0.0, deadline - time.monotonic()))


_running: weakref.WeakSet[GroupConsumer] = weakref.WeakSet()


def _leave_groups_at_exit() -> None:
    """Leave the groups of a process that ends without closing its connections: else its partitions wait 6 s."""
    close_all(list(_running), 5.0)


atexit.register(_leave_groups_at_exit)


def _listed(parts: list[Any]) -> str:
    return ", ".join(f"{part.topic}[{part.partition}]" for part in parts)
