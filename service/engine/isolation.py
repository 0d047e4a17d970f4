"""Poison isolation: recognises a delivery that did not survive, divides it, and gives up what is convicted.

Recognised is what was begun and is still due when it comes again: the journal of deliveries knows the beginning, the
worker's main process how a child of its pool ended. What is suspected leaves its batch; the rest is worked as ever.
The rules of division and conviction are in `service.engine.suspicion`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference
from service.engine.failures import Failure, as_dead_letters, error_class
from service.engine.suspicion import (
    Ending,
    Suspicion,
    conviction,
    divided,
    evidence,
    is_enough,
    still_needed,
    wait_seconds,
)
from service.errors import kind_of
from service.persistence.deliveries import DeliveryJournal
from service.persistence.stages import StageRepository
from service.persistence.statements import isolation as sql
from service.persistence.unit_of_work import as_json, unit_of_work

log = logging.getLogger(__name__)

TRAVEL_SECONDS = 30.0
"""So long the reconciler leaves parts alone, beside the time it gives everything: they are on their way."""

SILENT = "the worker was gone without a word"
"""How the end of a process is called of which only the journal knows."""

GiveUp = Callable[[Stage, Sequence[Failure]], None]


@dataclass(frozen=True, slots=True)
class Death:
    """What is known of how a delivery ended."""

    how: str
    own: bool
    """Whether only what it worked can have caused it."""
    worker: str
    times: int = 1
    """How many deliveries of the same message ended so. The second died over what is done here."""
    began_at: datetime | None = None
    """When it began, for one whose process is dead beyond doubt."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a divided batch, to be sent on a way of its own."""

    batch: Batch
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Divided:
    """What became of a delivery that did not survive."""

    parts: tuple[Part, ...]
    rest: Batch
    """What is not due at this stage, hence no suspect: it is worked as ever."""


class Isolation:
    """Divides, suspects and convicts, one transaction each. Raises InfrastructureUnavailableError without PostgreSQL.

    Doing it twice, because a process died over it too, is harmless: the guard drops copies.
    """

    def __init__(
        self,
        engine: Engine,
        journal: DeliveryJournal,
        give_up: GiveUp,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        """`give_up` dead-letters and tells whom policies name; `jitter` gives 0 to 1."""
        self.journal = journal
        self._engine = engine
        self._give_up = give_up
        self._clock = clock
        self._jitter = jitter

    def divide(self, stage: Stage, batch: Batch, death: Death) -> Divided:
        """Decide what follows a delivery that ended like this: its parts are to be sent by the caller."""
        due = self._due(stage, batch, death)
        suspects = [reference for reference in batch.references if reference.exception_id in due]
        rest = batch.of([reference for reference in batch.references if reference.exception_id not in due])
        if not suspects:
            return Divided((), rest)
        log.error(
            "stage %s: a delivery of %s exceptions did not survive (%s): %s are suspected",
            stage.queue,
            len(batch.references),
            death.how,
            len(suspects),
        )
        ending = Ending(death.how, death.own, death.worker, self._clock().isoformat(), len(batch.references))
        before = batch.suspicion or Suspicion(batch.batch_id or str(suspects[0].exception_id), 0)
        suspicion = replace(before, endings=(*before.endings, ending))
        if len(batch.references) == 1:
            return Divided(self._alone(stage, suspects[0], suspicion, death.times), rest)
        groups = divided(suspects, again=batch.suspicion is not None)
        parts = (Batch(group, suspicion=replace(suspicion, part=number)) for number, group in enumerate(groups))
        return Divided(tuple(Part(part) for part in parts), rest)

    def _due(self, stage: Stage, batch: Batch, death: Death) -> set[UUID]:
        """What of a batch is still due at this stage; its lane gets its place back, its effects their leases."""
        references = [{"id": r.exception_id, "sequence": r.sequence} for r in batch.references]
        until = self._clock() + timedelta(seconds=TRAVEL_SECONDS)
        parameters = {"references": as_json(references), "stage": int(stage), "until": until}
        with unit_of_work(self._engine, batch.tenants()) as transaction:
            due = {row.exception_id for row in transaction.rows(sql.SUSPECT, parameters)}
            if due and stage is Stage.TOOL and death.began_at is not None:
                parameters = {"ids": [str(one) for one in due], "began_at": death.began_at}
                transaction.run(sql.LET_GO, parameters)
            if batch.lane is not None and batch.batch_id is not None:
                StageRepository(transaction).batch_done(batch.lane, batch.batch_id)
        return due

    def _alone(self, stage: Stage, reference: Reference, suspicion: Suspicion, times: int) -> tuple[Part, ...]:
        """Try an exception that was alone once more after a wait, or give it up."""
        alone = suspicion.alone()
        if is_enough(alone):
            self._convict(stage, reference, suspicion, readable=times == 1)
            return ()
        delay = wait_seconds(len(alone), self._jitter())
        self._note(stage, reference, alone, delay)
        return (Part(Batch.single(reference, suspicion), delay),)

    def _note(self, stage: Stage, reference: Reference, alone: Sequence[Ending], delay: float) -> None:
        now = self._clock()
        due = now + timedelta(seconds=delay)
        error = conviction(alone)
        data: dict[str, Any] = {
            "stage": stage.queue,
            "errorClass": error_class(error),
            "errorKind": kind_of(error),
            "error": f"its worker did not survive working it ({alone[-1].how}); it is tried again, alone",
            "attempt": len(alone),
            "of": len(alone) + still_needed(alone),
            "worker": alone[-1].worker,
            "retryAt": due,
        }
        row = {
            "id": reference.exception_id,
            "sequence": reference.sequence,
            # The ends of processes are counted in the suspicion: they use up no attempt of the retry policy.
            "attempt": reference.attempt,
            "rate_limited": reference.rate_limited,
            "retry_at": due,
            "data": data,
        }
        with unit_of_work(self._engine, [reference.tenant_id]) as transaction:
            StageRepository(transaction).record_retries(stage, [row], now)

    def _convict(self, stage: Stage, reference: Reference, suspicion: Suspicion, *, readable: bool) -> None:
        alone = suspicion.alone()
        told = replace(reference, attempt=reference.attempt + len(alone) - 1)
        found = evidence(suspicion.origin, stage.queue, suspicion.endings)
        failure = Failure(told, conviction(alone), evidence=found)
        log.error("stage %s: exception %s is given up: %s", stage.queue, reference.exception_id, failure.error)
        if readable:
            self._give_up(stage, [failure])
            return
        # A process died over doing just that: reading the exception is what kills, so nobody can be told what it is.
        with unit_of_work(self._engine, [reference.tenant_id]) as transaction:
            StageRepository(transaction).dead_letter(stage, as_dead_letters(stage, [failure]), self._clock())
