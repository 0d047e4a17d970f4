"""A worker that exceptions can kill: `celery -A tests.chaos.poisoned_worker worker …`, for tests of poison isolation.

It is the product's own worker, with stages that obey two keys of an exception's payload: `poison` says how the
process that works it comes to its end (`exit`, `segfault`, `memory`, `hang`, `error`), `poisonStage` at which stage
(`triage` unless it says otherwise). At the tool stage it strikes when the exception's calls are written down as sent
and about to go out. Nothing in production code knows these keys.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from service import wiring
from service.domain.exceptions import ExceptionRecord, Outcome, Stage
from service.domain.packs import PackSet
from service.engine.course import Flight
from service.engine.departures import Departure, Mailbox
from service.engine.tool_stage import ToolStageRunner
from tasks.application import app

__all__ = ["app"]

KINDS = ("exit", "segfault", "memory", "hang")
"""Ways of a process to its end."""

EXIT_CODE = 23

_CHUNK = 64 << 20
_MOST_CHUNKS = 32
"""So much is taken at most: where no limit stops it, the process ends as by the kernel's out-of-memory killer."""

Decide = Callable[[ExceptionRecord, PackSet, datetime], Outcome]


class PoisonedError(Exception):
    """What nobody expects a stage to raise."""


def strike(kind: str) -> None:
    """End this process, one way or another."""
    if kind == "exit":
        os._exit(EXIT_CODE)
    elif kind == "segfault":
        ctypes.string_at(0)
    elif kind == "memory":
        _eat()
    elif kind == "hang":
        while True:
            time.sleep(60)
    else:
        raise PoisonedError(kind)


def _eat() -> None:
    eaten = [bytearray(b"\1") * _CHUNK for _ in range(_MOST_CHUNKS)]
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(len(eaten))


def _taste(stage: Stage, payload: Mapping[str, Any]) -> None:
    kind = payload.get("poison")
    if kind is not None and payload.get("poisonStage", Stage.TRIAGE.queue) == stage.queue:
        strike(str(kind))


def _poisonable(stage: Stage, decide: Decide) -> Decide:
    def tasted(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
        _taste(stage, record.raw_payload)
        return decide(record, packs, now)

    return tasted


class _PoisonableToolStage(ToolStageRunner):
    """The tool stage, whose calls may be their process's end."""

    def depart(self, flights: Sequence[Flight], mailbox: Mailbox) -> Departure:
        """Taste each exception before its calls leave."""
        for flight in flights:
            _taste(Stage.TOOL, flight.course.record.raw_payload)
        return super().depart(flights, mailbox)


def _poison() -> None:
    """Put the poisonable stages in the place of the product's, in this process and in those forked from it."""
    wiring.DECIDE = {stage: _poisonable(stage, decide) for stage, decide in wiring.DECIDE.items()}
    wiring.ToolStageRunner = _PoisonableToolStage  # type: ignore[misc]  # a class takes another's place


_poison()
