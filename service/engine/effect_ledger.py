"""The effect ledger's rule: may this call go out now? Pure; the rows are read and written by the tool stage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from service.domain.plans import ToolCall
from service.persistence.stages import Effect

LEASE_MARGIN = timedelta(seconds=15)
"""Beyond a call's own time limit, how long its delivery may take to write the answer down."""


class Permission(Enum):
    """What the ledger says about making a call."""

    SEND = "send"
    ADOPT = "adopt"
    """The effect happened and its answer is known: go on with that."""
    HELD = "held"
    """Another delivery is making the call right now."""
    UNKNOWN = "unknown"
    """It was sent, nobody knows what became of it, and the tool would work a second one: a person decides."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The permission, and the number of the attempt a SEND would be (1, 2, …)."""

    permission: Permission
    attempt: int
    unanswered: bool = False
    """It went out before, and whoever made the call was gone before an answer came."""


def judge_effect(effect: Effect | None, call: ToolCall, now: datetime) -> Judgement:
    """Decide from the effect's row. Nothing is ever repeated blindly."""
    if effect is None:
        return Judgement(Permission.SEND, 1)
    following = effect.attempt + 1
    if effect.state == "confirmed":
        return Judgement(Permission.ADOPT, effect.attempt)
    if effect.state == "unknown":
        return Judgement(Permission.UNKNOWN, effect.attempt)
    if effect.state == "sent":
        if effect.lease_until is not None and effect.lease_until > now:
            return Judgement(Permission.HELD, effect.attempt)
        return Judgement(Permission.SEND if call.idempotent else Permission.UNKNOWN, following, unanswered=True)
    return Judgement(Permission.SEND, following)


def lease_until(call: ToolCall, now: datetime) -> datetime:
    """Until when a call that goes out now is its delivery's alone."""
    return now + timedelta(seconds=call.timeout_seconds) + LEASE_MARGIN
