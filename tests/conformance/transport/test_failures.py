"""Networks that fail, processes that fork, and publishing from several threads."""

from __future__ import annotations

import threading

import pytest
from kombu import Connection, Queue

from tests.conformance.transport.backends import Backend
from tests.conformance.transport.conftest import PeerProcess
from tests.conformance.transport.mailbox import PATIENCE, Mailbox, drain, fill, size

pytestmark = pytest.mark.kafka

RETRY = {"max_retries": 20, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.5}


def test_publishing_goes_on_after_the_connection_broke(backend: Backend, name: str) -> None:
    with backend.connect() as connection:
        fill(connection, name, ["before"])
        # when every TCP connection to the servers breaks
        assert backend.cut_connections() > 0
        # then a publish that may retry succeeds, and is stored once
        connection.Producer().publish("after", routing_key=name, retry=True, retry_policy=RETRY)
    with backend.connect() as fresh, Mailbox(fresh, name) as box:
        assert sorted(box.take(2)) == ["after", "before"]
        box.stays_at(2)


def test_a_consumer_goes_on_after_the_connection_broke(backend: Backend, name: str) -> None:
    connection = backend.connect()
    fill(connection, name, [0])
    box = Mailbox(connection, name).__enter__()
    box.take(1)
    backend.cut_connections()
    with backend.connect() as fresh:
        fill(fresh, name, [1])
    # when the consumer does what every kombu program does: on a connection error, connect and consume again
    try:
        box.wait_for(2)
    except connection.connection_errors:
        connection.close()
        connection = backend.connect()
        box = Mailbox(connection, name).__enter__()
        box.wait_for(1)
    # then it gets what was published meanwhile, and nothing twice
    box.ack()
    assert box.bodies()[-1] == 1
    box.stays_at(len(box.messages))
    connection.close()


def test_ensure_connects_again_and_calls_again(backend: Backend, name: str) -> None:
    connection = backend.connect()
    calls = []

    def publish(channel: object) -> None:
        calls.append(channel)
        if len(calls) == 1:
            raise connection.connection_errors[0]("broken")
        connection.Producer(channel).publish("at last", routing_key=name, declare=[Queue(name)])

    connection.autoretry(publish, max_retries=3, interval_start=0.01)()
    assert len(calls) == 2
    assert size(connection, name) == 1
    connection.close()


def test_a_forked_child_publishes_over_the_connection_it_inherited(
    connection: Connection, peer: PeerProcess, name: str
) -> None:
    # given a process that publishes, forks, and publishes on both sides
    assert peer("fork_and_publish", queue=name, each=20) == 0
    # then all arrives, once
    expected = sorted([who, number] for who in ("before", "beside", "child") for number in range(20))
    with Mailbox(connection, name) as box:
        assert sorted(box.take(60)) == expected
        box.stays_at(60)
    # and the parent goes on
    peer("publish", bodies=["still here"], routing_key=name)
    assert size(connection, name) == 1


def test_threads_publish_through_a_pool(backend: Backend, name: str) -> None:
    connection = backend.connect()
    fill(connection, name, [])
    pool = connection.Pool(limit=4)

    def publish(thread: int) -> None:
        with pool.acquire(block=True) as mine:
            fill(mine, name, [[thread, number] for number in range(25)])

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    with Mailbox(connection, name) as box:
        assert sorted(box.take(100)) == sorted([t, n] for t in range(4) for n in range(25))
    pool.force_close_all()
    connection.close()


def test_acknowledgements_may_come_from_other_threads(connection: Connection, name: str) -> None:
    fill(connection, name, list(range(40)))
    with Mailbox(connection, name, prefetch=40) as box:
        messages = list(box.wait_for(40))
        threads = [
            threading.Thread(target=lambda part=number: [m.ack() for m in messages[part::4]]) for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        drain(connection, 0.2)
    assert size(connection, name) == 0


def test_a_closed_connection_opens_again(backend: Backend, name: str) -> None:
    connection = backend.connect()
    fill(connection, name, ["first"])
    connection.close()
    fill(connection, name, ["second"])
    with Mailbox(connection, name) as box:
        assert sorted(box.take(2)) == ["first", "second"]
    connection.close()
