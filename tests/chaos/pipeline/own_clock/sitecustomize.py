"""Gives a Python process, and what it forks, a clock that a file sets: loaded by having this folder on PYTHONPATH.

What Python code sees as the time of day is stepped; what counts seconds (`time.monotonic`, sleeps, waits) goes on, as
it does when a machine's clock is set. Libraries in C keep the machine's clock.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import time_machine

_LOOK_SECONDS = 0.2


class Clock:
    """The one of this process; a forked child goes on with what its parent's showed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._travel: time_machine.travel | None = None

    def watch(self) -> None:
        """Start to follow the file."""
        threading.Thread(target=self._follow, name="clock", daemon=True).start()

    def _follow(self) -> None:
        looking = threading.Event()
        while True:
            offset = int(self._file.read_text() or "0")
            if offset != self._offset:
                self._step(offset)
            looking.wait(_LOOK_SECONDS)

    def _step(self, offset: int) -> None:
        if self._travel is not None:
            self._travel.stop()
            self._travel = None
        if offset:
            # The machine's time: nobody travels now.
            self._travel = time_machine.travel(time.time() + offset, tick=True)
            self._travel.start()
        self._offset = offset


if "CHAOS_CLOCK_FILE" in os.environ:
    clock = Clock(Path(os.environ["CHAOS_CLOCK_FILE"]))
    clock.watch()
    # A thread does not survive a fork.
    os.register_at_fork(after_in_child=clock.watch)
