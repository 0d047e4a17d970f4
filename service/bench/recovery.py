"""How long does it take until the flow goes on after something broke? Half load, one fault, and what it did.

A round is an even load, a fault in its midst, and the load going on until the window ends. What is measured are the
rows' own times, afterwards: the longest time in which nothing was resolved, and how long those took that were under
way when it struck.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from threading import Event
from typing import Any

from service.bench.bodies import Bodies
from service.bench.client import TenantConnection
from service.bench.flow import Gate, Metronome, Observed, Valve
from service.bench.load import Sender, beside
from service.bench.machine import Machine
from service.bench.observing import Books, Observer
from service.bench.statistics import Latency
from service.bench.striking import Fault, seconds_until_back
from service.bench.tally import Tally
from service.bench.tenants import BenchTenant
from service.errors import InfrastructureUnavailableError

ITEMS = 20
"""Exceptions of one POST: small, so that the load is an even stream."""

MEASURED_SECONDS = 15
BACKLOG = 4000
"""While full load is measured, exceptions accepted and not settled are at most so many."""
_LOOK_SECONDS = 0.2

WANTED_SECONDS: Mapping[Fault, float] = {Fault.WORKER: 15.0, Fault.BROKER: 15.0, Fault.POSTGRES: 5.0}
"""Of a worker the p99 of what was under way; of a broker the longest stall; of PostgreSQL until flow after it."""


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What was asked for."""

    faults: tuple[Fault, ...] = tuple(Fault)
    rounds: int = 3
    """Of each fault."""
    seconds: int = 60
    """From the fault to the end of the load."""
    warm_up_seconds: float = 10.0
    """Of even load before it."""
    rate: float | None = None
    """Exceptions a second; None: half of what is measured first."""
    sample: str = "straight"
    drain_seconds: float = 180.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one fault did."""

    fault: str
    back_seconds: float
    """Until what was broken was there again."""
    stall_seconds: float
    """The longest time after the fault in which nothing was resolved."""
    flow_after_back_seconds: float
    """From its being there again to the first exception that was resolved then."""
    under_way: Latency | None
    """POST → rest of what was accepted and not settled when it struck, ms."""
    behind: Latency | None
    """The same of what was received in the time after it, until the window ended."""
    accepted: int
    refused: int
    """Requests that were not answered 202: nothing of them is kept, and their source sends them again."""
    missing: int
    """Answered 202 and not in the ledger."""
    drained: bool
    load_average: float

    @property
    def measure(self) -> float | None:
        """What is wanted of this fault, in seconds."""
        if self.fault == Fault.WORKER:
            return None if self.under_way is None else self.under_way.p99 / 1000
        return self.stall_seconds if self.fault == Fault.BROKER else self.flow_after_back_seconds


@dataclass(slots=True)
class RecoveryResults:
    """A run's rounds."""

    plan: RecoveryPlan
    machine: Machine
    stack: str
    rate: float = 0.0
    """Exceptions a second of the load."""
    full_rate: float | None = None
    """What was measured before; None: the rate was given."""
    rounds: list[Round] = field(default_factory=list)
    worked_twice: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {**asdict(self), "wanted": dict(WANTED_SECONDS), "measures": self.measures()}

    def measures(self) -> dict[str, dict[str, float]]:
        """By fault, the smallest, middle and largest of what is wanted of it, in seconds."""
        found = {}
        for fault in self.plan.faults:
            values = [one.measure for one in self.rounds if one.fault == fault]
            known = sorted(value for value in values if value is not None)
            if known:
                found[str(fault)] = {
                    "min": round(known[0], 2), "median": round(median(known), 2), "max": round(known[-1], 2),
                }  # fmt: skip
        return found


@dataclass
class RecoveryBench:
    """One run on one stack."""

    plan: RecoveryPlan
    api_url: str
    samples: Mapping[str, Any]
    tenants: Sequence[BenchTenant]
    observe: Callable[[], Observer]
    strike: Callable[[Fault], Callable[[], str | None]]
    worked_twice: Callable[[], int]
    say: Callable[[str], None]
    results: RecoveryResults

    def run(self) -> None:
        """All rounds, into `results`."""
        before = self.worked_twice()
        self.results.rate = self.plan.rate or self._half()
        for fault in self.plan.faults:
            for number in range(1, self.plan.rounds + 1):
                self.say(f"{fault}, round {number}: {self.results.rate:,.0f} {self.plan.sample}/s")
                done = self._round(fault)
                self.results.rounds.append(done)
                # Said at once: an interrupted run has shown what it measured.
                self.say(shown(done))
        self.results.worked_twice = self.worked_twice() - before

    def _half(self) -> float:
        """Half of the rate at which the pipeline works when it always has work."""
        self.say(f"measuring full load for {MEASURED_SECONDS} s")
        valve, stopping = Valve(BACKLOG), Event()
        with beside(stopping, [self._sender(valve, Tally(), stopping), lambda: self._watch(valve, stopping)]):
            stopping.wait(self.plan.warm_up_seconds)
            began = datetime.now(UTC)
            stopping.wait(MEASURED_SECONDS)
        with closing(self.observe()) as observer:
            window = observer.window(began, began + timedelta(seconds=MEASURED_SECONDS))
        self._drain()
        full = sum(second.resolved for second in window.values()) / MEASURED_SECONDS
        self.results.full_rate = round(full, 1)
        return max(1.0, round(full / 2, 1))

    def _watch(self, valve: Valve, stopping: Event) -> None:
        with closing(self.observe()) as observer:
            while not stopping.wait(_LOOK_SECONDS):
                answered = valve.answered_so_far()
                valve.observe(Observed(observer.backlog(), answered))

    def _round(self, fault: Fault) -> Round:
        load, books = os.getloadavg()[0], self._books()
        tally, stopping = Tally(), Event()
        with beside(stopping, [self._sender(Metronome(self.results.rate), tally, stopping)]):
            stopping.wait(self.plan.warm_up_seconds)
            struck = datetime.now(UTC)
            missing = self.strike(fault)
            seconds_until_back(missing)
            back = datetime.now(UTC)
            stopping.wait(max(0.0, self.plan.seconds - (back - struck).total_seconds()))
            ended = datetime.now(UTC)
        drained = self._drain()
        kept = self._books().since(books)
        with closing(self.observe()) as observer:
            stall, after = observer.stall(struck, ended), observer.first_resolved(back)
            under_way = observer.time_to_rest(struck - timedelta(days=1), struck, struck)
            behind = observer.time_to_rest(struck, ended, struck)
        return Round(
            fault=str(fault),
            back_seconds=round((back - struck).total_seconds(), 2),
            stall_seconds=round(stall, 2),
            flow_after_back_seconds=round((after - back).total_seconds(), 2) if after else float("inf"),
            under_way=under_way,
            behind=behind,
            accepted=tally.accepted,
            refused=sum(tally.errors().by_status.values()),
            missing=max(0, tally.accepted - kept.accepted),
            drained=drained,
            load_average=round(load, 2),
        )

    def _sender(self, gate: Gate, tally: Tally, stopping: Event) -> Callable[[], None]:
        connections = [TenantConnection(self.api_url, one.tenant_id, one.key) for one in self.tenants]
        return Sender(connections, Bodies(self.samples[self.plan.sample]), ITEMS, gate, tally, stopping).run

    def _books(self) -> Books:
        with closing(self.observe()) as observer:
            return observer.books()

    def _drain(self) -> bool:
        """Wait until nothing is under way; False when that took too long."""
        deadline = time.monotonic() + self.plan.drain_seconds
        while time.monotonic() < deadline:
            try:
                with closing(self.observe()) as observer:
                    if observer.backlog() == 0:
                        return True
            except InfrastructureUnavailableError:
                pass
            time.sleep(_LOOK_SECONDS)
        return False


def shown(done: Round) -> str:
    """One round for people."""
    times = done.under_way
    told = "nothing was under way" if times is None else (
        f"under way {times.count}: p50 {times.p50 / 1000:.1f}, p99 {times.p99 / 1000:.1f}, "
        f"longest {times.longest / 1000:.1f} s"
    )  # fmt: skip
    return (
        f"{done.fault}: back after {done.back_seconds:.1f} s, flow {done.flow_after_back_seconds:.1f} s later, longest "
        f"stall {done.stall_seconds:.1f} s; {told}; load {done.load_average}"
    )


def as_text(results: RecoveryResults) -> str:
    """For people."""
    plan = results.plan
    full = "given" if results.full_rate is None else f"half of {results.full_rate:,.0f}/s"
    lines = [
        f"  Recovery under {results.rate:,.0f} {plan.sample}/s ({full}), {plan.seconds} s after each fault",
        f"  {results.machine.cores} cores, {results.machine.cpu_model}, revision {results.machine.revision}",
        "",
        "  fault      back  flow after  longest stall   under way: count     p50     p99  longest   behind: p99   load",
    ]
    lines += [
        f"  {one.fault:8} {one.back_seconds:6.1f} {one.flow_after_back_seconds:11.1f} {one.stall_seconds:14.1f}"
        f"   {_times(one.under_way)} {_p99(one.behind):>13} {one.load_average:6.2f}"
        for one in results.rounds
    ]
    lines += ["", "  all times in seconds; flow after: from its being back to the first exception resolved"]
    for fault, measure in results.measures().items():
        wanted = WANTED_SECONDS[Fault(fault)]
        told = f"min {measure['min']}, median {measure['median']}, max {measure['max']}"
        lines.append(f"  {_MEASURED[Fault(fault)]}: {told} s (wanted: less than {wanted:g})")
    lines += [f"  PROBLEM: {problem}" for problem in problems(results)]
    return "\n".join(lines)


_MEASURED: Mapping[Fault, str] = {
    Fault.WORKER: "worker killed, p99 of what was under way",
    Fault.BROKER: "broker killed, longest stall",
    Fault.POSTGRES: "PostgreSQL restarted, flow after it was back",
}


def problems(results: RecoveryResults) -> list[str]:
    """What makes a run fail: not a slow machine, but something lost, stuck or repeated."""
    found = []
    missing = sum(one.missing for one in results.rounds)
    if missing:
        found.append(f"{missing} exceptions were answered 202 and are not in the ledger")
    if not all(one.drained for one in results.rounds):
        found.append("not everything came to its end")
    if results.worked_twice:
        found.append(f"{results.worked_twice} idempotency keys were worked twice")
    return found


def _times(times: Latency | None) -> str:
    if times is None:
        return f"{'none':>16}"
    seconds = (times.p50 / 1000, times.p99 / 1000, times.longest / 1000)
    return f"{times.count:16} " + " ".join(f"{one:7.1f}" for one in seconds)


def _p99(times: Latency | None) -> str:
    return "none" if times is None else f"{times.p99 / 1000:.1f}"
