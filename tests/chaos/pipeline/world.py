"""A product that runs, made to be broken: the cluster stack with links between its processes, and a way to each part.

Everything is the world's own and is gone with it, whatever was broken and whoever failed: processes, volumes, links.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import Engine

from service.devstack import processes, stack
from service.devstack.adjustments import Adjustments
from service.devstack.applications import kind_of, names
from service.devstack.instance import Instance, Profile
from service.devstack.ports import choose_ports
from service.devstack.progress import Progress
from service.devstack.supervision import LIVE_STATES, Supervisor, log_file
from service.devstack.waiting import wait_until
from service.persistence.database import Role, open_engine
from tests.chaos.pipeline import clocks, volumes
from tests.chaos.pipeline.needs import Need
from tests.chaos.pipeline.topology import Topology, port_names
from tests.network.client import Network
from tests.stack_fixture import remove_leftovers

PROJECT = Path(__file__).resolve().parents[3]
POISONED_WORKER = "tests.chaos.poisoned_worker"
"""The product's worker, which exceptions with `poison` in their payload take down."""
_PORTS = range(12_000, 19_900)
"""For links and brokers' listeners: not where stacks choose theirs, for some are bound only when a broker is up."""
_STRUCK_SECONDS = 30.0


@dataclass(frozen=True)
class Part:
    """A process of the world as it is now, with its children."""

    name: str
    """As `sentinai stack status` has it: worker-2."""
    kind: str
    pid: int

    def tree(self) -> list[psutil.Process]:
        """The process first, then its children; empty when it is gone."""
        try:
            main = psutil.Process(self.pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def send(self, which: signal.Signals, *, children: bool = True) -> None:
        """Send a signal to the process and to its children, whichever of them are there."""
        for process in self.tree()[: None if children else 1]:
            try:
                process.send_signal(which)
            except psutil.NoSuchProcess:
                continue


@dataclass(frozen=True)
class World:
    """What a load talks to, what faults strike, and what a verdict asks."""

    instance: Instance
    network: Network
    topology: Topology
    """By what each process reaches the others."""
    system: Engine
    """The database as the SYSTEM role sees it, reached past the links, as are the next ones."""
    environment: Mapping[str, str]
    """Settings by which a test reaches the services past the links."""
    needs: frozenset[Need]
    """What it was made with."""
    supervisor: Supervisor = field(repr=False)

    @property
    def api_urls(self) -> Sequence[str]:
        """Every API process of its own."""
        return list(self.instance.api_urls.values())

    @property
    def tool_server_url(self) -> str:
        """For packs, `${toolServerUrl}` is better: workers know it as the way through their links."""
        return str(self.instance.url("tool-server"))

    @property
    def kafka(self) -> str:
        """The brokers."""
        return self.instance.bootstrap_servers

    @property
    def logs(self) -> Path:
        """A folder with a log of each process."""
        return self.instance.logs

    def kinds(self) -> tuple[str, ...]:
        """Kinds of processes: api, worker, kafka, postgres …"""
        every = (*names(self.instance.profile), *self.instance.profile.services)
        return tuple(dict.fromkeys(kind_of(name) for name in every if kind_of(name) != "flower"))

    def processes(self, kind: str) -> list[Part]:
        """Those of a kind that run now."""
        return [part for part in self._parts() if part.kind == kind]

    def part(self, name: str) -> Part | None:
        """A process by its name; None while it does not run."""
        return next((part for part in self._parts() if part.name == name), None)

    def log_of(self, name: str) -> Path:
        """A process's log."""
        return log_file(self.instance, name)

    def hold_down(self, name: str, which: signal.Signals = signal.SIGKILL) -> None:
        """End a process with its children, and keep it from being started again until :meth:`release`."""
        part = self.part(name)
        if part is not None:
            part.send(which)

        def up() -> str | None:
            state = self.supervisor.states()[name].state
            if state not in ("STOPPED", "STOPPING"):
                # It may have been started again already.
                self.supervisor.stop_programs([name], 0.1)
            return None if state == "STOPPED" else f"it is {state}"

        wait_until(up, f"the end of {name}", _STRUCK_SECONDS)

    def release(self, name: str) -> None:
        """Start a process that was held down, or one whose supervisor pauses before it tries again."""
        state = self.supervisor.states()[name].state
        if state == "BACKOFF":
            self.supervisor.stop_programs([name], 1)
        if self.supervisor.states()[name].state not in LIVE_STATES:
            self.supervisor.start_program(name)

    def _parts(self) -> list[Part]:
        states = self.supervisor.states().values()
        return [
            Part(state.name, kind_of(state.name), state.pid)
            for state in states
            if state.pid is not None and state.state in LIVE_STATES
        ]


@contextmanager
def running_world(
    name: str,
    *,
    small: bool = False,
    services_only: bool = False,
    needs: Collection[Need] = (),
    environment: Mapping[str, str] | None = None,
    worker_app: str = POISONED_WORKER,
    say: Callable[[str], None] = print,
) -> Iterator[World]:
    """A world that is ready; `small`: one of each process. `name` is of lower-case letters.

    `services_only` leaves the application out. `environment` is added to that of the application's processes.
    Raises StackError when it does not come up.
    """
    remove_leftovers()
    root = Path(os.environ.get("SENTINAI_STACK_DIR") or PROJECT / ".stack").resolve()
    place = stack.Place(PROJECT, root, f"test-{name}-{os.getpid()}")
    profile = Profile.DEV if small else Profile.CLUSTER
    wanted_needs = frozenset(needs)
    with ExitStack() as undo:
        undo.callback(_remove, place)
        built: list[tuple[Network, Topology]] = []

        def adjust(instance: Instance) -> Adjustments:
            undo.enter_context(volumes.mounted(instance, wanted_needs))
            marker = {processes.MARKER: str(instance.home)}
            network = undo.enter_context(Network(instance.logs / "network.log", marker))
            # Again, so that processes end before what they stand on.
            undo.callback(_kill_all, instance)
            topology = Topology(instance, choose_ports(port_names(instance), {}, _PORTS))
            network.open(topology.ways())
            built.append((network, topology))
            return _adjustments(instance, topology, wanted_needs, environment or {}, worker_app)

        instance = stack.up(place, stack.Wanted(profile, services_only, adjust=adjust), os.environ, Progress(say))
        system = open_engine(instance.database_url, Role.SYSTEM)
        undo.callback(system.dispose)
        reached = {**instance.environment(), **(environment or {})}
        yield World(instance, *built[0], system, reached, wanted_needs, Supervisor(instance))


def _adjustments(
    instance: Instance, topology: Topology, needs: frozenset[Need], environment: Mapping[str, str], worker_app: str
) -> Adjustments:
    own = {name: topology.environment(name) for name in names(instance.profile)}
    if Need.OWN_CLOCKS in needs:
        own = {name: {**variables, **clocks.environment(instance, name)} for name, variables in own.items()}
    return Adjustments(
        environments={name: {**variables, **environment} for name, variables in own.items()},
        worker_app=worker_app,
        broker_properties={broker: topology.broker_properties(broker) for broker in instance.brokers},
        postgres_settings=volumes.postgres_settings(needs),
    )


def _kill_all(instance: Instance) -> None:
    """At once: what stands still or cannot write would not end by itself."""
    processes.end(processes.belonging(instance.home), 0.1)


def _remove(place: stack.Place) -> None:
    stack.down(place, remove=True)
