"""A consumer that keeps what it is handed until the test says what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from amqp.exceptions import ChannelError
from kombu import Connection, Consumer, Message, Queue

PATIENCE = 60.0
"""How long what must come may take: a group with a member that died, on a busy machine."""
QUIET = 0.4
"""How long nothing is waited for."""


class Mailbox:
    """Consumes queues over a connection while it is open, as a context manager."""

    def __init__(
        self, connection: Connection, *queues: Queue | str, prefetch: int | None = None, no_ack: bool = False
    ) -> None:
        self._connection = connection
        self.messages: list[Message] = []
        self._channel = connection.channel()
        named = [queue if isinstance(queue, Queue) else Queue(queue) for queue in queues]
        self.consumer = Consumer(
            self._channel,
            named,
            on_message=self.messages.append,
            prefetch_count=prefetch,
            no_ack=no_ack,
            accept=["json", "text/plain", "application/data", "application/x-unknown", "pickle", "yaml"],
        )

    def __enter__(self) -> Mailbox:
        self.consumer.consume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def close(self) -> None:
        """Cancel, and close the channel."""
        self.consumer.cancel()
        self._channel.close()

    def wait_for(self, count: int, seconds: float = PATIENCE) -> list[Message]:
        """Return the messages handed out so far once there are this many; fail when they do not come."""
        deadline = time.monotonic() + seconds
        while len(self.messages) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(self.messages)} of {count} messages came within {seconds:g} s; {self._told()}"
            drain(self._connection, min(left, 1.0))
        return self.messages

    def _told(self) -> str:
        """Where what came was, and how much is left: tells what was never stored from what is not handed out."""
        infos = [message.delivery_info for message in self.messages]
        places = sorted((info.get("partition"), info.get("offset")) for info in infos)
        left = {queue.name: size(self._connection, queue.name) for queue in self.consumer.queues}
        return f"(partition, offset) of what came: {places}; left: {left}"

    def stays_at(self, count: int, seconds: float = QUIET) -> None:
        """Fail when more messages come within a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            drain(self._connection, left)
        assert len(self.messages) == count, [message.payload for message in self.messages]

    def bodies(self) -> list[Any]:
        """Decoded bodies, in the order of delivery."""
        return [message.payload for message in self.messages]

    def take(self, count: int) -> list[Any]:
        """Wait until this many were handed out, acknowledging them as they come, and return their bodies."""
        deadline = time.monotonic() + PATIENCE
        self.ack()
        while len(self.messages) < count:
            self.wait_for(len(self.messages) + 1, deadline - time.monotonic())
            self.ack()
        return self.bodies()

    def ack(self, messages: Sequence[Message] | None = None) -> None:
        """Acknowledge these, or all that are not."""
        for message in self.messages if messages is None else messages:
            if not message.acknowledged:
                message.ack()


def fill(connection: Connection, queue: str, bodies: Sequence[Any], **properties: Any) -> None:
    """Publish bodies to a queue by the default exchange; the queue is declared."""
    producer = connection.Producer()
    for body in bodies:
        producer.publish(body, routing_key=queue, declare=[Queue(queue)], **properties)


def size(connection: Connection, queue: str) -> int:
    """Messages that wait, by a passive declaration. Redis has no empty queues: see `an-empty-queue-does-not-exist`."""
    try:
        return int(Queue(queue)(connection.default_channel).queue_declare(passive=True).message_count)
    except ChannelError:
        if connection.transport.driver_type == "redis":
            return 0
        raise


def drain(connection: Connection, seconds: float) -> None:
    """Deliver what comes next, if anything comes in time."""
    try:
        connection.drain_events(timeout=seconds)
    except TimeoutError:
        return
