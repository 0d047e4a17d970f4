"""Before a pool is told to stop, hears which tasks its processes have begun.

Celery's prefork pool drops what it has handed to a process and not yet heard the start of. Such a task is worked to
its end, but not acknowledged: it runs again elsewhere, and its process waits half a minute for a confirmation that
does not come, with its partitions. The word is on its way for milliseconds; here it is waited for.

For any Celery application, whatever its broker: `app.steps["worker"].add(HearStarts)`.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from inspect import isgenerator
from typing import Any

from celery import bootsteps

_LOOK_MILLISECONDS = 50


class HearStarts(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery ships no types.
    """Waits, as the worker closes, until every task that a pool process was given has begun."""

    requires = ("celery.worker.components:Pool",)
    patience_seconds = 5.0
    """A process that says nothing for so long stands still; then the pool stops as it would have."""

    def close(self, worker: Any) -> None:
        """Read what the processes report. Pools of threads, and solo, have no reports to wait for."""
        pool = getattr(worker.pool, "_pool", None)
        reports = getattr(pool, "_fileno_to_outq", None)
        if worker.hub is None or not reports:
            return
        deadline = time.monotonic() + self.patience_seconds
        while any(_unheard(pool)) and time.monotonic() < deadline:
            for report in _readable(reports):
                _hear(worker.hub, report)


def _unheard(pool: Any) -> Iterator[bool]:
    """For each task under way, whether its process has it all and has not said that it began."""
    for job in tuple(pool._cache.values()):
        process = job._write_to
        written = process is not None and job._writer() is None
        yield written and not job._accepted and process._is_alive()


def _readable(reports: Iterable[int]) -> list[int]:
    poller = select.poll()
    for report in reports:
        poller.register(report, select.POLLIN)
    return [report for report, event in poller.poll(_LOOK_MILLISECONDS) if event & select.POLLIN]


def _hear(hub: Any, report: int) -> None:
    """Do what the event loop does when a process reports; one that ends amid its report is nobody to wait for."""
    callback, arguments = hub.readers.get(report, (None, ()))
    with suppress(OSError, EOFError):
        if isgenerator(callback):
            next(callback, None)
        elif callback is not None:
            callback(*arguments)
