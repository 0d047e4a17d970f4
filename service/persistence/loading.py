"""What the load statements bring, read: a row with what is sealed in it opened, its plan and its input.

The statements are `service.persistence.statements.loading`; `service.persistence.stages` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    Status,
)
from service.domain.plan_documents import from_document
from service.domain.plans import Plan, StepResult, StepState
from service.errors import PermanentError, TransientError
from service.persistence.sealing import PAYLOAD, Sealing, input_slot


@dataclass(frozen=True, slots=True)
class LoadedException:
    """An exception's locked row, and what is kept of the plan in force if one was loaded."""

    record: ExceptionRecord
    plan_id: UUID | None
    plan_hash: str | None = None
    """What a person was or is asked to approve; None for a plan that nobody has to."""
    fault: PermanentError | TransientError | None = None
    """Why what is stored of it could not be read: what was sealed (empty then), its plan (None then)."""
    plan_sequence: int | None = None
    """For which input the plan was made; only told where the input at hand was sent again."""


class PlanUnreadableError(PermanentError):
    """A stored plan is not one."""

    def __init__(self) -> None:
        super().__init__("its plan cannot be read; redrive the exception from the playbook stage")


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


def loaded_exception(row: Row[Any], sealing: Sealing) -> LoadedException:
    """A row of `service.persistence.statements.loading`, opened and read; what cannot be read of it is its `fault`."""
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
    record = _record(read, payload, data, plan)
    return LoadedException(record, read.plan_id, read.plan_hash, fault, read.plan_sequence)


def _record(
    read: _LoadedRow, payload: Mapping[str, Any], data: Mapping[str, Any], plan: Plan | None
) -> ExceptionRecord:
    return ExceptionRecord(
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
_NO_RESULTS: Mapping[str, StepResult] = MappingProxyType({})
_STATUS = {status.value: status for status in Status}
_PACKS = {choice.value: choice for choice in PackChoice}
_SEVERITY = {severity.value: severity for severity in Severity}
