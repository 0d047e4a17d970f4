"""The repository of the stage engine: a batch's rows in, its decisions out. It never commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row

from service.domain.exceptions import (
    ApprovalView,
    ExceptionRecord,
    Input,
    InputType,
    PackChoice,
    PackVersions,
    Severity,
    Stage,
    Status,
)
from service.domain.plans import Plan, StepResult, StepState, from_document
from service.errors import PermanentError, TransientError
from service.persistence.sealing import PAYLOAD, Sealing, input_slot
from service.persistence.statements import applying, failing, loading
from service.persistence.unit_of_work import Transaction, as_bytea, as_json


@dataclass(frozen=True, slots=True)
class LoadedException:
    """An exception's locked row, and what is kept of the plan in force if one was loaded."""

    record: ExceptionRecord
    plan_id: UUID | None
    plan_hash: str | None = None
    """What a person was or is asked to approve; None for a plan that nobody has to."""
    fault: PermanentError | TransientError | None = None
    """Why what is stored of it could not be read: what was sealed (its payload and data are empty then), its plan."""
    plan_sequence: int | None = None
    """For which input the plan was made; only told where the input at hand was sent again."""


class PlanUnreadableError(PermanentError):
    """A stored plan is not one."""

    def __init__(self) -> None:
        super().__init__("its plan cannot be read; redrive the exception from the playbook stage")


@dataclass(frozen=True, slots=True)
class Effect:
    """A row of the effect ledger."""

    state: str
    attempt: int
    lease_until: datetime | None
    output: Any
    plan_id: UUID | None = None
    step: str = ""


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

    def load(self, stage: Stage, ids: Iterable[UUID], first: bool = False) -> dict[UUID, LoadedException]:
        """The rows of a batch, locked in id order. Rows of undeclared tenants are not there.

        `first`: the delivery is about first inputs, so what only later ones need is not looked for.
        """
        statement = loading.LOAD_FIRST if first and stage is not Stage.TOOL else loading.LOAD[stage]
        rows = self._transaction.rows(statement, {"ids": [str(i) for i in ids]})
        sealing = self._transaction.sealing
        loaded = [_loaded(row, sealing) for row in rows]
        return {one.record.exception_id: one for one in loaded}

    def load_redriven(self, ids: Iterable[UUID]) -> dict[UUID, LoadedException]:
        """Rows that `load` has locked, of inputs that were sent again, with the plan that may be there from before."""
        rows = self._transaction.rows(loading.LOAD_REDRIVEN, {"ids": [str(i) for i in ids]})
        loaded = [_loaded(row, self._transaction.sealing) for row in rows]
        return {one.record.exception_id: one for one in loaded}

    def forget_steps(self, plans: Sequence[UUID]) -> None:
        """Forget what is recorded of the steps of plans that are about to be made anew, and their timers."""
        self._transaction.run(applying.FORGET_STEPS, {"plans": [str(plan) for plan in plans]})

    def look(self, ids: Iterable[UUID]) -> dict[UUID, LoadedException]:
        """As `load` at intake, for those who only look: nothing is locked, and nobody waits.

        Raises what `fault` would tell.
        """
        rows = self._transaction.rows(loading.LOOK, {"ids": [str(i) for i in ids]})
        sealing = self._transaction.sealing
        loaded = [_loaded(row, sealing) for row in rows]
        for one in loaded:
            if one.fault is not None:
                raise one.fault
        return {one.record.exception_id: one for one in loaded}

    def effects(self, ids: Iterable[UUID]) -> dict[UUID, dict[str, Effect]]:
        """Every effect of these exceptions so far, by exception and idempotency key."""
        found: dict[UUID, dict[str, Effect]] = {}
        for row in self._transaction.rows(loading.LOAD_EFFECTS, {"ids": [str(i) for i in ids]}):
            effect = Effect(row.state, row.attempt, row.lease_until, row.output, row.plan_id, row.step)
            found.setdefault(row.exception_id, {})[str(row.idempotency_key)] = effect
        return found

    def results(self, ids: Iterable[UUID]) -> dict[tuple[UUID, UUID], Any]:
        """Large results, by the exception they belong to and their id."""
        rows = self._transaction.rows(loading.LOAD_RESULTS, {"ids": [str(i) for i in ids]})
        return {(row.exception_id, row.result_id): row.document for row in rows}

    def apply(self, stage: Stage, decisions: Sequence[Mapping[str, Any]], now: datetime) -> list[Moved]:
        """Write decisions; the rows that come back are the ones that really moved.

        A decision's keys are the columns of the statement's record, and the names of PARTS for its lists of rows,
        in `service.persistence.statements.applying`. One exception may have one decision in a statement.
        """
        if stage is Stage.INTAKE:
            decisions = [self._sealed(one) if "raw_payload" in one else one for one in decisions]
        moves, parts = _divided(decisions)
        next_stage = stage if stage is Stage.TOOL else stage + 1
        parameters = {"decisions": as_json(moves), "stage": int(stage), "next_stage": int(next_stage), "now": now}
        parameters |= {name: as_json(rows) for name, rows in parts.items()}
        approvals = stage in _ASKING and any(d["sequence"] > 1 or "approval" in d for d in decisions)
        rows = self._transaction.rows(applying.apply(stage, tuple(parts), approvals), parameters)
        return [Moved(row.exception_id, row.sequence, row.last_sequence, row.stage_now) for row in rows]

    def _sealed(self, decision: Mapping[str, Any]) -> Mapping[str, Any]:
        """A decision whose payload is sealed for its row."""
        opened = dict(decision)
        tenant, payload = opened.pop("tenant_id"), opened.pop("raw_payload")
        sealed = self._transaction.sealing.seal(tenant, opened["id"].bytes, PAYLOAD, payload)
        return opened | {"sealed_payload": as_bytea(sealed)}

    def open_gates(self, finished: Sequence[Moved], now: datetime) -> None:
        """Make the next input of each finished exception ready, where one waits, and wake the dispatchers."""
        waiting = [{"id": m.exception_id, "sequence": m.sequence} for m in finished if m.last_sequence > m.sequence]
        if waiting:
            self._transaction.run(applying.OPEN_GATE, {"finished": as_json(waiting), "now": now})
            self._transaction.run("SELECT pg_notify('outbox', '')")

    def record_retries(self, stage: Stage, retries: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Note failed attempts: {id, sequence, attempt, rate_limited, retry_at, data} each."""
        self._transaction.run(failing.RECORD_RETRIES, {"decisions": as_json(retries), "stage": int(stage), "now": now})

    def dead_letter(
        self,
        stage: Stage,
        failures: Sequence[Mapping[str, Any]],
        now: datetime,
        notices: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Give exceptions up: {id, sequence, attempts, error_class, message} each; `notices`: whom to tell of it."""
        parameters = {"decisions": as_json(failures), "stage": int(stage), "now": now}
        if notices:
            self._transaction.run(failing.DEAD_LETTER_TELLING, {**parameters, "notices": as_json(notices)})
        else:
            self._transaction.run(failing.DEAD_LETTER, parameters)

    def batch_done(self, lane: int, batch_id: str) -> None:
        """Tell the lane's dispatcher, at commit, that this batch needs its place no more."""
        self._transaction.run("SELECT pg_notify('lanes', %(payload)s)", {"payload": f"{lane}:{batch_id}"})


def _divided(
    decisions: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Decisions without their lists of rows, and those rows by part."""
    moves: list[Mapping[str, Any]] = []
    parts: dict[str, list[dict[str, Any]]] = {}
    for decision in decisions:
        present = applying.PARTS.keys() & decision.keys()
        for name in present:
            parts.setdefault(name, []).extend(decision[name])
        moves.append({key: value for key, value in decision.items() if key not in present} if present else decision)
    return moves, {name: parts[name] for name in applying.PARTS if parts.get(name)}


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
    sealed_payload: bytes
    occurred_at: datetime
    received_at: datetime
    deadline_at: datetime | None
    domain_version: int | None
    tenant_version: int | None
    input_type: str | None
    input_data: Mapping[str, Any]
    input_actor: str | None
    sealed_data: bytes | None
    redriven_with: str | None
    plan: Mapping[str, Any] | None = None
    plan_id: UUID | None = None
    plan_hash: str | None = None
    steps: Mapping[str, Sequence[Any]] | None = None
    approval_hash: str | None = None
    approvals_needed: int | None = None
    given: Sequence[str] = ()
    undecided: bool = False
    approval_due_at: datetime | None = None
    plan_sequence: int | None = None


def _loaded(row: Row[Any], sealing: Sealing) -> LoadedException:
    values: Sequence[Any] = row
    read = _LoadedRow(*values)
    fault: PermanentError | TransientError | None = None
    payload: Mapping[str, Any] = {}
    data, plan = read.input_data, None
    try:
        payload = sealing.open(read.tenant_id, read.exception_id.bytes, PAYLOAD, read.sealed_payload)
        if read.sealed_data is not None:
            slot = input_slot(read.sequence)
            data = sealing.open(read.tenant_id, read.exception_id.bytes, slot, read.sealed_data)
        plan = None if read.plan is None else _plan(read.plan)
    except (PermanentError, TransientError) as error:
        fault = error
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
        raw_payload=payload,
        occurred_at=read.occurred_at,
        received_at=read.received_at,
        deadline_at=read.deadline_at,
        pack_versions=_versions(read.domain_version, read.tenant_version),
        input=_input(read.input_type, data, read.input_actor),
        plan=plan,
        plan_id=read.plan_id,
        plan_hash=read.plan_hash,
        step_results=_NO_RESULTS if read.steps is None else _step_results(read.steps),
        approval=None if read.approvals_needed is None else _approval(read),
        redriven_with=None if read.redriven_with is None else _PACKS[read.redriven_with],
    )
    return LoadedException(record, read.plan_id, read.plan_hash, fault, read.plan_sequence)


def _plan(document: Mapping[str, Any]) -> Plan:
    try:
        return from_document(document)
    except (LookupError, TypeError, ValueError) as error:
        raise PlanUnreadableError from error


def _step_results(steps: Mapping[str, Sequence[Any]]) -> dict[str, StepResult]:
    return {path: StepResult(StepState(state), *rest) for path, (state, *rest) in steps.items()}


def _approval(read: _LoadedRow) -> ApprovalView:
    assert read.approvals_needed is not None
    return ApprovalView(
        read.approval_hash, read.approvals_needed, tuple(read.given), read.undecided, read.approval_due_at
    )


def _versions(domain: int | None, tenant: int | None) -> PackVersions | None:
    return None if domain is None or tenant is None else PackVersions(domain, tenant)


def _input(kind: str | None, data: Mapping[str, Any], actor: str | None) -> Input:
    return _INGESTED if kind is None else Input(InputType(kind), data, actor)


_INGESTED = Input(InputType.INGESTED)
_ASKING = (Stage.POLICY, Stage.PLAYBOOK)
"""Stages that may ask a person, or end that one is asked."""
_NO_RESULTS: Mapping[str, StepResult] = MappingProxyType({})
_STATUS = {status.value: status for status in Status}
_PACKS = {choice.value: choice for choice in PackChoice}
_SEVERITY = {severity.value: severity for severity in Severity}
