"""Brokers that die, end in order, stand still, or are all away at once."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.faults.processes import Freeze, Terminate
from tests.chaos.pipeline.health import wait_there
from tests.chaos.pipeline.world import World

_AWAY_SECONDS = 20.0


class BrokersDown(Fault):
    """kill -9 of brokers, which stay away until they are mended."""

    def __init__(self, name: str, summary: str, *, every: bool, least_seconds: float) -> None:
        super().__init__(name, summary)
        self.least_seconds = least_seconds
        self._every = every
        self._down: list[str] = []

    def _strike(self, world: World, chance: random.Random) -> str:
        brokers = world.instance.brokers
        self._down = list(brokers) if self._every else [chance.choice(brokers)]
        for name in self._down:
            if (part := world.part(name)) is not None:
                part.send(signal.SIGKILL)
        for name in self._down:
            world.hold_down(name)
        return ", ".join(self._down)

    def _mend(self, world: World) -> None:
        for name in self._down:
            world.release(name)
        wait_there(world, self._down)
        self._down = []


class RestartBroker(Terminate):
    """A broker ends in order, handing over what it leads, and starts again."""

    def __init__(self) -> None:
        super().__init__("kafka")
        self.name, self.summary = "restart-broker", "SIGTERM to a broker: it hands over what it leads, and starts again"


class FreezeBroker(Freeze):
    """A broker stands still, its connections open, until the others have given it up."""

    def __init__(self) -> None:
        super().__init__("kafka")
        self.name, self.summary = "freeze-broker", "SIGSTOP of a broker past its session, then SIGCONT"


def faults() -> Iterator[Fault]:
    """Of one broker and of all."""
    yield BrokersDown(
        "kill-broker", "kill -9 of a broker, which is away until another leads", every=False, least_seconds=4.0
    )
    yield RestartBroker()
    yield FreezeBroker()
    yield BrokersDown(
        "all-brokers-down", f"kill -9 of every broker for {_AWAY_SECONDS:g} s", every=True, least_seconds=_AWAY_SECONDS
    )
