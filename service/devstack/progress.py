"""Telling a person what the stack is doing: one line a finished step, with its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Prints steps through `write`; silent steps are those that had nothing to do."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._began = clock()

    def say(self, text: str) -> None:
        """A line about something that takes a while."""
        self._write(f"  … {text}")

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        """Print the label and the time its block took once it is done; nothing when it fails."""
        began = self._clock()
        yield
        self._write(f"  ✓ {label:<44}{self._clock() - began:6.1f} s")

    def total(self, label: str) -> None:
        """The closing line, with the time since the start."""
        self._write(f"  {label} in {self._clock() - self._began:.1f} s")
