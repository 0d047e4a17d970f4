"""Replies to a process: declared on the connection that publishes, consumed on another, as `rpc://` does."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from kombu import Connection, Consumer, Producer, Queue

from .conftest import PROJECT, Corner, until

pytestmark = pytest.mark.kafka

REPLIES = Queue("replies-of-me", durable=False, auto_delete=True)


def _publish(connection: Connection, *bodies: int) -> None:
    producer = Producer(connection.default_channel)
    for body in bodies:
        producer.publish(body, routing_key=REPLIES.name, delivery_mode=1)


def _hear(connection: Connection, count: int) -> list[int]:
    heard: list[int] = []

    def note(body: Any, _message: Any) -> None:
        heard.append(body)

    def listen() -> bool:
        try:
            connection.drain_events(timeout=0.5)
        except TimeoutError:
            return False
        return len(heard) >= count

    with Consumer(connection.default_channel, [REPLIES], callbacks=[note], no_ack=True):
        until(listen, f"{count} replies")
    return heard


def test_a_reply_that_is_faster_than_its_consumer_is_heard(corner: Corner) -> None:
    # given a queue declared on one connection, and replies before another connection consumes it
    with corner.connect() as asking, corner.connect() as consuming:
        REPLIES(asking.default_channel).declare()
        _publish(asking, 1, 2)
        # when it does
        heard = _hear(consuming, 2)
    # then nothing was missed
    assert heard == [1, 2]


def test_a_reply_is_stored_when_its_publisher_ends_without_a_word(corner: Corner) -> None:
    # given a process that waits for replies, and another that answers and is gone, as a pool process may be
    code = f"""
import os
from kombu import Connection, Producer
with Connection({f"kafka://{corner.servers}//"!r}, transport="service.transport:Transport",
                transport_options={corner.options!r}) as connection:
    producer = Producer(connection.default_channel)
    for answer in range(20):
        producer.publish(answer, routing_key={REPLIES.name!r}, delivery_mode=1)
    os._exit(0)
"""
    with corner.connect() as asking:
        REPLIES(asking.default_channel).declare()
        subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, timeout=60)
        # then every answer is heard
        assert _hear(asking, 20) == list(range(20))


def test_a_consumer_on_a_new_connection_goes_on_where_the_last_one_stopped(corner: Corner) -> None:
    with corner.connect() as asking:
        REPLIES(asking.default_channel).declare()
        _publish(asking, 1)
        with corner.connect() as first:
            assert _hear(first, 1) == [1]
        # when a reply comes while nobody consumes
        _publish(asking, 2)
        # then the next connection hears it, and nothing again
        with corner.connect() as second:
            assert _hear(second, 1) == [2]
