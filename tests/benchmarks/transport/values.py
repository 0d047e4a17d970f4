"""What the benchmark speaks of: a task to measure, a figure, and an outcome that is not a figure. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BACKENDS = ("redis", "ours", "stock")
TITLES = {"redis": "Celery on Redis", "ours": "this transport", "stock": "kombu's confluentkafka"}


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement on one backend, run in a process of its own."""

    measure: str
    """Name of a function in MEASURES."""
    arguments: Mapping[str, Any]
    limit: float
    """Seconds after which it is ended, whatever it is doing."""
    leads: str = ""
    """Name of its first figure, which says so when the case fails."""
    rounds: int = 1
    backends: tuple[str, ...] = BACKENDS

    @property
    def title(self) -> str:
        """For progress."""
        return f"{self.measure} {', '.join(f'{name}={value}' for name, value in self.arguments.items())}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, or the reason why there is none."""

    name: str
    unit: str
    value: float | None
    note: str = ""


@dataclass(slots=True)
class Row:
    """All values of one figure, by backend, in the order they were measured."""

    name: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def median(self, backend: str) -> float | None:
        """The middle one of a backend's values; None when there are none."""
        return percentile(self.values.get(backend, []), 0.5)

    def ratio(self, backend: str) -> float | None:
        """The backend's median in terms of Redis's."""
        ours, theirs = self.median(backend), self.median("redis")
        return ours / theirs if ours is not None and theirs else None


def percentile(values: list[float], share: float) -> float | None:
    """The value below which ``share`` of the values lie, by linear interpolation; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def rate(times: list[float], skip: float = 0.1) -> float | None:
    """Events per second, the first ``skip`` of them left out as warm-up; None when too few are left."""
    kept = sorted(times)[int(len(times) * skip) :]
    if len(kept) < 10 or kept[-1] == kept[0]:
        return None
    return (len(kept) - 1) / (kept[-1] - kept[0])
