"""Redis that forgets everything, or is gone for a moment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import redis

from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.faults.processes import Kill
from tests.chaos.pipeline.health import wait_there
from tests.chaos.pipeline.world import World


class FlushRedis(Fault):
    """FLUSHALL."""

    def __init__(self) -> None:
        super().__init__("redis-flush", "Redis forgets everything (FLUSHALL)")

    def _strike(self, world: World, chance: random.Random) -> str:
        wait_there(world, ["redis"])
        with closing(redis.Redis.from_url(world.instance.redis_url)) as client:
            keys = client.dbsize()
            client.flushall()
        return f"{keys} keys"

    def _mend(self, world: World) -> None:
        wait_there(world, ["redis"])


class RestartRedis(Kill):
    """kill -9; it starts again, with nothing."""

    def __init__(self) -> None:
        super().__init__("redis")
        self.name, self.summary = "redis-restart", "kill -9 of Redis, which starts again with nothing in it"


def faults() -> Iterator[Fault]:
    """Forgetting and restarting."""
    yield FlushRedis()
    yield RestartRedis()
