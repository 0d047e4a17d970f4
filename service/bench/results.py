"""What a run found, as values, and whether it may be believed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.bench.machine import Machine
from service.bench.observing import Books
from service.bench.probes import Journeys, Reads
from service.bench.processes import Usage
from service.bench.statistics import Latency, Throughput
from service.bench.tally import Errors


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    seconds: int = 60
    """Length of each throughput window."""
    warm_up_seconds: float = 5.0
    samples: tuple[str, ...] = ("batch", "straight", "internal")
    tenants: int = 4
    probes: int = 200
    """Exceptions followed one by one, idle and again under half load."""
    probe_sample: str = "straight"
    backlog: int = 6000
    """Most exceptions accepted and not settled."""
    batch_items: int = 500
    senders: int = 2
    """Connections that post at the same time."""
    drain_seconds: float = 60.0
    """Longest wait for the backlog, and then for the relay, to be worked off."""
    analyse: bool = True
    """Whether the database gets its statistics right after the warm-up, as autovacuum gives them within minutes."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Accepted and not settled."""

    bound: int
    bound_reached: bool
    """False: the senders or the API were the limit, and the pipeline could do more."""
    mean: float
    largest: int
    at_window_end: int
    left: int
    """After the drain; anything but 0 is stuck."""
    drain_seconds: float | None
    """From the last POST until 0; None when it was not reached in time."""


@dataclass(frozen=True, slots=True)
class RelayCatchUp:
    """How far publishing the event log was behind."""

    unpublished_at_load_end: int
    seconds_behind_at_load_end: float
    unpublished_when_drained: int
    caught_up_seconds: float | None
    """From the end of the drain until nothing was unpublished; None when that was not reached in time."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was promised against what is in the books."""

    accepted_by_api: int
    unknown: int
    """Sent without an answer: accepted or not."""
    books: Books
    """What the phase added to the bench tenants' ledgers."""

    @property
    def lost(self) -> int:
        """Answered 202 and not in the ledger."""
        return max(0, self.accepted_by_api - self.books.accepted)

    @property
    def unaccounted(self) -> int:
        """In the ledger and never sent by us."""
        return max(0, self.books.accepted - self.accepted_by_api - self.unknown)


@dataclass(frozen=True, slots=True)
class Sustained:
    """One sample's sustained throughput."""

    sample: str
    throughput: Throughput
    time_in_pipeline: Latency | None
    """From receipt to RESOLVED of everything received in the window, queueing included."""
    batch_post: Latency | None
    reads: Reads
    backlog: Backlog
    relay: RelayCatchUp
    kept: Kept
    errors: Errors
    usage: list[Usage]


@dataclass(frozen=True, slots=True)
class Single:
    """Latencies of single exceptions, idle or under load."""

    load: str
    """What ran beside it, in words."""
    offered_per_second: float
    achieved_per_second: float
    late_posts: int
    """Batches of the load that were sent half a second or more after their time."""
    journeys: Journeys
    reads: Reads
    kept: Kept
    load_errors: Errors
    usage: list[Usage]


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """What the demo tool server recorded during the run."""

    calls: int
    worked: int
    worked_twice: int
    forgotten: int
    """Beyond its memory: among these nobody knows what was worked twice."""


@dataclass(slots=True)
class Results:
    """Everything of one run, filled in as it goes on, so that an interrupted one has what was measured."""

    plan: Plan
    machine: Machine
    stack: str
    other_stacks: list[str] = field(default_factory=list)
    idle: Single | None = None
    sustained: list[Sustained] = field(default_factory=list)
    half_load: Single | None = None
    total: Kept | None = None
    tool_calls: ToolCalls | None = None
    interrupted: bool = False

    @property
    def phases(self) -> list[tuple[str, Kept]]:
        """Every finished phase's books."""
        singles = [("idle", self.idle), ("half load", self.half_load)]
        return [(s.sample, s.kept) for s in self.sustained] + [(name, one.kept) for name, one in singles if one]


def problems(results: Results) -> list[str]:
    """What must never happen; one of these makes the run fail."""
    found = []
    for name, kept in results.phases + ([("whole run", results.total)] if results.total else []):
        found += [f"{name}: {fault}" for fault in _book_faults(kept)]
    if results.tool_calls and results.tool_calls.worked_twice:
        found.append(f"the tool server worked {results.tool_calls.worked_twice} calls twice")
    return found


def _book_faults(kept: Kept) -> list[str]:
    books = kept.books
    faults = [
        (kept.lost, f"{kept.lost} exceptions were answered 202 and are not in the ledger"),
        (kept.unaccounted, f"the ledger has {kept.unaccounted} exceptions that were never sent"),
        (not books.balanced, "the ledger does not balance"),
        (books.in_flight, f"{books.in_flight} exceptions are still in flight after the drain"),
        (books.dead_lettered, f"{books.dead_lettered} exceptions were dead-lettered"),
        (books.elsewhere, f"{books.elsewhere} exceptions ended otherwise than RESOLVED"),
    ]
    return [words for wrong, words in faults if wrong]


def warnings(results: Results) -> list[str]:
    """What makes figures less than they seem."""
    found = [f"stack {name!r} runs on this machine too" for name in results.other_stacks]
    if not results.plan.analyse:
        found.append("the database was not analysed: while it is new, its plans are made without statistics")
    if results.interrupted:
        found.append("the run was interrupted: what follows is what was finished by then")
    for one in results.sustained:
        found += [f"{one.sample}: {words}" for words in _sustained_warnings(one)]
    for name, single in (("idle", results.idle), ("half load", results.half_load)):
        if single is not None:
            found += [f"{name}: {words}" for words in _single_warnings(single)]
    if results.tool_calls and results.tool_calls.forgotten:
        found.append("the tool server forgot calls: what was worked twice is known only of the others")
    return found


def _sustained_warnings(one: Sustained) -> list[str]:
    rates = one.throughput
    faults = [
        (one.errors, f"errors: {_errors(one.errors)}"),
        (
            not rates.steady,
            f"no steady state: {rates.accepted_per_second:g}/s accepted, {rates.resolved_per_second:g}/s resolved",
        ),
        (not one.backlog.bound_reached, "the backlog never reached its bound: the senders or the API were the limit"),
        (one.relay.caught_up_seconds is None, "the relay did not catch up in time"),
        (one.reads.failed, f"failed reads: {one.reads.failed}"),
    ]
    return [words for wrong, words in faults if wrong] + _restarts(one.usage)


def _single_warnings(single: Single) -> list[str]:
    journeys = single.journeys
    measured = journeys.to_resolved.count if journeys.to_resolved else 0
    faults = [
        (measured < journeys.asked, f"{measured} of {journeys.asked} exceptions were followed to RESOLVED"),
        (journeys.other_ends, f"other ends: {journeys.other_ends}"),
        (journeys.errors, f"errors: {_errors(journeys.errors)}"),
        (single.load_errors, f"errors of the load: {_errors(single.load_errors)}"),
        (single.late_posts, f"{single.late_posts} posts of the load were late"),
        (single.reads.failed, f"failed reads: {single.reads.failed}"),
    ]
    return [words for wrong, words in faults if wrong] + _restarts(single.usage)


def _errors(errors: Errors) -> str:
    parts = [f"{count} of HTTP {status}" for status, count in errors.by_status.items()]
    parts += [f"{errors.rejected_items} items rejected"] if errors.rejected_items else []
    return ", ".join(parts) + (f" ({errors.words[0]})" if errors.words else "")


def _restarts(rows: list[Usage]) -> list[str]:
    return [f"{row.group} was restarted while it was measured" for row in rows if row.restarted]
