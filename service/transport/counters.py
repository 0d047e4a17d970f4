"""Counters of one process: what the transport did, by name. Read them with :meth:`Counters.snapshot`."""

from __future__ import annotations

import threading
from collections import Counter


class Counters:
    """Named, ever-growing numbers. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Count ``amount`` more of ``name``."""
        with self._lock:
            self._values[name] += amount

    def snapshot(self) -> dict[str, int]:
        """Return all values at this moment."""
        with self._lock:
            return dict(self._values)
