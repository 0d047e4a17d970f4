"""What a fault is to those who plan, strike and judge."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod

from tests.chaos.pipeline.needs import Need
from tests.chaos.pipeline.world import World


class Fault(ABC):
    """Something that breaks, and is mended. One object strikes once at a time, and may strike again when mended."""

    needs: frozenset[Need] = frozenset()
    """What the world must have been made with."""
    least_seconds = 0.0
    """How long it must be in force to show anything. `mend` waits for the rest of it."""

    def __init__(self, name: str, summary: str) -> None:
        self.name = name
        """What `--faults` and the table call it."""
        self.summary = summary
        """One line for people."""
        self.told = ""
        """What exactly was struck, for the evidence."""
        self._struck_at = 0.0

    def strike(self, world: World, chance: random.Random) -> None:
        """Break it; return when it is in force."""
        self.told = self._strike(world, chance)
        self._struck_at = time.monotonic()

    def mend(self, world: World) -> None:
        """Put the part back; return when it is there again. Raises NotReadyError after two minutes.

        Harmless when the fault did not strike.
        """
        if self.told:
            time.sleep(max(0.0, self._struck_at + self.least_seconds - time.monotonic()))
        self._mend(world)
        self._struck_at = 0.0

    @abstractmethod
    def _strike(self, world: World, chance: random.Random) -> str:
        """Break it, and tell what."""

    @abstractmethod
    def _mend(self, world: World) -> None:
        """Put it back."""
