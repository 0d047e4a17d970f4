"""Publishing to a queue and receiving from it with plain kombu, in the test's own process."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from kombu import Connection, Consumer, Message, Producer, Queue

from service.transport.cluster import cluster_of
from service.transport.errors import BrokerUnavailable
from service.transport.inspection.survey import Survey

from .conftest import Corner, until


def publish(connection: Connection, queue: Queue, *bodies: Any, **options: Any) -> None:
    with connection.channel() as channel:
        producer = Producer(channel)
        for body in bodies:
            producer.publish(body, exchange="", routing_key=queue.name, declare=[queue], **options)


def batch(corner: Corner, queue: Queue, bodies: list[Any]) -> None:
    """Publish many at once, over a connection of its own."""
    with corner.connect() as connection:
        queue(connection.default_channel).declare()
        producer = Producer(connection.default_channel)
        with producer.batch(max_size=1000):
            for body in bodies:
                producer.publish(body, exchange="", routing_key=queue.name)


class Received:
    """A consumer that keeps what it gets, unacknowledged."""

    def __init__(self, connection: Connection, queue: Queue, **options: Any) -> None:
        self.connection = connection
        self.messages: list[Message] = []
        self.consumer = Consumer(
            connection.channel(), [queue], on_message=self.messages.append, accept=["json", "text/plain"], **options
        )
        self.consumer.consume()

    def wait_for(self, count: int, seconds: float = 60.0) -> list[Message]:
        until(lambda: self._drained(count), f"{count} messages (has {self.bodies})", seconds)
        return self.messages

    def quiet(self, seconds: float = 0.5) -> None:
        before = len(self.messages)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._drained(before + 1)
        assert len(self.messages) == before

    def take(self, acknowledge: bool = True) -> int:
        """Take what is there now; return how many messages there are altogether."""
        self._drained(10**9)
        for message in self.messages:
            if acknowledge and not message.acknowledged:
                message.ack()
        return len(self.messages)

    @property
    def bodies(self) -> list[Any]:
        return [message.payload for message in self.messages]

    def _drained(self, count: int) -> bool:
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=0.05)
        return len(self.messages) >= count


def members(corner: Corner, queue: str) -> dict[str, int]:
    """The members of a queue's group, as the cluster knows them, and how many partitions each has.

    None of a group that no broker knows yet, or coordinates at this moment: the first of a fresh cluster takes a while.
    """
    cluster = cluster_of(corner.typed)
    group = cluster.names.group(corner.typed.group_id, cluster.names.queue(queue))
    try:
        described = Survey(cluster).groups([group])[group]
    except (BrokerUnavailable, KeyError):
        return {}
    return {member.member_id: len(member.places) for member in described.members}
