"""The run: idle latencies, each sample's sustained throughput, latencies under half load, and the final account."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

from service.bench.bodies import Bodies
from service.bench.client import TenantConnection
from service.bench.flow import Gate, Metronome, Observed, Valve
from service.bench.load import Sender, beside
from service.bench.observing import Observer
from service.bench.probes import JourneyProbe, Reader
from service.bench.processes import Roots, Snapshot, take_snapshot, usage
from service.bench.results import Backlog, Kept, Plan, RelayCatchUp, Results, Single, Sustained, ToolCalls
from service.bench.statistics import latency, throughput
from service.bench.tally import Tally
from service.bench.tenants import BenchTenant

_WATCH_SECONDS = 0.2
_REPORT_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_HALF_LOAD_ITEMS = 100
"""Smaller batches than for throughput, so that half the load is an even stream."""
_WARM_UP_PROBES = 20
_MOST_PROBE_SECONDS = 120.0
Say = Callable[[str], None]


@dataclass
class _Watch:
    """The backlog as it goes up and down, told to the valve and to the person who waits."""

    observer: Observer
    valve: Valve | None
    say: Say
    levels: list[tuple[float, int]] = field(default_factory=list)

    def run(self, stopping: Event) -> None:
        report_at = time.monotonic() + _REPORT_SECONDS
        with closing(self.observer.another()) as observer:
            while not stopping.wait(_WATCH_SECONDS):
                answered = self.valve.answered_so_far() if self.valve else 0
                level = observer.backlog()
                now = time.monotonic()
                self.levels.append((now, level))
                if self.valve:
                    self.valve.observe(Observed(level, answered))
                if now >= report_at:
                    report_at = now + _REPORT_SECONDS
                    self.say(f"backlog {level:,}" + (f", {answered:,} posted" if self.valve else ""))

    def between(self, began: float, ended: float) -> list[int]:
        return [level for at, level in self.levels if began <= at <= ended] or [0]


@dataclass(frozen=True, slots=True)
class _Window:
    """What is measured of a load: its ends by the monotonic clock, and what the processes had used at each."""

    wall: datetime
    """Its beginning by the wall clock, which the database's times are compared with."""
    began: float
    ended: float
    first: Snapshot
    last: Snapshot


@dataclass
class Bench:
    """One run on one stack. Each method is a phase and leaves the pipeline empty."""

    plan: Plan
    api_url: str
    samples: Mapping[str, Any]
    tenants: Sequence[BenchTenant]
    observer: Observer
    roots: Roots
    tool_summary: Callable[[], Mapping[str, Any]]
    analyse: Callable[[], None]
    """Renews the planner's statistics."""
    say: Say
    results: Results

    def run(self) -> None:
        """All phases, into `results`."""
        before_calls, before = self.tool_summary(), self.observer.books()
        tallies: list[Tally] = []
        try:
            self._phases(tallies)
        except KeyboardInterrupt:
            # What is still under way would look lost, so an interrupted run gives no account.
            self.results.interrupted = True
            return
        self.results.total = self._kept(tallies, before)
        self.results.tool_calls = tool_calls(before_calls, self.tool_summary())

    def _phases(self, tallies: list[Tally]) -> None:
        self._warm_up(tallies)
        self.results.idle = self._idle(tallies)
        for sample in self.plan.samples:
            self.results.sustained.append(self._sustained(sample, tallies))
        rate = self.results.sustained[0].throughput.resolved_per_second / 2 if self.results.sustained else 0.0
        if rate > 0:
            self.results.half_load = self._half_load(self.plan.samples[0], rate, tallies)

    def _warm_up(self, tallies: list[Tally]) -> None:
        self.say("warming up")
        for name in dict.fromkeys((*self.plan.samples, self.plan.probe_sample)):
            tally, bodies = self._tally(tallies), self._bodies(name)
            self._follow(bodies, _WARM_UP_PROBES, tally, Event())
            self._post_to_each(bodies, tally)
            self._drain()
        if self.plan.analyse:
            self.analyse()

    def _post_to_each(self, bodies: Bodies, tally: Tally) -> None:
        """One batch to every tenant, so that each has rows, plans and compiled packs."""
        with self._connected() as connections:
            for connection in connections:
                answer = connection.send("POST", "/exceptions/batch", bodies.many(self.plan.batch_items))
                tally.add(answer, self.plan.batch_items, connection.tenant_id)

    def _idle(self, tallies: list[Tally]) -> Single:
        self.say(f"idle: following {self.plan.probes} exceptions, one after the other")
        return self._single("nothing else", 0.0, None, tallies)

    def _half_load(self, sample: str, rate: float, tallies: list[Tally]) -> Single:
        self.say(f"half load: {rate:,.0f} {sample}/s, following {self.plan.probes} exceptions")
        return self._single(f"{sample}, batches of {_HALF_LOAD_ITEMS}", rate, self._bodies(sample), tallies)

    def _single(self, load: str, rate: float, bodies: Bodies | None, tallies: list[Tally]) -> Single:
        before = self.observer.books()
        background, own = self._tally(tallies), self._tally(tallies)
        stopping = Event()
        metronome = Metronome(max(rate, 1.0))
        watch = _Watch(self.observer, None, self.say)
        probe_bodies = self._bodies(self.plan.probe_sample)
        with self._connected() as readers:
            reader = Reader(readers, background if bodies else own)
            jobs = [*self._senders(bodies, _HALF_LOAD_ITEMS, metronome, background, stopping)] if bodies else []
            jobs += [lambda: watch.run(stopping)]
            jobs += [lambda: reader.run(stopping)] if bodies else []
            with beside(stopping, jobs):
                stopping.wait(self.plan.warm_up_seconds if bodies else 0)
                began, accepted, first = time.monotonic(), background.accepted, take_snapshot(self.roots())
                journeys = self._follow(probe_bodies, self.plan.probes, own, stopping)
                last = take_snapshot(self.roots())
                achieved = (background.accepted - accepted) / (time.monotonic() - began)
            if not bodies:
                self._read_idle(reader)
        self._drain()
        kept = self._kept([background, own], before)
        late = metronome.late
        return Single(
            load, round(rate, 1), round(achieved, 1), late, journeys, reader.reads(), kept, background.errors(),
            usage(first, last),
        )  # fmt: skip

    def _read_idle(self, reader: Reader) -> None:
        """Some reads with nothing beside them, after the journeys and not among them."""
        stopping = Event()
        with beside(stopping, [lambda: reader.run(stopping)]):
            stopping.wait(min(10.0, self.plan.seconds))

    def _follow(self, bodies: Bodies, count: int, tally: Tally, stopping: Event) -> Any:
        with self._connected() as connections, closing(self.observer.another()) as observer:
            return JourneyProbe(connections, observer, bodies, tally).run(count, _MOST_PROBE_SECONDS, stopping)

    def _sustained(self, sample: str, tallies: list[Tally]) -> Sustained:
        self.say(f"{sample}: {self.plan.seconds} s of batches of {self.plan.batch_items}")
        before = self.observer.books()
        tally, stopping = self._tally(tallies), Event()
        valve = Valve(self.plan.backlog)
        watch = _Watch(self.observer, valve, lambda words: self.say(f"{sample}: {words}"))
        with self._connected() as readers:
            reader = Reader(readers, tally)
            senders = self._senders(self._bodies(sample), self.plan.batch_items, valve, tally, stopping)
            with beside(stopping, [*senders, lambda: watch.run(stopping), lambda: reader.run(stopping)]):
                self._wait_warm(valve, stopping)
                window = self._window(stopping)
        posted = time.monotonic()
        at_end = self.observer.relay_lag()
        drained = self._drain()
        drain_seconds = time.monotonic() - posted
        when_drained, caught_up = self._wait_published()
        until = window.wall + timedelta(seconds=self.plan.seconds)
        levels = watch.between(window.began, window.ended)
        backlog = self._backlog(valve, levels, drain_seconds if drained else None)
        return Sustained(
            sample=sample,
            throughput=throughput(self.observer.window(window.wall, until), self.plan.seconds),
            time_in_pipeline=self.observer.time_in_pipeline(window.wall, until),
            batch_post=latency(tally.durations(window.began, window.ended)),
            reads=reader.reads(),
            backlog=backlog,
            relay=RelayCatchUp(at_end.unpublished, round(at_end.seconds_behind, 2), when_drained, caught_up),
            kept=self._kept([tally], before),
            errors=tally.errors(),
            usage=usage(window.first, window.last),
        )

    def _window(self, stopping: Event) -> _Window:
        first, wall = take_snapshot(self.roots()), datetime.now(UTC)
        began = time.monotonic()
        stopping.wait(self.plan.seconds)
        return _Window(wall, began, time.monotonic(), first, take_snapshot(self.roots()))

    def _backlog(self, valve: Valve, levels: Sequence[int], drain_seconds: float | None) -> Backlog:
        """After the drain: what is left then is told, too."""
        return Backlog(
            bound=self.plan.backlog,
            bound_reached=valve.closed,
            mean=round(sum(levels) / len(levels)),
            largest=max(levels),
            at_window_end=levels[-1],
            left=self.observer.backlog(),
            drain_seconds=None if drain_seconds is None else round(drain_seconds, 2),
        )

    def _wait_warm(self, valve: Valve, stopping: Event) -> None:
        """At least the warm-up, and until the senders had to wait for the pipeline, at most three times as long."""
        stopping.wait(self.plan.warm_up_seconds)
        deadline = time.monotonic() + 2 * self.plan.warm_up_seconds
        while not valve.closed and time.monotonic() < deadline and not stopping.wait(_LOOK_SECONDS):
            pass

    def _senders(
        self, bodies: Bodies, items: int, gate: Gate, tally: Tally, stopping: Event
    ) -> Iterator[Callable[[], None]]:
        for number in range(self.plan.senders):
            # Each begins with another tenant, so that they do not all post to the same one at once.
            turned = [*self.tenants[number % len(self.tenants) :], *self.tenants[: number % len(self.tenants)]]
            connections = [TenantConnection(self.api_url, tenant.tenant_id, tenant.key) for tenant in turned]
            yield Sender(connections, bodies, items, gate, tally, stopping).run

    @contextmanager
    def _connected(self) -> Iterator[list[TenantConnection]]:
        connections = [TenantConnection(self.api_url, tenant.tenant_id, tenant.key) for tenant in self.tenants]
        try:
            yield connections
        finally:
            for connection in connections:
                connection.close()

    def _bodies(self, sample: str) -> Bodies:
        return Bodies(self.samples[sample])

    def _tally(self, tallies: list[Tally]) -> Tally:
        tallies.append(Tally())
        return tallies[-1]

    def _drain(self) -> bool:
        """Wait until nothing is in flight; False when that took too long."""
        deadline = time.monotonic() + self.plan.drain_seconds
        while self.observer.backlog() > 0:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _wait_published(self) -> tuple[int, float | None]:
        """How much was unpublished, and how long it took until nothing was."""
        began = time.monotonic()
        first = left = self.observer.relay_lag().unpublished
        while left > 0:
            if time.monotonic() - began > self.plan.drain_seconds:
                return first, None
            time.sleep(_LOOK_SECONDS)
            left = self.observer.relay_lag().unpublished
        return first, round(time.monotonic() - began, 2)

    def _kept(self, tallies: Sequence[Tally], before: Any) -> Kept:
        accepted = sum(tally.accepted for tally in tallies)
        unknown = sum(tally.errors().unknown_items for tally in tallies)
        return Kept(accepted, unknown, self.observer.books().since(before))


def tool_calls(before: Mapping[str, Any], after: Mapping[str, Any]) -> ToolCalls:
    """What the tool server's summaries say of the time in between."""
    return ToolCalls(
        calls=after["calls"] - before["calls"],
        worked=after["worked"] - before["worked"],
        worked_twice=len(set(after["workedTwice"]) - set(before["workedTwice"])),
        forgotten=after["forgotten"] - before["forgotten"],
    )
