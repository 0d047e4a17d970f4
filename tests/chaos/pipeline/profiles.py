"""The worlds that rounds can run in, and the faults of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.chaos.pipeline.faults.catalogue import catalogue
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.kinds import POISON, Kind
from tests.chaos.pipeline.needs import Need, missing_here
from tests.chaos.pipeline.world import World, running_world

_POISONED = {
    Kind.POISON_EXIT: "an exception whose work ends the process (os._exit)",
    Kind.POISON_SEGFAULT: "an exception whose work crashes the process (segmentation fault)",
    Kind.POISON_MEMORY: "an exception whose work takes all memory there is",
    Kind.POISON_HANG: "an exception whose work never ends",
}


@dataclass(frozen=True)
class Profile:
    """A kind of world."""

    name: str
    small: bool

    def faults(self) -> Mapping[str, Fault]:
        """New ones by name: all that this machine can give."""
        return {name: fault for name, fault in catalogue().items() if not any(map(missing_here, fault.needs))}

    def left_out(self) -> dict[str, str]:
        """Those that this machine cannot give, and why."""
        reasons = {name: [missing_here(need) for need in fault.needs] for name, fault in catalogue().items()}
        return {name: "; ".join(filter(None, found)) for name, found in reasons.items() if any(found)}

    def summaries(self) -> dict[str, str]:
        """Every fault by name, with a line that says what it is; those that come with the load too."""
        struck = {name: fault.summary for name, fault in self.faults().items()}
        return dict(sorted({**struck, **{kind.value: _POISONED[kind] for kind in POISON}}.items()))

    def needs(self, faults: Collection[str]) -> frozenset[Need]:
        """What a world must be made with, for these faults to strike."""
        known = self.faults()
        return frozenset(need for name in faults if name in known for need in known[name].needs)


PROFILES: Mapping[str, Profile] = {
    "cluster": Profile("cluster", small=False),
    "small": Profile("small", small=True),
}


class Worlds:
    """A world at a time: the same one until it is asked for afresh, or for another sort."""

    def __init__(self, profile: Profile, say: Callable[[str], None]) -> None:
        self._profile = profile
        self._say = say
        self._open: AbstractContextManager[World] | None = None
        self._world: World | None = None

    def current(self, needs: frozenset[Need] = frozenset()) -> World:
        """A world made with exactly these needs; started if there is none."""
        if self._world is not None and self._world.needs != needs:
            self.abandon()
        if self._world is None:
            self._open = running_world("chaos", small=self._profile.small, needs=needs, say=self._say)
            self._world = self._open.__enter__()
        return self._world

    def abandon(self) -> None:
        """End it; the next round gets a new one."""
        opened, self._open, self._world = self._open, None, None
        if opened is not None:
            opened.__exit__(None, None, None)


@contextmanager
def worlds(profile: Profile, say: Callable[[str], None]) -> Iterator[Worlds]:
    """Whatever happens, the last world is gone afterwards."""
    opened = Worlds(profile, say)
    try:
        yield opened
    finally:
        opened.abandon()
