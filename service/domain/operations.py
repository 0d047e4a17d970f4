"""Operations on many dead letters: how many may be sent now, when the canary has passed or failed, when all is done.

Pure: an operation's state, the counts of its items and the time in, what to do next out. The executor
(`service.engine.operations`) asks once a second and acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import floor

BURST_SECONDS = 2.0
"""What a pace saves up while no dispatcher looks: more is forgotten, so a rate is kept over any few seconds."""


class Action(StrEnum):
    """What an operation does to its dead letters."""

    REDRIVE = "redrive"
    DISCARD = "discard"


class OperationState(StrEnum):
    """Where an operation is in its life."""

    CANARY = "canary"
    """The first few are sent; the rest waits for all of them to succeed."""
    RUNNING = "running"
    STOPPED = "stopped"
    """A person stopped it. What was sent is under way; the rest waits for a person to resume."""
    CANARY_FAILED = "canary_failed"
    """One of the first failed again, or took too long. A person may resume with the rest all the same."""
    FINISHED = "finished"
    """Everything was sent, and what was sent is settled."""


UNDER_WAY = (OperationState.CANARY, OperationState.RUNNING)


@dataclass(frozen=True, slots=True)
class Counts:
    """The items of an operation by what became of them; together they are its total."""

    pending: int = 0
    sent: int = 0
    """Sent, and not finished yet."""
    succeeded: int = 0
    failed: int = 0
    """Dead-lettered again."""
    skipped: int = 0
    """Left out: somebody else had acted on them, or they cannot go on in the way that was asked for."""
    badly: int = 0
    """Of those that succeeded: how many are ESCALATED. Their input is finished, but the canary must not end there: it
    has become a person's, unresolved."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.pending + self.sent + self.succeeded + self.failed + self.skipped

    @property
    def tried(self) -> int:
        """Those that were sent, whatever came of it."""
        return self.sent + self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class Pace:
    """How many may leave, as of when: a bucket that fills with time."""

    rate_per_second: float | None
    """None: as many as the executor can."""
    tokens: float
    at: datetime

    def filled(self, now: datetime) -> Pace:
        """The bucket at a later time; an earlier one changes nothing."""
        if self.rate_per_second is None or now <= self.at:
            return self
        most = max(1.0, self.rate_per_second * BURST_SECONDS)
        gained = (now - self.at).total_seconds() * self.rate_per_second
        return Pace(self.rate_per_second, min(most, self.tokens + gained), now)

    def allows(self, at_most: int) -> int:
        """How many may leave now."""
        return at_most if self.rate_per_second is None else max(0, min(at_most, floor(self.tokens + 1e-9)))

    def spent(self, number: int) -> Pace:
        """After so many have left."""
        return self if self.rate_per_second is None else Pace(self.rate_per_second, self.tokens - number, self.at)


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next about an operation."""

    state: OperationState
    send: int = 0
    """How many to send now, at most."""
    reason: str | None = None
    """Why the state changed, for people."""


def next_step(
    state: OperationState,
    counts: Counts,
    canary: int,
    timeout: timedelta,
    last_sent_at: datetime | None,
    now: datetime,
) -> Step:
    """What an operation that is under way does next; the pace is the caller's to keep."""
    if state is OperationState.CANARY:
        return _canary(counts, canary, timeout, last_sent_at, now)
    if state is OperationState.RUNNING:
        return Step(OperationState.FINISHED if _is_over(counts) else state, counts.pending)
    return Step(state)


def _canary(counts: Counts, canary: int, timeout: timedelta, last_sent_at: datetime | None, now: datetime) -> Step:
    if counts.failed:
        return Step(OperationState.CANARY_FAILED, reason=f"{counts.failed} of the first {counts.tried} failed again")
    if counts.badly:
        reason = f"{counts.badly} of the first {counts.tried} ended ESCALATED"
        return Step(OperationState.CANARY_FAILED, reason=reason)
    if _is_over(counts):
        return Step(OperationState.FINISHED)
    if counts.succeeded >= canary:
        return Step(OperationState.RUNNING, counts.pending, f"the first {counts.succeeded} succeeded")
    if counts.sent and last_sent_at is not None and now - last_sent_at > timeout:
        seconds = timeout.total_seconds()
        reason = f"{counts.sent} of the first {counts.tried} were not finished within {seconds:g} seconds"
        return Step(OperationState.CANARY_FAILED, reason=reason)
    return Step(OperationState.CANARY, max(0, min(counts.pending, canary - counts.tried)))


def _is_over(counts: Counts) -> bool:
    return counts.pending == 0 and counts.sent == 0


def seconds_left(
    counts: Counts, rate_per_second: float | None, sent_lately: int, lately_seconds: float
) -> float | None:
    """About how long until the last one is sent; None: nobody can tell yet."""
    if counts.pending == 0:
        return 0.0
    if rate_per_second:
        return counts.pending / rate_per_second
    return counts.pending * lately_seconds / sent_lately if sent_lately else None
