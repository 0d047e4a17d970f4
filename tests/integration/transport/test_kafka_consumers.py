"""Each queue has a consumer group of its own: it is shared evenly, and switching one queue disturbs no other."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import NewPartitions
from kombu import Connection, Queue

from service.transport.cluster import cluster_of

from .conftest import PROJECT, Corner, until
from .consuming import Received, members, publish

pytestmark = pytest.mark.kafka

JOBS, MAILS = Queue("jobs"), Queue("mails")


@pytest.fixture
def three(corner: Corner) -> Iterator[list[Connection]]:
    corner.options["partitions"] = 6
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(corner.connect()) for _ in range(3)]


def test_every_worker_gets_a_share_of_every_queue(corner: Corner, three: list[Connection]) -> None:
    # given two queues of six partitions, and workers that start one after another
    consumers: dict[str, list[Received]] = {"jobs": [], "mails": []}
    for number, connection in enumerate(three, 1):
        for queue in (JOBS, MAILS):
            consumers[queue.name].append(Received(connection, queue))
        # then each has its share of both
        share = [6 // number] * number
        for name in consumers:
            until(lambda name=name, share=share: sorted(members(corner, name).values()) == share, f"{share} of {name}")
    # and each gets messages of both
    with corner.connect() as sender:
        for queue in (JOBS, MAILS):
            publish(sender, queue, *range(60))
    for name, received in consumers.items():
        until(lambda received=received: sum(one.take() for one in received) >= 60, f"60 {name}")
        assert all(one.messages for one in received), f"a worker got none of {name}"


def test_a_queue_that_is_consumed_again_within_a_moment_keeps_its_partitions(corner: Corner) -> None:
    corner.options["delays"] = False
    with corner.connect() as connection:
        publish(connection, JOBS, 1)
        received = Received(connection, JOBS)
        received.wait_for(1)[0].ack()
        assigned = counter(connection, "partitions_assigned")
        # when the consumer is cancelled and another begins at once
        received.consumer.cancel()
        publish(connection, JOBS, 2)
        Received(connection, JOBS).wait_for(1)[0].ack()
        # then nothing was rebalanced for it
        assert counter(connection, "partitions_assigned") == assigned


def test_a_queue_that_is_let_go_leaves_its_group_once_its_work_is_acknowledged_and_the_other_goes_on(
    corner: Corner,
) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, 1, 2)
        publish(connection, MAILS, 1)
        jobs, mails = Received(connection, JOBS), Received(connection, MAILS)
        mails.wait_for(1)[0].ack()
        assigned_to_mails = members(corner, "mails")
        open_message, _ = jobs.wait_for(2)
        # when one queue is cancelled with work still out
        cancelled = time.monotonic()
        jobs.consumer.cancel()
        assert time.monotonic() - cancelled < 0.5
        jobs.messages[1].ack()
        mails.quiet(2.0)
        assert members(corner, "jobs")
        # then it leaves when the work is done, and no sooner
        open_message.ack()
        until(lambda: not members(corner, "jobs"), "the group is left")
        # and a queue that is consumed again later goes on where it was
        publish(connection, JOBS, 3)
        [third] = Received(connection, JOBS).wait_for(1)
        assert third.payload == 3
        # while the other was not disturbed
        assert members(corner, "mails") == assigned_to_mails


def test_repeated_gets_join_the_group_once(corner: Corner) -> None:
    corner.options["delays"] = False
    with corner.connect() as connection:
        publish(connection, JOBS, *range(20))
        queue = JOBS(connection.default_channel)
        got = []
        for _ in range(20):
            message = queue.get()
            assert message is not None
            message.ack()
            got.append(message.payload)
            if len(got) == 10:
                # longer than the consumer's thread needs to notice that nothing is out
                time.sleep(0.5)
        assert sorted(got) == list(range(20))
        assert queue.get() is None
        assert counter(connection, "partitions_assigned") == corner.options["partitions"]


def test_closing_leaves_the_groups_of_all_queues_at_once(corner: Corner) -> None:
    # given a connection that consumes five queues
    names = [f"q{number}" for number in range(5)]
    connection = corner.connect()
    received = [Received(connection, Queue(name)) for name in names]
    for one in received:
        publish(connection, Queue(one.consumer.queues[0].name), 1)
    for one in received:
        one.wait_for(1)[0].ack()
    # when it is closed
    began = time.monotonic()
    connection.release()
    # then no group has a member left, and it took about as long as one
    assert time.monotonic() - began < 8.0
    assert [members(corner, name) for name in names] == [{}] * 5


def test_while_one_queue_gives_partitions_back_slowly_others_go_on(corner: Corner) -> None:
    # given a worker with a long task out, whose partitions wait for it when another worker comes
    corner.options |= {"revoke_drain": 6.0, "partitions": 2}
    with corner.connect() as one, corner.connect() as two:
        publish(one, JOBS, *range(8))
        slow, quick = Received(one, JOBS), Received(one, MAILS)
        slow.wait_for(8)
        publish(one, MAILS, "first")
        quick.wait_for(1)[0].ack()
        Received(two, JOBS)
        until(lambda: is_draining(corner), "the partition that moves waits for its tasks")
        # when a message comes for another queue of the first worker
        publish(one, MAILS, "quick")
        quick.wait_for(2)[1].ack()
        # then it is delivered before the drain is over
        assert is_draining(corner)
        # and the work that is finished meanwhile is not done twice
        slow.take()
        until(lambda: sorted(members(corner, "jobs").values()) == [1, 1], "both have a partition")


def test_new_partitions_are_noticed_and_read_from_their_beginning(
    corner: Corner, caplog: pytest.LogCaptureFixture
) -> None:
    corner.options["partitions"] = 1
    with caplog.at_level("INFO", "service.transport"), corner.connect() as connection, corner.connect() as sender:
        publish(sender, JOBS, "before")
        received = Received(connection, JOBS)
        received.wait_for(1)[0].ack()
        # when the queue grows, and messages are stored in the new partitions before the consumer has noticed
        grow(corner, JOBS, 4)
        fill_each_partition(corner, JOBS, 40)
        # then within seconds all are read, and the log says what it means
        received.wait_for(41, 30)
        assert sorted(received.bodies[1:]) == list(range(40))
        until(lambda: sorted(members(corner, "jobs").values()) == [4], "all four are assigned", 30)
        for message in received.messages[1:]:
            message.ack()
    assert "has grown from 1 to 4 partitions" in caplog.text
    assert "order" in caplog.text


def grow(corner: Corner, queue: Queue, partitions: int) -> None:
    cluster = cluster_of(corner.typed)
    wanted = [NewPartitions(cluster.names.queue(queue.name), partitions)]
    for grown in cluster.topics.admin.create_partitions(wanted).values():
        grown.result(15)


def fill_each_partition(corner: Corner, queue: Queue, count: int) -> None:
    """Publish numbers by a producer that knows all partitions: one of a process that starts now."""
    code = f"""
from kombu import Connection, Producer
connection = Connection({f"kafka://{corner.servers}//"!r}, transport="service.transport:Transport",
                        transport_options={corner.options!r})
producer = Producer(connection.default_channel)
for number in range({count}):
    producer.publish(number, exchange="", routing_key={queue.name!r}, partition_key=str(number))
"""
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, timeout=60)


def counter(connection: Connection, name: str) -> int:
    return cluster_of(connection.transport.options).counters.snapshot().get(name, 0)


def is_draining(corner: Corner) -> bool:
    """True while one member has joined and another has not yet given back what the new one shall have."""
    return sorted(members(corner, "jobs").values()) == [0, 1]
