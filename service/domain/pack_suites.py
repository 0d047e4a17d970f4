"""A pack's own tests: each case taken through intake, triage, policy and playbook, without any effect.

A case's input is what a source would send; its expectation is compared key by key with what the pack
decided. Nothing is bent for a case: one that expects what the pack does not say fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.exceptions import (
    Changes,
    ExceptionRecord,
    Input,
    InputType,
    Json,
    Outcome,
    PackVersions,
    Stage,
    Status,
)
from service.domain.packs import DomainPack, PackSet, TenantPack, build_pack_set
from service.domain.packs.models import EXPECTABLE, SuiteCase, SuiteInput
from service.domain.stages import DECIDE
from service.errors import PermanentError

_NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One key in which the pack decided otherwise than the case expects."""

    key: str
    expected: Any
    actual: Any


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one case ended."""

    path: str
    name: str
    actual: Mapping[str, Any]
    mismatches: tuple[Mismatch, ...]

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.mismatches


def run_suites(domain: DomainPack, now: datetime, tenant: TenantPack | None = None) -> tuple[CaseResult, ...]:
    """Run all cases of a domain pack, in order; without a tenant, as for one that changes nothing."""
    tenant = tenant or TenantPack(tenantId="nobody", domainName=domain.domainName)
    packs = build_pack_set(domain, tenant, PackVersions(domain=0, tenant=0))
    return tuple(run_case(case, f"testSuites[{index}]", packs, now) for index, case in enumerate(domain.testSuites))


def run_case(case: SuiteCase, path: str, packs: PackSet, now: datetime) -> CaseResult:
    """Run one case."""
    actual = _decided(_record(case.input, packs, now), packs, now)
    mismatches = tuple(
        Mismatch(key, expected, actual.get(key))
        for key, expected in case.expectedOutput.items()
        if not _as_expected(key, expected, actual)
    )
    return CaseResult(path, case.name or path, actual, mismatches)


def _as_expected(key: str, expected: Any, actual: Json) -> bool:
    if key not in EXPECTABLE:
        return False
    if key == "error" and isinstance(expected, str):
        return expected in (actual.get("error") or "")
    return bool(actual.get(key) == expected)


def _decided(record: ExceptionRecord, packs: PackSet, now: datetime) -> dict[str, Any]:
    """Take an exception to its plan or its failure; the plan is made even where a person has to approve it first."""
    actual: dict[str, Any] = {"status": None, "error": None}
    try:
        for stage, decide in DECIDE.items():
            outcome = decide(record, packs, now)
            record = _applied(record, outcome.changes)
            _note(actual, stage, record, outcome)
            if outcome.finished is not None and actual["status"] is None:
                actual["status"] = outcome.finished.value
    except PermanentError as error:
        actual["error"] = str(error)
    return actual


def _note(actual: dict[str, Any], stage: Stage, record: ExceptionRecord, outcome: Outcome) -> None:
    data = outcome.events[0].data
    match stage:
        case Stage.TRIAGE:
            actual.update({key: data[key] for key in ("exceptionType", "severity", "confidence", "by")})
        case Stage.POLICY:
            actual["decision"] = data["decision"]
        case Stage.PLAYBOOK:
            actual["playbook"] = None if outcome.plan is None else outcome.plan.playbook
        case _:
            actual["exceptionType"] = record.exception_type


def _applied(record: ExceptionRecord, changes: Changes) -> ExceptionRecord:
    return replace(
        record,
        exception_type=changes.exception_type or record.exception_type,
        severity=changes.severity or record.severity,
        confidence=record.confidence if changes.confidence is None else changes.confidence,
        deadline_at=changes.deadline_at or record.deadline_at,
    )


def _record(given: SuiteInput, packs: PackSet, now: datetime) -> ExceptionRecord:
    return ExceptionRecord(
        tenant_id=packs.tenant.tenantId,
        exception_id=_NOBODY,
        status=Status.RECEIVED,
        resting_status=None,
        sequence=1,
        stage=Stage.INTAKE,
        source_system=given.sourceSystem,
        exception_type=given.exceptionType,
        reported_severity=given.severity,
        severity=None,
        confidence=1.0,
        entity=given.entity,
        raw_payload=given.rawPayload,
        occurred_at=now,
        received_at=now,
        deadline_at=None,
        pack_versions=packs.versions,
        input=Input(InputType.INGESTED),
    )
