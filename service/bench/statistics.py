"""The arithmetic of the bench: percentiles, rates, and whether a window was a steady state. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

STEADY_WITHIN = 0.10
"""Accepted and resolved rate may differ by this share and still be called the same."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something took, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float
    mean: float


@dataclass(frozen=True, slots=True)
class Second:
    """What the event log got in one second of a window."""

    accepted: int
    resolved: int
    events: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """What the event log got in a window, per second, and how even that was."""

    seconds: int
    accepted: int
    resolved: int
    events: int
    accepted_per_second: float
    resolved_per_second: float
    events_per_second: float
    events_per_minute: float
    events_per_exception: float | None
    """None when nothing was resolved."""
    slowest_slice_per_second: float
    fastest_slice_per_second: float
    """Resolved per second in the slowest and fastest sixth of the window."""
    steady: bool
    """Accepted and resolved at the same rate, within STEADY_WITHIN."""


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The nearest-rank percentile of values in ascending order: always a value that was measured."""
    if not ordered:
        raise ValueError("no values, no percentile")
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def latency(seconds: Iterable[float]) -> Latency | None:
    """Summary of durations given in seconds; None when there are none."""
    ordered = sorted(value * 1000 for value in seconds)
    if not ordered:
        return None
    p50, p95, p99 = (round(percentile(ordered, fraction), 2) for fraction in (0.50, 0.95, 0.99))
    return Latency(len(ordered), p50, p95, p99, round(ordered[-1], 2), round(sum(ordered) / len(ordered), 2))


def throughput(by_second: Mapping[int, Second], seconds: int) -> Throughput:
    """Rates over the seconds 0 … seconds-1 of a window; a second that is missing had nothing."""
    if seconds < 1:
        raise ValueError("a window has at least one second")
    nothing = Second(0, 0, 0)
    line = [by_second.get(number, nothing) for number in range(seconds)]
    accepted, resolved, events = (
        sum(s.accepted for s in line),
        sum(s.resolved for s in line),
        sum(s.events for s in line),
    )
    slices = slice_rates([s.resolved for s in line], 6)
    return Throughput(
        seconds=seconds,
        accepted=accepted,
        resolved=resolved,
        events=events,
        accepted_per_second=round(accepted / seconds, 1),
        resolved_per_second=round(resolved / seconds, 1),
        events_per_second=round(events / seconds, 1),
        events_per_minute=round(events * 60 / seconds),
        events_per_exception=round(events / resolved, 2) if resolved else None,
        slowest_slice_per_second=round(min(slices), 1),
        fastest_slice_per_second=round(max(slices), 1),
        steady=is_steady(accepted, resolved),
    )


def slice_rates(per_second: Sequence[int], slices: int) -> list[float]:
    """Mean per second of each of (at most) so many equal slices."""
    number = min(slices, len(per_second))
    bounds = [round(index * len(per_second) / number) for index in range(number + 1)]
    return [sum(per_second[a:b]) / (b - a) for a, b in pairwise(bounds)]


def is_steady(accepted: int, resolved: int) -> bool:
    """Whether as much came out as went in; not when nothing came out."""
    return resolved > 0 and abs(accepted - resolved) <= STEADY_WITHIN * max(accepted, resolved)
