"""Queues as things: their names, their sizes, taking one message, emptying them."""

from __future__ import annotations

import pytest
from kombu import Connection, Queue
from kombu.exceptions import OperationalError

from tests.conformance.transport.backends import Backend
from tests.conformance.transport.mailbox import Mailbox, fill, size

pytestmark = pytest.mark.kafka

ODD_NAMES = (
    "a.b",
    "a_b",
    "A.B",
    "with space",
    "slash/es",
    "grün.東京",
    "per%cent",
    "co:lon",
    "-dash",
    "ab_2e",
    "x" * 80,
)


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_a_queue_may_have_an_odd_name(connection: Connection, name: str, odd: str) -> None:
    queue = f"{odd}.{name}"
    fill(connection, queue, [odd])
    message = Queue(queue)(connection.default_channel).get()
    assert message is not None
    assert (message.payload, message.delivery_info["routing_key"]) == (odd, queue)
    message.ack()


def test_queues_with_similar_names_do_not_meet(connection: Connection, name: str) -> None:
    queues = [f"{name}.x", f"{name}_x", f"{name}-x", f"{name}.X", f"{name} x", f"{name}_2ex"]
    for queue in queues:
        fill(connection, queue, [queue])
    for queue in queues:
        bound = Queue(queue)(connection.default_channel)
        message = bound.get()
        assert message is not None and message.payload == queue
        message.ack()
        assert bound.get() is None


def test_get_takes_one_message_at_a_time_until_there_is_none(connection: Connection, name: str) -> None:
    fill(connection, name, [0, 1, 2], partition_key="k")
    queue = Queue(name)(connection.default_channel)
    for expected in range(3):
        message = queue.get()
        assert message is not None and message.payload == expected
        message.ack()
    assert queue.get() is None
    # and what comes later is found
    fill(connection, name, [3])
    message = queue.get(no_ack=True)
    assert message is not None and message.payload == 3
    assert size(connection, name) == 0


def test_a_message_taken_and_put_back_can_be_taken_again(connection: Connection, name: str) -> None:
    fill(connection, name, ["again"])
    queue = Queue(name)(connection.default_channel)
    first = queue.get()
    assert first is not None
    first.requeue()
    second = queue.get()
    assert second is not None and second.payload == "again"
    second.ack()
    assert queue.get() is None


def test_a_simple_queue_puts_gets_and_counts(connection: Connection, name: str) -> None:
    simple = connection.SimpleQueue(name)
    for number in range(5):
        simple.put(number)
    assert simple.qsize() == 5
    message = simple.get(timeout=30)
    message.ack()
    with pytest.raises(simple.Empty):
        connection.SimpleQueue(f"{name}-empty").get(timeout=0.3)
    simple.close()


def test_the_size_is_what_waits(connection: Connection, name: str) -> None:
    fill(connection, name, list(range(10)))
    assert size(connection, name) == 10
    with Mailbox(connection, name, prefetch=4) as box:
        box.wait_for(4)
        # then what is handed out does not wait, acknowledged or not
        assert size(connection, name) == 6
        box.take(10)
    assert size(connection, name) == 0


def test_another_process_sees_the_same_size(backend: Backend, connection: Connection, name: str) -> None:
    fill(connection, name, list(range(5)))
    with backend.connect() as other:
        assert size(other, name) == 5


def test_purge_tells_how_many_it_took_and_leaves_none(connection: Connection, name: str) -> None:
    fill(connection, name, list(range(7)))
    queue = Queue(name)(connection.default_channel)
    assert queue.purge() == 7
    assert (size(connection, name), queue.purge(), queue.get()) == (0, 0, None)
    # and the queue goes on
    fill(connection, name, ["after"])
    assert size(connection, name) == 1
    with Mailbox(connection, name) as box:
        assert box.take(1) == ["after"]


def test_purge_spares_what_is_handed_out(connection: Connection, name: str) -> None:
    fill(connection, name, list(range(6)))
    with Mailbox(connection, name, prefetch=2) as box:
        held = list(box.wait_for(2))
        assert Queue(name)(connection.default_channel).purge() == 4
        box.ack(held)
        box.stays_at(2)


def test_deleting_a_queue_that_must_be_empty_spares_one_that_is_not(connection: Connection, name: str) -> None:
    fill(connection, name, ["kept"])
    queue = Queue(name)(connection.default_channel)
    queue.delete(if_empty=True)
    message = queue.get()
    assert message is not None and message.payload == "kept"
    message.ack()


def test_a_queue_with_priorities(backend: Backend, connection: Connection, name: str) -> None:
    queue = Queue(name, max_priority=10)
    if backend.differs("priorities-are-refused"):
        with pytest.raises(OperationalError, match="priorit"):
            queue(connection.default_channel).declare()
        return
    queue(connection.default_channel).declare()
    # Redis serves low numbers first.
    for priority in (9, 0):
        connection.Producer().publish(priority, routing_key=name, priority=priority)
    with Mailbox(connection, queue) as box:
        assert box.take(2) == [0, 9]
