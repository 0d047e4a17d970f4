"""The repository of the stage engine: a batch's rows in, its decisions out. It never commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row

from service.domain.exceptions import (
    ExceptionRecord,
    Input,
    InputType,
    PackVersions,
    Severity,
    Stage,
    Status,
)
from service.domain.plans import StepResult, StepState, from_document
from service.persistence.statements import stages as sql
from service.persistence.unit_of_work import Transaction, as_json

_LOAD = {
    Stage.INTAKE: sql.LOAD_FOR_DECISION,
    Stage.TRIAGE: sql.LOAD_FOR_DECISION,
    Stage.POLICY: sql.LOAD_FOR_DECISION,
    Stage.PLAYBOOK: sql.LOAD_WITH_PLAN,
    Stage.TOOL: sql.LOAD_WITH_PLAN,
}
_APPLY = {
    Stage.INTAKE: sql.APPLY_INTAKE,
    Stage.TRIAGE: sql.APPLY_TRIAGE,
    Stage.POLICY: sql.APPLY_POLICY,
    Stage.PLAYBOOK: sql.APPLY_PLAYBOOK,
    Stage.TOOL: sql.APPLY_TOOL,
}


@dataclass(frozen=True, slots=True)
class LoadedException:
    """An exception's locked row, and the id of the plan in force if one was loaded."""

    record: ExceptionRecord
    plan_id: UUID | None


@dataclass(frozen=True, slots=True)
class Effect:
    """A row of the effect ledger."""

    state: str
    attempt: int
    lease_until: datetime | None
    output: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Moved:
    """An exception that a decision really moved."""

    exception_id: UUID
    sequence: int
    last_sequence: int
    stage_now: int


class StageRepository:
    """What a stage reads and writes, one statement for a whole batch each."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def load(self, stage: Stage, ids: Iterable[UUID]) -> dict[UUID, LoadedException]:
        """The rows of a batch, locked in id order. Rows of undeclared tenants are not there."""
        rows = self._transaction.rows(_LOAD[stage], {"ids": [str(i) for i in ids]})
        loaded = [_loaded(row) for row in rows]
        return {one.record.exception_id: one for one in loaded}

    def effects(self, ids: Iterable[UUID]) -> dict[str, Effect]:
        """Every effect of these exceptions so far, by idempotency key."""
        rows = self._transaction.rows(sql.LOAD_EFFECTS, {"ids": [str(i) for i in ids]})
        return {str(row.idempotency_key): Effect(row.state, row.attempt, row.lease_until, row.output) for row in rows}

    def apply(self, stage: Stage, decisions: Sequence[Mapping[str, Any]], now: datetime) -> list[Moved]:
        """Write decisions; the rows that come back are the ones that really moved.

        A decision's keys are the columns of the statement's record, in `service.persistence.statements.stages`.
        """
        next_stage = stage if stage is Stage.TOOL else stage + 1
        parameters = {"decisions": as_json(decisions), "stage": int(stage), "next_stage": int(next_stage), "now": now}
        rows = self._transaction.rows(_APPLY[stage], parameters)
        return [Moved(row.exception_id, row.sequence, row.last_sequence, row.stage_now) for row in rows]

    def open_gates(self, finished: Sequence[Moved], now: datetime) -> None:
        """Make the next input of each finished exception ready, where one waits, and wake the dispatchers."""
        waiting = [{"id": m.exception_id, "sequence": m.sequence} for m in finished if m.last_sequence > m.sequence]
        if waiting:
            self._transaction.run(sql.OPEN_GATE, {"finished": as_json(waiting), "now": now})
            self._transaction.run("SELECT pg_notify('outbox', '')")

    def record_retries(self, stage: Stage, retries: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Note failed attempts: {id, sequence, attempt, retry_at, data} each."""
        self._transaction.run(sql.RECORD_RETRIES, {"decisions": as_json(retries), "stage": int(stage), "now": now})

    def dead_letter(self, stage: Stage, failures: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Give exceptions up: {id, sequence, attempts, error_class, message} each."""
        self._transaction.run(sql.DEAD_LETTER, {"decisions": as_json(failures), "stage": int(stage), "now": now})

    def batch_done(self, lane: int, batch_id: str) -> None:
        """Tell the lane's dispatcher, at commit, that this batch needs its place no more."""
        self._transaction.run("SELECT pg_notify('lanes', %(payload)s)", {"payload": f"{lane}:{batch_id}"})


class _LoadedRow(NamedTuple):
    """A row of the load statement by place: this is read for every exception at every stage, and names are slow."""

    exception_id: UUID
    tenant_id: str
    status: str
    resting_status: str | None
    sequence: int
    stage: int
    source_system: str
    exception_type: str | None
    reported_severity: str | None
    severity: str | None
    confidence: float
    entity: str | None
    raw_payload: Mapping[str, Any]
    occurred_at: datetime
    received_at: datetime
    deadline_at: datetime | None
    domain_version: int | None
    tenant_version: int | None
    input_type: str | None
    input_data: Mapping[str, Any]
    input_actor: str | None
    plan: Mapping[str, Any] | None
    plan_id: UUID | None
    orders: list[int] | None


def _loaded(row: Row[Any]) -> LoadedException:
    read = _LoadedRow._make(row)
    record = ExceptionRecord(
        tenant_id=read.tenant_id,
        exception_id=read.exception_id,
        status=_STATUS[read.status],
        resting_status=_STATUS[read.resting_status] if read.resting_status else None,
        sequence=read.sequence,
        stage=read.stage,
        source_system=read.source_system,
        exception_type=read.exception_type,
        reported_severity=read.reported_severity,
        severity=_SEVERITY[read.severity] if read.severity else None,
        confidence=read.confidence,
        entity=read.entity,
        raw_payload=read.raw_payload,
        occurred_at=read.occurred_at,
        received_at=read.received_at,
        deadline_at=read.deadline_at,
        pack_versions=_versions(read.domain_version, read.tenant_version),
        input=_input(read.input_type, read.input_data, read.input_actor),
        plan=None if read.plan is None else from_document(read.plan),
        plan_id=read.plan_id,
        step_results={str(order): _DONE for order in read.orders or ()},
    )
    return LoadedException(record, read.plan_id)


def _versions(domain: int | None, tenant: int | None) -> PackVersions | None:
    return None if domain is None or tenant is None else PackVersions(domain, tenant)


def _input(kind: str | None, data: Mapping[str, Any], actor: str | None) -> Input:
    return _INGESTED if kind is None else Input(InputType(kind), data, actor)


_INGESTED = Input(InputType.INGESTED)
_DONE = StepResult(StepState.DONE)
_STATUS = {status.value: status for status in Status}
_SEVERITY = {severity.value: severity for severity in Severity}
