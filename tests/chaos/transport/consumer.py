"""A plain consumer: takes messages of one queue, works them side by side, and finishes them in no particular order.

It says what it was handed before it acknowledges anything. Run it with a JSON specification as argument.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import logging
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from kombu import Connection, Consumer, Message, Queue

from tests.chaos.transport.journal import Expulsions, Journal
from tests.chaos.transport.plan import PLAIN_QUEUE

_LOOK = 0.05


class Worker:
    """Holds messages until their work is over."""

    def __init__(self, specification: dict[str, Any]) -> None:
        self._journal = Journal(Path(specification["journal"]))
        logging.getLogger("service.transport").addHandler(Expulsions(self._journal))
        self._rng = random.Random(specification["seed"])
        self._prefetch = specification["prefetch"]
        self._url = specification["url"]
        self._options = specification["options"]
        self._held: list[tuple[float, int, Message]] = []
        self._count = 0
        self.stopping = False

    def run(self) -> None:
        """Consume until told to stop; connect again when the connection is lost."""
        while not self.stopping:
            connection = Connection(self._url, transport="service.transport:Transport", transport_options=self._options)
            try:
                self._consume(connection)
            except connection.connection_errors as failure:
                print(f"connecting again after {failure!r}", file=sys.stderr, flush=True)
                time.sleep(0.2)
            finally:
                self._held.clear()
                connection.close()

    def _consume(self, connection: Connection) -> None:
        consumer = Consumer(
            connection, [Queue(PLAIN_QUEUE)], on_message=self._on_message, prefetch_count=self._prefetch
        )
        consumer.consume()
        while not self.stopping:
            now = time.monotonic()
            patience = min(_LOOK, max(0.0, self._held[0][0] - now)) if self._held else _LOOK
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=patience)
            self._finish_what_is_done()

    def _on_message(self, message: Message) -> None:
        key, sequence = message.payload
        place = message.delivery_info
        self._journal.write("got", place["partition"], place["offset"], key, sequence, int(bool(place["redelivered"])))
        self._count += 1
        heapq.heappush(self._held, (time.monotonic() + self._work(), self._count, message))

    def _finish_what_is_done(self) -> None:
        while self._held and self._held[0][0] <= time.monotonic():
            message = heapq.heappop(self._held)[2]
            self._journal.write("done", *message.payload)
            message.ack()

    def _work(self) -> float:
        """Most work is short; some takes longer than a partition that leaves waits for it."""
        chance = self._rng.random()
        if chance < 0.002:
            return 2.0
        return self._rng.uniform(0.1, 0.4) if chance < 0.05 else self._rng.uniform(0.0, 0.02)


def main() -> None:
    """Work until SIGTERM."""
    worker = Worker(json.loads(sys.argv[1]))

    def stop(*_: object) -> None:
        worker.stopping = True

    signal.signal(signal.SIGTERM, stop)
    worker.run()


if __name__ == "__main__":
    main()
