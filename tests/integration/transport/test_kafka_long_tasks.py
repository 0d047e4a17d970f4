"""A task that is out for very long costs neither the membership nor what finished behind it; with short limits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kombu import Connection, Queue

from service.transport.cluster import cluster_of

from .conftest import PROJECT, Corner
from .consuming import Received, batch, members, publish

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs")
SHORT = {"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}
"""The shortest that a broker accepts by default."""

DIES_AMID_A_LONG_TASK = """
import json, os, signal, sys
from kombu import Connection, Consumer, Queue
from service.transport.cluster import cluster_of
connection = Connection(sys.argv[1], transport="service.transport:Transport", transport_options=json.loads(sys.argv[2]))
done = []
def work(message):
    if message.payload:
        message.ack()
        done.append(message.payload)
channel = connection.channel()
channel.basic_qos(0, 0, False)
Consumer(channel, [Queue("jobs")], on_message=work).consume()
while len(done) < int(sys.argv[3]):
    connection.drain_events(timeout=30)
commits = lambda: cluster_of(connection.transport.options).counters.snapshot().get("commits", 0)
before = commits()
while commits() < before + 2:
    try:
        connection.drain_events(timeout=0.1)
    except TimeoutError:
        break
import time; time.sleep(0.5)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_task_longer_than_every_limit_keeps_its_consumer_in_the_group(corner: Corner) -> None:
    corner.options |= {"consumer_config": SHORT, "partitions": 1, "ordering": "partition"}
    with corner.connect() as connection, corner.connect() as other:
        publish(connection, JOBS, "long", "behind it")
        received = Received(connection, JOBS)
        [long] = received.wait_for(1)
        ours = members(corner, "jobs")
        # when the task takes more than twice the longest limit, in which nobody drains the connection
        time.sleep(14)
        # then the consumer is still the member it was, and the task's acknowledgement counts
        assert members(corner, "jobs") == ours
        assert counter(connection, "partitions_lost") == 0
        long.ack()
        received.wait_for(2)[1].ack()
        assert counter(connection, "acks_fenced") == 0
        connection.release()
        Received(other, JOBS).quiet(1.0)


def test_what_finished_behind_a_long_task_is_not_run_again_after_a_kill(corner: Corner) -> None:
    # given a long task, and 5,000 behind it in the same partition which are finished when the process is killed
    corner.options |= {"partitions": 1, "delays": False, "consumer_config": {"session.timeout.ms": 6000}}
    batch(corner, JOBS, list(range(5001)))
    die_after(corner, 5000)
    # when another process begins
    with corner.connect() as connection:
        received = Received(connection, JOBS)
        received.wait_for(1, 40)
        received.quiet(2.0)
        # then only the long task is run again
        assert received.bodies == [0]
        received.messages[0].ack()


def test_a_slow_consumer_with_a_huge_backlog_of_big_messages_keeps_its_memory_and_its_membership(
    corner: Corner,
) -> None:
    # given 300 MB of messages, a buffer of 4 MiB, and a consumer that takes one message a second
    corner.options |= {"buffer_bytes": 4 << 20, "consumer_config": SHORT, "delays": False, "partitions": 8}
    body = "x" * 600_000
    for _ in range(10):
        batch(corner, JOBS, [body] * 50)
    with corner.connect() as connection:
        received = Received(connection, JOBS, prefetch_count=1)
        received.wait_for(1)
        before = memory()
        for number in range(6):
            received.wait_for(number + 1)[number].ack()
            time.sleep(1)
        # then it holds a small part of the backlog, and is still in the group
        assert memory() - before < 100 << 20
        assert counter(connection, "partitions_lost") == 0
        assert len(members(corner, "jobs")) == 1


def die_after(corner: Corner, count: int) -> None:
    """Run a process that finishes so many messages but the first, waits for its commits, and is killed."""
    arguments = [f"kafka://{corner.servers}//", json.dumps(corner.options), str(count)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", DIES_AMID_A_LONG_TASK, *arguments]
    died = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def counter(connection: Connection, name: str) -> int:
    return cluster_of(connection.transport.options).counters.snapshot().get(name, 0)
