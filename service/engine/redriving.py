"""Sends dead-lettered inputs again, or ends them: what was asked for, judged for each and carried out for all at once.

Each dead letter comes to one result, in the transaction of the caller. Judging twice is harmless: the second time a
dead letter is not pending any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.domain.exceptions import Stage, Status
from service.domain.redriving import (
    DeadLetterState,
    RedriveRefusedError,
    Resumption,
    Wish,
    rests_after_discard,
    resume,
    state_reason,
)
from service.persistence.redriving import Act, DeadLetterDesk, Letter
from service.persistence.unit_of_work import Transaction


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one dead letter."""

    dead_letter_id: UUID
    letter: Letter | None
    """As it was before; None: the tenant has none of this id."""
    done: bool
    """It was sent again or discarded just now."""
    why_not: str | None = None
    resumption: Resumption | None = None
    rests: Status | None = None
    """Of a discard: where its exception rests, until the next input takes its turn."""
    redrives: int = 0
    """How often it has been sent again by now."""


UNKNOWN = "there is no such dead letter"


def redrive(
    transaction: Transaction, tenant_id: str, ids: Iterable[UUID], wish: Wish, act: Act, now: datetime
) -> list[Result]:
    """Send dead letters again; a result for each, in order."""
    desk = DeadLetterDesk(transaction, tenant_id, now)
    ids = list(ids)
    letters = desk.locked(ids)
    judged = [judged_redrive(one, letters.get(one), wish) for one in ids]
    items: list[tuple[Letter, Stage, str]] = [
        (r.letter, r.resumption.stage, r.resumption.packs) for r in judged if r.letter and r.resumption and r.done
    ]
    return _carried_out(judged, desk.redrive(items, act))


def discard(transaction: Transaction, tenant_id: str, ids: Iterable[UUID], act: Act, now: datetime) -> list[Result]:
    """End the inputs of dead letters; a result for each, in order."""
    desk = DeadLetterDesk(transaction, tenant_id, now)
    ids = list(ids)
    letters = desk.locked(ids)
    judged = [judged_discard(one, letters.get(one)) for one in ids]
    items = [(r.letter, r.rests) for r in judged if r.letter and r.rests and r.done]
    return _carried_out(judged, desk.discard(items, act))


def judged_redrive(dead_letter_id: UUID, letter: Letter | None, wish: Wish) -> Result:
    """What would become of a dead letter that is sent again."""
    why_not = _not_now(letter)
    if letter is None or why_not is not None:
        return Result(dead_letter_id, letter, done=False, why_not=why_not, redrives=letter.redrives if letter else 0)
    try:
        resumption = resume(letter.input, wish)
    except RedriveRefusedError as error:
        return Result(dead_letter_id, letter, done=False, why_not=str(error), redrives=letter.redrives)
    return Result(dead_letter_id, letter, done=True, resumption=resumption, redrives=letter.redrives + 1)


def judged_discard(dead_letter_id: UUID, letter: Letter | None) -> Result:
    """What would become of a dead letter that is discarded."""
    why_not = _not_now(letter)
    if letter is None or why_not is not None:
        return Result(dead_letter_id, letter, done=False, why_not=why_not, redrives=letter.redrives if letter else 0)
    rests = rests_after_discard(letter.input)
    return Result(dead_letter_id, letter, done=True, rests=rests, redrives=letter.redrives)


def _not_now(letter: Letter | None) -> str | None:
    if letter is None:
        return UNKNOWN
    if letter.state is DeadLetterState.PENDING and letter.is_current:
        return None
    return state_reason(letter.state)


def _carried_out(judged: Sequence[Result], moved: dict[UUID, int]) -> list[Result]:
    """Results by what really moved: the statement's guard has the last word."""
    return [
        result
        if not result.done or result.dead_letter_id in moved
        else Result(
            result.dead_letter_id,
            result.letter,
            done=False,
            why_not=state_reason(DeadLetterState.PENDING),
            redrives=result.redrives,
        )
        for result in judged
    ]
