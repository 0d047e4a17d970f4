"""Topics: made once whoever asks, with what was asked for, grown on request, never by the broker on its own."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from kombu import Consumer, Producer, Queue

from service.transport.cluster import Cluster, cluster_of
from service.transport.errors import TopicRefused, TransportError
from tests.brokers import kafka_cluster

from .conftest import Corner, new_corner, until

pytestmark = pytest.mark.kafka


def test_ten_that_make_the_same_topics_at_once_all_succeed(corner: Corner) -> None:
    clients = [Cluster(corner.typed) for _ in range(10)]
    names = [f"{corner.options['topic_prefix']}{number}" for number in range(3)]
    start, failures = threading.Barrier(10), list[TransportError]()

    def make(cluster: Cluster) -> None:
        start.wait(30)
        try:
            cluster.topics.ensure(names, 5, 1)
            assert all(len(cluster.topics.ends(name)) == 5 for name in names)
        except TransportError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=make, args=(cluster,)) for cluster in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_a_topic_grows_to_a_number_of_partitions_once_and_never_shrinks(
    corner: Corner, caplog: pytest.LogCaptureFixture
) -> None:
    topics = cluster_of(corner.typed).topics
    name = f"{corner.options['topic_prefix']}jobs"
    topics.ensure([name], 2, 1)
    assert topics.grow(name, 5) == 5
    assert topics.grow(name, 5) == 5
    assert [record.getMessage() for record in caplog.records if "grows" in record.getMessage()] == [
        f"topic {name} grows from 2 to 5 partitions: keys move"
    ]
    with pytest.raises(TopicRefused, match="can only grow"):
        topics.grow(name, 3)
    with pytest.raises(TopicRefused, match="0 partitions"):
        topics.grow(f"{name}-nope", 3)


def test_a_topic_with_fewer_partitions_than_asked_for_is_left_and_warned_about_once(
    corner: Corner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    name = f"{corner.options['topic_prefix']}jobs"
    Cluster(corner.typed).topics.ensure([name], 2, 1)
    topics = Cluster(corner.typed).topics
    for _ in range(3):
        topics.ensure([name], 8, 1)
    assert topics.partitions(name) == 2
    assert len([record for record in caplog.records if "has 2 partitions and 8 are asked for" in record.message]) == 1


def test_a_name_that_collides_in_the_cluster_is_refused_with_both_names(corner: Corner) -> None:
    # given a topic of somebody else that Kafka takes for the queue's
    prefix = corner.options["topic_prefix"]
    admin = cluster_of(corner.typed).topics.admin
    admin.create_topics([NewTopic(f"{prefix}a_x", 1, 1)])[f"{prefix}a_x"].result(10)
    with (
        corner.connect() as connection,
        pytest.raises(TopicRefused, match=rf"{prefix}a\.x.*collides with existing topic: {prefix}a_x.*topic_prefix"),
    ):
        Queue("a.x")(connection.default_channel).declare()


def test_purging_in_a_loop_reaches_nothing_while_messages_are_out_and_come(corner: Corner) -> None:
    with corner.connect() as connection:
        queue = Queue("jobs")(connection.default_channel)
        queue.declare()
        producer, out = Producer(connection.default_channel), list[Any]()
        for number in range(20):
            producer.publish(number, exchange="", routing_key="jobs")
        consumer = Consumer(connection.channel(), [queue], on_message=out.append, prefetch_count=2)
        consumer.consume()
        until(lambda: _drain(connection) or len(out) == 2, "two messages are out")
        purged = []
        while count := queue.purge():
            purged.append(count)
            assert len(purged) < 5
        assert sum(purged) == 18
        assert queue.queue_declare(passive=True).message_count == 0


def test_a_broker_that_makes_topics_by_itself_is_given_no_reason_to() -> None:
    with kafka_cluster(properties={"auto.create.topics.enable": "true", "num.partitions": "1"}) as broker:
        corner = new_corner(broker.bootstrap_servers, partitions=3)
        look = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        prefix = corner.options["topic_prefix"]

        def made() -> set[str]:
            return {name for name in look.list_topics(timeout=10).topics if name.startswith(prefix)}

        with corner.connect() as connection:
            # asking for what is not there makes nothing
            cluster = cluster_of(corner.typed)
            assert not cluster.topics.exists(f"{prefix}jobs")
            cluster.publisher._current().list_topics(f"{prefix}jobs", timeout=10)
            cluster.topics.admin.list_topics(f"{prefix}jobs", timeout=10)
            assert made() == set()
            # what is declared has the partitions asked for
            queue = Queue("jobs")(connection.default_channel)
            queue.declare()
            assert len(cluster.topics.ends(f"{prefix}jobs")) == 3
            Producer(connection.default_channel).publish("x", exchange="", routing_key="jobs")
            # and a producer that knew a topic does not bring it back when it is deleted
            look.delete_topics([f"{prefix}jobs"])[f"{prefix}jobs"].result(10)
            until(lambda: f"{prefix}jobs" not in made(), "the topic is gone")
            cluster.publisher._current().list_topics(f"{prefix}jobs", timeout=10)
            assert f"{prefix}jobs" not in made()


def _drain(connection: Any) -> bool:
    try:
        connection.drain_events(timeout=0.05)
    except TimeoutError:
        return False
    return False
