"""Does one tenant's hanging tool hurt another? The same moderate load twice, once with the tool hanging.

Two tenants post singly at an even rate; the first one's tool (`drill`, with a time limit of 30 s) works in one phase
and hangs in the next. What is compared is the second tenant's time from receipt to RESOLVED, by the rows' own times.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any

from service.bench.bodies import Bodies
from service.bench.client import TenantConnection
from service.bench.flow import Metronome
from service.bench.load import beside
from service.bench.machine import Machine
from service.bench.observing import Observer
from service.bench.statistics import Latency
from service.bench.tally import Tally
from service.bench.tenants import BenchTenant

TOOL = "drill"
TOOL_TIMEOUT_SECONDS = 30
WITHIN = 1.5
"""How many times its p99 without the hanging tool a tenant's p99 may be with it."""

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class IsolationPlan:
    """What was asked for."""

    rounds: int = 3
    """Each one phase without and one with the tool hanging."""
    seconds: int = 60
    warm_up_seconds: float = 5.0
    rate: float = 20.0
    """Exceptions a second, of each tenant."""
    drain_seconds: float = 180.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase did to the tenant whose tool works."""

    hanging: bool
    other: Latency | None
    """The other tenant's time in the pipeline."""
    accepted: int
    refused: int
    own_under_way: int
    """Exceptions of the hanging tool's tenant that were not settled when the phase ended."""
    own_held: int
    """How many of them were held."""
    load_average: float
    """Of the minute before the phase."""


@dataclass(slots=True)
class IsolationResults:
    """A run's phases, and whether everything came to its end."""

    plan: IsolationPlan
    machine: Machine
    stack: str
    phases: list[Phase] = field(default_factory=list)
    drained: bool = True
    worked_twice: int = 0

    def ratios(self) -> list[float]:
        """Of each round: the p99 with the tool hanging, to that without."""
        pairs = zip(self.phases[::2], self.phases[1::2], strict=False)
        return [round(b.other.p99 / a.other.p99, 2) for a, b in pairs if a.other is not None and b.other is not None]

    def document(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {**asdict(self), "ratios": self.ratios(), "within": WITHIN}


@dataclass
class IsolationBench:
    """One run on one stack. `tenants` are the one whose tool hangs and the other."""

    plan: IsolationPlan
    api_url: str
    tool_server_url: str
    samples: Mapping[str, Any]
    tenants: Sequence[BenchTenant]
    observe: Callable[[Sequence[str]], Observer]
    say: Callable[[str], None]
    results: IsolationResults

    def run(self) -> None:
        """All rounds, into `results`. The tool works again at the end, whatever happened."""
        twice = set(self._summary()["workedTwice"])
        try:
            for number in range(1, self.plan.rounds + 1):
                for hanging in (False, True):
                    what = "hangs" if hanging else "works"
                    self.say(f"round {number}: {self.plan.seconds} s at {self.plan.rate:g}/s each, the tool {what}")
                    phase = self._phase(hanging)
                    self.results.phases.append(phase)
                    # Said at once: an interrupted run has shown what it measured.
                    self.say(f"the other tenant: {_shown(phase)}")
                    self._set_tool(hanging=False)
                    self.results.drained &= self._drain()
        finally:
            self._set_tool(hanging=False)
        self.results.worked_twice = len(set(self._summary()["workedTwice"]) - twice)

    def _phase(self, hanging: bool) -> Phase:
        load = os.getloadavg()[0]
        own, other = self.tenants
        tally, stopping = Tally(), Event()
        self._set_tool(hanging=hanging)
        drill = {**self.samples["transient"], "rawPayload": {**self.samples["transient"]["rawPayload"], "simulate": {}}}
        jobs = [
            self._posting(own, Bodies(drill), Tally(), stopping),
            self._posting(other, Bodies(self.samples["straight"]), tally, stopping),
        ]
        with beside(stopping, jobs):
            stopping.wait(self.plan.warm_up_seconds)
            began = datetime.now(UTC)
            stopping.wait(self.plan.seconds)
            ended = datetime.now(UTC)
            under_way, held = self._own(own)
        # Those received last are still under way.
        self._wait_settled(other)
        observer = self.observe([other.tenant_id])
        try:
            latency = observer.time_in_pipeline(began, ended)
        finally:
            observer.close()
        refused = sum(tally.errors().by_status.values())
        return Phase(hanging, latency, tally.accepted, refused, under_way, held, round(load, 2))

    def _posting(self, tenant: BenchTenant, bodies: Bodies, tally: Tally, stopping: Event) -> Callable[[], None]:
        def run() -> None:
            connection = TenantConnection(self.api_url, tenant.tenant_id, tenant.key)
            gate = Metronome(self.plan.rate)
            while gate.admit(1, stopping):
                tally.add(connection.send("POST", "/exceptions", bodies.one()), 1, tenant.tenant_id)
            connection.close()

        return run

    def _own(self, tenant: BenchTenant) -> tuple[int, int]:
        observer = self.observe([tenant.tenant_id])
        try:
            return observer.backlog(), observer.held()
        finally:
            observer.close()

    def _wait_settled(self, tenant: BenchTenant) -> bool:
        return self._until_empty([tenant.tenant_id])

    def _drain(self) -> bool:
        return self._until_empty([tenant.tenant_id for tenant in self.tenants])

    def _until_empty(self, tenants: Sequence[str]) -> bool:
        deadline = time.monotonic() + self.plan.drain_seconds
        observer = self.observe(tenants)
        try:
            while observer.backlog() > 0:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_LOOK_SECONDS)
        finally:
            observer.close()
        return True

    def _set_tool(self, *, hanging: bool) -> None:
        self._ask("PUT" if hanging else "DELETE", f"/behaviours/{TOOL}", {"hang": True} if hanging else None)

    def _summary(self) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = json.loads(self._ask("GET", "/calls/summary", None))
        return answer

    def _ask(self, method: str, path: str, body: object) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.tool_server_url + path, data=data, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - the stack's own URL
            content: bytes = response.read()
            return content


def _shown(phase: Phase) -> str:
    times = phase.other
    if times is None:
        return "nothing was resolved"
    return (
        f"p50 {times.p50:.0f}, p95 {times.p95:.0f}, p99 {times.p99:.0f} ms of {times.count}, load {phase.load_average}"
    )


def patient_tool(pack: dict[str, Any]) -> None:
    """Change a domain pack's tool to the one of this scenario: it may take long, and is never given up."""
    pack["tools"][TOOL] |= {"timeoutSeconds": TOOL_TIMEOUT_SECONDS, "idempotent": True, "maxRetries": 20}


def as_text(results: IsolationResults) -> str:
    """For people."""
    lines = [
        f"  Isolation, {results.plan.rate:g} exceptions/s of each of two tenants, {results.plan.seconds} s a phase",
        f"  {results.machine.cores} cores, {results.machine.cpu_model}, revision {results.machine.revision}",
        "",
        "  first tenant's tool   the other's POST → RESOLVED, ms: p50      p95      p99  longest   first's held  load",
    ]
    for phase in results.phases:
        times = phase.other
        shown = "nothing was resolved" if times is None else (
            f"{times.p50:34.0f} {times.p95:8.0f} {times.p99:8.0f} {times.longest:8.0f}"
        )  # fmt: skip
        name = "hangs" if phase.hanging else "works"
        held = f"{phase.own_held} of {phase.own_under_way}"
        lines.append(f"  {name:20} {shown:>62} {held:>14} {phase.load_average:5.2f}")
    lines.append("")
    lines.append(f"  p99 with / without, by round: {', '.join(map(str, results.ratios()))} (wanted: at most {WITHIN})")
    lines += [f"  PROBLEM: {problem}" for problem in problems(results)]
    return "\n".join(lines)


def problems(results: IsolationResults) -> list[str]:
    """What makes a run fail: not a slow machine, but something lost or repeated."""
    found = []
    if not results.drained:
        found.append("not everything came to its end once the tool worked again")
    if results.worked_twice:
        found.append(f"{results.worked_twice} idempotency keys were worked twice")
    if any(phase.other is None for phase in results.phases):
        found.append("the other tenant's exceptions were not resolved in a phase")
    return found
