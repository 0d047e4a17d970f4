"""Another process of the same application: what tests have done elsewhere, and may kill.

It reads one JSON call a line from its input and answers with one line. Run it with the backend's JSON as argument.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from kombu import Connection, Exchange, Producer, Queue

from tests.conformance.transport.mailbox import Mailbox, drain


class Peer:
    """The calls. Every one takes and returns JSON."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._boxes: dict[str, Mailbox] = {}

    def declare(self, queue: str, exchange: str, kind: str, routing_key: str = "") -> None:
        """Declare a durable queue bound to an exchange."""
        Queue(queue, Exchange(exchange, kind), routing_key)(self._connection.default_channel).declare()

    def publish(
        self, bodies: list[Any], exchange: str = "", kind: str = "direct", routing_key: str = "", **properties: Any
    ) -> None:
        """Publish from a process that knows no more than the exchange."""
        producer = Producer(self._connection, Exchange(exchange, kind) if exchange else None)
        for body in bodies:
            producer.publish(body, routing_key=routing_key, **properties)

    def listen(self, queue: str, exchange: str, kind: str, routing_key: str = "", temporary: bool = False) -> None:
        """Begin to consume a queue; see `heard`."""
        bound = Queue(queue, Exchange(exchange, kind), routing_key, auto_delete=temporary)
        self._boxes[queue] = Mailbox(self._connection, bound).__enter__()
        drain(self._connection, 0.05)

    def hold(self, queue: str, count: int, ack: int) -> list[Any]:
        """Consume until `count` messages are held besides `ack` that are acknowledged; say which are which."""
        box = self._boxes[queue] = Mailbox(self._connection, queue, prefetch=count).__enter__()
        box.ack(box.wait_for(ack)[:ack])
        box.wait_for(count + ack)
        box.stays_at(count + ack)
        return [[message.payload, message.acknowledged] for message in box.messages]

    def heard(self, queue: str, count: int) -> list[Any]:
        """Wait for this many messages and return their bodies; they are acknowledged."""
        return self._boxes[queue].take(count)

    def share(self, queue: str) -> None:
        """Begin to take part in a queue's work."""
        self._boxes[queue] = Mailbox(self._connection, queue, prefetch=2).__enter__()

    def shared_so_far(self, queue: str) -> int:
        """Work for a moment; return how many messages were worked in all."""
        box = self._boxes[queue]
        drain(self._connection, 0.2)
        box.ack()
        return len(box.messages)

    def stop_sharing(self, queue: str) -> list[Any]:
        """Take part no longer; return what was worked."""
        box = self._boxes.pop(queue)
        box.close()
        return box.bodies()

    def stop(self, queue: str) -> None:
        """Stop consuming a queue."""
        self._boxes.pop(queue).close()

    def fork_and_publish(self, queue: str, each: int) -> int:
        """Publish here, in a forked child that inherits the open connection, and here again; how the child ended."""
        producer = self._connection.Producer()
        for number in range(each):
            producer.publish(["before", number], routing_key=queue, declare=[Queue(queue)])
        child = os.fork()
        if child == 0:
            os._exit(_in_the_child(self._connection, queue, each))
        for number in range(each):
            producer.publish(["beside", number], routing_key=queue)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)


def _in_the_child(connection: Connection, queue: str, each: int) -> int:
    try:
        producer = connection.Producer()
        for number in range(each):
            producer.publish(["child", number], routing_key=queue)
    except Exception as failure:  # noqa: BLE001 - the child's edge: its parent tells by the exit code
        print(repr(failure), file=sys.stderr)
        return 1
    return 0


def main() -> None:
    """Serve calls until the input ends."""
    where = json.loads(sys.argv[1])
    connection = Connection(where["url"], transport=where["transport"], transport_options=where["options"])
    connection.connect()
    peer = Peer(connection)
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        call = json.loads(line)
        method: Callable[..., Any] = getattr(peer, call.pop("do"))
        print(json.dumps({"answer": method(**call)}), flush=True)
    connection.close()


if __name__ == "__main__":
    main()
