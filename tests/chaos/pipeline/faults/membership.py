"""Consumer groups that never come to rest: members join, take partitions and leave, again and again."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator

from confluent_kafka import Consumer

from service.settings import load_settings
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.faults.processes import chosen
from tests.chaos.pipeline.faults.topics import QUEUES
from tests.chaos.pipeline.health import wait_there
from tests.chaos.pipeline.world import World

_STAYS_SECONDS = (0.3, 2.0)
_CLOSE_SECONDS = 30.0


class RebalanceStorm(Fault):
    """Strangers join the workers' groups for a moment each and work nothing; meanwhile a worker restarts, too."""

    least_seconds = 10.0

    def __init__(self) -> None:
        super().__init__("rebalance-storm", "members join and leave the workers' groups again and again")
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._joined = 0
        self._worker = ""

    def _strike(self, world: World, chance: random.Random) -> str:
        self._over.clear()
        self._joined = 0
        worker = chosen(world, "worker", chance)
        self._worker = worker.name
        worker.send(signal.SIGTERM, children=False)
        group = load_settings(world.environment).worker_group
        # A chance for each: threads that shared one would draw from it in no order.
        self._threads = [
            threading.Thread(
                target=self._come_and_go, args=(world.kafka, f"{group}.{queue}", queue, chance.random()), daemon=True
            )
            for queue in QUEUES
        ]
        for thread in self._threads:
            thread.start()
        return f"{len(QUEUES)} groups, and SIGTERM to {worker.name}"

    def _come_and_go(self, servers: str, group: str, queue: str, seed: float) -> None:
        chance = random.Random(seed)
        while not self._over.is_set():
            consumer = Consumer(
                {
                    "bootstrap.servers": servers,
                    "group.id": group,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "session.timeout.ms": 6000,
                    "heartbeat.interval.ms": 1500,
                    "enable.auto.commit": False,
                    "log_level": 0,
                }
            )
            consumer.subscribe([queue], on_assign=lambda holder, parts: holder.pause(parts))
            self._joined += 1
            for _ in range(round(chance.uniform(*_STAYS_SECONDS) * 10)):
                consumer.poll(0.1)
            consumer.close()

    def _mend(self, world: World) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)
        if self._threads:
            self.told += f": {self._joined} came and went"
            wait_there(world, [part.name for part in world.processes("worker")])
            wait_there(world, [self._worker])
        self._threads = []


def faults() -> Iterator[Fault]:
    """The storm."""
    yield RebalanceStorm()
