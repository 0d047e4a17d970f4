"""The small world: one process of each kind on services of its own, and the faults that need no more.

It is quick to bring up, so a round can be met on any machine; what only several brokers or processes can show needs
the cluster's world.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import Engine

from tests.chaos.pipeline.surroundings import Fault
from tests.fleet import Fleet, FleetProcess
from tests.integration.conftest import Product, running_product, services_apart

POISONED = "tests.chaos.poisoned_worker"
"""The product's worker, which exceptions with `poison` in their payload take down."""
_FROZEN_SECONDS = 8.0
"""Longer than a consumer's session: the others take over, and what wakes up is a zombie."""
_KINDS = ("api", "dispatcher", "relay", "worker", "beat")


@dataclass(frozen=True)
class SmallWorld:
    """One process of each kind."""

    product: Product
    environment: Mapping[str, str]

    @property
    def api_urls(self) -> Sequence[str]:
        """There is one."""
        return [self.product.fleet.api_url]

    @property
    def system(self) -> Engine:
        """See `surroundings.World`."""
        return self.product.system

    @property
    def tool_server_url(self) -> str:
        """See `surroundings.World`."""
        return self.product.tool_server_url

    @property
    def kafka(self) -> str:
        """See `surroundings.World`."""
        return self.product.settings.kafka_bootstrap_servers

    @property
    def logs(self) -> Path:
        """See `surroundings.World`."""
        return self.product.fleet.logs


@contextmanager
def small_world(logs: Path) -> Iterator[SmallWorld]:
    """Started, and gone afterwards."""
    with services_apart("chaos") as apart:
        own = {"SENTINAI_RECONCILE_AFTER_SECONDS": "10"}
        with running_product(
            apart.settings, apart.tool_server_url, logs, worker_app=POISONED, **apart.environment, **own
        ) as product:
            yield SmallWorld(product, {**apart.environment, **own})


@dataclass(frozen=True)
class ProcessFault:
    """Something that happens to the one process of a kind."""

    name: str
    summary: str
    kind: str
    act: Callable[[Fleet, FleetProcess], None]

    def strike(self, world: SmallWorld, chance: random.Random) -> None:
        """Do it to the process that runs."""
        self.act(world.product.fleet, world.product.fleet.alive(self.kind)[0])

    def mend(self, world: SmallWorld) -> None:
        """Wake it, or start another where it is gone, and wait until it works."""
        fleet = world.product.fleet
        for process in fleet.alive(self.kind):
            _send(process, signal.SIGCONT)
        if not fleet.alive(self.kind):
            fleet.start(self.kind)
        fleet.wait_ready()


def _kill(_fleet: Fleet, process: FleetProcess) -> None:
    process.kill()


def _terminate(_fleet: Fleet, process: FleetProcess) -> None:
    process.stop()


def _freeze(_fleet: Fleet, process: FleetProcess) -> None:
    """Stop it for longer than its session; the mend wakes it."""
    _send(process, signal.SIGSTOP)
    time.sleep(_FROZEN_SECONDS)


def _send(process: FleetProcess, which: signal.Signals) -> None:
    main = psutil.Process(process.popen.pid)
    for one in (main, *main.children(recursive=True)):
        one.send_signal(which)


def _kill_pool(_fleet: Fleet, process: FleetProcess) -> None:
    process.kill_one_child()


def faults() -> Mapping[str, Fault]:
    """By name."""
    found: list[Fault] = []
    for kind in _KINDS:
        found.append(ProcessFault(f"kill-{kind}", f"kill -9 of the {kind}", kind, _kill))
        found.append(ProcessFault(f"term-{kind}", f"SIGTERM to the {kind}, and a new one", kind, _terminate))
        found.append(ProcessFault(f"freeze-{kind}", f"SIGSTOP of the {kind} for 8 s", kind, _freeze))
    found.append(ProcessFault("kill-pool", "kill -9 of one process of the worker's pool", "worker", _kill_pool))
    return {fault.name: fault for fault in found}
