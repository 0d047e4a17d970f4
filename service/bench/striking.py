"""What the recovery scenario breaks: a part of the stack that is measured, which its supervisor brings back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

import psutil

from service.devstack import postgres
from service.devstack.errors import StackError
from service.devstack.instance import Instance
from service.devstack.supervision import Supervisor

_STOP_SECONDS = 30.0
_BACK_SECONDS = 120.0
_LOOK_SECONDS = 0.05


class Fault(StrEnum):
    """A part, and how it is broken."""

    WORKER = "worker"
    """A worker's main process and its pool are killed with SIGKILL."""
    BROKER = "broker"
    """A Kafka broker is killed with SIGKILL."""
    POSTGRES = "postgres"
    """PostgreSQL is restarted: sessions are ended, nothing is committed on the way."""


def victim(instance: Instance, fault: Fault) -> str:
    """The name of the program that a fault strikes: the last of its kind where there are several. Raises StackError."""
    name = {Fault.WORKER: "worker", Fault.BROKER: "kafka", Fault.POSTGRES: "postgres"}[fault]
    running = [one for one in sorted(Supervisor(instance).states()) if one == name or one.startswith(f"{name}-")]
    if not running:
        raise StackError(f"stack {instance.name!r} has no {name} that could be broken")
    return running[-1]


def strike(instance: Instance, fault: Fault) -> Callable[[], str | None]:
    """Break it; what is returned says what is missing until it is there again. Raises StackError."""
    name = victim(instance, fault)
    supervisor = Supervisor(instance)
    if fault is Fault.POSTGRES:
        supervisor.stop_programs([name], _STOP_SECONDS)
        supervisor.start_program(name)
        return lambda: postgres.missing(instance)
    pid = supervisor.states()[name].pid
    if pid is None:
        raise StackError(f"{name} is not running, so it cannot be killed")
    _kill(pid)

    def missing() -> str | None:
        state = supervisor.states().get(name)
        there = state is not None and state.state == "RUNNING" and state.pid not in (None, pid)
        return None if there else f"{name} is not running again"

    return missing


def seconds_until_back(missing: Callable[[], str | None], clock: Callable[[], float] = time.monotonic) -> float:
    """Wait until a broken part is there again; how long that took. Raises StackError."""
    began = clock()
    while (reason := missing()) is not None:
        if clock() - began > _BACK_SECONDS:
            raise StackError(f"what was broken did not come back: {reason}")
        time.sleep(_LOOK_SECONDS)
    return clock() - began


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Faults by comma. Raises ValueError."""
    known: Mapping[str, Fault] = {fault.value: fault for fault in Fault}
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise ValueError(f"{', '.join(wrong) or 'nothing'} cannot be broken; there are: {', '.join(known)}")
    return tuple(known[name] for name in names)


def _kill(pid: int) -> None:
    """The process and everything below it, at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
