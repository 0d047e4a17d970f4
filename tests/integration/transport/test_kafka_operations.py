"""Looking at a real cluster, and moving what must be moved: the operator's side of the transport."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest
from kombu import Connection, Consumer, Exchange, Message, Producer, Queue

from service.transport.cluster import cluster_of, clusters
from service.transport.inspection import Inspector, QueueReport
from service.transport.metrics import samples

from .conftest import Corner, until

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs", Exchange("jobs", type="topic"), routing_key="jobs.#")


def publish(corner: Corner, count: int, *, queue: Queue = JOBS, **options: object) -> None:
    """Publish numbers, each with a key of its own."""
    with corner.connect() as connection, connection.channel() as channel:
        producer = Producer(channel)
        for number in range(count):
            exchange, key = (queue.exchange, f"jobs.{number}") if queue is JOBS else ("", queue.name)
            producer.publish({"n": number}, exchange=exchange, routing_key=key, declare=[queue], **options)


class Working:
    """A connection that consumes and finishes what ``finish`` says."""

    def __init__(self, connection: Connection, queue: Queue = JOBS) -> None:
        self.connection = connection
        self.messages: list[Message] = []
        Consumer(connection.channel(), [queue], on_message=self.messages.append, accept=["json"]).consume()

    def wait_for(self, count: int) -> list[Message]:
        until(lambda: self._drained(count), f"{count} messages (has {len(self.messages)})", 30)
        return self.messages

    def _drained(self, count: int) -> bool:
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=0.05)
        return len(self.messages) >= count


def inspector_of(corner: Corner) -> Inspector:
    return Inspector(cluster_of(corner.typed))


def look(corner: Corner, queue: Queue = JOBS) -> QueueReport:
    [report] = inspector_of(corner).queues([queue.name])
    return report


def test_a_queue_nobody_consumed_shows_all_its_messages_and_since_when_they_wait(corner: Corner) -> None:
    # given 20 messages and no worker
    before = datetime.now(UTC) - timedelta(seconds=1)
    publish(corner, 20)
    # when somebody looks
    report = look(corner)
    # then all of them wait, in the partitions their keys chose, and the oldest is as old as it is
    assert (report.lag, report.state, report.owners) == (20, "dead", ())
    assert len(report.partitions) == 4
    assert report.oldest is not None
    assert before < report.oldest < datetime.now(UTC) + timedelta(seconds=1)
    assert all((part.oldest is None) == (part.lag == 0) for part in report.partitions)
    assert all(part.leader >= 0 and not part.problem for part in report.partitions)


def test_what_is_finished_behind_an_open_message_does_not_count(corner: Corner) -> None:
    # given a worker that has finished all but one message
    publish(corner, 12)
    with corner.connect() as connection:
        working = Working(connection)
        for message in working.wait_for(12)[1:]:
            message.ack()
        # when its commits have arrived: then one message waits, and the process that has it is named
        until(lambda: look(corner).lag == 1, "one unfinished message", 20)
        report = look(corner)
        [open_one] = [part for part in report.partitions if part.lag]
        assert report.state == "stable"
        assert (open_one.owner or "").startswith(f"{socket.gethostname()}:{os.getpid()}@")
        assert open_one.committed is not None
        assert open_one.end - open_one.committed >= open_one.lag


def test_looking_takes_no_part(corner: Corner) -> None:
    # given messages that somebody looked at, ages and all
    publish(corner, 5)
    for _ in range(2):
        assert look(corner).lag == 5
    # then no group came of it, and a worker gets every message for the first time
    assert inspector_of(corner).known_queues() == []
    with corner.connect() as connection:
        messages = Working(connection).wait_for(5)
        assert not any(message.delivery_info["redelivered"] for message in messages)
        for message in messages:
            message.ack()


def test_a_queue_is_known_once_somebody_consumed_it(corner: Corner) -> None:
    publish(corner, 1)
    with corner.connect() as connection:
        Working(connection).wait_for(1)[0].ack()
    until(lambda: inspector_of(corner).known_queues() == ["jobs"], "the queue's group", 20)


def test_delayed_messages_are_counted_with_the_time_of_the_next(corner: Corner) -> None:
    # given two messages due in hours, and no worker
    now = time.time()
    eta = datetime.fromtimestamp(now + 7 * 3600, UTC).isoformat()
    publish(corner, 2, headers={"eta": eta, "id": "x", "task": "t"})
    # when the delays are looked at
    waiting = [report for report in inspector_of(corner).delays() if report.waiting]
    # then both wait on one level, and leave it before they are due
    assert [report.waiting for report in waiting] == [2]
    assert waiting[0].next_move is not None
    assert now < waiting[0].next_move.timestamp() < now + 7 * 3600 + 1


def test_a_process_exports_what_it_did_and_what_it_holds(corner: Corner) -> None:
    # given a worker that was handed five messages, has finished two, and was late with a delayed one
    eta = datetime.fromtimestamp(time.time() + 0.5, UTC).isoformat()
    publish(corner, 4)
    publish(corner, 1, headers={"eta": eta, "id": "x", "task": "t"})
    with corner.connect() as connection:
        for message in Working(connection).wait_for(5)[:2]:
            message.ack()
        cluster = cluster_of(connection.transport.options)

        def read() -> dict[str, float]:
            return {sample.name: sample.value for sample in samples([cluster])}

        # when its commits are through: then every kind of number tells
        until(lambda: read()["kafka_transport_commits_total"], "a commit", 20)
        found = read()
        assert found["kafka_transport_delivered_total"] == 5
        assert found["kafka_transport_unacknowledged_messages"] == 3
        assert found["kafka_transport_rebalances_total"] >= 1
        assert found["kafka_transport_partitions_assigned_total"] >= 4
        assert found["kafka_transport_delay_lateness_seconds_count"] == 1
        assert found["kafka_transport_delay_lateness_seconds_max"] < 60
        assert cluster in clusters()
