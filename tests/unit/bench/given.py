"""Values that the bench's tests start from: a run in which everything went well."""

from __future__ import annotations

from service.bench.machine import Machine
from service.bench.observing import Books
from service.bench.probes import OBSERVED_BY, Journeys, Reads
from service.bench.processes import Usage
from service.bench.results import Backlog, Kept, Plan, RelayCatchUp, Results, Single, Sustained, ToolCalls
from service.bench.statistics import Latency, Second, throughput
from service.bench.tally import Errors

FAST = Latency(count=200, p50=30.0, p95=50.0, p99=80.0, longest=90.0, mean=32.0)
MACHINE = Machine(
    host="here",
    system="Linux",
    cpu_model="a CPU",
    cores=2,
    memory_gib=24.0,
    load_average=0.5,
    python="3.11.7",
    postgresql="18.4",
    postgresql_settings={"fsync": "on"},
    kafka="4.3.1",
    redis="6.2.14",
    revision="abc",
    measured_at="2026-01-01T00:00:00+00:00",
    profile="dev",
)
ALL_KEPT = Kept(accepted_by_api=1000, unknown=0, books=Books(accepted=1000, resolved=1000))
NO_LOAD = Reads(FAST, FAST, {})
USAGE = [Usage("postgres", 0.7, 200.0, 12)]


def sustained(kept: Kept = ALL_KEPT, errors: Errors | None = None, bound_reached: bool = True) -> Sustained:
    """A minute of the batch sample."""
    even = {second: Second(accepted=1500, resolved=1500, events=13_500) for second in range(60)}
    return Sustained(
        sample="batch",
        throughput=throughput(even, 60),
        time_in_pipeline=FAST,
        batch_post=FAST,
        reads=NO_LOAD,
        backlog=Backlog(6000, bound_reached, 5000, 6000, 5500, 0, 2.5),
        relay=RelayCatchUp(1000, 0.3, 10, 0.2),
        kept=kept,
        errors=errors or Errors(),
        usage=USAGE,
    )


def single(journeys: Journeys | None = None) -> Single:
    """200 exceptions followed with nothing beside them."""
    followed = journeys or Journeys(200, FAST, FAST, OBSERVED_BY, {}, Errors())
    return Single("nothing else", 0.0, 0.0, 0, followed, NO_LOAD, ALL_KEPT, Errors(), USAGE)


def results(one: Sustained | None = None, idle: Single | None = None, total: Kept = ALL_KEPT) -> Results:
    """A finished run."""
    return Results(
        plan=Plan(),
        machine=MACHINE,
        stack="bench",
        idle=idle or single(),
        sustained=[one or sustained()],
        half_load=single(),
        total=total,
        tool_calls=ToolCalls(calls=1000, worked=1000, worked_twice=0, forgotten=0),
    )
