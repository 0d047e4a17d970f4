"""The worlds that rounds can run in, and the faults of each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.pipeline import small
from tests.chaos.pipeline.kinds import POISON, Kind
from tests.chaos.pipeline.surroundings import Fault, World

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
    open: Callable[[Path], AbstractContextManager[World]]
    """Starts one, its logs in this folder; it is gone afterwards."""
    faults: Callable[[], Mapping[str, Fault]]

    def summaries(self) -> dict[str, str]:
        """Every fault by name, with a line that says what it is; those that come with the load too."""
        struck = {name: fault.summary for name, fault in self.faults().items()}
        return dict(sorted({**struck, **{kind.value: _POISONED[kind] for kind in POISON}}.items()))


PROFILES: Mapping[str, Profile] = {
    "small": Profile("small", small.small_world, small.faults),
}


class Worlds:
    """A world at a time: the same one until it is asked for afresh."""

    def __init__(self, profile: Profile, logs: Path) -> None:
        self._profile = profile
        self._logs = logs
        self._open: AbstractContextManager[World] | None = None
        self._world: World | None = None

    def current(self) -> World:
        """The world of now; started if there is none."""
        if self._world is None:
            # A campaign that goes on finds the folders of the worlds before.
            self._logs.mkdir(parents=True, exist_ok=True)
            logs = Path(tempfile.mkdtemp(prefix="world-", dir=self._logs))
            self._open = self._profile.open(logs)
            self._world = self._open.__enter__()
        return self._world

    def abandon(self) -> None:
        """End it; the next round gets a new one."""
        opened, self._open, self._world = self._open, None, None
        if opened is not None:
            opened.__exit__(None, None, None)


@contextmanager
def worlds(profile: Profile, logs: Path) -> Iterator[Worlds]:
    """Whatever happens, the last world is gone afterwards."""
    opened = Worlds(profile, logs)
    try:
        yield opened
    finally:
        opened.abandon()
