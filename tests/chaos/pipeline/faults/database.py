"""PostgreSQL that restarts under its clients, and commits whose outcome is lost on the way."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import psutil

from service.devstack.waiting import wait_until
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.health import READY_SECONDS, wait_there
from tests.chaos.pipeline.world import World
from tests.network.link import Commits, State

_END_SECONDS = 30.0


class RestartPostgres(Fault):
    """PostgreSQL is told to shut down, and its supervisor starts it again."""

    def __init__(self, name: str, summary: str, which: signal.Signals) -> None:
        super().__init__(name, summary)
        self._which = which

    def _strike(self, world: World, chance: random.Random) -> str:
        wait_there(world, ["postgres"])
        part = world.part("postgres")
        assert part is not None
        main = part.tree()[:1]
        part.send(self._which, children=False)
        psutil.wait_procs(main, _END_SECONDS)
        return f"{part.name} (pid {part.pid}) with {self._which.name}"

    def _mend(self, world: World) -> None:
        wait_there(world, ["postgres"])


class LoseCommits(Fault):
    """Connections end in the middle of COMMIT: before PostgreSQL got it, or before its answer was passed on."""

    least_seconds = 1.0

    def __init__(self, name: str, summary: str, commits: Commits) -> None:
        super().__init__(name, summary)
        self._commits = commits
        self._names: list[str] = []
        self._before = 0

    def _strike(self, world: World, chance: random.Random) -> str:
        kind = chance.choice(["", "api", "worker", "dispatcher"])
        self._names = world.network.names(source=kind, target="postgres")
        self._before = self._count(world)
        world.network.become(self._names, State(commits=self._commits))
        return f"every COMMIT of {f'{kind} processes' if kind else 'all'}"

    def _mend(self, world: World) -> None:
        if not self._names:
            return
        try:
            # Whoever they are, they commit again and again, with work or without.
            wait_until(
                lambda: None if self._count(world) > self._before else "none came", "a COMMIT to lose", READY_SECONDS
            )
        finally:
            world.network.become(self._names, State())
        self.told += f": {self._count(world) - self._before} of them"
        self._names = []

    def _count(self, world: World) -> int:
        links = world.network.look()
        return sum(links[name]["cut_commits"] for name in self._names)


def faults() -> Iterator[Fault]:
    """Restarts and lost commits."""
    yield RestartPostgres("postgres-immediate", "PostgreSQL shuts down at once (SIGQUIT) and recovers", signal.SIGQUIT)
    yield RestartPostgres("postgres-fast", "PostgreSQL ends every session (SIGINT) and starts again", signal.SIGINT)
    yield LoseCommits("commit-unsent", "connections end before PostgreSQL got the COMMIT", Commits.UNSENT)
    yield LoseCommits("commit-unanswered", "connections end after COMMIT, before its answer", Commits.UNANSWERED)
