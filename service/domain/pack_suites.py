"""A pack's own tests: each case taken through intake, triage, policy and playbook, without any effect.

A case's input is what a source would send; its expectation is compared key by key with what the pack
decided. Nothing is bent for a case: one that expects what the pack does not say fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.dry_run import dry_run
from service.domain.exceptions import ExceptionRecord, Input, InputType, Json, PackVersions, Stage, Status
from service.domain.packs import DomainPack, PackSet, TenantPack, build_pack_set
from service.domain.packs.models import EXPECTABLE, SuiteCase, SuiteInput

_TRIAGED = ("exceptionType", "severity", "confidence", "by", "inferredBy", "rulesWithAbsentFields")
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

    @property
    def told(self) -> str:
        """The case and what it expected otherwise, in one line."""
        misses = (f"{miss.key}: expected {miss.expected!r}, the pack says {miss.actual!r}" for miss in self.mismatches)
        return f"{self.name}: {'; '.join(misses)}"

    @property
    def absent(self) -> tuple[str, ...]:
        """Rules that did not match because they refer to a field that this case does not have."""
        return tuple(self.actual.get("rulesWithAbsentFields", ()))


def absent_counts(results: Iterable[CaseResult]) -> dict[str, int]:
    """How many cases each rule did not match for want of a field, most first."""
    return dict(Counter(rule for result in results for rule in result.absent).most_common())


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
    if mismatches and actual["error"] is not None and "error" not in case.expectedOutput:
        mismatches += (Mismatch("error", None, actual["error"]),)
    return CaseResult(path, case.name or path, actual, mismatches)


def _as_expected(key: str, expected: Any, actual: Json) -> bool:
    if key not in EXPECTABLE:
        return False
    if key == "error" and isinstance(expected, str):
        return expected in (actual.get("error") or "")
    return bool(actual.get(key) == expected)


def _decided(record: ExceptionRecord, packs: PackSet, now: datetime) -> dict[str, Any]:
    """What a case can expect something of; keys that were not reached are not there."""
    run = dry_run(record, packs, now)
    actual: dict[str, Any] = {
        "status": None if run.status is None else run.status.value,
        "error": None if run.error is None else str(run.error),
        "exceptionType": run.record.exception_type,
    }
    actual |= {key: run.triage[key] for key in _TRIAGED if key in run.triage}
    actual["policyTags"] = run.triage.get("policyTags", [])
    if run.decision is not None:
        actual["decision"] = run.decision
    if run.plan is not None or run.error is None:
        actual["playbook"] = None if run.plan is None else run.plan.playbook
    return actual


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
