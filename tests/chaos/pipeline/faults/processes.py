"""Processes that are killed, told to end, or stand still until the others have given them up."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import psutil

from service.devstack.waiting import wait_until
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.health import READY_SECONDS, wait_there
from tests.chaos.pipeline.world import Part, World

APPLICATION_KINDS = ("api", "dispatcher", "relay", "worker", "beat")
ZOMBIE_SECONDS = 9.0
"""Longer than a consumer's session (6 s) and a lane's lease (5 s): what wakes up has been given up by all others."""
_END_SECONDS = 30.0


class Kill(Fault):
    """kill -9 of a process with its children, as a machine that dies would; the supervisor starts it again."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"kill-{kind}", f"kill -9 of one {kind} process and its children")
        self._kind = kind
        self._name = ""

    def _strike(self, world: World, chance: random.Random) -> str:
        part = chosen(world, self._kind, chance)
        self._name = part.name
        gone = part.tree()
        part.send(signal.SIGKILL)
        psutil.wait_procs(gone, _END_SECONDS)
        return f"{part.name} (pid {part.pid})"

    def _mend(self, world: World) -> None:
        wait_there(world, [self._name] if self._name else [])


class KillMainOnly(Kill):
    """kill -9 of a worker's main process: its pool is left behind in the middle of its work."""

    def __init__(self) -> None:
        super().__init__("worker")
        self.name, self.summary = "orphan-pool", "kill -9 of a worker's main process, its pool left behind"

    def _strike(self, world: World, chance: random.Random) -> str:
        part = chosen(world, "worker", chance)
        self._name = part.name
        main = part.tree()[:1]
        part.send(signal.SIGKILL, children=False)
        psutil.wait_procs(main, _END_SECONDS)
        return f"{part.name} (pid {part.pid}), not its children"


class KillPoolProcess(Kill):
    """kill -9 of one process of a worker's pool; the worker replaces it."""

    def __init__(self) -> None:
        super().__init__("worker")
        self.name, self.summary = "kill-pool", "kill -9 of one process of a worker's pool"
        self._others = 0

    def _strike(self, world: World, chance: random.Random) -> str:
        part = chosen(world, "worker", chance)
        self._name = part.name
        pool = part.tree()[1:]
        self._others = len(pool)
        victim = chance.choice(pool)
        victim.kill()
        return f"process {victim.pid} of {part.name}'s pool"

    def _mend(self, world: World) -> None:
        super()._mend(world)
        if self._name:
            wait_until(lambda: self._too_few(world), f"{self._name}'s pool", READY_SECONDS)

    def _too_few(self, world: World) -> str | None:
        part = world.part(self._name)
        count = len(part.tree()) - 1 if part else 0
        return None if count >= self._others else f"{count} of {self._others} processes"


class Terminate(Kill):
    """SIGTERM: the process ends as it likes, and the supervisor starts another."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.name, self.summary = f"term-{kind}", f"SIGTERM to one {kind} process, and a new one"
        self._pid = 0

    def _strike(self, world: World, chance: random.Random) -> str:
        part = chosen(world, self._kind, chance)
        self._name, self._pid = part.name, part.pid
        part.send(signal.SIGTERM, children=False)
        return f"{part.name} (pid {part.pid})"

    def _mend(self, world: World) -> None:
        if self._name:
            wait_until(lambda: self._lives(), f"the end of {self._name}", READY_SECONDS, pause=0.2)
        super()._mend(world)

    def _lives(self) -> str | None:
        return f"process {self._pid} has not ended" if psutil.pid_exists(self._pid) else None


class Freeze(Fault):
    """SIGSTOP until its session is over and its leases are lost, then SIGCONT: a zombie that does not know it."""

    least_seconds = ZOMBIE_SECONDS

    def __init__(self, kind: str) -> None:
        super().__init__(f"freeze-{kind}", f"SIGSTOP of one {kind} process for {ZOMBIE_SECONDS:g} s, then SIGCONT")
        self._kind = kind
        self._part: Part | None = None

    def _strike(self, world: World, chance: random.Random) -> str:
        part = self._part = chosen(world, self._kind, chance)
        part.send(signal.SIGSTOP)
        wait_until(lambda: _moving(part), f"{part.name}'s standing still", _END_SECONDS)
        return f"{part.name} (pid {part.pid})"

    def _mend(self, world: World) -> None:
        if self._part is not None:
            self._part.send(signal.SIGCONT)
            wait_there(world, [self._part.name])
            self._part = None


def _moving(part: Part) -> str | None:
    """None when the process and its children stand still, or are gone."""
    for process in part.tree():
        try:
            if process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                return f"process {process.pid} is {process.status()}"
        except psutil.NoSuchProcess:
            continue
    return None


def chosen(world: World, kind: str, chance: random.Random) -> Part:
    """One of a kind, by chance; waits for one to be there, for another fault may have struck."""
    wait_until(lambda: None if world.processes(kind) else "none runs", f"a process of kind {kind}", READY_SECONDS)
    return chance.choice(sorted(world.processes(kind), key=lambda part: part.name))


def faults() -> Iterator[Fault]:
    """Of every kind of application process."""
    for kind in APPLICATION_KINDS:
        yield Kill(kind)
        yield Terminate(kind)
        yield Freeze(kind)
    yield KillPoolProcess()
    yield KillMainOnly()
