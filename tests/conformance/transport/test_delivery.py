"""What a consumer is promised: at least once, and how a message ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest
from kombu import Connection, Queue

from tests.conformance.transport.backends import Backend
from tests.conformance.transport.conftest import PeerProcess
from tests.conformance.transport.mailbox import Mailbox, fill, size

pytestmark = pytest.mark.kafka


def test_an_acknowledged_message_is_delivered_once(connection: Connection, name: str) -> None:
    fill(connection, name, ["one"])
    with Mailbox(connection, name) as box:
        assert box.take(1) == ["one"]
        assert box.messages[0].delivery_info.get("redelivered") in (False, None)
        box.stays_at(1)
    # then a consumer that comes later is given nothing
    with Mailbox(connection, name) as later:
        later.stays_at(0)


def test_what_a_closed_connection_left_unacknowledged_is_delivered_again(
    backend: Backend, connection: Connection, name: str
) -> None:
    # given a connection that acknowledged one of three messages and closed
    fill(connection, name, [0, 1, 2])
    with backend.connect() as leaving:
        box = Mailbox(leaving, name).__enter__()
        _, *others = [message.payload for message in box.wait_for(3)]
        box.ack(box.messages[:1])
    # then the others go to the next consumer, and say so
    with Mailbox(connection, name) as following:
        assert sorted(following.take(2)) == sorted(others)
        assert all(message.delivery_info["redelivered"] for message in following.messages)
        following.stays_at(2)


def test_what_a_killed_process_held_is_delivered_again_and_what_it_acknowledged_is_not(
    backend: Backend, name: str, new_peer: Callable[..., PeerProcess]
) -> None:
    # given a process that was handed six of ten messages, acknowledged two, and is killed
    impatient = backend if backend.on_kafka else replace(backend, options={**backend.options, "visibility_timeout": 1})
    with impatient.connect() as connection:
        fill(connection, name, list(range(10)))
        doomed = new_peer(impatient)
        held = doomed("hold", queue=name, count=4, ack=2)
        done = {body for body, acknowledged in held if acknowledged}
        doomed.kill()
        # then another gets the eight, those that were held are marked, and no other
        with Mailbox(connection, name) as box:
            assert sorted(box.take(8)) == sorted(set(range(10)) - done)
            again = {message.payload for message in box.messages if message.delivery_info.get("redelivered")}
            assert again == {body for body, acknowledged in held if not acknowledged}
            box.stays_at(8)


def test_a_requeued_message_comes_again_and_says_so(connection: Connection, name: str) -> None:
    fill(connection, name, ["again"])
    with Mailbox(connection, name) as box:
        box.wait_for(1)[0].requeue()
        second = box.wait_for(2)[1]
        assert (second.payload, second.delivery_info["redelivered"]) == ("again", True)
        second.ack()
        box.stays_at(2)
    assert size(connection, name) == 0


def test_a_rejected_message_is_gone(connection: Connection, name: str) -> None:
    fill(connection, name, ["bad"])
    with Mailbox(connection, name) as box:
        box.wait_for(1)[0].reject()
        box.stays_at(1)
    with Mailbox(connection, name) as later:
        later.stays_at(0)
    assert size(connection, name) == 0


def test_recover_hands_out_again_what_is_unacknowledged(connection: Connection, name: str) -> None:
    fill(connection, name, [0, 1, 2])
    with Mailbox(connection, name) as box:
        first = list(box.wait_for(3))
        box.ack(first[:1])
        box.consumer.recover(requeue=True)
        again = box.wait_for(5)[3:]
        assert sorted(m.payload for m in again) == sorted(m.payload for m in first[1:])
        box.ack(again)
    assert size(connection, name) == 0


def test_without_acknowledgements_a_message_is_done_when_it_is_delivered(
    backend: Backend, connection: Connection, name: str
) -> None:
    fill(connection, name, [0, 1, 2])
    with backend.connect() as careless:
        box = Mailbox(careless, name, no_ack=True).__enter__()
        assert sorted(m.payload for m in box.wait_for(3)) == [0, 1, 2]
    with Mailbox(connection, name) as later:
        later.stays_at(0)


def test_a_consumer_is_handed_no_more_than_its_prefetch_limit(connection: Connection, name: str) -> None:
    fill(connection, name, list(range(8)))
    with Mailbox(connection, name, prefetch=3) as box:
        box.wait_for(3)
        box.stays_at(3)
        # when one is acknowledged there is room for one
        box.ack(box.messages[:1])
        box.wait_for(4)
        box.stays_at(4)
        # when the limit is raised there is room for that many
        box.consumer.qos(prefetch_count=5)
        box.wait_for(6)
        box.stays_at(6)
        box.ack()
        box.take(8)


def test_messages_of_one_producer_keep_their_order(backend: Backend, connection: Connection, name: str) -> None:
    # given a hundred messages of five keys
    producer = connection.Producer()
    for number in range(100):
        producer.publish([number % 5, number], routing_key=name, declare=[Queue(name)], partition_key=f"k{number % 5}")
    with Mailbox(connection, name, prefetch=1) as box:
        bodies = []
        for count in range(1, 101):
            box.wait_for(count)
            box.ack()
        bodies = box.bodies()
    # then the queue, or at least each key, is in order
    if backend.differs("order-of-a-queue"):
        by_key = defaultdict(list)
        for key, number in bodies:
            by_key[key].append(number)
        assert dict(by_key) == {key: list(range(key, 100, 5)) for key in range(5)}
    else:
        assert [number for _, number in bodies] == list(range(100))


def test_how_many_messages_of_one_key_are_out_at_a_time(backend: Backend, connection: Connection, name: str) -> None:
    fill(connection, name, [0, 1, 2], partition_key="k")
    with Mailbox(connection, name) as box:
        if backend.differs("one-of-a-key-at-a-time"):
            for count in (1, 2, 3):
                box.wait_for(count)
                box.stays_at(count, 0.1)
                box.ack()
            assert box.bodies() == [0, 1, 2]
        else:
            assert box.take(3) == [0, 1, 2]
