"""What a batch promises to whoever leaves it: everything is stored, or an error says otherwise."""

from __future__ import annotations

import pytest
from kombu import Exchange, Producer, Queue

from service.transport.errors import PublishRefused, Unroutable

from .conftest import Corner

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs")
_TOO_LARGE = "x" * (2 << 20)


def test_a_batch_with_a_message_that_is_refused_is_an_error(corner: Corner) -> None:
    with corner.connect() as connection:
        JOBS(connection.default_channel).declare()
        producer = Producer(connection.default_channel)
        # when one message of a batch is larger than the cluster takes
        with pytest.raises(PublishRefused), producer.batch():
            producer.publish("before", routing_key="jobs")
            producer.publish(_TOO_LARGE, routing_key="jobs")


def test_nothing_of_a_batch_is_sent_when_one_message_has_nowhere_to_go(corner: Corner) -> None:
    # given an exchange without queues
    nowhere = Exchange("nowhere", type="topic")
    with corner.connect() as connection:
        JOBS(connection.default_channel).declare()
        nowhere(connection.default_channel).declare()
        producer = Producer(connection.default_channel)
        # when a batch holds a message for it
        with pytest.raises(Unroutable), producer.batch():
            producer.publish("before", routing_key="jobs")
            producer.publish("lost", exchange="nowhere", routing_key="a")
        # then the others were not sent either, and the caller may send the batch again
        assert connection.default_channel.queue_declare("jobs", passive=True).message_count == 0


def test_messages_of_one_batch_go_each_to_its_own_queues(corner: Corner) -> None:
    # given an exchange that sends some keys to one queue and some to two
    exchange = Exchange("both", type="topic")
    queues = [Queue("left", exchange, routing_key="a.#"), Queue("right", exchange, routing_key="#")]
    with corner.connect() as connection:
        for queue in queues:
            queue(connection.default_channel).declare()
        producer = Producer(connection.default_channel)
        # when a batch holds messages of both kinds, mixed
        with producer.batch():
            for number in range(10):
                producer.publish(number, exchange="both", routing_key="a.1" if number % 2 else "b.1")
        # then each queue has its own
        counts = [connection.default_channel.queue_declare(q.name, passive=True).message_count for q in queues]
        assert counts == [5, 10]
