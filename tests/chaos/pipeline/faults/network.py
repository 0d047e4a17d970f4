"""Ways between processes that are cut or slow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.health import wait_there
from tests.chaos.pipeline.topology import APPLICATION
from tests.chaos.pipeline.world import World
from tests.network.link import State

Links = Callable[[World, random.Random], tuple[str, list[str]]]
"""Which links are struck, in words and by name."""
_DELAYS = (0.05, 0.4)


class Cut(Fault):
    """Nothing comes through: connections are refused, or they stay and are silent, as when nobody is told."""

    least_seconds = 2.0

    def __init__(self, name: str, summary: str, links: Links, least_seconds: float) -> None:
        super().__init__(name, summary)
        self.least_seconds = least_seconds
        self._links = links
        self._names: list[str] = []

    def _strike(self, world: World, chance: random.Random) -> str:
        words, self._names = self._links(world, chance)
        state = self._state(chance)
        world.network.become(self._names, state)
        return f"{words}: {told(state)}"

    def _state(self, chance: random.Random) -> State:
        return chance.choice([State(cut=True), State(silent=True)])

    def _mend(self, world: World) -> None:
        world.network.become(self._names, State())
        if any(name.startswith("kafka-") for name in self._names):
            wait_there(world, world.instance.brokers)
        self._names = []


class Slow(Cut):
    """Everything comes through, later."""

    def _state(self, chance: random.Random) -> State:
        return State(delay_seconds=round(chance.uniform(*_DELAYS), 2))


def told(state: State) -> str:
    """How a link is, in words."""
    if state.cut:
        return "refused"
    return "silent" if state.silent else f"{state.delay_seconds:g} s late each way"


def to_service(service: str) -> Links:
    """From every process that uses a service, or from one of them."""

    def links(world: World, chance: random.Random) -> tuple[str, list[str]]:
        every = sorted(world.network.names(target=service))
        if chance.random() < 0.5:
            return f"all to {service}", every
        name = chance.choice(every)
        return name, [name]

    return links


def to_a_broker(world: World, chance: random.Random) -> tuple[str, list[str]]:
    """From the application to one broker."""
    name = f"{APPLICATION}>{chance.choice(world.instance.brokers)}"
    return name, [name]


def around_a_broker(world: World, chance: random.Random) -> tuple[str, list[str]]:
    """Between one broker and the others, and its controller and theirs; clients reach all of them."""
    one = chance.choice(world.instance.brokers)
    number = one.rpartition("-")[2]
    away = world.network.names(source=one)
    towards = [*world.network.names("kafka-", one), *world.network.names("kafka-", f"kafka-controller-{number}")]
    return f"{one} and the other brokers", [*away, *towards]


def faults() -> Iterator[Fault]:
    """A cut and a delay for each kind of way."""
    for end, links, words, seconds in (
        ("postgres", to_service("postgres"), "processes to PostgreSQL", 2.0),
        ("broker", to_a_broker, "the application to one broker", 8.0),
        ("redis", to_service("redis"), "processes to Redis", 2.0),
        ("tools", to_service("tool-server"), "workers to the tool server", 2.0),
        ("brokers-apart", around_a_broker, "one broker to the others", 8.0),
    ):
        yield Cut(f"cut-{end}", f"the way of {words} is cut, or silent", links, seconds)
        yield Slow(f"slow-{end}", f"the way of {words} is slow", links, seconds)
