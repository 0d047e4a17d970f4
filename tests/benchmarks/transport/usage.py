"""Processor time and memory of a worker and of its broker."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds used so far, and when that was."""

    at: float
    main: float
    children: float
    broker: float

    def __sub__(self, earlier: Usage) -> Usage:
        """What was used in between."""
        return Usage(
            self.at - earlier.at,
            self.main - earlier.main,
            self.children - earlier.children,
            self.broker - earlier.broker,
        )


class Meter:
    """Looks at one worker with its pool processes, and at the broker."""

    def __init__(self, worker: psutil.Process, broker: psutil.Process | None) -> None:
        self._worker = worker
        self._broker = broker

    def look(self) -> Usage:
        """Read the counters now."""
        children = sum(_seconds(child) for child in self._worker.children(recursive=True))
        broker = _seconds(self._broker) if self._broker is not None else 0.0
        return Usage(time.monotonic(), _seconds(self._worker), children, broker)

    def memory(self) -> float:
        """Resident memory of the worker's main process in MiB."""
        return float(self._worker.memory_info().rss) / 2**20

    def over(self, seconds: float) -> Usage:
        """What is used while nothing is done for so long."""
        before = self.look()
        time.sleep(seconds)
        return self.look() - before


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        spent = process.cpu_times()
        return float(spent.user + spent.system)
    return 0.0
