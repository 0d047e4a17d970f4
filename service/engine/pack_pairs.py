"""Which two packs decide together: a version of one, and what is or would be in force of the other beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.domain.exceptions import PackVersions
from service.domain.pack_suites import CaseResult, run_suites
from service.domain.packs import (
    DomainPack,
    PackSet,
    TenantPack,
    build_pack_set,
    parse_domain_pack,
    parse_tenant_pack,
)
from service.domain.packs.deciding.activations import in_force
from service.domain.packs.parts import VARIABLE
from service.domain.packs.reading.documents import PackDocument, PackKind
from service.domain.packs.reading.documents import domain_named_by as domain_named
from service.engine.packs import BuildPackSet
from service.errors import PermanentError
from service.persistence import packs as stored
from service.persistence.pack_schedules import Schedule
from service.persistence.packs import TENANT_PACK, StoredPacks
from service.persistence.unit_of_work import Transaction

Json = Mapping[str, Any]


class NotPossibleError(PermanentError):
    """The pack's history does not allow what was asked for."""


@dataclass(frozen=True, slots=True)
class PackKey:
    """Which pack of a tenant."""

    kind: PackKind
    name: str

    def __str__(self) -> str:
        return "the tenant pack" if self.kind is PackKind.TENANT else f"domain pack {self.name!r}"

    @classmethod
    def of(cls, document: PackDocument) -> PackKey:
        """The key under which a document is stored."""
        if document.kind is PackKind.TENANT:
            return cls(PackKind.TENANT, TENANT_PACK)
        return cls(PackKind.DOMAIN, domain_named_by(document.document))


@dataclass(frozen=True, slots=True)
class Pair:
    """A domain and a tenant pack that decide together; versions are None for what is not stored."""

    domain: DomainPack
    domain_version: int | None
    tenant: TenantPack | None
    tenant_version: int | None

    def pack_set(self, tenant_id: str) -> PackSet:
        """The two joined; without a tenant pack, as for a tenant that changes nothing. Raises PackInvalidError."""
        tenant = self.tenant or TenantPack(tenantId=tenant_id, domainName=self.domain.domainName)
        return build_pack_set(self.domain, tenant, PackVersions(self.domain_version or 0, self.tenant_version or 0))

    def test(self, now: datetime) -> tuple[CaseResult, ...]:
        """Run the suites, as this tenant would decide. Raises PackInvalidError."""
        return run_suites(self.domain, now, self.tenant)


class Pairs:
    """Finds and reads the packs of one tenant."""

    def __init__(self, transaction: Transaction, tenant_id: str, now: datetime, variables: Mapping[str, str]) -> None:
        self._transaction = transaction
        self._tenant_id = tenant_id
        self._now = now
        self._variables = variables

    def pair(self, key: PackKey, version: int, other: int | None = None, at: datetime | None = None) -> Pair:
        """A version with what would decide beside it: version `other` of the other pack, else the one in force.

        Raises PackUnknownError, PackInvalidError, NotPossibleError.
        """
        document = stored.get_pack(self._transaction, self._tenant_id, key.kind, key.name, version)
        if key.kind is PackKind.DOMAIN:
            tenant_document, tenant_version = self._tenant_for(key.name, other, at)
            domain = self.domain(document)
            tenant = None if tenant_document is None else self.tenant(tenant_document)
            return Pair(domain, version, tenant, tenant_version)
        found, domain_version = self.domain_for(document, other, at)
        if found is None:
            raise NotPossibleError(
                f"domain pack {domain_named_by(document)!r}, which the tenant pack names, is not stored; load it first"
            )
        return Pair(found, domain_version, self.tenant(document), version)

    def schedule(self) -> Schedule:
        """What is in force now or later."""
        return StoredPacks().schedules(self._transaction, [self._tenant_id]).get(self._tenant_id, Schedule())

    def in_force(self, key: PackKey, at: datetime | None = None) -> int | None:
        """The version that decides what is received at a moment, by default now."""
        moment = at or self._now
        found = in_force(self.schedule().of(key.kind, key.name), moment, moment)
        return None if found is None else found.version

    def newest(self, key: PackKey) -> int | None:
        """The newest version; None: there is no such pack."""
        return stored.newest_version(self._transaction, self._tenant_id, key.kind, key.name)

    def domain(self, document: Json) -> DomainPack:
        """A domain pack read with the operator's variables, and with anything for those that have no value."""
        return parse_domain_pack(document, {**placeholders(document), **self._variables})

    def tenant(self, document: Json, domain: DomainPack | None = None) -> TenantPack:
        """A tenant pack read likewise, against its domain pack if that is given."""
        return parse_tenant_pack(document, domain, {**placeholders(document), **self._variables})

    def domain_for(
        self, tenant_document: Json, version: int | None = None, at: datetime | None = None
    ) -> tuple[DomainPack | None, int | None]:
        """The domain pack that a tenant pack names: the one in force, else the newest; none where none is stored."""
        key = PackKey(PackKind.DOMAIN, domain_named_by(tenant_document))
        version = version or self.in_force(key, at) or self.newest(key)
        if version is None:
            return None, None
        return self.domain(stored.get_pack(self._transaction, self._tenant_id, key.kind, key.name, version)), version

    def _tenant_for(self, domain: str, version: int | None, at: datetime | None) -> tuple[Json | None, int | None]:
        key = PackKey(PackKind.TENANT, TENANT_PACK)
        chosen = version or self.in_force(key, at)
        if chosen is None:
            return None, None
        document = stored.get_pack(self._transaction, self._tenant_id, key.kind, key.name, chosen)
        # A tenant that works by another domain has nothing to say about this one.
        return (document, chosen) if version or domain_named_by(document) == domain else (None, None)


def lenient_build(variables: Mapping[str, str]) -> BuildPackSet:
    """Documents to a pack set, for those who only decide: a variable without a value keeps nobody from that."""

    def build(domain: Json, tenant: Json, versions: PackVersions) -> PackSet:
        read = parse_domain_pack(domain, {**placeholders(domain), **variables})
        return build_pack_set(
            read, parse_tenant_pack(tenant, variables={**placeholders(tenant), **variables}), versions
        )

    return build


def domain_named_by(document: Json) -> str:
    """The domain that a pack is of, in either spelling of the key."""
    return domain_named(document) or ""


def placeholders(document: Json) -> dict[str, str]:
    """A value for every variable in a pack: whether the operator gives one is not the pack's fault."""
    return dict.fromkeys(VARIABLE.findall(str(document)), "https://variable.invalid")


def report_of(pair: Pair, results: Sequence[CaseResult]) -> dict[str, Any]:
    """A test's report, JSON-ready."""
    return {
        "domainVersion": pair.domain_version,
        "tenantVersion": pair.tenant_version,
        "passed": sum(result.passed for result in results),
        "failed": sum(not result.passed for result in results),
        "cases": [case_of(result) for result in results],
    }


def case_of(result: CaseResult) -> dict[str, Any]:
    """One case of a report."""
    return {
        "path": result.path,
        "name": result.name,
        "passed": result.passed,
        "rulesWithAbsentFields": list(result.absent),
        "mismatches": [
            {"key": miss.key, "expected": miss.expected, "actual": miss.actual} for miss in result.mismatches
        ],
    }
