"""Ends a process whose task hangs, where the pool cannot: pools of threads, and solo, have no time limits.

The timer is faulthandler's. It runs outside of Python, so it also strikes while Python gets no turn, and the last
thing the process does is to write what each of its threads was at into its log.
"""

from __future__ import annotations

import faulthandler
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


def end_after(seconds: float) -> None:
    """End this process after so long, with a traceback of its threads; a later call replaces the time."""
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback_later(max(seconds, 0.001), exit=True, file=sys.__stderr__)


class Watchdog:
    """Watches the tasks of one process. There is one timer: it is set to the task whose time is over first."""

    def __init__(
        self,
        arm: Callable[[float], None] = end_after,
        disarm: Callable[[], None] = faulthandler.cancel_dump_traceback_later,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`arm` sets the timer to so many seconds from now."""
        self.active = True
        """Off where the pool has time limits of its own."""
        self._arm = arm
        self._disarm = disarm
        self._clock = clock
        self._lock = Lock()
        self._numbers = itertools.count()
        self._ends: dict[int, float] = {}

    @contextmanager
    def watching(self, limit_seconds: float | None) -> Iterator[None]:
        """End the process if the block takes longer."""
        if not self.active or not limit_seconds:
            yield
            return
        number = next(self._numbers)
        with self._lock:
            self._ends[number] = self._clock() + limit_seconds
            self._set()
        try:
            yield
        finally:
            with self._lock:
                del self._ends[number]
                self._set()

    def _set(self) -> None:
        if self._ends:
            self._arm(min(self._ends.values()) - self._clock())
        else:
            self._disarm()
