"""What the demo tool server remembers of the calls it got: bounded, compact, newest kept.

Columns instead of an object a call: a million calls fit into some 200 MB, because the server shares its
machine with a load test.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from sys import intern
from typing import Any


class Outcome(IntEnum):
    """What the server did with a call."""

    WORKED = 0
    """The effect was applied and 2xx answered."""
    REPLAYED = 1
    """An idempotent tool answered a repeated key as before and did nothing."""
    FAILED = 2
    """4xx or 5xx answered, nothing done."""
    HUNG = 3
    """Nothing done and no answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, or one item of a batch call."""

    tool: str
    key: str | None
    """Its Idempotency-Key, None when it had none."""
    tenant: str | None
    digest: int
    """Of its body, 64 bits."""
    at: float
    """When it was answered, in seconds since the epoch."""
    status: int
    """HTTP status answered; 0 for none."""
    outcome: Outcome
    batched: bool

    def as_json(self, number: int) -> dict[str, Any]:
        """The call as `GET /calls` shows it."""
        return {
            "number": number,
            "tool": self.tool,
            "key": self.key,
            "tenant": self.tenant,
            "bodyDigest": f"{self.digest:016x}",
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(),
            "status": self.status or None,
            "outcome": self.outcome.name.lower(),
            "replayed": self.outcome is Outcome.REPLAYED,
            "batch": self.batched,
        }


class CallLog:
    """The last `capacity` calls, and how often each key was worked."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Forget everything; numbers start again at 1."""
        self._count = 0
        self._labels: list[tuple[str, str | None]] = []
        self._keys: list[str | None] = []
        self._digests = array("Q")
        self._times = array("d")
        self._facts = array("H")
        self._worked: dict[str, int] = {}
        self._worked_twice: set[str] = set()
        self._label: dict[tuple[str, str | None], tuple[str, str | None]] = {}

    def add(self, call: Call) -> int:
        """Remember a call and return its number. Beyond the capacity the oldest is forgotten."""
        label = self._label.setdefault((call.tool, call.tenant), (intern(call.tool), call.tenant))
        facts = call.status | call.outcome << 10 | call.batched << 12
        slot = self._count % self._capacity
        if self._count < self._capacity:
            self._labels.append(label)
            self._keys.append(call.key)
            self._digests.append(call.digest)
            self._times.append(call.at)
            self._facts.append(facts)
        else:
            self._forget(slot)
            self._labels[slot], self._keys[slot] = label, call.key
            self._digests[slot], self._times[slot], self._facts[slot] = call.digest, call.at, facts
        self._count += 1
        if call.outcome is Outcome.WORKED and call.key is not None:
            self._count_effect(call.key)
        return self._count

    def _count_effect(self, key: str) -> None:
        times = self._worked.get(key, 0) + 1
        self._worked[key] = times
        if times > 1:
            self._worked_twice.add(key)

    def _forget(self, slot: int) -> None:
        key = self._keys[slot]
        if key is None or self._facts[slot] >> 10 & 3 != Outcome.WORKED:
            return
        left = self._worked.get(key, 1) - 1
        if left:
            self._worked[key] = left
        else:
            self._worked.pop(key, None)

    def find(self, key: str | None, tool: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest calls with this key and tool (None: any), at most `limit`, in the order they came."""
        found: list[dict[str, Any]] = []
        for number in self._numbers():
            slot = (number - 1) % self._capacity
            if key in (None, self._keys[slot]) and tool in (None, self._labels[slot][0]):
                found.append(self._call(slot).as_json(number))
                if len(found) == limit:
                    break
        return found[::-1]

    def _numbers(self) -> Iterator[int]:
        return iter(range(self._count, max(0, self._count - self._capacity), -1))

    def _call(self, slot: int) -> Call:
        facts = self._facts[slot]
        tool, tenant = self._labels[slot]
        outcome, batched = Outcome(facts >> 10 & 3), bool(facts >> 12)
        return Call(
            tool, self._keys[slot], tenant, self._digests[slot], self._times[slot], facts & 1023, outcome, batched
        )

    def summary(self) -> dict[str, Any]:
        """How many calls and keys there were, and which keys had a second effect."""
        kept = len(self._keys)
        keys = {key for key in self._keys if key is not None}
        return {
            "calls": self._count,
            "forgotten": self._count - kept,
            "withoutKey": sum(key is None for key in self._keys),
            "keys": len(keys),
            "worked": sum(self._worked.values()),
            "workedTwice": sorted(self._worked_twice),
        }
