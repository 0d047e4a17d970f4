"""A producer: publishes its share at an even pace in confirmed batches, and says what was confirmed.

A batch that was not confirmed is published again until it is; its messages may then be stored twice, and it says that
as well. Run it with a JSON specification as argument.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kombu import Connection, Producer, Queue
from kombu.exceptions import OperationalError

from tests.chaos.transport.journal import Journal
from tests.chaos.transport.plan import TASK_QUEUE
from tests.chaos.transport.tasks import configured

_SMALLEST_BATCH = 10
_MOST_BATCHES = 500
"""A producer that has more to publish makes its batches larger, so that a slow machine keeps up."""

Batch = list[tuple[str, int]]


def batch_size(messages: int) -> int:
    """Messages that are confirmed together."""
    return max(_SMALLEST_BATCH, messages // _MOST_BATCHES)


def batches(seed: int, messages: int, keys: list[str]) -> Iterator[Batch]:
    """Messages (key, sequence in the key) in batches; a key may be in a batch more than once."""
    rng = random.Random(seed)
    sequences: Counter[str] = Counter()
    left = messages
    while left:
        batch: Batch = []
        for _ in range(min(batch_size(messages), left)):
            key = rng.choice(keys)
            batch.append((key, sequences[key]))
            sequences[key] += 1
        left -= len(batch)
        yield batch


class Publishing:
    """One producer over one connection."""

    def __init__(self, specification: dict[str, Any]) -> None:
        self._specification = specification
        self._queue = specification["queue"]
        self._app = configured(specification["url"], specification["options"])
        self._journal = Journal(Path(specification["journal"]))

    def run(self) -> None:
        """Publish everything."""
        given = self._specification
        count = -(-given["messages"] // batch_size(given["messages"]))
        with self._app.connection_for_write() as connection:
            producer = self._producer(connection)
            start = time.monotonic()
            for number, batch in enumerate(batches(given["seed"], given["messages"], given["keys"])):
                time.sleep(max(0.0, start + given["seconds"] * number / count - time.monotonic()))
                self._publish(producer, batch)

    def _producer(self, connection: Connection) -> Producer:
        producer = Producer(connection) if self._queue != TASK_QUEUE else self._app.amqp.Producer(connection)
        producer.maybe_declare(Queue(self._queue))
        return producer

    def _publish(self, producer: Producer, batch: Batch) -> None:
        while not self._is_confirmed(producer, batch):
            for key, sequence in batch:
                self._journal.write("again", key, sequence)
            time.sleep(0.2)
        for key, sequence in batch:
            self._journal.write("sent", self._queue, key, sequence)

    def _is_confirmed(self, producer: Producer, batch: Batch) -> bool:
        try:
            with producer.batch(max_size=len(batch)):
                for key, sequence in batch:
                    self._send(producer, key, sequence)
        except OperationalError as failure:
            print(f"publishing again after {failure!r}", file=sys.stderr, flush=True)
            return False
        return True

    def _send(self, producer: Producer, key: str, sequence: int) -> None:
        if self._queue == TASK_QUEUE:
            self._app.send_task("work", (key, sequence), producer=producer, partition_key=key, retry=False)
        else:
            producer.publish([key, sequence], routing_key=self._queue, partition_key=key)


def main() -> None:
    """Publish and end."""
    Publishing(json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    main()
