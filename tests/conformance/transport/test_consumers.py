"""Consumers beside each other, one after the other, and with several queues."""

from __future__ import annotations

import time

import pytest
from kombu import Connection, Queue

from tests.conformance.transport.backends import Backend
from tests.conformance.transport.conftest import PeerProcess
from tests.conformance.transport.mailbox import PATIENCE, Mailbox, drain, fill, size

pytestmark = pytest.mark.kafka


def test_two_processes_share_a_queue_and_nothing_is_doubled(
    connection: Connection, peer: PeerProcess, name: str
) -> None:
    # given consumers here and there that take part
    peer("share", queue=name)
    with Mailbox(connection, name, prefetch=2) as box:
        sent, there = 0, 0
        deadline = time.monotonic() + PATIENCE
        # when work goes on until both have had some
        while not (box.messages and there) or sent < 40:
            assert time.monotonic() < deadline, f"of {sent} {len(box.messages)} came here and {there} there"
            fill(connection, name, list(range(sent, sent + 20)))
            sent += 20
            drain(connection, 0.2)
            box.ack()
            there = peer("shared_so_far", queue=name)
        while len(box.messages) + there < sent:
            assert time.monotonic() < deadline, f"of {sent} {len(box.messages)} came here and {there} there"
            drain(connection, 0.1)
            box.ack()
            there = peer("shared_so_far", queue=name)
        box.stays_at(len(box.messages))
        # then each message was worked once
        assert sorted(box.bodies() + peer("stop_sharing", queue=name)) == list(range(sent))


def test_a_cancelled_consumer_gets_nothing_until_it_consumes_again(connection: Connection, name: str) -> None:
    with Mailbox(connection, name) as box:
        fill(connection, name, ["before"])
        box.take(1)
        box.consumer.cancel()
        fill(connection, name, ["meanwhile"])
        box.stays_at(1)
        box.consumer.consume()
        box.take(2)
        assert box.bodies() == ["before", "meanwhile"]


def test_what_a_cancelled_consumer_holds_may_still_be_acknowledged(
    backend: Backend, connection: Connection, name: str
) -> None:
    fill(connection, name, ["held"])
    with backend.connect() as other:
        box = Mailbox(other, name).__enter__()
        [message] = box.wait_for(1)
        box.consumer.cancel()
        message.ack()
    with Mailbox(connection, name) as later:
        later.stays_at(0)
    assert size(connection, name) == 0


def test_a_consumer_may_get_more_queues_while_it_runs(connection: Connection, name: str) -> None:
    with Mailbox(connection, f"{name}-1") as box:
        fill(connection, f"{name}-1", ["first"])
        box.take(1)
        box.consumer.add_queue(Queue(f"{name}-2"))
        box.consumer.consume()
        fill(connection, f"{name}-2", ["second"])
        box.take(2)
        box.consumer.cancel_by_queue(f"{name}-1")
        fill(connection, f"{name}-1", ["ignored"])
        fill(connection, f"{name}-2", ["third"])
        box.take(3)
        box.stays_at(3)
        assert box.bodies() == ["first", "second", "third"]


def test_a_long_queue_does_not_hold_up_a_short_one(connection: Connection, name: str) -> None:
    # given a consumer that is at work on both queues
    with Mailbox(connection, f"{name}-long", f"{name}-short", prefetch=1) as box:
        fill(connection, f"{name}-long", ["begin"])
        fill(connection, f"{name}-short", ["begin"])
        box.take(2)
        # when three hundred messages that take a moment wait in one, and then one in the other
        producer = connection.Producer(routing_key=f"{name}-long")
        with producer.batch():
            for _ in range(300):
                producer.publish("long")
        fill(connection, f"{name}-short", ["short"])
        # then the one has its turn before the many are done
        while "short" not in box.bodies():
            box.take(len(box.messages) + 1)
            time.sleep(0.01)
            assert len(box.messages) <= 250, "the short queue waited for the long one"
        Queue(f"{name}-long")(connection.default_channel).purge()


def test_two_channels_of_one_connection_have_limits_of_their_own(connection: Connection, name: str) -> None:
    fill(connection, f"{name}-1", list(range(5)))
    fill(connection, f"{name}-2", list(range(5)))
    with Mailbox(connection, f"{name}-1", prefetch=1) as one, Mailbox(connection, f"{name}-2", prefetch=2) as two:
        two.wait_for(2)
        one.wait_for(1)
        two.stays_at(2)
        assert len(one.messages) == 1
        one.take(5)
        two.take(5)


def test_waiting_for_nothing_ends_in_time(connection: Connection, name: str) -> None:
    with Mailbox(connection, name):
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.3)
        assert 0.25 <= time.monotonic() - started < 5
