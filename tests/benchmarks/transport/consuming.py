"""Measures of working off a backlog: tasks per second, processor time per task, more workers, more partitions."""

from __future__ import annotations

import time
from collections import Counter

from .backends import Backend
from .place import Place, place_for
from .stamps import Stamp
from .usage import Meter, Usage
from .values import Figure, rate

_STALL = 15.0
"""Longer than three of the stock transport's polls."""
_LIMIT = 40.0
_LOGLEVEL = "WARNING"
"""Two lines in a log for each task would be a good part of what is measured."""


def consume(backend: Backend, pool: str, size: int, tasks: int, label: str = "") -> list[Figure]:
    """One worker works off a backlog that was there before it."""
    name = label or f"{pool} -c {size}"
    with place_for(backend, queues=1) as place:
        place.backend.fill(place.app, place.queues[0], range(tasks))
        worker = place.start_worker(pool, size, _LOGLEVEL)
        window = _Window(Meter(worker, backend.broker_process()), tasks)
        complete = place.stamps.wait_for(tasks, _STALL, _LIMIT, window.watch)
        stamps = place.stamps.read()
    note = "" if complete else _shortfall(stamps, tasks)
    figures = [Figure(f"no-op tasks, {name}", "1/s", rate([stamp.at for stamp in stamps]) if stamps else None, note)]
    spent = window.per_task()
    if spent is not None:
        figures += [
            Figure(f"CPU per task, worker's main process, {name}", "µs", spent.main),
            Figure(f"CPU per task, worker with its pool, {name}", "µs", spent.main + spent.children),
            Figure(f"CPU per task, broker, {name}", "µs", spent.broker),
        ]
    return figures


def workers(backend: Backend, count: int, tasks: int) -> list[Figure]:
    """Several worker processes with one pool process each share a queue."""
    name = f"{count} worker{'s' * (count > 1)} -c 1"
    with place_for(backend, queues=1) as place:
        for _ in range(count):
            place.start_worker("prefork", 1)
        place.wait_until_ready()
        probes = _probe_until_all_work(place, count)
        done_before = place.stamps.count()
        place.backend.fill(place.app, place.queues[0], range(probes, probes + tasks))
        filled = time.monotonic()
        complete = place.stamps.wait_for(done_before + tasks, _STALL, _LIMIT)
        stamps = [stamp for stamp in place.stamps.read() if stamp.number >= probes]
    at_work = len({stamp.pid for stamp in stamps})
    note = "" if complete else _shortfall(stamps, tasks)
    if at_work < count:
        note = f"{note}; " * bool(note) + f"only {at_work} of {count} workers got tasks"
    # The filling takes processor time; the last few tasks are one worker's tail.
    times = sorted(stamp.at for stamp in stamps)
    steady = [at for at in times[: int(len(times) * 0.95)] if at >= filled]
    return [Figure(f"no-op tasks, {name}", "1/s", rate(steady, 0.0), note)]


def partitions(backend: Backend, count: int, tasks: int) -> list[Figure]:
    """A queue with so many partitions, worked off by prefork -c 2."""
    return consume(backend, "prefork", 2, tasks, label=f"{count} partition{'s' * (count > 1)}")[:1]


class _Window:
    """Processor time between the first tenth of the tasks and the last."""

    def __init__(self, meter: Meter, tasks: int) -> None:
        self._meter = meter
        self._begin_at, self._end_at = tasks // 10, tasks * 9 // 10
        self._begin: tuple[int, Usage] | None = None
        self._end: tuple[int, Usage] | None = None

    def watch(self, done: int) -> None:
        """Called with the number of started tasks, often."""
        if self._begin is None and done >= self._begin_at:
            self._begin = done, self._meter.look()
        if self._end is None and done >= self._end_at:
            self._end = done, self._meter.look()

    def per_task(self) -> Usage | None:
        """Microseconds per task; None when the window was not reached."""
        if self._begin is None or self._end is None or self._end[0] <= self._begin[0]:
            return None
        spent, tasks = self._end[1] - self._begin[1], self._end[0] - self._begin[0]
        return Usage(spent.at, spent.main / tasks * 1e6, spent.children / tasks * 1e6, spent.broker / tasks * 1e6)


def _probe_until_all_work(place: Place, count: int) -> int:
    """Send tasks until every worker has had one, for 20 s at most; return how many were sent."""
    deadline, sent = time.monotonic() + 20, 0
    while time.monotonic() < deadline:
        place.backend.fill(place.app, place.queues[0], range(sent, sent + 40))
        sent += 40
        place.stamps.wait_for(sent, 3, 10)
        if len({stamp.pid for stamp in place.stamps.read()}) >= count:
            break
    return sent


def _shortfall(stamps: list[Stamp], tasks: int) -> str:
    started = Counter(stamp.number for stamp in stamps)
    if not started:
        return f"hangs: no task started within {_STALL:g} s"
    return f"stands still: {len(started)} of {tasks} tasks started"
