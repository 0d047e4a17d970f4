"""Measures of an idle worker: time from publishing to the task's start, chains, countdowns, and idle CPU."""

from __future__ import annotations

import random
import time

from celery import chain

from .backends import Backend
from .place import Place, place_for
from .usage import Meter
from .values import Figure, percentile

_PROBE_SECONDS = 40.0
_ONE_SECONDS = 15.0
_SETTLE = 1.0
_COUNTDOWNS = (1.0, 3.0)


def latency(
    backend: Backend, pool: str, size: int, queues: int, messages: int, seconds: float, idle: float, extras: bool
) -> list[Figure]:
    """Send one task after another, each after the one before has started and a short pause.

    At most ``messages`` of them and for ``seconds`` seconds; then watch the idle worker for ``idle`` seconds. With
    ``extras`` also chains of five and countdowns.
    """
    name = f"{pool}, {queues} queue{'s' * (queues > 1)}"
    with place_for(backend, queues) as place:
        worker = place.start_worker(pool, size)
        place.wait_until_ready()
        if not _warm(place):
            return [Figure(f"latency p50, {name}", "ms", None, f"not delivered within {_PROBE_SECONDS:g} s")]
        figures = _latencies(place, name, messages, seconds)
        if extras:
            figures += _chains(place, messages // 10, seconds)
            figures += _countdowns(place, messages // 2)
        time.sleep(_SETTLE)
        meter = Meter(worker, backend.broker_process())
        spent = meter.over(idle)
        figures += [
            Figure(f"idle CPU, worker's main process, {name}", "%", 100 * spent.main / spent.at),
            Figure(f"idle CPU, pool processes, {name}", "%", 100 * spent.children / spent.at),
            Figure(f"idle CPU, broker, {name}", "%", 100 * spent.broker / spent.at),
        ]
        return figures


def _send(place: Place, number: int, queue: str, countdown: float | None = None) -> float:
    at = time.monotonic()
    place.app.tasks["bench.noop"].apply_async((number,), queue=queue, countdown=countdown)
    return at


def _warm(place: Place) -> bool:
    """One task through every queue: connections, consumer groups and pool processes are then up."""
    for number, queue in enumerate(place.queues):
        _send(place, number, queue)
    return place.stamps.wait_for(len(place.queues), _PROBE_SECONDS, _PROBE_SECONDS)


def _latencies(place: Place, name: str, messages: int, seconds: float) -> list[Figure]:
    chance = random.Random(7)
    start = place.stamps.count()
    deadline, sent, note = time.monotonic() + seconds, [], ""
    for number in range(messages):
        # By chance, because a worker that polls one queue after the other would be in step with a round.
        sent.append(_send(place, number, chance.choice(place.queues)))
        if not place.stamps.wait_for(start + number + 1, _ONE_SECONDS, _ONE_SECONDS):
            note = f"a task did not start within {_ONE_SECONDS:g} s"
            break
        if time.monotonic() > deadline:
            note = f"{number + 1} samples in {seconds:g} s"
            break
        time.sleep(chance.uniform(0.005, 0.03))
    taken = [(stamp.at - sent[stamp.number]) * 1000 for stamp in place.stamps.read(start)]
    return [
        Figure(f"latency p50, {name}", "ms", percentile(taken, 0.5), note),
        Figure(f"latency p99, {name}", "ms", percentile(taken, 0.99), note),
    ]


def _chains(place: Place, chains: int, seconds: float) -> list[Figure]:
    """A chain of five tasks, from publishing the first to the start of the last."""
    start, taken, deadline = place.stamps.count(), [], time.monotonic() + seconds
    noop = place.app.tasks["bench.noop"]
    for number in range(chains):
        begun = time.monotonic()
        chain(*[noop.si(1) for _ in range(5)]).apply_async()
        if not place.stamps.wait_for(start + 5 * (number + 1), _ONE_SECONDS, _ONE_SECONDS):
            return [Figure("chain of five, p50", "ms", None, f"did not end within {_ONE_SECONDS:g} s")]
        taken.append((place.stamps.read(start)[-1].at - begun) * 1000)
        if time.monotonic() > deadline:
            break
    return [Figure("chain of five, p50", "ms", percentile(taken, 0.5))]


def _countdowns(place: Place, tasks: int) -> list[Figure]:
    """Tasks with a countdown of one to three seconds: how late they start."""
    chance = random.Random(11)
    start, due = place.stamps.count(), []
    for number in range(tasks):
        countdown = chance.uniform(*_COUNTDOWNS)
        due.append(_send(place, number, place.queues[0], countdown) + countdown)
    complete = place.stamps.wait_for(start + tasks, _COUNTDOWNS[1] + 5, 30)
    late = [(stamp.at - due[stamp.number]) * 1000 for stamp in place.stamps.read(start)]
    note = "" if complete else f"not delivered: {tasks - len(late)} of {tasks}"
    early = sum(one < -1 for one in late)
    if early:
        note = f"{note}; " * bool(note) + f"{early} too early"
    return [
        Figure("countdown 1-3 s, late p50", "ms", percentile(late, 0.5), note),
        Figure("countdown 1-3 s, late p99", "ms", percentile(late, 0.99), note),
    ]
