"""Which packs decide: those in force for new work, the recorded versions for work under way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from service.domain.exceptions import ExceptionRecord, InputType, PackChoice, PackVersions, Stage
from service.domain.packs import PackSet
from service.errors import PermanentError
from service.persistence.pack_schedules import Schedule
from service.persistence.unit_of_work import Transaction

_KEPT_VERSIONS = 256
_DECIDED_ANEW = (InputType.INGESTED, InputType.UPDATED)
"""Inputs that are decided with the packs in force; any other leaves an exception with the packs it was decided with."""


class NoActivePackError(PermanentError):
    """A tenant's exceptions arrived before its packs."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(
            f"tenant {tenant_id!r} has no active domain and tenant pack that can be used; "
            "load them with `sentinai packs load`, then redrive"
        )


class PackDocuments(Protocol):
    """Where packs and their activations come from; `service.persistence.packs` is the real one."""

    def schedules(self, transaction: Transaction, tenants: Iterable[str]) -> Mapping[str, Schedule]: ...

    def documents(
        self, transaction: Transaction, tenant_id: str, versions: PackVersions
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]: ...


BuildPackSet = Callable[[Mapping[str, Any], Mapping[str, Any], PackVersions], PackSet]
"""Compiles a domain and a tenant document of given versions."""


class PackSource:
    """Compiled packs, kept by version. Which version decides is not kept: it is asked for every batch.

    An activation that was committed before an exception was received is therefore seen by whoever decides that
    exception, on any process: the question is asked after the exception was there.
    """

    def __init__(self, documents: PackDocuments, build: BuildPackSet) -> None:
        self._documents = documents
        self._build = build
        self._compiled: dict[tuple[str, PackVersions], PackSet] = {}

    def deciding(
        self, transaction: Transaction, stage: Stage, records: Iterable[ExceptionRecord], now: datetime
    ) -> list[PackSet | PermanentError]:
        """The packs that decide each record, in order, or why there are none for it.

        Which are in force is asked at intake, in one statement for all; the stages after it go by the row.
        """
        records = list(records)
        anew = {record.tenant_id for record in records if _decided_anew(stage, record)}
        schedules = self._documents.schedules(transaction, anew) if anew else {}
        return [
            self._found(transaction, record.tenant_id, _versions(stage, record, schedules, now)) for record in records
        ]

    def _found(
        self, transaction: Transaction, tenant_id: str, versions: PackVersions | None
    ) -> PackSet | PermanentError:
        if versions is None:
            return NoActivePackError(tenant_id)
        try:
            return self.at(transaction, tenant_id, versions)
        except PermanentError as error:
            return error

    def at(self, transaction: Transaction, tenant_id: str, versions: PackVersions) -> PackSet:
        """The packs of these versions, compiled once per process."""
        key = (tenant_id, versions)
        if key not in self._compiled:
            if len(self._compiled) >= _KEPT_VERSIONS:
                self._compiled.pop(next(iter(self._compiled)))
            domain, tenant = self._documents.documents(transaction, tenant_id, versions)
            self._compiled[key] = self._build(domain, tenant, versions)
        return self._compiled[key]


def _decided_anew(stage: Stage, record: ExceptionRecord) -> bool:
    if record.pack_versions is None:
        return True
    kept = record.redriven_with is PackChoice.RECORDED
    return stage is Stage.INTAKE and record.input.type in _DECIDED_ANEW and not kept


def _versions(
    stage: Stage, record: ExceptionRecord, schedules: Mapping[str, Schedule], now: datetime
) -> PackVersions | None:
    if not _decided_anew(stage, record):
        return record.pack_versions
    # An update is judged as of now: its exception was received long ago, what it says was not. So is what a person
    # sends again to have it decided by the packs that are in force by now.
    as_received = record.input.type is InputType.INGESTED and record.redriven_with is not PackChoice.ACTIVE
    received_at = record.received_at if as_received else now
    return schedules.get(record.tenant_id, _NOTHING).versions(received_at, now)


_NOTHING = Schedule()
