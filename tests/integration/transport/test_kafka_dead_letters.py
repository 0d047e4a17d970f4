"""Records that cannot be handed out: kept with their bytes, however large, and their partition goes on."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer as KafkaProducer
from kombu import Queue

from service.transport.cluster import cluster_of
from service.transport.deadletters import OMITTED
from service.transport.inspection.reader import Span, read
from service.transport.records import Arrival, header

from .conftest import Corner, until
from .consuming import Received, publish

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs")
LARGE = 3 << 20
"""Three times what a broker takes where nobody changed its limit."""


def foreign(corner: Corner, topic: str, body: bytes) -> None:
    """Another application writes into a queue's topic, with limits of its own."""
    producer = KafkaProducer({"bootstrap.servers": corner.servers, "message.max.bytes": 64 << 20})
    producer.produce(topic, body, key=b"k", headers={"of": b"another application"})
    assert producer.flush(30) == 0


def letters(corner: Corner, count: int) -> list[Arrival]:
    """What is on the dead-letter topic, once there is so much."""
    cluster = cluster_of(corner.typed)
    topic = cluster.options.poison_topic
    until(lambda: sum(cluster.topics.ends(topic).values()) >= count, f"{count} letters", 30)
    seen = read(cluster, {(topic, 0): Span(0, count)}, 10.0)
    return [one.arrival for found in seen.values() for one in found]


@pytest.fixture
def queue_topic(corner: Corner) -> str:
    """A queue of one partition that takes large records, declared."""
    corner.options |= {"partitions": 1, "topic_config": {"max.message.bytes": str(16 << 20)}}
    with corner.connect() as connection:
        JOBS(connection.default_channel).declare()
        return cluster_of(connection.transport.options).names.queue(JOBS.name)


@pytest.mark.parametrize("size", [10, LARGE])
def test_what_is_no_message_is_kept_with_its_bytes_and_coordinates(corner: Corner, queue_topic: str, size: int) -> None:
    # given a record of another application ahead of a message
    body = bytes(range(1, 251)) * (size // 250 + 1)
    foreign(corner, queue_topic, body[:size])
    with corner.connect() as connection:
        publish(connection, JOBS, "behind it")
        # when the queue is consumed, then the message arrives
        assert Received(connection, JOBS).wait_for(1)[0].payload == "behind it"
    # and the record is on the dead-letter topic, as it was
    (letter,) = letters(corner, 1)
    assert (letter.key, letter.value) == (b"k", body[:size])
    assert told(letter, "topic") == queue_topic
    assert (told(letter, "partition"), told(letter, "offset")) == ("0", "0")
    assert "kombu-version" in told(letter, "reason")
    assert header(letter.headers, "of") == "another application"


def test_a_message_above_the_limit_is_not_handed_out(corner: Corner, queue_topic: str) -> None:
    corner.options["max_message_bytes"] = 1000
    with corner.connect() as connection:
        publish(connection, JOBS, "x" * 5000, "y" * 500)
        received = Received(connection, JOBS)
        assert received.wait_for(1)[0].payload == "y" * 500
        counted: dict[str, Any] = cluster_of(connection.transport.options).counters.snapshot()
        assert counted["dead_lettered"] == 1
    (letter,) = letters(corner, 1)
    assert letter.value == b"x" * 5000
    assert "max_message_bytes allows 1,000" in told(letter, "reason")


def test_what_even_the_dead_letter_topic_refuses_is_kept_without_its_bytes(corner: Corner, queue_topic: str) -> None:
    # given a dead-letter topic that an operator made, with a limit of its own
    cluster = cluster_of(corner.typed)
    cluster.topics.ensure([cluster.options.poison_topic], 1, 1, {"max.message.bytes": "2000"})
    foreign(corner, queue_topic, b"z" * LARGE)
    with corner.connect() as connection:
        publish(connection, JOBS, "behind it")
        # then the partition goes on, and the letter says where the bytes are, and how many
        assert Received(connection, JOBS).wait_for(1)[0].payload == "behind it"
    (letter,) = letters(corner, 1)
    assert letter.value == b""
    assert header(letter.headers, OMITTED) == str(LARGE)
    assert (told(letter, "topic"), told(letter, "offset")) == (queue_topic, "0")


def told(letter: Arrival, name: str) -> str:
    return header(letter.headers, f"dead-letter-{name}")
