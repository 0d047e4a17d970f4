"""A process whose clock is suddenly another."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.chaos.pipeline import clocks
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.faults.processes import APPLICATION_KINDS, chosen
from tests.chaos.pipeline.health import wait_there
from tests.chaos.pipeline.needs import Need
from tests.chaos.pipeline.world import World

_STEPS = (60, 900)


class StepClock(Fault):
    """One application process's clock is stepped by minutes, and back."""

    needs = frozenset({Need.OWN_CLOCKS})
    least_seconds = 3.0

    def __init__(self, name: str, summary: str, sign: int) -> None:
        super().__init__(name, summary)
        self._sign = sign
        self._name = ""

    def _strike(self, world: World, chance: random.Random) -> str:
        self._name = chosen(world, chance.choice(APPLICATION_KINDS), chance).name
        seconds = self._sign * chance.randint(*_STEPS)
        clocks.step(world.instance, self._name, seconds)
        # A process looks for a step once in so long; whether it has is not to be seen from outside.
        time.sleep(clocks.SEEN_SECONDS)
        return f"{self._name} by {seconds:+d} s"

    def _mend(self, world: World) -> None:
        if self._name:
            clocks.step(world.instance, self._name, 0)
            wait_there(world, [self._name])
            self._name = ""


def faults() -> Iterator[Fault]:
    """Forwards and backwards."""
    yield StepClock("clock-ahead", "the clock of one process is minutes ahead", 1)
    yield StepClock("clock-behind", "the clock of one process is minutes behind", -1)
