"""The tool stage's transactions: each applies one turn, whole.

`start` takes a batch to its first calls, `land` writes answers down with what follows from them, `give_up` ends the
tries of calls. Both `start` and `land` return what goes out now, which is committed as `sent` by then, and what
failed for now. Whoever makes the calls hands every answer to `land`, from whichever thread. Answers of one exception
that arrive together are one decision; those that arrive in different threads wait for one another.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine

from service.domain.exceptions import ExceptionRecord, PackVersions, Stage
from service.domain.guard import FINISHED
from service.domain.packs import PackSet
from service.engine.batch import Batch, Reference
from service.engine.course import Course, Flight
from service.engine.failures import Failure, as_dead_letters
from service.engine.flights import Turn
from service.engine.holds import as_rows
from service.engine.notices import Subjects, of_failures
from service.engine.outputs import read_whole
from service.engine.packs import NoActivePackError, PackSource
from service.engine.results import Retry
from service.engine.runner import judge_batch
from service.errors import PermanentError
from service.persistence.holds import hold
from service.persistence.loading import LoadedException
from service.persistence.stages import Effect, StageRepository
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.tools.admission import Admission
from service.tools.calls import ToolResult


@dataclass(frozen=True, slots=True)
class Applied:
    """What follows a turn that is committed."""

    flights: tuple[Flight, ...] = ()
    """Calls that go out now. The lease of each began with the commit."""
    retries: tuple[Retry, ...] = ()
    onward: tuple[Reference, ...] = ()
    """Exceptions that need another delivery at this stage, at once."""


class Turns:
    """Carries plans on, one transaction a turn. Raises InfrastructureUnavailableError when PostgreSQL is away."""

    def __init__(self, engine: Engine, packs: PackSource, clock: Callable[[], datetime], admission: Admission) -> None:
        self._engine = engine
        self._packs = packs
        self._clock = clock
        self._admission = admission

    def start(self, batch: Batch, *, in_company: bool = False) -> Applied:
        """Take each plan that is due to its first calls, and commit which are about to go out.

        `in_company`: the batch is only a part of its delivery. Calls of which no answer came go out again only for an
        exception that has a delivery of its own.
        """
        alone = len(batch.references) == 1 and not in_company
        turn = Turn(self._clock(), self._admission.gate())
        with unit_of_work(self._engine, batch.tenants()) as transaction:
            subjects: dict[UUID, tuple[ExceptionRecord, PackSet]] = {}
            for reference, loaded, packs, effects in self._due(transaction, batch, turn):
                subjects[reference.exception_id] = loaded.record, packs
                turn.begin(reference, loaded, packs, effects, alone=alone)
            return self._apply(transaction, turn, subjects)

    def land(self, landed: Sequence[tuple[Flight, ToolResult]]) -> Applied:
        """Write answers down together with what follows from them."""
        turn = Turn(self._clock(), self._admission.gate())
        courses: dict[int, tuple[Course, list[tuple[Flight, ToolResult]]]] = {}
        for flight, result in landed:
            course = flight.course
            courses.setdefault(course.reference.exception_id.int, (course, []))[1].append((flight, result))
        # In one order, so that two threads whose answers belong to the same exceptions cannot wait for each other.
        ordered = [courses[key] for key in sorted(courses)]
        for course, _ in ordered:
            course.lock.acquire()
        saved = [course.saved() for course, _ in ordered]
        try:
            for course, answers in ordered:
                turn.land(course, answers)
            with unit_of_work(self._engine, {flight.reference.tenant_id for flight, _ in landed}) as transaction:
                subjects = {c.reference.exception_id: (c.record, c.packs) for c, _ in ordered}
                return self._apply(transaction, turn, subjects)
        except BaseException:
            for (course, _), before in zip(ordered, saved, strict=True):
                course.restore(before)
            raise
        finally:
            for course, _ in ordered:
                course.lock.release()

    def give_up(self, retries: Sequence[Retry]) -> Applied:
        """End the tries of calls: what each plan says on failure follows, else the exception is dead-lettered."""
        turn = Turn(self._clock(), self._admission.gate())
        by_id = {retry.reference.exception_id: retry for retry in retries}
        batch = Batch(tuple(retry.reference for retry in by_id.values()))
        with unit_of_work(self._engine, batch.tenants()) as transaction:
            subjects: dict[UUID, tuple[ExceptionRecord, PackSet]] = {}
            for reference, loaded, packs, effects in self._due(transaction, batch, turn):
                subjects[reference.exception_id] = loaded.record, packs
                turn.give_up(by_id[reference.exception_id], loaded, packs, effects)
            turn.retries.clear()
            return self._apply(transaction, turn, subjects)

    def _due(
        self, transaction: Transaction, batch: Batch, turn: Turn
    ) -> Iterator[tuple[Reference, LoadedException, PackSet, dict[str, Effect]]]:
        """What of a batch is due, with its packs and effects.

        What came too early is noted in the turn, and so is an exception whose packs cannot be had: it fails alone.
        """
        repository = StageRepository(transaction)
        rows = repository.load(Stage.TOOL, [reference.exception_id for reference in batch.references])
        judged = judge_batch(Stage.TOOL, batch, rows)
        turn.early(judged.early)
        due = {reference.exception_id: loaded for reference, loaded in judged.work}
        if not due:
            return
        whole, effects = read_whole(repository, due, repository.effects(due))
        for reference, _ in judged.work:
            loaded = whole[reference.exception_id]
            try:
                packs = self._pack_set(transaction, reference, loaded.record.pack_versions)
            except PermanentError as error:
                turn.failures.append(Failure(reference, error))
                continue
            yield reference, loaded, packs, effects.get(reference.exception_id, {})

    def _pack_set(self, transaction: Transaction, reference: Reference, versions: PackVersions | None) -> PackSet:
        if versions is None:
            raise NoActivePackError(reference.tenant_id)
        return self._packs.at(transaction, reference.tenant_id, versions)

    def _apply(self, transaction: Transaction, turn: Turn, subjects: Subjects) -> Applied:
        """Apply a turn. Only exceptions that really moved go on: for the others another delivery is ahead."""
        flights = turn.flights
        try:
            stale = _written(transaction, turn, subjects)
        except BaseException:
            self._admission.withdrawn(flight.key for flight in flights)
            raise
        if not stale:
            return Applied(tuple(flights), tuple(turn.retries), tuple(turn.onward))
        self._admission.withdrawn(flight.key for flight in flights if flight.reference.exception_id in stale)
        return Applied(
            tuple(flight for flight in flights if flight.reference.exception_id not in stale),
            tuple(retry for retry in turn.retries if retry.reference.exception_id not in stale),
            tuple(reference for reference in turn.onward if reference.exception_id not in stale),
        )


def _written(transaction: Transaction, turn: Turn, subjects: Subjects) -> set[UUID]:
    """Write a turn; the exceptions with a decision that did not move."""
    repository = StageRepository(transaction)
    moved = repository.apply(Stage.TOOL, turn.decisions, turn.now) if turn.decisions else []
    stale: set[UUID] = set()
    if len(moved) < len(turn.decisions):
        stale = {decision["id"] for decision in turn.decisions} - {m.exception_id for m in moved}
    failures = [failure for failure in turn.failures if failure.reference.exception_id not in stale]
    if failures:
        told = of_failures(Stage.TOOL, failures, subjects)
        repository.dead_letter(Stage.TOOL, as_dead_letters(Stage.TOOL, failures), turn.now, told)
    holds = [one for one in turn.holds if one.reference.exception_id not in stale]
    if holds:
        hold(transaction, Stage.TOOL, as_rows(holds, random.random), turn.now)
    repository.open_gates([m for m in moved if m.stage_now == FINISHED], turn.now)
    return stale
