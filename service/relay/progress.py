"""What the relay says about itself in its log: a line now and then while it publishes, none while it is idle."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

REPORT_SECONDS = 10.0


class Progress:
    """Counts published events and reports them."""

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self.events = 0
        self._monotonic = monotonic
        self._wall = wall
        self._reported_events = 0
        self._reported_at = monotonic()
        self._behind = 0.0

    def add(self, events: int, occurred_microseconds: int) -> None:
        """Count events that were just published; one of them occurred then."""
        self.events += events
        self._behind = max(self._wall() - occurred_microseconds / 1_000_000, 0.0)

    def report(self) -> None:
        """Say what was published since the last line, if anything was and it is time."""
        now = self._monotonic()
        events, seconds = self.events - self._reported_events, now - self._reported_at
        if events == 0 or seconds < REPORT_SECONDS:
            return
        log.info(
            "published %d events in %.0f s (%.0f/s), %.1f s behind", events, seconds, events / seconds, self._behind
        )
        self._reported_events, self._reported_at = self.events, now
