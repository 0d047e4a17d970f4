"""What one process's transport did and holds, by name: counts, current levels, and distributions of times.

Whatever happens is counted where it happens, with :meth:`Counters.add`. :mod:`service.transport.metrics` gives the
names to the world outside.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Upper bounds, in seconds, of the classes into which times are counted."""


class Measured(Protocol):
    """Something that has levels which rise and fall."""

    def levels(self) -> Mapping[str, float]:
        """Return the levels at this moment, by name. Called by any thread."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How long something took, over all times it was observed. Seconds."""

    count: int
    total: float
    longest: float
    classes: tuple[int, ...]
    """How many were at most as long as each of :data:`BOUNDS`."""


class Counters:
    """Named numbers. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Counter[str] = Counter()
        self._times: dict[str, _Times] = {}
        self._measured: weakref.WeakSet[Measured] = weakref.WeakSet()

    def add(self, name: str, amount: int = 1) -> None:
        """Count ``amount`` more of ``name``."""
        with self._lock:
            self._values[name] += amount

    def observe(self, name: str, seconds: float) -> None:
        """Note that ``name`` took this long; less than nothing counts as nothing."""
        with self._lock:
            self._times.setdefault(name, _Times()).add(max(0.0, seconds))

    def measure(self, measured: Measured) -> None:
        """Include the levels of this for as long as it lives."""
        with self._lock:
            self._measured.add(measured)

    def snapshot(self) -> dict[str, int]:
        """Return all counts at this moment."""
        with self._lock:
            return dict(self._values)

    def levels(self) -> dict[str, float]:
        """Return the sum of all levels at this moment."""
        with self._lock:
            measured = list(self._measured)
        total: Counter[str] = Counter()
        for one in measured:
            for name, level in one.levels().items():
                total[name] += level  # type: ignore[assignment]  # a Counter adds floats as well
        return dict(total)

    def distributions(self) -> dict[str, Distribution]:
        """Return what was observed up to this moment."""
        with self._lock:
            return {name: times.seen() for name, times in self._times.items()}


class _Times:
    def __init__(self) -> None:
        self._total = 0.0
        self._longest = 0.0
        self._classes = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        self._total += seconds
        self._longest = max(self._longest, seconds)
        self._classes[bisect_left(BOUNDS, seconds)] += 1

    def seen(self) -> Distribution:
        up_to, at_most = 0, []
        for count in self._classes[:-1]:
            up_to += count
            at_most.append(up_to)
        return Distribution(sum(self._classes), self._total, self._longest, tuple(at_most))
