"""One connection on a real broker: what kombu's users expect of a transport."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka.admin import ConfigResource
from kombu import Connection, Exchange, Producer, Queue
from kombu.exceptions import DecodeError, OperationalError

from service.transport.cluster import cluster_of
from service.transport.errors import BrokerUnavailable, ChannelClosed, ConsumerFailed, Unroutable

from .conftest import PROJECT, Corner, until
from .consuming import Received, publish

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs")


def test_what_is_published_is_received_with_headers_and_acknowledged_once(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, {"n": 1}, headers={"tenant": "acme", "attempt": 2})
        [message] = Received(connection, JOBS).wait_for(1)
        assert message.payload == {"n": 1}
        assert message.headers == {"tenant": "acme", "attempt": 2}
        assert not message.delivery_info["redelivered"]
        message.ack()
    # when another process looks later
    with corner.connect() as connection:
        Received(connection, JOBS).quiet(1.0)


def test_what_finished_behind_an_open_message_is_not_run_again(corner: Corner) -> None:
    # given three messages in one partition; the second and third are done, the first was not finished
    corner.options["partitions"] = 1
    with corner.connect() as connection:
        publish(connection, JOBS, 1, 2, 3)
        first, second, third = Received(connection, JOBS).wait_for(3)
        second.ack()
        third.ack()
        assert first.payload == 1
    # when the next process begins
    with corner.connect() as connection:
        received = Received(connection, JOBS)
        [again] = received.wait_for(1)
        received.quiet()
        # then it gets the unfinished one only, and knows that someone had it before
        assert again.payload == 1
        assert again.delivery_info["redelivered"]
        again.ack()


def test_a_requeued_message_comes_back_and_a_rejected_one_is_kept_aside(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, "again", headers={"tenant": "acme"})
        received = Received(connection, JOBS)
        received.wait_for(1)[0].requeue()
        again = received.wait_for(2)[1]
        assert again.delivery_info["redelivered"]
        again.reject()
        received.quiet()
        [kept] = records(corner, corner.typed.poison_topic)
        assert dict(kept.headers() or ())["dead-letter-reason"] == b"rejected by the consumer"
        assert dict(kept.headers() or ())["tenant"] == b"acme"


def test_no_more_is_handed_out_than_the_prefetch_count(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, *range(10))
        received = Received(connection, JOBS, prefetch_count=3)
        received.wait_for(3)
        received.quiet()
        received.messages[0].ack()
        received.wait_for(4)
        received.quiet(0.3)


def test_a_poison_record_is_kept_with_its_bytes_and_coordinates_and_the_partition_goes_on(corner: Corner) -> None:
    # given a record that no kombu has written, between two messages of one partition
    corner.options["partitions"] = 1
    with corner.connect() as connection:
        publish(connection, JOBS, "before")
        cluster = cluster_of(corner.typed)
        topic = cluster.names.queue("jobs")
        producer = cluster.publisher._current()
        producer.produce(topic, b"\x00\xffnot ours", key=b"k", headers=[("from", b"elsewhere")])
        producer.flush(10)
        publish(connection, JOBS, "after")
        # when the queue is consumed
        received = Received(connection, JOBS)
        received.wait_for(2)
        assert received.bodies == ["before", "after"]
        # then the record lies on the dead-letter topic as it was, with the place it came from
        [kept] = records(corner, corner.typed.poison_topic)
        headers = dict(kept.headers() or ())
        assert (kept.key(), kept.value(), headers["from"]) == (b"k", b"\x00\xffnot ours", b"elsewhere")
        assert headers["dead-letter-topic"] == topic.encode()
        assert headers["dead-letter-offset"] == b"1"
        for message in received.messages:
            message.ack()
    with corner.connect() as connection:
        Received(connection, JOBS).quiet(1.0)


def test_a_message_whose_content_cannot_be_read_is_kept(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, "{broken", content_type="application/json", content_encoding="utf-8")
        [message] = Received(connection, JOBS).wait_for(1)
        with pytest.raises(DecodeError):
            message.decode()
        message.ack()
        [kept] = records(corner, corner.typed.poison_topic)
        assert kept.value() == b"{broken"


def test_size_get_purge_and_delete(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, *range(5))
        queue = JOBS(connection.default_channel)
        assert queue.queue_declare(passive=True).message_count == 5
        got = queue.get()
        assert got is not None
        got.ack()
        assert queue.queue_declare(passive=True).message_count == 4
        assert queue.purge() == 4
        assert queue.queue_declare(passive=True).message_count == 0
        assert queue.get() is None
        queue.delete()
        until(lambda: f"{corner.options['topic_prefix']}jobs" not in corner.topics(), "the topic is gone")


def test_a_queue_deleted_and_made_anew_is_consumed_from_its_beginning(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, "old")
        JOBS(connection.default_channel).delete()
    with corner.connect() as connection:
        publish(connection, JOBS, "new")
        [message] = Received(connection, JOBS).wait_for(1)
        assert message.payload == "new"


def test_a_batch_is_confirmed_together(corner: Corner) -> None:
    with corner.connect() as connection:
        JOBS(connection.default_channel).declare()
        producer = Producer(connection.default_channel)
        with producer.batch(max_size=1000):
            for number in range(300):
                producer.publish(number, exchange="", routing_key="jobs")
        assert JOBS(connection.default_channel).queue_declare(passive=True).message_count == 300


def test_the_routing_key_of_a_wildcard_binding_is_the_record_key(corner: Corner) -> None:
    exchange = Exchange("exceptions", type="topic")
    queue = Queue("triage", exchange, routing_key="triage.#")
    with corner.connect() as connection:
        producer = Producer(connection.default_channel)
        for lane in ("3", "acme.e-1", "3"):
            producer.publish("x", exchange="exceptions", routing_key=f"triage.{lane}", declare=[queue])
        found = records(corner, f"{corner.options['topic_prefix']}triage")
        assert sorted(record.key() or b"" for record in found) == [b"triage.3", b"triage.3", b"triage.acme.e-1"]
        assert len({record.partition() for record in found if record.key() == b"triage.3"}) == 1


def test_a_message_no_queue_takes_is_an_error_and_a_transient_one_is_counted(corner: Corner) -> None:
    exchange = Exchange("exceptions", type="topic")
    with corner.connect() as connection:
        producer = Producer(connection.default_channel)
        with pytest.raises(Unroutable, match=r"no queue is bound to exchange 'exceptions'"):
            producer.publish("x", exchange="exceptions", routing_key="nobody.1", declare=[exchange])
        producer.publish("x", exchange="exceptions", routing_key="nobody.1", delivery_mode="transient")
        assert cluster_of(connection.transport.options).counters.snapshot()["unroutable"] == 2


def test_by_default_a_message_no_queue_takes_is_dropped_counted_and_warned_about(
    corner: Corner, caplog: pytest.LogCaptureFixture
) -> None:
    # given somebody who has temporary queues, for one of which a name might be meant
    with corner.connect(unroutable="drop") as connection:
        reply = Queue("reply", exclusive=True)(connection.default_channel)
        reply.declare()
        producer = Producer(connection.default_channel)
        # when a task goes to a queue that does not exist
        producer.publish("x", routing_key="misspelt", correlation_id="t", reply_to="")
        # then it is not told to everybody, but dropped in so many words
        assert cluster_of(connection.transport.options).counters.snapshot()["unroutable"] == 1
        assert "'misspelt'" in caplog.text


def test_a_persistent_reply_finds_a_temporary_queue_of_another_process(corner: Corner) -> None:
    with corner.connect() as asking, corner.connect() as answering:
        reply = Queue("reply", exclusive=True)(asking.default_channel)
        reply.declare()
        Producer(answering.default_channel).publish("42", routing_key="reply", correlation_id="question")
        assert until(reply.get, "the reply").payload == "42"


def test_every_listener_hears_a_fanout(corner: Corner) -> None:
    exchange = Exchange("news", type="fanout", durable=False)
    with corner.connect() as one, corner.connect() as two, corner.connect() as sender:
        listeners = [Received(c, Queue(f"l{n}", exchange, auto_delete=True)) for n, c in enumerate((one, two))]
        Producer(sender.default_channel).publish("hear", exchange="news", declare=[exchange])
        for listener in listeners:
            listener.wait_for(1)
            assert listener.bodies == ["hear"]


def test_a_queue_under_load_does_not_delay_another(corner: Corner) -> None:
    # given a backlog far beyond the buffer, whose consumer has no credit left
    corner.options["buffer_messages"] = 20
    with corner.connect() as connection:
        publish(connection, JOBS, *range(200))
        busy = Received(connection, JOBS, prefetch_count=1)
        busy.wait_for(1)
        other = Received(connection, Queue("other"))
        other.quiet(1.0)
        # when a message comes for another queue of the same connection
        publish(connection, Queue("other"), "quick")
        other.wait_for(1)
        # then it is there while the backlog still waits, which goes on when there is credit
        assert len(busy.messages) == 1
        for number in range(60):
            busy.wait_for(number + 1)[number].ack()


def test_work_moves_to_a_second_consumer_without_being_done_twice(corner: Corner) -> None:
    # given a consumer that has finished work, which the timer has not committed yet
    corner.options["commit_interval"] = 60.0
    with corner.connect() as one, corner.connect() as two:
        publish(one, JOBS, *range(20))
        first = Received(one, JOBS)
        for message in first.wait_for(20):
            message.ack()
        # when another joins and takes over partitions
        second = Received(two, JOBS)
        until(lambda: shared(one, two), "both own partitions", 15)
        publish(one, JOBS, *range(20, 60))
        until(lambda: drained(first, second) >= 60, "everything arrived")
        # then what was finished is not run again, and both share what is new
        assert sorted(first.bodies + second.bodies) == list(range(60))
        assert second.bodies


def test_an_unreachable_broker_is_told_within_its_time_and_by_name(corner: Corner) -> None:
    connection = Connection(
        "kafka://127.0.0.1:1//", transport="service.transport:Transport", transport_options={"request_timeout": 1}
    )
    began = time.monotonic()
    with pytest.raises(OperationalError, match=r"127\.0\.0\.1:1 .*refused"):
        connection.ensure_connection(max_retries=1, interval_start=0)
    assert time.monotonic() - began < 10
    assert issubclass(BrokerUnavailable, connection.connection_errors)


def test_a_connection_that_was_closed_opens_again(corner: Corner) -> None:
    connection = corner.connect()
    publish(connection, JOBS, 1)
    connection.close()
    connection.connect()
    publish(connection, JOBS, 2)
    received = Received(connection, JOBS)
    assert sorted(message.payload for message in received.wait_for(2)) == [1, 2]
    connection.release()


def test_a_consumer_thread_that_stops_is_noticed_and_a_reconnect_starts_another(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, 1)
        received = Received(connection, JOBS)
        received.wait_for(1)[0].ack()
        # when the thread that reads runs into something it cannot handle
        connection.transport.session._inbox.turn = lambda: 1 / 0
        with pytest.raises(ConsumerFailed, match="division") as failure:
            received.quiet(20)
        assert isinstance(failure.value, connection.connection_errors)
        # then a reconnect, which is what kombu does with such an error, goes on where it was
        connection.close()
        connection.connect()
        publish(connection, JOBS, 2)
        assert [message.payload for message in Received(connection, JOBS).wait_for(1)] == [2]


def test_what_waits_for_its_time_has_no_retention_and_keeps_its_key(corner: Corner) -> None:
    # given a message due in a minute
    eta = (datetime.now(UTC) + timedelta(seconds=70)).isoformat()
    with corner.connect() as connection:
        publish(connection, JOBS, "later", headers={"eta": eta}, partition_key="acme.e-1")
        assert JOBS(connection.default_channel).queue_declare(passive=True).message_count == 0
        topic = f"{corner.options['topic_prefix']}_wait.55000"
        [waiting] = records(corner, topic)
        assert waiting.key() == b"acme.e-1"
        # then the broker keeps it for ever
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        [described] = cluster_of(corner.typed).topics.admin.describe_configs([resource]).values()
        assert described.result(10)["retention.ms"].value == "-1"


def test_a_delayed_message_is_delivered_once_although_two_groups_move_messages(corner: Corner) -> None:
    # given two groups of consumers under one prefix, each with its mover
    eta = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    with corner.connect() as one, corner.connect(group_id=f"{corner.options['group_id']}-2") as two:
        received, _ = Received(one, JOBS), Received(two, Queue("other"))
        publish(one, JOBS, "later", headers={"eta": eta})
        received.wait_for(1)
        received.quiet(1.5)


def test_parent_and_forked_child_both_publish_over_a_connection_from_before(corner: Corner) -> None:
    # given a process that has published and is consuming, and then forks
    code = f"""
import gc, os, sys, time
sys.path.insert(0, {str(PROJECT)!r})
from kombu import Connection, Consumer, Producer, Queue
c = Connection("kafka://{corner.servers}//", transport="service.transport:Transport",
               transport_options={corner.options!r})
q = Queue("jobs")
p = Producer(c.default_channel)
p.publish("parent before", exchange="", routing_key="jobs", declare=[q])
got = []
Consumer(c.channel(), [q], on_message=lambda m: (got.append(m.payload), m.ack())).consume()
def drain(n):
    end = time.monotonic() + 20
    while len(got) < n and time.monotonic() < end:
        try: c.drain_events(timeout=.1)
        except TimeoutError: pass
drain(1)
child = os.fork()
if not child:
    p.publish("child", exchange="", routing_key="jobs", declare=[q])
    c.release()
    gc.collect()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child failed"
p.publish("parent after", exchange="", routing_key="jobs")
drain(3)
c.release()
print(sorted(got))
"""
    # when parent and child publish, and the child closes everything and ends through the interpreter
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    # then nothing hangs and nothing is missing
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['child', 'parent after', 'parent before']"


def records(corner: Corner, topic: str) -> list[Any]:
    """Read everything a topic holds."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    cluster = cluster_of(corner.typed)
    ends = cluster.topics.ends(topic)
    consumer = Consumer({**cluster.options.common(), "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ends])
    found: list[Any] = []

    def complete() -> bool:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            found.append(message)
        return len(found) >= sum(ends.values())

    until(complete, f"all records of {topic}")
    consumer.close()
    return found


def shared(one: Connection, two: Connection) -> bool:
    for connection in (one, two):
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=0.01)
    groups = [connection.transport.session._groups._consumers for connection in (one, two)]
    return all(consumer._assignments for consumers in groups for consumer in consumers.values())


def drained(*listeners: Received) -> int:
    return sum(listener.take() for listener in listeners)


def test_a_producer_whose_connection_was_given_up_publishes_through_a_new_one(corner: Corner) -> None:
    # given a pooled producer that met an outage longer than its retries: kombu closed its channel and raised
    with corner.connect() as connection:
        producer = Producer(connection)
        producer.publish("before", exchange="", routing_key="jobs", declare=[JOBS])
        connection.collect()
        # when it is used again, then the error says that a new channel would do
        with pytest.raises(ChannelClosed, match="closed"):
            producer.publish("lost?", exchange="", routing_key="jobs")
        # and with a retry policy, as Celery publishes, it goes on by itself
        producer.publish("after", exchange="", routing_key="jobs", retry=True, retry_policy={"max_retries": 1})
        received = Received(connection, JOBS).wait_for(2)
        assert {message.payload for message in received} == {"before", "after"}
