"""Measures of what a worker holds in memory: a long queue behind busy tasks, and tasks due in an hour."""

from __future__ import annotations

import time

from .backends import Backend
from .place import place_for
from .usage import Meter
from .values import Figure

_SETTLED = 6.0
_SAME = 1.0
"""MiB; less than this in _SETTLED seconds is standing still."""


def memory(backend: Backend, kind: str, tasks: int, seconds: float) -> list[Figure]:
    """Resident memory of the main process of a prefork worker, until it grows no more, for ``seconds`` at most.

    ``waiting``: its pool is busy and so many tasks are in its queue; ``delayed``: so many are due in an hour.
    """
    with place_for(backend, queues=1) as place:
        place.held.touch()
        countdown = 3600.0 if kind == "delayed" else 0.0
        if kind == "waiting":
            place.backend.fill(place.app, place.queues[0], range(8), task="bench.hold")
        place.backend.fill(place.app, place.queues[0], range(tasks), countdown=countdown)
        meter = Meter(place.start_worker("prefork", 2), None)
        place.wait_until_ready()
        first = meter.memory()
        last, settled = _grown(meter, seconds)
        note = "" if settled else f"still growing after {seconds:g} s"
        place.held.unlink()
        started = place.stamps.count()
        if kind == "delayed" and started:
            note = f"{note}; " * bool(note) + f"{started} started an hour early"
    figure = f"memory of the worker's main process, {tasks:,} {kind}"
    return [Figure(figure, "MiB", last, note), Figure(f"{figure}: grown since its start", "MiB", last - first, note)]


def _grown(meter: Meter, seconds: float) -> tuple[float, bool]:
    deadline = time.monotonic() + seconds
    history = [(time.monotonic(), meter.memory())]
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = time.monotonic(), meter.memory()
        history.append(now)
        while len(history) > 2 and now[0] - history[1][0] >= _SETTLED:
            history.pop(0)
        if now[0] - history[0][0] >= _SETTLED and abs(now[1] - history[0][1]) < _SAME:
            return now[1], True
    return history[-1][1], False
