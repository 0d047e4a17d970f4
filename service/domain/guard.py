"""The sequence guard: may this delivery be applied to this exception?

Kafka delivers at least once and a worker may be a zombie, so the position a delivery was sent for and
the position the row is at can differ. The judgement here is pure; the statement that applies a decision
repeats the comparison under the row's lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far an exception is: the event being worked (1, 2, …), then the stage (0 = intake … 5 = finished)."""

    sequence: int
    stage: int


class Verdict(Enum):
    """What to do with a delivery."""

    APPLY = "apply"
    ONWARD = "onward"
    """This stage is done, a later one of the same event is not: the chain carries the reference there."""
    STALE = "stale"
    """The event is finished. Nothing is left to do for this reference."""
    EARLY = "early"
    """The row is not there yet. Come back later; nothing is wrong."""


FINISHED = 5
"""The stage of a row whose event is finished: the gate is open for the next one."""


def judge(delivered: Position, actual: Position) -> Verdict:
    """Compare where a reference was sent with where its row is. Total: every pair has exactly one verdict."""
    if delivered == actual:
        return Verdict.APPLY
    if delivered > actual:
        return Verdict.EARLY
    if delivered.sequence == actual.sequence and actual.stage < FINISHED:
        return Verdict.ONWARD
    return Verdict.STALE
