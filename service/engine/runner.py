"""Runs the four deciding stages: one transaction that loads, guards, decides and applies a whole batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from service.domain.exceptions import IN_FLIGHT, ExceptionRecord, Outcome, Stage
from service.domain.guard import Position, Verdict, judge
from service.domain.packs import PackSet
from service.domain.retries import DEFAULTS
from service.engine.batch import Batch, Reference
from service.engine.decisions import encode
from service.engine.failures import Failure, StageFaultError, as_dead_letters
from service.engine.notices import of_failures
from service.engine.outputs import read_whole
from service.engine.packs import PackSource
from service.engine.replanning import with_earlier_plans
from service.engine.results import EarlyError, Retry, StageResult
from service.errors import PermanentError, TransientError, kind_of
from service.persistence.loading import LoadedException
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import Transaction, unit_of_work

log = logging.getLogger(__name__)

Decide = Callable[[ExceptionRecord, PackSet, datetime], Outcome]
Clock = Callable[[], datetime]


@dataclass(slots=True)
class Judged:
    """A batch after the guard: what to work, what only passes, what came too early."""

    work: list[tuple[Reference, LoadedException]] = field(default_factory=list)
    onward: list[Reference] = field(default_factory=list)
    early: list[Reference] = field(default_factory=list)


def judge_batch(stage: Stage, batch: Batch, rows: Mapping[Any, LoadedException]) -> Judged:
    """Apply the guard to every reference. Stale ones, and rows the tenants declared do not cover, drop out."""
    judged = Judged()
    for reference in batch.references:
        loaded = rows.get(reference.exception_id)
        if loaded is None or loaded.record.tenant_id != reference.tenant_id or loaded.record.status not in IN_FLIGHT:
            continue
        actual = Position(loaded.record.sequence, loaded.record.stage)
        verdict = judge(Position(reference.sequence, stage), actual)
        if verdict is Verdict.APPLY:
            judged.work.append((reference, loaded))
        elif verdict is Verdict.ONWARD:
            judged.onward.append(reference)
        elif verdict is Verdict.EARLY:
            judged.early.append(reference)
    return judged


class StageRunner:
    """Works a batch through one of the deciding stages.

    Everything about the batch happens in one transaction, so a repeated delivery finds either nothing done or
    everything. Raises InfrastructureUnavailableError when PostgreSQL is away.
    """

    def __init__(self, engine: Engine, packs: PackSource, decide: Mapping[Stage, Decide], clock: Clock) -> None:
        self._engine = engine
        self._packs = packs
        self._decide = decide
        self._clock = clock

    def run(self, stage: Stage, batch: Batch) -> StageResult:
        """Decide every exception of the batch that is due at this stage."""
        now = self._clock()
        with unit_of_work(self._engine, batch.tenants()) as transaction:
            repository = StageRepository(transaction)
            first = all(reference.sequence == 1 for reference in batch.references)
            loaded = repository.load(stage, [r.exception_id for r in batch.references], first)
            rows = with_earlier_plans(stage, repository, loaded)
            judged = judge_batch(stage, batch, _complete(stage, repository, rows))
            attempted = _Attempt(stage, self._decide[stage], now)
            attempted.all(judged, self._pack_sets(stage, transaction, judged, now))
            survivors = attempted.apply(repository) + judged.onward
            if batch.lane is not None and batch.batch_id is not None and not survivors:
                repository.batch_done(batch.lane, batch.batch_id)
        early = [Retry(reference, EarlyError(reference)) for reference in judged.early]
        return StageResult(tuple(survivors), tuple(attempted.retries + early))

    def give_up(self, stage: Stage, failures: Sequence[Failure]) -> None:
        """Dead-letter exceptions whose attempts are used up, at any stage."""
        now = self._clock()
        with unit_of_work(self._engine, {failure.reference.tenant_id for failure in failures}) as transaction:
            repository = StageRepository(transaction)
            rows = repository.load(Stage.INTAKE, [failure.reference.exception_id for failure in failures])
            records = [row.record for row in rows.values()]
            deciding = zip(records, self._packs.deciding(transaction, stage, records, now), strict=True)
            subjects = {
                record.exception_id: (record, packs) for record, packs in deciding if isinstance(packs, PackSet)
            }
            told = of_failures(stage, failures, subjects)
            repository.dead_letter(stage, as_dead_letters(stage, failures), now, told)

    def _pack_sets(
        self, stage: Stage, transaction: Transaction, judged: Judged, now: datetime
    ) -> dict[Reference, PackSet | PermanentError]:
        """The packs each exception is decided with: those in force at intake, the recorded versions after it."""
        deciding = self._packs.deciding(transaction, stage, [row.record for _, row in judged.work], now)
        return {reference: packs for (reference, _), packs in zip(judged.work, deciding, strict=True)}


def _complete(
    stage: Stage, repository: StageRepository, rows: Mapping[UUID, LoadedException]
) -> Mapping[UUID, LoadedException]:
    """Rows with the outputs of their plans' steps, where a plan is under way and goes on here."""
    begun = [key for key, row in rows.items() if row.record.step_results] if stage is Stage.PLAYBOOK else []
    return read_whole(repository, rows, repository.effects(begun))[0] if begun else rows


class _Attempt:
    """One pass of a stage's pure function over a batch, gathering decisions, failures and retries."""

    def __init__(self, stage: Stage, decide: Decide, now: datetime) -> None:
        self._stage = stage
        self._decide = decide
        self._now = now
        self._decisions: list[dict[str, Any]] = []
        self._decided: dict[Any, Reference] = {}
        self._failures: list[Failure] = []
        self._replaced: list[UUID] = []
        self._subjects: dict[UUID, tuple[ExceptionRecord, PackSet]] = {}
        self.retries: list[Retry] = []

    def all(self, judged: Judged, packs: Mapping[Reference, PackSet | PermanentError]) -> None:
        """Decide each exception; one that fails does not keep the others from being decided."""
        for reference, loaded in judged.work:
            try:
                found = packs[reference]
                if isinstance(found, PackSet) and found.notices.events:
                    self._subjects[reference.exception_id] = loaded.record, found
                if loaded.fault is not None:
                    raise loaded.fault
                if isinstance(found, PermanentError):
                    raise found
                self._one(reference, loaded, found)
            except PermanentError as error:
                self._failures.append(Failure(reference, error))
            except TransientError as error:
                policies = found.retries if isinstance(found, PackSet) else DEFAULTS
                self.retries.append(Retry(reference, error, policy=policies.of(self._stage, kind_of(error))))
            except MemoryError:  # It strikes whoever asks next: not necessarily the one that took too much.
                raise
            except Exception as error:  # A fault of ours on one exception must not hold up its batch.
                log.exception("stage %s failed on exception %s", self._stage.queue, reference.exception_id)
                self._failures.append(Failure(reference, StageFaultError(error)))

    def _one(self, reference: Reference, loaded: LoadedException, packs: PackSet) -> None:
        outcome = self._decide(loaded.record, packs, self._now)
        decision = encode(self._stage, loaded.record, reference.attempt, outcome, packs, loaded.plan_id)
        self._decisions.append(decision)
        if outcome.plan is not None and loaded.record.earlier is not None:
            self._replaced.append(loaded.record.earlier.plan_id)
        self._decided[reference.exception_id] = reference

    def apply(self, repository: StageRepository) -> list[Reference]:
        """Write what was decided; the references that go on to the next stage."""
        if self._failures:
            told = of_failures(self._stage, self._failures, self._subjects)
            repository.dead_letter(self._stage, as_dead_letters(self._stage, self._failures), self._now, told)
        if not self._decisions:
            return []
        if self._replaced:
            repository.forget_steps(self._replaced)
        moved = repository.apply(self._stage, self._decisions, self._now)
        going_on = [m for m in moved if m.stage_now == self._stage + 1]
        repository.open_gates([m for m in moved if m.stage_now != self._stage + 1], self._now)
        return [Reference(self._decided[m.exception_id].tenant_id, m.exception_id, m.sequence) for m in going_on]
