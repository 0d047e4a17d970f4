"""Which queues a message reaches: exchanges, bindings, and processes that did not make them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from amqp.exceptions import ChannelError
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from tests.conformance.transport.backends import Backend
from tests.conformance.transport.conftest import PeerProcess
from tests.conformance.transport.mailbox import Mailbox, fill, size

pytestmark = pytest.mark.kafka


def declared(connection: Connection, queue: Queue) -> Queue:
    """The queue bound to the connection, declared with its exchange and binding."""
    bound = queue(connection.default_channel)
    bound.declare()
    return bound


def contents(connection: Connection, queue: str) -> list[object]:
    """What waits in a queue, taken by `basic_get`."""
    found = []
    bound = Queue(queue)(connection.default_channel)
    while (message := bound.get()) is not None:
        found.append(message.payload)
        message.ack()
    return found


def test_a_direct_exchange_delivers_by_key_to_every_queue_of_that_key(connection: Connection, name: str) -> None:
    exchange = Exchange(name, "direct")
    for queue, key in (("red1", "red"), ("red2", "red"), ("blue", "blue")):
        declared(connection, Queue(f"{name}-{queue}", exchange, key))
    producer = connection.Producer(exchange=exchange)
    for key in ("red", "blue", "red"):
        producer.publish(key, routing_key=key)
    assert contents(connection, f"{name}-red1") == ["red", "red"]
    assert contents(connection, f"{name}-red2") == ["red", "red"]
    assert contents(connection, f"{name}-blue") == ["blue"]


def test_a_topic_exchange_delivers_by_pattern(connection: Connection, name: str) -> None:
    exchange = Exchange(name, "topic")
    patterns = {"one": "order.*", "many": "order.#", "end": "#.paid", "exact": "order.new"}
    for queue, pattern in patterns.items():
        declared(connection, Queue(f"{name}-{queue}", exchange, pattern))
    producer = connection.Producer(exchange=exchange)
    for key in ("order.new", "order.eu.paid", "order.paid"):
        producer.publish(key, routing_key=key)
    reached = {queue: sorted(map(str, contents(connection, f"{name}-{queue}"))) for queue in patterns}
    assert reached == {
        "one": ["order.new", "order.paid"],
        "many": ["order.eu.paid", "order.new", "order.paid"],
        "end": ["order.eu.paid", "order.paid"],
        "exact": ["order.new"],
    }


def test_a_queue_bound_twice_to_what_matches_gets_one_copy(connection: Connection, name: str) -> None:
    exchange = Exchange(name, "topic")
    declared(connection, Queue(name, exchange, "a.#"))
    declared(connection, Queue(name, exchange, "#.z"))
    connection.Producer(exchange=exchange).publish("once", routing_key="a.z")
    assert contents(connection, name) == ["once"]


def test_a_fanout_reaches_every_listener_of_every_process(connection: Connection, peer: PeerProcess, name: str) -> None:
    # given two listeners here and one there
    exchange = Exchange(name, "fanout")
    peer("listen", queue=f"{name}-there", exchange=name, kind="fanout", temporary=True)
    queues = [Queue(f"{name}-{number}", exchange, auto_delete=True) for number in range(2)]
    with Mailbox(connection, queues[0]) as one, Mailbox(connection, queues[1]) as two:
        one.stays_at(0, 0.05)
        # when both processes say something
        connection.Producer(exchange=exchange).publish("from here")
        peer("publish", bodies=["from there"], exchange=name, kind="fanout")
        # then everyone hears both
        for box in (one, two):
            assert sorted(box.take(2)) == ["from here", "from there"]
            box.stays_at(2, 0.1)
    assert sorted(peer("heard", queue=f"{name}-there", count=2)) == ["from here", "from there"]
    peer("stop", queue=f"{name}-there")


def test_a_durable_queue_of_a_fanout_keeps_what_nobody_consumes(
    backend: Backend, connection: Connection, peer: PeerProcess, name: str
) -> None:
    declared(connection, Queue(name, Exchange(name, "fanout")))
    peer("publish", bodies=["kept"], exchange=name, kind="fanout")
    expected = [] if backend.differs("fanout-is-not-stored") else ["kept"]
    assert contents(connection, name) == expected


def test_a_process_that_declared_no_queue_publishes_to_those_of_others(
    connection: Connection, peer: PeerProcess, name: str
) -> None:
    declared(connection, Queue(f"{name}-topic", Exchange(f"{name}-t", "topic"), "a.#"))
    declared(connection, Queue(f"{name}-direct", Exchange(f"{name}-d", "direct"), "b"))
    peer("publish", bodies=["by topic"], exchange=f"{name}-t", kind="topic", routing_key="a.1")
    peer("publish", bodies=["by key"], exchange=f"{name}-d", kind="direct", routing_key="b")
    peer("publish", bodies=["by name"], routing_key=f"{name}-direct")
    assert contents(connection, f"{name}-topic") == ["by topic"]
    assert sorted(map(str, contents(connection, f"{name}-direct"))) == ["by key", "by name"]


def test_bindings_outlive_the_process_that_made_them(
    backend: Backend, connection: Connection, new_peer: Callable[..., PeerProcess], name: str
) -> None:
    # given a queue bound by a process that is gone
    gone = new_peer()
    gone("declare", queue=name, exchange=name, kind="topic", routing_key="a.#")
    gone.stop()
    # then one that never heard of it reaches it, also by a connection opened before
    connection.Producer(exchange=Exchange(name, "topic")).publish("old", routing_key="a.1")
    with backend.connect() as fresh:
        fresh.Producer(exchange=Exchange(name, "topic")).publish("new", routing_key="a.2")
    assert sorted(map(str, contents(connection, name))) == ["new", "old"]


def test_an_unbound_queue_gets_nothing_more(backend: Backend, connection: Connection, name: str) -> None:
    exchange = Exchange(name, "direct")
    declared(connection, Queue(f"{name}-stays", exchange, "k"))
    leaves = declared(connection, Queue(f"{name}-leaves", exchange, "k"))
    producer = connection.Producer(exchange=exchange)
    producer.publish("both", routing_key="k")
    leaves.unbind_from(exchange, "k")
    producer.publish("one", routing_key="k")
    assert sorted(map(str, contents(connection, f"{name}-stays"))) == ["both", "one"]
    expected = ["both", "one"] if backend.differs("unbind-has-no-effect") else ["both"]
    assert contents(connection, f"{name}-leaves") == expected


def test_a_deleted_queue_is_empty_when_it_is_made_again(connection: Connection, name: str) -> None:
    exchange = Exchange(name, "direct")
    queue = declared(connection, Queue(name, exchange, "k"))
    connection.Producer(exchange=exchange).publish("old", routing_key="k")
    assert size(connection, name) == 1
    queue.delete()
    declared(connection, Queue(name, exchange, "k"))
    connection.Producer(exchange=exchange).publish("new", routing_key="k")
    assert contents(connection, name) == ["new"]


def test_deleting_an_exchange_leaves_a_queue_that_has_messages(connection: Connection, name: str) -> None:
    exchange = Exchange(name, "direct")
    declared(connection, Queue(name, exchange, "k"))
    connection.Producer(exchange=exchange).publish("kept", routing_key="k")
    exchange(connection.default_channel).delete()
    assert contents(connection, name) == ["kept"]


def test_a_message_that_no_queue_takes_is_dropped(connection: Connection, name: str) -> None:
    # given an exchange with a queue for another key
    exchange = Exchange(name, "direct")
    declared(connection, Queue(name, exchange, "k"))
    # then AMQP drops the message
    connection.Producer(exchange=exchange).publish("lost", routing_key="other")
    assert contents(connection, name) == []


def test_a_message_to_a_queue_that_does_not_exist(backend: Backend, connection: Connection, name: str) -> None:
    if backend.differs("a-missing-queue-is-not-made"):
        # given somebody who has a temporary queue, whose name only its owner knows
        declared(connection, Queue(f"{name}-reply", auto_delete=True))
        # then a message to a name that nobody knows is dropped, or refused
        connection.Producer().publish("lost", routing_key=name)
        with (
            backend.connect(unroutable="raise") as strict,
            pytest.raises(OperationalError, match=name),
        ):
            strict.Producer().publish("refused", routing_key=name)
        declared(connection, Queue(name))
        assert contents(connection, name) == []
    else:
        connection.Producer().publish("stored", routing_key=name)
        assert contents(connection, name) == ["stored"]


def test_a_mandatory_message_that_no_queue_takes_is_refused(
    backend: Backend, connection: Connection, name: str
) -> None:
    producer = connection.Producer(exchange=Exchange(name, "direct"))
    if backend.differs("mandatory-is-ignored"):
        producer.publish("lost", routing_key="nobody", mandatory=True)
    else:
        with pytest.raises(OperationalError, match="nobody"):
            producer.publish("lost", routing_key="nobody", mandatory=True)


def test_a_passive_declaration_of_a_missing_queue_says_not_found(connection: Connection, name: str) -> None:
    with pytest.raises(ChannelError, match=name):
        Queue(name)(connection.default_channel).queue_declare(passive=True)


def test_a_passive_declaration_of_an_empty_queue(backend: Backend, connection: Connection, name: str) -> None:
    fill(connection, name, ["only"])
    assert contents(connection, name) == ["only"]
    queue = Queue(name)(connection.default_channel)
    if backend.differs("an-empty-queue-does-not-exist"):
        with pytest.raises(ChannelError, match=name):
            queue.queue_declare(passive=True)
    else:
        assert queue.queue_declare(passive=True).message_count == 0
