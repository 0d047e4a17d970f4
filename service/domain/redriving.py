"""What may become of a dead letter: from which stage its input goes on and with which packs, or where it rests.

Pure rules. Who asked, and that a dead letter is still there to be moved, is judged where it is locked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.domain.exceptions import ENTRY_STAGE, InputType, PackChoice, Stage, Status
from service.errors import PermanentError


class DeadLetterState(StrEnum):
    """Where a dead letter is in its life: pending → redriving → succeeded, or pending again; or discarded."""

    PENDING = "pending"
    """It fences its exception until somebody acts."""
    REDRIVING = "redriving"
    """Its input is being worked again."""
    SUCCEEDED = "succeeded"
    """Its input was finished after a redrive."""
    DISCARDED = "discarded"
    """Its input will not be worked."""


class RedriveRefusedError(PermanentError):
    """This dead letter cannot go on in the way that was asked for; the message says why, and which ways there are."""


@dataclass(frozen=True, slots=True)
class DeadInput:
    """An input that was dead-lettered."""

    failed_at: Stage
    input_type: InputType
    resting_status: Status | None
    """Where its exception rested before this input; None: it is the first one."""
    planned: bool = False
    """A plan was made while working it."""
    asked: bool = False
    """People are still asked to approve what the exception rests for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How somebody wants it sent again."""

    from_stage: Stage | None = None
    """None: where it failed; with the active packs: intake."""
    packs: PackChoice = PackChoice.RECORDED


@dataclass(frozen=True, slots=True)
class Resumption:
    """How it is sent again."""

    stage: Stage
    packs: PackChoice


_DECIDED_ANEW = frozenset({InputType.INGESTED, InputType.UPDATED})
"""Inputs for which packs are chosen; any other goes by those of its exception."""
_TAKEN_ONCE = frozenset({
    InputType.STEP_COMPLETED, InputType.STEP_DUE, InputType.SIGNAL, InputType.EFFECT_RESOLVED,
})  # fmt: skip
"""Inputs that a plan takes in at the playbook stage; once it has, there is no step that waits for them."""
_LEAVE_THE_PLAN = frozenset({InputType.UPDATED, InputType.COMMENT, InputType.CANCELLED})
_SAYS = {
    InputType.INGESTED: "the exception itself",
    InputType.UPDATED: "an update",
    InputType.COMMENT: "a comment",
    InputType.CANCELLED: "a cancellation",
    InputType.APPROVED: "an approval",
    InputType.REJECTED: "a rejection",
    InputType.APPROVAL_EXPIRED: "an expired approval",
    InputType.STEP_COMPLETED: "a completed step",
    InputType.STEP_DUE: "a timer that is due",
    InputType.SIGNAL: "a signal",
    InputType.EFFECT_RESOLVED: "a verdict on an effect",
}
_AT_REST_FOR_GOOD = frozenset({Status.RESOLVED, Status.ESCALATED, Status.CANCELLED, Status.DISCARDED})


def resume(dead: DeadInput, wish: Wish) -> Resumption:
    """From where and with what an input goes on. Raises RedriveRefusedError."""
    if wish.packs is PackChoice.ACTIVE:
        return _decided_anew(dead, wish)
    stage = dead.failed_at if wish.from_stage is None else wish.from_stage
    if stage > dead.failed_at:
        raise RedriveRefusedError(
            f"it failed at {dead.failed_at.queue}, so it cannot go on at {stage.queue}: only there or earlier"
        )
    if stage < dead.failed_at and dead.input_type in _TAKEN_ONCE:
        raise RedriveRefusedError(
            f"its input is {_SAYS[dead.input_type]}, which the plan has taken in already: "
            f"it can only go on at {dead.failed_at.queue}"
        )
    entry = ENTRY_STAGE[dead.input_type]
    if stage < entry:
        raise RedriveRefusedError(
            f"its input is {_SAYS[dead.input_type]}, which begins at {entry.queue}: it cannot go on at {stage.queue}"
        )
    return Resumption(stage, PackChoice.RECORDED)


def _decided_anew(dead: DeadInput, wish: Wish) -> Resumption:
    """Packs are chosen at intake, so a change of packs begins there."""
    if dead.input_type not in _DECIDED_ANEW:
        raise RedriveRefusedError(
            f"its input is {_SAYS[dead.input_type]}, which goes by the packs of its exception: "
            "only the exception itself and updates can be decided with the active packs"
        )
    if wish.from_stage not in (None, Stage.INTAKE):
        raise RedriveRefusedError(
            f"packs are chosen at intake: with the active packs it goes on from there, not from {wish.from_stage.queue}"
        )
    return Resumption(Stage.INTAKE, PackChoice.ACTIVE)


def rests_after_discard(dead: DeadInput) -> Status:
    """Where an exception rests when its dead-lettered input is not worked any more.

    It falls back to where it rested before, if that still has a way on: a person or a time to wait for that the input
    has not used up. Otherwise nothing can follow, and the exception is discarded.
    """
    before = dead.resting_status
    if before is None:
        return Status.DISCARDED
    if before in _AT_REST_FOR_GOOD:
        return before
    if before is Status.PENDING_APPROVAL:
        return before if dead.asked else Status.DISCARDED
    if dead.input_type in _LEAVE_THE_PLAN:
        return Status.DISCARDED if dead.planned else before
    untouched = dead.failed_at is Stage.PLAYBOOK and dead.input_type in _TAKEN_ONCE - {InputType.STEP_DUE}
    return before if untouched else Status.DISCARDED


def state_reason(state: DeadLetterState) -> str:
    """Why a dead letter in this state cannot be redriven or discarded."""
    return _REASONS[state]


_REASONS: Mapping[DeadLetterState, str] = {
    DeadLetterState.REDRIVING: "it is being worked again",
    DeadLetterState.SUCCEEDED: "it was redriven and its input was finished",
    DeadLetterState.DISCARDED: "it was discarded",
    DeadLetterState.PENDING: "its exception has moved on",
}
