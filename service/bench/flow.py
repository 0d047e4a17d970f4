"""When the load generator may send: as the pipeline keeps up (`Valve`), or at a fixed rate (`Metronome`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Event, Lock
from typing import Protocol

_LOOK_SECONDS = 0.2
"""How long a waiting sender may miss that the run was ended."""
_LATE_SECONDS = 0.5


class Gate(Protocol):
    """Lets senders pass."""

    def admit(self, items: int, stopping: Event) -> bool:
        """Wait until so many items may be sent; False when the run was ended meanwhile."""
        ...

    def answered(self, items: int) -> None:
        """So many items were answered, whatever the answer was."""
        ...


@dataclass(frozen=True, slots=True)
class Observed:
    """The backlog the database told, and how much had been answered when it was asked."""

    backlog: int
    answered: int


class Valve:
    """Keeps accepted minus settled below a bound, and so finds the rate at which the pipeline works.

    What is outstanding is counted on the safe side: the last observed backlog and everything sent that this
    observation cannot have seen.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._sent = 0
        self._answered = 0
        self._observed = Observed(0, 0)
        self._changed = Condition()
        self.closed = False
        """Whether a sender ever had to wait: only then is the pipeline, not the sender, what limits the rate."""

    def admit(self, items: int, stopping: Event) -> bool:
        with self._changed:
            while not stopping.is_set():
                if self.outstanding() + items <= self._bound:
                    self._sent += items
                    return True
                self.closed = True
                self._changed.wait(_LOOK_SECONDS)
        return False

    def answered(self, items: int) -> None:
        with self._changed:
            self._answered += items

    def outstanding(self) -> int:
        """The most that can be under way now."""
        return self._observed.backlog + self._sent - self._observed.answered

    def answered_so_far(self) -> int:
        """To be asked before the database is."""
        with self._changed:
            return self._answered

    def observe(self, observed: Observed) -> None:
        """Take in what the database told."""
        with self._changed:
            self._observed = observed
            self._changed.notify_all()


class Metronome:
    """Lets items pass at an even rate, whatever becomes of them: an open loop."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._next: float | None = None
        self._turn = Lock()
        self.late = 0
        """Turns that began more than half a second after their time: the rate was not reached."""

    def admit(self, items: int, stopping: Event) -> bool:
        with self._turn:
            due = self._clock() if self._next is None else self._next
            self._next = due + items / self._per_second
        wait = due - self._clock()
        if wait < -_LATE_SECONDS:
            self.late += 1
        return not stopping.wait(max(0.0, wait))

    def answered(self, items: int) -> None:
        """An open loop does not care."""
