"""The thread that alone owns one group Consumer.

It polls, keeps the ledgers of the assigned partitions, commits their watermarks, pauses what is congested, and answers
rebalances. What happens to a record is the business of its *sink*: the inbox of a connection's queues, or the mover of
delayed messages. Other threads only leave wishes here (which topics, stop); they never touch the Consumer.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Collection
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from .assignments import Assignment
from .cluster import Cluster, keep_from_children, let_go
from .commits import Commits
from .errors import ConsumerFailed, TransportError
from .librdkafka_log import client_logger
from .offsets import Progress
from .records import arrival_of
from .sink import Sink

logger = logging.getLogger(__name__)

_POLL = 0.1
_BATCH = 200
_SETTLE = 0.02
"""Several wishes for topics in a row become one subscription."""
_LINGER = 0.5
"""A topic that is no longer wanted keeps its place this long: queues are often switched within a moment."""
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

    def __init__(self, cluster: Cluster, group: str, sink: Sink) -> None:
        super().__init__(name=f"kafka-{group}", daemon=True)
        self.group = group
        self._cluster = cluster
        self._options = cluster.options
        self._sink = sink
        self._pid = os.getpid()
        self._wishes = threading.Lock()
        self._wanted: frozenset[str] = frozenset()
        self._wanted_since = 0.0
        self._subscribed: frozenset[str] = frozenset()
        self._assignments: dict[tuple[str, int], Assignment] = {}
        self._paused: set[tuple[str, int]] = set()
        self._fresh: list[TopicPartition] = []
        self._commits = Commits(group, cluster.options.commit_interval, self._assignments, cluster.counters)
        self._stopping = False
        self._finished = threading.Event()

    def want(self, topics: Collection[str]) -> None:
        """Read these topics from now on, and no others."""
        with self._wishes:
            self._wanted, self._wanted_since = frozenset(topics), time.monotonic()

    def progress(self, topic: str) -> dict[int, Progress]:
        """How far this process is on its partitions of a topic, committed or not. Any thread."""
        ours = [assignment for assignment in list(self._assignments.values()) if assignment.topic == topic]
        found = {assignment.partition: assignment.progress() for assignment in ours}
        return {partition: progress for partition, progress in found.items() if progress is not None}

    def stop(self) -> None:
        """Begin to stop; :meth:`close` waits for it."""
        self._stopping = True

    def close(self, timeout: float = 10.0) -> None:
        """Commit what is finished, leave the group, end the thread. Does nothing in a forked child."""
        self._stopping = True
        if self._pid == os.getpid() and self.is_alive():
            self._finished.wait(timeout)

    def run(self) -> None:
        """Poll until closed."""
        _running.add(self)
        consumer: Consumer | None = None
        try:
            consumer = self._open()
            while not self._stopping:
                self._round(consumer)
        except Exception as failure:  # noqa: BLE001 - a thread's edge: whatever ends it must reach the connection
            logger.error("the consumer of group %s stops: %r", self.group, failure)
            self._sink.failed(_as_transport_error(self.group, failure))
        finally:
            if consumer is not None:
                self._leave(consumer)
            self._finished.set()

    def _open(self) -> Consumer:
        config = {
            **self._options.consumer(self.group),
            "error_cb": self._cluster.on_error,
            "on_commit": self._commits.on_commit,
        }
        return keep_from_children(Consumer(config, logger=client_logger()))

    def _round(self, consumer: Consumer) -> None:
        self._follow_wishes(consumer)
        patience = self._sink.turn()
        self._follow_congestion(consumer)
        self._commits.in_passing(consumer)
        self._take(consumer, min(patience, _POLL))

    def _take(self, consumer: Consumer, timeout: float) -> None:
        first = consumer.poll(max(0.0, timeout))
        if self._fresh:
            # A pause survives revoke and re-assign: without this a partition that comes back stays silent.
            consumer.resume([part for part in self._fresh if (part.topic, part.partition) in self._assignments])
            self._fresh.clear()
        if first is None:
            return
        self._accept(first)
        for message in consumer.consume(_BATCH, 0):
            self._accept(message)
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
        if error.code() != KafkaError._PARTITION_EOF:
            logger.warning("group %s: %s", self.group, error.str())

    def _follow_wishes(self, consumer: Consumer) -> None:
        with self._wishes:
            wanted, age = self._wanted, time.monotonic() - self._wanted_since
        if wanted == self._subscribed or age < _SETTLE:
            return
        unwanted = self._subscribed - wanted
        keep = {topic for topic in unwanted if age < _LINGER or self._sink.holds(topic)}
        topics = wanted | keep
        if topics == self._subscribed:
            return
        if topics:
            consumer.subscribe(
                sorted(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        else:
            consumer.unsubscribe()
        self._subscribed = frozenset(topics)

    def _follow_congestion(self, consumer: Consumer) -> None:
        congested = self._sink.congested()
        if not congested and not self._paused:
            return
        wanted = {part for part in self._assignments if part in congested or part[0] in congested}
        pause, resume = wanted - self._paused, self._paused - wanted
        if pause:
            consumer.pause([TopicPartition(*part) for part in pause])
        if resume:
            self._resume(consumer, [TopicPartition(*part) for part in resume])
        self._paused = wanted

    def _resume(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        """Resume, and seek to where we are: the seek makes the next fetch leave at once (measured: ms, not 0.5 s)."""
        consumer.resume(parts)
        for part in consumer.position(parts):
            if part.offset >= 0:
                try:
                    consumer.seek(part)
                except KafkaException as too_early:
                    logger.debug("no seek on %s[%s]: %s", part.topic, part.partition, too_early)

    def _on_assign(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        if not parts:
            return
        for part in self._committed(consumer, parts):
            committed = part.offset if part.offset >= 0 else None
            self._assignments[part.topic, part.partition] = Assignment(
                part.topic, part.partition, committed, part.metadata
            )
        self._fresh.extend(parts)
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
            self._paused.discard((assignment.topic, assignment.partition))
        self._sink.left(going)

    def _leave(self, consumer: Consumer) -> None:
        try:
            self._commits.surely(consumer, list(self._assignments.values()))
            self._drop(list(self._assignments.values()))
            consumer.close()
        except (KafkaException, RuntimeError) as failure:
            logger.warning("group %s: leaving failed: %s", self.group, failure)
        finally:
            let_go(consumer)


_running: weakref.WeakSet[GroupConsumer] = weakref.WeakSet()


def _leave_groups_at_exit() -> None:
    """Leave the groups of a process that ends without closing its connections: else its partitions wait 6 s."""
    for running in list(_running):
        running.close(5.0)


atexit.register(_leave_groups_at_exit)


def _as_transport_error(group: str, failure: Exception) -> TransportError:
    return failure if isinstance(failure, TransportError) else ConsumerFailed(group, str(failure))


def _listed(parts: list[Any]) -> str:
    return ", ".join(f"{part.topic}[{part.partition}]" for part in parts)
