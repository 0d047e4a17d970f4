"""Reading what the tasks noted, and waiting for it with a bound on standing still."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .application import STAMP

_LOOK_EVERY = 0.002


class Stamp(NamedTuple):
    """One start of a task."""

    number: int
    pid: int
    at: float


class Stamps:
    """The file that all workers of a measurement append to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self) -> int:
        """How many tasks have started."""
        return self._path.stat().st_size // STAMP.size if self._path.exists() else 0

    def read(self, start: int = 0) -> list[Stamp]:
        """All stamps from the ``start``-th on."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(start * STAMP.size)
            data = file.read()
        return [Stamp(*fields) for fields in STAMP.iter_unpack(data[: len(data) // STAMP.size * STAMP.size])]

    def wait_for(self, count: int, stall: float, limit: float, watch: Callable[[int], object] | None = None) -> bool:
        """Wait until ``count`` tasks have started.

        False when ``limit`` seconds are over, or when none has started for ``stall`` seconds.
        """
        begun = moved = time.monotonic()
        last = -1
        while (now := self.count()) < count:
            if watch is not None:
                watch(now)
            if now != last:
                last, moved = now, time.monotonic()
            elif time.monotonic() - moved > stall or time.monotonic() - begun > limit:
                return False
            time.sleep(_LOOK_EVERY)
        if watch is not None:
            watch(now)
        return True
