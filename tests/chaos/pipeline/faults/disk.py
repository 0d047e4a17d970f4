"""Disks without a byte left."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.chaos.pipeline import volumes
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.health import wait_there
from tests.chaos.pipeline.needs import Need
from tests.chaos.pipeline.world import World


class FullDisk(Fault):
    """The volume of one service is full; what dies of it comes back once there is space."""

    least_seconds = 8.0

    def __init__(self, name: str, summary: str, need: Need) -> None:
        super().__init__(name, summary)
        self.needs = frozenset({need})
        self._need = need

    def _strike(self, world: World, chance: random.Random) -> str:
        volumes.fill(world.instance, self._need)
        return f"the volume of {volumes.owner_of(world.instance, self._need)}"

    def _mend(self, world: World) -> None:
        volumes.free(world.instance, self._need)
        owner = volumes.owner_of(world.instance, self._need)
        world.release(owner)
        wait_there(world, [owner])


def faults() -> Iterator[Fault]:
    """A broker's and the database's."""
    yield FullDisk("full-disk-broker", "the disk of a broker is full", Need.SMALL_BROKER_DISK)
    yield FullDisk("full-disk-postgres", "the disk of PostgreSQL is full", Need.SMALL_DATABASE_DISK)
